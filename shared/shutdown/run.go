package shutdown

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"
)

const (
	retryAfter = 2 * time.Second
	// A command without an answer for this long is given up and sent again.
	answerWithin = 8 * time.Second
	// A run that made no step for this long does not advance.
	stalledAfter = 10 * time.Second
	// Evidence that a node is down which took its command, or said that it goes (rule S4).
	silentFor = 5 * time.Second
	closedFor = 30 * time.Second
	// Of one without an agent that did neither: until then it may be the network that is away.
	untoldFor = 2 * time.Minute
	// A node that said yes and is still up after this long is told again: its yes is no
	// evidence, and it may even have come up anew (rule S4).
	tellAgainAfter = 30 * time.Second
)

// Progress is how far one target has come.
type Progress struct {
	Target   Target    `json:"target"`
	Tries    int       `json:"tries,omitempty"`
	SentAt   time.Time `json:"sent_at,omitzero"`
	Waiting  bool      `json:"waiting,omitempty"` // a command is out and unanswered
	Accepted bool      `json:"accepted,omitempty"`
	Took     bool      `json:"took,omitempty"` // accepted at least once, be it by an answer that broke off
	Down     bool      `json:"down,omitempty"` // or, of a listing, answered
	Skipped  bool      `json:"skipped,omitempty"`
	Late     bool      `json:"late,omitempty"`
	Moved    bool      `json:"moved,omitempty"`   // a guest that its node has no more
	Listed   bool      `json:"listed,omitempty"`  // a listing that was answered
	Why      string    `json:"why,omitempty"`     // of the last refusal, or how it was seen down
	Last     string    `json:"last,omitempty"`    // why it was refused before it was accepted
	Undone   bool      `json:"undone,omitempty"`  // the last refusal came after a yes
	SaidNo   bool      `json:"said_no,omitempty"` // to each command, so that none was taken
	RetryAt  time.Time `json:"retry_at,omitzero"` // not before, after a refusal
	PutOff   bool      `json:"put_off,omitempty"` // no command until its stage comes again, if it does
	closed   time.Time // since when its API was seen closed
}

// Over reports whether the run waits for nothing more from the target.
func (p *Progress) Over() bool { return p.Down || p.Skipped || p.Late || p.Moved || p.PutOff }

func (p *Progress) event(t EventType, at time.Time, why string) Event {
	return Event{Type: t, At: at, Target: p.Target.ID(), Name: p.Target.Said(), Why: why}
}

func (p *Progress) refused(at time.Time, why string) Event {
	e := p.event(Refused, at, why)
	e.Again = p.Why == why || p.Accepted && p.Last == why
	return e
}

// Told reports whether anything was told to shut down, whatever came of it.
func (r *Run) Told() bool {
	for _, p := range r.Targets {
		if p.Target.Kind != Listing && p.Tries > 0 {
			return true
		}
	}
	return false
}

// Run is one run of a plan.
type Run struct {
	Header
	Begun    time.Time   `json:"begun"`
	Stage    int         `json:"stage"` // counts from 0
	StageAt  time.Time   `json:"stage_at"`
	Targets  []*Progress `json:"targets"` // of the stages so far, Past of them done with
	Past     int         `json:"past"`    // how many of Targets belong to earlier stages
	Finished bool        `json:"finished,omitempty"`
	Stopped  string      `json:"stopped,omitempty"`  // why it was aborted
	Taken    bool        `json:"taken,omitempty"`    // since another carries it out
	LastStep time.Time   `json:"last_step,omitzero"` // forward
	// Of a scoped run: the machines that are called for, why the others are not, and how many
	// stages each was gone through.
	Called  []string          `json:"called,omitempty"`
	Left    map[string]string `json:"left,omitempty"`
	Reached map[string]int    `json:"reached,omitempty"`
	// Back is how its guests are put back, once the power is back; nil: none are.
	Back *PuttingBack `json:"back,omitempty"`
}

// Start makes the run that its Began event describes.
func Start(e Event) *Run {
	r := &Run{Header: *e.Run, Begun: e.At, Stage: -1}
	return r
}

// Current are the targets of the stage that runs.
func (r *Run) Current() []*Progress { return r.Targets[r.Past:] }

// Over reports whether the run has ended, in whichever way.
func (r *Run) Over() bool { return r.Finished || r.Stopped != "" }

