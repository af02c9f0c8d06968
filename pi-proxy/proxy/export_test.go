package proxy

import (
	"path/filepath"
	"time"

	"sentinel.home.arpa/pi-proxy/internal/spool"
	"sentinel.home.arpa/shared/daemon"
	"sentinel.home.arpa/shared/wire"
)

// For the tests.
var (
	Brief  = brief
	InPlan = inPlan
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
