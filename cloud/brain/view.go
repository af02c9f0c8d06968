package brain

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"sentinel.home.arpa/cloud/internal/liveness"
	"sentinel.home.arpa/cloud/internal/sentinel"
	"sentinel.home.arpa/cloud/internal/web"
	"sentinel.home.arpa/shared/power"
	"sentinel.home.arpa/shared/shutdown"
	"sentinel.home.arpa/shared/wire"
)

// view is what the loop lets others see of its state, as of one turn.
type view struct {
	at       time.Time // the brain's time
	mandates map[string]wire.Mandate
	supply   map[string]power.Supply // mains only if no UPS of the site is on battery
	open     map[string]bool         // the incidents that go on, by id
	unsaved  bool                    // the journal is not written
	run      map[string]string       // the id of the run that is under way
	page     *web.View
}

// incidentsShown is how many incidents the page lists.
const incidentsShown = 20

// publish makes a new view after each turn.
func (b *Brain) publish() {
	now := b.clock.Now()
	v := &view{at: now, unsaved: b.broken, mandates: map[string]wire.Mandate{}, supply: map[string]power.Supply{}, run: map[string]string{}, open: map[string]bool{}}
	for _, i := range b.state.OpenIncidents() {
		v.open[i.ID] = true
	}
	for name, site := range b.state.Sites {
		epoch, run, id := b.state.Mandate(name, now)
		v.mandates[name] = wire.Mandate{Epoch: epoch, Run: run, RunID: id}
		v.supply[name] = supplyOf(site)
		if r := site.Run; r != nil && !r.Over() {
			v.run[name] = r.ID
		}
	}
	for site, p := range b.performers {
		looks := b.state.Sites[site].Run.Looks()
		p.looks.Store(&looks)
	}
	v.page = b.pageView(now)
	b.view.Store(v)
}

func supplyOf(site *sentinel.Site) power.Supply {
	if _, on := site.OnBattery(); on {
		return power.Battery
	}
	for _, u := range site.UPSes {
		return u.Supply
	}
	return power.Unknown
}

