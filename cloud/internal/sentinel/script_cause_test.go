package sentinel_test

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"sentinel.home.arpa/cloud/internal/cause"
	"sentinel.home.arpa/cloud/internal/sentinel"
	"sentinel.home.arpa/shared/power"
	"sentinel.home.arpa/shared/shutdown"
)

// note is an entry of a Pi's record.
type note struct {
	at time.Time
	sentinel.Record
}

// configureCauses lets a story have two sites, or several UPSes of which it is known what
// they feed: feeds=ups1:pve1+pve2,ups2:nas.
func (w *world) configureCauses(a args) {
	home := &w.cfg.Sites[0]
	home.OnFailure = a.has("on-failure")
	if a.set["feeds"] != "" {
		home.Feeds, w.units = feedsOf(a.set["feeds"]), nil
		wire(home, a)
		for _, ups := range slices.Sorted(maps.Keys(home.Feeds)) {
			w.units = append(w.units, &unit{site: "home", name: ups, pi: "pi1", changed: true, status: power.Status{Flags: power.Online}})
		}
	}
	if pis := a.set["pis"]; pis != "" {
		home.Pis = strings.Split(pis, ",")
	}
	if a.has("two-sites") {
		office := sentinel.SiteConfig{Name: "office", Nodes: []string{"srv1", "srv2"}, Pis: []string{"pi2"}, Policy: power.DefaultPolicy()}
		if a.has("two-plans") {
			office.Plan = &shutdown.Plan{Site: "office", Nodes: []shutdown.Node{{Name: "srv1"}, {Name: "srv2"}},
				Stages: []shutdown.Stage{{AllGuests: true, Deadline: time.Minute}, {Nodes: []string{"srv1", "srv2"}, Deadline: time.Minute}}}
		}
		w.cfg.Sites = append(w.cfg.Sites, office)
		w.units = append(w.units, &unit{site: "office", name: "apc2", pi: "pi2", changed: true, status: power.Status{Flags: power.Online}})
	}
}

// wire has the plan know what the UPSes feed, as the brain does, and which machines go down with any
// of theirs: any=pve1,nas.
func wire(sc *sentinel.SiteConfig, a args) {
	if sc.Plan == nil || a.has("unwired") {
		return
	}
	var anyOf []string
	if a.set["any"] != "" {
		anyOf = strings.Split(a.set["any"], ",")
	}
	plan := *sc.Plan
	plan.Wiring = power.Wire(sc.Feeds, anyOf)
	sc.Plan = &plan
}

// feedsOf reads ups1:pve1+pve2,ups2:nas; nil where it is unknown.
func feedsOf(text string) map[string][]string {
	if text == "unknown" {
		return nil
	}
	feeds := map[string][]string{}
	for pair := range strings.SplitSeq(text, ",") {
		ups, nodes, _ := strings.Cut(pair, ":")
		feeds[ups] = strings.Split(nodes, "+")
	}
	return feeds
}

func (w *world) siteOf(name string) string {
	of := strings.TrimSuffix(name, " (2)")
	for _, s := range w.cfg.Sites {
		if s.Name == name || slices.Contains(s.Nodes, of) || slices.Contains(s.Pis, of) {
			return s.Name
		}
	}
	return "home"
}

// stands says how a source stands.
func (w *world) stands(name string) string {
	if src := w.state.Sites[w.siteOf(name)].Sources[name]; src != nil {
		return string(src.Condition)
	}
	return "not known"
}

// elsewhere are the sources of the other sites.
func (w *world) elsewhere(site string) map[string][]cause.Source {
	others := map[string][]cause.Source{}
	for _, s := range w.cfg.Sites {
		if s.Name != site {
			others[s.Name] = w.table.Site(s.Name)
		}
	}
	return others
}

// deliver sends a Pi's record, of which so many entries are still to come.
func (w *world) deliver(b *beater, left int) {
	in := sentinel.Recorded{Site: b.site, Pi: b.name, Left: left}
	for _, n := range b.notes {
		r := n.Record
		r.Ago = w.now.Sub(n.at)
		in.Entries = append(in.Entries, r)
	}
	w.step(in)
}

// doRecord is what a Pi notes, and how its record comes.
func (w *world) doRecord(verb string, a args) error {
	switch verb {
	case "record":
		b := w.source(cmp.Or(a.set["pi"], "pi1"))
		switch a.name() {
		case "withheld":
			b.withholds = true
		case "flows":
			b.withholds = false
		case "comes":
			left := 0
			if _, err := fmt.Sscanf(cmp.Or(a.set["left"], "0"), "%d", &left); err != nil {
				return err
			}
			w.deliver(b, left)
		default:
			return w.note(b, a)
		}
	case "unconfigure":
		w.cfg.Sites = slices.DeleteFunc(slices.Clone(w.cfg.Sites), func(s sentinel.SiteConfig) bool { return s.Name == a.name() })
		w.step(sentinel.Configured{Config: w.cfg})
	default:
		return errUnknown
	}
	return nil
}

// note has a Pi write something down now.
func (w *world) note(b *beater, a args) error {
	ago, err := a.duration("ago")
	if err != nil {
		return err
	}
	n := note{at: w.now.Add(-ago)}
	supplies := map[string]power.Supply{"ONBATT": power.Battery, "ONLINE": power.Mains, "self-test": power.SelfTest, "calibration": power.Calibrates, "COMMLOST": power.Unknown}
	switch supply, ok := supplies[a.name()]; {
	case ok:
		was, err := a.duration("for")
		if err != nil {
			return err
		}
		n.UPS, n.Reading = cmp.Or(a.set["ups"], "apc1"), power.Reading{Supply: supply, For: power.InSeconds(was)}
		if supply == power.Unknown {
			n.Reading.LostFor = new(power.Seconds)
		}
	case a.name() == "silent", a.name() == "heard", a.name() == "started":
		n.Heard = a.name() != "silent"
		n.Node = b.name
		if len(a.names) > 1 {
			n.Node = a.names[1]
		}
	default:
		return fmt.Errorf("%s is nothing that a Pi notes", a.name())
	}
	n.AtLeast = a.has("at-least")
	b.notes = append(b.notes, n)
	return nil
}

// piTargets are how the targets of a Pi's run stand: one told and one to come, or all down.
func (w *world) piTargets(a args) []shutdown.Outcome {
	pve1 := shutdown.Outcome{Kind: shutdown.ProxmoxNode, Name: "pve1", State: cmp.Or(a.set["pve1"], "told")}
	nas := shutdown.Outcome{Kind: shutdown.ProxmoxNode, Name: "nas", State: "pending"}
	if a.has("down") {
		pve1.State, nas.State = "down", "down"
	}
	all := []shutdown.Outcome{pve1, nas}
	if left := a.set["left"]; left != "" {
		all = append(all, shutdown.Outcome{Kind: shutdown.ProxmoxNode, Name: left, State: shutdown.StaysOn})
	}
	if state := a.set["guest"]; state != "" {
		all = append(all, shutdown.Outcome{Kind: shutdown.Guest, Name: "mail", State: strings.ReplaceAll(state, "+", " "), Why: "no quorum"})
	}
	return all
}
