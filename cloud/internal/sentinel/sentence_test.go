package sentinel_test

import (
	"testing"
	"time"

	"sentinel.home.arpa/cloud/internal/sentinel"
	"sentinel.home.arpa/shared/power"
	"sentinel.home.arpa/shared/shutdown"
)

// TestR6_SentencesByTheirFields: what a sentence leaves out, and what it says otherwise.
func TestR6_SentencesByTheirFields(t *testing.T) {
	lost := power.Seconds(3)
	charge, runtime := 0.496, power.Seconds(600)
	var reading power.Reading
	reading.Charge, reading.Runtime = &charge, &runtime
	for want, f := range map[string]sentinel.Fact{
		"pve1 is now known by its key":                         &sentinel.KeyBound{Name: "pve1", Key: "k"},
		"alice approved pve1, which is now known by the key k": &sentinel.KeyBound{Name: "pve1", Key: "k", By: "alice"},
		"pve1 announced its reboot":                            &sentinel.ShutdownAnnounced{Name: "pve1", Kind: "reboot", Age: 2*time.Second - 1},
		"pve1 announced its reboot (through pi1) 2 s ago":      &sentinel.ShutdownAnnounced{Name: "pve1", Kind: "reboot", Via: "pi1", Age: 2 * time.Second},
		"pve1 has booted":                                      &sentinel.SourceBack{Name: "pve1"},
		"pve1 is back after 3 s (through pi1)":                 &sentinel.SourceBack{Name: "pve1", Away: 3 * time.Second, Via: "pi1"},
		"pve1 failed":                                          &sentinel.SourceFailed{Name: "pve1"},
		"pve1 is out of reach, because of x":                   &sentinel.SourceFailed{Name: "pve1", Incident: "i", Why: "of x"},
		"apc1: on battery, 50 %, 10 min":                       &sentinel.SupplyChanged{UPS: "apc1", Supply: power.Battery, Reading: reading},
		"Tailscale out of reach, because of x":                 &sentinel.IncidentOpened{Kind: sentinel.TailnetDown, Why: "of x"},
		"power outage at home":                                 &sentinel.IncidentOpened{Kind: sentinel.PowerOutage, Site: "home"},
		"nobody watches":                                       &sentinel.IncidentOpened{Kind: sentinel.Unwatched, Site: "home", Why: "nobody watches"},
		"the call was taken by a person":                       &sentinel.CallEnded{Delivered: true, Outcome: "x"},
		"the call to alice cannot be placed yet: x; y":         &sentinel.CallLate{Contact: "alice", Why: "x", Advice: "y"},
		"the call was not taken: busy":                         &sentinel.CallEnded{Outcome: "busy"},
		"no person took the call: completed, taken by unknown": &sentinel.CallEnded{Outcome: "completed, taken by unknown"},
		"ups1: on battery; the word of pi2 counts from now on, no longer that of pi1, because pi1 is off": &sentinel.SupplyChanged{UPS: "ups1",
			Supply: power.Battery, Pi: "pi2", From: "pi1", Why: "pi1 is off"},
		"pi1 runs the plan itself: advancing, stage 2, 0 down, 0 told, 0 to come":                         &sentinel.PiRunSeen{Pi: "pi1", Run: shutdown.Status{State: shutdown.Advancing, Stage: 1, Reason: "of x"}},
		"pi1 runs the plan itself: begun, stage 1, 0 down, 0 told, 0 to come":                             &sentinel.PiRunSeen{Pi: "pi1", New: true, Run: shutdown.Status{State: shutdown.Begun}},
		"pi1 runs the plan itself, because of x: begun, stage 1, 0 down, 0 told, 0 to come":               &sentinel.PiRunSeen{Pi: "pi1", New: true, Run: shutdown.Status{State: shutdown.Begun, Reason: "of x"}},
		"pi1 takes the plan over from the brain, because of x: begun, stage 1, 0 down, 0 told, 0 to come": &sentinel.PiRunSeen{Pi: "pi1", New: true, TakesUp: true, Run: shutdown.Status{State: shutdown.Begun, Reason: "of x"}},
		"pi1 started (as pi1 noted while the brain could not hear it)":                                    &sentinel.RecordTaken{Pi: "pi1", Node: "pi1", Heard: true},
		"pi1 called Alex: the sentinel is down (as pi1 noted while the brain could not hear it)":          &sentinel.RecordTaken{Pi: "pi1", Node: "pi1", Heard: true, Called: "Alex", Why: "the sentinel is down"},
		"pve1 was heard again (as pi1 noted while the brain could not hear it)":                           &sentinel.RecordTaken{Pi: "pi1", Node: "pve1", Heard: true},
		"pve1 fell silent (as pi1 noted while the brain could not hear it)":                               &sentinel.RecordTaken{Pi: "pi1", Node: "pve1"},
		"contact with u was lost (as pi1 noted while the brain could not hear it)":                        &sentinel.RecordTaken{Pi: "pi1", UPS: "u", Reading: power.Reading{Supply: power.Unknown}},
		"contact with u2 was lost (as pi1 noted while the brain could not hear it)":                       &sentinel.RecordTaken{Pi: "pi1", UPS: "u2", Reading: power.Reading{Supply: power.Mains, LostFor: &lost}},
		"u: on mains (as pi1 noted while the brain could not hear it)":                                    &sentinel.RecordTaken{Pi: "pi1", UPS: "u", Reading: power.Reading{Supply: power.Mains}},
	} {
		if got := sentinel.Sentence(f); got != want {
			t.Errorf("%s: %q, want %q", f.FactName(), got, want)
		}
	}
}
