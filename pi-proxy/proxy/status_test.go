package proxy

import (
	"testing"

	"sentinel.home.arpa/shared/power"
	"sentinel.home.arpa/shared/shutdown"
)

// TestR6_ThePisStatusTellsOfThePower: in an outage without a brain nobody else can.
func TestR6_ThePisStatusTellsOfThePower(t *testing.T) {
	charge, left, lost := 0.87, power.Seconds(1380), power.Seconds(20)
	full := 1.0
	for want, r := range map[string]*power.Reading{
		"rack: not heard yet":                               nil,
		"rack: not heard for 20 s":                          {Supply: power.Unknown, LostFor: &lost},
		"rack: on mains, 100 %":                             {Supply: power.Mains, Status: power.Status{Charge: &full, Runtime: &left}},
		"rack: on battery for 12 s, 87 %, 23 min left":      {Supply: power.Battery, For: 12, Status: power.Status{Charge: &charge, Runtime: &left}},
		"rack: in a self-test for 5 s":                      {Supply: power.SelfTest, For: 5},
		"rack: on battery when it was last heard, 20 s ago": {Supply: power.Battery, For: 90, LostFor: &lost},
	} {
		if got := (UPSStatus{"rack", r}).String(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	run := &shutdown.Status{State: shutdown.Advancing, Stage: 1, Targets: []shutdown.Outcome{
		{Name: "mail", State: "down"}, {Name: "nas", State: "late"}, {Name: "pve1", State: "told"}, {Name: "pve2", State: "pending"}, {Name: "git", State: "down"}}}
	if got, want := runSaid(run), "is under way, stage 2; down: mail, git; told: pve1; not down in time: nas; to come: pve2"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	run = &shutdown.Status{State: shutdown.HasEnded, DryRun: true}
	if got, want := runSaid(run), "the last one is through (a rehearsal, nothing is told)"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
