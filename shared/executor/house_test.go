package executor_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"sentinel.home.arpa/shared/executor"
	"sentinel.home.arpa/shared/proxmox"
	"sentinel.home.arpa/shared/shutdown"
	"sentinel.home.arpa/shared/sim/pvesim"
)

var errMainsBack = errors.New("the power is back")

// The stages of the house's plan, and their deadlines: a guest that is stopped hard needs 5 s.
const (
	guestsWithin = 12 * time.Second
	nodesWithin  = 9 * time.Second
	lastWithin   = 8 * time.Second
)

// house is a simulated cluster of five nodes and twelve guests, a run of its plan, and what
// the cluster's edge saw of it. It is driven as brain and Pi drive theirs: one loop owns
// the run, events are applied before their commands leave, and all else comes in as inputs.
type house struct {
	*pvesim.Cluster
	fleet  *proxmox.Fleet
	inputs chan func(now time.Time) []shutdown.Event

	// gate is held by every command from its last look at the mains to its answer, so that
	// the mains come back between commands and not beneath one.
	gate sync.RWMutex
	once sync.Once
	back time.Time // since when the mains are; guarded by gate

	guestStages []shutdown.Stage
	stood       time.Duration // the longest that the loop was kept from turning

	mu     sync.Mutex
	began  time.Time
	ended  time.Time
	seen   []pvesim.Exchange
	offAt  map[string]time.Time
	stages []stage
	looks  []shutdown.Target
	events []shutdown.Event
	run    *shutdown.Run
}

// stage is what the simulated machines were like when a stage began.
type stage struct {
	at      time.Time
	running []int
	up      []string
}

func (h *house) nodes() []string { return []string{"pve1", "pve2", "pve3", "pve4", "pve5"} }

func (h *house) guests() map[int]string {
	home := map[int]string{}
	for i, n := range h.nodes() {
		for j := range []int{2, 3, 3, 2, 2}[i] {
			home[100*(i+1)+j] = n
		}
	}
	return home
}

// newHouse is ready to play a row.
func newHouse(f fault) (*house, error) {
	h := &house{inputs: make(chan func(time.Time) []shutdown.Event, 64), offAt: map[string]time.Time{}, guestStages: f.stages}
	if f.stages == nil {
		h.guestStages = []shutdown.Stage{{AllGuests: true}}
	}
	cfg := pvesim.Config{TokenID: "sentinel@pve!power", Secret: "matrix-secret", AuthDelay: time.Second, AgentDelay: 2 * time.Second,
		ShutdownDelay: 200 * time.Millisecond, StopAllTimeout: 300 * time.Millisecond,
		Edge: func(x pvesim.Exchange) {
			h.mu.Lock()
			defer h.mu.Unlock()
			h.seen = append(h.seen, x)
		}}
	home := h.guests()
	for _, n := range h.nodes() {
		node := pvesim.NodeConfig{Name: n}
		for id, on := range home {
			if on != n {
				continue
			}
			g := pvesim.Guest{VMID: id, Name: fmt.Sprintf("vm%d", id), Type: pvesim.QEMU, Running: true,
				StopTakes: time.Duration(100+id%7*50) * time.Millisecond}
			switch id % 100 {
			case 0:
				g.Tags = "linux;front"
			case 1:
				g.Type, g.Pool = pvesim.LXC, "shop"
			}
			node.Guests = append(node.Guests, g)
		}
		cfg.Nodes = append(cfg.Nodes, node)
	}
	var err error
	if h.Cluster, err = pvesim.New(cfg); err != nil {
		return nil, err
	}
	h.OnDown(func(node string) {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.offAt[node] = time.Now()
	})
	h.fleet, err = proxmox.NewFleet(h.plan(), cfg.TokenID, cfg.Secret, nil, h.silentFor)
	return h, err
}

func (h *house) close() {
	if h.fleet != nil {
		h.fleet.Close()
	}
	_ = h.Cluster.Close()
}

func (h *house) plan() shutdown.Plan {
	p := shutdown.Plan{Site: "home"}
	for _, s := range h.guestStages {
		s.Deadline = guestsWithin
		p.Stages = append(p.Stages, s)
	}
	p.Stages = append(p.Stages, shutdown.Stage{Nodes: h.nodes()[1:], Deadline: nodesWithin},
		shutdown.Stage{Nodes: h.nodes()[:1], Deadline: lastWithin}) // through it the API is reached
	for _, n := range h.nodes() {
		p.Nodes = append(p.Nodes, shutdown.Node{Name: n, API: h.URL(n), Fingerprint: h.Fingerprint(n)})
	}
	return p
}

// silentFor is how long a node's agent has been silent; its clock runs ten times as fast as
// the house's.
func (h *house) silentFor(node string) *time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	var d time.Duration
	if off, known := h.offAt[node]; known {
		d = 10 * time.Since(off)
	}
	return &d
}

// Do implements executor.Machines, with the gate that May has taken.
func (h *house) Do(ctx context.Context, c shutdown.Command) error {
	defer h.gate.RUnlock()
	return h.fleet.Do(ctx, c)
}

