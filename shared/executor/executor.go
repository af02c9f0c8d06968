// Package executor performs what a run of the plan decides: it sends the commands, and
// looks at what was told until it is down. Brain and Pi use the same one.
//
// It decides nothing, and knows machines only through the interface it declares.
package executor

import (
	"context"
	"fmt"
	"sync"
	"time"

	"sentinel.home.arpa/shared/shutdown"
)

// Machines are what a plan shuts down.
type Machines interface {
	// List asks a node which guests run on it.
	List(ctx context.Context, node string) ([]shutdown.Target, error)
	// Do tells a target to shut down. A nil error means that it accepted.
	Do(ctx context.Context, c shutdown.Command) error
	// Look sees whether a target still runs. An error is no evidence either way.
	Look(ctx context.Context, t shutdown.Target) (shutdown.Sight, error)
}

// Outcome is the answer to a command, or the lack of one.
type Outcome struct {
	Target string
	Found  []shutdown.Target
	Err    error
}

const (
	// commandWithin bounds one command; the run sends it again after 8 s.
	commandWithin = 7 * time.Second
	lookWithin    = 3 * time.Second
	lookEach      = time.Second
	// atOnce is how many requests one node gets at a time: Proxmox serves its API with
	// three workers.
	atOnce = 3
)

// Executor performs the commands of one run.
type Executor struct {
	Machines Machines
	// May is asked right before each command; an error keeps it back (rule S5).
	May     func() error
	Outcome func(Outcome)
	Sight   func(target string, s shutdown.Sight)

	wg    sync.WaitGroup
	mu    sync.Mutex
	nodes map[string]chan struct{}
}

// Perform sends commands without waiting for them; their outcomes are reported.
func (e *Executor) Perform(ctx context.Context, cs []shutdown.Command) {
	for _, c := range cs {
		e.wg.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, commandWithin)
			defer cancel()
			o := Outcome{Target: c.Target.ID()}
			o.Found, o.Err = e.perform(ctx, c)
			e.Outcome(o)
		})
	}
}

func (e *Executor) perform(ctx context.Context, c shutdown.Command) ([]shutdown.Target, error) {
	release, err := e.place(ctx, c.Target.Node)
	if err != nil {
		return nil, err
	}
	defer release()
	if c.Target.Kind == shutdown.Listing {
		return e.Machines.List(ctx, c.Target.Node)
	}
	if err := e.May(); err != nil {
		return nil, fmt.Errorf("kept back: %w", err)
	}
	return nil, e.Machines.Do(ctx, c)
}

// place waits for one of the node's places.
func (e *Executor) place(ctx context.Context, node string) (func(), error) {
	e.mu.Lock()
	if e.nodes == nil {
		e.nodes = map[string]chan struct{}{}
	}
	places := e.nodes[node]
	if places == nil {
		places = make(chan struct{}, atOnce)
		e.nodes[node] = places
	}
	e.mu.Unlock()
	select {
	case places <- struct{}{}:
		return func() { <-places }, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("wait for an earlier request to %s: %w", node, ctx.Err())
	}
}

// Watch looks at the targets that looks gives, each second, until the context ends, and
// then waits for all that was begun.
func (e *Executor) Watch(ctx context.Context, looks func() []shutdown.Target) {
	tick := time.NewTicker(lookEach)
	defer tick.Stop()
	defer e.wg.Wait()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		var round sync.WaitGroup
		for _, t := range looks() {
			round.Go(func() { e.look(ctx, t) })
		}
		round.Wait()
	}
}

func (e *Executor) look(ctx context.Context, t shutdown.Target) {
	ctx, cancel := context.WithTimeout(ctx, lookWithin)
	defer cancel()
	release, err := e.place(ctx, t.Node)
	if err != nil {
		return
	}
	defer release()
	s, err := e.Machines.Look(ctx, t)
	if err != nil {
		return // no evidence; it is looked at again
	}
	e.Sight(t.ID(), s)
}
