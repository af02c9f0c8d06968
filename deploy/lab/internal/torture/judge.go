package torture

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"net/url"
	"slices"
	"strings"
	"time"

	"sentinel.home.arpa/deploy/lab/internal/edge"
	"sentinel.home.arpa/deploy/lab/internal/home"
)

// The contract's times, and what a loaded machine may add to them.
const (
	rideThrough  = 10 * time.Second // S2
	patience     = 10 * time.Second // G1
	contactLost  = 30 * time.Second // U5
	silence      = 20 * time.Second // H2
	classified   = 3 * time.Second  // N6
	noticed      = 6 * time.Second  // U2's 5 s, and a report
	powerCall    = 15 * time.Second // U2
	internetCall = 60 * time.Second // N8
	inTime       = 5 * time.Second  // invariant 4
	afresh       = 3 * time.Second  // a program's start, and hearing the UPS again (H8)
	confirmedIn  = 6 * time.Second  // a report's interval, and a second (S10)
	listed       = 4 * time.Second  // looking twice for a call that may have been placed (C4)

	premature = 500 * time.Millisecond  // before its time, for the edges' own clockwork
	inFlight  = 1500 * time.Millisecond // a command that left before the mains were known
	allDown   = 100 * time.Second       // a whole run, that nobody disturbs
	guestsMay = 3 * time.Minute         // the deadlines of the lab's plan
	nodesMay  = 90 * time.Second
)

// Invariants are what is judged, with what it demands.
func Invariants() [][2]string {
	return [][2]string{
		{"0", "no program ends by itself"},
		{"1", "no command without an outage that the UPS has told of, nor before its time"},
		{"2", "an outage that lasts is commanded, and nothing of it is lost"},
		{"3", "no command outside the plan, before its stage, or with the mains known to be back"},
		{"4", "what is worth a call has one in time"},
		{"5", "no call twice, none without reason, and who took one is known"},
		{"6", "announced is not failed, and no healthy node goes down"},
		{"8", "once all is calm the guests are as before"},
	}
}

// Breach is one broken invariant.
type Breach struct {
	Invariant string
	At        time.Duration
	What      string
}

func (b Breach) String() string {
	return fmt.Sprintf("invariant %s at %.1f s: %s", b.Invariant, b.At.Seconds(), b.What)
}

// Verdict is what the judge found in one episode.
type Verdict struct {
	Checked  map[string]int // how often each invariant had something to say
	Breaches []Breach
	Calls    int
	Commands int // accepted
	// By the phase of the last kill before it:
	Doubled map[home.Phase]int // commands accepted again in the same outage, which is allowed
	Lost    map[home.Phase]int // targets that an outage to the end never told
	Unheard int                // announcements that got through to nobody
}

func newVerdict() *Verdict {
	return &Verdict{Checked: map[string]int{}, Doubled: map[home.Phase]int{}, Lost: map[home.Phase]int{}}
}

// demand checks one thing.
func (v *Verdict) demand(holds bool, invariant string, at time.Duration, format string, args ...any) {
	v.Checked[invariant]++
	if !holds {
		v.Breaches = append(v.Breaches, Breach{invariant, at, fmt.Sprintf(format, args...)})
	}
}

// Judge reads an episode's record.
func Judge(es []edge.Entry) *Verdict {
	f := read(es)
	v := newVerdict()
	v.Calls = len(f.calls)
	v.demand(len(f.died) == 0, "0", f.end, "%s", ends(f.died))
	for _, c := range f.cmds {
		f.judgeReason(v, c)
		f.judgePlace(v, c)
	}
	for _, s := range f.starts {
		f.judgeStart(v, s)
	}
	for _, o := range f.outages {
		f.judgeCommanded(v, o)
	}
	f.judgeLost(v)
	f.judgeMissingCalls(v)
	f.judgeCalls(v)
	f.judgeAnswered(v)
	f.judgeNodes(v)
	f.judgeGuests(v)
	return v
}

func ends(died []edge.Entry) string {
	var all []string
	for _, d := range died {
		all = append(all, fmt.Sprintf("%s %s", d.Node, d.What))
	}
	return strings.Join(all, "; ")
}

