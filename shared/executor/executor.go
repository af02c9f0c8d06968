// Package executor performs what a run of the plan decides: it sends the commands, and
// looks at what was told until it is down. Brain and Pi use the same one.
//
// It decides nothing, and knows machines only through the interface it declares.
package executor

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"sentinel.home.arpa/shared/shutdown"
)

// Machines are what a plan shuts down.
type Machines interface {
	// List asks a node which guests run on it.
	List(ctx context.Context, node string) ([]shutdown.Target, error)
	// Do tells a target to shut down, or to start. A nil error means that it accepted.
	Do(ctx context.Context, c shutdown.Command) error
	// Look sees whether a target still runs. An error is no evidence either way.
	Look(ctx context.Context, t shutdown.Target) (shutdown.Sight, error)
}

// Outcome is the answer to a command, or the lack of one.
type Outcome struct {
	Target string
	Start  bool // it was a start
	Found  []shutdown.Target
	Err    error
}

const (
	// commandWithin bounds one command; the run sends it again after 8 s.
	commandWithin = 7 * time.Second
	// lookWithin bounds a look, which may be three slow answers long, from when it has its place.
	lookWithin = 8 * time.Second
	lookEach   = time.Second
	// atOnce is how many requests one node gets at a time: Proxmox serves its API with
	// three workers. Looks leave one of them to commands.
	atOnce      = 3
	looksAtOnce = 2
)

// Executor performs the commands of one run.
type Executor struct {
	Machines Machines
	// May is asked right before each command to a machine, or a guest on it; an error keeps it back
	// (rule S5).
	May     func(machine string) error
	Outcome func(Outcome)
	Sight   func(target string, s shutdown.Sight)

	wg    sync.WaitGroup
	mu    sync.Mutex
	nodes map[string]places
}

// places are what a node has to give to requests.
type places struct{ all, looks chan struct{} }

// Perform sends commands without waiting for them; their outcomes are reported.
func (e *Executor) Perform(ctx context.Context, cs []shutdown.Command) {
	for _, c := range cs {
		e.wg.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, commandWithin)
			defer cancel()
			o := Outcome{Target: c.Target.ID(), Start: c.Start}
			o.Found, o.Err = e.perform(ctx, c)
			e.Outcome(o)
		})
	}
}

func (e *Executor) perform(ctx context.Context, c shutdown.Command) ([]shutdown.Target, error) {
	release, err := take(ctx, c.Target.Node, e.places(c.Target.Node).all)
	if err != nil {
		return nil, err
	}
	defer release()
	if c.Target.Kind == shutdown.Listing {
		return e.Machines.List(ctx, c.Target.Node)
	}
	if err := e.May(c.Target.Node); err != nil {
		return nil, fmt.Errorf("kept back: %w", err)
	}
	return nil, e.Machines.Do(ctx, c)
}

func (e *Executor) places(node string) places {
	e.mu.Lock()
	defer e.mu.Unlock()
	p, known := e.nodes[node]
	if !known {
		p = places{all: make(chan struct{}, atOnce), looks: make(chan struct{}, looksAtOnce)}
		if e.nodes == nil {
			e.nodes = map[string]places{}
		}
		e.nodes[node] = p
	}
	return p
}

// take waits for one of a node's places.
func take(ctx context.Context, node string, places chan struct{}) (release func(), err error) {
	select {
	case places <- struct{}{}:
		return func() { <-places }, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("wait for an earlier request to %s: %w", node, ctx.Err())
	}
}

// Watch looks at the targets that looks gives, each second, until the context ends, and
// then waits for all that was begun. A look that takes longer holds up none at others.
func (e *Executor) Watch(ctx context.Context, looks func() []shutdown.Target) {
	tick := time.NewTicker(lookEach)
	defer tick.Stop()
	defer e.wg.Wait()
	var under sync.Map // the targets that are being looked at, by their IDs
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		for _, t := range looks() {
			if _, busy := under.LoadOrStore(t.ID(), true); busy {
				continue
			}
			e.wg.Go(func() {
				defer under.Delete(t.ID())
				e.look(ctx, t, looks)
			})
		}
	}
}

// look waits for its turn at the target's node, which comes, since whoever has a place has it for
// a bounded time and they are served in order. Its own time begins then: else those that wait
// at a node that is off would give up in their turn, and begin anew. What is over by then is
// not looked at, so that those behind it need not wait for it.
func (e *Executor) look(ctx context.Context, t shutdown.Target, looks func() []shutdown.Target) {
	node := e.places(t.Node)
	for _, places := range []chan struct{}{node.looks, node.all} {
		release, err := take(ctx, t.Node, places)
		if err != nil {
			return
		}
		defer release()
	}
	if !slices.ContainsFunc(looks(), func(o shutdown.Target) bool { return o.ID() == t.ID() }) {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, lookWithin)
	defer cancel()
	s, err := e.Machines.Look(ctx, t)
	if err != nil {
		return // no evidence; it is looked at again
	}
	e.Sight(t.ID(), s)
}
