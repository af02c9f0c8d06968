package sentinel_test

import (
	"strings"
	"testing"
	"time"

	"sentinel.home.arpa/cloud/internal/sentinel"
	"sentinel.home.arpa/shared/power"
	"sentinel.home.arpa/shared/shutdown"
)

func reported(supply power.Supply, seconds float64, lag time.Duration) sentinel.UPSReported {
	return sentinel.UPSReported{Site: "home", Pi: "pi1", UPS: "apc1", Lag: lag, Reading: power.Reading{Supply: supply, For: power.Seconds(seconds)}}
}

// outage is one of so many seconds, of which the Pi has said so twice by now.
func (w *world) outage(seconds float64) {
	w.step(reported(power.Battery, seconds-1, 0))
	w.now = w.now.Add(time.Second)
	w.step(reported(power.Battery, seconds, 0))
}

// TestU6_HeldBackReports: after a start or a pause one report of an outage that reaches
// back beyond what was heard since begins nothing, whoever sends it how often, until the
// Pi itself says so again.
func TestU6_HeldBackReports(t *testing.T) {
	type report struct {
		after  time.Duration
		supply power.Supply
		since  float64 // seconds
		boot   string
		seq    int64
		takes  bool
	}
	for name, rs := range map[string][]report{
		"one":                         {{0, power.Battery, 60, "a", 9, false}, {time.Minute, power.Mains, 90, "a", 10, true}},
		"of an outage that had begun": {{0, power.Battery, 0.5, "a", 9, false}, {4 * time.Second, power.Mains, 90, "a", 10, true}},
		"after a word of mains":       {{0, power.Mains, 600, "a", 8, true}, {3 * time.Second, power.Battery, 60, "a", 9, false}},
		"the same again":              {{0, power.Battery, 60, "a", 9, false}, {time.Second, power.Battery, 60, "a", 9, false}},
		"at the same moment":          {{0, power.Battery, 60, "a", 9, false}, {500 * time.Millisecond, power.Battery, 61, "a", 10, false}},
		"of two boots":                {{0, power.Battery, 60, "a", 9, false}, {time.Second, power.Battery, 61, "b", 10, false}},
		"with mains between":          {{0, power.Battery, 60, "a", 9, false}, {time.Second, power.Mains, 1, "a", 10, true}, {time.Second, power.Battery, 60, "a", 11, false}},
		"a true outage":               {{0, power.Battery, 60, "a", 9, false}, {time.Second, power.Battery, 61, "a", 10, true}, {time.Second, power.Battery, 62, "a", 11, true}},
		"one that is new":             {{0, power.Mains, 600, "a", 8, true}, {3 * time.Second, power.Battery, 0.5, "a", 9, true}},
	} {
		for what, again := range map[string]func(*world){
			"a start": func(w *world) { w.restart(time.Second) },
			"a pause": func(w *world) { w.pause(5 * time.Second) },
		} {
			t.Run(name+" after "+what, func(t *testing.T) {
				w := newWorld(t, home())
				w.step(sentinel.Started{})
				w.step(sentinel.Arm{Site: "home", By: "alice"})
				w.step(reported(power.Mains, 5, 0))
				again(w)
				for i, r := range rs {
					w.pass(r.after)
					in := reported(r.supply, r.since, 0)
					in.Boot, in.Seq = r.boot, r.seq
					w.now = w.now.Add(time.Millisecond)
					w.step(in)
					u := w.state.Sites["home"].UPSes["apc1"]
					if now, _ := u.Reading(w.now, time.Hour); (now.Supply == r.supply && now.LostFor == nil) != r.takes {
						t.Errorf("after report %d it is %s", i+1, now.Supply)
					}
				}
				want := rs[len(rs)-1].supply == power.Battery && rs[len(rs)-1].takes && rs[len(rs)-1].since > 10
				if run := w.state.Sites["home"].Run; (run != nil) != want {
					t.Errorf("run %+v", run)
				}
				w.checkReplay()
			})
		}
	}
}

// TestA7_ForgedMessagesAreANotice, once in an hour for each name, also over a restart.
func TestA7_ForgedMessagesAreANotice(t *testing.T) {
	cfg := home()
	cfg.Times.PendingNotice = 0
	w := newWorld(t, cfg)
	w.step(sentinel.Started{})
	told := func(name string, want int) {
		t.Helper()
		facts := w.step(sentinel.Forged{Site: "home", Name: name, From: "192.0.2.7", Times: 3})
		if len(facts) != want {
			t.Fatalf("%q: %d facts, not %d", name, len(facts), want)
		}
		if want == 0 {
			return
		}
		n, _ := facts[0].(*sentinel.Noticed)
		if n == nil || !strings.HasSuffix(n.Text, "with a wrong key: 3 messages in the hour, the last from 192.0.2.7") {
			t.Errorf("told %+v", facts[0])
		}
	}
	told("pve2", 1)
	told("pve2", 0)
	told("pve1", 1)
	told("", 1)
	told("", 0)
	w.restart(time.Minute)
	told("pve2", 0)
	w.now = w.now.Add(time.Hour)
	told("pve2", 1)
	w.checkReplay()
}