func (h *house) List(ctx context.Context, node string) ([]shutdown.Target, error) {
	return h.fleet.List(ctx, node)
}

func (h *house) Look(ctx context.Context, t shutdown.Target) (shutdown.Sight, error) {
	return h.fleet.Look(ctx, t)
}

// may takes the gate for Do, unless the mains are back.
func (h *house) may() error {
	h.gate.RLock()
	if !h.back.IsZero() {
		h.gate.RUnlock()
		return errMainsBack
	}
	return nil
}

// mains brings the power back. Whoever owns the run hears of it 2.5 s later, as from a
// report; until then only may keeps its commands.
func (h *house) mains() {
	h.gate.Lock()
	h.back = time.Now()
	h.gate.Unlock()
	time.AfterFunc(2500*time.Millisecond, func() {
		h.inputs <- func(now time.Time) []shutdown.Event { return h.run.Abort(now, errMainsBack.Error()) }
	})
}

// play runs the plan with a row's faults until it is over. Of a run that is aborted it
// watches on, for what leaves all the same.
func (h *house) play(f fault) error {
	for _, line := range f.from {
		if err := h.Cluster.Do(line); err != nil {
			return err
		}
	}
	done := make(chan error, len(f.later)) // of the faults that come later: a row without its fault proves nothing
	for after, line := range f.later {
		timer := time.AfterFunc(after, func() { done <- h.Cluster.Do(line) })
		defer timer.Stop()
	}
	ctx, cancel := context.WithCancel(context.Background())
	exec := &executor.Executor{Machines: h, May: func(string) error { return h.may() },
		Outcome: func(o executor.Outcome) {
			h.send(ctx, func(now time.Time) []shutdown.Event { return h.run.Answered(now, o.Target, o.Found, o.Err) })
		},
		Sight: func(target string, s shutdown.Sight) {
			h.send(ctx, func(now time.Time) []shutdown.Event { return h.run.Seen(now, target, s) })
		}}
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		exec.Watch(ctx, func() []shutdown.Target {
			h.mu.Lock()
			defer h.mu.Unlock()
			return h.looks
		})
	}()
	h.began = time.Now()
	h.run = shutdown.Start(shutdown.Event{Type: shutdown.Began, At: h.began, Run: &shutdown.Header{ID: "run/1", Plan: h.plan(), Reason: "the power has been out for 10 s"}})
	timer := time.NewTimer(0)
	defer timer.Stop()
	linger := time.Time{} // until when an aborted run is watched
	due := h.began
	for !h.run.Over() || time.Now().Before(linger) {
		input := h.run.Next
		select {
		case <-timer.C:
			h.stood = max(h.stood, time.Since(due))
		case input = <-h.inputs:
		}
		now := time.Now()
		for es := input(now); len(es) > 0; es = h.run.Next(now) {
			h.apply(ctx, exec, f, now, es)
		}
		wait := 100 * time.Millisecond
		if at := h.run.NextDeadline(); !at.IsZero() {
			wait = min(wait, max(time.Until(at), 0))
		}
		if h.run.Stopped != "" && linger.IsZero() {
			linger = now.Add(3 * time.Second)
		}
		due = time.Now().Add(wait)
		timer.Reset(wait)
	}
	h.ended = time.Now()
	cancel()
	<-watched
	for range f.later {
		select {
		case err := <-done:
			if err != nil {
				return err
			}
		default:
			return errors.New("the run was over before its fault came")
		}
	}
	return nil
}

func (h *house) send(ctx context.Context, f func(now time.Time) []shutdown.Event) {
	select {
	case h.inputs <- f:
	case <-ctx.Done():
	}
}

// apply writes events down and does what they ask for.
func (h *house) apply(ctx context.Context, exec *executor.Executor, f fault, now time.Time, es []shutdown.Event) {
	for _, e := range es {
		h.run.Apply(e)
		h.events = append(h.events, e)
		answered := (e.Type == shutdown.Accepted || e.Type == shutdown.Refused) && !strings.HasPrefix(e.Target, "listing/")
		if answered && f.mains == h.run.Stage+1 {
			h.once.Do(func() { time.AfterFunc(time.Second, h.mains) })
		}
		if e.Type != shutdown.StageBegan {
			continue
		}
		began := h.now()
		began.at = e.At
		h.stages = append(h.stages, began)
		for _, line := range f.at[e.Stage] {
			if err := h.Cluster.Do(line); err != nil {
				panic(err)
			}
		}
	}
	looks := h.run.Looks()
	h.mu.Lock()
	h.looks = looks
	h.mu.Unlock()
	for _, e := range es {
		if e.Type != shutdown.Sent {
			continue
		}
		for _, c := range h.run.Due(now) {
			if c.Target.ID() == e.Target {
				exec.Perform(ctx, []shutdown.Command{c})
			}
		}
	}
}

// now is what the simulated machines are like.
func (h *house) now() stage {
	s := stage{at: time.Now()}
	for id := range h.guests() {
		if g, _ := h.Guest(id); g.Running {
			s.running = append(s.running, id)
		}
	}
	for _, n := range h.nodes() {
		if h.NodeUp(n) {
			s.up = append(s.up, n)
		}
	}
	return s
}

