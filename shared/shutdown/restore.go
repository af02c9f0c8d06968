package shutdown

import (
	"cmp"
	"slices"
	"time"
)

// The events of putting back what a run stopped, once the power is back.
const (
	PutBackBegan  EventType = "put_back_began"
	StopSeen      EventType = "stop_seen"  // of a guest that was on its way down when the power came back
	StartSent     EventType = "start_sent" // on disk before the command leaves
	StartAccepted EventType = "start_accepted"
	StartRefused  EventType = "start_refused"
	PutBack       EventType = "put_back" // the guest runs
	PutBackFailed EventType = "put_back_failed"
	PutBackEnded  EventType = "put_back_ended"
)

const (
	// watchFor is for how long a guest that was told may still stop, after its stage would have
	// ended or the power came back, whichever is later. One that runs then was not stopped.
	watchFor = 2 * time.Minute
	// seenWithin is for how long what was seen of a guest holds: later it is looked at again, for
	// somebody may have started it.
	seenWithin = 5 * time.Minute
	// giveUpAfter bounds all of it, from the last guest's watchFor.
	giveUpAfter = 5 * time.Minute
	// startAgainAfter and startsAtMost bound the tries to start one guest.
	startAgainAfter = 10 * time.Second
	startsAtMost    = 12
	// startedWithin is how long a guest may take from an accepted start until it runs.
	startedWithin = 30 * time.Second
	// startingFor is for how long a start that was sent may still have the guest run.
	startingFor = 15 * time.Second
)

// itStopped is why a guest is down whose node lives.
const itStopped = "it is stopped"

// PuttingBack is how the guests that a run stopped are started again (rule S5).
type PuttingBack struct {
	Guests []*Returning `json:"guests"`
	Over   bool         `json:"over,omitempty"`
	// Held is of one that is over because the power is out again: it goes on when it is back.
	Held bool `json:"held,omitempty"`
}

// Returning is how far one guest has come.
type Returning struct {
	Target   Target    `json:"target"`
	Until    time.Time `json:"until"` // how long its shutdown may still come about
	Stopped  bool      `json:"stopped,omitempty"`
	Tries    int       `json:"tries,omitempty"`
	SentAt   time.Time `json:"sent_at,omitzero"`
	Waiting  bool      `json:"waiting,omitempty"` // a start is out and unanswered
	Accepted bool      `json:"accepted,omitempty"`
	RetryAt  time.Time `json:"retry_at,omitzero"`
	Why      string    `json:"why,omitempty"` // of the last refusal, or how it ended
	Back     bool      `json:"back,omitempty"`
	Failed   bool      `json:"failed,omitempty"`
	// Doubt is of one whose node was told and has not said yes: it is started once the node has
	// had the time to go down, and stays up.
	Doubt bool `json:"doubt,omitempty"`
}

// Done reports whether nothing more is waited for from the guest.
func (g *Returning) Done() bool { return g.Back || g.Failed }

func (g *Returning) event(t EventType, at time.Time, why string) Event {
	return Event{Type: t, At: at, Target: g.Target.ID(), Name: g.Target.Said(), Why: why}
}

func (g *Returning) refused(at time.Time, why string) Event {
	e := g.event(StartRefused, at, why)
	e.Again = g.Why == why
	return e
}

// PutsBack reports whether guests of the run are being put back.
func (r *Run) PutsBack() bool { return r.Back != nil && !r.Back.Over }

// StillOwed are the guests that this run stopped and that nobody has started again, since the power
// went out again before. The next run begins with them.
func (r *Run) StillOwed() []Target {
	if r == nil || r.Back == nil || !r.PutsBack() && !r.Back.Held {
		return nil
	}
	return r.Back.left()
}

