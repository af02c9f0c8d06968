package proxy

import (
	"sync"
	"time"

	"sentinel.home.arpa/pi-proxy/internal/ups"
	"sentinel.home.arpa/shared/power"
)

// latest is the newest observation of one UPS, and who waits for it.
type latest struct {
	name string
	wake chan struct{}
	out  bool // an earlier process last heard it on battery

	mu      sync.Mutex
	o       ups.Observation
	entry   int64     // of the record, that tells how it stands
	noted   time.Time // and when that was made
	changed bool      // since the last report
	known   bool
	gone    bool // the guardian no longer counts it as on battery
}

// put takes an observation; entry is the record's if it made one, else 0.
func (l *latest) put(o ups.Observation, entry int64) {
	l.mu.Lock()
	l.o, l.known, l.changed, l.gone = o, true, l.changed || o.Changed, l.gone && o.Reading.LostFor != nil
	if entry != 0 {
		l.entry, l.noted = entry, o.At
	}
	changed := l.changed
	l.mu.Unlock()
	if changed {
		select {
		case l.wake <- struct{}{}:
		default:
		}
	}
}

// reading is the newest observation as it stands now. One that is not fresh tells only of a silence (rules S5, U5):
// its supply may have been another since, and the next poll hangs or is late. The lock is held.
func (l *latest) reading() power.Reading {
	old := time.Since(l.o.At)
	if old > power.Fresh {
		return l.o.Reading.Lost(old)
	}
	return l.o.Reading.Aged(old)
}

// taken is what a report says, and the record's entry that says the same.
type taken struct {
	reading power.Reading
	changed bool
	entry   int64
}

// take gives what is to be reported, as it stands now.
func (l *latest) take() (t taken, known bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	t = taken{l.reading(), l.changed, l.entry}
	l.changed = false
	return t, l.known
}

// sampled reports whether a UPS on battery was noted so lately that its course is known.
func (l *latest) sampled(at time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return at.Sub(l.noted) < sampleEach
}

func (l *latest) calm() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return !l.known || l.gone || !l.o.Reading.OnBattery()
}

// untold takes back that an observation was told.
func (l *latest) untold(changed bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.changed = l.changed || changed
}

// standing is whether the supply that is last known, by whatever process, is a reason still; false if none is
// known.
func (l *latest) standing(p power.Policy, need time.Duration) (power.Standing, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.reading()
	if l.gone {
		return power.Unsure, false
	}
	if !l.known || r.Supply == power.Unknown {
		return power.StillCalls, l.out
	}
	return p.Stands(r, need), true
}

// gone has a UPS that was last heard on battery keep nobody from taking the mains for back.
func (p *Proxy) gone(ups string) {
	for _, l := range p.latest {
		if l.name == ups {
			l.mu.Lock()
			l.gone, l.out = true, false
			l.mu.Unlock()
		}
	}
}

// upses are the names of those that are watched.
func (p *Proxy) upses() (names []string) {
	for _, l := range p.latest {
		names = append(names, l.name)
	}
	return names
}

// mains reports whether the mains are there at every UPS whose supply is known, also by another Pi's word.
func (p *Proxy) mains() bool { return p.ownMains() && !p.guard.elsewhere.Load() }

// ownMains is mains for the UPSes that this Pi reads.
func (p *Proxy) ownMains() bool {
	called, known := p.called()
	return known && !called
}

// called reports whether a UPS that this Pi reads calls for the plan, or has for all that is known, and whether anything is. A
// test calls for nothing, unless the plan may begin by it (rule U3).
func (p *Proxy) called() (called, known bool) {
	policy, need := power.DefaultPolicy(), time.Duration(0)
	if s := p.stored.Load(); s != nil {
		policy, need = s.Bundle.Policy, s.Bundle.Plan.Need()
	}
	for _, l := range p.latest {
		s, ok := l.standing(policy, need)
		called, known = called || ok && s == power.StillCalls, known || ok
	}
	return called, known
}