// judgeReason demands that a command had its reason (invariant 1), and that the mains
// were not known to be back (invariant 3).
func (f *facts) judgeReason(v *Verdict, c edge.Entry) {
	v.demand(c.At() <= f.confirmed(), "1", c.At(), "%s was sent though the plan was disarmed", c.Path)
	o, _, ok := f.outage(c.At())
	if !ok {
		v.demand(false, "1", c.At(), "%s was sent though the power was never out", c.Path)
		return
	}
	var battery, back, low bool
	var backAt time.Duration
	for _, e := range f.es {
		if e.At() < o.from || e.At() > c.At() {
			continue
		}
		switch {
		case readBattery(e):
			battery, back = true, false
			low = low || flagsOf(e)&flagLow != 0
		case readMains(e) && battery && !back:
			back, backAt = true, e.At()
		}
	}
	v.demand(battery, "1", c.At(), "%s was sent though the UPS was never read on battery in this outage", c.Path)
	low = low || f.short != nil && c.At() >= *f.short
	v.demand(low || c.At() >= o.from+rideThrough-premature, "1", c.At(), "%s was sent %.1f s after the power went", c.Path, (c.At() - o.from).Seconds())
	v.demand(!back || c.At() <= backAt+inFlight, "3", c.At(), "%s was sent %.1f s after the UPS was read on mains again", c.Path, (c.At() - backAt).Seconds())
}

// confirmed is when the Pi must have confirmed that the plan is disarmed; never, if it is
// not.
func (f *facts) confirmed() time.Duration {
	if f.disarmed == nil {
		return f.end
	}
	by, ok := undisturbed(*f.disarmed, confirmedIn, f.end, f.away["pi"], f.away["brain"], f.offline)
	if !ok {
		return f.end
	}
	return by
}

// target says what a command shuts down: a guest's path, or a node.
func target(c edge.Entry) (guest, node string) {
	path := strings.TrimPrefix(c.Path, "/api2/json")
	parts := strings.Split(strings.Trim(path, "/"), "/")
	switch {
	case len(parts) == 6 && parts[4] == "status" && parts[5] == "shutdown":
		return path, ""
	case len(parts) == 3 && parts[2] == "status" && commandOf(c.Body) == "shutdown":
		return "", parts[1]
	}
	return "", ""
}

// commandOf is the command in a request's body, JSON or a form.
func commandOf(body string) string {
	var v struct{ Command string }
	if json.Unmarshal([]byte(body), &v) == nil {
		return v.Command
	}
	form, err := url.ParseQuery(body)
	if err != nil {
		return ""
	}
	return form.Get("command")
}

// judgePlace demands that a command is in the plan, and not before its stage.
func (f *facts) judgePlace(v *Verdict, c edge.Entry) {
	guest, node := target(c)
	v.demand(guest != "" || slices.Contains(home.Nodes(), node), "3", c.At(), "%s %s %s is not in the plan", c.Method, c.Path, c.Body)
	o, _, ok := f.outage(c.At())
	if !ok || node == "" {
		return
	}
	first := func(is func(edge.Entry) bool) time.Duration {
		e, found := f.first(o.from, c.At(), func(e edge.Entry) bool { return isCommand(e) && is(e) })
		if !found {
			return c.At()
		}
		return e.At()
	}
	var run int
	_, err := fmt.Sscanf(c.What, "%d guests run", &run)
	begun := first(func(e edge.Entry) bool { g, _ := target(e); return g != "" })
	v.demand(err != nil || run == 0 || c.At() >= begun+guestsMay, "3", c.At(), "%s was told to shut down while %d guests ran", node, run)
	if node != "pve1" {
		return
	}
	second := first(func(e edge.Entry) bool { _, n := target(e); return n != "" && n != "pve1" })
	for _, n := range []string{"pve2", "pve3"} {
		v.demand(f.isOff(n, c.At()) || second < c.At() && c.At() >= second+nodesMay, "3", c.At(), "pve1 was told to shut down while %s was up", n)
	}
}

func (f *facts) isOff(node string, at time.Duration) bool {
	return slices.ContainsFunc(f.off[node], func(s span) bool { return s.covers(at) })
}

