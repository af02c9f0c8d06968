package sentinel

import (
	"time"

	"sentinel.home.arpa/cloud/internal/cause"
	"sentinel.home.arpa/shared/power"
	"sentinel.home.arpa/shared/shutdown"
)

// Input is something that happened outside. Step is told when.
type Input interface{ input() }

// The inputs.
type (
	// Tick is the passing of time.
	Tick struct{}
	// Started is the first input of a process. Notices are what it found out of the
	// ordinary while it started.
	Started struct {
		Version string
		Notices []string
	}
	// Paused: the process was stopped or its machine asleep for a while.
	Paused struct{ For time.Duration }

	// Heard is a source's first word, its first after a silence, or its first after a
	// boot or over another way.
	Heard struct {
		Site, Name string
		Role       Role
		Boot, Via  string
	}
	// Silent is a source that said nothing for Times.Silence. Up are all sources of
	// its site with their last words, itself among them.
	Silent struct {
		Site, Name string
		Last       time.Time
		Up         []cause.Source
		Elsewhere  map[string][]cause.Source // the same of the other sites, if there are any
	}
	// Indirect is a node that the brain heard directly before, and that now only a Pi
	// hears; Direct is its next direct word.
	Indirect struct {
		Site, Name, Via string
		Since           time.Time // its last direct word
	}
	Direct struct{ Site, Name string }
	// Cloned is a second machine under one name: their boots come in turn. As is what the
	// one that came later is called from now on.
	Cloned struct{ Site, Name, As, Boot string }
	// Recorded is what a Pi noted while the brain could not be reached, oldest first, and
	// how many such entries it still has.
	Recorded struct {
		Site, Pi string
		Entries  []Record
		Left     int
	}
	// SystemState is what systemd says of a node, when it changes.
	SystemState struct{ Site, Name, Boot, State string }
	// Announced is a shutdown that a node announced, or took back.
	Announced struct {
		Site, Name, Boot, ID, Kind string
		Returns                    bool
		Via                        string
		Age                        time.Duration // how long it was under way
		Seq                        int64         // of the message; 0: not known
	}
	// Bound is a first contact, or an approval, whose name is to be tied to its key.
	Bound struct{ KeyBound }
	// KeyExpiring is what the tailnet says of a machine's node key.
	KeyExpiring struct {
		Site, Name string
		At         time.Time     // when it expires, by the wall clock; zero: not known
		Left       time.Duration // until then
		Expired    bool          // the tailnet no longer lets the machine in
	}

	// Forged are so many messages in the last hour that were signed as Name with a key that
	// is not its own, the last of them from From. An empty Name is none that is known.
	Forged struct {
		Site, Name, From string
		Times            int
	}

	// UPSReported is a UPS as a Pi saw it, at Step's time less Lag.
	UPSReported struct {
		Site, Pi, UPS string
		Reading       power.Reading
		Lag           time.Duration
		Boot          string
		Seq           int64 // of the message; 0: not known
		Cutting       bool  // the Pi is about to have its output cut
	}
	// PiReported is what a Pi says of the run it holds, in heartbeats and reports alike: one that was sent before
	// another of its boot, as Seq tells, says nothing new.
	PiReported struct {
		Site, Pi string
		Run      shutdown.Status
		Boot     string
		Seq      int64
	}
	// Uplink is what the brain found out about its own internet, and about the tailnet's
	// control server and relay.
	Uplink struct {
		Online      bool
		TailnetGone bool // neither of the two answers
	}

	// Configured is a configuration that takes the place of the one before. Notice is what
	// the timeline says of it; empty: nothing.
	Configured struct {
		Config Config
		Notice string
	}

	CallWasPlaced struct{ Call, SID string }
	// Pressed is a key of the telephone during a call, after so many others.
	Pressed struct {
		Call, Key string
		Step      int
	}
	// CallIsLate: it has been tried for a while, and is tried again.
	CallIsLate   struct{ Call, Why, Advice string }
	CallHasEnded struct {
		Call      string
		Delivered bool
		Outcome   string
		Refused   bool   // the next is not placed either before somebody mends something
		Advice    string // what
		OfNumber  bool   // another contact's may be placed
	}
	// TestCall is a person's wish to see that calling works.
	TestCall struct{ Contact, By string }
	// Pinged is whether who watches the brain from outside was reached; Why: it was not.
	Pinged struct{ Why string }
	// PlanLooked is what keeps a site's armed plan from doing its work, as a look at its machines found; empty: nothing.
	PlanLooked struct {
		Site     string
		Refusals []string
	}
	// PhoneTested is what a self-test of the phone found out: it would place a call, or Why
	// not. Unclear: that may pass by itself.
	PhoneTested struct {
		Phone       string // as Config.Phone
		Why, Advice string
		Unclear     bool
		Calls       *int // about so many can be paid for; nil: not known
		Credit      string
		Trial       bool
	}
	// NoticeHasEnded is what became of a notice in the end, NoticeFailing that a try to send
	// it failed and is repeated.
	NoticeHasEnded struct {
		Notice    string
		Delivered bool
		Outcome   string
	}
	NoticeFailing struct{ Notice, Why string }
	// Acknowledge is a person's word that the incident is known.
	Acknowledge struct{ Incident, By string }
	// Mute keeps a node's failures from calling anybody for so long; Unmute ends that.
	Mute struct {
		Site, Name, By string
		For            time.Duration
	}
	Unmute struct{ Site, Name, By string }
	// Maintain lets a node, or with an empty Name a whole site, come and go for so long;
	// Maintained ends that.
	Maintain struct {
		Site, Name, By string
		For            time.Duration
	}
	Maintained struct{ Site, Name, By string }
	// Delete forgets a source, until it is heard again.
	Delete struct{ Site, Name, By string }
	// Arm lets the plan's commands out; Disarm holds them back.
	Arm    struct{ Site, By string }
	Disarm struct{ Site, By string }
	// Stop ends the run of the plan that is under way, whoever holds it.
	Stop struct{ Site, By string }
	// LeaveOff lets something stay off that the plan told to shut down.
	LeaveOff struct{ Site, Name, By string }
	// SayNetwork tells whether the network between Pi and nodes is on the UPS.
	SayNetwork struct {
		Site, By string
		OnUPS    bool
	}

	// RunAnswered is the outcome of a command of the site's run.
	RunAnswered struct {
		Site, Run, Target string
		Start             bool // of a guest that is put back
		Found             []shutdown.Target
		Err               error
	}
	// RunSeen is what was seen of a target of the site's run.
	RunSeen struct {
		Site, Run, Target string
		Sight             shutdown.Sight
	}
)

