package brain

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"sentinel.home.arpa/cloud/internal/sentinel"
	"sentinel.home.arpa/cloud/internal/web"
	"sentinel.home.arpa/shared/power"
	"sentinel.home.arpa/shared/proxmox"
	"sentinel.home.arpa/shared/shutdown"
	"sentinel.home.arpa/shared/sim/pvesim"
)

// asks is an answer of the plan's routes; a field that is missing is an error.
func asks[T any](h *home, path string) (answer T) {
	h.Helper()
	code, text := h.request(http.MethodGet, path, nil, nil)
	if err := json.Unmarshal([]byte(text), &answer); err != nil || code != http.StatusOK {
		h.Fatalf("%s answered %d %s: %v", path, code, text, err)
	}
	return answer
}

// refuses presses arm, which must say no with all of these words.
func (h *home) refuses(path string, words ...string) {
	h.Helper()
	code, text := h.request(http.MethodPost, path, nil, nil)
	for _, w := range words {
		if code != http.StatusConflict || !strings.Contains(text, w) {
			h.Errorf("%s answered %d %s, without %q", path, code, text, w)
		}
	}
	if h.view().Sites[0].Armed {
		h.Errorf("%s armed the plan", path)
	}
}

// TestPlan_Show: the plan's stages with the guests that run now, also where a node is silent.
func TestPlan_Show(t *testing.T) {
	var c *cluster
	in(t, func(h *home) { c = h.withPlan() }, func(h *home) {
		c.PowerCut("pve3")
		rest(time.Second)
		p := asks[shownPlan](h, "/api/v1/plan")
		said := func(s shownStage) (names string) {
			for _, t := range s.Targets {
				names += t.Name + " "
			}
			return names
		}
		if len(p.Stages) != 3 || len(p.Stages[0].Targets) != 6 || said(p.Stages[1]) != "pve2 pve3 " || said(p.Stages[2]) != "pve1 " {
			t.Errorf("stages %+v", p.Stages)
		}
		if s := p.Stages[1]; s.Begins != 3*time.Minute+10*time.Second || s.Ends != 5*time.Minute+10*time.Second || p.Need != 7*time.Minute {
			t.Errorf("stage 2 %+v, need %s", s, p.Need)
		}
		if len(p.Silent) != 1 || p.Silent[0].Node != "pve3" || p.Silent[0].Why == "" {
			t.Errorf("silent are %+v", p.Silent)
		}
		if want := "ups reports 31 min; the plan needs up to 7 min, and 2 min to spare: it lasts"; len(p.UPSes) != 1 || p.UPSes[0].Text != want {
			t.Errorf("UPSes %+v", p.UPSes)
		}
		if p.Armed || len(c.told()) > 0 {
			t.Errorf("armed %t, told %v", p.Armed, c.told())
		}
		s := asks[simulatedPlan](h, "/api/v1/plan/simulate?runtime=8m&charge=40%25")
		if s.Begins != 0 || s.Because != "the battery lasts for 8 min and the shutdown needs 9 min" || s.Lasts != tooShort || !strings.HasSuffix(s.Text, "1 min would be left, less than the 2 min to spare") {
			t.Errorf("simulated %+v", s)
		}
		checked := asks[checkedPlan](h, "/api/v1/plan/check")
		if f := checked.Findings[0]; checked.Fit || f.Target != "pve3" || !strings.Contains(f.Text, "is not reached") {
			t.Errorf("checked %+v", checked)
		}
	})
}

