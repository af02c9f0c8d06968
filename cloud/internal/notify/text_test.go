package notify

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden files anew")

func ratio(v float64) *float64               { return &v }
func lasting(d time.Duration) *time.Duration { return &d }
func running(n int) *int                     { return &n }
func plan(change func(p *PlanStory)) PlanStory {
	p := PlanStory{Exists: true, Armed: true, Nodes: 3}
	change(&p)
	return p
}

// many are the names of n nodes.
func many(n int) []string {
	var names []string
	for i := range n {
		names = append(names, fmt.Sprintf("pve%d", i+1))
	}
	return names
}

type variant struct {
	name   string
	change func(s *Story)
}

var variants = map[string][]variant{
	"node_failure": {
		{"one of four", func(s *Story) { s.Others = 3 }},
		{"one of two", func(s *Story) { s.Others = 1 }},
		{"one of four, and one is off as planned", func(s *Story) { s.Others, s.Off = 2, 1 }},
		{"two of four", func(s *Story) { s.Nodes, s.Others = []string{"pve1", "nas"}, 2 }},
		{"three", func(s *Story) { s.Nodes, s.Others = many(3), 1 }},
		{"five", func(s *Story) { s.Nodes, s.Others = many(5), 1 }},
		{"a rack", func(s *Story) { s.Nodes, s.Others = many(100), 13 }},
		{"all of them while the Pi lives", func(s *Story) { s.Nodes, s.PiHeard = many(3), true }},
		{"the only thing there", func(s *Story) {}},
		{"while the power is out", func(s *Story) { s.Others, s.OnBattery = 2, true }},
		{"a reminder", func(s *Story) { s.Others, s.Again = 3, true }},
		{"worse, which is more than a reminder", func(s *Story) { s.Nodes, s.Worse, s.Again = many(3), "all nodes have failed", true }},
		{"a UPS", func(s *Story) { s.Nodes, s.Others, s.Cause = many(2), 1, "everything on UPS ups1 lost power" }},
		{"names that are hard to say", func(s *Story) { s.Nodes, s.Others = []string{"nuc-13.lan", "r2-d2"}, 1 }},
	},
	"power_outage": {
		{"the plan begins", func(s *Story) { s.Plan = plan(func(p *PlanStory) { p.Begun, p.Guests = true, running(9) }) }},
		{"one guest and one server", func(s *Story) { s.Plan = plan(func(p *PlanStory) { p.Begun, p.Guests, p.Nodes = true, running(1), 1 }) }},
		{"no guest runs", func(s *Story) { s.Plan = plan(func(p *PlanStory) { p.Begun, p.Guests = true, running(0) }) }},
		{"guests not counted", func(s *Story) { s.Plan = plan(func(p *PlanStory) { p.Begun = true }) }},
		{"many guests", func(s *Story) { s.Plan = plan(func(p *PlanStory) { p.Begun, p.Guests = true, running(42) }) }},
		{"two of three", func(s *Story) {
			s.Plan = plan(func(p *PlanStory) { p.Begun, p.Guests, p.Nodes, p.StayOn = true, running(9), 2, 1 })
		}},
		{"one of three", func(s *Story) { s.Plan = plan(func(p *PlanStory) { p.Begun, p.Nodes, p.StayOn = true, 1, 2 }) }},
		{"no longer any", func(s *Story) { s.Plan = plan(func(p *PlanStory) { p.Begun, p.Nodes, p.StayOn = true, 0, 3 }) }},
		{"no machine hangs on this UPS alone", func(s *Story) { s.Plan = plan(func(p *PlanStory) { p.Spared = true }) }},
		{"the plan waits", func(s *Story) { s.Plan = plan(func(*PlanStory) {}) }},
		{"the plan is through", func(s *Story) { s.Plan = plan(func(p *PlanStory) { p.Begun, p.Through = true, true }) }},
		{"through, one was late", func(s *Story) { s.Plan = plan(func(p *PlanStory) { p.Begun, p.Through, p.Late = true, true, 1 }) }},
		{"through, two were late", func(s *Story) { s.Plan = plan(func(p *PlanStory) { p.Begun, p.Through, p.Late = true, true, 2 }) }},
		{"stopped", func(s *Story) { s.Plan = plan(func(p *PlanStory) { p.Begun, p.Stopped, p.Armed = true, true, false }) }},
		{"by the Pi", func(s *Story) { s.Plan = plan(func(p *PlanStory) { p.ByPi = true }) }},
		{"not armed", func(s *Story) { s.Plan = plan(func(p *PlanStory) { p.Armed = false }) }},
		{"no plan", func(s *Story) {}},
		{"nothing known of the battery", func(s *Story) { s.Charge, s.Runtime = nil, nil }},
		{"only the charge", func(s *Story) { s.Runtime = nil }},
		{"only the runtime", func(s *Story) { s.Charge = nil }},
		{"hardly anything left", func(s *Story) { s.Charge, s.Runtime = ratio(0.03), lasting(40*time.Second) }},
		{"a minute left", func(s *Story) { s.Runtime = lasting(70 * time.Second) }},
		{"hours left", func(s *Story) { s.Runtime = lasting(5 * time.Hour) }},
		{"the charge runs low", func(s *Story) { s.Worse, s.Charge = "the battery is at 29 %", ratio(0.29) }},
		{"a reminder", func(s *Story) { s.Again = true }},
	},
	"internet_outage": {
		{"the power was fine", func(s *Story) { s.OnBattery, s.OnMains = false, true }},
		{"nothing known of the power", func(s *Story) { s.OnBattery = false }},
		{"on battery when it went dark", func(s *Story) { s.Heard = 25 * time.Second }},
		{"the plan is armed", func(s *Story) { s.Heard, s.Plan = 3*time.Minute, plan(func(*PlanStory) {}) }},
		{"the plan is not armed", func(s *Story) { s.Heard, s.Plan = time.Minute, plan(func(p *PlanStory) { p.Armed = false }) }},
		{"heard just now, charge not known", func(s *Story) { s.Charge = nil }},
	},
	"power_unwatched": {
		{"the plan is armed", func(s *Story) { s.Others, s.Plan = 3, plan(func(*PlanStory) {}) }},
		{"the plan is not armed", func(s *Story) { s.Others = 3 }},
		{"two Pis", func(s *Story) { s.Nodes = []string{"pi", "pi2"} }},
		{"a reminder", func(s *Story) { s.Again = true }},
	},
	"tailnet_down": {
		{"as it is told first", func(*Story) {}},
		{"a reminder", func(s *Story) { s.Again = true }},
	},
}

