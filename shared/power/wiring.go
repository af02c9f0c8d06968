package power

import (
	"maps"
	"slices"
	"strings"
	"time"
)

// Wiring is which UPS feeds which machine (rule U7). Without one each UPS may feed all machines,
// and any of them calls for all.
type Wiring struct {
	Feeds map[string][]string `json:"feeds"`         // the machines behind each UPS
	Any   []string            `json:"any,omitempty"` // machines for which one of their UPSes is enough; for others all must call
}

// Wire is the Wiring of a site by what its UPSes feed. With one entry alone there is none: another
// UPS of which nobody says what it feeds may feed the same.
func Wire(feeds map[string][]string, anyOf []string) *Wiring {
	if len(feeds) < 2 {
		return nil
	}
	return &Wiring{Feeds: feeds, Any: anyOf}
}

// Standing is whether a UPS still calls for a machine that was called for, which its numbers no
// longer decide: only the mains take a call back.
type Standing int

// The standings.
const (
	Unsure Standing = iota // nothing is known that changes anything
	HasMains
	StillCalls // on battery, also if it is silent by now
)

// Stands is whether a UPS that says so still calls for those for whom it called. A test is no reason, unless
// the policy begins by it, or did when the UPS fell silent in it.
func (p Policy) Stands(r Reading, need time.Duration) Standing {
	test := r.Supply == SelfTest || r.Supply == Calibrates
	switch {
	case r.Supply == Battery, test && (p.Decide(r, need).Start || p.Decide(r.heard(), need).Start):
		return StillCalls
	case test, r.Supply == Mains && r.LostFor == nil:
		return HasMains
	}
	return Unsure
}

// heard is what was last heard of a UPS, as it stood then.
func (r Reading) heard() Reading {
	if r.LostFor == nil {
		return r
	}
	lost := *r.LostFor
	r.LostFor, r.For = nil, max(r.For-lost, 0)
	if r.LowFor != nil {
		r.LowFor = new(max(*r.LowFor-lost, 0))
	}
	return r
}

// Feeders are the UPSes that are said to feed a machine, in order.
func (w *Wiring) Feeders(machine string) (by []string) {
	for _, ups := range slices.Sorted(maps.Keys(w.Feeds)) {
		if slices.Contains(w.Feeds[ups], machine) {
			by = append(by, ups)
		}
	}
	return by
}

// named and others divide what is known of the site's UPSes into those that are said to feed a
// machine, and those that may: all if none is said to, or those of which nobody says what they feed.
func (w *Wiring) divide(machine string, known []Feed) (named, others []Feed) {
	by := w.Feeders(machine)
	for _, ups := range by {
		f := Feed{UPS: ups}
		if i := slices.IndexFunc(known, func(f Feed) bool { return f.UPS == ups }); i >= 0 {
			f = known[i]
		}
		named = append(named, f)
	}
	for _, f := range known {
		if _, said := w.Feeds[f.UPS]; len(by) == 0 || !said {
			others = append(others, f)
		}
	}
	return named, others
}

func (w *Wiring) calling(machine string) Calling {
	if slices.Contains(w.Any, machine) {
		return AnyCalls
	}
	return AllCall
}

// Without leaves out the UPSes that a later wiring says to feed something and this one does not know: they
// call for nothing that began with this one.
func (w *Wiring) Without(later *Wiring, known []Feed) []Feed {
	if later == nil {
		return known
	}
	return slices.DeleteFunc(slices.Clone(known), func(f Feed) bool {
		_, said := w.Feeds[f.UPS]
		_, since := later.Feeds[f.UPS]
		return since && !said
	})
}

// Decide applies a policy to a machine, by what is known of the site's UPSes. One of which nobody
// says what it feeds calls alone.
func (w *Wiring) Decide(p Policy, machine string, known []Feed, need time.Duration) Verdict {
	named, others := w.divide(machine, known)
	return Graver(p.DecideFed(w.calling(machine), named, need), p.DecideFed(AnyCalls, others, need))
}

// Holds reports whether a machine that was called for still is (rule S5).
func (w *Wiring) Holds(machine string, known []Feed) bool {
	calls := func(f Feed) bool { return f.Standing == StillCalls }
	named, others := w.divide(machine, known)
	if slices.ContainsFunc(others, calls) {
		return true
	}
	mains := slices.ContainsFunc(named, func(f Feed) bool { return f.Standing == HasMains })
	return slices.ContainsFunc(named, calls) && (!mains || w.calling(machine) == AnyCalls)
}

// TakenBack reports whether the mains have ended the call for a machine: of silence alone it does not end.
func (w *Wiring) TakenBack(machine string, known []Feed) bool {
	named, others := w.divide(machine, known)
	mains := func(f Feed) bool { return f.Standing == HasMains }
	return !w.Holds(machine, known) && (slices.ContainsFunc(named, mains) || slices.ContainsFunc(others, mains))
}

// Spared says why a machine is not called for, as in "fed by ups2, which has mains".
func (w *Wiring) Spared(machine string, known []Feed) string {
	named, others := w.divide(machine, known)
	if len(named) == 0 {
		named = others
	}
	var all, mains, silent []string
	for _, f := range named {
		all = append(all, f.UPS)
		switch f.Standing {
		case HasMains:
			mains = append(mains, f.UPS)
		case Unsure:
			silent = append(silent, f.UPS)
		}
	}
	switch {
	case len(all) == 0:
		return "no UPS calls for it"
	case len(all) == 1 && len(mains) == 1:
		return "fed by " + all[0] + ", which has mains"
	case len(all) == 1 && len(silent) == 1:
		return "fed by " + all[0] + ", of which nothing certain is known"
	case len(all) == 1:
		return "fed by " + all[0] + ", which does not call for it yet"
	case len(mains) == 1:
		return "fed by " + strings.Join(all, " and ") + "; " + mains[0] + " has mains"
	case len(mains) > 1:
		return "fed by " + strings.Join(all, " and ") + "; " + strings.Join(mains, " and ") + " have mains"
	case len(silent) > 0:
		return "fed by " + strings.Join(all, " and ") + "; nothing certain is known of " + strings.Join(silent, " and ")
	}
	return "fed by " + strings.Join(all, " and ") + ", not all of which call for it yet"
}

// Graver is the verdict that counts of two: what starts, what is urgent, what starts earlier.
func Graver(a, b Verdict) Verdict {
	switch {
	case a.Start != b.Start:
		if b.Start {
			return b
		}
	case a.Start:
		if b.Urgent && !a.Urgent {
			return b
		}
	case b.In != Never && (a.In == Never || b.In < a.In):
		a.In = b.In
	}
	return a
}
