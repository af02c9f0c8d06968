package torture

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"sentinel.home.arpa/deploy/lab/internal/edge"
	"sentinel.home.arpa/deploy/lab/internal/home"
	"sentinel.home.arpa/shared/speech"
)

// Kinds of calls, by what they say.
const (
	aboutPower    = "power"
	aboutInternet = "internet"
	aboutNodes    = "nodes"
)

func about(e edge.Entry) string {
	switch text := said(e); {
	case strings.Contains(text, "The power at"):
		return aboutPower
	case strings.Contains(text, "not been able to reach anything"):
		return aboutInternet
	}
	return aboutNodes
}

// lastsForLittle is in a call that comes again because little runtime is left.
const lastsForLittle = "It got worse: the battery does not last much longer"

// names reports whether a call speaks of a node, which it spells as a voice does.
func names(e edge.Entry, node string) bool {
	return strings.Contains(said(e), speech.English.Name(node))
}

// called reports whether there was a call of one of the kinds.
func (f *facts) called(from, to time.Duration, is func(edge.Entry) bool) bool {
	return slices.ContainsFunc(f.calls, func(c edge.Entry) bool { return c.At() >= from && c.At() <= to && is(c) })
}

// hindrance is a time in which a call could not be decided or made. What is undecided so
// soon after its cause begins afresh with the hindrance's end; what is decided later is on
// disk, or known to another, and its delay goes on meanwhile.
type hindrance struct {
	span
	undecided time.Duration
}

func hindrances(undecided time.Duration, of ...[]span) []hindrance {
	var hs []hindrance
	for _, s := range slices.Concat(of...) {
		hs = append(hs, hindrance{s, undecided})
	}
	return hs
}

// due is when a call must have come about what happened at a moment.
func due(at, delay time.Duration, hs []hindrance) time.Duration {
	hs = slices.SortedFunc(slices.Values(hs), func(a, b hindrance) int { return cmp.Compare(a.from, b.from) })
	by := at + delay + inTime
	for _, h := range hs {
		switch {
		case h.to <= at || h.from >= by:
		case h.undecided > 0 && h.from < at+h.undecided:
			at = h.to
			by = max(by, at+delay+inTime+afresh)
		case h.undecided > 0 && h.from < at+delay: // whoever is silent still must have had the time to be heard again (H8)
			by = max(by, h.to+h.undecided+inTime+afresh+listed)
		default:
			by = max(by, h.to+inTime+afresh+listed)
		}
	}
	return by
}

// judgeMissingCalls demands the calls that are due (invariant 4).
func (f *facts) judgeMissingCalls(v *Verdict) {
	brain, pi := f.away["brain"], f.away["pi"]
	for _, o := range f.outages {
		e, ok := f.first(o.from, o.to, readBattery)
		if !ok {
			continue
		}
		// The Pi carries how long it has been, so the brain's own death delays nothing; the
		// Pi's does, until the brain knows.
		hs := append(hindrances(0, brain), hindrances(noticed, pi, f.offline, f.noUPS)...)
		if by := due(e.At(), powerCall, hs); by < o.to {
			v.demand(f.called(o.from, by, func(c edge.Entry) bool { return about(c) != aboutNodes }), "4", by, "no call about an outage of %.0f s", (by - o.from).Seconds())
		}
	}
	for _, s := range f.offline {
		if by := due(s.from, silence+classified+internetCall, hindrances(silence+classified, brain)); by < s.to {
			from := s.from
			if o, _, in := f.outage(s.from); in && o.covers(s.from) {
				from = o.from
			}
			v.demand(f.called(from, by, func(edge.Entry) bool { return true }), "4", by, "no call though the site has been out of reach for %.0f s", (by - s.from).Seconds())
		}
	}
	for _, n := range home.Nodes() {
		for _, s := range f.cut[n] {
			if by := due(s.from, silence+classified, hindrances(silence+classified, brain, f.offline, f.outages)); by < s.to {
				v.demand(f.called(s.from, by, func(c edge.Entry) bool { return names(c, n) }), "4", by, "no call about %s, which has had no power for %.0f s", n, (by - s.from).Seconds())
			}
		}
	}
}

// judgeCalls demands that each call had a reason, and was made once (invariant 5).
func (f *facts) judgeCalls(v *Verdict) {
	last := map[string]edge.Entry{}
	for _, c := range f.calls {
		reason, wrong := f.reason(c)
		v.demand(wrong == "", "5", c.At(), "%s: %q", wrong, said(c))
		if wrong != "" {
			continue
		}
		before, again := last[reason]
		v.demand(!again || f.missed(before, c), "5", c.At(), "a second call about the same %s, after the one at %.1f s", reason, before.At().Seconds())
		last[reason] = c
	}
}

// answeredBy begins what the record says of whom the brain knows to have answered.
const answeredBy = "answered by "

