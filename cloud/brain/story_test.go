package brain

import (
	"strings"
	"testing"
	"time"

	"sentinel.home.arpa/shared/courier"
	"sentinel.home.arpa/shared/power"
	"sentinel.home.arpa/shared/shutdown"
	"sentinel.home.arpa/shared/sim/twiliosim"
	"sentinel.home.arpa/shared/wire"
)

// TestH2_NodeFailure: one call, 20.0 s after the last word, and it says which and where.
func TestH2_NodeFailure(t *testing.T) {
	in(t, nil, func(h *home) {
		h.nodes["pve2"].kill()
		last := h.nodes["pve2"].lastWord()
		rest(19 * time.Second)
		h.calls(0)
		rest(10 * time.Second)
		call := h.calls(1)[0]
		h.onTime("the call", call.Created, last.Add(20*time.Second))
		said := "Hello Alex. This is your home sentinel. P V E 2 at home has not answered since 00 00. The other two servers there are fine."
		if call.To != alex || call.Text != said+"\n"+said {
			h.Errorf("%s heard %q", call.To, call.Text)
		}
		if s := h.shows("pve2"); s.Condition != "failed" {
			h.Errorf("the page shows %+v", s)
		}
		if v := h.view(); v.Verdict != "pve2 at home failed 29 s ago. Alex knows." {
			h.Errorf("verdict %q", v.Verdict)
		}
		h.nodes["pve2"].wake()
		rest(70 * time.Second)
		if v := h.view(); v.Verdict != "All well." || v.Incidents[0].Open {
			h.Errorf("verdict %q, %+v", v.Verdict, v.Incidents)
		}
		h.slowly()
		rest(5 * time.Minute)
		h.calls(1)
	})
}

// TestC1_WhoIsOffIsNotFine: a node that was shut down is no other that is fine, nor one that is silent.
func TestC1_WhoIsOffIsNotFine(t *testing.T) {
	for said, story := range map[string]func(n *source){
		"Of the others there one server is fine, and one server is off, or about to be, as planned.": func(n *source) { n.announce(wire.Poweroff); rest(3 * time.Second) },
		"The other server there is fine.": func(*source) { rest(8 * time.Second) },
	} {
		in(t, nil, func(h *home) {
			h.nodes["pve2"].kill()
			story(h.nodes["pve3"])
			h.nodes["pve3"].kill()
			rest(22 * time.Second)
			if call := h.calls(1)[0]; !strings.Contains(call.Text, said) {
				h.Errorf("%q is not %q", call.Text, said)
			}
		})
	}
}

// TestA4_AnnouncedReboot: no call, and back.
func TestA4_AnnouncedReboot(t *testing.T) {
	in(t, nil, func(h *home) {
		h.slowly()
		n := h.nodes["pve2"]
		n.announce(wire.Reboot)
		rest(3 * time.Second)
		n.kill()
		rest(2 * time.Minute)
		if s := h.shows("pve2"); s.Condition != "off" || s.Note == "" {
			h.Errorf("the page shows %+v", s)
		}
		n.wake()
		rest(12 * time.Minute)
		h.calls(0)
		if s := h.shows("pve2"); s.Condition != "up" || s.Note != "" {
			h.Errorf("the page shows %+v", s)
		}
		if len(h.view().Incidents) > 0 {
			h.Errorf("incidents %+v", h.view().Incidents)
		}
	})
}