// Apply is the only writer of a run.
func (r *Run) Apply(e Event) {
	t := r.target(e.Target)
	switch e.Type {
	case StageBegan:
		r.applyStage(e)
	case Called, LeftOn:
		r.applyScope(e)
	case Found: // no step forward: who may ask may not yet be one who may act
		r.add(e.Targets)
		if t != nil {
			t.Down, t.Listed, t.Waiting = true, true, false
			if r.mayStart(t.Target.Node, e.At) { // it is asked again
				t.Down, t.RetryAt = false, e.At.Add(retryAfter)
			}
		}
	case Sent:
		if t != nil {
			t.Tries, t.SentAt, t.Waiting = t.Tries+1, e.At, true
		}
	case Accepted:
		r.LastStep = e.At
		if t != nil {
			t.Accepted, t.Took, t.Waiting, t.Why, t.Last = true, true, false, "", cmp.Or(t.Why, t.Last)
		}
	case Refused:
		if t != nil {
			t.Waiting, t.Accepted, t.Undone, t.Why, t.RetryAt = false, false, e.Undone, e.Why, e.At.Add(retryAfter)
			t.Took = t.Took || e.Took
			t.SaidNo = e.No && (t.SaidNo || t.Tries <= 1)
		}
	case WentDown:
		r.LastStep = e.At
		if t != nil {
			t.Down, t.Waiting, t.Why = true, false, e.Why
		}
	case Moved:
		if t != nil {
			r.moved(t)
		}
	case Skipped:
		r.LastStep = e.At
		if t != nil {
			t.Skipped, t.Waiting, t.Why = true, false, e.Why
		}
	case Late:
		if t != nil {
			t.Late, t.Waiting, t.Why = true, false, e.Why
		}
	case Ended:
		r.Finished = true
	case Aborted:
		r.Stopped, r.Taken = e.Why, e.Taken
	default:
		r.applyPutBack(e)
	}
}

// target finds a target of the current stage.
func (r *Run) target(id string) *Progress {
	for _, p := range r.Current() {
		if p.Target.ID() == id {
			return p
		}
	}
	return nil
}

// Next is what the passing of time brings: stages that begin or end, commands to send.
// The caller applies each slice of events and asks again until none comes.
func (r *Run) Next(now time.Time) []Event {
	if r.Over() {
		return nil
	}
	if r.Stage < 0 {
		return []Event{r.beginStage(now, r.nextStage(0))}
	}
	if i := r.behind(); i >= 0 {
		e := r.beginStage(now, i)
		e.Again = true
		return []Event{e}
	}
	if late := !now.Before(r.stageEnd()); late || r.stageDone() {
		return r.endStage(now)
	}
	var es []Event
	for _, p := range r.Current() {
		switch {
		case p.Over(), p.Accepted:
		case p.Waiting && now.Before(p.SentAt.Add(answerWithin)):
		case p.Waiting:
			es = append(es, p.refused(now, "no answer"))
		case r.DryRun && p.Target.Kind != Listing:
			es = append(es, p.event(Skipped, now, ""))
		case !now.Before(p.RetryAt):
			e := p.event(Sent, now, "")
			e.Again = p.Tries > 0
			es = append(es, e)
		}
	}
	return es
}

func (r *Run) endStage(now time.Time) []Event {
	var es []Event
	for _, p := range r.Current() {
		if !p.Over() {
			es = append(es, p.event(Late, now, p.whyLate()))
		}
	}
	next := r.beginStage(now, r.nextStage(r.Stage+1))
	if next.Type == Ended {
		next.Targets = r.missed()
		if r.DryRun {
			next.Why = Rehearsed
		}
	}
	return append(es, Event{Type: StageEnded, At: now, Stage: r.Stage}, next)
}

// whyLate is why a target was not seen down by its deadline.
func (p *Progress) whyLate() string {
	switch {
	case p.Why != "":
		return p.Why
	case !p.Accepted:
		return "no answer"
	case !p.closed.IsZero() && p.Target.Kind != Host:
		return "it is not yet seen to be off"
	case p.Last != "" && p.Target.Kind == Guest:
		return p.Last + "; it was told again, and still runs"
	case p.Last != "":
		return p.Last + "; it was told again, and is still up"
	case p.Target.Kind == Guest:
		return "its shutdown was accepted, and it still runs"
	default:
		return "it said yes, and is still up"
	}
}

func (r *Run) stageEnd() time.Time { return r.StageAt.Add(r.Plan.Stages[r.Stage].Deadline) }

func (r *Run) stageDone() bool {
	for _, p := range r.Current() {
		if !p.Over() {
			return false
		}
	}
	return true
}

// NextDeadline is when Next should be asked again if nothing happens; zero if never.
func (r *Run) NextDeadline() time.Time {
	if r.Over() {
		return time.Time{}
	}
	if r.Stage < 0 {
		return r.Begun
	}
	d := r.stageEnd()
	for _, p := range r.Current() {
		at := p.RetryAt
		switch {
		case p.Over(), p.Accepted:
			continue
		case p.Waiting:
			at = p.SentAt.Add(answerWithin)
		}
		if at.Before(d) {
			d = at
		}
	}
	return d
}

// Due are the commands that are out and unanswered: what an executor performs now, and
// what it repeats after a restart. Shutting down twice does no harm.
func (r *Run) Due(now time.Time) []Command {
	if r.Over() {
		return r.Back.due()
	}
	if r.Stage < 0 {
		return nil
	}
	var cs []Command
	for _, p := range r.Current() {
		if p.Waiting && !p.Over() {
			cs = append(cs, Command{Target: p.Target, Left: max(r.stageEnd().Sub(now), 0), Given: r.given(p.Target)})
		}
	}
	return cs
}

