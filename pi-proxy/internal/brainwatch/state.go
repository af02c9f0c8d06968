package brainwatch

import (
	"maps"
	"slices"
	"time"
)

// Cause is why a brain is not heard, as far as the Pi can tell.
type Cause string

const (
	// Down: the internet is up, Tailscale too, and no brain answers.
	Down Cause = "down"
	// Tailnet: the internet is up, and nothing of Tailscale answers. The brain may be fine (rule N10).
	Tailnet Cause = "tailnet"
)

// Absence is a time without a brain.
type Absence struct {
	Since time.Time `json:"since"` // its last answer, or when the Pi began to listen
	Cause Cause     `json:"cause"`
	Told  bool      `json:"told,omitempty"` // channels were told of it
}

// Call is one to a person.
type Call struct {
	ID        string    `json:"id"`
	Contact   string    `json:"contact"`
	At        time.Time `json:"at"`            // when it was decided
	SID       string    `json:"sid,omitempty"` // once it was placed
	Ended     bool      `json:"ended,omitempty"`
	EndedAt   time.Time `json:"ended_at,omitzero"`
	Delivered bool      `json:"delivered,omitempty"` // a person took it, or had been called already
}

// Alarm are the calls about one trouble.
type Alarm struct {
	At    time.Time `json:"at"` // when the first was decided
	Cause Cause     `json:"cause"`
	Power bool      `json:"power,omitempty"` // they tell of a power outage too
	Calls []Call    `json:"calls"`
}

// State is what a later process must know. The zero value is that of a Pi that has heard its
// brain all the time.
type State struct {
	Gone  *Absence `json:"gone,omitempty"`  // nil: it is there
	Alarm *Alarm   `json:"alarm,omitempty"` // the last one
	// Told is when the channels were last told that a brain is gone, Notices what has not reached them.
	Told    time.Time `json:"told,omitzero"`
	Notices []Notice  `json:"notices,omitempty"`
	// Leaving is when brains said that they are about to be restarted, by name.
	Leaving map[string]time.Time `json:"leaving,omitempty"`
	// Blocked: no anchor has answered while a brain did, so their silence says nothing.
	Blocked bool `json:"blocked,omitempty"`
}

// clone shares nothing with the original.
func (s State) clone() State {
	if s.Gone != nil {
		s.Gone = new(*s.Gone)
	}
	if s.Alarm != nil {
		s.Alarm = new(*s.Alarm)
		s.Alarm.Calls = slices.Clone(s.Alarm.Calls)
	}
	s.Leaving = maps.Clone(s.Leaving)
	s.Notices = slices.Clone(s.Notices)
	return s
}

// EventType names an event.
type EventType string

const (
	// Left: a brain said that it is about to be restarted.
	Left EventType = "left"
	// Returned: such a brain answers again, or has been forgotten.
	Returned EventType = "returned"
	// Gone: no brain answers.
	Gone EventType = "gone"
	// Back: one does again.
	Back EventType = "back"
	// Calling: a person is to be called.
	Calling EventType = "calling"
	// Placed: the call was.
	Placed EventType = "placed"
	// CallEnded: it is over.
	CallEnded EventType = "call_ended"
	// Dropped: a call that is not over is to be taken back.
	Dropped EventType = "dropped"
	// Telling: notices are to be sent.
	Telling EventType = "telling"
	// NoticeEnded: one was delivered, or will not be.
	NoticeEnded EventType = "notice_ended"
	// Blocked: no anchor answers though a brain does.
	Blocked EventType = "blocked"
	// Unblocked: one does again.
	Unblocked EventType = "unblocked"
)

// Event is something decided or learnt, with its reason. Its State is to be on disk before
// anything comes of it; only a disk that takes nothing is not waited for.
type Event struct {
	Type  EventType
	At    time.Time
	Brain string        // of Left and Returned
	Since time.Time     // of Gone, and of Calling: who was called after that knows
	For   time.Duration // of Back: how long it was gone
	Cause Cause         // of Gone and Calling
	Call  Call          // of those about one
	First bool          // of Calling: it is the first of an alarm
	Power bool          // of Calling: it tells of a power outage too
	Why   string        // a sentence for people

	Notices   []Notice // of Telling, and of NoticeEnded
	Delivered bool     // of NoticeEnded
}

// apply is the only writer of the state.
func (s *State) apply(e Event) {
	switch e.Type {
	case Left:
		if s.Leaving == nil {
			s.Leaving = map[string]time.Time{}
		}
		s.Leaving[e.Brain] = e.At
	case Returned:
		delete(s.Leaving, e.Brain)
	case Gone:
		s.Gone = &Absence{Since: e.Since, Cause: e.Cause}
	case Back:
		s.Gone = nil
	case Telling:
		s.Notices = append(s.Notices, e.Notices...)
		if s.Gone != nil {
			s.Gone.Told, s.Told = true, e.At
		}
	case NoticeEnded:
		s.Notices = slices.DeleteFunc(s.Notices, func(n Notice) bool { return n.ID == e.Notices[0].ID })
	case Blocked, Unblocked:
		s.Blocked = e.Type == Blocked
	case Calling:
		if s.Gone != nil { // people are told what is wrong by now: Tailscale may be there since
			s.Gone.Cause = e.Cause
		}
		if e.First {
			s.Alarm = &Alarm{At: e.At, Cause: e.Cause}
		}
		s.Alarm.Power = s.Alarm.Power || e.Power
		s.Alarm.Calls = append(s.Alarm.Calls, e.Call)
	case Placed, CallEnded:
		for i, c := range s.Alarm.Calls {
			if c.ID == e.Call.ID {
				s.Alarm.Calls[i] = e.Call
			}
		}
	}
}

// Open are the calls that are not over.
func (s *State) Open() (open []Call) {
	if s.Alarm == nil {
		return nil
	}
	for _, c := range s.Alarm.Calls {
		if !c.Ended {
			open = append(open, c)
		}
	}
	return open
}
