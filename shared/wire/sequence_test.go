package wire_test

import (
	"fmt"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

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

// TestA7_AWordOfManyOldBootsPushesOutNoneThatWasHeardForLong, so that nothing of it can come
// again, also over a restart.
func TestA7_AWordOfManyOldBootsPushesOutNoneThatWasHeardForLong(t *testing.T) {
	of := func(boot string, seq int64) wire.Header { return wire.Header{Node: "a", Boot: boot, Seq: seq} }
	var s, after wire.Sequence
	s.Fresh(of("present", 1), wire.KindAnnouncement)
	for seq := range int64(60) {
		s.Fresh(of("present", seq+1), wire.KindHeartbeat)
	}
	after.Restore(s.Marks())
	for name, s := range map[string]*wire.Sequence{"before": &s, "after": &after} {
		for boot := range 40 {
			for seq := range int64(3) {
				s.Fresh(of(fmt.Sprint("old", boot), seq+1), wire.KindHeartbeat)
			}
		}
		if s.Newer(of("present", 60), wire.KindHeartbeat) || s.Newer(of("present", 1), wire.KindAnnouncement) {
			t.Errorf("%s the restart the boot that was heard for long is forgotten", name)
		}
	}
}

// TestSequenceNeverForgetsWhoWasHeardLast, however seldom that was, nor of those that were
// heard equally often who was heard more lately.
func TestSequenceNeverForgetsWhoWasHeardLast(t *testing.T) {
	of := func(boot string, seq int64) wire.Header { return wire.Header{Node: "a", Boot: boot, Seq: seq} }
	var s wire.Sequence
	for boot := range 16 {
		for seq := range int64(10) {
			s.Fresh(of(fmt.Sprint(boot), seq+1), wire.KindHeartbeat)
		}
	}
	s.Fresh(of("0", 11), wire.KindHeartbeat)
	for seq := range int64(9) {
		s.Fresh(of("new", seq+1), wire.KindHeartbeat) // for 1
	}
	s.Fresh(of("newer", 1), wire.KindHeartbeat) // for 2, not for who was heard just before
	for boot, kept := range map[string]bool{"0": true, "1": false, "2": false, "3": true, "15": true, "new": true, "newer": true} {
		if s.Newer(of(boot, 1), wire.KindHeartbeat) == kept {
			t.Errorf("boot %s is kept: %v", boot, !kept)
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

// TestA7_WhatWasSeenSurvivesARestart, boot by boot and kind by kind.
func TestA7_WhatWasSeenSurvivesARestart(t *testing.T) {
	at := func(node, boot string, seq int64) wire.Header { return wire.Header{Node: node, Boot: boot, Seq: seq} }
	var before, s wire.Sequence
	for boot := range 17 {
		before.Fresh(at("a", fmt.Sprint(boot), 5), wire.KindHeartbeat)
	}
	before.Fresh(at("a", "16", 9), wire.KindAnnouncement)
	before.Fresh(at("b", "1", 3), wire.KindHeartbeat)
	s.Restore(before.Marks())
	if diff := cmp.Diff(before.Marks(), s.Marks()); diff != "" {
		t.Error(diff)
	}
	for _, c := range []struct {
		h     wire.Header
		kind  wire.Kind
		newer bool
	}{
		{at("a", "1", 5), wire.KindHeartbeat, false},
		{at("a", "16", 5), wire.KindHeartbeat, false},
		{at("a", "16", 6), wire.KindHeartbeat, true},
		{at("a", "16", 9), wire.KindAnnouncement, false},
		{at("a", "16", 10), wire.KindAnnouncement, true},
		{at("b", "1", 3), wire.KindHeartbeat, false},
		{at("b", "2", 1), wire.KindHeartbeat, true},
	} {
		for range 2 { // Newer remembers nothing
			if got := s.Newer(c.h, c.kind); got != c.newer {
				t.Errorf("%+v: newer %v", c.h, got)
			}
		}
		if got := s.Fresh(c.h, c.kind); got != c.newer {
			t.Errorf("%+v: fresh %v", c.h, got)
		}
	}
	s.Restore([]wire.Mark{{Node: "b", Boot: "1", Kind: wire.KindHeartbeat, Seq: 1}})
	if s.Newer(at("b", "1", 2), wire.KindHeartbeat) {
		t.Error("an older mark has lowered what is remembered")
	}
}

// TestA7_ARestartLevelsNoCounts: after it, as before, words of long past boots push out one
// another, and not the boot that runs, be it an hour old or a minute.
func TestA7_ARestartLevelsNoCounts(t *testing.T) {
	at := func(boot string, seq int64) wire.Header { return wire.Header{Node: "a", Boot: boot, Seq: seq} }
	var before wire.Sequence
	for boot := range 15 {
		before.Fresh(at(fmt.Sprint("past", boot), 1), wire.KindHeartbeat)
		before.Fresh(at(fmt.Sprint("past", boot), 1), wire.KindAnnouncement)
	}
	var after wire.Sequence
	after.Restore(before.Marks())
	for seq := range int64(60) {
		after.Fresh(at("runs", seq+1), wire.KindHeartbeat)
	}
	for boot := range 40 {
		after.Fresh(at(fmt.Sprint("older", boot), 1), wire.KindHeartbeat)
	}
	if after.Newer(at("runs", 60), wire.KindHeartbeat) {
		t.Error("the boot that runs was pushed out")
	}
	var old wire.Sequence
	old.Restore([]wire.Mark{{Node: "a", Boot: "runs", Kind: wire.KindHeartbeat, Seq: 60}})
	for boot := range 40 {
		old.Fresh(at(fmt.Sprint("older", boot), 1), wire.KindHeartbeat)
	}
	if old.Newer(at("runs", 60), wire.KindHeartbeat) {
		t.Error("a mark without a number counts for nothing")
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

// TestLagsFollowClocksThatDrift: 50 ppm apart for a day is no lag to speak of.
func TestLagsFollowClocksThatDrift(t *testing.T) {
	var l wire.Lags
	for s := range 24 * 3600 / 5 {
		sent := time.Duration(s) * 5 * time.Second
		arrival := sent + time.Duration(float64(sent)*50e-6) + 20*time.Millisecond
		if lag := l.Of(wire.Header{Node: "pi1", Boot: "1", Seq: sent.Microseconds() + 1}, arrival); lag > 10*time.Millisecond {
			t.Fatalf("after %s a lag of %s", sent, lag)
		}
	}
}

// TestH2_ASenderWhoseClockStoodStillIsNotLateForEver: a paused virtual machine's clock is
// behind from then on, and its heartbeats are in time all the same.
func TestH2_ASenderWhoseClockStoodStillIsNotLateForEver(t *testing.T) {
	var l wire.Lags
	const paused = 30 * time.Second
	beat := func(s int, behind time.Duration) time.Duration {
		arrival := time.Duration(s) * time.Second
		return l.Of(wire.Header{Node: "vm", Boot: "1", Seq: (arrival - behind).Microseconds() + 1e6}, arrival)
	}
	for s := range 300 {
		beat(s, 0)
	}
	for s := 330; s < 330+120; s++ {
		if lag := beat(s, paused); s == 330 && (lag-paused).Abs() > time.Second {
			t.Errorf("at first the lag is %s", lag)
		}
	}
	if lag := beat(450, paused); lag > time.Millisecond {
		t.Errorf("two minutes later it is still %s", lag)
	}
}

// TestH2_WhatWaitedInABufferIsOld, however long the link was stuck.
func TestH2_WhatWaitedInABufferIsOld(t *testing.T) {
	for _, stuck := range []time.Duration{30 * time.Second, 10 * time.Minute} {
		var l wire.Lags
		beat := func(sent, arrival time.Duration) time.Duration {
			return l.Of(wire.Header{Node: "a", Boot: "1", Seq: sent.Microseconds() + 1}, arrival)
		}
		sent := time.Duration(0)
		for ; sent < 5*time.Minute; sent += time.Second {
			beat(sent, sent)
		}
		open := sent + stuck
		for i := 0; sent < open; i++ {
			arrival := open + time.Duration(i)*time.Millisecond
			if lag := beat(sent, arrival); (lag - (arrival - sent)).Abs() > time.Millisecond {
				t.Fatalf("stuck for %s: sent %s ago, the lag is %s", stuck, arrival-sent, lag)
			}
			sent += time.Second
		}
		if lag := beat(sent+time.Second, sent+time.Second); lag != 0 {
			t.Errorf("stuck for %s: afterwards the lag is %s", stuck, lag)
		}
	}
}

func TestH2_LagsSurviveARestart(t *testing.T) {
	var before, l wire.Lags
	h := wire.Header{Node: "a", Boot: "1", Seq: 7_000_000}
	before.Of(h, time.Hour)
	l.Restore(before.Ways())
	if lag := l.Of(h, time.Hour+5*time.Second); lag != 5*time.Second {
		t.Errorf("the lag of a repeated one is %s", lag)
	}
}

// TestH2_TwoBootsInTurnHaveTheirOwnLags: a machine and its copy share a name, and what of
// either comes late is late all the same.
func TestH2_TwoBootsInTurnHaveTheirOwnLags(t *testing.T) {
	var l wire.Lags
	beat := func(boot string, sent, took time.Duration) time.Duration {
		since := map[string]time.Duration{"1": time.Hour, "2": 400 * time.Hour}[boot] // when the brain started
		return l.Of(wire.Header{Node: "a", Boot: boot, Seq: (since + sent).Microseconds()}, sent+took)
	}
	for s := range 30 {
		for _, boot := range []string{"1", "2"} {
			if lag := beat(boot, time.Duration(s)*time.Second, 0); lag != 0 {
				t.Fatalf("after %d s boot %s has a lag of %s", s, boot, lag)
			}
		}
	}
	for _, boot := range []string{"1", "2"} {
		if lag := beat(boot, 31*time.Second, 7*time.Second); lag != 7*time.Second {
			t.Errorf("what boot %s sent 7 s ago has a lag of %s", boot, lag)
		}
	}
}

// TestLagsKeepABoundedNumberOfBoots, those that were heard last.
func TestLagsKeepABoundedNumberOfBoots(t *testing.T) {
	var l wire.Lags
	for i := range 100 {
		for _, boot := range []string{strconv.Itoa(i), "steady"} {
			l.Of(wire.Header{Node: "a", Boot: boot, Seq: int64(i+1) * 1e6}, time.Duration(i+1)*time.Second)
		}
	}
	var boots []string
	for _, w := range l.Ways() {
		boots = append(boots, w.Boot)
	}
	if want := []string{"97", "98", "99", "steady"}; !slices.Equal(boots, want) {
		t.Errorf("kept %v, not %v", boots, want)
	}
	var again wire.Lags
	again.Restore(l.Ways())
	if !slices.Equal(again.Ways(), l.Ways()) {
		t.Errorf("restored %v", again.Ways())
	}
}