// TestR3_NoticesOfTheStart stand in the timeline.
func TestR3_NoticesOfTheStart(t *testing.T) {
	w := newWorld(t, home())
	facts := w.step(sentinel.Started{Notices: []string{"the journal was damaged"}})
	if len(facts) != 2 || sentinel.Sentence(facts[1]) != "the journal was damaged" {
		t.Errorf("%d facts", len(facts))
	}
}

// TestU6_LateReportsAreHistory: what was long on its way, or was overtaken, changes
// nothing, and above all begins no plan.
func TestU6_LateReportsAreHistory(t *testing.T) {
	for name, c := range map[string]struct {
		after time.Duration // the report before it
		late  sentinel.UPSReported
	}{
		"11 s under way":           {20 * time.Second, reported(power.Battery, 60, 11*time.Second)},
		"overtaken":                {time.Second, reported(power.Battery, 60, 2*time.Second)},
		"as old as the one before": {time.Second, reported(power.Battery, 60, time.Second)},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, home())
			w.step(sentinel.Started{})
			w.step(sentinel.Arm{Site: "home", By: "alice"})
			w.step(reported(power.Mains, 5, 0))
			w.pass(c.after)
			if facts := w.step(c.late); len(facts) != 0 {
				t.Errorf("it led to %s", facts[0].FactName())
			}
		})
	}
	w := newWorld(t, home())
	w.step(sentinel.Arm{Site: "home", By: "alice"})
	w.step(reported(power.Mains, 5, 0))
	w.pass(3 * time.Second)
	if facts := w.step(reported(power.Battery, 1, time.Second)); len(facts) != 1 {
		t.Errorf("a report that is 1 s old was not taken: %v", facts)
	}
	if since, on := w.state.Sites["home"].OnBattery(); !on || !since.Equal(w.now.Add(-2*time.Second)) {
		t.Errorf("on battery %v since %s, want since 2 s ago", on, since)
	}
}

// TestU6_OldReportsAfterARestart: a recorded outage that is over begins nothing when it
// comes again, also of the Pi's boot before; newer reports count.
func TestU6_OldReportsAfterARestart(t *testing.T) {
	of := func(supply power.Supply, boot string, seq int64) sentinel.UPSReported {
		r := reported(supply, 1, 0)
		r.Boot, r.Seq = boot, seq
		return r
	}
	w := newWorld(t, home())
	w.step(sentinel.Arm{Site: "home", By: "alice"})
	for _, r := range []sentinel.UPSReported{of(power.Mains, "a", 5), of(power.Battery, "a", 10), of(power.Mains, "b", 3)} {
		w.now = w.now.Add(time.Second)
		w.step(r)
	}
	w.restart(time.Second)
	w.now = w.now.Add(time.Second)
	w.step(of(power.Mains, "b", 4))
	for _, r := range []sentinel.UPSReported{of(power.Battery, "a", 10), of(power.Battery, "a", 11), of(power.Battery, "b", 3), of(power.Battery, "b", 2)} {
		w.now = w.now.Add(time.Second)
		if facts := w.step(r); len(facts) != 0 {
			t.Errorf("boot %s, seq %d led to %s", r.Boot, r.Seq, facts[0].FactName())
		}
	}
	other := of(power.Battery, "a", 10)
	for _, r := range []sentinel.UPSReported{of(power.Battery, "b", 5), of(power.Mains, "c", 1), other} {
		w.now = w.now.Add(time.Second)
		if r == other {
			r.Pi = "pi2" // which has said nothing yet
		}
		if facts := w.step(r); len(facts) == 0 {
			t.Errorf("boot %s, seq %d of %s was not taken", r.Boot, r.Seq, r.Pi)
		}
	}
	w.checkReplay()
}

