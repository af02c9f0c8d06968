package shutdown

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Choice names some of a site's guests. One that fits any of its words is chosen, on whichever
// node it runs.
type Choice struct {
	Tags []string `json:"tags,omitempty"` // whatever their case: Proxmox writes them small, unless told otherwise
	IDs  []int    `json:"ids,omitempty"`
	Pool string   `json:"pool,omitempty"`
}

// Takes reports whether a guest is chosen.
func (c Choice) Takes(t Target) bool {
	return slices.Contains(c.IDs, t.VMID) || c.Pool != "" && c.Pool == t.Pool || slices.ContainsFunc(t.Tags, func(tag string) bool {
		return slices.ContainsFunc(c.Tags, func(own string) bool { return strings.EqualFold(own, tag) })
	})
}

// idsSaid is how many numbers are said; then only how many more there are.
const idsSaid = 8

// Said is how a person calls those chosen.
func (c Choice) Said() string {
	var by []string
	if len(c.Tags) > 0 {
		by = append(by, "tagged "+strings.Join(c.Tags, " or "))
	}
	if c.Pool != "" {
		by = append(by, "in the pool "+c.Pool)
	}
	if len(c.IDs) > 0 {
		by = append(by, "numbered "+strings.Trim(strings.ReplaceAll(fmt.Sprint(c.IDs[:min(len(c.IDs), idsSaid)]), " ", ", "), "[]"))
		if more := len(c.IDs) - idsSaid; more > 0 {
			by[len(by)-1] += fmt.Sprintf(" and %d more", more)
		}
	}
	return "guests " + strings.Join(by, ", ")
}

// Words are its words one by one.
func (c Choice) Words() (words []Choice) {
	for _, tag := range c.Tags {
		words = append(words, Choice{Tags: []string{tag}})
	}
	if c.Pool != "" {
		words = append(words, Choice{Pool: c.Pool})
	}
	for _, id := range c.IDs {
		words = append(words, Choice{IDs: []int{id}})
	}
	return words
}

// HasGuests reports whether a stage takes guests.
func (s Stage) HasGuests() bool { return s.AllGuests || s.Guests != nil }

// Pools reports whether the plan chooses guests by their pool.
func (p Plan) Pools() bool {
	return slices.ContainsFunc(p.Stages, func(s Stage) bool { return s.Guests != nil && s.Guests.Pool != "" })
}

// guestsOf is how a person calls a stage's guests; "": it takes all there are, or none.
func (p Plan) guestsOf(stage int) string {
	switch s := p.Stages[stage]; {
	case s.Guests != nil:
		return s.Guests.Said()
	case s.AllGuests && slices.ContainsFunc(p.Stages, func(s Stage) bool { return s.Guests != nil }):
		return "all other guests"
	}
	return ""
}

// takes reports whether a stage takes a guest that no earlier one took. All guests are those
// that no later stage chooses: whoever writes such a stage behind wants them to go last.
func (p Plan) takes(stage int, t Target) bool {
	if c := p.Stages[stage].Guests; c != nil {
		return c.Takes(t)
	}
	return p.Stages[stage].AllGuests && !slices.ContainsFunc(p.Stages[stage+1:], func(s Stage) bool {
		return s.Guests != nil && s.Guests.Takes(t)
	})
}

// chosen are those of the guests on a node that the current stage takes and that the run does
// not have yet.
func (r *Run) chosen(found []Target) (ts []Target) {
	for _, t := range found {
		if r.Stage < 0 || r.has(t) || !r.Plan.takes(r.Stage, t) {
			continue
		}
		t.Second = r.second(t)
		t.Tags, t.Pool = nil, "" // they have done their work
		ts = append(ts, t)
	}
	return ts
}

// has reports whether a guest on its node is one of the run's targets.
func (r *Run) has(t Target) bool {
	return slices.ContainsFunc(r.Targets, func(p *Progress) bool {
		return p.Target.Kind == Guest && p.Target.Node == t.Node && p.Target.VMID == t.VMID && !p.Moved && !p.PutOff
	})
}

// second reports whether a guest's number alone would be that of another one.
func (r *Run) second(t Target) bool {
	for _, o := range r.Header.Owed {
		if o.VMID == t.VMID && o.Node == t.Node {
			return o.Second
		}
	}
	for _, p := range r.Targets {
		if p.PutOff && p.Target.VMID == t.VMID && p.Target.Node == t.Node {
			return p.Target.Second
		}
	}
	t.Second = false
	return slices.ContainsFunc(r.Header.Owed, func(o Target) bool { return o.ID() == t.ID() }) ||
		slices.ContainsFunc(r.Targets, func(p *Progress) bool { return p.Target.ID() == t.ID() })
}

// given is how long a guest of the current stage gets for its own shutdown; 0: all that is left.
func (r *Run) given(t Target) time.Duration {
	if s := r.Plan.Stages[r.Stage]; s.Timeout > 0 {
		return s.Timeout
	}
	return t.Down
}

// A guest may change its node while the run goes on: somebody had it migrated, or high
// availability did. It cannot be told from another one by what a node says: two hosts that
// form no cluster may both have a guest 100, of one name even. So a guest is one on its node,
// and the node itself is believed: one that says that it has no such guest any more is done
// with it, and all nodes are asked anew which guests run on them. There it is found as a target
// of its own and told once, since the first was refused. While it migrates it is locked, and
// refuses. What is neither here nor there, as the one node was asked just after it went and the
// other just before it came, is taken by a later stage of guests, or goes down with its node.

// ErrMoved is what an executor's error wraps when a node has the guest no more that it was to
// tell.
var ErrMoved = errors.New("it has no such guest any more")

// moved takes that a node has a guest no more.
func (r *Run) moved(t *Progress) {
	t.Moved, t.Waiting = true, false
	for _, p := range r.Current() {
		if p.Listed && p.Target.Kind == Listing {
			p.Down = false
		}
	}
}

// goneFrom is the event of a guest that its node has no more.
func (p *Progress) goneFrom(at time.Time) Event {
	return p.event(Moved, at, p.Target.Node+" has no such guest any more")
}
