package home

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"sentinel.home.arpa/deploy/lab/internal/edge"
	"sentinel.home.arpa/deploy/lab/internal/link"
)

// Phase is a moment in a program's work at which it can be killed, without its knowing.
type Phase string

// The phases. Those of the disk are seen by the system calls of the program, those of the
// network by what passes towards the simulators.
const (
	Random Phase = "at random"

	JournalBefore Phase = "brain's journal: before the write"
	JournalAfter  Phase = "brain's journal: written, not acted upon"
	SpoolBefore   Phase = "Pi's spool: before the write"
	SpoolAfter    Phase = "Pi's spool: written, not answered"
	LedgerBefore  Phase = "Pi's ledger: before the write"
	LedgerAfter   Phase = "Pi's ledger: written, not acted upon"

	CallBefore Phase = "call: requested, not arrived"
	CallDone   Phase = "call: placed, not answered"
	CallAfter  Phase = "call: answered"
	CallRings  Phase = "call: it rings"
	CallTalks  Phase = "call: in progress"
	CallTaken  Phase = "call: taken, not written"
	CallAsking Phase = "call: asked for in the list"

	BrainCommandBefore Phase = "brain's command: sent, not arrived"
	BrainCommandDone   Phase = "brain's command: done, not answered"
	BrainCommandAfter  Phase = "brain's command: answered"
	PiCommandBefore    Phase = "Pi's command: sent, not arrived"
	PiCommandDone      Phase = "Pi's command: done, not answered"
	PiCommandAfter     Phase = "Pi's command: answered"

	Announcing Phase = "during an announcement"
)

// Phases are all of them.
func Phases() []Phase {
	return []Phase{Random, JournalBefore, JournalAfter, SpoolBefore, SpoolAfter, LedgerBefore, LedgerAfter, CallBefore, CallDone, CallAfter, CallRings, CallTalks, CallTaken, CallAsking,
		BrainCommandBefore, BrainCommandDone, BrainCommandAfter, PiCommandBefore, PiCommandDone, PiCommandAfter, Announcing}
}

// Agent stands for the agent of the node that the phase is about.
const Agent = "agent"

// Kill is a kill -9.
type Kill struct {
	Phase  Phase
	Victim string        // brain, pi or a node; Agent in Announcing: that of the node that announces
	Delay  time.Duration // after the phase begins, for Announcing
	Away   time.Duration // until it is started again; 0 is 1 s, as the units say
}

// Kill waits for the phase and kills the victim in it: false if the context ended first,
// or the victim was not alive to be killed.
func (h *Home) Kill(ctx context.Context, k Kill) (bool, error) {
	if p := h.process(k.Victim); p != nil {
		if p.keep == nil {
			return false, fmt.Errorf("%s is not kept, so it would stay dead", k.Victim)
		}
		p.keep.away.Store(int64(k.Away))
	}
	switch k.Phase {
	case Random:
		return h.shoot(k), nil
	case JournalBefore, JournalAfter, SpoolBefore, SpoolAfter, LedgerBefore, LedgerAfter:
		return h.atDisk(ctx, k)
	}
	return h.gates.wait(ctx, k.Phase, func(node string) bool {
		if k.Victim == Agent {
			k.Victim = node
		}
		return wait(h.ctx, k.Delay) && h.shoot(k)
	}), nil
}

