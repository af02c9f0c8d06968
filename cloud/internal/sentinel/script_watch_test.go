package sentinel_test

import (
	"cmp"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"sentinel.home.arpa/cloud/internal/liveness"
	"sentinel.home.arpa/cloud/internal/sentinel"
)

// configureWatch lets a story have other contacts, and less patience with them.
func (w *world) configureWatch(a args) error {
	if c, ok := a.set["contacts"]; ok {
		w.cfg.Contacts = strings.FieldsFunc(c, func(r rune) bool { return r == ',' })
	}
	for key, n := range map[string]*int{"rounds": &w.cfg.Escalation.Rounds, "tries": &w.cfg.Escalation.TriesEach} {
		if a.set[key] == "" {
			continue
		}
		var err error
		if *n, err = strconv.Atoi(a.set[key]); err != nil {
			return err
		}
	}
	var err error
	if a.set["remind"] != "" {
		w.cfg.Times.RemindFor, err = a.duration("remind")
	}
	return err
}

// doWatch is what people decide about how sources are watched, and what the table of
// heartbeats says beside who is silent.
func (w *world) doWatch(verb string, a args) error {
	span, err := a.duration("for")
	if err != nil {
		return err
	}
	name, site, by := a.name(), w.siteOf(a.name()), cmp.Or(a.set["by"], "alice")
	if slices.ContainsFunc(w.cfg.Sites, func(s sentinel.SiteConfig) bool { return s.Name == name }) {
		name, site = "", name // all of it
	}
	switch verb {
	case "mute":
		w.step(sentinel.Mute{Site: site, Name: name, By: by, For: span})
	case "unmute":
		w.step(sentinel.Unmute{Site: site, Name: name, By: by})
	case "maintain":
		w.step(sentinel.Maintain{Site: site, Name: name, By: by, For: span})
	case "maintained":
		w.step(sentinel.Maintained{Site: site, Name: name, By: by})
	case "delete":
		w.step(sentinel.Delete{Site: site, Name: name, By: by})
	case "indirect":
		for _, n := range a.names {
			w.source(n).via = a.set["via"]
			w.step(sentinel.Indirect{Site: site, Name: n, Via: a.set["via"], Since: w.now.Add(-w.cfg.Times.Silence)})
		}
	case "direct":
		w.source(name).via = ""
		w.step(sentinel.Direct{Site: site, Name: name})
	case "relayed":
		w.source(name).via = a.set["by"]
	case "stops": // stops for=4s after=4s times=9: so it goes on
		return w.stops(span, a)
	case "clone":
		return w.clone(site, name, a)
	case "reload":
		w.cfg.Sites = slices.Clone(w.cfg.Sites)
		sc := &w.cfg.Sites[slices.IndexFunc(w.cfg.Sites, func(s sentinel.SiteConfig) bool { return s.Name == cmp.Or(a.set["site"], "home") })]
		if n := a.set["nodes"]; n != "" {
			sc.Nodes = strings.Split(n, ",")
		}
		if p := a.set["pis"]; p != "" {
			sc.Pis = strings.Split(p, ",")
		}
		if f := a.set["feeds"]; f != "" {
			sc.Feeds = feedsOf(f)
			wire(sc, a)
		}
		if c := a.set["contacts"]; c != "" {
			w.cfg.Contacts = strings.Split(c, ",")
		}
		if err := w.configurePeople(a); err != nil {
			return err
		}
		if a.has("add-plan") {
			sc.Plan = home().Sites[0].Plan
		}
		w.step(sentinel.Configured{Config: w.cfg})
	default:
		return errUnknown
	}
	return nil
}

// stops has the brain stand still again and again.
func (w *world) stops(stop time.Duration, a args) error {
	runs, err := a.duration("after")
	if err != nil {
		return err
	}
	times, err := strconv.Atoi(a.set["times"])
	for range times {
		w.pass(runs)
		w.pause(stop)
	}
	return err
}

// clone has a second machine beat under a name, which the table keeps apart.
func (w *world) clone(site, name string, a args) error {
	if w.source(name) == nil || a.set["boot"] == "" {
		return errors.New("a clone is of a machine, and has its own boot")
	}
	as := name + " (2)"
	w.step(sentinel.Cloned{Site: site, Name: name, As: as, Boot: a.set["boot"]})
	b := w.source(as)
	if b == nil {
		b = &beater{site: site, name: as, role: sentinel.Node, state: "running"}
		w.sources = append(w.sources, b)
	}
	b.beats, b.boot = true, a.set["boot"]
	w.beat(b)
	return nil
}

// follow has the table forget what was deleted: its next word is news again.
func (w *world) follow(f sentinel.Fact) {
	if f, ok := f.(*sentinel.SourceDeleted); ok {
		w.table.Forget(liveness.Key{Site: f.Site, Name: f.Name})
	}
}
