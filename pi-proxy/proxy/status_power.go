package proxy

import (
	"fmt"
	"strings"

	"sentinel.home.arpa/shared/power"
	"sentinel.home.arpa/shared/shutdown"
)

// UPSStatus is how one of the Pi's UPSes stands, as it reads it itself.
type UPSStatus struct {
	Name    string         `json:"name"`
	Reading *power.Reading `json:"reading,omitempty"` // nil: nothing was heard of it yet
}

func (p *Proxy) upsStatus() (all []UPSStatus) {
	for _, l := range p.latest {
		s := UPSStatus{Name: l.name}
		if r, known := l.now(); known {
			s.Reading = &r
		}
		all = append(all, s)
	}
	return all
}

// String is it for people: "rack: on battery for 12 s, 87 %, 23 min left".
func (s UPSStatus) String() string {
	r := s.Reading
	switch {
	case r == nil || r.Supply == power.Unknown && r.LostFor == nil:
		return s.Name + ": not heard yet"
	case r.Supply == power.Unknown:
		return fmt.Sprintf("%s: not heard for %s", s.Name, power.Spell(r.LostFor.Duration()))
	}
	text := s.Name + ": on " + string(r.Supply)
	if r.Supply == power.SelfTest || r.Supply == power.Calibrates {
		text = s.Name + ": in a " + string(r.Supply)
	}
	if r.LostFor != nil {
		return fmt.Sprintf("%s when it was last heard, %s ago", text, power.Spell(r.LostFor.Duration()))
	}
	if r.Supply != power.Mains {
		text += " for " + power.Spell(r.For.Duration())
	}
	if r.Charge != nil {
		text += fmt.Sprintf(", %.0f %%", *r.Charge*100)
	}
	if r.Supply != power.Mains && r.Runtime != nil {
		text += ", " + power.Spell(r.Runtime.Duration()) + " left"
	}
	return text
}

// runSaid is the Pi's own run for people, and what became of whom.
func runSaid(r *shutdown.Status) string {
	text := map[shutdown.State]string{
		shutdown.Begun: "has begun", shutdown.Advancing: "is under way", shutdown.HasEnded: "the last one is through", shutdown.Stopped: "the last one was stopped before its end",
	}[r.State]
	if r.DryRun {
		text += " (a rehearsal, nothing is told)"
	}
	if r.State.Open() {
		text += fmt.Sprintf(", stage %d", r.Stage+1)
	}
	for _, state := range []struct{ state, says string }{
		{"down", "down"}, {"told", "told"}, {"late", "not down in time"}, {"skipped", "skipped"}, {shutdown.Back, "started again"}, {shutdown.NotBack, "not started again"}, {"pending", "to come"},
	} {
		var names []string
		for _, t := range r.Targets {
			if t.State == state.state {
				names = append(names, t.Name)
			}
		}
		if len(names) > 0 {
			text += "; " + state.says + ": " + strings.Join(names, ", ")
		}
	}
	return text
}
