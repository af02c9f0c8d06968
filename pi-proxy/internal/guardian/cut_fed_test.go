package guardian_test

import (
	"testing"

	"sentinel.home.arpa/pi-proxy/internal/guardian"
	"sentinel.home.arpa/shared/power"
	"sentinel.home.arpa/shared/shutdown"
)

// TestG4_WhatHangsOnOtherUPSesHoldsNothingUp: the output that is cut is not theirs. A machine that
// hangs on this one too, or of which nobody says on which, must be down.
func TestG4_WhatHangsOnOtherUPSesHoldsNothingUp(t *testing.T) {
	for name, tt := range map[string]struct {
		feeds map[string][]string
		pve2  shutdown.Sight
		want  []shutdown.EventType
	}{
		"on another one alone":     {map[string][]string{"ups": {"pve1"}, "ups2": {"pve2"}}, shutdown.Sight{}, []shutdown.EventType{guardian.Cutting}},
		"on both":                  {map[string][]string{"ups": {"pve1", "pve2"}, "ups2": {"pve2"}}, shutdown.Sight{}, nil},
		"on both, and down":        {map[string][]string{"ups": {"pve1", "pve2"}, "ups2": {"pve2"}}, left(), []shutdown.EventType{guardian.Cutting}},
		"nobody says":              {map[string][]string{"ups": {"pve1"}, "ups2": {"nas"}}, left(), []shutdown.EventType{guardian.Cutting}},
		"nobody says, and it runs": {map[string][]string{"ups": {"pve1"}, "ups2": {"nas"}}, shutdown.Sight{}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			o := orders()
			o.Plan.Wiring = power.Wire(tt.feeds, nil)
			l := newLastHours(t, hangs, o)
			l.supply(battery(0))
			for i := 0; len(l.all(shutdown.Ended)) == 0; i++ {
				for _, e := range l.all(shutdown.Sent) {
					l.note(l.g.Answered(l.now, e.Event.Target, nil, nil))
					l.note(l.g.Seen(l.now, e.Event.Target, off()))
				}
				if l.pass(1); i > 120 {
					t.Fatalf("the run is not through: %v", l.did())
				}
			}
			l.sees["node/pve1"], l.sees["node/pve2"] = off(), tt.pve2
			l.pass(64)
			l.wants(tt.want...)
		})
	}
}
