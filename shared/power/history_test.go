package power

import (
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite what the histories say")

// TestS2_Histories plays the histories of testdata/histories: what apcupsd said, in its own
// recorded answers, and when. The indented lines are what is made of it, with the time since
// `mark`; they are reviewed as prose, and -update rewrites them. A line is one of
//
//	need 3m, ride-through 30m   what the plan needs, and the policy, other than the default's
//	says ANSWER changes...      from now on apcupsd gives this recorded answer. It is read at
//	                            once, as its scripts have it, and each second from then
//	silent                      it does not answer
//	+5s                         time passes
//	mark                        times are told from here
//	look                        what the rule says now, and when it would begin by itself
//
// The changes: charge=95 (percent; "none" was not told), runtime=4m, falls=12 (percent of
// charge a minute, told in whole ones), lasts (the runtime goes down with the time),
// flags=0x05040010, transfers=4, since=03:30:00 (XONBATT) and reason=late-test and the like.
// unread has it found by the next poll only.
func TestS2_Histories(t *testing.T) {
	files, err := filepath.Glob("testdata/histories/*.txt")
	if err != nil || len(files) < 20 {
		t.Fatalf("only %d histories: %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if !strings.HasPrefix(string(text), "# ") {
				t.Errorf("%s does not begin with what it tells", file)
			}
			got := playHistory(t, string(text))
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(strings.Split(string(text), "\n"), strings.Split(got, "\n")); diff != "" {
				t.Errorf("%s ends otherwise (-written +happened); review, then -update:\n%s", file, diff)
			}
		})
	}
}

// ward is a UPS, and who watches it.
type ward struct {
	t         *testing.T
	answers   map[string]Status
	now, zero time.Time

	said    Status
	falls   float64 // percent of the charge a minute
	lasts   bool    // the runtime goes down with the time
	from    time.Time
	silent  bool
	tracker Tracker

	policy  Policy
	need    time.Duration
	reading Reading
	verdict Verdict
	told    []string
	last    string // of what was told of the supply
}

func playHistory(t *testing.T, text string) string {
	start := time.Unix(1_000_000, 0)
	w := &ward{t: t, answers: recorded(t), now: start, zero: start, silent: true, policy: DefaultPolicy(), need: 3 * time.Minute}
	var out strings.Builder
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		if strings.HasPrefix(line, " ") {
			continue
		}
		out.WriteString(line + "\n")
		if line != "" && !strings.HasPrefix(line, "#") {
			w.do(line)
		}
		for _, s := range w.told {
			out.WriteString(s + "\n")
		}
		w.told = nil
	}
	return out.String()
}

func (w *ward) do(line string) {
	words := strings.Fields(line)
	switch verb := words[0]; {
	case verb == "says":
		w.says(words[1], words[2:])
	case verb == "silent":
		w.silent = true
		w.poll()
	case verb == "mark":
		w.zero = w.now
	case verb == "look":
		w.look()
	case verb == "need":
		w.need = w.duration(words[1])
	case verb == "ride-through":
		w.policy.RideThrough = w.duration(words[1])
	case strings.HasPrefix(verb, "+"):
		w.pass(w.duration(verb[1:]))
	default:
		w.t.Fatalf("what is %q?", line)
	}
}

func (w *ward) says(answer string, changes []string) {
	s, ok := w.answers[answer]
	if !ok {
		w.t.Fatalf("no recording of %q", answer)
	}
	w.falls, w.lasts, w.from, w.silent = 0, false, w.now, false
	unread := false
	for _, c := range changes {
		key, value, _ := strings.Cut(c, "=")
		switch key {
		case "charge":
			s.Charge = w.number(value, 0.01)
		case "runtime":
			if s.Runtime = (*Seconds)(w.number(value, 1)); s.Runtime == nil && value != "none" {
				s.Runtime = new(InSeconds(w.duration(value)))
			}
		case "falls":
			w.falls = *w.number(value, 1)
		case "lasts":
			w.lasts = true
		case "flags":
			n, err := strconv.ParseUint(value, 0, 32)
			if err != nil {
				w.t.Fatal(err)
			}
			s.Flags = Flags(n)
		case "transfers":
			s.Transfers = new(int(*w.number(value, 1)))
		case "since":
			s.OnBatteryAt = "2026-11-21 " + value + " +0000"
		case "reason":
			s.LastTransfer = map[string]string{"test": "Automatic or explicit self test", "mains": "Low line voltage"}[value]
		case "unread":
			unread = true
		default:
			w.t.Fatalf("what is %q?", c)
		}
	}
	w.said = s
	if !unread {
		w.poll()
	}
}

// number reads "95", "nan", "inf"; nil is none.
func (w *ward) number(s string, unit float64) *float64 {
	v, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return nil
	}
	return new(v * unit)
}

func (w *ward) duration(s string) time.Duration {
	d, err := time.ParseDuration(s)
	if err != nil {
		w.t.Fatal(err)
	}
	return d
}

// pass lets time go by, with a poll on each whole second and at its end.
func (w *ward) pass(d time.Duration) {
	for end := w.now.Add(d); w.now.Before(end); w.poll() {
		w.now = w.now.Truncate(time.Second).Add(time.Second)
		if w.now.After(end) {
			w.now = end
			return
		}
	}
}

func (w *ward) poll() {
	if w.silent {
		w.reading = w.tracker.Silent(w.now)
	} else {
		w.reading = w.tracker.Observe(w.now, w.answer())
	}
	if err := w.reading.Validate(); err != nil {
		w.t.Errorf("%s: %v", w.stamp(), err)
	}
	supply := string(w.reading.Supply)
	if w.reading.LostFor != nil {
		supply += ", contact lost"
	}
	if supply != w.last {
		w.last = supply
		w.tell(supply + numbers(w.reading.Status))
	}
	was := w.verdict
	w.verdict = w.policy.Decide(w.reading, w.need)
	switch {
	case w.verdict.Start && !was.Start && w.verdict.Urgent:
		w.tell("BEGINS, and hurries, because " + w.verdict.Reason)
	case w.verdict.Start && !was.Start:
		w.tell("BEGINS, because " + w.verdict.Reason)
	case !w.verdict.Start && was.Start:
		w.tell("no reason any more")
	}
	if w.verdict.Start && w.reading.Supply == Mains {
		w.t.Errorf("%s: a reason on mains", w.stamp())
	}
}

// answer is what apcupsd says now.
func (w *ward) answer() Status {
	s, since := w.said, w.now.Sub(w.from)
	if w.falls != 0 && s.Charge != nil {
		s.Charge = new(max(math.Ceil(*s.Charge*100-w.falls*since.Minutes()), 0) / 100)
	}
	if w.lasts && s.Runtime != nil {
		s.Runtime = new(max(*s.Runtime-InSeconds(since), 0))
	}
	return s
}

func (w *ward) look() {
	switch v := w.verdict; {
	case v.Start:
		w.tell("there is a reason: " + v.Reason)
	case v.In == Never:
		w.tell("nothing is to come by itself")
	default:
		w.tell(fmt.Sprintf("begins in %s by itself", v.In))
	}
}

func numbers(s Status) string {
	text := ", charge unknown"
	if s.Charge != nil {
		text = fmt.Sprintf(", %.0f %%", *s.Charge*100)
	}
	if s.Runtime == nil {
		return text + ", runtime unknown"
	}
	return text + ", " + Spell(s.Runtime.Duration())
}

func (w *ward) stamp() string { return fmt.Sprintf("%+9.1fs", w.now.Sub(w.zero).Seconds()) }

func (w *ward) tell(what string) { w.told = append(w.told, w.stamp()+"  "+what) }
