package shutdown

import (
	"cmp"
	"slices"
	"time"

	"sentinel.home.arpa/shared/power"
)

// Where a plan says which UPS feeds which machine, a run is for those machines alone that are
// called for (rule U7). Others are told nothing and hold up nothing. Whoever is called for later
// is gone through from the first stage that has something of it, and with it the order of the
// stages holds again for all that was not told yet. The same run goes on, also one that had come
// to its end, so that whatever it told before is not told again.

// The events of who is called for. Their targets are machines, and Why is the reason of all.
const (
	// Called: they go down from now on; Again if others were called for before. With a Stage they
	// are done with up to that one, by another's run.
	Called EventType = "called"
	// LeftOn: no UPS calls for them; Again if one did, so that no further command leaves.
	LeftOn EventType = "left_on"
)

// StaysOn is the state of an Outcome that is not called for.
const StaysOn = "left on"

// Machines are all that the plan takes down, without guests.
func (p Plan) Machines() (ts []Target) {
	for _, n := range p.Nodes {
		ts = append(ts, Target{Kind: ProxmoxNode, Node: n.Name})
	}
	for _, s := range p.Stages {
		for _, n := range s.Hosts {
			ts = append(ts, Target{Kind: Host, Node: n})
		}
	}
	return ts
}

// CalledFor are the machines of the plan for which the UPSes call now, and the gravest of the
// verdicts on those that left out does not name, with when the next of them begins to be called for.
func (p Plan) CalledFor(by power.Policy, known []power.Feed, leftOut func(machine string) bool) (names []string, v power.Verdict) {
	v.In = power.Never
	for _, m := range p.Machines() {
		if leftOut != nil && leftOut(m.Node) {
			continue
		}
		one := p.Wiring.Decide(by, m.Node, known, p.Need())
		if one.Start {
			names = append(names, m.Node)
		}
		v = power.Graver(v, one)
	}
	return names, v
}

// Scoped reports whether the run is for those machines alone that are called for.
func (r *Run) Scoped() bool { return r.Plan.Wiring != nil && r.On == ForPower }

// Widens reports whether machines that are called for from now on are part of this run, as
// long as its outage goes on.
func (r *Run) Widens() bool { return r != nil && r.Scoped() && r.Stopped == "" && r.Back == nil }

// ForNobody reports whether nobody is called for any more of those that the run was for.
func (r *Run) ForNobody() bool { return r.Scoped() && len(r.Called) == 0 }

// Heed takes what is known of the UPSes now: who is called for, and who no longer is. A call
// holds until the mains take it back (rule S5). In is when the next one comes by the passing of
// time alone, or Never. Of a run that is through, widen says whether it goes on for others.
func (r *Run) Heed(now time.Time, by power.Policy, known []power.Feed, widen bool) (es []Event, in time.Duration) {
	in = power.Never
	if !r.Widens() {
		return nil, in
	}
	say := func(t EventType, m Target, why string, again bool) {
		i := slices.IndexFunc(es, func(e Event) bool { return e.Type == t && e.Why == why && e.Again == again })
		if i < 0 {
			i, es = len(es), append(es, Event{Type: t, At: now, Why: why, Again: again})
		}
		es[i].Targets = append(es[i].Targets, m)
	}
	w, need := r.Plan.Wiring, r.Plan.Need()
	for _, m := range r.Plan.Machines() {
		was := slices.Contains(r.Called, m.Node)
		_, left := r.Left[m.Node]
		v := w.Decide(by, m.Node, known, need)
		if !was && v.In != power.Never && (in == power.Never || v.In < in) {
			in = v.In
		}
		switch {
		case v.Start && !was && (widen || !r.Finished):
			say(Called, m, v.Reason, len(r.Called) > 0 || left)
		case was && !v.Start && !w.Holds(m.Node, known), !was && !left:
			say(LeftOn, m, w.Spared(m.Node, known), was)
		}
	}
	slices.SortStableFunc(es, func(a, b Event) int { return cmp.Compare(a.Type, b.Type) }) // who is called for first
	return es, in
}

// Covered has a run take machines for done with that another's run of this outage was for.
func (r *Run) Covered(now time.Time, names []string, why string) []Event {
	e := Event{Type: Called, At: now, Stage: len(r.Plan.Stages), Why: why}
	for _, m := range r.Plan.Machines() {
		if slices.Contains(names, m.Node) {
			e.Targets = append(e.Targets, m)
		}
	}
	if !r.Scoped() || len(e.Targets) == 0 {
		return nil
	}
	return []Event{e}
}

func (r *Run) applyScope(e Event) {
	if r.Left == nil {
		r.Left = map[string]string{}
	}
	for _, m := range e.Targets {
		r.Called = slices.DeleteFunc(r.Called, func(n string) bool { return n == m.Node })
		delete(r.Left, m.Node)
		delete(r.Reached, m.Node)
		switch {
		case e.Type == LeftOn:
			r.Left[m.Node] = e.Why
			r.putOff(m.Node)
			continue
		case e.Stage > 0:
			r.reach(m.Node, e.Stage)
		default:
			r.Finished = false
			r.tellAnew(m.Node)
		}
		r.Called = append(r.Called, m.Node)
	}
	// What is empty is as if it had never been, also when it was written down and read again.
	if len(r.Called) == 0 {
		r.Called = nil
	}
	if len(r.Left) == 0 {
		r.Left = nil
	}
	if len(r.Reached) == 0 {
		r.Reached = nil
	}
}