// TestS2_PowerOutage: the incident at 5 s, plan and call at 10 s, guests before nodes, and
// the call says so.
func TestS2_PowerOutage(t *testing.T) {
	var c *cluster
	in(t, func(h *home) { c = h.withPlan() }, func(h *home) {
		h.press("/api/v1/plan/arm")
		out := time.Now()
		h.ups.set(true)
		rest(9900 * time.Millisecond)
		h.onTime("the incident", h.mustTell("power outage at home"), out.Add(5*time.Second))
		h.calls(0)
		if told := c.told(); len(told) > 0 {
			h.Errorf("told before the ride was over: %v", told)
		}
		rest(10 * time.Second)
		call := h.calls(1)[0]
		h.onTime("the call", call.Created, out.Add(10*time.Second))
		said := "Hello Alex. This is your home sentinel. The power at home has been out since 00 00. The battery is at 96 percent, enough for about 31 minutes. I am shutting down nine guests now, then three servers."
		if call.Text != said+"\n"+said {
			h.Errorf("said %q", call.Text)
		}
		rest(2 * time.Minute)
		h.calls(1) // a person took it, and the nodes' silence is part of it
		told := c.told()
		h.onTime("the first command", told[0].at, out.Add(10*time.Second))
		if len(told) != 12 {
			h.Errorf("%d commands: %v", len(told), told)
		}
		for i, x := range told {
			switch guest := strings.Contains(x.what, "/qemu/"); {
			case guest != (i < 9):
				h.Errorf("command %d is %s", i, x.what)
			case i == 11 && !strings.HasPrefix(x.what, "pve1 "):
				h.Errorf("the last to go is %s", x.what)
			}
		}
		for _, n := range []string{"pve1", "pve2", "pve3"} {
			if c.NodeUp(n) {
				h.Errorf("%s is up", n)
			}
		}
		h.mustTell("the plan is through")
		v := h.view()
		if len(v.Incidents) != 1 || v.Incidents[0].Answered != "Alex" || !strings.HasPrefix(v.Verdict, "On battery at home for ") {
			h.Errorf("verdict %q, %+v", v.Verdict, v.Incidents)
		}
		h.ups.set(false)
		rest(5 * time.Second)
		h.mustTell("is over, because the power is back after ")
	})
}

// TestS7_NotArmed: everything but the commands, and the call says so.
func TestS7_NotArmed(t *testing.T) {
	var c *cluster
	in(t, func(h *home) { c = h.withPlan() }, func(h *home) {
		h.ups.set(true)
		rest(30 * time.Second)
		if told := c.told(); len(told) > 0 {
			h.Errorf("told %v", told)
		}
		if call := h.calls(1)[0]; !strings.Contains(call.Text, "The plan is not armed, so nothing is shut down.") {
			h.Errorf("said %q", call.Text)
		}
		h.mustTell("it is not armed")
		if p := h.pi.answer().Mandate; p == nil || p.Run != shutdown.Disarmed {
			h.Errorf("the Pi was told %+v", p)
		}
	})
}

// TestU4_PowerBackEarly: nothing is shut down, nobody is called.
func TestU4_PowerBackEarly(t *testing.T) {
	var c *cluster
	in(t, func(h *home) { c = h.withPlan() }, func(h *home) {
		h.press("/api/v1/plan/arm")
		h.ups.set(true)
		rest(8200 * time.Millisecond)
		h.ups.set(false)
		rest(time.Minute)
		h.calls(0)
		if told := c.told(); len(told) > 0 {
			h.Errorf("told %v", told)
		}
		h.mustTell("is over, because the power is back after 8 s")
		if v := h.view(); v.Verdict != "All well." {
			h.Errorf("verdict %q", v.Verdict)
		}
	})
}

// TestS5_PowerBackMidway: no further command, and what has stopped is started again.
func TestS5_PowerBackMidway(t *testing.T) {
	var c *cluster
	in(t, func(h *home) { c = h.withPlan() }, func(h *home) {
		h.press("/api/v1/plan/arm")
		h.ups.set(true)
		rest(12200 * time.Millisecond)
		h.ups.set(false)
		rest(2 * time.Minute)
		if n := c.count("pve"); n != 18 || c.count("/status/shutdown") != 9 || c.count("/status/start") != 9 {
			h.Errorf("told %v", c.told())
		}
		for _, id := range []int{100, 101, 102, 200, 201, 202, 300, 301, 302} {
			if g, _ := c.Guest(id); !g.Running {
				h.Errorf("%s does not run", g.Name)
			}
		}
		h.mustTell("the plan stops here, because the power is back")
		h.mustTell("started vm100 again, because the power is back")
		h.mustTell("the power is back at home: ")
	})
}

