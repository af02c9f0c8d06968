package cli

import (
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode"
)

// entry is a line of the timeline.
type entry struct {
	At   time.Time
	Text string
}

// line is an incident in one line.
func (i *incident) line(now time.Time) string {
	when := i.Since.Format("15:04:05")
	if i.Since.Format(time.DateOnly) != now.In(i.Since.Location()).Format(time.DateOnly) {
		when = i.Since.Format("Mon 2 Jan 15:04:05")
	}
	text := fmt.Sprintf("%s  %s  %s, because %s", when, i.ID, i.Title, i.Why)
	if names := unsaid(i.Nodes, i.Why); len(names) > 0 {
		text += "; " + strings.Join(names, ", ")
	}
	if i.Answered != "" {
		text += "; known to " + i.Answered
	}
	if !i.Open {
		text += ". Over"
		if !i.Ended.IsZero() {
			text += " at " + i.Ended.Format("15:04:05")
		}
		text += ": " + i.Outcome
	}
	for _, s := range i.Earlier {
		text += fmt.Sprintf("\n          and before that from %s to %s", s.Since.Format("15:04:05"), s.Ended.Format("15:04:05"))
	}
	return text
}

// unsaid are the names that a text does not tell.
func unsaid(names []string, text string) []string {
	words := strings.FieldsFunc(text, func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune("-._", r)
	})
	return slices.DeleteFunc(slices.Clone(names), func(n string) bool {
		return slices.ContainsFunc(words, func(w string) bool { return strings.TrimRight(w, ".") == n })
	})
}

// Incidents lists those of the last day, the open ones first. It ends with ErrBadNews if
// one is open.
func (o Operator) Incidents(w io.Writer, asJSON bool) error {
	var s status
	data, err := o.read("/api/v1/incidents", &s)
	if err != nil {
		return err
	}
	if !asJSON {
		data = s.list()
	}
	if _, err := w.Write(data); err != nil {
		return err
	}
	if len(s.open()) > 0 {
		return ErrBadNews
	}
	return nil
}

func (s *status) list() []byte {
	var b strings.Builder
	for _, i := range s.Incidents {
		fmt.Fprintln(&b, i.line(s.At))
	}
	if len(s.Incidents) == 0 {
		fmt.Fprintln(&b, "Nothing has happened in the last 24 h.")
	}
	return []byte(b.String())
}

// Timeline writes what happened in an incident, the oldest first. A line with the day
// stands where it is not the one before, or not today.
func (o Operator) Timeline(w io.Writer, id string) error {
	var found struct {
		At       time.Time
		Timeline []entry
	}
	if _, err := o.read("/api/v1/incidents/"+url.PathEscape(id), &found); err != nil {
		return err
	}
	var b strings.Builder
	day := func(t time.Time) string { return t.Format("Monday 2 January 2006") }
	last := ""
	if len(found.Timeline) > 0 {
		last = day(found.At.In(found.Timeline[0].At.Location()))
	}
	for _, e := range found.Timeline {
		if d := day(e.At); d != last {
			fmt.Fprintln(&b, d)
			last = d
		}
		fmt.Fprintln(&b, e.At.Format("15:04:05")+"  "+e.Text)
	}
	if len(found.Timeline) == 0 {
		fmt.Fprintln(&b, "Nothing of it is remembered; the journal has it.")
	}
	_, err := io.WriteString(w, b.String())
	return err
}
