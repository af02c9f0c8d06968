package wire

import (
	"errors"
	"fmt"
	"time"

	"sentinel.home.arpa/shared/power"
)

// RecordKept is how long a Pi keeps what it has noted, and the highest age in a Record.
const RecordKept = 7 * 24 * time.Hour

// MaxNoted is how many entries one Record carries at most, and MaxLeft how many more a Pi
// may say that it has.
const (
	MaxNoted = 100
	MaxLeft  = 1_000_000
)

// maxCallWords bounds each of a noted call's words, in bytes.
const maxCallWords = 200

// Record is what a Pi noted while no brain heard it, the oldest first (rule N7). It is sent
// in batches, and once without entries where nothing was noted: what counts is also that
// there is no more.
type Record struct {
	Header
	Entries []Noted `json:"entries,omitempty"`
	Left    int     `json:"left"`             // entries that are still to come; 0: the record is complete
	Bundle  string  `json:"bundle,omitempty"` // as in PiStatus
}

// Noted is one entry: how a UPS stood from then on, or whether a node was heard on the LAN
// from then on. The Pi's own name, heard, is its start, or a call that it made by itself.
type Noted struct {
	AgeMS   int64          `json:"age_ms"`             // when the message was made
	AtLeast bool           `json:"at_least,omitempty"` // the age may be more: the Pi was started anew since, and no clock tells for sure
	UPS     string         `json:"ups,omitempty"`
	Reading *power.Reading `json:"reading,omitempty"` // with UPS
	Node    string         `json:"node,omitempty"`    // without
	Heard   bool           `json:"heard,omitempty"`   // again; else it fell silent
	Call    *NotedCall     `json:"call,omitempty"`    // with the Pi's own name, heard
}

// NotedCall is a call that a Pi made since no brain answered (rule G3). It is noted only by a Pi
// that a brain has told whom to call, and that brain knows of it.
type NotedCall struct {
	Contact string `json:"contact"`
	Why     string `json:"why"` // what the Pi found: "the sentinel is down"
}

// Validate implements Message.
func (r *Record) Validate() error {
	if err := r.Header.validate(); err != nil {
		return err
	}
	if len(r.Entries) > MaxNoted {
		return fmt.Errorf("entries: %d of them; %d at most are allowed", len(r.Entries), MaxNoted)
	}
	if r.Left < 0 || r.Left > MaxLeft {
		return fmt.Errorf("left: %d cannot be", r.Left)
	}
	for _, n := range r.Entries {
		if err := n.Validate(); err != nil {
			return fmt.Errorf("entries: %w", err)
		}
	}
	return nil
}

// Validate refuses an entry that cannot be.
func (n *Noted) Validate() error {
	switch {
	case n.AgeMS < 0 || n.AgeMS > RecordKept.Milliseconds():
		return fmt.Errorf("age_ms: %d cannot be", n.AgeMS)
	case (n.UPS == "") == (n.Node == ""):
		return errors.New("it must be about either a UPS or a node")
	case (n.UPS == "") != (n.Reading == nil):
		return errors.New("a reading must be there for a UPS, and for nothing else")
	case n.Call != nil && (n.UPS != "" || !n.Heard):
		return errors.New("call: is for the Pi itself, heard")
	case n.Call != nil && (len(n.Call.Contact) > maxCallWords || n.Call.Why == "" || len(n.Call.Why) > maxCallWords):
		return errors.New("call: says too much, or too little")
	case n.UPS == "":
		return named("node", n.Node)
	case n.Heard:
		return errors.New("heard: is for nodes")
	}
	if err := named("ups", n.UPS); err != nil {
		return err
	}
	if err := n.Reading.Validate(); err != nil {
		return fmt.Errorf("reading: %w", err)
	}
	return nil
}

func named(field, name string) error {
	if err := ValidName(name); err != nil {
		return fmt.Errorf("%s: %w", field, err)
	}
	return nil
}