// StartsUnderWay are the guests whose start was sent so lately that it may be under way still. The next
// run begins with them.
func (r *Run) StartsUnderWay(now time.Time) (all []Starting) {
	if r == nil {
		return nil
	}
	add := func(s Starting) {
		known := slices.ContainsFunc(all, func(o Starting) bool { return o.Target.ID() == s.Target.ID() })
		if now.Before(s.Until) && !known {
			all = append(all, s)
		}
	}
	if r.Back != nil {
		for _, g := range r.Back.Guests {
			if !g.Back {
				add(Starting{g.Target, g.SentAt.Add(startingFor)})
			}
		}
	}
	for _, s := range r.Header.Starting {
		add(s)
	}
	return all
}

// mayStart reports whether a guest of a node may come to run that was not found to.
func (r *Run) mayStart(node string, now time.Time) bool {
	return slices.ContainsFunc(r.Header.Starting, func(s Starting) bool {
		return s.Target.Node == node && now.Before(s.Until) && !r.has(s.Target)
	})
}

func (b *PuttingBack) left() (ts []Target) {
	for _, g := range b.Guests {
		if !g.Done() {
			ts = append(ts, g.Target)
		}
	}
	return ts
}

// PowerBack ends a run because the mains are back, and begins to put back the guests that it
// told to shut down: all that a listing had found to run, but not on nodes that go down by this
// run, nor those of which leaves says that they are none of its. A run that is over is left alone,
// but for one that came to its end, whose plan may leave nodes up, and for one whose putting back
// the power interrupted: the caller asks only about a run of the outage that ends.
func (r *Run) PowerBack(now time.Time, why string, leaves func(guest Target) bool) []Event {
	es := r.Abort(now, why)
	if r.Stopped != "" && r.Back == nil && !r.Taken {
		return es
	}
	return append(es, r.BeginPutBack(now, why, leaves)...)
}

// BeginPutBack is what PowerBack begins once the run has ended, also for whom only its end came to
// disk.
func (r *Run) BeginPutBack(now time.Time, why string, leaves func(guest Target) bool) []Event {
	if r.DryRun || r.Back != nil && !r.Back.Held {
		return nil
	}
	owed := slices.DeleteFunc(r.owed(), func(t Target) bool { return leaves != nil && leaves(t) })
	if len(owed) == 0 {
		return nil
	}
	return []Event{{Type: PutBackBegan, At: now, Why: why, Targets: owed}}
}

// ToReturn are the guests that are put back, or are to be once the power is back.
func (r *Run) ToReturn() []Target {
	switch {
	case r == nil, r.DryRun, r.Back == nil && r.Stopped != "" && !r.Taken:
		return nil
	case r.Back != nil && r.Back.Over && !r.Back.Held:
		return nil
	}
	return r.owed()
}

// owed are the guests that are to be put back, but for those on nodes that go down by the run.
func (r *Run) owed() []Target {
	return slices.DeleteFunc(r.stopped(), func(t Target) bool {
		goes, _ := r.toldNode(t.Node)
		return goes
	})
}

// stopped are the guests that the run may have stopped, or that it was left by an earlier one,
// and that were not started again.
func (r *Run) stopped() (ts []Target) {
	if r.Back != nil {
		return r.Back.left()
	}
	for _, p := range r.Targets {
		runsOn := (p.Undone || !p.Took && p.SaidNo) && !p.Waiting && !p.Accepted && !p.Down // its shutdown came to nothing
		if p.Target.Kind == Guest && p.Tries > 0 && !runsOn && !p.Moved {
			ts = append(ts, p.Target)
		}
	}
	for _, t := range r.Owed {
		if !slices.ContainsFunc(ts, func(o Target) bool { return o.ID() == t.ID() }) {
			ts = append(ts, t)
		}
	}
	return ts
}

// toldNode reports whether a node goes down, or is down, by the run, which may have come to it more than
// once. In doubt it was told and has not said yes: it may stay up.
func (r *Run) toldNode(node string) (told, doubt bool) {
	for _, p := range r.Targets {
		if p.Target.Kind == ProxmoxNode && p.Target.Node == node && p.Tries > 0 {
			told, doubt = told || p.Took || p.Accepted || p.Down, true
		}
	}
	return told, doubt && !told
}

