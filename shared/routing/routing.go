// Package routing says who wants to hear what, and when (rule C6): an Event is what may be
// told, a Route what one channel or phone wants of it, Quiet when a phone is better left alone.
//
// It is pure: no clock, network, disk, log or randomness, and no configuration but what it is
// given. Who knows the time zone passes the local time in.
package routing

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Severity orders what is told.
type Severity int

// The severities, the least first.
const (
	Info Severity = iota
	Warning
	Critical
)

func severities() []string { return []string{Info: "info", Warning: "warning", Critical: "critical"} }

// String is the severity's name in the configuration.
func (s Severity) String() string { return nameOf(severities(), int(s)) }

// ParseSeverity is the severity of that name.
func ParseSeverity(name string) (Severity, error) {
	n, err := parse("severity", severities(), name)
	return Severity(n), err
}

// MarshalText writes the name: numbers would keep their order for ever.
func (s Severity) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads the name.
func (s *Severity) UnmarshalText(text []byte) error {
	got, err := ParseSeverity(string(text))
	if err == nil {
		*s = got
	}
	return err
}

// On is which turn of things is told.
type On int

// The turns: something begins or gets worse, it is over, or both.
const (
	Both On = iota
	Offline
	Online
)

func turns() []string { return []string{Both: "both", Offline: "offline", Online: "online"} }

// String is the turn's name in the configuration.
func (o On) String() string { return nameOf(turns(), int(o)) }

// ParseOn is the turn of that name.
func ParseOn(name string) (On, error) {
	n, err := parse("turn", turns(), name)
	return On(n), err
}

func nameOf(names []string, n int) string {
	if n < 0 || n >= len(names) {
		return fmt.Sprint(n)
	}
	return names[n]
}

func parse(what string, names []string, name string) (int, error) {
	if n := slices.Index(names, name); n >= 0 {
		return n, nil
	}
	return 0, fmt.Errorf("%q is no %s; there are %s", name, what, strings.Join(names, ", "))
}

// Event is what may be told.
type Event struct {
	Kind     string
	Severity Severity
	Site     string // empty: it is of no site
	Over     bool   // something has ended
}

// Route is what one channel or phone wants to hear. The zero Route wants everything.
type Route struct {
	Kinds []string // empty: all
	Least Severity
	Sites []string // empty: all
	On    On
	// Repeat has what goes on unanswered told again each so often; 0: never (rule H5).
	Repeat time.Duration
}

// Wants reports whether an event is to be told here. What is of no site is of all.
func (r Route) Wants(e Event) bool {
	switch {
	case len(r.Kinds) > 0 && !slices.Contains(r.Kinds, e.Kind):
		return false
	case e.Severity < r.Least:
		return false
	case len(r.Sites) > 0 && e.Site != "" && !slices.Contains(r.Sites, e.Site):
		return false
	case r.On == Offline:
		return !e.Over
	case r.On == Online:
		return e.Over
	}
	return true
}

// Quiet are the hours in which a phone rings for nothing but the power: from one time of the
// local day to another, over midnight if the first is the later one. If both are the same there
// are none.
type Quiet struct{ From, To time.Duration }

// Until is when the quiet hours end that it is in at a local time; false: it is in none.
func (q Quiet) Until(local time.Time) (time.Time, bool) {
	hour, minute, second := local.Clock()
	at := time.Duration(hour)*time.Hour + time.Duration(minute)*time.Minute + time.Duration(second)*time.Second
	in := at >= q.From && at < q.To
	if q.From > q.To {
		in = at >= q.From || at < q.To
	}
	if !in {
		return time.Time{}, false
	}
	year, month, day := local.Date()
	if at >= q.To {
		day++
	}
	// By the clock on the wall: on some days a night is an hour longer or shorter.
	end := time.Date(year, month, day, 0, 0, int(q.To/time.Second), 0, local.Location())
	return end, end.After(local)
}
