package proxy

import (
	"context"

	"sentinel.home.arpa/shared/shutdown"
)

// learnNames has the names of the plan's nodes resolved ahead of the power cut, for the guardian
// and for the brain's way through this Pi.
func (p *Proxy) learnNames(ctx context.Context) error {
	return p.nodes.Learn(ctx, func() *shutdown.Plan {
		if s := p.stored.Load(); s != nil {
			return &s.Bundle.Plan
		}
		return nil
	})
}