// TestS3_ArmRefuses what would do harm, or what could not be carried out unless somebody insists.
func TestS3_ArmRefuses(t *testing.T) {
	t.Run("high availability", func(t *testing.T) {
		in(t, func(h *home) { h.withPlan(func(cfg *pvesim.Config) { cfg.Nodes[1].Guests[0].HA = true }) }, func(h *home) {
			h.refuses("/api/v1/plan/arm", "high availability is at work (vm:200, watchdog of pve2)")
			h.refuses("/api/v1/plan/arm?force=yes", "high availability is at work")
		})
	})
	t.Run("a Pi without the secret", func(t *testing.T) {
		in(t, func(h *home) { h.withPlan() }, func(h *home) {
			h.lacks.Store(true)
			rest(2 * time.Second)
			h.refuses("/api/v1/plan/arm", "pi does not have proxmox-secret", "--force")
			if code, text := h.request(http.MethodPost, "/api/v1/plan/arm?force=yes", nil, nil); code != http.StatusOK || !strings.Contains(text, `{"warnings":["pi does not have proxmox-secret`) {
				t.Errorf("with force it answered %d %s", code, text)
			}
			if !h.view().Sites[0].Armed {
				t.Error("the plan is not armed")
			}
		})
	})
	t.Run("nodes that do not answer", func(t *testing.T) {
		var c *cluster
		in(t, func(h *home) { c = h.withPlan() }, func(h *home) {
			for _, n := range []string{"pve1", "pve2", "pve3"} {
				c.PowerCut(n)
			}
			rest(time.Second)
			h.refuses("/api/v1/plan/arm", "no node of the plan answers", "pve1 at")
			h.must(c.Start("pve1"))
			rest(time.Minute)
			if code, text := h.request(http.MethodPost, "/api/v1/plan/arm", nil, nil); code != http.StatusOK || !strings.Contains(text, "pve2 at") || strings.Contains(text, "pve1 at") {
				t.Errorf("with one of them it answered %d %s", code, text)
			}
		})
	})
	t.Run("a network without power", func(t *testing.T) {
		in(t, func(h *home) { h.withPlan() }, func(h *home) {
			h.press("/api/v1/plan/network?on-ups=no")
			if code, text := h.request(http.MethodPost, "/api/v1/plan/arm", nil, nil); code != http.StatusOK || !strings.Contains(text, "is not on the UPS, as was said") {
				t.Errorf("it answered %d %s", code, text)
			}
			h.crash(time.Second)
			rest(2 * time.Second)
			if got := h.view().Sites[0].NetworkOnUPS; got != "no" {
				t.Errorf("after a crash it is %q", got)
			}
			h.press("/api/v1/plan/network?on-ups=yes")
			h.press("/api/v1/plan/arm")
		})
	})
}

// TestS3_SlowNodesHideNoHA: high availability is asked about first, so that it keeps the plan from
// being armed though there is no time for the rest. That much is told where nothing forbids it.
func TestS3_SlowNodesHideNoHA(t *testing.T) {
	for _, ha := range []bool{true, false} {
		var c *cluster
		in(t, func(h *home) { c = h.withPlan(func(cfg *pvesim.Config) { cfg.Nodes[1].Guests[0].HA = ha }) }, func(h *home) {
			for _, n := range []string{"pve1", "pve2", "pve3"} {
				h.must(c.Fault(n, pvesim.Fault{Kind: pvesim.Slow, On: pvesim.Reads, Delay: 3 * time.Second}))
			}
			if ha {
				h.refuses("/api/v1/plan/arm", "high availability is at work (vm:200, watchdog of pve2)")
				h.refuses("/api/v1/plan/arm?force=yes", "high availability is at work")
				return
			}
			if code, text := h.request(http.MethodPost, "/api/v1/plan/arm", nil, nil); code != http.StatusOK || !strings.Contains(text, "the guests could not be seen on pve3") {
				t.Errorf("without it it answered %d %s", code, text)
			}
		})
	}
}

// TestS3_HAThatIsNotSeen may be at work: only who insists arms the plan.
func TestS3_HAThatIsNotSeen(t *testing.T) {
	var c *cluster
	in(t, func(h *home) { c = h.withPlan() }, func(h *home) {
		h.must(c.Fault("pve2", pvesim.Fault{Kind: pvesim.Lacks, Privileges: []string{"Sys.Audit"}}))
		if code, text := h.request(http.MethodPost, "/api/v1/plan/arm", nil, nil); code != http.StatusOK || !strings.Contains(text, "a watchdog of a node is not seen") {
			t.Errorf("where the guests tell it answered %d %s", code, text)
		}
		h.press("/api/v1/plan/disarm")
		rest(2 * time.Second)
		h.must(c.Fault("pve2", pvesim.Fault{Kind: pvesim.Lacks, Privileges: []string{"Sys.Audit", "VM.Audit"}}))
		h.refuses("/api/v1/plan/arm", "whether high availability is at work could not be seen on pve2: the token also lacks VM.Audit on /vms", "--force")
		if code, text := h.request(http.MethodPost, "/api/v1/plan/arm?force=yes", nil, nil); code != http.StatusOK || !strings.Contains(text, "whether high availability is at work could not be seen on pve2") {
			t.Errorf("with force it answered %d %s", code, text)
		}
	})
}