// TestUnknownThingsDoNotPanic: what names nobody and nothing is harmless.
func TestUnknownThingsDoNotPanic(t *testing.T) {
	w := newWorld(t, home())
	for _, in := range []sentinel.Input{
		sentinel.Heard{Site: "nowhere", Name: "x"}, sentinel.Silent{Site: "nowhere", Name: "y"}, sentinel.Silent{Site: "home", Name: "y"},
		sentinel.SystemState{Site: "home", Name: "z", State: "running"}, sentinel.Announced{Site: "home", Name: "z", Kind: "cancelled"},
		sentinel.CallWasPlaced{Call: "c", SID: "s"}, sentinel.Pressed{Call: "c", Key: "1"}, sentinel.CallHasEnded{Call: "c"}, sentinel.CallIsLate{Call: "c"}, sentinel.Acknowledge{Incident: "i"},
		sentinel.RunAnswered{Site: "home", Run: "r", Target: "node/pve1"}, sentinel.RunSeen{Site: "home", Run: "r"}, sentinel.Disarm{Site: "home"},
		sentinel.Uplink{Online: false}, sentinel.Uplink{Online: true}, sentinel.Paused{For: time.Minute}, sentinel.Tick{},
		sentinel.UPSReported{Site: "nowhere", UPS: "u", Reading: power.Reading{Supply: power.Battery, For: 60}}, sentinel.Tick{},
		sentinel.PiReported{Site: "nowhere", Pi: "p", Run: shutdown.Status{ID: "r"}},
	} {
		w.step(in)
	}
	w.pass(time.Minute)
	for _, i := range w.state.OpenIncidents() {
		t.Errorf("%s was opened about nothing", i.ID)
	}
}

// TestRunOfASiteThatIsGone: a journal that knows a run of a site that is no longer
// configured must neither stop the brain nor send anything.
func TestRunOfASiteThatIsGone(t *testing.T) {
	w := newWorld(t, home())
	w.step(sentinel.Arm{Site: "home", By: "alice"})
	w.outage(11)
	if run := w.state.Sites["home"].Run; run == nil || run.Over() {
		t.Fatal("no run has begun")
	}
	w.cfg.Sites = nil
	before := len(w.kept)
	w.restart(time.Second)
	w.pass(time.Minute)
	for _, k := range w.kept[before:] {
		if k.name == "call_requested" {
			t.Errorf("%s: %s", k.name, k.body)
		}
	}
	w.checkReplay()
}

// TestMandate is what the Pis are told.
func TestMandate(t *testing.T) {
	w := newWorld(t, home())
	want := func(counter uint64, state shutdown.State, run string) {
		t.Helper()
		epoch, st, id := w.state.Mandate("home", "pi1", w.now)
		if epoch != (shutdown.Epoch{Counter: counter, Holder: "cloud"}) || st != state || id != run {
			t.Errorf("mandate %v %s %q, want %d %s %q", epoch, st, id, counter, state, run)
		}
	}
	want(0, shutdown.Disarmed, "")
	w.step(sentinel.Arm{Site: "home", By: "alice"})
	want(0, shutdown.None, "")
	w.outage(10)
	id := w.state.Sites["home"].Run.ID
	want(1, shutdown.Begun, id)
	w.step(sentinel.RunAnswered{Site: "home", Run: id, Target: "listing/pve1", Found: []shutdown.Target{{Kind: shutdown.Guest, Node: "pve1", VMID: 100}}})
	want(1, shutdown.Begun, id) // who may ask may not yet be one who may act
	w.step(sentinel.RunAnswered{Site: "home", Run: id, Target: "guest/100"})
	want(1, shutdown.Advancing, id)
	w.pass(11 * time.Second)
	want(1, shutdown.Begun, id) // nothing moves: the guardian may act (rule G1)
	w.step(sentinel.Disarm{Site: "home", By: "alice"})
	want(1, shutdown.Disarmed, "")
	w.step(sentinel.Arm{Site: "home", By: "alice"})
	want(1, shutdown.Stopped, id)
	w.step(reported(power.Mains, 0, 0))
	want(1, shutdown.None, "")
	w.pass(time.Minute)
	w.step(reported(power.Battery, 1, 0))
	want(1, shutdown.None, "") // a run of an earlier outage says nothing about this one
	if epoch, st, _ := w.state.Mandate("nowhere", "pi1", w.now); epoch.Holder != "cloud" || st != shutdown.None {
		t.Errorf("nowhere: %v, %s", epoch, st)
	}
}

// TestR8_KeysAreBoundOnce and stay.
func TestR8_KeysAreBoundOnce(t *testing.T) {
	w := newWorld(t, home())
	key := sentinel.KeyBound{Name: "pve1", Site: "home", Role: sentinel.Node, Key: "ed25519:x", StableID: "n1"}
	if facts := w.step(sentinel.Bound{KeyBound: key}); len(facts) != 1 {
		t.Errorf("%d facts", len(facts))
	}
	if facts := w.step(sentinel.Bound{KeyBound: key}); len(facts) != 0 {
		t.Errorf("bound again: %d facts", len(facts))
	}
	if got := w.replayed().Keys["pve1"]; got != key {
		t.Errorf("the journal gives %+v", got)
	}
}
