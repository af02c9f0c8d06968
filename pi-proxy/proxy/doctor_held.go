package proxy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"sentinel.home.arpa/shared/courier"
	"sentinel.home.arpa/shared/daemon"
	"sentinel.home.arpa/shared/power"
	"sentinel.home.arpa/shared/proxmox"
)

const (
	// machinesWithin bounds the questions to the plan's machines, and heldWithin the answer.
	machinesWithin = 20 * time.Second
	heldWithin     = 25 * time.Second
	maxHeld        = 1 << 20
)

var errAsked = errors.New("the machines are being asked already")

// Held is what the running Pi guards by, and whether it reaches what it would shut down.
type Held struct {
	Status
	Name     string            `json:"name"`
	Version  string            `json:"version"`
	Plan     bool              `json:"plan"` // there is one
	Need     time.Duration     `json:"need_ns"`
	Policy   power.Policy      `json:"policy"`
	Missing  []string          `json:"missing,omitempty"` // credentials that the plan names
	Asked    bool              `json:"asked"`             // its machines were
	NotAsked string            `json:"not_asked,omitempty"`
	Machines []proxmox.Finding `json:"machines"`
}

// held asks the plan's machines from here, as a run would, but none of them in an outage.
func (p *Proxy) held(ctx context.Context) (Held, error) {
	if !p.asking.TryLock() {
		return Held{}, &courier.Fault{Status: http.StatusServiceUnavailable, Reason: "busy", Err: errAsked, Hint: "try again in a moment"}
	}
	defer p.asking.Unlock()
	status, err := p.outside.status(ctx)
	if err != nil {
		return Held{}, &courier.Fault{Status: http.StatusServiceUnavailable, Reason: "stuck", Err: fmt.Errorf("the Pi does not turn: %w", err)}
	}
	h := Held{Status: status, Name: p.cfg.Name, Version: daemon.Version(), Policy: power.DefaultPolicy(), Missing: p.lacks()}
	stored := p.stored.Load()
	if stored == nil {
		return h, nil
	}
	plan := stored.Bundle.Plan
	h.Plan, h.Need, h.Policy = len(plan.Stages) > 0, plan.Need(), stored.Bundle.Policy
	switch {
	case len(plan.Nodes) == 0 || len(h.Missing) > 0:
		return h, nil
	case !p.calm():
		h.NotAsked = "the power is out"
		return h, nil
	}
	fleet, err := p.guard.fleetOf(plan)
	if err != nil {
		h.NotAsked = err.Error()
		return h, nil
	}
	defer fleet.Close()
	ctx, cancel := context.WithTimeout(ctx, machinesWithin)
	defer cancel()
	h.Asked, h.Machines = true, fleet.Check(ctx)
	return h, nil
}

// calm reports whether no UPS is known to be on battery.
func (p *Proxy) calm() bool {
	for _, l := range p.latest {
		if !l.calm() {
			return false
		}
	}
	return true
}

func (p *Proxy) serveHeld(w http.ResponseWriter, r *http.Request) {
	h, err := p.held(r.Context())
	if err != nil {
		courier.Fail(w, err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(h) // whoever asked has gone
}

// readHeld asks the running Pi.
func readHeld(ctx context.Context, socket string) (h Held, err error) {
	ctx, cancel := context.WithTimeout(ctx, heldWithin)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://pi/doctor", nil)
	if err != nil {
		return h, err
	}
	resp, err := overControl(socket).Do(req)
	if err != nil {
		return h, fmt.Errorf("the Pi cannot be reached: %w", err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxHeld))
	if err != nil {
		return h, fmt.Errorf("read the Pi's answer: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		return h, fmt.Errorf("the Pi answered %s: %.200s", resp.Status, data)
	}
	if err := json.Unmarshal(data, &h); err != nil {
		return h, fmt.Errorf("read the Pi's answer: %w", err)
	}
	return h, nil
}