// TestN8_InternetOutage: one call for everything, a minute after the incident.
func TestN8_InternetOutage(t *testing.T) {
	in(t, nil, func(h *home) {
		h.offline()
		last := h.pi.lastWord()
		rest(25 * time.Second)
		opened := h.mustTell("internet outage at home")
		if late := opened.Sub(last); late < 20*time.Second-time.Millisecond || late > 23*time.Second {
			h.Errorf("declared %s after the last word", late)
		}
		h.calls(0)
		rest(2 * time.Minute)
		call := h.calls(1)[0]
		h.onTime("the call", call.Created, opened.Add(time.Minute))
		said := "Hello Alex. This is your home sentinel. I have not been able to reach anything at home since 00 00. The internet there is probably out. The last I heard, the power was fine."
		if call.Text != said+"\n"+said {
			h.Errorf("said %q", call.Text)
		}
		if v := h.view(); len(v.Incidents) != 1 || !strings.HasPrefix(v.Verdict, "home has been out of reach for ") {
			h.Errorf("verdict %q, %+v", v.Verdict, v.Incidents)
		}
		h.online()
		rest(2 * time.Second)
		h.record(0)
		rest(73 * time.Second)
		h.calls(1)
		if v := h.view(); v.Verdict != "All well." || v.Incidents[0].Open {
			h.Errorf("verdict %q, %+v", v.Verdict, v.Incidents)
		}
	})
}

// TestN8_RouterReconnects within the minute: no call.
func TestN8_RouterReconnects(t *testing.T) {
	in(t, nil, func(h *home) {
		h.offline()
		rest(70 * time.Second)
		h.mustTell("internet outage at home")
		h.online()
		rest(3 * time.Minute)
		h.calls(0)
	})
}

// TestN9_HeardAgain: until it is over for good, the page says that the site is heard again.
func TestN9_HeardAgain(t *testing.T) {
	in(t, nil, func(h *home) {
		h.offline()
		rest(50 * time.Second)
		if v := h.verdict(); !strings.HasPrefix(v, "home has been out of reach for ") {
			h.Errorf("verdict %q", v)
		}
		h.online()
		rest(30 * time.Second)
		if v := h.verdict(); !strings.HasPrefix(v, "home has been heard again for ") || !strings.Contains(v, "; its outage began ") {
			h.Errorf("verdict %q", v)
		}
	})
}

// TestN2_DarkOnBattery: the power outage goes dark, and the call does not wait.
func TestN2_DarkOnBattery(t *testing.T) {
	in(t, nil, func(h *home) {
		h.ups.set(true)
		rest(4 * time.Second)
		h.offline()
		rest(30 * time.Second)
		call := h.calls(1)[0]
		if !strings.Contains(call.Text, "The power at home has been out since 00 00. The battery is at 96 percent") {
			h.Errorf("said %q", call.Text)
		}
		rest(time.Minute)
		h.calls(1)
	})
}

// TestN3_TheBrainIsOffline: it blames nobody, calls nobody, says so afterwards, and still
// misses a node that went away meanwhile.
func TestN3_TheBrainIsOffline(t *testing.T) {
	in(t, nil, func(h *home) {
		h.offline()
		h.net.cut(anchors...)
		rest(40 * time.Second)
		if v := h.verdict(); v != "The sentinel itself is offline; nothing is known." {
			h.Errorf("verdict %q", v)
		}
		rest(5 * time.Minute)
		h.calls(0)
		h.nodes["pve3"].kill()
		h.online()
		h.net.mend(anchors...)
		back := time.Now()
		rest(15 * time.Second)
		h.mustTell("the brain is online again; it was blind for 5 min")
		h.calls(0)
		rest(20 * time.Second)
		call := h.calls(1)[0]
		if late := call.Created.Sub(back); late < 20*time.Second-time.Millisecond || late > 25*time.Second || !strings.Contains(call.Text, "P V E 3 at home") {
			h.Errorf("%s after it was online it said %q", late, call.Text)
		}
	})
}

// TestN3_BlindOverAStop: a brain that is offline sees again with the first heartbeat, also if it
// was restarted or stood still meanwhile, and whatever becomes of its anchors.
func TestN3_BlindOverAStop(t *testing.T) {
	for name, stop := range map[string]func(h *home){
		"restart": func(h *home) { h.crash(3 * time.Second) },
		"pause":   func(h *home) { h.pause(4 * time.Second) },
	} {
		t.Run(name, func(t *testing.T) {
			in(t, nil, func(h *home) {
				h.offline()
				h.net.cut(anchors...)
				rest(40 * time.Second)
				stop(h)
				rest(3 * time.Second)
				h.online()
				rest(time.Minute)
				h.mustTell("the brain is online again")
				h.calls(0)
				h.nodes["pve3"].kill()
				rest(30 * time.Second)
				h.calls(1)
			})
		})
	}
}

