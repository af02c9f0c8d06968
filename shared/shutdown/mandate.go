package shutdown

import (
	"cmp"
	"time"
)

// Epoch orders who may act: by counter, then by holder. Whoever begins a run raises the
// counter; the holder of a lower epoch only watches.
type Epoch struct {
	Counter uint64 `json:"counter"`
	Holder  string `json:"holder"`
}

// Compare orders epochs.
func (e Epoch) Compare(o Epoch) int {
	return cmp.Or(cmp.Compare(e.Counter, o.Counter), cmp.Compare(e.Holder, o.Holder))
}

// State is how a run of the plan stands with its holder.
type State string

// The states. Advancing, Stopped, Disarmed and HasEnded keep the guardian from acting.
const (
	None      State = "none"
	Begun     State = "begun" // decided, but nothing accepted yet, or no headway
	Advancing State = "advancing"
	HasEnded  State = "ended"
	Stopped   State = "stopped"
	Disarmed  State = "disarmed"
)

// State tells how the run stands.
func (r *Run) State(now time.Time) State {
	switch {
	case r.Finished:
		return HasEnded
	case r.Stopped != "":
		return Stopped
	case r.Advancing(now):
		return Advancing
	default:
		return Begun
	}
}

// Open reports whether a run in this state is still under way.
func (s State) Open() bool { return s == Begun || s == Advancing }

// Status is a run as its holder tells it to others.
type Status struct {
	ID      string    `json:"id"`
	Epoch   Epoch     `json:"epoch"`
	State   State     `json:"state"`
	Reason  string    `json:"reason,omitempty"`
	DryRun  bool      `json:"dry_run,omitempty"`
	On      Cause     `json:"on,omitempty"` // what it is for, while the power is no reason
	Stage   int       `json:"stage"`
	Targets []Outcome `json:"targets,omitempty"`
	// Owed are the guests that it has stopped and that its holder is to start again once the power is
	// back, as Target.Ref writes them, with their names behind that as far as there is room.
	Owed []string `json:"owed,omitempty"`
}

// Outcome is how far one target has come.
type Outcome struct {
	Kind  Kind   `json:"kind"`
	Name  string `json:"name"`
	State string `json:"state"` // pending, told, down, late, skipped, left on; back, not back
	Why   string `json:"why,omitempty"`
}

// The states of an Outcome whose guest was started again since the power is back, and of one
// that was to be and was not.
const (
	Back    = "back"
	NotBack = "not back"
)

// Status summarises the run. What it came to more than once is said as it stands now.
func (r *Run) Status(now time.Time, epoch Epoch) *Status {
	s := &Status{ID: r.ID, Epoch: epoch, State: r.State(now), Reason: r.Reason, DryRun: r.DryRun, On: r.alone(), Stage: r.Stage}
	last := map[string]*Progress{}
	for _, p := range r.Targets {
		last[p.Target.ID()] = p
	}
	for _, p := range r.Targets {
		if p.Target.Kind != Listing && last[p.Target.ID()] == p {
			s.Targets = append(s.Targets, r.outcome(p))
		}
	}
	s.Targets = append(s.Targets, r.leftOn()...)
	return s
}

func (r *Run) outcome(p *Progress) Outcome {
	o := Outcome{p.Target.Kind, p.Target.Said(), p.word(), p.Why}
	if why, left := r.Left[p.Target.Node]; left && p.Tries == 0 {
		o.State, o.Why = StaysOn, why
	}
	if r.Back == nil {
		return o
	}
	for _, g := range r.Back.Guests {
		switch same := g.Target.ID() == p.Target.ID(); {
		case same && g.Back:
			o.State, o.Why = Back, g.Why
		case same && g.Failed:
			o.State, o.Why = NotBack, g.Why
		}
	}
	return o
}

func (p *Progress) word() string {
	switch {
	case p.Down:
		return "down"
	case p.Skipped:
		return "skipped"
	case p.Late:
		return "late"
	case p.Accepted, p.PutOff && p.Tries > 0:
		return "told"
	default:
		return "pending"
	}
}
