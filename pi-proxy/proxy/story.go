package proxy

import (
	"fmt"
	"strings"
	"time"

	"sentinel.home.arpa/shared/power"
)

// story is what the Pi says on the phone about a brain that is gone.
type story struct {
	contact, site string
	since         time.Time // in the site's time zone
	tailnet       bool      // Tailscale is out of reach
	loggedOut     bool      // it lets the Pi in no more
	mains         bool      // all UPSes are on mains; neither this nor battery: not known
	battery       *power.Reading
	armed         bool
	shuttingDown  bool
}

// power takes a UPS; of several on battery the one with the least runtime is told of.
func (s *story) power(l *latest) {
	l.mu.Lock()
	r, known, gone := l.o.Reading.Aged(time.Since(l.o.At)), l.known, l.gone
	l.mu.Unlock()
	if !known || gone || !r.OnBattery() {
		return
	}
	if s.battery == nil || r.Runtime != nil && (s.battery.Runtime == nil || r.Runtime.Duration() < s.battery.Runtime.Duration()) {
		s.battery = &r
	}
}

func (s *story) text() string {
	said := []string{fmt.Sprintf("Hello %s. This is the Pi of your home sentinel, at %s.", s.contact, s.site)}
	say := func(format string, args ...any) { said = append(said, fmt.Sprintf(format, args...)) }
	clock := s.since.Format("15 04")
	switch {
	case s.loggedOut:
		say("Tailscale does not let me in any more, so I have heard nothing of the sentinel since %s. Please log the Pi in to Tailscale again.", clock)
	case s.tailnet:
		say("Tailscale has been out of reach since %s, so I hear nothing of the sentinel. It may be fine, and so is the internet here.", clock)
		say("Please look whether Tailscale has an outage.")
	default:
		say("The sentinel is down: it has not answered since %s, though the internet here is up.", clock)
		say("Until it is back nobody watches your servers or calls you about them. Please look at your cloud VM.")
	}
	switch {
	case s.battery != nil:
		say("The power here is out%s.", saidBattery(s.battery))
		switch {
		case s.shuttingDown:
			say("I am shutting the machines down by myself.")
		case s.armed:
			say("I shut the machines down by myself when it is time.")
		default:
			say("The plan is not armed, so nothing is shut down.")
		}
	case s.mains:
		say("The power here is fine.")
	}
	return strings.Join(said, " ")
}

func saidBattery(r *power.Reading) string {
	said := ""
	if r.Charge != nil {
		said = fmt.Sprintf(", the battery is at %.0f percent", *r.Charge*100)
	}
	if r.Runtime != nil {
		said += fmt.Sprintf(", enough for about %d minutes", int(r.Runtime.Duration().Round(time.Minute).Minutes()))
	}
	return said
}
