package sentinel_test

import (
	"strings"
	"testing"
	"time"

	"sentinel.home.arpa/cloud/internal/cause"
	"sentinel.home.arpa/cloud/internal/sentinel"
	"sentinel.home.arpa/shared/power"
	"sentinel.home.arpa/shared/shutdown"
)

// TestH9_MutesAndMaintenanceEnd: none lasts longer than 30 days, and what names nobody or
// no time is nothing.
func TestH9_MutesAndMaintenanceEnd(t *testing.T) {
	const most = 30 * 24 * time.Hour
	for name, c := range map[string]struct {
		in   sentinel.Input
		span time.Duration // 0: nothing happens
	}{
		"a mute":                       {sentinel.Mute{Site: "home", Name: "pve1", For: time.Hour}, time.Hour},
		"a mute of 30 days":            {sentinel.Mute{Site: "home", Name: "pve1", For: most}, most},
		"a longer mute":                {sentinel.Mute{Site: "home", Name: "pve1", For: most + 1}, most},
		"a mute of nobody":             {sentinel.Mute{Site: "home", Name: "x", For: time.Hour}, 0},
		"a mute without a name":        {sentinel.Mute{Site: "home", For: time.Hour}, 0},
		"a mute at no site":            {sentinel.Mute{Site: "nowhere", Name: "pve1", For: time.Hour}, 0},
		"a mute for no time":           {sentinel.Mute{Site: "home", Name: "pve1"}, 0},
		"a mute for less than no time": {sentinel.Mute{Site: "home", Name: "pve1", For: -time.Hour}, 0},
		"maintenance":                  {sentinel.Maintain{Site: "home", Name: "pve1", For: time.Hour}, time.Hour},
		"maintenance of a site":        {sentinel.Maintain{Site: "home", For: time.Hour}, time.Hour},
		"longer maintenance":           {sentinel.Maintain{Site: "home", For: 2 * most}, most},
		"maintenance of nobody":        {sentinel.Maintain{Site: "home", Name: "x", For: time.Hour}, 0},
		"maintenance of no site":       {sentinel.Maintain{Site: "nowhere", For: time.Hour}, 0},
		"maintenance for no time":      {sentinel.Maintain{Site: "home"}, 0},
		"the end of no mute":           {sentinel.Unmute{Site: "home", Name: "pve1"}, 0},
		"the end of nobody's mute":     {sentinel.Unmute{Site: "nowhere", Name: "pve1"}, 0},
		"the end of no maintenance":    {sentinel.Maintained{Site: "home"}, 0},
		"the end of a node's none":     {sentinel.Maintained{Site: "home", Name: "pve1"}, 0},
		"the end of nobody's":          {sentinel.Maintained{Site: "home", Name: "x"}, 0},
		"nobody's deletion":            {sentinel.Delete{Site: "home", Name: "x"}, 0},
		"a deletion without a name":    {sentinel.Delete{Site: "home"}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, home())
			w.step(sentinel.Started{})
			facts := w.step(c.in)
			if (len(facts) != 0) != (c.span != 0) {
				t.Fatalf("%d facts", len(facts))
			}
			for _, f := range facts {
				var until time.Time
				var span time.Duration
				var cut bool
				switch f := f.(type) {
				case *sentinel.Muted:
					until, span, cut = f.Until, f.For, f.Cut
				case *sentinel.MaintenanceBegan:
					until, span, cut = f.Until, f.For, f.Cut
				default:
					t.Fatalf("%s came of it", f.FactName())
				}
				if span != c.span || !until.Equal(w.now.Add(c.span)) || cut != (strings.Contains(name, "longer")) {
					t.Errorf("it lasts %s until %s, cut %v", span, until, cut)
				}
			}
			if w.state.Sites["nowhere"] != nil {
				t.Error("a site came of it")
			}
			w.checkReplay()
		})
	}
}

// TestH9_DeletedSaidWhatItSaid: an announcement that is heard again after its node was
// deleted is a repetition, and does not bring it back (rule A7); a new one does.
func TestH9_DeletedSaidWhatItSaid(t *testing.T) {
	w := newWorld(t, home())
	w.step(sentinel.Started{})
	w.step(sentinel.Heard{Site: "home", Name: "pve1", Role: sentinel.Node, Boot: "a"})
	said := sentinel.Announced{Site: "home", Name: "pve1", Boot: "a", ID: "1", Kind: "poweroff", Seq: 7}
	if len(w.step(said)) == 0 {
		t.Fatal("it was not taken")
	}
	w.step(sentinel.Delete{Site: "home", Name: "pve1", By: "alice"})
	w.restart(time.Minute)
	if facts := w.step(said); len(facts) != 0 {
		t.Errorf("it led to %s", facts[0].FactName())
	}
	said.Seq = 8
	if len(w.step(said)) == 0 || w.state.Sites["home"].Sources["pve1"] == nil {
		t.Error("a new one was not taken")
	}
	said.Seq = 7
	if facts := w.step(said); len(facts) != 0 {
		t.Errorf("it led to %s after all", facts[0].FactName())
	}
	w.checkReplay()
}

