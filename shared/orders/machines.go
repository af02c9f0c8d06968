package orders

import (
	"context"
	"time"

	"sentinel.home.arpa/shared/executor"
	"sentinel.home.arpa/shared/shutdown"
)

// Machines are all the machines of a plan. What is no host is the others' to do.
type Machines struct {
	executor.Machines
	Desk *Desk
	Run  Run
	May  func(host string) error // asked before each answer that carries an order
	// SilentFor is how long a host has not been heard anywhere; nil if it never was.
	SilentFor func(host string) *time.Duration
}

// Do implements executor.Machines. Nothing is given after the stage's deadline.
func (m Machines) Do(ctx context.Context, c shutdown.Command) error {
	if c.Target.Kind != shutdown.Host {
		return m.Machines.Do(ctx, c)
	}
	ctx, cancel := context.WithTimeout(ctx, c.Left)
	defer cancel()
	return m.Desk.Give(ctx, c.Target.Node, m.Run, func() error { return m.May(c.Target.Node) })
}

// Look implements executor.Machines. A node that cannot be looked at may have announced that it
// powers off; of one whose API is closed its last word counts as well, or that a plan told it (rule S4).
func (m Machines) Look(ctx context.Context, t shutdown.Target) (shutdown.Sight, error) {
	if t.Kind != shutdown.Host {
		s, err := m.Machines.Look(ctx, t)
		if err != nil && m.Desk.PowersOff(t.Node) {
			return shutdown.Sight{Running: true, SilentFor: m.SilentFor(t.Node), Announced: true}, nil
		}
		s.Leaving = s.Closed && m.Desk.Leaving(t.Node)
		return s, err
	}
	if m.Desk.Returning(t.Node) {
		return shutdown.Sight{SilentFor: new(time.Duration)}, nil
	}
	return shutdown.Sight{SilentFor: m.SilentFor(t.Node), Leaving: m.Desk.Leaving(t.Node)}, nil
}

// Fleet are the machines that are no hosts.
type Fleet interface {
	executor.Machines
	Close()
}

// Join has hosts told beside a run's fleet, or without it where err says why there is none, which
// lame tells of. done is for after the run. Guests that are put back are the fleet's alone.
func (m Machines) Join(run *shutdown.Run, fleet Fleet, err error) (all executor.Machines, done func(), lame bool, _ error) {
	switch {
	case err == nil && run.PutsBack():
		return fleet, fleet.Close, false, nil
	case err == nil:
		m.Machines = fleet
		return m, fleet.Close, false, nil
	case run.PutsBack() || !run.Plan.Hosts():
		return nil, nil, false, err
	}
	m.Machines = None{Err: err}
	return m, func() {}, true, nil
}

// None are the machines of a plan that cannot be reached, for that reason.
type None struct{ Err error }

// List implements executor.Machines.
func (n None) List(context.Context, string) ([]shutdown.Target, error) { return nil, n.Err }

// Do implements executor.Machines.
func (n None) Do(context.Context, shutdown.Command) error { return n.Err }

// Look implements executor.Machines.
func (n None) Look(context.Context, shutdown.Target) (shutdown.Sight, error) {
	return shutdown.Sight{}, n.Err
}
