package brain

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"sentinel.home.arpa/cloud/internal/sentinel"
	"sentinel.home.arpa/cloud/internal/web"
	"sentinel.home.arpa/shared/courier"
	"sentinel.home.arpa/shared/shutdown"
)

const (
	// lookEach is how often guests are looked for that a run of the plan told, once it is over.
	lookEach = time.Minute
	// offToldFor is for how long one that stays off is told of.
	offToldFor = 7 * 24 * time.Hour
)

// left are a site's guests that runs of the plan told to shut down, until they are seen to run.
type left struct {
	guests  map[string]*leftGuest
	runs    map[string]bool // whose guests are among them, or were, as long as the site knows them
	looking bool
	looked  time.Time
}

// leftGuest is one of them. Of a run of a Pi's only its name is known.
type leftGuest struct {
	shutdown.Target
	at   time.Time // when it was told
	may  time.Time // until when that may still have it go down
	runs bool      // as last seen
	off  bool
	mute string // why its node did not tell whether it runs
}

// sighting is what was seen of a site's guests.
type sighting struct {
	site   string
	runs   map[string][]shutdown.Target // by node
	failed map[string]error
}

// over reports whether a site's run has ended, as has what it was about.
func (b *Brain) over(site *sentinel.Site) bool {
	for _, id := range []string{site.RunIncident, site.RunCause} {
		if i := b.state.Incidents[id]; i != nil && i.Open() {
			return false
		}
	}
	return site.Run == nil || site.Run.Over()
}

// noteLeft takes down the guests of runs that are over by now.
func (b *Brain) noteLeft(now time.Time) {
	for name, site := range b.state.Sites {
		l := b.left[name]
		if l == nil {
			l = &left{guests: map[string]*leftGuest{}, runs: map[string]bool{}}
			b.left[name] = l
		}
		if r := site.Run; r != nil && !r.DryRun && !l.runs[r.ID] && b.over(site) && !r.PutsBack() {
			l.runs[r.ID] = true
			for _, p := range r.Targets {
				if p.Target.Kind == shutdown.Guest && p.Tries > 0 {
					l.add(p.Target, p.SentAt, r.Plan)
				}
			}
			for _, t := range r.Owed {
				l.add(t, r.Begun, r.Plan)
			}
		}
		plan := b.plan(name)
		if r := site.PiRun; r != nil && plan != nil && !r.DryRun && !l.runs[r.ID] && !r.State.Open() && !b.out(name) {
			l.runs[r.ID] = true
			for _, t := range r.Targets {
				if t.Kind == shutdown.Guest && slices.Contains([]string{"told", "down", "late", shutdown.NotBack}, t.State) {
					l.add(shutdown.Target{Kind: t.Kind, Name: t.Name}, site.PiRunAt, *plan)
				}
			}
		}
		maps.DeleteFunc(l.runs, func(id string, _ bool) bool { return !keepsRun(site, id) })
		maps.DeleteFunc(l.guests, func(_ string, g *leftGuest) bool {
			return now.Sub(g.at) > offToldFor || site.LeavesOff(g.Target.Said(), g.at)
		})
	}
}

// keepsRun reports whether a site knows a run still, so that it may come by again.
func keepsRun(site *sentinel.Site, id string) bool {
	for _, k := range site.PiRuns {
		if k.Run.ID == id {
			return true
		}
	}
	return site.Run != nil && site.Run.ID == id || site.PiRun != nil && site.PiRun.ID == id
}

// add keeps a guest that may go down for as long as its stage would have lasted, and a while.
func (l *left) add(t shutdown.Target, at time.Time, plan shutdown.Plan) {
	may := at
	for _, s := range plan.Stages {
		if m := at.Add(s.Deadline + 2*time.Minute); takesGuests(s) && m.After(may) {
			may = m
		}
	}
	for _, g := range l.guests {
		if t.VMID == 0 && g.Said() == t.Said() {
			return // with its number
		}
	}
	l.guests[t.ID()+t.Said()] = &leftGuest{Target: t, at: at, may: may}
}

// seekLeft has the nodes asked which of their guests run again.
func (b *Brain) seekLeft(ctx context.Context, now time.Time) {
	for site, l := range b.left {
		plan := b.plan(site)
		if plan == nil || len(l.guests) == 0 || l.looking || now.Sub(l.looked) < lookEach || b.out(site) {
			continue
		}
		l.looking, l.looked = true, now
		b.wg.Go(func() {
			seen := b.see(ctx, *plan)
			select {
			case b.sighted <- seen:
			case <-ctx.Done():
			}
		})
	}
}

func (b *Brain) see(ctx context.Context, plan shutdown.Plan) sighting {
	s := sighting{site: plan.Site, failed: map[string]error{}}
	ctx, cancel := context.WithTimeout(ctx, listWithin)
	defer cancel()
	fleet, err := b.fleet(plan, courier.ToAsk)
	if err != nil {
		for _, n := range plan.Nodes {
			s.failed[n.Name] = err
		}
		return s
	}
	defer fleet.Close()
	s.runs, s.failed = listGuests(ctx, fleet, plan.Nodes)
	return s
}