func (b *Brain) pageView(now time.Time) *web.View {
	v := &web.View{At: b.machine.wall(), Calls: map[string]int{}, Waiting: b.waiting(), Warnings: slices.Clone(b.warnings)}
	if b.armingUnknown() {
		v.Warnings = append(v.Warnings, armingWarning)
	}
	if b.broken { // rule R3: act, and say so
		v.Warnings = append(v.Warnings, "The journal cannot be written; a restart now would forget what has happened since.")
	}
	if b.tailnet != nil {
		if trouble := tailnetTrouble(b.tailnet.Status()); trouble != "" {
			v.Warnings = append(v.Warnings, trouble)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(b.state.Sites)) {
		v.Sites = append(v.Sites, b.siteView(b.state.Sites[name], now))
	}
	incidents := slices.SortedFunc(maps.Values(b.state.Incidents), func(x, y *sentinel.Incident) int {
		if x.Open() != y.Open() {
			return map[bool]int{true: -1, false: 1}[x.Open()]
		}
		return cmp.Or(y.Opened.Compare(x.Opened), strings.Compare(x.ID, y.ID))
	})
	for n, i := range incidents {
		for _, c := range i.Calls {
			v.Calls[outcome(c)]++
		}
		if n < incidentsShown {
			v.Incidents = append(v.Incidents, b.incidentView(i))
		}
	}
	for _, e := range slices.Backward(b.timeline) {
		v.Timeline = append(v.Timeline, web.Entry{At: e.Wall.In(b.zone(sentinel.SiteOf(e.Fact))), Text: sentinel.Sentence(e.Fact)})
	}
	v.Verdict = b.verdict(now)
	return v
}

// waiting are the machines that nobody knows, and how each is approved.
func (b *Brain) waiting() []web.Stranger {
	var out []web.Stranger
	for _, s := range b.identities.Waiting() {
		w := web.Stranger{Name: s.Name, Site: s.Site, Role: string(s.Role), Key: string(s.Key), StableID: s.StableID, From: s.From, Why: s.Why, Hold: s.Hold,
			First: b.clock.Shown(s.First).In(b.zone(s.Site)), Last: b.clock.Shown(s.Last).In(b.zone(s.Site))}
		if s.Hold == "" {
			w.Command = fmt.Sprintf("sudo sentinel-cloud approve %s --key %s", s.Name, s.Key)
			if s.Site == "" {
				w.Command += " --site SITE"
			}
		}
		out = append(out, w)
	}
	return out
}

func (b *Brain) siteView(site *sentinel.Site, now time.Time) web.Site {
	s := web.Site{Name: site.Name, Armed: site.Armed, HasPlan: b.plan(site.Name) != nil}
	for _, i := range b.state.OpenIncidents() {
		if i.Site == site.Name {
			s.OpenIncidents++
		}
	}
	for _, name := range slices.Sorted(maps.Keys(site.UPSes)) {
		s.UPSes = append(s.UPSes, b.upsView(site.UPSes[name], now))
	}
	for _, name := range slices.Sorted(maps.Keys(site.Sources)) {
		src := site.Sources[name]
		w := web.Source{Name: name, Role: string(src.Role), Condition: string(src.Condition), Note: b.note(site.Name, src)}
		if last, _, ok := b.table.Last(liveness.Key{Site: site.Name, Name: name}); ok {
			w.Heard, w.Age = true, now.Sub(last)
		}
		s.Sources = append(s.Sources, w)
	}
	if site.Run != nil {
		s.Runs = append(s.Runs, runView("The plan", site.Run.Status(now, site.Epoch)))
	}
	if site.PiRun != nil {
		s.Runs = append(s.Runs, runView("The Pi's own run", site.PiRun))
	}
	return s
}

func (b *Brain) upsView(u *sentinel.UPS, now time.Time) web.UPS {
	w := web.UPS{Name: u.Name, Supply: string(u.Supply), OnBattery: u.Supply == power.Battery, Stale: true}
	r, ok := u.Reading(now, b.core.Times.ReportFresh)
	if !ok {
		w.For = now.Sub(u.Since)
		return w
	}
	w.For, w.Charge, w.Load = r.For.Duration(), r.Charge, r.Load
	if r.Runtime != nil {
		d := r.Runtime.Duration()
		w.Runtime = &d
	}
	if r.LostFor != nil {
		w.Age = r.LostFor.Duration()
	}
	w.Stale = w.Age > 2*piReportEach
	return w
}

// piReportEach is how often a Pi reports while nothing happens.
const piReportEach = 5 * time.Second

func (b *Brain) note(site string, src *sentinel.Source) string {
	switch {
	case src.Condition == sentinel.Failed && src.Incident != "":
		return "behind " + src.Incident
	case src.Condition == sentinel.Off && !src.BackBy.IsZero():
		return "planned, back by " + b.clock.Shown(src.BackBy).In(b.zone(site)).Format("15:04")
	case src.Condition == sentinel.Off:
		return "planned"
	case src.Condition == sentinel.Up && src.Announced != nil:
		return "announced its " + src.Announced.Kind
	}
	return ""
}

func runView(title string, s *shutdown.Status) web.Run {
	w := web.Run{ID: s.ID, Title: title + " " + runWords(s.State), State: string(s.State), Reason: s.Reason, DryRun: s.DryRun, Stage: s.Stage + 1}
	if s.DryRun {
		w.Title = title + " was only rehearsed"
	}
	for _, t := range s.Targets {
		w.Targets = append(w.Targets, web.Target{Name: t.Name, State: t.State, Why: t.Why})
	}
	return w
}

func runWords(s shutdown.State) string {
	switch s {
	case shutdown.HasEnded:
		return "is through"
	case shutdown.Stopped:
		return "was stopped"
	case shutdown.Advancing:
		return "advances"
	default:
		return "has begun"
	}
}

func (b *Brain) incidentView(i *sentinel.Incident) web.Incident {
	w := web.Incident{ID: i.ID, Kind: string(i.Kind), Site: i.Site, Since: b.clock.Shown(i.Since).In(b.zone(i.Site)), Open: i.Open(),
		Why: i.Why, Outcome: i.Outcome, Nodes: slices.Clone(i.Nodes), Answered: i.Answered}
	for _, c := range i.Calls {
		w.Calls = append(w.Calls, web.Call{Contact: c.Contact, At: b.clock.Shown(c.Requested).In(b.zone(i.Site)), Outcome: outcome(c)})
	}
	return w
}

func outcome(c *sentinel.Call) string {
	switch {
	case c.Delivered:
		return "answered"
	case !c.Open():
		return c.Outcome
	case c.SID != "":
		return "placed"
	default:
		return "being placed"
	}
}

// verdict is the one sentence that the page begins with.
func (b *Brain) verdict(now time.Time) string {
	if !b.state.Blind.IsZero() {
		return "The sentinel itself is offline; nothing is known."
	}
	open := b.state.OpenIncidents()
	if len(open) == 0 {
		return "All well."
	}
	weight := map[sentinel.IncidentKind]int{sentinel.PowerOutage: -2, sentinel.InternetOutage: -1}
	i := slices.MinFunc(open, func(x, y *sentinel.Incident) int { return weight[x.Kind] - weight[y.Kind] })
	text := ""
	switch i.Kind {
	case sentinel.PowerOutage:
		text = fmt.Sprintf("On battery at %s for %s.", i.Site, power.Spell(now.Sub(i.Since)))
	case sentinel.InternetOutage:
		text = fmt.Sprintf("%s has been out of reach for %s.", i.Site, power.Spell(now.Sub(i.Since)))
	default:
		text = fmt.Sprintf("%s at %s failed %s ago.", strings.Join(i.Nodes, ", "), i.Site, power.Spell(now.Sub(i.Since)))
	}
	switch {
	case i.Answered != "":
		text += " " + i.Answered + " knows."
	case len(i.Calls) > 0:
		text += " You were called, not yet answered."
	}
	if len(open) > 1 {
		text += fmt.Sprintf(" And %d more.", len(open)-1)
	}
	return text
}