// judgeCommanded demands that an outage is commanded once it and the Pi, by which
// everything goes, have lasted long enough (invariant 2).
func (f *facts) judgeCommanded(v *Verdict, o span) {
	if f.disarmed != nil {
		return
	}
	accepted := func(by time.Duration) bool {
		_, ok := f.first(o.from, by, func(e edge.Entry) bool { return isCommand(e) && e.Status == 200 })
		return ok || f.allOff(by) // with nothing left to be told
	}
	pi, brain := f.away["pi"], f.away["brain"]
	if by := f.commandDue(o); by <= o.to {
		v.demand(accepted(by), "2", by, "an outage of %.0f s was not commanded", (by - o.from).Seconds())
	}
	if by, ok := undisturbed(o.from, allDown, o.to, pi, f.noUPS); ok {
		v.demand(f.allOff(by), "2", by, "%s not down after %.0f s with the Pi alive", f.stillOn(by), (by - o.from).Seconds())
	}
	for _, s := range f.noUPS { // contact lost on battery (U5)
		e, read := f.first(o.from, s.from, readBattery)
		if !read || s.from > o.to || e.At() > s.from-afresh {
			continue
		}
		for _, bound := range []struct {
			long time.Duration
			done func(time.Duration) bool
			what string
		}{
			{contactLost + patience + inTime + afresh, accepted, "was not commanded"},
			{contactLost + allDown, f.allOff, "did not bring everything down"},
		} {
			if by, ok := undisturbed(s.from, bound.long, min(s.to, o.to), pi, brain, f.offline); ok {
				v.demand(bound.done(by), "2", by, "an outage whose UPS fell silent %s within %.0f s, with Pi and brain alive", bound.what, (by - s.from).Seconds())
			}
		}
	}
}

// commandDue is when an outage must have been commanded, by the Pi if need be: when it
// dies the brain has its patience anew (G1), but how long the power has been out is no
// secret of one process (U2).
func (f *facts) commandDue(o span) time.Duration {
	const never = time.Duration(math.MaxInt64)
	all := rideThrough + 2*patience + inTime
	by := o.from + all
	for _, s := range slices.SortedFunc(slices.Values(f.away["pi"]), func(a, b span) int { return cmp.Compare(a.from, b.from) }) {
		if s.from >= by || s.to <= o.from {
			continue
		}
		wait := patience + afresh + inTime
		if _, seen := f.first(o.from, s.from-inFlight, readBattery); !seen {
			wait = all
		}
		by = max(by, s.to+wait)
	}
	if slices.ContainsFunc(f.noUPS, func(s span) bool { return s.from < by && s.to > o.from }) {
		return never // contact lost is judged by itself
	}
	return by
}

func (f *facts) allOff(at time.Duration) bool { return len(f.on(at)) == 0 }

func (f *facts) stillOn(at time.Duration) string { return strings.Join(f.on(at), ", ") }

func (f *facts) on(at time.Duration) []string {
	var on []string
	for _, n := range home.Nodes() {
		if !f.isOff(n, at) {
			on = append(on, n)
		}
	}
	return on
}

// after is the phase of the last kill before a moment; none is empty.
func (f *facts) after(at time.Duration) (p home.Phase) {
	for _, e := range f.es {
		if e.At() > at {
			break
		}
		if what, is := strings.CutPrefix(e.What, "kill -9 "); is && e.Edge == edge.Lab {
			_, phase, _ := strings.Cut(what, ", ")
			p = home.Phase(phase)
		}
	}
	return p
}

// judgeLost looks for targets that nobody ever told though an outage brought everything
// down, and counts what was told twice.
func (f *facts) judgeLost(v *Verdict) {
	told := map[string]bool{}
	for _, o := range f.outages {
		_, next, _ := f.outage(o.from)
		twice := map[string]bool{}
		for _, c := range f.cmds {
			if c.At() < o.from || c.At() >= next || c.Status != 200 {
				continue
			}
			v.Commands++
			guest, node := target(c)
			if twice[guest+node] {
				v.Doubled[f.after(c.At())]++
			}
			twice[guest+node], told[guest+node] = true, true
		}
	}
	if !slices.ContainsFunc(f.outages, func(o span) bool { return f.allOff(o.to - 1) }) || len(f.cut) > 0 {
		return
	}
	guests, nodes := 0, 0
	for what := range told {
		if slices.Contains(home.Nodes(), what) {
			nodes++
		} else {
			guests++
		}
	}
	lost := max(9-guests, 0) + max(len(home.Nodes())-nodes, 0)
	if lost > 0 {
		v.Lost[f.after(f.end)] = lost
	}
	v.demand(lost == 0, "2", f.end, "only %d of 9 guests and %d of 3 nodes were ever told", guests, nodes)
}
