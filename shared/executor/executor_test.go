package executor_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sentinel.home.arpa/shared/executor"
	"sentinel.home.arpa/shared/shutdown"
)

// machines is a plan's machines as a test wants them: what a field leaves out is done at
// once and well.
type machines struct {
	list func(ctx context.Context, node string) ([]shutdown.Target, error)
	do   func(ctx context.Context, c shutdown.Command) error
	look func(ctx context.Context, t shutdown.Target) (shutdown.Sight, error)

	mu      sync.Mutex
	running map[string]int // requests by node
	most    map[string]int
	asked   []string
}

func (m *machines) enter(node, what string) func() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.running == nil {
		m.running, m.most = map[string]int{}, map[string]int{}
	}
	m.running[node]++
	m.most[node] = max(m.most[node], m.running[node])
	m.asked = append(m.asked, what)
	return func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.running[node]--
	}
}

func (m *machines) count(what string) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := 0
	for _, a := range m.asked {
		if a == what {
			n++
		}
	}
	return n
}

func (m *machines) atMost(node string) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.most[node]
}

func (m *machines) List(ctx context.Context, node string) ([]shutdown.Target, error) {
	defer m.enter(node, "list "+node)()
	if m.list == nil {
		return nil, nil
	}
	return m.list(ctx, node)
}

func (m *machines) Do(ctx context.Context, c shutdown.Command) error {
	defer m.enter(c.Target.Node, "do "+c.Target.ID())()
	if m.do == nil {
		return nil
	}
	return m.do(ctx, c)
}

func (m *machines) Look(ctx context.Context, t shutdown.Target) (shutdown.Sight, error) {
	defer m.enter(t.Node, "look "+t.ID())()
	if m.look == nil {
		return shutdown.Sight{}, nil
	}
	return m.look(ctx, t)
}

// rig is an executor and what it reports, with the time of each report.
type rig struct {
	*executor.Executor
	began time.Time

	mu       sync.Mutex
	outcomes map[string]executor.Outcome
	at       map[string]time.Duration
	sights   map[string]int
}

func newRig(m *machines) *rig {
	r := &rig{began: time.Now(), outcomes: map[string]executor.Outcome{}, at: map[string]time.Duration{}, sights: map[string]int{}}
	r.Executor = &executor.Executor{
		Machines: m,
		May:      func(string) error { return nil },
		Outcome: func(o executor.Outcome) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.outcomes[o.Target], r.at[o.Target] = o, time.Since(r.began)
		},
		Sight: func(target string, _ shutdown.Sight) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.sights[target]++
		},
	}
	return r
}

func (r *rig) outcome(t *testing.T, target string) executor.Outcome {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	o, ok := r.outcomes[target]
	if !ok {
		t.Errorf("%s has no outcome", target)
	}
	return o
}

func (r *rig) after(target string) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.at[target]
}

func (r *rig) answered() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.outcomes)
}

func (r *rig) seen(target string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.sights[target]
}

func node(name string) shutdown.Command {
	return shutdown.Command{Target: shutdown.Target{Kind: shutdown.ProxmoxNode, Node: name}}
}

func guest(node string, id int) shutdown.Command {
	return shutdown.Command{Target: shutdown.Target{Kind: shutdown.Guest, Node: node, VMID: id}}
}

func listing(node string) shutdown.Command {
	return shutdown.Command{Target: shutdown.Target{Kind: shutdown.Listing, Node: node}}
}

func hang(ctx context.Context) error {
	<-ctx.Done()
	return ctx.Err()
}

func TestOutcomes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		found := []shutdown.Target{{Kind: shutdown.Guest, Node: "pve1", VMID: 100}}
		no := errors.New("permission denied")
		r := newRig(&machines{
			list: func(context.Context, string) ([]shutdown.Target, error) { return found, nil },
			do: func(_ context.Context, c shutdown.Command) error {
				if c.Target.Node == "pve2" {
					return no
				}
				return nil
			},
		})
		r.Perform(t.Context(), []shutdown.Command{listing("pve1"), node("pve1"), node("pve2")})
		synctest.Wait()
		if o := r.outcome(t, "listing/pve1"); o.Err != nil || len(o.Found) != 1 || o.Found[0].VMID != 100 {
			t.Errorf("listing: %+v", o)
		}
		if o := r.outcome(t, "node/pve1"); o.Err != nil || o.Found != nil {
			t.Errorf("pve1: %+v", o)
		}
		if o := r.outcome(t, "node/pve2"); !errors.Is(o.Err, no) {
			t.Errorf("pve2: %+v", o)
		}
	})
}