// story is what each kind's variants start from.
func story(kind string) Story {
	s := Story{Kind: kind, Contact: "Alex", Site: "home", Since: time.Date(2026, 11, 21, 19, 2, 11, 0, time.UTC)}
	switch kind {
	case "node_failure":
		s.Nodes = []string{"pve2"}
	case "power_unwatched":
		s.Nodes = []string{"pi"}
	case "tailnet_down":
		s.Site = ""
	case "power_outage", "internet_outage":
		s.OnBattery, s.Charge, s.Runtime = true, ratio(0.96), lasting(31*time.Minute)
	}
	return s
}

// ugly is what nobody should have to listen to.
var ugly = regexp.MustCompile(`  | [.,]|[.,]{2}|\.[^ ]|,[^ ]|<no value>|<nil>|\bno (minutes|seconds|hours|guests)\b|%!|&`)

// TestC1_Texts: what is said about every kind, in all its variants. Read the golden files
// aloud after a change.
func TestC1_Texts(t *testing.T) {
	for kind, vs := range variants {
		t.Run(kind, func(t *testing.T) {
			var b strings.Builder
			for _, v := range vs {
				s := story(kind)
				v.change(&s)
				text, err := Text(s)
				if err != nil {
					t.Fatalf("%s: %v", v.name, err)
				}
				fmt.Fprintf(&b, "# %s\n%s\n\n", v.name, text)
				listen(t, v.name, text)
			}
			golden := filepath.Join("testdata", kind+".txt")
			if *update {
				if err := os.WriteFile(golden, []byte(b.String()), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), b.String()); diff != "" {
				t.Errorf("-update writes it anew (-want +got):\n%s", diff)
			}
		})
	}
}

// listen checks what every text must be: a greeting by name, clean sentences, and over in
// 30 s at 150 words a minute.
func listen(t *testing.T, name, text string) {
	t.Helper()
	if !strings.HasPrefix(text, "Hello Alex. This is your home sentinel. ") || !strings.HasSuffix(text, ".") {
		t.Errorf("%s: %q", name, text)
	}
	if bad := ugly.FindString(text); bad != "" {
		t.Errorf("%s: %q in %q", name, bad, text)
	}
	if words := len(strings.Fields(text)); words > 75 {
		t.Errorf("%s: %d words take %d s", name, words, words*60/150)
	}
	for sentence := range strings.SplitSeq(strings.TrimSuffix(text, "."), ". ") {
		first := sentence[:1]
		if first != strings.ToUpper(first) && !strings.HasPrefix(sentence, "pve") && !strings.HasPrefix(sentence, "nuc") {
			t.Errorf("%s: a sentence begins in the middle: %q", name, sentence)
		}
	}
}

func TestTextOfAnUnknownKind(t *testing.T) {
	if text, err := Text(Story{Kind: "greeting\"", Contact: "Alex"}); err == nil {
		t.Errorf("said %q", text)
	}
}

func TestSayName(t *testing.T) {
	for name, want := range map[string]string{"pve2": "pve 2", "nas": "nas", "nuc-13.lan": "nuc 13 lan", "r2d2": "r 2 d 2", "10g": "10 g", "": ""} {
		if got := strings.Join(strings.Fields(sayName(name)), " "); got != want {
			t.Errorf("%s is said as %q, not %q", name, got, want)
		}
	}
}

func TestSayUnits(t *testing.T) {
	for text, want := range map[string]string{
		"the battery is at 29 %": "the battery is at 29 percent", "4 min are left, 29 % or 9 s": "4 minutes are left, 29 percent or 9 seconds",
		"4 minutes, 2 servers, 3 hours": "4 minutes, 2 servers, 3 hours", "after 2 h 5 min": "after 2 hours 5 minutes", "": "",
	} {
		if got := sayUnits(text); got != want {
			t.Errorf("%q is said as %q", text, got)
		}
	}
}

func TestSayHowLong(t *testing.T) {
	for d, want := range map[time.Duration][2]string{
		0:                             {"just now", "less than a minute"},
		time.Second:                   {"one second ago", "less than a minute"},
		59 * time.Second:              {"59 seconds ago", "less than a minute"},
		time.Minute:                   {"one minute ago", "about one minute"},
		89 * time.Second:              {"one minute ago", "about one minute"},
		12 * time.Minute:              {"twelve minutes ago", "about twelve minutes"},
		119 * time.Minute:             {"119 minutes ago", "about 119 minutes"},
		2 * time.Hour:                 {"two hours ago", "about two hours"},
		24*time.Hour + 59*time.Minute: {"24 hours ago", "about 24 hours"},
	} {
		if got := [2]string{sayAgo(d), sayLasts(d)}; got != want {
			t.Errorf("%s is said as %q, not %q", d, got, want)
		}
	}
}