// TestS10_ADisarmingEndsAnArming that still looks at the machines, at once.
func TestS10_ADisarmingEndsAnArming(t *testing.T) {
	var c *cluster
	in(t, func(h *home) { c = h.withPlan() }, func(h *home) {
		h.must(c.Fault("pve1", pvesim.Fault{Kind: pvesim.Slow, On: pvesim.Reads, Delay: 2 * time.Second}))
		begun, done := time.Now(), make(chan struct{})
		go func() {
			defer close(done)
			h.refuses("/api/v1/plan/arm", "was disarmed while its machines were looked at")
		}()
		rest(500 * time.Millisecond)
		h.press("/api/v1/plan/disarm")
		<-done
		if took := time.Since(begun); took > time.Second {
			t.Errorf("the arming went on for %s", took)
		}
		rest(15 * time.Second)
		if h.view().Sites[0].Armed {
			t.Error("the plan is armed, though the last word was to disarm it")
		}
		h.press("/api/v1/plan/disarm")
		if code, text := h.request(http.MethodPost, "/api/v1/plan/arm", nil, nil); code != http.StatusOK {
			t.Errorf("the next arming answered %d %s", code, text)
		}
	})
}

// TestR2_OneArmingAtATime looks at the machines: whoever asks again meanwhile is told so at once.
func TestR2_OneArmingAtATime(t *testing.T) {
	var c *cluster
	in(t, func(h *home) { c = h.withPlan() }, func(h *home) {
		h.must(c.Fault("pve1", pvesim.Fault{Kind: pvesim.Slow, On: pvesim.Reads, Delay: 2 * time.Second}))
		done := make(chan int)
		go func() {
			code, _ := h.request(http.MethodPost, "/api/v1/plan/arm", nil, nil)
			done <- code
		}()
		rest(500 * time.Millisecond)
		begun := time.Now()
		for range 3 {
			if code, text := h.request(http.MethodPost, "/api/v1/plan/arm", nil, nil); code != http.StatusServiceUnavailable || !strings.Contains(text, "already") {
				t.Errorf("meanwhile it answered %d %s", code, text)
			}
		}
		if took := time.Since(begun); took > 100*time.Millisecond {
			t.Errorf("that took %s", took)
		}
		if code := <-done; code != http.StatusOK || !h.view().Sites[0].Armed {
			t.Errorf("the first was answered %d", code)
		}
		if code, text := h.request(http.MethodPost, "/api/v1/plan/arm", nil, nil); code != http.StatusOK {
			t.Errorf("the next was answered %d %s", code, text)
		}
	})
}

// TestS10_TheLastWordHolds also where it comes between an arming's look and its word.
func TestS10_TheLastWordHolds(t *testing.T) {
	in(t, func(h *home) { h.withPlan() }, func(h *home) {
		undone := h.brain.arming.undone()
		h.press("/api/v1/plan/disarm")
		err := h.brain.decideArming(h.Context(), undone, func(site string) sentinel.Input { return sentinel.Arm{Site: site, By: operator} })
		rest(2 * time.Second)
		if !errors.Is(err, errDisarmedSince) || h.view().Sites[0].Armed {
			t.Errorf("armed %t, %v", h.view().Sites[0].Armed, err)
		}
	})
}

