package brainwatch

import (
	"fmt"
	"time"
)

// Channel is a way to tell a contact beside calling.
type Channel struct {
	Contact, Name string
	Gone, Back    bool // what it is told
}

// Notice is one that is to reach a channel.
type Notice struct {
	ID      string        `json:"id"`
	Contact string        `json:"contact"`
	Channel string        `json:"channel"`
	At      time.Time     `json:"at"` // when it was decided
	Since   time.Time     `json:"since"`
	Cause   Cause         `json:"cause"`
	Back    bool          `json:"back,omitempty"` // a brain answers again
	For     time.Duration `json:"for,omitempty"`  // of Back: how long none did
}

// tell has the channels told that no brain answers, and again when 6 h later none does. A Pi leaves it
// to one before it that it hears.
func (w *Watch) tell(now time.Time) []Event {
	if t := w.state.Told; w.orders.Before || !t.IsZero() && now.Sub(t) < again {
		return nil
	}
	g := w.state.Gone
	return w.telling(Notice{At: now, Since: g.Since, Cause: w.cause()}, func(c Channel) bool { return c.Gone })
}

// tellBack has those told of the end who were told of the absence.
func (w *Watch) tellBack(now time.Time, g Absence) []Event {
	if !g.Told {
		return nil
	}
	return w.telling(Notice{At: now, Since: g.Since, Cause: g.Cause, Back: true, For: now.Sub(g.Since)}, func(c Channel) bool { return c.Back })
}

func (w *Watch) telling(n Notice, wants func(Channel) bool) []Event {
	e := Event{Type: Telling, At: n.At, Cause: n.Cause, Why: saidGone(n.Cause, n.At.Sub(n.Since))}
	if n.Back {
		e.Why = saidBack(n.Cause, n.For)
	}
	for _, c := range w.orders.Channels {
		if wants(c) {
			n.ID, n.Contact, n.Channel = fmt.Sprintf("%d-%d", n.At.UnixMilli(), len(e.Notices)+1), c.Contact, c.Name
			e.Notices = append(e.Notices, n)
		}
	}
	if len(e.Notices) == 0 {
		return nil
	}
	return []Event{w.note(e)}
}

// NoticeEnded takes what became of a notice, for good.
func (w *Watch) NoticeEnded(now time.Time, id string, delivered bool, outcome string) []Event {
	for _, n := range w.state.Notices {
		if n.ID == id {
			return []Event{w.note(Event{Type: NoticeEnded, At: now, Notices: []Notice{n}, Delivered: delivered, Why: outcome})}
		}
	}
	return nil
}
