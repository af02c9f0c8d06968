package beat

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"sentinel.home.arpa/node-hook/internal/rig"
	"sentinel.home.arpa/node-hook/internal/self"
	"sentinel.home.arpa/shared/courier"
	"sentinel.home.arpa/shared/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// heart is a running Loop in a bubble.
type heart struct {
	loop  *Loop
	log   strings.Builder
	feeds atomic.Int64
	stop  func()

	mu        sync.Mutex
	receivers []courier.Receiver
	answers   int
	failures  []string
}

func start(t *testing.T, n *rig.Network, receivers ...courier.Receiver) *heart {
	t.Helper()
	key, err := wire.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	client := courier.NewClient(n.Dial)
	who := self.New("pve1", "home", rig.Boot, key, func() time.Duration { return time.Second })
	h := &heart{receivers: receivers}
	h.loop = &Loop{
		Interval: time.Second,
		Seal:     func() (wire.Header, []byte, error) { return who.Heartbeat("running") },
		Receivers: func() []courier.Receiver {
			h.mu.Lock()
			defer h.mu.Unlock()
			return h.receivers
		},
		Poster:   client,
		Answered: func(context.Context, courier.Receiver, *wire.Answer) { h.mu.Lock(); h.answers++; h.mu.Unlock() },
		Failed:   func(r courier.Receiver) { h.mu.Lock(); h.failures = append(h.failures, r.Name); h.mu.Unlock() },
		Feed:     func() { h.feeds.Add(1) },
		Log:      slog.New(slog.NewTextHandler(&h.log, nil)),
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- h.loop.Run(ctx) }()
	h.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		client.Close()
	})
	t.Cleanup(h.stop)
	return h
}

func (h *heart) set(receivers ...courier.Receiver) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.receivers = receivers
}

// cadence checks that arrivals come each second with rising seq.
func cadence(t *testing.T, who string, got []rig.Arrival, from time.Time, n int) {
	t.Helper()
	if len(got) != n {
		t.Errorf("%s: %d heartbeats, want %d", who, len(got), n)
	}
	for i, a := range got {
		if at := a.At.Sub(from); at != time.Duration(i)*time.Second {
			t.Errorf("%s: heartbeat %d at %v", who, i, at)
		}
		if i > 0 && a.Header.Seq <= got[i-1].Header.Seq {
			t.Errorf("%s: seq %d after %d", who, a.Header.Seq, got[i-1].Header.Seq)
		}
		if a.Header.Node != "pve1" || a.Header.Site != "home" || a.Header.Boot != rig.Boot || a.State != "running" {
			t.Errorf("%s: %+v", who, a)
		}
	}
}

// TestH1_EachSecondToAll: the same heartbeat reaches brain and Pi each second.
func TestH1_EachSecondToAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := rig.NewNetwork()
		brain, pi := rig.Start(t, "brain", n.Listen("b:80")), rig.Start(t, "pi", n.Listen("p:7777"))
		began := time.Now()
		h := start(t, n, brain.To(), pi.To())
		time.Sleep(30*time.Second - time.Millisecond)
		h.stop()
		a, b := brain.Arrivals(courier.PathHeartbeat), pi.Arrivals(courier.PathHeartbeat)
		cadence(t, "brain", a, began, 30)
		cadence(t, "pi", b, began, 30)
		for i := range min(len(a), len(b)) {
			if a[i].Envelope != b[i].Envelope {
				t.Errorf("heartbeat %d differs", i)
			}
		}
		if lines := strings.Count(h.log.String(), "\n"); lines != 2 || h.answers != 60 {
			t.Errorf("%d answers, log:\n%s", h.answers, h.log.String())
		}
		if h.feeds.Load() < 30 {
			t.Errorf("watchdog fed %d times", h.feeds.Load())
		}
	})
}

// TestH10_HangingBrainDelaysNoPi, and is tried again every 3 s with the newest heartbeat.
func TestH10_HangingBrainDelaysNoPi(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := rig.NewNetwork()
		brain, pi := rig.Start(t, "brain", n.Listen("b:80")), rig.Start(t, "pi", n.Listen("p:7777"))
		brain.SetMood(rig.Hang)
		began := time.Now()
		h := start(t, n, brain.To(), pi.To())
		time.Sleep(30*time.Second - time.Millisecond)
		cadence(t, "pi", pi.Arrivals(courier.PathHeartbeat), began, 30)
		tried := brain.Arrivals(courier.PathHeartbeat)
		if len(tried) != 10 {
			t.Errorf("the hanging brain was tried %d times", len(tried))
		}
		for i := 1; i < len(tried); i++ {
			if age := tried[i].Header.Seq - tried[i-1].Header.Seq; age < 2 {
				t.Errorf("an old heartbeat was sent: %d after %d", tried[i].Header.Seq, tried[i-1].Header.Seq)
			}
		}
		brain.SetMood(nil)
		time.Sleep(4 * time.Second)
		before := len(brain.Arrivals(courier.PathHeartbeat))
		time.Sleep(5 * time.Second)
		if after := len(brain.Arrivals(courier.PathHeartbeat)); after != before+5 {
			t.Errorf("after it recovered %d in 5 s", after-before)
		}
		h.stop()
		if got := strings.Count(h.log.String(), "\n"); got != 3 { // pi reachable, brain unreachable, brain reachable
			t.Errorf("log:\n%s", h.log.String())
		}
		if len(h.failures) == 0 || h.failures[0] != "brain" {
			t.Errorf("failures %v", h.failures)
		}
	})
}