// TestN4_AllNodes are silent while the Pi lives: that is no internet outage.
func TestN4_AllNodes(t *testing.T) {
	in(t, nil, func(h *home) {
		for _, n := range h.nodes {
			n.kill()
		}
		rest(3 * time.Minute)
		call := h.calls(1)[0]
		if !strings.Contains(call.Text, "P V E 1, P V E 2 and P V E 3 at home have not answered since 00 00. The internet there is up.") {
			h.Errorf("said %q", call.Text)
		}
	})
}

// TestA5_Cancelled: a node that stays up after all is missed as any other.
func TestA5_Cancelled(t *testing.T) {
	in(t, nil, func(h *home) {
		n := h.nodes["pve2"]
		n.announce(wire.Poweroff)
		rest(5 * time.Second)
		n.announce(wire.Cancelled)
		rest(5 * time.Second)
		n.kill()
		last := n.lastWord()
		rest(30 * time.Second)
		h.onTime("the call", h.calls(1)[0].Created, last.Add(20*time.Second))
	})
}

// TestA2_ThroughThePi: an announcement that came only through the Pi counts as much.
func TestA2_ThroughThePi(t *testing.T) {
	in(t, nil, func(h *home) {
		n := h.nodes["pve2"]
		said := wire.Announcement{Header: n.header(), ID: "id", Kind: wire.Poweroff}
		data, err := wire.Seal(wire.KindAnnouncement, said, n.key)
		if err != nil {
			h.Fatal(err)
		}
		n.kill()
		rest(10 * time.Second)
		m := wire.Relay{Header: h.pi.header(), Messages: []wire.Relayed{{AgeMS: 10_000, Envelope: data}}}
		a, err := h.pi.post(courier.PathRelay, wire.KindRelay, m.Header, m)
		if err != nil || len(a.Taken) != 1 {
			h.Fatalf("the brain took %+v: %v", a, err)
		}
		rest(time.Minute)
		h.calls(0)
		if s := h.shows("pve2"); s.Condition != "off" || s.Note != "planned" {
			h.Errorf("the page shows %+v", s)
		}
	})
}

// TestA6_LateAnnouncement: one that arrives after the failure withdraws it.
func TestA6_LateAnnouncement(t *testing.T) {
	in(t, nil, func(h *home) {
		h.x.Behave(alex, twiliosim.NoAnswer{})
		n := h.nodes["pve2"]
		m := wire.Announcement{Header: n.header(), ID: "id", Kind: wire.Poweroff}
		data, err := wire.Seal(wire.KindAnnouncement, m, n.key)
		if err != nil {
			h.Fatal(err)
		}
		n.kill()
		rest(30 * time.Second)
		h.calls(1)
		r := wire.Relay{Header: h.pi.header(), Messages: []wire.Relayed{{AgeMS: 30_000, Envelope: data}}}
		if _, err := h.pi.post(courier.PathRelay, wire.KindRelay, r.Header, r); err != nil {
			h.Fatal(err)
		}
		rest(3 * time.Minute)
		if c := h.calls(1)[0]; c.Status != "canceled" {
			h.Errorf("it rang on and is %s", c.Status)
		}
		h.mustTell("withdrawn: pve2 had announced its poweroff")
	})
}

// TestH8_StaleReport: what lay in a buffer while the brain stood still begins no plan.
func TestH8_StaleReport(t *testing.T) {
	var c *cluster
	in(t, func(h *home) { c = h.withPlan() }, func(h *home) {
		h.press("/api/v1/plan/arm")
		m := wire.UPSReport{Header: h.pi.header(), UPS: "ups", Reading: power.Reading{Supply: power.Battery, For: 60}}
		h.pause(time.Minute)
		if _, err := h.pi.post(courier.PathUPS, wire.KindUPS, m.Header, m); err != nil {
			h.Fatal(err)
		}
		rest(time.Minute)
		h.calls(0)
		if told := c.told(); len(told) > 0 {
			h.Errorf("told %v", told)
		}
	})
}
