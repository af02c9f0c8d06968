package brain

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"sentinel.home.arpa/cloud/internal/sentinel"
	"sentinel.home.arpa/cloud/internal/web"
	"sentinel.home.arpa/shared/courier"
	"sentinel.home.arpa/shared/proxmox"
)

// checkWithin bounds a check of the plan's machines; an answer may take 30 s.
const checkWithin = 25 * time.Second

// aboutNetwork is the subject of what a person said of the network, or did not.
const aboutNetwork proxmox.Subject = "network"

// planFinding is what a check of a plan brought to light.
type planFinding struct {
	proxmox.Finding
	Through string `json:"through,omitempty"` // how the machine was asked, where there are two ways
	Said    bool   `json:"-"`                 // of the network: a person said so
}

// checkedPlan is a plan's check, the gravest findings first.
type checkedPlan struct {
	At       time.Time     `json:"at"`
	Site     string        `json:"site"`
	Fit      bool          `json:"fit"` // nothing keeps it from being armed
	Findings []planFinding `json:"findings"`
}

func (b *Brain) planCheck(_ context.Context, r *http.Request) (any, error) {
	sc := b.planned()
	if sc == nil {
		return nil, errWithoutPlan()
	}
	release, err := b.askOne()
	if err != nil {
		return nil, err
	}
	defer release()
	ctx, cancel := context.WithTimeout(r.Context(), checkWithin)
	defer cancel()
	c := checkedPlan{At: b.machine.wall(), Site: sc.Name, Findings: b.checkPlan(ctx, *sc, true), Fit: true}
	for _, f := range c.Findings {
		c.Fit = c.Fit && f.Severity != proxmox.Refusal
	}
	return c, nil
}

// checkPlan looks at all that a plan needs. With every, its machines are asked by each way that
// brain or Pi may take to them.
func (b *Brain) checkPlan(ctx context.Context, sc sentinel.SiteConfig, every bool) []planFinding {
	found := append(b.checkMachines(ctx, sc, every), b.checkPis(sc)...)
	if v := b.page(); v != nil {
		for _, s := range v.Sites {
			if s.Name == sc.Name {
				found = append(found, checkNetwork(s, len(sc.Pis) > 0)...)
				found = append(found, checkUPSes(s, sc)...)
			}
		}
	}
	order := []proxmox.Severity{proxmox.Refusal, proxmox.Warning, proxmox.Note}
	slices.SortStableFunc(found, func(a, b planFinding) int {
		return slices.Index(order, a.Severity) - slices.Index(order, b.Severity)
	})
	return found
}

func (b *Brain) checkMachines(ctx context.Context, sc sentinel.SiteConfig, every bool) (found []planFinding) {
	if len(sc.Plan.Nodes) == 0 {
		return nil
	}
	type way struct {
		name string
		dial func(ctx context.Context, network, addr string) (net.Conn, error)
	}
	ways := []way{{"", b.wayTo(sc.Name, courier.ToAsk)}}
	if every && ways[0].dial == nil && len(b.set.Load().relays[sc.Name]) > 0 {
		ways[0].name = "directly"
		ways = append(ways, way{"through " + strings.Join(sc.Pis, ", "), b.throughPis(sc.Name, courier.ToAsk)})
	}
	for _, w := range ways {
		fleet, err := b.fleetBy(*sc.Plan, w.dial)
		if err != nil {
			return []planFinding{{Finding: proxmox.Finding{Severity: proxmox.Refusal, Target: "brain", Text: err.Error()}}}
		}
		for _, f := range fleet.Check(ctx) {
			if f.Subject != proxmox.AboutReach && slices.ContainsFunc(found, func(o planFinding) bool { return o.Finding == f }) {
				continue // the same machine says it by whichever way
			}
			found = append(found, planFinding{Finding: f, Through: w.name})
		}
		fleet.Close()
	}
	for i := range found {
		if found[i].Subject != proxmox.AboutReach {
			found[i].Through = ""
		}
	}
	return found
}

// checkPis looks at what the Pis need to act by themselves.
func (b *Brain) checkPis(sc sentinel.SiteConfig) (found []planFinding) {
	say := func(s proxmox.Severity, target, text string) {
		found = append(found, planFinding{Finding: proxmox.Finding{Severity: s, Target: target, Text: text}})
	}
	if len(sc.Pis) == 0 {
		say(proxmox.Warning, "pi", "no Pi guards this site, so nothing is shut down while the brain cannot reach it; set one up, and name it in pi_proxies")
	}
	for _, pi := range sc.Pis {
		b.pis.mu.Lock()
		said, known := b.pis.said[pi]
		b.pis.mu.Unlock()
		switch {
		case !known:
			say(proxmox.Warning, pi, pi+" has not been heard since the brain started, so it is not known whether it could carry the plan out; look at it")
		case len(said.lacks) > 0:
			say(proxmox.Refusal, pi, fmt.Sprintf("%s does not have %s, and could not carry the plan out; put it where the brain has it: as a credential of the same name, or as the same file",
				pi, strings.Join(said.lacks, ", ")))
		}
	}
	return found
}

func checkNetwork(s web.Site, hasPi bool) []planFinding {
	f := planFinding{Finding: proxmox.Finding{Severity: proxmox.Warning, Subject: aboutNetwork, Target: "network"}}
	switch {
	case !hasPi:
		return nil
	case s.NetworkOnUPS == sentinel.NetworkYes:
		f.Severity, f.Text = proxmox.Note, "the network between Pi and nodes is on the UPS, as was said"
	case s.NetworkOnUPS == sentinel.NetworkNo:
		f.Said = true
		f.Text = "the network between Pi and nodes is not on the UPS, as was said, so the Pi cannot reach the nodes once the power is out; put its switch on the UPS, and run `sentinel-cloud plan check --network-on-ups yes`"
	default:
		f.Text = "it is not known whether the switch between Pi and nodes is on the UPS; look, and run `sentinel-cloud plan check --network-on-ups yes` or `no` once"
	}
	return []planFinding{f}
}

func checkUPSes(s web.Site, sc sentinel.SiteConfig) (found []planFinding) {
	if len(s.UPSes) == 0 {
		return []planFinding{{Finding: proxmox.Finding{Severity: proxmox.Warning, Target: "ups",
			Text: "no UPS has been heard of yet, and without one nothing begins the plan; look at the Pi's ups: and at apcupsd"}}}
	}
	for _, ups := range neverToldOf(*sc.Plan, s.UPSes) {
		found = append(found, planFinding{Finding: proxmox.Finding{Severity: proxmox.Warning, Target: ups, Text: saidNeverToldOf(ups)}})
	}
	for _, u := range s.UPSes {
		lasts := lastsFor(u, sc)
		f := proxmox.Finding{Severity: proxmox.Note, Target: u.Name, Text: lasts.Text}
		switch lasts.Lasts {
		case unknownLasts:
			f.Severity = proxmox.Warning
			f.Text += "; look at `apcaccess` on its Pi"
		case tooShort:
			f.Severity = proxmox.Warning
			f.Text += "; shorten the stages' deadlines, take load off it, or renew its battery"
		}
		found = append(found, planFinding{Finding: f})
	}
	return found
}
