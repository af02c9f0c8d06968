// Package scenario plays stories on the lab and judges them by what its edges saw.
package scenario

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"
	"time"

	"sentinel.home.arpa/deploy/lab/internal/edge"
	"sentinel.home.arpa/deploy/lab/internal/home"
)

// Doer does what a line says.
type Doer interface {
	Do(line string) error
}

// Home is what a story is played on.
type Home interface {
	Doer
	Up(node string) bool
	Heartbeat(who string) time.Duration
	// Timeline is what the brain's page tells, the newest line first: for what no edge sees.
	Timeline() string
	// Stopped is who has stopped the plan, as its page says, and which Pis do not know of it yet.
	Stopped() (by string, unconfirmed []string)
}

// Step is one line of a script: what is done, and when, from its start.
type Step struct {
	At time.Duration
	Do string
}

// Parse reads a script: lines such as "+12.5s unplug", blank ones and those that begin
// with # left out. "+90s end" ends it there.
func Parse(r io.Reader) ([]Step, error) {
	var steps []Step
	scan := bufio.NewScanner(r)
	for n := 1; scan.Scan(); n++ {
		line := strings.TrimSpace(scan.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		when, do, ok := strings.Cut(line, " ")
		at, err := time.ParseDuration(strings.TrimPrefix(when, "+"))
		if !ok || err != nil || !strings.HasPrefix(when, "+") || at < 0 {
			return nil, fmt.Errorf("line %d: %q is no step; write one such as +12.5s unplug", n, line)
		}
		if len(steps) > 0 && at < steps[len(steps)-1].At {
			return nil, fmt.Errorf("line %d: %s comes before the step above it", n, when)
		}
		steps = append(steps, Step{at, strings.TrimSpace(do)})
	}
	return steps, scan.Err()
}

// Play does the steps at their times.
func Play(ctx context.Context, home Doer, steps []Step) error {
	begin := time.Now()
	for _, s := range steps {
		if err := wait(ctx, time.Until(begin.Add(s.At))); err != nil {
			return err
		}
		if s.Do == "end" {
			return nil
		}
		if err := home.Do(s.Do); err != nil {
			return fmt.Errorf("%s: %w", s.Do, err)
		}
	}
	return nil
}

func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(max(d, 0))
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// story is a script with its judge.
type story struct {
	name  string
	about string
	play  func(ctx context.Context, s *stage) error
	judge func(s *stage)
}

// stage is a story under way, and what the judge finds.
type stage struct {
	home    Home
	rec     *edge.Recorder
	entries []edge.Entry
	marks   map[string]time.Duration
	report  func(string)
	broken  []string
}

// Furnish makes the options of a home those that a story is played in.
func Furnish(name string, o *home.Options) {
	if change, special := homes()[name]; special {
		change(o)
	}
}

// Long reports whether a story is too long to be played every day.
func Long(name string) bool { return slices.Contains(long(), name) }

// Names are the stories that Run knows, with what they are about.
func Names() [][2]string {
	var out [][2]string
	for _, s := range stories() {
		out = append(out, [2]string{s.name, s.about})
	}
	return out
}

// Run plays a story and judges it. The error says how the contract was broken, or that
// the story could not be played to its end.
func Run(ctx context.Context, name string, home Home, rec *edge.Recorder, report func(string)) error {
	for _, s := range stories() {
		if s.name != name {
			continue
		}
		st := &stage{home: home, rec: rec, marks: map[string]time.Duration{}, report: report}
		if err := s.play(ctx, st); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		st.entries, _ = rec.Since(0)
		s.judge(st)
		if len(st.broken) > 0 {
			return fmt.Errorf("%s: the contract was broken:\n  %s", name, strings.Join(st.broken, "\n  "))
		}
		return nil
	}
	return fmt.Errorf("there is no scenario %q", name)
}

// do does something to the home and marks when.
func (s *stage) do(line string) error {
	s.marks[line] = s.rec.Now()
	return s.home.Do(line)
}

// until waits until the edges satisfy a condition, or for at most so long; the judge then
// says what is missing.
func (s *stage) until(ctx context.Context, most time.Duration, cond func(es []edge.Entry) bool) error {
	limit := time.NewTimer(most)
	defer limit.Stop()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		es, changed := s.rec.Since(0)
		if cond(es) {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-limit.C:
			return nil
		case <-changed:
		case <-tick.C:
		}
	}
}

// demand notes a breach unless the condition holds.
func (s *stage) demand(holds bool, format string, args ...any) {
	if !holds {
		s.broken = append(s.broken, fmt.Sprintf(format, args...))
	}
}

// within demands that something took from low to high, and reports it either way.
func (s *stage) within(what string, took, low, high time.Duration) {
	text := fmt.Sprintf("%s: %.3f s (allowed %.3f to %.3f)", what, took.Seconds(), low.Seconds(), high.Seconds())
	s.report(text)
	s.demand(took >= low && took <= high, "%s", text)
}

// calls are the requests for a call, those that were answered with one.
func calls(es []edge.Entry) []edge.Entry {
	var out []edge.Entry
	for _, e := range es {
		if e.Edge == edge.Twilio && e.Method == "POST" && strings.HasSuffix(e.Path, "/Calls.json") {
			out = append(out, e)
		}
	}
	return out
}

// spoken is the text that a call's request would have said.
func spoken(e edge.Entry) string {
	form, err := url.ParseQuery(e.Body)
	if err != nil {
		return ""
	}
	return form.Get("Twiml")
}

// commands are the requests that change something at Proxmox.
func commands(es []edge.Entry) []edge.Entry {
	var out []edge.Entry
	for _, e := range es {
		if e.Edge == edge.PVE && e.Method != "GET" {
			out = append(out, e)
		}
	}
	return out
}

// onBattery is the first time that an answer of the UPS's daemon said so, after from.
func onBattery(es []edge.Entry, from time.Duration) (time.Duration, bool) {
	for _, e := range es {
		var flags uint32
		if e.Edge != edge.UPS || e.At() < from {
			continue
		}
		if _, err := fmt.Sscanf(e.Flags, "0x%x", &flags); err == nil && flags&0x10 != 0 {
			return e.At(), true
		}
	}
	return 0, false
}

// after are the entries from a time on.
func after(es []edge.Entry, t time.Duration) []edge.Entry {
	for i, e := range es {
		if e.At() >= t {
			return es[i:]
		}
	}
	return nil
}