// Record is one entry of a Pi's record: a change of a UPS, or of whether the Pi hears a node.
type Record struct {
	Ago     time.Duration // before Step's time
	AtLeast bool          // it may have been longer ago
	UPS     string        // empty: it is about a node
	Reading power.Reading
	Node    string
	Heard   bool // the node is heard again; else it fell silent
	// Called is whom the Pi, which is the node, called by itself, and Why its reason (rule G3).
	Called, Why string
}

func (Tick) input()           {}
func (Started) input()        {}
func (Paused) input()         {}
func (Heard) input()          {}
func (Silent) input()         {}
func (SystemState) input()    {}
func (Announced) input()      {}
func (Bound) input()          {}
func (KeyExpiring) input()    {}
func (Forged) input()         {}
func (UPSReported) input()    {}
func (PiReported) input()     {}
func (Uplink) input()         {}
func (CallWasPlaced) input()  {}
func (Pressed) input()        {}
func (CallIsLate) input()     {}
func (CallHasEnded) input()   {}
func (NoticeHasEnded) input() {}
func (NoticeFailing) input()  {}
func (Acknowledge) input()    {}
func (Indirect) input()       {}
func (Direct) input()         {}
func (Cloned) input()         {}
func (Recorded) input()       {}
func (Configured) input()     {}
func (Mute) input()           {}
func (Unmute) input()         {}
func (Maintain) input()       {}
func (Maintained) input()     {}
func (Delete) input()         {}
func (Arm) input()            {}
func (Disarm) input()         {}
func (Stop) input()           {}
func (SayNetwork) input()     {}
func (LeaveOff) input()       {}
func (RunAnswered) input()    {}
func (RunSeen) input()        {}
func (TestCall) input()       {}
func (Pinged) input()         {}
func (PlanLooked) input()     {}
func (PhoneTested) input()    {}
