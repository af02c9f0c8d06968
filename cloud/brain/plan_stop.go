package brain

import (
	"context"
	"errors"
	"net/http"
	"slices"

	"sentinel.home.arpa/cloud/internal/sentinel"
	"sentinel.home.arpa/cloud/internal/web"
	"sentinel.home.arpa/shared/courier"
	"sentinel.home.arpa/shared/shutdown"
)

var (
	errNothingToStop = errors.New("there is nothing to stop: no run of the plan is under way, and no UPS is on battery")
	errYesOrNo       = errors.New("say on-ups=yes or on-ups=no")
)

// stop ends the run of the plan that is under way, whoever holds it (rule S10).
func (b *Brain) stop(ctx context.Context, _ *http.Request) error {
	v := b.page()
	if v == nil {
		return &courier.Fault{Status: http.StatusServiceUnavailable, Reason: "busy", Err: errNoView}
	}
	if b.planned() == nil {
		return errWithoutPlan()
	}
	if !slices.ContainsFunc(v.Sites, func(s web.Site) bool { return s.Stoppable || s.StoppedBy != "" }) {
		return &courier.Fault{Status: http.StatusConflict, Reason: "nothing", Err: errNothingToStop, Hint: "`sentinel-cloud plan disarm` keeps the plan from beginning at all"}
	}
	return b.forEachSite(ctx, func(site string) sentinel.Input { return sentinel.Stop{Site: site, By: operator} })
}

// stopOnPage is the same from the page, which is shown again.
func (b *Brain) stopOnPage(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), 2*appendWithin)
	defer cancel()
	if err := b.stop(ctx, r); err != nil {
		var no *courier.Fault
		if !errors.As(err, &no) {
			no = &courier.Fault{Status: http.StatusServiceUnavailable, Reason: "busy", Err: err}
		}
		b.metrics.refused.WithLabelValues(courier.Fail(w, no)).Inc()
		return
	}
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

// sayNetwork remembers whether the network between Pi and nodes lives on with the power out.
func (b *Brain) sayNetwork(ctx context.Context, r *http.Request) error {
	said := r.URL.Query().Get("on-ups")
	if said != sentinel.NetworkYes && said != sentinel.NetworkNo {
		return &courier.Fault{Status: http.StatusBadRequest, Reason: "malformed", Err: errYesOrNo}
	}
	return b.forEachSite(ctx, func(site string) sentinel.Input {
		return sentinel.SayNetwork{Site: site, By: operator, OnUPS: said == sentinel.NetworkYes}
	})
}

// stopView says of a site what can be stopped, and what was.
func (b *Brain) stopView(s *web.Site, site *sentinel.Site) {
	s.NetworkOnUPS = site.NetworkOnUPS
	if !s.HasPlan {
		return
	}
	s.StoppedBy = b.state.Stopped(site.Name)
	s.Stoppable = site.Stoppable() && (s.StoppedBy == "" || site.Run != nil && !site.Run.Over())
	if s.StoppedBy == "" {
		return
	}
	rehearsal := !site.Armed && len(s.Unconfirmed) == 0 // no Pi does anything that could go on
	for _, pi := range b.cfg().pis(site.Name) {
		if site.StoppedOn != shutdown.ForFailure && !rehearsal && !b.heedsStop(pi, site) { // none begins anything for a failure
			s.StopUnconfirmed = append(s.StopUnconfirmed, pi)
		}
	}
	s.StopSays, s.StoppedFor = b.stopSays(site, len(s.StopUnconfirmed) == 0), string(site.StoppedOn)
}

// pis are the names of a site's Pis.
func (c *Config) pis(site string) (names []string) {
	for _, s := range c.Sites {
		for _, p := range s.Pis {
			if s.Name == site {
				names = append(names, p.Name)
			}
		}
	}
	return names
}

// heedsStop reports whether a Pi has said that it knows of the stop: by an epoch that is not before
// the stop's, while it holds no run. That a run of its own is over says nothing: it may be of an
// outage before.
func (b *Brain) heedsStop(pi string, site *sentinel.Site) bool {
	r := site.PiRun
	if own, ok := site.PiRuns[pi]; ok { // of several Pis it may not be the last
		r = &own.Run
	}
	if r != nil && r.Epoch.Holder == pi && r.State.Open() {
		return false
	}
	b.pis.mu.Lock()
	defer b.pis.mu.Unlock()
	return b.pis.said[pi].heeds.Compare(site.Epoch) >= 0
}

// stopSays tells what a stop leaves behind: what is down, what may still go, and what stays up, unless a Pi may go on.
func (b *Brain) stopSays(site *sentinel.Site, holds bool) string {
	plan, states := b.plan(site.Name), map[string]string{}
	var names []string
	note := func(ts []shutdown.Outcome) {
		for _, t := range ts {
			was, known := states[t.Name]
			if !known {
				names = append(names, t.Name)
			}
			if !known || t.State == "down" || t.State == "told" && was != "down" {
				states[t.Name] = t.State
			}
		}
	}
	since, _ := site.OnBattery()
	if r := site.Run; r != nil && !r.DryRun && !r.Begun.Before(since) {
		plan = &r.Plan
		note(r.Status(r.Begun, site.Epoch).Targets)
	}
	if p := site.PiRun; p != nil && !p.DryRun && !site.PiRunAt.Before(since) {
		note(p.Targets)
	}
	for _, n := range machinesOf(plan) {
		note([]shutdown.Outcome{{Name: n}})
	}
	var down, told, up []string
	for _, n := range names {
		switch states[n] {
		case "down":
			down = append(down, n)
		case "told":
			told = append(told, n)
		default:
			up = append(up, n)
		}
	}
	if !holds {
		up = nil
	}
	text := ""
	for _, part := range []struct {
		names     []string
		one, many string
	}{
		{down, "is down", "are down"}, {told, "was told before and may still go down", "were told before and may still go down"}, {up, "stays up", "stay up"},
	} {
		if len(part.names) == 0 {
			continue
		}
		if text != "" {
			text += "; "
		}
		verb := part.many
		if len(part.names) == 1 {
			verb = part.one
		}
		text += few(part.names) + " " + verb
	}
	return text
}

// machinesOf are all nodes and hosts that a plan takes down.
func machinesOf(plan *shutdown.Plan) (names []string) {
	if plan == nil {
		return nil
	}
	for _, s := range plan.Stages {
		names = append(append(names, s.Nodes...), s.Hosts...)
	}
	return names
}
