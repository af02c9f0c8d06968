package brainwatch

import (
	"time"

	"sentinel.home.arpa/shared/power"
)

const saidBlocked = "no anchor has answered for 5 min though a brain has, so while no brain answers nobody knows whether the internet is out: " +
	"nobody is called about a sentinel that is down, and no plan begins for the internet; look at the Pi's anchors and its firewall"

// saidGone says what is wrong, as the timeline would.
func saidGone(c Cause, silent time.Duration) string {
	if c == Tailnet {
		return "Tailscale is out of reach, because nothing of it answers and no brain was heard for " + power.Spell(silent) + "; the internet is up"
	}
	return "the sentinel is down, because no brain has answered for " + power.Spell(silent) + "; the internet is up"
}

func saidBack(c Cause, gone time.Duration) string {
	if c == Tailnet {
		return "the sentinel answers again through Tailscale; nothing was heard of it for " + power.Spell(gone)
	}
	return "the sentinel answers again; it was gone for " + power.Spell(gone)
}