// TestS10_Stop midway: nothing more leaves, the Pi is told, and the page says who has not
// confirmed, and what is left.
func TestS10_Stop(t *testing.T) {
	var c *cluster
	in(t, func(h *home) { c = h.withPlan() }, func(h *home) {
		h.press("/api/v1/plan/arm")
		h.refusesStop()
		h.ups.set(true)
		rest(17200 * time.Millisecond) // the guests are down, and pve2 and pve3 are told
		at := h.view().Sites[0]
		if now := at.Runs[0].Now; !at.Stoppable || !strings.HasPrefix(now, "stage 2 of 3: pve2, pve3; waits for ") || !strings.Contains(now, " at most 1 min 5") {
			t.Errorf("stoppable %t, and the run is at %q", at.Stoppable, now)
		}
		before := len(c.told())
		if code, _ := h.request(http.MethodPost, "/plan/stop", nil, nil); code != http.StatusSeeOther {
			t.Errorf("the page's button answered %d", code)
		}
		h.mustTell("the operator stopped the plan")
		rest(2 * time.Second)
		if a := h.pi.answer(); a.Mandate.Run != shutdown.Stopped || a.Mandate.Epoch.Counter != 2 {
			t.Errorf("the Pi is told %+v", a.Mandate)
		}
		s := h.view().Sites[0]
		if s.StoppedBy != "the operator" || len(s.StopUnconfirmed) != 1 || s.Stoppable || !strings.HasSuffix(s.StopSays, "pve2, pve3 were told before and may still go down") {
			t.Errorf("stopped by %q, not confirmed by %v: %s", s.StoppedBy, s.StopUnconfirmed, s.StopSays)
		}
		h.heeds.Store(true)
		rest(3 * time.Second)
		if s := h.view().Sites[0]; len(s.StopUnconfirmed) != 0 || !strings.HasSuffix(s.StopSays, "pve2, pve3 were told before and may still go down; pve1 stays up") {
			t.Errorf("%v has confirmed: %s", s.StopUnconfirmed, s.StopSays)
		}
		h.press("/api/v1/plan/stop") // again, which changes nothing
		h.crash(time.Second)
		rest(5 * time.Minute)
		if told := c.told(); len(told) != before {
			t.Errorf("told after the stop: %v", told[before:])
		}
		h.ups.set(false)
		rest(5 * time.Second)
		if s := h.view().Sites[0]; s.StoppedBy != "" {
			t.Errorf("with the power back it is stopped by %s", s.StoppedBy)
		}
	})
}

// TestS10_StopOfARehearsal waits for no Pi, since none does anything.
func TestS10_StopOfARehearsal(t *testing.T) {
	in(t, func(h *home) { h.withPlan() }, func(h *home) {
		rest(3 * time.Second)
		h.ups.set(true)
		rest(12 * time.Second)
		h.press("/api/v1/plan/stop")
		rest(3 * time.Second)
		if s := h.view().Sites[0]; s.StoppedBy != "the operator" || len(s.StopUnconfirmed) > 0 {
			t.Errorf("stopped by %q, not confirmed by %v, the plan not by %v", s.StoppedBy, s.StopUnconfirmed, s.Unconfirmed)
		}
	})
}

func (h *home) refusesStop() {
	h.Helper()
	if code, text := h.request(http.MethodPost, "/api/v1/plan/stop", nil, nil); code != http.StatusConflict || !strings.Contains(text, "nothing to stop") {
		h.Errorf("stop answered %d %s", code, text)
	}
}

