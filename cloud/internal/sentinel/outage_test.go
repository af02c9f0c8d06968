package sentinel_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sentinel.home.arpa/cloud/internal/sentinel"
	"sentinel.home.arpa/shared/power"
	"sentinel.home.arpa/shared/shutdown"
)

// taken is an entry of a Pi's record that was taken in.
func taken(at time.Time, ups string, supply power.Supply) *sentinel.RecordTaken {
	return &sentinel.RecordTaken{Site: "home", Pi: "pi1", At: at, UPS: ups, Reading: power.Reading{Supply: supply}}
}

// TestN11_TheEntryThatBeginsAnOutageIsKept however much is recorded after it, until it is over;
// of what goes on only the first entry is, and all of it is bounded.
func TestN11_TheEntryThatBeginsAnOutageIsKept(t *testing.T) {
	const most = 512
	begun := time.Date(2026, 11, 21, 19, 2, 0, 0, time.UTC)
	keeps := func(s *sentinel.State, ups string, at time.Time) bool {
		for _, e := range s.Sites["home"].Taken {
			if e.UPS == ups && e.At.Equal(at) {
				return true
			}
		}
		return false
	}
	fill := func(s *sentinel.State, n int) {
		for k := range n {
			at := begun.Add(time.Hour + time.Duration(k)*time.Second)
			s.Evolve(at, &sentinel.RecordTaken{Site: "home", Pi: "pi1", At: at, Node: "pve1", Heard: k%2 == 0})
		}
		if got := len(s.Sites["home"].Taken); got > most {
			t.Errorf("%d entries are kept", got)
		}
	}
	s := sentinel.New(home())
	for n, e := range []*sentinel.RecordTaken{
		taken(begun, "ups1", power.Battery), taken(begun.Add(time.Second), "ups1", power.Unknown),
		taken(begun.Add(2*time.Second), "ups1", power.Battery), // of its Pi's restart
		taken(begun, "ups2", power.Battery), taken(begun.Add(time.Minute), "ups2", power.Mains),
		taken(begun.Add(time.Minute), "ups3", power.Mains), taken(begun.Add(2*time.Minute), "ups3", power.Battery),
	} {
		s.Evolve(begun.Add(time.Duration(n)), e)
	}
	fill(s, 2*most)
	for _, c := range []struct {
		ups  string
		at   time.Duration
		want bool
	}{{"ups1", 0, true}, {"ups1", 2 * time.Second, false}, {"ups2", 0, false}, {"ups3", time.Minute, false}, {"ups3", 2 * time.Minute, true}} {
		if got := keeps(s, c.ups, begun.Add(c.at)); got != c.want {
			t.Errorf("the entry about %s after %s is kept: %v", c.ups, c.at, got)
		}
	}
	s.Evolve(begun.Add(2*time.Hour), taken(begun.Add(2*time.Hour), "ups1", power.Mains))
	fill(s, most)
	if keeps(s, "ups1", begun) {
		t.Errorf("it is kept although it is over")
	}
	for n := range 2 * most {
		at := begun.Add(3*time.Hour + time.Duration(n))
		s.Evolve(at, taken(at, fmt.Sprint("many", n), power.Battery))
	}
	fill(s, 0)
	if n := 2*most - 1; !keeps(s, fmt.Sprint("many", n), begun.Add(3*time.Hour+time.Duration(n))) {
		t.Errorf("the newest is not kept")
	}
}

// battery has a UPS on battery that says so much of itself.
func battery(t *testing.T, w *world, ups string, runtime time.Duration, charge float64) {
	t.Helper()
	in := reported(power.Battery, 1, 0)
	in.UPS = ups
	if runtime > 0 {
		in.Reading.Runtime = new(power.Seconds)
		*in.Reading.Runtime = power.InSeconds(runtime)
	}
	if charge > 0 {
		in.Reading.Charge = &charge
	}
	w.step(in)
	w.now = w.now.Add(time.Second)
	in.Reading.For += 1
	w.step(in) // confirmed
}

// TestU7_TheWorstUPSIsTheFirst of those that are on battery, however often it is asked.
func TestU7_TheWorstUPSIsTheFirst(t *testing.T) {
	w := newWorld(t, home())
	w.step(sentinel.Started{})
	battery(t, w, "long", 40*time.Minute, 0.2)
	battery(t, w, "unknown", 0, 0)
	battery(t, w, "charged", 10*time.Minute, 0.9)
	battery(t, w, "only-charge", 0, 0.1)
	battery(t, w, "drained", 10*time.Minute, 0.3)
	battery(t, w, "drained-too", 10*time.Minute, 0.3)
	in := reported(power.Mains, 60, 0)
	in.UPS = "mains"
	w.step(in)
	for range 20 {
		var got []string
		for _, r := range w.state.Sites["home"].OnBatteryNow(w.now, time.Hour) {
			text := "-"
			if r.Runtime != nil {
				text = power.Spell(r.Runtime.Duration())
			}
			if r.Charge != nil {
				text += fmt.Sprintf(" %.0f %%", *r.Charge*100)
			}
			got = append(got, text)
		}
		want := []string{"10 min 30 %", "10 min 30 %", "10 min 90 %", "40 min 20 %", "- 10 %", "-"}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("(-want +got):\n%s", diff)
		}
	}
}