// TestS5_MayKeepsCommandsBack: a refusal keeps back what shuts down, and not the question
// which guests run.
func TestS5_MayKeepsCommandsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &machines{}
		r := newRig(m)
		back := errors.New("the power is back")
		r.May = func(machine string) error {
			if machine == "pve2" {
				return nil
			}
			return back
		}
		r.Perform(t.Context(), []shutdown.Command{listing("pve1"), node("pve1"), guest("pve1", 100), node("pve2")})
		synctest.Wait()
		if o := r.outcome(t, "node/pve2"); o.Err != nil {
			t.Errorf("another machine: %v", o.Err)
		}
		for _, id := range []string{"node/pve1", "guest/100"} {
			if o := r.outcome(t, id); !errors.Is(o.Err, back) {
				t.Errorf("%s: %v", id, o.Err)
			}
		}
		if n := m.count("do node/pve1") + m.count("do guest/100"); n != 0 {
			t.Errorf("%d commands left all the same", n)
		}
		if o := r.outcome(t, "listing/pve1"); o.Err != nil {
			t.Errorf("listing: %v", o.Err)
		}
	})
}

// TestS5_MayIsAskedLast: what waited for its turn while the power came back is kept back.
func TestS5_MayIsAskedLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &machines{do: func(ctx context.Context, c shutdown.Command) error {
			time.Sleep(2 * time.Second)
			return nil
		}}
		r := newRig(m)
		back := errors.New("the power is back")
		r.May = func(string) error {
			if time.Since(r.began) >= time.Second {
				return back
			}
			return nil
		}
		var cs []shutdown.Command
		for id := range 6 {
			cs = append(cs, guest("pve1", id))
		}
		r.Perform(t.Context(), cs)
		time.Sleep(10 * time.Second)
		kept := 0
		for id := range 6 {
			if errors.Is(r.outcome(t, fmt.Sprintf("guest/%d", id)).Err, back) {
				kept++
			}
		}
		if kept != 3 {
			t.Errorf("%d of 6 were kept back, want the 3 that waited", kept)
		}
	})
}

// TestS4_AHangingNodeHoldsNobodyUp: its commands end by their deadline, three at a time,
// and the other node does not wait.
func TestS4_AHangingNodeHoldsNobodyUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &machines{do: func(ctx context.Context, c shutdown.Command) error {
			if c.Target.Node == "pve1" {
				return hang(ctx)
			}
			return nil
		}}
		r := newRig(m)
		var cs []shutdown.Command
		for id := range 10 {
			cs = append(cs, guest("pve1", id))
		}
		r.Perform(t.Context(), append(cs, node("pve2")))
		synctest.Wait()
		if o := r.outcome(t, "node/pve2"); o.Err != nil || r.after("node/pve2") != 0 {
			t.Errorf("pve2 after %s: %v", r.after("node/pve2"), o.Err)
		}
		time.Sleep(time.Minute)
		for id := range 10 {
			target := fmt.Sprintf("guest/%d", id)
			if o := r.outcome(t, target); !errors.Is(o.Err, context.DeadlineExceeded) || r.after(target) > 7*time.Second {
				t.Errorf("%s after %s: %v", target, r.after(target), o.Err)
			}
		}
		if n := m.atMost("pve1"); n != 3 {
			t.Errorf("%d requests to one node at a time, want 3", n)
		}
	})
}

func TestThreeRequestsANodeAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &machines{do: func(ctx context.Context, c shutdown.Command) error {
			time.Sleep(500 * time.Millisecond)
			return nil
		}}
		r := newRig(m)
		var cs []shutdown.Command
		for id := range 12 {
			cs = append(cs, guest("pve1", id), guest("pve2", 100+id))
		}
		r.Perform(t.Context(), cs)
		time.Sleep(1900 * time.Millisecond)
		synctest.Wait()
		if n := r.answered(); n != 18 {
			t.Errorf("%d of 24 are answered after 1.9 s, want three rounds of 3 at 2 nodes", n)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		for _, c := range cs {
			if o := r.outcome(t, c.Target.ID()); o.Err != nil {
				t.Errorf("%s: %v", o.Target, o.Err)
			}
		}
		if r.answered() != 24 || m.atMost("pve1") != 3 || m.atMost("pve2") != 3 {
			t.Errorf("%d answered, at most %d and %d at a time", r.answered(), m.atMost("pve1"), m.atMost("pve2"))
		}
	})
}

func TestWatchLooksEachSecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &machines{look: func(ctx context.Context, target shutdown.Target) (shutdown.Sight, error) {
			if target.VMID == 101 {
				return shutdown.Sight{}, errors.New("500")
			}
			return shutdown.Sight{Running: true}, nil
		}}
		r := newRig(m)
		ctx, cancel := context.WithCancel(t.Context())
		var done sync.WaitGroup
		done.Go(func() {
			r.Watch(ctx, func() []shutdown.Target {
				return []shutdown.Target{guest("pve1", 100).Target, guest("pve1", 101).Target}
			})
		})
		time.Sleep(10*time.Second + time.Millisecond)
		if n := r.seen("guest/100"); n != 10 {
			t.Errorf("seen %d times in 10 s", n)
		}
		if n := r.seen("guest/101"); n != 0 {
			t.Errorf("an error passed %d times for evidence", n)
		}
		cancel()
		done.Wait()
	})
}

// TestS4_WatchBoundsALookAndWaitsForAll: a node that hangs does not even slow the looks at
// others.
func TestS4_WatchBoundsALookAndWaitsForAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &machines{
			look: func(ctx context.Context, target shutdown.Target) (shutdown.Sight, error) {
				if target.Node == "pve1" {
					return shutdown.Sight{}, hang(ctx)
				}
				return shutdown.Sight{}, nil
			},
			do: func(ctx context.Context, c shutdown.Command) error { return hang(ctx) },
		}
		r := newRig(m)
		ctx, cancel := context.WithCancel(t.Context())
		var done sync.WaitGroup
		ended := make(chan struct{})
		done.Go(func() {
			defer close(ended)
			r.Watch(ctx, func() []shutdown.Target { return []shutdown.Target{node("pve1").Target, node("pve2").Target} })
		})
		time.Sleep(13 * time.Second)
		if n := r.seen("node/pve2"); n < 12 {
			t.Errorf("a node that hangs leaves the other with %d looks in 13 s", n)
		}
		r.Perform(context.WithoutCancel(ctx), []shutdown.Command{node("pve3")})
		cancel()
		synctest.Wait()
		select {
		case <-ended:
			t.Error("Watch returned before its commands had")
		default:
		}
		done.Wait()
		if o := r.outcome(t, "node/pve3"); o.Err == nil || !strings.Contains(o.Err.Error(), "deadline") {
			t.Errorf("pve3: %v", o.Err)
		}
	})
}

// TestS4_LooksLeaveAPlaceToCommands: a node that answers no look is told all the same.
func TestS4_LooksLeaveAPlaceToCommands(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &machines{look: func(ctx context.Context, _ shutdown.Target) (shutdown.Sight, error) {
			return shutdown.Sight{}, hang(ctx)
		}}
		r := newRig(m)
		ctx, cancel := context.WithCancel(t.Context())
		var done sync.WaitGroup
		done.Go(func() {
			r.Watch(ctx, func() []shutdown.Target {
				var ts []shutdown.Target
				for id := range 9 {
					ts = append(ts, guest("pve1", id).Target)
				}
				return ts
			})
		})
		time.Sleep(5 * time.Second)
		r.Perform(ctx, []shutdown.Command{guest("pve1", 100)})
		synctest.Wait()
		if o := r.outcome(t, "guest/100"); o.Err != nil || r.after("guest/100") != 5*time.Second {
			t.Errorf("after %s: %v", r.after("guest/100"), o.Err)
		}
		cancel()
		done.Wait()
	})
}

// TestS4_LooksAtADeadNodeTakeTurns: each look has its time from when it has its place, however
// many wait for it, and what is over meanwhile is passed over.
func TestS4_LooksAtADeadNodeTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &machines{look: func(ctx context.Context, _ shutdown.Target) (shutdown.Sight, error) {
			select {
			case <-ctx.Done():
				return shutdown.Sight{}, ctx.Err()
			case <-time.After(7500 * time.Millisecond): // two answers that never came
				return shutdown.Sight{Closed: true}, nil
			}
		}}
		r := newRig(m)
		ctx, cancel := context.WithCancel(t.Context())
		var ts []shutdown.Target
		for id := range 12 {
			ts = append(ts, guest("pve1", id).Target)
		}
		var done sync.WaitGroup
		done.Go(func() {
			r.Watch(ctx, func() []shutdown.Target {
				if time.Since(r.began) < 50*time.Second {
					return ts
				}
				return []shutdown.Target{node("pve1").Target} // the next stage
			})
		})
		time.Sleep(47 * time.Second)
		synctest.Wait()
		for id := range 12 {
			if n := r.seen(fmt.Sprintf("guest/%d", id)); n != 1 {
				t.Errorf("guest %d was seen %d times in six rounds of two", id, n)
			}
		}
		time.Sleep(15 * time.Second) // 12 guests wait when the stage ends, and two are looked at
		synctest.Wait()
		if n := r.seen("node/pve1"); n != 1 {
			t.Errorf("the node itself was seen %d times within 12 s of its stage", n)
		}
		cancel()
		done.Wait()
	})
}