// judgeAnswered demands that the brain knows who took the call, after whatever kill (invariant 5).
func (f *facts) judgeAnswered(v *Verdict) {
	for _, e := range f.es {
		if who, is := strings.CutPrefix(e.What, answeredBy); is && e.Edge == edge.Lab {
			v.demand(who != "", "5", e.At(), "nobody is known to have answered, though %d calls were placed", len(f.calls))
		}
	}
}

// missed reports whether the phone company's list was asked twice between two calls and
// did not show the first, or the first ended without having been taken.
func (f *facts) missed(first, second edge.Entry) bool {
	sid, asked := sidOf(first), 0
	for _, e := range f.es {
		if e.At() <= first.At() || e.At() >= second.At() {
			continue
		}
		if isList(e) && e.Status == 200 {
			if strings.Contains(e.Answer, sid) {
				return false
			}
			asked++
		}
		if e.Edge == edge.Twilio && strings.HasSuffix(e.Path, "/"+sid+".json") && e.Method == "POST" {
			return true // it was taken back
		}
	}
	return asked >= 2
}

// reason is what a call is about, so that a second one can be told; or why it should not
// have been.
func (f *facts) reason(c edge.Entry) (reason, wrong string) {
	switch about(c) {
	case aboutPower:
		return f.powerReason(c)
	case aboutInternet:
		for i, s := range f.offline {
			if c.At() >= s.from+silence-premature && c.At() <= s.to+inTime {
				return fmt.Sprintf("internet outage %d", i+1), ""
			}
		}
		return "", "a call about an internet that is up"
	}
	var failed []string
	for _, n := range home.Nodes() {
		if !names(c, n) {
			continue
		}
		if !slices.ContainsFunc(f.off[n], func(s span) bool { return c.At() >= s.from+silence-time.Second && c.At() <= s.to+inTime }) {
			return "", "a call about " + n + ", which was not silent for so long"
		}
		failed = append(failed, n)
	}
	if len(failed) == 0 {
		return "", "a call that fits nothing"
	}
	return "failure of " + strings.Join(failed, " and "), ""
}

func (f *facts) powerReason(c edge.Entry) (reason, wrong string) {
	o, _, ok := f.outage(c.At())
	if !ok {
		return "", "a call about power that was never out"
	}
	if _, read := f.first(o.from, c.At(), readBattery); !read {
		return "", "a call about an outage that the UPS had not told of"
	}
	reason = fmt.Sprintf("power outage at %.1f s", o.from.Seconds())
	if strings.Contains(said(c), lastsForLittle) { // it got worse, which is a call of its own (rule H5)
		if f.short == nil || c.At() < *f.short {
			return "", "a call about a battery that lasts"
		}
		reason += ", and the battery that lasts for little"
	}
	back, known := f.first(o.to, c.At(), readMains)
	if !known || c.At() <= back.At()+inTime {
		return reason, ""
	}
	if _, ran := f.first(o.from, back.At()+inFlight, isCommand); ran {
		return reason, "" // worth a call in any case (C9)
	}
	return "", fmt.Sprintf("a call %.1f s after the power was known to be back, though nothing was shut down", (c.At() - back.At()).Seconds())
}

// judgeNodes demands that what was announced is not called a failure, and that no node
// goes down that nobody told or struck (invariant 6).
func (f *facts) judgeNodes(v *Verdict) {
	for _, n := range home.Nodes() {
		v.Unheard += len(f.unheard[n])
		for _, at := range f.told[n] {
			// Until it is struck by something else.
			to := f.end + 1
			for _, s := range f.cut[n] {
				if s.from > at {
					to = min(to, s.from)
				}
			}
			v.demand(!f.called(at, to, func(c edge.Entry) bool { return about(c) == aboutNodes && names(c, n) }), "6", at, "%s had announced itself and was called a failure", n)
		}
		for _, at := range f.unheard[n] {
			away := slices.ContainsFunc(f.away["pi"], func(s span) bool { return s.to > at-6*time.Second && s.from < at })
			v.demand(away, "6", at, "the announcement of %s got through to nobody, though the Pi was there all the time", n)
		}
		for _, s := range f.off[n] {
			v.demand(f.wanted(n, s.from), "6", s.from, "%s went down, and nobody had told or struck it", n)
		}
	}
}

// wanted reports whether a node's going off has its cause: its power, somebody at its
// console, or a command.
func (f *facts) wanted(node string, at time.Duration) bool {
	const goingDown = 4 * time.Minute
	_, ok := f.first(max(at-goingDown, 0), at+time.Millisecond, func(e edge.Entry) bool {
		_, n := target(e)
		switch {
		case isCommand(e) && n == node:
			return true
		case e.Edge == edge.Lab && e.Node == "":
			return e.What == "kill "+node || e.What == "shutdown "+node || e.What == "reboot "+node
		}
		return false
	})
	return ok
}