// TestH10_NoNoticeInMaintenance: who may come and go may do so over any way.
func TestH10_NoNoticeInMaintenance(t *testing.T) {
	w := newWorld(t, home())
	w.step(sentinel.Started{})
	w.step(sentinel.Heard{Site: "home", Name: "pve1", Role: sentinel.Node, Boot: "a"})
	w.step(sentinel.Maintain{Site: "home", Name: "pve1", By: "alice", For: time.Minute})
	w.step(sentinel.Indirect{Site: "home", Name: "pve1", Via: "pi1"})
	noticed := func() (n int) {
		for _, k := range w.kept {
			if k.name == "noticed" {
				n++
			}
		}
		return n
	}
	w.pass(50 * time.Second)
	if noticed() != 0 {
		t.Error("it was told in its maintenance")
	}
	w.pass(30 * time.Second)
	if noticed() != 1 {
		t.Errorf("told %d times after its maintenance", noticed())
	}
}

// TestH11_WhatAMachineSays is of the machine whose boot it is, also through a Pi; a boot
// that is of neither is the name's own.
func TestH11_WhatAMachineSays(t *testing.T) {
	for boot, want := range map[string]string{"a": "pve1", "b": "pve1 (2)", "c": "pve1"} {
		for _, via := range []string{"", "pi1"} {
			w := newWorld(t, home())
			w.step(sentinel.Started{})
			w.step(sentinel.Heard{Site: "home", Name: "pve1", Role: sentinel.Node, Boot: "a"})
			w.step(sentinel.Cloned{Site: "home", Name: "pve1", As: "pve1 (2)", Boot: "b"})
			if again := w.step(sentinel.Cloned{Site: "home", Name: "pve1", As: "pve1 (2)", Boot: "b"}); len(again) != 0 {
				t.Errorf("it was told again: %s", again[0].FactName())
			}
			facts := w.step(sentinel.Announced{Site: "home", Name: "pve1", Boot: boot, ID: "1", Kind: "poweroff", Via: via, Seq: 1})
			if len(facts) != 1 {
				t.Fatalf("boot %s via %q: %d facts", boot, via, len(facts))
			}
			if f, ok := facts[0].(*sentinel.ShutdownAnnounced); !ok || f.Name != want {
				t.Errorf("boot %s via %q: %+v", boot, via, facts[0])
			}
			w.checkReplay()
		}
	}
}

// TestH5_LateInAnEarlierOutage: what a Pi's run did not get down in the last outage makes
// this one no worse.
func TestH5_LateInAnEarlierOutage(t *testing.T) {
	cfg := home()
	cfg.Sites[0].Plan = nil
	w := newWorld(t, cfg)
	w.step(sentinel.Started{})
	for range 2 {
		w.step(reported(power.Mains, 10, 0))
		w.pass(time.Minute)
		w.step(reported(power.Battery, 6, 0))
		open := w.state.OpenIncidents()
		if len(open) != 1 || len(open[0].Worse) != 0 {
			t.Fatalf("%d incidents, the first is worse for %v", len(open), open[0].Worse)
		}
		w.step(sentinel.PiReported{Site: "home", Pi: "pi1", Run: shutdown.Status{ID: "r", State: shutdown.HasEnded,
			Targets: []shutdown.Outcome{{Kind: shutdown.ProxmoxNode, Name: "pve1", State: "late"}}}})
		w.pass(time.Minute)
	}
	w.checkReplay()
}

// TestNoticesThatAreSwitchedOff: a time of zero is no notice, and no call.
func TestNoticesThatAreSwitchedOff(t *testing.T) {
	for _, on := range []bool{true, false} {
		cfg := home()
		if !on {
			cfg.Times.PendingNotice, cfg.Times.StoppingNotice, cfg.Times.PiNotice, cfg.Times.PiCall, cfg.Times.Reminder = 0, 0, 0, 0, 0
			cfg.WorseCharge, cfg.WorseRuntime = 0, 0
		}
		cfg.Sites[0].Plan = nil
		cfg.Escalation.Rounds = 1
		w := newWorld(t, cfg)
		w.step(sentinel.Started{})
		w.step(sentinel.Heard{Site: "home", Name: "pve1", Role: sentinel.Node, Boot: "a"})
		w.step(sentinel.Heard{Site: "home", Name: "pi1", Role: sentinel.Pi, Boot: "a"})
		w.step(sentinel.SystemState{Site: "home", Name: "pve1", Boot: "a", State: "stopping"})
		w.step(sentinel.Silent{Site: "home", Name: "pi1", Last: w.now, Up: []cause.Source{{Name: "pi1", Pi: true, Last: w.now}, {Name: "pve1", Last: w.now.Add(time.Minute)}}})
		w.pass(time.Hour)
		w.step(reported(power.Mains, 10, 0))
		w.pass(10 * time.Second)
		low := reported(power.Battery, 6, 0)
		w.step(low)
		w.pass(time.Second)
		charge, runtime := 0.01, power.Seconds(1)
		low.Reading.Charge, low.Reading.Runtime, low.Reading.For = &charge, &runtime, 7
		w.step(low)
		told := map[string]int{}
		for _, k := range w.kept {
			told[k.name]++
		}
		want := map[string]int{"noticed": 3, "incident_opened": 2, "incident_worse": 2}
		if !on {
			want = map[string]int{"incident_opened": 1} // the power outage
		}
		for _, name := range []string{"noticed", "incident_opened", "incident_worse", "incident_reminded"} {
			if told[name] != want[name] {
				t.Errorf("on %v: %d times %s, want %d", on, told[name], name, want[name])
			}
		}
	}
}
