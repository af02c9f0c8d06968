package wire_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"sentinel.home.arpa/shared/wire"
)

func TestSequence(t *testing.T) {
	at := func(node, boot string, seq int64) wire.Header { return wire.Header{Node: node, Boot: boot, Seq: seq} }
	var s wire.Sequence
	for i, c := range []struct {
		h     wire.Header
		kind  wire.Kind
		fresh bool
	}{
		{at("a", "1", 5), wire.KindHeartbeat, true},
		{at("a", "1", 5), wire.KindHeartbeat, false}, // repeated
		{at("a", "1", 4), wire.KindHeartbeat, false}, // overtaken
		{at("a", "1", 5), wire.KindAnnouncement, true},
		{at("b", "1", 1), wire.KindHeartbeat, true},
		{at("a", "2", 1), wire.KindHeartbeat, true}, // booted
		{at("a", "1", 5), wire.KindHeartbeat, false},
		{at("a", "1", 6), wire.KindHeartbeat, true}, // late, of the boot before
		{at("a", "2", 1), wire.KindHeartbeat, false},
	} {
		if got := s.Fresh(c.h, c.kind); got != c.fresh {
			t.Errorf("%d: %+v: fresh %v", i, c.h, got)
		}
	}
}

func TestSequenceForgetsOnlyTheOldestBoots(t *testing.T) {
	var s wire.Sequence
	for boot := range 17 {
		s.Fresh(wire.Header{Node: "a", Boot: fmt.Sprint(boot), Seq: 1}, wire.KindHeartbeat)
	}
	for boot := 1; boot < 17; boot++ {
		if s.Fresh(wire.Header{Node: "a", Boot: fmt.Sprint(boot), Seq: 1}, wire.KindHeartbeat) {
			t.Errorf("boot %d of the last 16 is forgotten", boot)
		}
	}
}

func TestSequenceTakesEachOnce(t *testing.T) {
	var s wire.Sequence
	var mu sync.Mutex
	var wg sync.WaitGroup
	fresh := 0
	for range 8 {
		wg.Go(func() {
			for seq := range int64(200) {
				if s.Fresh(wire.Header{Node: "a", Boot: "1", Seq: seq + 1}, wire.KindUPS) {
					mu.Lock()
					fresh++
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	if fresh == 0 || fresh > 200 {
		t.Errorf("%d of 200 were fresh", fresh)
	}
}

// TestLags: two clocks that are both wrong tell all the same what came late.
func TestLags(t *testing.T) {
	var l wire.Lags
	const ahead = 1000 * time.Hour // the sender has been up for longer
	send := func(boot string, sent, took time.Duration) time.Duration {
		return l.Of(wire.Header{Node: "pi1", Boot: boot, Seq: (sent + ahead).Microseconds()}, sent+took)
	}
	near := func(got, want time.Duration) {
		t.Helper()
		if (got - want).Abs() > 20*time.Millisecond {
			t.Errorf("lag %s, want %s", got, want)
		}
	}
	near(send("1", time.Second, 100*time.Millisecond), 0)
	near(send("1", 2*time.Second, 100*time.Millisecond), 0)
	near(send("1", 3*time.Second, 5*time.Second), 4900*time.Millisecond)
	near(send("1", 9*time.Second, 20*time.Millisecond), 0)
	near(send("1", 10*time.Second, 100*time.Millisecond), 80*time.Millisecond)
	near(send("2", 11*time.Second, 9*time.Second), 0) // of another boot nothing is known
	if got := l.Of(wire.Header{Node: "pi2", Boot: "1", Seq: 1}, time.Hour); got != 0 {
		t.Errorf("a stranger's lag is %s", got)
	}
}

// TestLagsFollowClocksThatDrift: 50 ppm apart for a day is no lag.
func TestLagsFollowClocksThatDrift(t *testing.T) {
	var l wire.Lags
	for s := range 24 * 3600 / 5 {
		sent := time.Duration(s) * 5 * time.Second
		arrival := sent + time.Duration(float64(sent)*50e-6) + 20*time.Millisecond
		if lag := l.Of(wire.Header{Node: "pi1", Boot: "1", Seq: sent.Microseconds() + 1}, arrival); lag > time.Millisecond {
			t.Fatalf("after %s a lag of %s", sent, lag)
		}
	}
}
