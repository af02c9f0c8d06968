package guardian_test

import (
	"testing"
	"time"

	"sentinel.home.arpa/pi-proxy/internal/guardian"
	"sentinel.home.arpa/shared/power"
	"sentinel.home.arpa/shared/shutdown"
)

// TestS5_AReadingThatIsJustOfNow lets a guest be started, one that is older does not.
func TestS5_AReadingThatIsJustOfNow(t *testing.T) {
	for old, want := range map[time.Duration]string{
		power.Fresh:     "stop_seen guest/101, start_sent guest/101",
		power.Fresh + 1: "stop_seen guest/101",
	} {
		h := withGuests(t)
		h.report(mains())
		n := len(h.disk)
		h.note(h.g.Seen(h.now.Add(old), "guest/101", shutdown.Sight{}))
		h.wantReturns(n, want)
	}
}

// TestS9_EachStartThatWasUnderWay is sent again by the next process.
func TestS9_EachStartThatWasUnderWay(t *testing.T) {
	h := withGuests(t)
	h.note(h.g.Seen(h.now, "guest/101", shutdown.Sight{}))
	h.report(mains())
	n := len(h.disk)
	h.boot()
	h.wantReturns(n, "start_refused guest/100, start_refused guest/101")
}

// TestU5_AnotherPisUPSIsGone after as long as one of the Pi's own would be, to the second: then nothing waits
// for it any more, although nobody has heard that it has mains.
func TestU5_AnotherPisUPSIsGone(t *testing.T) {
	h := ofTwoPis(t, nil)
	h.andB(1, mains, other(battery(time.Minute)))
	n, at := len(h.disk), h.now
	for h.now.Sub(at) < time.Hour-time.Second {
		h.now = h.now.Add(time.Second)
		h.said("pi2", guardian.PeerWord{State: shutdown.None}) // it lives, and does not hear b either
		h.report(mains())
	}
	h.wantReturns(n, "")
	h.now = h.now.Add(time.Second)
	h.report(mains())
	h.wantReturns(n, "put_back_began")
}

// TestG6_HowLongAnotherPisWordIsGood, to the moment: of how its UPSes stand, and of one on battery as of now.
func TestG6_HowLongAnotherPisWordIsGood(t *testing.T) {
	h := newHouse(t, among("pi", "pi2"))
	for old, want := range map[time.Duration]bool{10 * time.Second: true, 10*time.Second + 1: false} {
		h.said("pi2", other(mains()))
		h.now = h.now.Add(old)
		h.said("pi2", guardian.PeerWord{State: shutdown.None})
		if _, known := h.g.Elsewhere(h.now)["b"]; known != want {
			t.Errorf("%s after its word b is known: %t", old, known)
		}
	}
	h.said("pi2", other(battery(time.Minute)))
	for old, want := range map[time.Duration]bool{power.Fresh: false, power.Fresh + 1: true} {
		if lost := h.g.Elsewhere(h.now.Add(old))["b"].LostFor != nil; lost != want {
			t.Errorf("%s after its word b is lost: %t", old, lost)
		}
	}
}
