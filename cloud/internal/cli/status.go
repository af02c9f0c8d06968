package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"text/tabwriter"
	"time"

	"sentinel.home.arpa/shared/power"
)

// rowsMost is how many machines of a site a screen has room for; past it those that are
// fine are only counted.
const rowsMost = 30

// status is what the brain's status says, as far as it is written down here.
type status struct {
	At        time.Time
	Verdict   string
	Well      bool
	Warnings  []string
	Phone     string
	Sites     []site
	Incidents []incident
	Waiting   []stranger
}

type site struct {
	Name             string
	Armed            bool
	HasPlan          bool      `json:"has_plan"`
	MaintenanceUntil time.Time `json:"maintenance_until"`
	ArmingUnknown    bool      `json:"arming_unknown"`
	Unconfirmed      []string  `json:"unconfirmed_by"`
	StoppedBy        string    `json:"stopped_by"`
	StopSays         string    `json:"stop_says"`
	StopUnconfirmed  []string  `json:"stop_unconfirmed_by"`
	StoppedFor       string    `json:"stopped_for"`
	Sources          []source
	UPSes            []ups
	Runs             []run
	Off              []off
}

type run struct {
	Title, State, Reason, Now, Next string
	Past                            bool
	Targets                         []struct{ Name, State, Why string }
}

// off is what the plan shut down, and that is not known to run again.
type off struct{ Name, State, Text string }

// lines say how a run stands: who is down, who is not, and what comes next.
func (r run) lines() (lines []string) {
	title := r.Title
	if r.State == "stopped" || r.State == "ended" {
		title += "; it began"
	}
	lines = append(lines, title+", because "+r.Reason)
	if r.Now != "" {
		lines = append(lines, "  "+r.Now)
	}
	by := map[string][]string{}
	for _, t := range r.Targets {
		by[t.State] = append(by[t.State], t.Name)
	}
	for _, is := range []struct{ state, said string }{{"down", "down: "}, {"back", "started again: "}, {"told", "told, and not seen down yet: "}, {"skipped", "rehearsed, or left out: "}} {
		if names := by[is.state]; len(names) > 0 {
			lines = append(lines, "  "+is.said+strings.Join(names, ", "))
		}
	}
	for _, t := range r.Targets {
		switch t.State {
		case "late":
			lines = append(lines, fmt.Sprintf("  %s was not down at its deadline: %s", t.Name, t.Why))
		case "not back":
			lines = append(lines, fmt.Sprintf("  %s was not started again: %s", t.Name, t.Why))
		}
	}
	if r.Next != "" {
		lines = append(lines, "  "+r.Next)
	}
	return append(lines, r.leftOn()...)
}

// late reports whether something was not down in time.
func (r run) late() bool {
	for _, t := range r.Targets {
		if t.State == "late" {
			return true
		}
	}
	return false
}

// offLines are one for each, as far as a screen has room for.
func offLines(all []off) (lines []string) {
	for i, o := range all {
		if i == rowsMost {
			return append(lines, fmt.Sprintf("and %d more", len(all)-i))
		}
		lines = append(lines, o.Text)
	}
	return lines
}

// leftOn are lines about machines that the run leaves on, since their UPS does not call for them.
func (r run) leftOn() (lines []string) {
	for _, t := range r.Targets {
		if t.State == "left on" {
			lines = append(lines, fmt.Sprintf("  %s is left on: %s", t.Name, t.Why))
		}
	}
	return lines
}

type source struct {
	Name, State      string
	Heard            bool
	Age              time.Duration `json:"age_ns"`
	MutedUntil       time.Time     `json:"muted_until"`
	MaintenanceUntil time.Time     `json:"maintenance_until"`
}

type ups struct {
	Name, Supply string
	For          time.Duration  `json:"for_ns"`
	Charge       *float64       `json:"charge_ratio"`
	Runtime      *time.Duration `json:"runtime_ns"`
	Load         *float64       `json:"load_ratio"`
	Age          time.Duration  `json:"age_ns"`
}

type incident struct {
	ID, Title, Why, Answered, Outcome string
	Since, Ended                      time.Time
	Open                              bool
	Nodes                             []string
	Earlier                           []struct{ Since, Ended time.Time }
}

// read reads an answer in JSON, and gives it back as it came.
func (o Operator) read(path string, into any) ([]byte, error) {
	return o.readWithin(within, path, into)
}

func (o Operator) readWithin(d time.Duration, path string, into any) ([]byte, error) {
	resp, err := o.askWithin(d, http.MethodGet, path)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxStatus))
	if err == nil {
		err = json.Unmarshal(data, into)
	}
	if err != nil {
		return nil, fmt.Errorf("read the brain's answer: %w", err)
	}
	return data, nil
}

func (o Operator) status() (status, error) {
	var s status
	_, err := o.read("/api/v1/status", &s)
	return s, err
}