// wait reports whether the time passed before the context ended.
func wait(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// shoot kills now.
func (h *Home) shoot(k Kill) bool {
	p := h.process(k.Victim)
	if p == nil {
		return false
	}
	if _, _, alive := p.life(); !alive {
		return false
	}
	h.shot(k)
	return p.kill()
}

func (h *Home) shot(k Kill) {
	h.rec.Add(time.Now(), edge.Entry{Edge: edge.Lab, What: fmt.Sprintf("kill -9 %s, %s", k.Victim, k.Phase)})
}

// gates are the places in the network at which a kill can wait for its phase.
type gates struct {
	mu     sync.Mutex
	armed  map[Phase]*trap
	hellos map[link.Hello]bool // of TLS connections that came from the brain
}

// trap is a kill that waits at a gate.
type trap struct {
	shoot  func(node string) bool
	sprung chan bool
}

// wait sets a trap and waits until it has sprung.
func (g *gates) wait(ctx context.Context, p Phase, shoot func(node string) bool) bool {
	t := &trap{shoot: shoot, sprung: make(chan bool, 1)}
	g.mu.Lock()
	if g.armed == nil {
		g.armed = map[Phase]*trap{}
	}
	g.armed[p] = t
	g.mu.Unlock()
	select {
	case hit := <-t.sprung:
		return hit
	case <-ctx.Done():
	}
	g.mu.Lock()
	waits := g.armed[p] == t
	if waits {
		delete(g.armed, p)
	}
	g.mu.Unlock()
	return !waits && <-t.sprung // it is springing this moment
}

// take takes the trap that waits for a phase.
func (g *gates) take(p Phase) *trap {
	g.mu.Lock()
	defer g.mu.Unlock()
	t := g.armed[p]
	delete(g.armed, p)
	return t
}

// pass reports whether what is passing may go on: nobody was killed over it.
func (g *gates) pass(p Phase) bool {
	t := g.take(p)
	if t == nil {
		return true
	}
	t.sprung <- t.shoot("")
	return false
}

// moments are the three phases of a request.
type moments struct{ before, done, after Phase }

// tap watches the requests of one connection that match.
func (g *gates) tap(m moments, matches func(request string) bool) link.Tap {
	var pending atomic.Bool // such a request has gone up, and its answer not down
	return link.Tap{
		Up: func(piece []byte) bool {
			line, _, _ := strings.Cut(string(piece[:min(len(piece), 1024)]), "\r\n")
			if !strings.HasPrefix(line, "POST ") || !matches(line) {
				return true
			}
			pending.Store(true)
			return g.pass(m.before)
		},
		Down: func([]byte) bool { return !pending.Load() || g.pass(m.done) },
		Passed: func() {
			if pending.Swap(false) {
				g.pass(m.after)
			}
		},
	}
}

// call watches one connection to the phone company.
func (g *gates) call() link.Tap {
	t := g.tap(moments{CallBefore, CallDone, CallAfter}, func(request string) bool { return strings.Contains(request, "/Calls.json") })
	up, down, passed := t.Up, t.Down, t.Passed
	var follows atomic.Bool // what goes up asks how a call stands
	var state atomic.Value  // what has come back says so
	t.Up = func(piece []byte) bool {
		line, _, _ := strings.Cut(string(piece[:min(len(piece), 1024)]), "\r\n")
		if strings.HasPrefix(line, "GET ") {
			follows.Store(strings.Contains(line, "/Calls/"))
			if strings.Contains(line, "/Calls.json") && strings.Contains(line, "To=") && !g.pass(CallAsking) {
				return false
			}
		}
		return up(piece)
	}
	t.Down = func(piece []byte) bool {
		if follows.Load() {
			state.Store(string(piece))
		}
		return down(piece)
	}
	t.Passed = func() {
		passed()
		said, _ := state.Swap("").(string)
		switch {
		case strings.Contains(said, `"status":"ringing"`):
			g.pass(CallRings)
		case strings.Contains(said, `"answered_by":"human"`) && !g.pass(CallTaken):
		case strings.Contains(said, `"status":"in-progress"`):
			g.pass(CallTalks)
		}
	}
	return t
}

// relayed notes whose TLS connections pass the relay: the brain's.
func (g *gates) relayed() link.Tap {
	return link.Tap{Up: func(piece []byte) bool {
		if hello, ok := link.ReadHello(piece); ok {
			g.mu.Lock()
			defer g.mu.Unlock()
			if g.hellos == nil {
				g.hellos = map[link.Hello]bool{}
			}
			g.hellos[hello] = true
		}
		return true
	}}
}

// command watches one TLS connection to a node.
func (h *Home) command(node string, hello link.Hello) link.Tap {
	h.gates.mu.Lock()
	brains := h.gates.hellos[hello]
	h.gates.mu.Unlock()
	by, m := piName, moments{PiCommandBefore, PiCommandDone, PiCommandAfter}
	if brains {
		by, m = "brain", moments{BrainCommandBefore, BrainCommandDone, BrainCommandAfter}
	}
	return h.gates.tap(m, func(request string) bool {
		h.rec.Add(time.Now(), edge.Entry{Edge: edge.Way, Node: node, What: by + " sends " + request})
		return true
	})
}

// announcing springs the trap of a node that announces, beside its announcement.
func (h *Home) announcing(node string) {
	t := h.gates.take(Announcing)
	if t == nil {
		return
	}
	h.wg.Go(func() { t.sprung <- t.shoot(node) })
}