// TestU7_MainsOnlyIfAllAre: one UPS on mains says nothing about another.
func TestU7_MainsOnlyIfAllAre(t *testing.T) {
	for _, c := range []struct {
		of   []power.Supply
		want power.Supply
	}{
		{nil, power.Unknown},
		{[]power.Supply{power.Mains, power.Mains}, power.Mains},
		{[]power.Supply{power.Mains, ""}, power.Unknown},
		{[]power.Supply{power.Mains, power.Unknown}, power.Mains}, // one that was let go (rule U5)
		{[]power.Supply{power.Unknown}, power.Unknown},
		{[]power.Supply{power.Mains, power.Calibrates}, power.Calibrates},
		{[]power.Supply{power.SelfTest, power.Mains}, power.SelfTest},
		{[]power.Supply{power.SelfTest, power.Unknown}, power.SelfTest},
		{[]power.Supply{power.Unknown, power.Battery, power.Mains}, power.Battery},
	} {
		site := &sentinel.Site{UPSes: map[string]*sentinel.UPS{}}
		for n, supply := range c.of {
			site.UPSes[fmt.Sprint(n)] = &sentinel.UPS{Supply: supply}
		}
		for range 20 {
			if got := site.Supply(); got != c.want {
				t.Fatalf("of %v it is %q, want %q", c.of, got, c.want)
			}
		}
	}
}

// TestU5_AUPSThatWasLetGoIsNoMains for the run whose reason it may be, and for no other.
func TestU5_AUPSThatWasLetGoIsNoMains(t *testing.T) {
	begun := time.Date(2026, 11, 21, 19, 2, 0, 0, time.UTC)
	for _, c := range []struct {
		what string
		lost time.Time
		over bool
		want power.Supply
	}{
		{"lost in the run", begun.Add(time.Minute), false, power.Unknown},
		{"lost shortly before", begun.Add(-5 * time.Minute), false, power.Unknown},
		{"lost long before", begun.Add(-5*time.Minute - 1), false, power.Mains},
		{"not lost", time.Time{}, false, power.Mains},
		{"the run is over", begun.Add(time.Minute), true, power.Mains},
	} {
		site := &sentinel.Site{Run: &shutdown.Run{Begun: begun, Finished: c.over}, UPSes: map[string]*sentinel.UPS{
			"gone": {Supply: power.Unknown, Lost: !c.lost.IsZero(), LostAt: c.lost}, "other": {Supply: power.Mains}}}
		if got := site.Supply(); got != c.want {
			t.Errorf("%s: %q, want %q", c.what, got, c.want)
		}
	}
}

// TestR3_FactsFromBeforeTheyCarriedTimes are of the contract's times, whatever is configured.
func TestR3_FactsFromBeforeTheyCarriedTimes(t *testing.T) {
	cfg := home()
	cfg.Times.Silence, cfg.Times.Window, cfg.Times.DoubtAtMost = 5*time.Minute, 12*time.Hour, time.Minute
	at := time.Date(2026, 11, 21, 19, 2, 0, 0, time.UTC)
	s := sentinel.New(cfg)
	s.Evolve(at, &sentinel.SourceAppeared{Site: "home", Name: "pve1", Role: sentinel.Node, Boot: "a"})
	s.Evolve(at, &sentinel.SourceFailed{Site: "home", Name: "pve1"})
	at = at.Add(61 * time.Minute)
	s.Evolve(at, &sentinel.SourceFailed{Site: "home", Name: "pve1"})
	src := s.Sites["home"].Sources["pve1"]
	if len(src.Failures) != 1 {
		t.Errorf("%d failures count still", len(src.Failures))
	}
	s.Evolve(at, &sentinel.SourceLeft{Site: "home", Name: "pve1"})
	s.Evolve(at, &sentinel.ShutdownCancelled{Site: "home", Name: "pve1", Boot: "a"})
	if got := src.BackBy.Sub(at); got != 20*time.Second {
		t.Errorf("it has %s to be heard", got)
	}
	s.Evolve(at, &sentinel.BlindBegan{Site: "home"})
	s.Evolve(at.Add(time.Minute), &sentinel.BlindEnded{For: time.Minute})
	if got := at.Sub(s.Deaf[len(s.Deaf)-1].From); got != 23*time.Second {
		t.Errorf("nobody was heard from %s before it", got)
	}
}

// TestR3_FactsCarryTheirTimes: those of then hold for what they did, also after the
// configuration was changed.
func TestR3_FactsCarryTheirTimes(t *testing.T) {
	cfg := home()
	cfg.Times.Silence, cfg.Times.Window, cfg.Times.DoubtAtMost = 40*time.Second, 2*time.Hour, 2*time.Second
	w := newWorld(t, cfg)
	w.step(sentinel.Started{})
	line := func(verb string, words ...string) {
		t.Helper()
		if err := w.do(verb, parseWords(words)); err != nil {
			t.Fatal(err)
		}
	}
	line("beat", "all")
	for range 2 {
		line("+60s")
		line("silent", "pve1")
		line("+90m")
		line("beat", "pve1")
	}
	if got := len(w.state.Sites["home"].Sources["pve1"].Failures); got != 2 {
		t.Errorf("%d failures count", got)
	}
	line("announce", "nas", "poweroff", "seq=1")
	line("silent", "nas")
	line("+60s")
	line("announce", "nas", "cancelled", "seq=2")
	src := w.state.Sites["home"].Sources["nas"]
	if got := src.BackBy.Sub(w.now); got != cfg.Times.Silence {
		t.Errorf("it has %s to be heard", got)
	}
	line("beat", "nas")
	line("+60s")
	line("uplink", "offline")
	line("silent", "all")
	line("+2m")
	line("beat", "all")
	line("+10s")
	if len(w.state.Deaf) == 0 || !w.state.Blind.IsZero() {
		t.Errorf("blind %s, deaf %v", w.state.Blind, w.state.Deaf)
	}
	w.checkReplay()
}