// Status writes one screen: how everything stands. It ends with ErrBadNews if something is
// wrong. With asJSON it is the brain's own words.
func (o Operator) Status(w io.Writer, asJSON bool) error {
	var s status
	data, err := o.read("/api/v1/status", &s)
	if err != nil {
		return err
	}
	if !asJSON {
		data = s.screen()
	}
	if _, err := w.Write(data); err != nil {
		return err
	}
	if !s.Well || len(s.Warnings) > 0 {
		return ErrBadNews
	}
	return nil
}

// toTop clears a terminal's screen.
const toTop = "\x1b[H\x1b[2J"

// Watch is Status again each second until the context ends, whatever the brain does.
func (o Operator) Watch(ctx context.Context, w io.Writer) error {
	each := time.NewTicker(time.Second)
	defer each.Stop()
	for {
		var b bytes.Buffer
		b.WriteString(toTop)
		err := o.Status(&b, false)
		if err != nil && !errors.Is(err, ErrBadNews) {
			fmt.Fprintln(&b, err)
		}
		if _, err := w.Write(b.Bytes()); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-each.C:
		}
	}
}

func (s *status) screen() []byte {
	var b bytes.Buffer
	fmt.Fprintln(&b, s.Verdict)
	for _, text := range s.Warnings {
		fmt.Fprintln(&b, "! "+text)
	}
	for _, site := range s.Sites {
		fmt.Fprintln(&b)
		site.write(&b, s.At)
	}
	if s.Phone != "" {
		fmt.Fprintln(&b, "\nPhone: "+s.Phone)
	}
	if open := s.open(); len(open) > 0 {
		fmt.Fprintln(&b, "\nOpen incidents")
		for _, i := range open {
			fmt.Fprintln(&b, "  "+i.line(s.At))
		}
	}
	if n := len(s.Waiting); n > 0 {
		fmt.Fprintf(&b, "\n%d waiting to be let in: sentinel-cloud approve\n", n)
	}
	return b.Bytes()
}

func (s *status) open() []incident {
	var open []incident
	for _, i := range s.Incidents {
		if i.Open {
			open = append(open, i)
		}
	}
	return open
}

func (s *site) write(w io.Writer, now time.Time) {
	fmt.Fprint(w, s.Name)
	if s.HasPlan {
		fmt.Fprint(w, ": ", s.plan())
	}
	if !s.MaintenanceUntil.IsZero() {
		fmt.Fprint(w, "; in maintenance until ", until(s.MaintenanceUntil, now))
	}
	fmt.Fprintln(w)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, u := range s.UPSes {
		fmt.Fprintf(t, "  %s\t%s\t%s ago\n", u.Name, u.says(), power.Spell(u.Age))
	}
	fine := 0
	for _, src := range s.Sources {
		heard := "not heard"
		if src.Heard {
			heard = power.Spell(src.Age) + " ago"
		}
		if src.State == "up" && len(s.Sources) > rowsMost {
			fine++
			continue
		}
		fmt.Fprintf(t, "  %s\t%s\t%s\n", src.Name, src.State, heard)
	}
	_ = t.Flush() // to memory
	if fine > 0 {
		fmt.Fprintf(w, "  %d more are up\n", fine)
	}
	for _, r := range s.Runs {
		if r.Past {
			fmt.Fprintln(w, "  "+r.Title)
			continue
		}
		for _, line := range r.lines() {
			fmt.Fprintln(w, "  "+line)
		}
	}
	for _, line := range offLines(s.Off) {
		fmt.Fprintln(w, "  "+line)
	}
	if s.StoppedBy != "" {
		fmt.Fprintln(w, "  "+s.stopped())
	}
}

// plan says how the site's plan stands, and who does not know it yet (rule S10).
func (s *site) plan() string {
	if s.ArmingUnknown {
		return "whether the plan is armed is not known"
	}
	text := "the plan is not armed"
	if s.Armed {
		text = "the plan is armed"
	}
	if len(s.Unconfirmed) > 0 {
		text += ", but " + s.unconfirmed()
	}
	return text
}

func (s *site) unconfirmed() string { return notConfirmed(s.Unconfirmed) }

func notConfirmed(pis []string) string {
	has := " has"
	if len(pis) > 1 {
		has = " have"
	}
	return strings.Join(pis, ", ") + has + " not confirmed"
}

func (u *ups) says() string {
	text := u.Supply + " for " + power.Spell(u.For)
	if u.Charge != nil {
		text += fmt.Sprintf(", %.0f %%", *u.Charge*100)
	}
	if u.Runtime != nil {
		text += ", " + power.Spell(*u.Runtime) + " left"
	}
	if u.Load != nil {
		text += fmt.Sprintf(", load %.0f %%", *u.Load*100)
	}
	return text
}

// until is a moment as the page shows it: the clock alone if it is today, as of now.
func until(t, now time.Time) string {
	if t.Format(time.DateOnly) == now.In(t.Location()).Format(time.DateOnly) {
		return t.Format("15:04")
	}
	return t.Format("Mon 2 Jan 15:04")
}