// TestS2_Simulated is when the policy begins the plan with a battery, and why.
func TestS2_Simulated(t *testing.T) {
	of := func(runtime time.Duration, charge float64) (*time.Duration, *float64) { return &runtime, &charge }
	for _, tt := range []struct {
		name    string
		runtime time.Duration
		charge  float64 // negative: neither is known
		begins  time.Duration
		because string
	}{
		{"it lasts", 30 * time.Minute, 1, 10 * time.Second, "the power has been out for 10 s"},
		{"nothing is known", 0, -1, 10 * time.Second, "the power has been out for 10 s"},
		{"too short", 5 * time.Minute, 0.4, 0, "the battery lasts for 5 min and the shutdown needs 9 min"},
		{"too short, and it says so for the first time", 5 * time.Minute, 1, 2 * time.Second, "the battery lasts for 5 min and the shutdown needs 9 min"},
		{"almost empty", 20 * time.Minute, 0.1, 2 * time.Second, "the battery is down to 10 percent"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			runtime, charge := of(tt.runtime, tt.charge)
			if tt.charge < 0 {
				runtime, charge = nil, nil
			}
			if begins, v := outageOf(runtime, charge, power.DefaultPolicy(), 7*time.Minute); !v.Start || begins != tt.begins || v.Reason != tt.because {
				t.Errorf("it begins %s after, because %s", begins, v.Reason)
			}
		})
	}
	slow := power.DefaultPolicy()
	slow.RideThrough = 2500 * time.Millisecond
	if begins, v := outageOf(nil, nil, slow, time.Minute); begins != slow.RideThrough || !v.Start {
		t.Errorf("with a ride-through between two polls it begins after %s", begins)
	}
	slow.RideThrough = 48 * time.Hour
	if _, v := outageOf(nil, nil, slow, time.Minute); v.Start {
		t.Error("it begins before its time")
	}
}

// TestPlan_WhichUPS is simulated: the only one, or the one that is named.
func TestPlan_WhichUPS(t *testing.T) {
	left := 9 * time.Minute
	two := web.Site{UPSes: []web.UPS{{Name: "rack", Runtime: &left}, {Name: "desk"}}}
	for _, tt := range []struct {
		site      web.Site
		query     map[string][]string
		ups, says string
	}{
		{web.Site{UPSes: two.UPSes[:1]}, nil, "rack", ""},
		{two, map[string][]string{"ups": {"desk"}}, "desk", ""},
		{two, nil, "", "there are several UPSes"},
		{two, map[string][]string{"ups": {"desc"}}, "", `there is no UPS "desc"`},
		{web.Site{}, nil, "", "no UPS is known"},
		{web.Site{}, map[string][]string{"runtime": {"9m"}}, "", ""},
		{web.Site{}, map[string][]string{"runtime": {"25h"}}, "", `runtime must be a time up to 24 hours, not "25h"`},
		{web.Site{}, map[string][]string{"charge": {"140%"}}, "", `charge must be a percentage from 0% to 100%, not "140%"`},
	} {
		p, err := supposed(tt.site, tt.query)
		if tt.says == "" != (err == nil) || err != nil && err.Error() != tt.says || p.UPS != tt.ups {
			t.Errorf("%v: %q, %v", tt.query, p.UPS, err)
		}
	}
}

// TestPlan_CheckOfAMuteUPS names the command by which apcupsd shows what a UPS tells of its battery.
func TestPlan_CheckOfAMuteUPS(t *testing.T) {
	found := checkUPSes(web.Site{UPSes: []web.UPS{{Name: "rack"}}}, sentinel.SiteConfig{Plan: &shutdown.Plan{}})
	if len(found) != 1 || found[0].Severity != proxmox.Warning || !strings.HasSuffix(found[0].Text, "; look at `apcaccess` on its Pi") {
		t.Errorf("%+v", found)
	}
}

// TestS4_ASwitchThatIsAwayEndsNoPlan: the network between Pi and nodes is away for 40 s from the cut on. The plan
// waits for it and goes on.
func TestS4_ASwitchThatIsAwayEndsNoPlan(t *testing.T) {
	var c *cluster
	in(t, func(h *home) { c = h.withPlan() }, func(h *home) {
		h.press("/api/v1/plan/arm")
		h.ups.set(true)
		nodes := map[string]string{"pve1": "192.168.77.11:8006", "pve2": "192.168.77.12:8006", "pve3": "192.168.77.13:8006"}
		for name, addr := range nodes {
			h.net.cut(addr)
			h.nodes[name].kill()
		}
		rest(40 * time.Second)
		if told := c.told(); len(told) > 0 {
			h.Fatalf("%v were told", told)
		}
		for name, addr := range nodes {
			h.net.mend(addr)
			h.nodes[name].wake()
		}
		rest(10 * time.Second)
		if told := c.told(); len(told) == 0 {
			h.Errorf("nobody was told once the network was back:\n%s", h.timeline())
		}
	})
}