// EndPutBack ends the putting back before its end, or that which the power's return is to begin: a
// person said so, or, with held, the power is out again. Nothing is started on battery.
func (r *Run) EndPutBack(now time.Time, why string, held bool) []Event {
	if r == nil {
		return nil
	}
	left := r.owed()
	if b := r.Back; b != nil {
		if b.Over && (held || !b.Held) {
			return nil
		}
		left = b.left()
	} else if held || r.DryRun || !r.Finished && !r.Taken || len(left) == 0 {
		return nil
	}
	return []Event{{Type: PutBackEnded, At: now, Why: why, Held: held, Targets: left}}
}

// NextPutBack is what the passing of time brings to the guests that are put back. Nothing is
// started unless the mains are known to be there. As with Next, the caller asks until none
// comes.
func (r *Run) NextPutBack(now time.Time, mains bool) (es []Event) {
	if !r.PutsBack() {
		return nil
	}
	if len(r.Back.left()) == 0 {
		return []Event{{Type: PutBackEnded, At: now}}
	}
	tooLate := !now.Before(r.Back.end())
	for _, g := range r.Back.Guests {
		switch {
		case g.Done():
		case tooLate:
			es = append(es, g.event(PutBackFailed, now, cmp.Or(g.Why, "it is not known whether it runs")))
		case !mains:
		case g.Waiting && !now.Before(g.SentAt.Add(answerWithin)):
			es = append(es, g.refused(now, "no answer"))
		case g.Accepted && !now.Before(g.SentAt.Add(startedWithin)):
			es = append(es, g.refused(now, "its start was accepted, and it does not run"))
		case g.Waiting, g.Accepted, !g.Stopped, now.Before(g.RetryAt):
		case g.Tries >= startsAtMost:
			es = append(es, g.event(PutBackFailed, now, g.Why))
		default:
			e := g.event(StartSent, now, "")
			e.Again = g.Tries > 0
			es = append(es, e)
		}
	}
	return es
}

// end is when all is given up that has not come about.
func (b *PuttingBack) end() (at time.Time) {
	for _, g := range b.Guests {
		if g.Until.After(at) {
			at = g.Until
		}
	}
	return at.Add(giveUpAfter)
}

// PutBackDeadline is when NextPutBack should be asked again if nothing happens and the mains
// stay as they are; zero if never.
func (r *Run) PutBackDeadline(mains bool) time.Time {
	if !r.PutsBack() {
		return time.Time{}
	}
	d := r.Back.end()
	if !mains {
		return d
	}
	for _, g := range r.Back.Guests {
		at := g.RetryAt
		switch {
		case g.Done(), !g.Stopped:
			continue
		case g.Waiting:
			at = g.SentAt.Add(answerWithin)
		case g.Accepted:
			at = g.SentAt.Add(startedWithin)
		}
		if at.Before(d) {
			d = at
		}
	}
	return d
}

// StartAnswered is the outcome of a guest's start.
func (r *Run) StartAnswered(now time.Time, id string, err error) []Event {
	g := r.returning(id)
	switch {
	case g == nil || !g.Waiting:
		return nil
	case err != nil:
		return []Event{g.refused(now, err.Error())}
	default:
		return []Event{g.event(StartAccepted, now, "")}
	}
}

// returning finds a guest that is being put back; nil: it is not, or not any more.
func (r *Run) returning(id string) *Returning {
	if !r.PutsBack() {
		return nil
	}
	for _, g := range r.Back.Guests {
		if g.Target.ID() == id && !g.Done() {
			return g
		}
	}
	return nil
}

