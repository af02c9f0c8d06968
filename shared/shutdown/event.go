package shutdown

import "time"

// EventType tells what happened in a run.
type EventType string

// The events of a run, in the order in which they usually come.
const (
	Began      EventType = "began"
	StageBegan EventType = "stage_began"
	Sent       EventType = "sent"     // on disk before the command leaves
	Found      EventType = "found"    // a listing's answer; Why is which guests it was for, if not all
	Accepted   EventType = "accepted" // the machine said yes; no evidence that it goes down
	Refused    EventType = "refused"
	WentDown   EventType = "down"
	Moved      EventType = "moved"   // of a guest that its node has no more
	Skipped    EventType = "skipped" // a dry run\'s command, or a host that was silent before
	Late       EventType = "late"    // not down at its stage's deadline
	StageEnded EventType = "stage_ended"
	Ended      EventType = "ended"
	Aborted    EventType = "aborted"
)

// Rehearsed is the reason of an Ended event of a dry run.
const Rehearsed = "it was a dry run"

// Event is one step of a run. Which fields are set depends on the type.
type Event struct {
	Type    EventType `json:"type"`
	Stage   int       `json:"stage,omitempty"`
	Target  string    `json:"target,omitempty"`  // a Target's ID
	Name    string    `json:"name,omitempty"`    // as people call it
	Targets []Target  `json:"targets,omitempty"` // of Ended, those not seen down
	Why     string    `json:"why,omitempty"`
	// Again is of what was sent before, of a refusal as the last one, of what was accepted
	// after a refusal, of what a node was asked anew, which brings only what is new, and of a
	// stage that the run goes back to.
	Again bool `json:"again,omitempty"`
	// Undone is of a refusal after a yes: the machine took the command, and it came to nothing.
	Undone bool    `json:"undone,omitempty"`
	No     bool    `json:"no,omitempty"`    // of a refusal: the machine itself said it, and has done nothing
	Took   bool    `json:"took,omitempty"`  // of a refusal: its yes broke off
	Held   bool    `json:"held,omitempty"`  // of PutBackEnded: until the power is back once more
	Taken  bool    `json:"taken,omitempty"` // of Aborted: another carries the plan out
	On     Cause   `json:"on,omitempty"`    // of PutBack: what the run was for, if not the power
	Run    *Header `json:"run,omitempty"`   // of Began
	// Of StageBegan: how many there are, and how long this one may take.
	Stages   int           `json:"stages,omitempty"`
	Deadline time.Duration `json:"deadline,omitempty"`
	At       time.Time     `json:"at"`
}

// Header is what a run begins with and keeps to its end, also when the plan changes.
type Header struct {
	ID     string `json:"id"`
	Plan   Plan   `json:"plan"`
	Reason string `json:"reason"`
	DryRun bool   `json:"dry_run,omitempty"`
	// Out is since when the power is out, as its holder knows; zero: it does not, or the run is of something else.
	Out time.Time `json:"out,omitzero"`
	// Takes is of one that took over another's which made no headway though its holder was heard. Each actor
	// does that once in an outage, or the plan would begin anew for ever for one machine that takes no command.
	Takes bool `json:"takes,omitempty"`
	// On is what it is for beside the power, and Joined since when the power is a reason too; zero: it is not.
	On     Cause     `json:"on,omitempty"`
	Joined time.Time `json:"joined,omitzero"`
	// Owed are guests that an earlier run stopped and that were not started again yet.
	Owed []Target `json:"owed,omitempty"`
	// Starting are guests whose start an earlier run sent just before, so that they may come to
	// run although they are not found to.
	Starting []Starting `json:"starting,omitempty"`
}

// Starting is a guest whose start may be under way until then.
type Starting struct {
	Target Target    `json:"target"`
	Until  time.Time `json:"until"`
}
