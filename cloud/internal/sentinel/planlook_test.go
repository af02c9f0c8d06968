package sentinel_test

import (
	"strings"
	"testing"
	"time"

	"sentinel.home.arpa/cloud/internal/sentinel"
)

// TestS7_WhatKeepsAnArmedPlanFromItsWorkIsToldOnce, over a restart too, and once more when it is something else, or
// nothing any more. Of a plan that is not armed it is not told.
func TestS7_WhatKeepsAnArmedPlanFromItsWorkIsToldOnce(t *testing.T) {
	s, now := sentinel.New(home()), time.Date(2026, 11, 21, 19, 0, 0, 0, time.UTC)
	looked := func(why ...string) (told []string) {
		now = now.Add(time.Hour)
		for _, f := range s.Step(now, sentinel.PlanLooked{Site: "home", Refusals: why}) {
			if n, ok := f.(*sentinel.Noticed); ok {
				told = append(told, n.Severity.String()+": "+n.Text)
			}
		}
		return told
	}
	want := func(got []string, want string) {
		t.Helper()
		if g := strings.Join(got, "\n"); g != want {
			t.Errorf("told %q, want %q", g, want)
		}
	}
	want(looked("no"), "")
	s.Step(now, sentinel.Arm{Site: "home", By: "alice"})
	want(looked(), "")
	want(looked("pve1: another certificate", "no token"), "critical: the plan at home is armed, and would not do all its work: pve1: another certificate; no token")
	want(looked("pve1: another certificate", "no token"), "")
	if got := s.Unfit("home"); got != "the plan at home is armed, and would not do all its work: pve1: another certificate; no token" {
		t.Errorf("it is %q", got)
	}
	want(looked("no token"), "critical: the plan at home is armed, and would not do all its work: no token")
	want(looked(), "warning: the plan at home would do its work again")
	want(looked(), "")
	if got := s.Unfit("home"); got != "" {
		t.Errorf("it is %q", got)
	}
	want(looked(strings.Repeat("ä", 500)), "critical: the plan at home is armed, and would not do all its work: "+strings.Repeat("ä", 300)+"...")
	s.Step(now, sentinel.Disarm{Site: "home", By: "alice"})
	if got := s.Unfit("home"); got != "" {
		t.Errorf("disarmed it is %q", got)
	}
	want(looked("nowhere"), "")
}
