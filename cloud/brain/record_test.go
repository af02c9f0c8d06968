package brain

import (
	"context"
	"strings"
	"testing"
	"time"

	"sentinel.home.arpa/shared/courier"
	"sentinel.home.arpa/shared/power"
	"sentinel.home.arpa/shared/shutdown"
	"sentinel.home.arpa/shared/wire"
)

// record is what the Pi delivers of its own.
func (h *home) record(left int, entries ...wire.Noted) {
	h.Helper()
	m := wire.Record{Header: h.pi.header(), Entries: entries, Left: left}
	if _, err := h.pi.post(courier.PathRecord, wire.KindRecord, m.Header, m); err != nil {
		h.Fatal(err)
	}
}

func noted(ago time.Duration, supply power.Supply, flags power.Flags) wire.Noted {
	r := power.Reading{Status: power.Status{Flags: flags}, Supply: supply, For: 60}
	if flags.Has(power.LowBattery) {
		r.LowFor = new(power.Seconds(50))
	}
	return wire.Noted{AgeMS: ago.Milliseconds(), UPS: "ups", Reading: &r}
}

// TestU6_ARecordBeginsNothing: whatever a Pi noted, it is history. It starts no plan, makes no
// outage of a house whose UPS is heard on mains, and changes no supply.
func TestU6_ARecordBeginsNothing(t *testing.T) {
	var c *cluster
	in(t, func(h *home) { c = h.withPlan() }, func(h *home) {
		h.press("/api/v1/plan/arm")
		low := noted(0, power.Battery, power.OnBattery|power.LowBattery)
		for range 60 {
			h.record(0, low)
			rest(time.Second)
		}
		quiet := func(when string) {
			h.Helper()
			if told := c.told(); len(told) > 0 {
				h.Errorf("%s: commands %+v", when, told)
			}
			if u := h.view().Sites[0].UPSes[0]; u.Supply != string(power.Mains) || u.OnBattery {
				h.Errorf("%s: the page shows %+v", when, u)
			}
			if a := h.pi.answer(); a.Mandate.Run != shutdown.None {
				h.Errorf("%s: the mandate is %+v", when, a.Mandate)
			}
			for _, s := range h.view().Sites {
				if len(s.Runs) > 0 {
					h.Errorf("%s: runs %+v", when, s.Runs)
				}
			}
		}
		quiet("while all is heard")
		h.calls(0)
		h.offline()
		rest(50 * time.Second)
		h.online()
		rest(2 * time.Second)
		h.record(0, noted(40*time.Second, power.Battery, power.OnBattery), low) // it says that it is out still
		rest(30 * time.Second)
		quiet("after an outage of the internet")
	})
}

// TestN7_TheTimelineTellsWhatHappenedMeanwhile, and N11: the internet outage was one of the
// power, and nobody is called again.
func TestN7_TheTimelineTellsWhatHappenedMeanwhile(t *testing.T) {
	in(t, nil, func(h *home) {
		h.offline()
		rest(100 * time.Second)
		h.calls(1)
		h.online()
		rest(3 * time.Second)
		h.record(1, noted(80*time.Second, power.Battery, power.OnBattery))
		h.record(0, noted(50*time.Second, power.Mains, power.Online))
		rest(2 * time.Minute)
		h.calls(1)
		h.mustTell("ups: on battery")
		h.mustTell("as pi noted while the brain could not hear it")
		if v := h.view(); len(v.Incidents) != 1 || v.Incidents[0].Kind != "power_outage" || v.Incidents[0].Open || !strings.Contains(v.Incidents[0].ID, "-internet-") {
			h.Errorf("incidents %+v", v.Incidents)
		}
	})
}

// TestN5_APiThatAnnouncedItsRestart may be away for longer than one that did not; it stays a
// Pi, and is back in the same boot or another.
func TestN5_APiThatAnnouncedItsRestart(t *testing.T) {
	for name, back := range map[string]func(h *home){
		"the program":  func(h *home) { h.pi.mu.Lock(); h.pi.on = true; h.pi.mu.Unlock() },
		"the machine":  func(h *home) { h.pi.wake() },
		"within 20 s":  func(h *home) {},
		"never silent": nil,
	} {
		t.Run(name, func(t *testing.T) {
			in(t, nil, func(h *home) {
				h.pi.announce(wire.SoftReboot)
				if back != nil {
					h.pi.kill()
					rest(5 * time.Second)
					if name != "within 20 s" {
						rest(3 * time.Minute) // a notice comes after one minute
						if s := h.shows("pi").State; !strings.HasPrefix(s, "restarting (planned, back by ") {
							h.Errorf("while it is away the page shows %q", s)
						}
					}
					h.pi.mu.Lock()
					h.pi.on = true
					h.pi.mu.Unlock()
					back(h)
				}
				rest(2 * time.Minute)
				h.calls(0)
				h.mustTell("pi announced its restart")
				if _, told := h.told("soft-reboot"); told {
					h.Errorf("what was no soft-reboot is told as one:\n%s", h.timeline())
				}
				if back == nil {
					h.mustTell("pi does not shut down after all, because its program alone was restarted")
				}
				if s := h.shows("pi"); s.Role != "pi" || s.Condition != "up" || s.Note != "" {
					h.Errorf("the page shows %+v\n%s", s, h.timeline())
				}
				if _, told := h.told("nobody watches"); told {
					h.Errorf("it was missed:\n%s", h.timeline())
				}
			})
		})
	}
}

// TestN5_TheBrainTellsItsPisThatItIsRestarted, and no longer than it takes; a Pi that is
// away holds nothing up.
func TestN5_TheBrainTellsItsPisThatItIsRestarted(t *testing.T) {
	for _, away := range []bool{false, true} {
		in(t, nil, func(h *home) {
			ctx, cancel := context.WithCancel(h.Context())
			later := h.brain.Leave(ctx)
			rest(2 * time.Second)
			if later.Err() != nil || h.pi.answer().Leaving {
				t.Fatal("it leaves before it is told to")
			}
			if away {
				h.pi.kill()
			}
			cancel()
			asked := time.Now()
			<-later.Done()
			rest(10 * time.Millisecond) // for the answer to arrive
			if took := time.Since(asked); took > leaveWithin+20*time.Millisecond || away != (took > leaveWithin) {
				t.Errorf("away %v: it took %s", away, took)
			}
			if h.pi.answer().Leaving == away || h.nodes["pve1"].answer().Leaving {
				t.Errorf("away %v: the Pi heard %v, pve1 %v", away, h.pi.answer().Leaving, h.nodes["pve1"].answer().Leaving)
			}
		})
	}
}