// told is all that the run has of a target.
func (h *house) told(id string) string {
	var b strings.Builder
	for _, e := range h.events {
		if e.Target == id {
			fmt.Fprintf(&b, "%6.2f s  %s  %s\n", e.At.Sub(h.began).Seconds(), e.Type, e.Why)
		}
	}
	return b.String()
}

// commands are what the edge saw of other requests than questions.
func (h *house) commands() []pvesim.Exchange {
	h.mu.Lock()
	defer h.mu.Unlock()
	var told []pvesim.Exchange
	for _, x := range h.seen {
		if x.Method != "GET" {
			told = append(told, x)
		}
	}
	return told
}

// late is who was reported at a deadline, and why.
func (h *house) late() map[string]string {
	late := map[string]string{}
	for _, e := range h.events {
		if e.Type == shutdown.Late {
			late[e.Target] = e.Why
		}
	}
	return late
}

// judge holds the edge's log and the machines' end against what may be.
func (h *house) judge(t *testing.T, f fault) {
	t.Helper()
	h.judgeOrder(t, f)
	end := h.now()
	if f.mains == 0 {
		if took := h.ended.Sub(h.began); took > h.plan().Need()+5*time.Second {
			t.Errorf("it took %s, and the deadlines add up to %s", took, h.plan().Need())
		}
		same(t, "nodes that are up", end.up, f.up)
		same(t, "guests that run", end.running, f.running)
	} else {
		h.judgeMains(t, f, end)
	}
	late := h.late()
	for id, reason := range f.late {
		if why, ok := late[id]; !ok || !strings.Contains(why, reason) {
			t.Errorf("%s is reported: %v, because of %q, want %q", id, ok, why, reason)
		}
		delete(late, id)
	}
	for id, why := range late {
		t.Errorf("%s is reported, because of %q\n%s", id, why, h.told(id))
	}
	if f.extra != nil {
		f.extra(t, h)
	}
}

// judgeOrder: no request went to a wrong node, and no command before its stage.
func (h *house) judgeOrder(t *testing.T, f fault) {
	t.Helper()
	h.mu.Lock()
	for _, x := range h.seen {
		if x.Path != "/api2/json/version" && x.Path != "/api2/json/cluster/resources?type=vm" && !strings.HasPrefix(x.Path, "/api2/json/nodes/"+x.Node+"/") {
			t.Errorf("%s was asked for %s", x.Node, x.Path)
		}
	}
	h.mu.Unlock()
	home, guests := h.guests(), len(h.guestStages)
	for _, x := range h.commands() {
		var id int
		own := strings.TrimPrefix(x.Path, "/api2/json/nodes/"+x.Node+"/")
		of := 0
		switch {
		case own == "status":
			if of = guests; x.Node == h.nodes()[0] {
				of++
			}
		case strings.HasSuffix(own, "/status/shutdown"):
			if _, err := fmt.Sscanf(strings.NewReplacer("qemu/", "", "lxc/", "").Replace(own), "%d/", &id); err != nil || home[id] != x.Node && f.moved[id] != x.Node {
				t.Errorf("%s was told %s", x.Node, x.Path)
			}
			if guests > 1 {
				of = min(id%100, 2)
			}
		default:
			t.Errorf("%s was told %s, which no plan asks for", x.Node, x.Path)
		}
		switch {
		case of >= len(h.stages) || x.At.Before(h.stages[of].at):
			t.Errorf("%s %s before its stage", x.Node, own)
		case of+1 < len(h.stages) && x.At.After(h.stages[of+1].at.Add(time.Second)):
			t.Errorf("%s %s after its stage", x.Node, own)
		}
	}
	// A stage begins when all of the last one are down, or at its deadline.
	if len(h.stages) > guests && len(h.stages[guests].running) > len(f.unseen) && h.stages[guests].at.Sub(h.began) < guestsWithin {
		t.Errorf("the nodes were told after %s, while %v ran", h.stages[guests].at.Sub(h.began), h.stages[guests].running)
	}
	if last := guests + 1; len(h.stages) > last && h.stages[last].at.Sub(h.stages[guests].at) < nodesWithin {
		for _, n := range h.stages[last].up {
			if n != h.nodes()[0] {
				t.Errorf("the last node was told while %s was up", n)
			}
		}
	}
}

// judgeMains: once the mains are back nothing is told, and what was not told before stays.
func (h *house) judgeMains(t *testing.T, f fault, end stage) {
	t.Helper()
	if h.run.Stopped != errMainsBack.Error() || h.back.IsZero() {
		t.Fatalf("the run was not stopped: %q", h.run.Stopped)
	}
	before := 0
	for _, x := range h.commands() {
		if x.At.After(h.back) {
			t.Errorf("%s %s %s after the mains were back", x.Node, x.Path, x.At.Sub(h.back))
		} else {
			before++
		}
	}
	if before == 0 {
		t.Error("nothing was told before: this proves nothing")
	}
	if len(h.stages) != f.mains {
		t.Errorf("%d stages have begun, want %d", len(h.stages), f.mains)
	}
	same(t, "nodes that are up", end.up, f.up)
}
