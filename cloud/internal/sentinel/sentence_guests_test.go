package sentinel_test

import (
	"testing"
	"time"

	"sentinel.home.arpa/cloud/internal/sentinel"
	"sentinel.home.arpa/shared/shutdown"
)

// TestR6_SentencesOfChosenGuests: which guests a stage takes, and what becomes of one that moves.
func TestR6_SentencesOfChosenGuests(t *testing.T) {
	listings := []shutdown.Target{{Kind: shutdown.Listing, Node: "pve1"}, {Kind: shutdown.Listing, Node: "pve2"}}
	mail := []shutdown.Target{{Kind: shutdown.Guest, Node: "pve2", VMID: 101, Name: "mail"}}
	began := shutdown.Event{Type: shutdown.StageBegan, Stages: 3, Deadline: time.Minute, Targets: listings}
	chosen, withHost := began, began
	chosen.Name = "guests tagged web"
	withHost.Name, withHost.Targets = "all other guests", append(listings, shutdown.Target{Kind: shutdown.Host, Node: "desktop"})
	for want, e := range map[string]shutdown.Event{
		"stage 1 of 3: all guests, at most 60 s":                             began,
		"stage 1 of 3: guests tagged web, at most 60 s":                      chosen,
		"stage 1 of 3: all other guests and desktop, at most 60 s":           withHost,
		"mail is sought on the other nodes: pve1 has no such guest any more": {Type: shutdown.Moved, Name: "mail", Why: "pve1 has no such guest any more"},
		"on pve2 run no guests":                                              {Type: shutdown.Found, Target: "listing/pve2", Name: "pve2"},
		"on pve2 run no guests tagged web":                                   {Type: shutdown.Found, Target: "listing/pve2", Name: "pve2", Why: "guests tagged web"},
		"on pve2 run no other guests":                                        {Type: shutdown.Found, Target: "listing/pve2", Name: "pve2", Why: "all other guests"},
		"on pve2 run one guest: mail":                                        {Type: shutdown.Found, Target: "listing/pve2", Name: "pve2", Targets: mail},
		"on pve2 run now too one guest: mail":                                {Type: shutdown.Found, Target: "listing/pve2", Name: "pve2", Targets: mail, Again: true},
		"":                                                                   {Type: shutdown.Found, Target: "listing/pve2", Name: "pve2", Again: true},
	} {
		if got := sentinel.Sentence(&sentinel.RunStepped{Event: e}); got != want {
			t.Errorf("%s: %q, want %q", e.Type, got, want)
		}
	}
}
