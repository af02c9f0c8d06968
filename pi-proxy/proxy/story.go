package proxy

import (
	"embed"
	"fmt"
	"strings"
	"text/template"
	"time"

	"sentinel.home.arpa/pi-proxy/internal/brainwatch"
	"sentinel.home.arpa/shared/power"
	"sentinel.home.arpa/shared/speech"
)

// clockTime is how a time of the day is written.
const clockTime = "15:04"

//go:embed texts.*.tmpl
var texts embed.FS

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
	r, known, gone := l.reading(), l.known, l.gone
	l.mu.Unlock()
	if !known || gone || !r.OnBattery() {
		return
	}
	if s.battery == nil || r.Runtime != nil && (s.battery.Runtime == nil || r.Runtime.Duration() < s.battery.Runtime.Duration()) {
		s.battery = &r
	}
}

// notice says it in writing.
func (s *story) notice(n brainwatch.Notice) (subject, text string) {
	switch {
	case n.Back:
		return "The sentinel answers again", fmt.Sprintf("The sentinel answers the Pi at %s again, after %s. ", s.site, power.Spell(n.For)) + s.stands()
	case s.loggedOut:
		subject = "Tailscale does not let the Pi in"
		text = fmt.Sprintf("Tailscale does not let the Pi at %s in any more, so it has heard nothing of the sentinel since %s. Log the Pi in to Tailscale again. ", s.site, s.since.Format(clockTime))
	case n.Cause == brainwatch.Tailnet:
		subject = "Tailscale is out of reach"
		text = fmt.Sprintf("Tailscale has been out of reach of the Pi at %s since %s, so it hears nothing of the sentinel, which may be fine. The internet there is up. See whether Tailscale has an outage. ", s.site, s.since.Format(clockTime))
	default:
		subject = "The sentinel is down"
		text = fmt.Sprintf("The sentinel has not answered the Pi at %s since %s, though the internet there is up. Until it is back nobody watches your servers or calls you about them: look at your cloud VM. ", s.site, s.since.Format(clockTime))
	}
	return subject, text + s.stands()
}

// stands is how the power of the house stands.
func (s *story) stands() string {
	if s.battery == nil {
		if s.mains {
			return "The power there is fine."
		}
		return "How the power there stands is not known."
	}
	said := "The power there is out"
	if c := s.battery.Charge; c != nil {
		said += fmt.Sprintf(", the battery at %.0f %%", 100**c)
	}
	if r := s.battery.Runtime; r != nil {
		said += ", enough for " + power.Spell(r.Duration())
	}
	switch {
	case s.shuttingDown:
		return said + ". The Pi is shutting the machines down by itself."
	case s.armed:
		return said + ". The Pi shuts the machines down by itself when it is time."
	}
	return said + ". The plan is not armed, so nothing is shut down."
}

// text says it; Go's templates see only what has a capital, so what is known gets one here.
func (s *story) text(l speech.Language) (string, error) {
	t, err := template.New("texts."+string(l)+".tmpl").Option("missingkey=error").Funcs(l.Funcs()).ParseFS(texts, "texts."+string(l)+".tmpl")
	if err != nil {
		return "", fmt.Errorf("read the text of a call: %w", err)
	}
	said := map[string]any{"Contact": s.contact, "Site": s.site, "Since": s.since, "LoggedOut": s.loggedOut, "Tailnet": s.tailnet,
		"Mains": s.mains, "OnBattery": s.battery != nil, "Armed": s.armed, "ShuttingDown": s.shuttingDown, "Charge": nil, "Runtime": nil}
	if r := s.battery; r != nil {
		if r.Charge != nil {
			said["Charge"] = r.Charge
		}
		if r.Runtime != nil {
			said["Runtime"] = r.Runtime.Duration()
		}
	}
	var b strings.Builder
	if err := t.Execute(&b, said); err != nil {
		return "", fmt.Errorf("write the text of a call: %w", err)
	}
	return l.Clean(b.String()), nil
}
