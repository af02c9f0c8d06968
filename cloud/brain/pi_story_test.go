package brain

import (
	"strings"
	"testing"
	"time"

	"sentinel.home.arpa/cloud/internal/notify"
	"sentinel.home.arpa/cloud/internal/sentinel"
	"sentinel.home.arpa/shared/shutdown"
	"sentinel.home.arpa/shared/speech"
)

// TestC1_WhatThePiDidIsTold also once it is through, as after an internet outage (N11).
func TestC1_WhatThePiDidIsTold(t *testing.T) {
	in(t, func(h *home) { h.withPlan() }, func(h *home) {
		b, now := set(&Brain{}, h.cfg), time.Now()
		through := []shutdown.Outcome{{Kind: shutdown.ProxmoxNode, Name: "pve1", State: "down"}}
		own := &shutdown.Run{Begun: now}
		for name, c := range map[string]struct {
			run  *shutdown.Status
			own  *shutdown.Run
			when time.Duration // after the incident's begin
			says string
		}{
			"none":                     {nil, nil, 0, "Nothing has been shut down yet."},
			"under way":                {&shutdown.Status{State: shutdown.Advancing}, nil, time.Second, "The Pi is shutting the machines down by itself."},
			"through":                  {&shutdown.Status{State: shutdown.HasEnded, Targets: through}, nil, time.Second, "The shutdown is through."},
			"through, one late":        {&shutdown.Status{State: shutdown.HasEnded, Targets: append(through, shutdown.Outcome{State: "late"})}, nil, time.Second, "The shutdown is through, but one machine did not go down in time."},
			"stopped":                  {&shutdown.Status{State: shutdown.Stopped}, nil, time.Second, "The shutdown was stopped before its end."},
			"through in place of mine": {&shutdown.Status{State: shutdown.HasEnded, Targets: through}, own, time.Second, "The shutdown is through."},
			"stopped before mine":      {&shutdown.Status{State: shutdown.Stopped}, own, time.Second, "I am shutting down"},
			"a rehearsal":              {&shutdown.Status{State: shutdown.HasEnded, DryRun: true}, nil, time.Second, "Nothing has been shut down yet."},
			"of an earlier outage":     {&shutdown.Status{State: shutdown.HasEnded, Targets: through}, nil, -time.Second, "Nothing has been shut down yet."},
		} {
			i := &sentinel.Incident{ID: "i", Kind: sentinel.PowerOutage, Site: "home", Since: now}
			site := &sentinel.Site{Name: "home", Armed: true, PiRun: c.run, PiRunAt: now.Add(c.when), Run: c.own, RunIncident: "i"}
			text, err := notify.Shipped().Say(notify.Story{Kind: string(i.Kind), Contact: "Alex", Site: "home", Since: now, Plan: b.planStory(site, i)}, speech.English)
			if err != nil || !strings.Contains(text, c.says) {
				t.Errorf("%s: %q, %v", name, text, err)
			}
		}
	})
}
