package guardian

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"sentinel.home.arpa/shared/power"
	"sentinel.home.arpa/shared/shutdown"
)

// tooOld reports whether a reading is of a UPS that is gone: only one who listened for all
// that time can say so.
func (g *Guardian) tooOld(now time.Time, r power.Reading) bool {
	after := r.GoneAfter()
	return r.LostFor != nil && r.LostFor.Duration() >= after && now.Sub(g.listens) >= after
}

// forgetGone lets UPSes that were last heard on battery, or in a test, no longer count as that once they are
// gone: unplugged, renamed or replaced, or without an apcupsd. They would hold their outage
// open for good, and keep the next one from its run.
func (g *Guardian) forgetGone(now time.Time) (es []Event) {
	why, over := "", false
	for _, ups := range g.silenceable() {
		last := power.Reading{Supply: power.Battery, LostFor: new(power.InSeconds(now.Sub(g.listens)))}
		if h, ok := g.readings[ups]; ok {
			last = h.Lost(now.Sub(h.at))
		}
		if !g.tooOld(now, last) {
			continue
		}
		_, out := g.out[ups]
		over = over || out
		delete(g.readings, ups)
		why = fmt.Sprintf("nothing has been heard of %s for %s; it no longer counts as on battery", ups, power.Spell(last.LostFor.Duration()))
		es = append(es, g.note(g.Epoch, shutdown.Event{Type: Gone, Target: ups, At: now, Why: why})...)
	}
	if over && g.calm(now) {
		es = append(es, g.powerBack(now, why, true)...)
	}
	return es
}

// silenceable are the UPSes that were last heard on battery or in a test: from a test too nobody hears its end.
func (g *Guardian) silenceable() []string {
	names := slices.Collect(maps.Keys(g.out))
	for ups, h := range g.readings {
		if _, out := g.out[ups]; !out && h.Supply != power.Mains {
			names = append(names, ups)
		}
	}
	return slices.Sorted(slices.Values(names))
}