// putOff has no further command go to what belongs to a machine. What was told may go down all
// the same, and is put back with the others.
func (r *Run) putOff(machine string) {
	for _, p := range r.Current() {
		if p.Target.Node == machine && !p.Over() {
			p.PutOff = true
		}
	}
}

// tellAnew has the guests of a machine told again that are found to run, whatever came of them before
// it was left on: somebody may have started them since.
func (r *Run) tellAnew(machine string) {
	for _, p := range r.Targets {
		if p.Target.Kind == Guest && p.Target.Node == machine && !p.Moved {
			p.PutOff = true
		}
	}
}

// targetsOf are what a stage begins with: of a scoped run, what is called for and was not gone
// through yet.
func (r *Run) targetsOf(stage int) (ts []Target) {
	s := r.Plan.Stages[stage]
	takes := func(kind Kind, node string) {
		if !r.Scoped() || slices.Contains(r.Called, node) && r.Reached[node] <= stage {
			ts = append(ts, Target{Kind: kind, Node: node})
		}
	}
	if s.HasGuests() {
		for _, n := range r.Plan.Nodes {
			takes(Listing, n.Name)
		}
	}
	for _, n := range s.Nodes {
		takes(ProxmoxNode, n)
	}
	for _, n := range s.Hosts {
		takes(Host, n)
	}
	return ts
}

// behind is the first stage so far that has something to go through; negative: none has.
func (r *Run) behind() int {
	if r.Scoped() {
		for i := range r.Stage + 1 {
			if len(r.targetsOf(i)) > 0 {
				return i
			}
		}
	}
	return -1
}

// nextStage is the first from i on that has something to go through, or the plan's end.
func (r *Run) nextStage(i int) int {
	for r.Scoped() && i < len(r.Plan.Stages) && len(r.targetsOf(i)) == 0 {
		i++
	}
	return i
}

func (r *Run) beginStage(now time.Time, i int) Event {
	e := Event{Type: StageBegan, At: now, Stage: i, Stages: len(r.Plan.Stages)}
	if i >= len(r.Plan.Stages) {
		return Event{Type: Ended, At: now}
	}
	e.Deadline = r.Plan.Stages[i].Deadline
	e.Name = r.Plan.guestsOf(i)
	e.Targets = r.targetsOf(i)
	return e
}

// applyStage begins a stage. One that is begun Again comes before what runs, of which goes on
// what may have taken its command, and the rest waits for its own stage.
func (r *Run) applyStage(e Event) {
	var done, goOn []*Progress
	for i, p := range r.Targets {
		switch {
		case i < r.Past, !e.Again, p.Over():
			done = append(done, p)
		case e.Stage == r.Stage, p.Accepted, p.Waiting:
			goOn = append(goOn, p)
		default:
			p.PutOff = true
			r.reach(p.Target.Node, min(r.Reached[p.Target.Node], r.Stage))
			done = append(done, p)
		}
	}
	r.Stage, r.StageAt, r.Past = e.Stage, e.At, len(done)
	r.Targets = append(done, goOn...)
	r.add(e.Targets)
	if !r.Scoped() {
		return
	}
	for _, t := range e.Targets {
		r.reach(t.Node, e.Stage+1)
	}
}

// reach notes that a machine was gone through up to a stage.
func (r *Run) reach(machine string, stages int) {
	if r.Reached == nil {
		r.Reached = map[string]int{}
	}
	r.Reached[machine] = stages
}

func (r *Run) add(ts []Target) {
	for _, t := range ts {
		p := r.target(t.ID())
		if p == nil {
			p = r.recall(t)
			r.Targets = append(r.Targets, p)
		}
		if p.PutOff {
			p.PutOff, p.Waiting, p.Accepted, p.RetryAt, p.closed = false, false, false, time.Time{}, time.Time{}
			p.Down, p.Late, p.Skipped = false, false, false
		}
	}
}

// recall takes a target back into the stage that runs which was put off in another, or makes it.
func (r *Run) recall(t Target) *Progress {
	for i, p := range r.Targets[:r.Past] {
		if p.PutOff && p.Target.ID() == t.ID() {
			r.Targets = slices.Delete(r.Targets, i, i+1)
			r.Past--
			return p
		}
	}
	return &Progress{Target: t}
}

// leftOn are the machines that are not called for and were not told, as a status names them.
func (r *Run) leftOn() (all []Outcome) {
	for _, m := range r.Plan.Machines() {
		why, left := r.Left[m.Node]
		if left && !slices.ContainsFunc(r.Targets, func(p *Progress) bool { return p.Target.ID() == m.ID() }) {
			all = append(all, Outcome{m.Kind, m.Said(), StaysOn, why})
		}
	}
	return all
}
