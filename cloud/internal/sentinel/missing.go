package sentinel

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"sentinel.home.arpa/shared/power"
	"sentinel.home.arpa/shared/routing"
)

// lostTogether is how long it takes to see whether one machine lost its way to the brain,
// or many did (rule H10).
const lostTogether = 10 * time.Second

// indirect notes a node that only a Pi hears any more (rule H10).
func (d *decider) indirect(in Indirect) {
	site, ok := d.known(in.Site, in.Name)
	if !ok || in.Name == "" || site.Sources[in.Name].OnlyBy != "" {
		return
	}
	d.emit(&DirectLost{Site: in.Site, Name: in.Name, Via: in.Via, Since: in.Since})
	if site.lostAt.IsZero() {
		site.lostAt = d.now
		site.lookAt(d.now.Add(lostTogether))
	}
}

func (d *decider) direct(in Direct) {
	if site, ok := d.known(in.Site, in.Name); ok && in.Name != "" && site.Sources[in.Name].OnlyBy != "" {
		d.emit(&DirectBack{Site: in.Site, Name: in.Name})
	}
}

// lookAt has the site looked at then for what is missing: not at each step, since there may
// be thousands.
func (s *Site) lookAt(at time.Time) {
	if s.look.IsZero() || at.Before(s.look) {
		s.look = at
	}
}

// settleMissing tells of what is there and yet not as it should be: nodes that were never
// heard (rule H7), and those that only a Pi hears (rule H10).
func (d *decider) settleMissing(site *Site) {
	if site.look.IsZero() || !d.due(site.look) {
		return
	}
	site.look = time.Time{}
	var pending, lost []*Source
	for _, src := range site.covered("") {
		switch {
		case !site.maintained(src).IsZero(): // its end looks again
		case src.Condition == Pending && !src.expected.IsZero() && d.cfg.Times.PendingNotice > 0:
			if at := src.expected.Add(d.cfg.Times.PendingNotice); d.due(at) {
				pending = append(pending, src)
			} else {
				site.lookAt(at)
			}
		case src.Condition == Up && src.OnlyBy != "":
			lost = append(lost, src)
		}
	}
	d.tellOfSeveral(site, aboutPending+site.Name, pending, d.saidPending)
	lost = d.untoldOf(aboutDirect+site.Name, lost)
	if len(lost) > 0 && site.lostAt.IsZero() { // an earlier process saw it, or it was in maintenance
		site.lostAt = d.now
	}
	switch {
	case len(lost) == 0:
		site.lostAt = time.Time{}
	case d.due(site.lostAt.Add(lostTogether)):
		site.lostAt = time.Time{}
		d.tellOfSeveral(site, aboutDirect+site.Name, lost, saidIndirect)
	default:
		site.lookAt(site.lostAt.Add(lostTogether))
	}
}

// untoldOf are those of which such a notice has not told yet.
func (d *decider) untoldOf(about string, srcs []*Source) []*Source {
	told := d.toldOf(about)
	return slices.DeleteFunc(slices.Clone(srcs), func(src *Source) bool { return slices.Contains(told, src.Name) })
}

// tellOfSeveral tells once of each source, and of several at a time in one notice.
func (d *decider) tellOfSeveral(site *Site, about string, srcs []*Source, say func([]*Source) string) {
	fresh := d.untoldOf(about, srcs)
	if len(fresh) == 0 {
		return
	}
	names := d.toldOf(about)
	for _, src := range fresh {
		names = append(names, src.Name)
	}
	slices.Sort(names)
	d.emit(&Noticed{Site: site.Name, Text: say(fresh), About: about, As: strings.Join(names, ", "), Severity: routing.Warning})
}

func (d *decider) saidPending(srcs []*Source) string {
	program := "pi-proxy"
	if slices.ContainsFunc(srcs, func(src *Source) bool { return src.Role != Pi }) {
		program = "the agent"
	}
	heard, since := "is expected, and has", srcs[0].expected
	if len(srcs) > 1 {
		heard = "are expected, and have"
	}
	for _, src := range srcs {
		since = later(since, src.expected)
	}
	return fmt.Sprintf("%s %s not been heard for %s; is %s installed and running there?",
		list(namesOf(srcs)), heard, power.Spell(d.now.Sub(since)), program)
}

func saidIndirect(srcs []*Source) string {
	var vias []string
	for _, src := range srcs {
		if !slices.Contains(vias, src.OnlyBy) {
			vias = append(vias, src.OnlyBy)
		}
	}
	names, through := list(namesOf(srcs)), list(vias)
	switch len(srcs) {
	case 1:
		return fmt.Sprintf("%s is heard through %s alone; its Tailscale is down", names, through)
	case 2:
		return fmt.Sprintf("%s are heard through %s alone; their Tailscale is down", names, through)
	default:
		return fmt.Sprintf("%s are heard through %s alone; the tailnet of these machines, or the brain's way to them, is down", names, through)
	}
}

func namesOf(srcs []*Source) []string {
	names := make([]string, 0, len(srcs))
	for _, src := range srcs {
		names = append(names, src.Name)
	}
	return names
}

// settleStopping tells of a host that has been shutting down for very long, once in each
// of its boots (rule A5).
func (d *decider) settleStopping(site *Site, src *Source) {
	n := &Noticed{Site: site.Name, About: aboutStopping + src.Name, As: src.Boot, Severity: routing.Warning}
	if src.Condition != Up || src.stopping.IsZero() || d.cfg.Times.StoppingNotice <= 0 || d.Told[n.About] == n.As ||
		!site.maintained(src).IsZero() || !d.due(src.stopping.Add(d.cfg.Times.StoppingNotice)) {
		return
	}
	n.Text = fmt.Sprintf("%s has been shutting down for %s and still sends heartbeats; something there does not stop (systemctl list-jobs tells what)",
		src.Name, power.Spell(d.now.Sub(src.stopping)))
	d.emit(n)
}

// cloned notes a second machine under a name, which is watched by itself from then on
// (rule H11).
func (d *decider) cloned(in Cloned) {
	site := d.site(in.Site)
	if as := site.Sources[in.As]; as == nil || as.CloneOf == "" {
		d.emit(&CloneSeen{Site: in.Site, Name: in.Name, As: in.As})
		d.emit(&Noticed{Site: in.Site, Severity: routing.Warning, Text: fmt.Sprintf("two machines call themselves %s, most likely one is a clone of the other; "+
			"the second is watched as %s. Give one of them its own name and key", in.Name, in.As)})
	}
	d.heard(Heard{Site: in.Site, Name: in.As, Role: d.role(site, in.Name), Boot: in.Boot})
}