// takeSighting drops those that run, wherever, and learns who is off.
func (b *Brain) takeSighting(s sighting, now time.Time) {
	l := b.left[s.site]
	l.looking = false
	for id, g := range l.guests {
		runs := func(t shutdown.Target) bool {
			return g.VMID == t.VMID && g.Type == t.Type || g.VMID == 0 && g.Said() == t.Said()
		}
		silent := ""
		for node, err := range s.failed {
			if node == g.Node || g.Node == "" {
				silent = fmt.Sprintf("%s does not tell: %s", node, err)
			}
		}
		if _, asked := s.runs[g.Node]; !asked && silent == "" && g.Node != "" {
			silent = g.Node + " is not asked, as the plan does not name it any more"
		}
		found := slices.ContainsFunc(slices.Collect(maps.Values(s.runs)), func(ts []shutdown.Target) bool { return slices.ContainsFunc(ts, runs) })
		if found && !now.Before(g.may) {
			delete(l.guests, id)
			continue
		}
		g.runs, g.off, g.mute = found, !found && silent == "", silent
	}
}

// The states of what a run of the plan has left.
const (
	isOff      = "off"
	isStarting = "starting"
	isUnknown  = "unknown"
)

// offView is what runs of the plan have left off, or may have, now that the power is back.
func (b *Brain) offView(site *sentinel.Site) []web.Off {
	if b.out(site.Name) || !b.over(site) {
		return nil
	}
	said := func(at time.Time) string {
		return web.Until(b.clock.Shown(at).In(b.zone(site.Name)), b.machine.wall())
	}
	var all []web.Off
	away := map[string]bool{}
	for _, name := range slices.Sorted(maps.Keys(site.Sources)) {
		src := site.Sources[name]
		i := b.state.Incidents[src.Incident]
		if src.ToldBoot == "" || src.ToldBoot != src.Boot || src.Maintained || src.Condition != sentinel.Off && src.Condition != sentinel.Failed || i != nil && i.Open() {
			continue
		}
		away[name] = true
		if site.LeavesOff(name, src.Last) {
			continue
		}
		all = append(all, web.Off{Name: name, State: isOff, Text: fmt.Sprintf("%s was told to shut down and is off still, last heard at %s; switch it on", name, said(src.Last))})
	}
	if r := site.Run; r != nil && r.PutsBack() {
		for _, g := range r.Back.Guests {
			switch on := onNode(g.Target); {
			case g.Done():
			case g.Stopped:
				all = append(all, web.Off{Name: g.Target.Said(), Node: g.Target.Node, State: isStarting, Text: on + " is being started again"})
			default:
				all = append(all, web.Off{Name: g.Target.Said(), Node: g.Target.Node, State: isStarting,
					Text: fmt.Sprintf("%s was told to shut down, and is started again if it is off by %s", on, said(g.Until))})
			}
		}
	}
	if l := b.left[site.Name]; l != nil {
		for _, g := range slices.SortedFunc(maps.Values(l.guests), func(x, y *leftGuest) int {
			return cmp.Or(cmp.Compare(x.Node, y.Node), cmp.Compare(x.VMID, y.VMID), cmp.Compare(x.Name, y.Name))
		}) {
			if !away[g.Node] && !g.runs {
				all = append(all, g.said(said(g.at)))
			}
		}
	}
	return all
}

func (g *leftGuest) said(at string) web.Off {
	o := web.Off{Name: g.Target.Said(), Node: g.Node, State: isUnknown}
	told := fmt.Sprintf("%s was told to shut down at %s", onNode(g.Target), at)
	switch {
	case g.off:
		o.State, o.Text = isOff, told+" and is off still; "+startsBy(g.Target)
	case g.mute != "":
		o.Text = told + "; whether it runs is not known, since " + g.mute
	default:
		o.Text = told + "; whether it runs is not known yet"
	}
	return o
}

func onNode(t shutdown.Target) string {
	if t.Node == "" {
		return t.Said()
	}
	return t.Said() + " on " + t.Node
}

// startsBy is how a person starts a guest.
func startsBy(t shutdown.Target) string {
	tool := map[string]string{"qemu": "qm", "lxc": "pct"}[t.Type]
	if tool == "" || t.VMID == 0 {
		return "start it in Proxmox"
	}
	return fmt.Sprintf("start it with `%s start %d` on %s", tool, t.VMID, t.Node)
}

// leftSaid is the verdict on what is off still of what the plan shut down; empty: nothing is.
func leftSaid(sites []web.Site) string {
	for _, state := range []string{isOff, isStarting, isUnknown} {
		for _, s := range sites {
			var names []string
			for _, o := range s.Off {
				if o.State == state {
					names = append(names, o.Name)
				}
			}
			if len(names) == 0 {
				continue
			}
			is, it, runs := "are", "them", "run"
			if len(names) == 1 {
				is, it, runs = "is", "it", "runs"
			}
			who := few(names) + " at " + s.Name
			switch state {
			case isOff:
				return sentence(fmt.Sprintf("%s %s off still, since the plan shut %s down.", who, is, it))
			case isStarting:
				return sentence(fmt.Sprintf("%s %s being started again.", who, is))
			}
			return fmt.Sprintf("Whether %s %s again is not known yet.", who, runs)
		}
	}
	return ""
}
