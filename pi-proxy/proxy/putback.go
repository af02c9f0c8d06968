package proxy

import (
	"errors"
	"time"

	"sentinel.home.arpa/shared/power"
)

var errNoMains = errors.New("the mains are not known to be there")

// mayStart is asked right before each guest is started again: never on battery (rule S5).
func (g *guard) mayStart() error {
	if g.p.mainsNow() {
		return nil
	}
	return errNoMains
}

// mainsNow reports whether every UPS, but those that are gone, has just said that it is on
// mains: only then is anything started again.
func (p *Proxy) mainsNow() bool {
	heard := false
	for _, l := range p.latest {
		on, counts := l.onMains()
		if counts && !on {
			return false
		}
		heard = heard || counts
	}
	return heard
}

// onMains reports whether the UPS has just said so, and whether it counts.
func (l *latest) onMains() (on, counts bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.o.Reading
	return l.known && r.Supply == power.Mains && r.LostFor == nil && time.Since(l.o.At) <= power.Fresh, !l.gone
}
