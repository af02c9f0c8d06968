package proxy

import (
	"path/filepath"
	"time"

	"sentinel.home.arpa/pi-proxy/internal/brainwatch"
	"sentinel.home.arpa/pi-proxy/internal/guardian"
	"sentinel.home.arpa/pi-proxy/internal/spool"
	"sentinel.home.arpa/shared/daemon"
	"sentinel.home.arpa/shared/power"
	"sentinel.home.arpa/shared/wire"
)

// For the tests.
var (
	Brief    = brief
	OwedSaid = owedSaid
	InPlan   = inPlan
)

// WidenSpool has the spool take larger envelopes than a Pi's.
func (p *Proxy) WidenSpool(largest int) error {
	wide, err := spool.Open(filepath.Join(p.cfg.StateDir, "spool"), p.boot, daemon.BootTime, largest, p.log)
	if err == nil {
		p.spool, p.lan.Keep = wide, wide.Put
	}
	return err
}

// Answers orders the answers of brains.
type Answers struct{ newest }

func (a *Answers) Overtaken(h wire.Header, now time.Duration) bool { return a.overtaken(h, now) }

// Leaves are the brains that said that they are about to be restarted.
type Leaves struct{ leaves }

func (l *Leaves) Say(brain string, now time.Duration) bool { return l.say(brain, now) }

func (l *Leaves) Lately(now time.Duration) int { return l.lately(now) }

// Gone is the guardian's word on a UPS, and Mains whether all are on mains.
func (p *Proxy) Gone(ups string) { p.gone(ups) }

func (p *Proxy) Mains() bool { return p.mains() }

// Watches has the Pi watch its brain by other times; it is for before Run.
func (p *Proxy) Watches(t brainwatch.Times) {
	p.outside.core = brainwatch.New(t, p.outside.core.State(), p.clock.Now())
}

// GoneWithin is how long a machine that was told to power off may take; it is for before Run.
func (p *Proxy) GoneWithin(d time.Duration) { p.end.goneWithin = d }

// Elsewhere are the readings of UPSes that other Pis of the site read; it is for while the Pi runs.
func (p *Proxy) Elsewhere() map[string]power.Reading {
	answer := make(chan map[string]power.Reading, 1)
	p.guard.send(func(now time.Time) []guardian.Event {
		answer <- p.guard.core.Elsewhere(now)
		return nil
	})
	return <-answer
}