// TestA8_AShortGapIsNoFailure: what ends within the tick is taken up again at the next
// one, far below the 20 s after which a node has failed.
func TestA8_AShortGapIsNoFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := rig.NewNetwork()
		ln := n.Listen("b:80")
		brain := rig.Start(t, "brain", ln)
		first := start(t, n, brain.To())
		time.Sleep(5500 * time.Millisecond)
		first.stop()
		second := start(t, n, brain.To())
		time.Sleep(5 * time.Second)
		second.stop()
		got := brain.Arrivals(courier.PathHeartbeat)
		for i := 1; i < len(got); i++ {
			if gap := got[i].At.Sub(got[i-1].At); gap > time.Second {
				t.Errorf("gap of %v", gap)
			}
		}
	})
}

func TestReceiversChangeAtRunTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := rig.NewNetwork()
		h := start(t, n)
		time.Sleep(2500 * time.Millisecond)
		brain, pi := rig.Start(t, "brain", n.Listen("b:80")), rig.Start(t, "pi", n.Listen("p:7777"))
		h.set(brain.To(), pi.To())
		time.Sleep(5 * time.Second)
		h.set(pi.To())
		time.Sleep(5 * time.Second)
		h.stop()
		if a, b := len(brain.Arrivals(courier.PathHeartbeat)), len(pi.Arrivals(courier.PathHeartbeat)); a != 5 || b != 10 {
			t.Errorf("brain got %d, pi %d:\n%s", a, b, h.log.String())
		}
		if n := strings.Count(h.log.String(), "nobody hears"); n != 1 {
			t.Errorf("log:\n%s", h.log.String())
		}
	})
}

// TestLogsTellChangesOnly: refusing is told apart from being out of reach.
func TestLogsTellChangesOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := rig.NewNetwork()
		pi := rig.Start(t, "pi", n.Listen("p:7777"))
		refuse := func(w http.ResponseWriter, _ *http.Request, _ *wire.Answer) bool {
			courier.Fail(w, &courier.Fault{Status: 403, Err: errors.New("unknown node"), Hint: "approve it"})
			return true
		}
		fail := func(w http.ResponseWriter, _ *http.Request, _ *wire.Answer) bool { w.WriteHeader(500); return true }
		h := start(t, n, pi.To())
		for _, mood := range []rig.Mood{refuse, fail, nil} {
			time.Sleep(5500 * time.Millisecond)
			pi.SetMood(mood)
		}
		time.Sleep(5 * time.Second)
		h.stop()
		var told []string
		for line := range strings.Lines(h.log.String()) {
			_, msg, _ := strings.Cut(line, "msg=")
			told = append(told, strings.SplitN(msg, `"`, 3)[1])
		}
		want := "[receiver is reachable receiver refuses the heartbeats receiver is unreachable receiver is reachable]"
		if got := fmt.Sprint(told); got != want || !strings.Contains(h.log.String(), "approve it") {
			t.Errorf("told %s:\n%s", got, h.log.String())
		}
	})
}

// TestAnotherCauseIsToldToo: a receiver that stays out of reach for another reason than at
// first is told of again, each minute at most.
func TestAnotherCauseIsToldToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := rig.NewNetwork()
		pi := rig.Start(t, "pi", n.Listen("p:7777"))
		fail := func(w http.ResponseWriter, _ *http.Request, _ *wire.Answer) bool { w.WriteHeader(500); return true }
		pi.SetMood(fail)
		h := start(t, n, pi.To())
		time.Sleep(10500 * time.Millisecond)
		pi.SetMood(rig.Hang)
		time.Sleep(5 * time.Minute)
		h.stop()
		lines := strings.Split(strings.TrimSpace(h.log.String()), "\n")
		if len(lines) != 2 || !strings.Contains(lines[0], "500") || !strings.Contains(lines[1], "deadline") {
			t.Errorf("log:\n%s", h.log.String())
		}
	})
}

func TestLongIntervalStillFeedsTheWatchdog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &heart{}
		ctx, cancel := context.WithTimeout(t.Context(), 29500*time.Millisecond)
		defer cancel()
		seals := 0
		l := &Loop{
			Interval:  10 * time.Second,
			Seal:      func() (wire.Header, []byte, error) { seals++; return wire.Header{}, nil, nil },
			Receivers: func() []courier.Receiver { return nil },
			Feed:      func() { h.feeds.Add(1) },
			Log:       slog.New(slog.DiscardHandler),
		}
		if err := l.Run(ctx); err != nil {
			t.Error(err)
		}
		if seals != 3 || h.feeds.Load() < 29 {
			t.Errorf("%d beats, %d feeds", seals, h.feeds.Load())
		}
	})
}