// Looks are the targets that were told, or asked, and not yet seen down: on a node that is
// off nothing runs, so its listing need not be waited for.
func (r *Run) Looks() []Target {
	if r.Over() {
		return r.Back.looks()
	}
	var ts []Target
	for _, p := range r.Current() {
		if p.Tries > 0 && !p.Over() {
			ts = append(ts, p.Target)
		}
	}
	return ts
}

// Answered is the outcome of a command: the guests a listing found, or an error.
func (r *Run) Answered(now time.Time, id string, found []Target, err error) []Event {
	p := r.target(id)
	if r.Over() || p == nil || p.Over() || !p.Waiting {
		return nil
	}
	switch {
	case errors.Is(err, ErrMoved) && p.Target.Kind == Guest:
		return []Event{p.goneFrom(now)}
	case err != nil:
		e := p.refused(now, err.Error())
		e.No, e.Took = saidNo(err), tookIt(err)
		return []Event{e}
	case p.Target.Kind == Listing:
		e := p.event(Found, now, r.Plan.guestsOf(r.Stage))
		e.Targets = r.chosen(found)
		e.Again = p.Listed
		return []Event{e}
	default:
		e := p.event(Accepted, now, "")
		e.Again = p.Why != "" && !p.Undone
		return []Event{e}
	}
}

// Sight is what was seen of a target.
type Sight struct {
	Running bool // of a guest
	// Failed is why a guest's accepted shutdown came to nothing: its task ended and the
	// guest runs on, as with one that is locked by a backup. Of one that does not run, why its
	// accepted start did.
	Failed string
	Closed bool // of a node, or a guest's node: its API refuses connections or does not answer at all
	// SilentFor is how long a node's agent has not been heard anywhere; nil if it
	// never had one.
	SilentFor *time.Duration
	Moved     bool // of a guest: its node has it no more
	// Leaving is of a host, or of a node whose API is closed: by its last word it powers off, or a plan has told it before.
	Leaving bool
	// Announced is of a node, or a guest's, that cannot be looked at: it announced that it powers off.
	Announced bool
}

// Seen takes what was seen of a target. A node is down when it announced that or its API is
// closed, and its agent is silent, or, without an agent, when its API stays closed (rule S4); its
// guests then are, too. One that was neither told nor went by itself is out of reach: whatever
// lies between may be back any moment. One that is up long after its yes is told again.
func (r *Run) Seen(now time.Time, id string, s Sight) []Event {
	if r.Over() {
		return r.seenReturning(now, id, s)
	}
	p := r.target(id)
	if p == nil || p.Over() {
		return nil
	}
	switch {
	case p.Target.Kind == Host:
		return r.hostSeen(now, p, s)
	case s.Announced:
		return r.announcedSeen(now, p, s)
	}
	down := func(why string) []Event {
		return []Event{p.event(WentDown, now, why)}
	}
	if p.Target.Kind == Guest {
		switch {
		case s.Moved:
			return []Event{p.goneFrom(now)}
		case !s.Running:
			return down(itStopped)
		case s.Failed != "" && p.Accepted:
			e := p.refused(now, s.Failed)
			e.Undone = true
			return []Event{e}
		}
	}
	if !s.Closed {
		p.closed = time.Time{}
		if p.Target.Kind == ProxmoxNode && p.Accepted && !now.Before(p.SentAt.Add(tellAgainAfter)) {
			e := p.event(Sent, now, "")
			e.Again = true
			return []Event{e}
		}
		return nil
	}
	if p.closed.IsZero() {
		p.closed = now
	}
	of := "its"
	if p.Target.Kind == Guest {
		of = "its node's" // nothing runs on a node that is off
	}
	goes := s.Leaving || p.Took && p.Target.Kind == ProxmoxNode // that a guest was told says nothing of its node
	least := closedFor
	if !goes {
		least = untoldFor
	}
	switch {
	case s.SilentFor != nil && *s.SilentFor >= silentFor && (goes || *s.SilentFor >= r.before(now)):
		return down(of + " API is closed and its agent silent")
	case s.SilentFor == nil && now.Sub(p.closed) >= least:
		return down(fmt.Sprintf("%s API has been closed for %d s", of, int(least.Seconds())))
	}
	return nil
}

// before is for how long a machine is silent at least that was off before the power went out, or the run began.
func (r *Run) before(now time.Time) time.Duration {
	from := r.Begun
	if !r.Out.IsZero() && r.Out.Before(from) {
		from = r.Out
	}
	return max(now.Sub(from), 0) + unheardFor
}

// WithoutCommands are those of some events that tell no machine anything, for who may only
// look.
func WithoutCommands(es []Event) []Event {
	return slices.DeleteFunc(es, func(e Event) bool { return e.Type == Sent })
}

// Advancing reports whether whoever runs this makes headway, which is what keeps the
// other from taking over: a command was accepted or a target seen down within the last 10 s, or
// every target of the stage has accepted and is within its deadline.
func (r *Run) Advancing(now time.Time) bool {
	if r.Over() || r.LastStep.IsZero() {
		return false
	}
	if now.Sub(r.LastStep) <= stalledAfter {
		return true
	}
	for _, p := range r.Current() {
		if !p.Over() && !p.Accepted {
			return false
		}
	}
	return true
}