// seenReturning takes what was seen of a guest that is being put back. Whoever has started it,
// one that runs is done with.
func (r *Run) seenReturning(now time.Time, id string, s Sight) []Event {
	g := r.returning(id)
	switch {
	case g == nil:
		return nil
	case s.Closed && g.Doubt:
		return []Event{g.event(PutBackFailed, now, "its node went down")}
	case s.Closed: // which says nothing of the guest
		return nil
	case s.Moved: // by a person
		return []Event{g.event(PutBackFailed, now, ErrMoved.Error())}
	case s.Running && g.Tries > 0:
		e := g.event(PutBack, now, "")
		e.On = r.alone()
		return []Event{e}
	case s.Running && g.Stopped:
		return []Event{g.event(PutBack, now, "somebody has started it")}
	case s.Running && !now.Before(g.Until):
		return []Event{g.event(PutBack, now, "it was not stopped after all")}
	case s.Running:
		return nil
	case !g.Stopped:
		return []Event{g.event(StopSeen, now, "")}
	case s.Failed != "" && g.Accepted:
		e := g.refused(now, s.Failed)
		e.Undone = true
		return []Event{e}
	}
	return nil
}

func (b *PuttingBack) looks() (ts []Target) {
	if b == nil || b.Over {
		return nil
	}
	return b.left()
}

// due are the starts that are out and unanswered. Starting twice does no harm.
func (b *PuttingBack) due() (cs []Command) {
	if b == nil || b.Over {
		return nil
	}
	for _, g := range b.Guests {
		if g.Waiting && !g.Done() {
			cs = append(cs, Command{Target: g.Target, Start: true})
		}
	}
	return cs
}

// applyPutBack is Apply for these events.
func (r *Run) applyPutBack(e Event) {
	switch e.Type {
	case PutBackBegan:
		r.Back = r.beginPutBack(e)
		return
	case PutBackEnded:
		if r.Back == nil {
			r.Back = &PuttingBack{}
		}
		r.Back.Over, r.Back.Held = true, e.Held
		return
	case PowerJoined, PowerLeft:
		r.applyCause(e)
		return
	}
	g := r.returning(e.Target)
	if g == nil {
		return
	}
	switch e.Type {
	case StopSeen:
		g.Stopped = true
	case StartSent:
		g.Tries, g.SentAt, g.Waiting, g.Accepted = g.Tries+1, e.At, true, false
	case StartAccepted:
		g.Waiting, g.Accepted = false, true
	case StartRefused:
		g.Waiting, g.Accepted, g.Why, g.RetryAt = false, false, e.Why, e.At.Add(startAgainAfter)
	case PutBack:
		g.Back, g.Waiting, g.Why = true, false, e.Why
	case PutBackFailed:
		g.Failed, g.Waiting, g.Why = true, false, e.Why
	}
}

// beginPutBack keeps what is done of an earlier one that the power interrupted.
func (r *Run) beginPutBack(e Event) *PuttingBack {
	b := &PuttingBack{}
	before := map[string]*Returning{}
	if r.Back != nil {
		for _, g := range r.Back.Guests {
			if before[g.Target.ID()] = g; g.Done() {
				b.Guests = append(b.Guests, g)
			}
		}
	}
	for _, t := range e.Targets {
		g := &Returning{Target: t, Until: e.At.Add(watchFor)}
		if _, g.Doubt = r.toldNode(t.Node); g.Doubt {
			g.RetryAt = g.Until
		}
		lately := !e.At.After(r.LastStep.Add(seenWithin))
		if was := before[t.ID()]; was != nil { // its start may have been under way
			g.Stopped, g.Tries, g.SentAt = was.Stopped && lately, min(was.Tries, 1), was.SentAt
		}
		for i, p := range r.Targets {
			if p.Target.ID() != t.ID() {
				continue
			}
			g.Stopped = g.Stopped || lately && p.Down && p.Why == itStopped
			if i >= r.Past && r.Stage >= 0 && r.Stage < len(r.Plan.Stages) && r.stageEnd().After(e.At) {
				g.Until = r.stageEnd().Add(watchFor)
			}
		}
		b.Guests = append(b.Guests, g)
	}
	return b
}
