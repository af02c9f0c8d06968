package brain

import (
	"context"
	"fmt"
	"slices"
	"time"

	"sentinel.home.arpa/cloud/internal/journal"
	"sentinel.home.arpa/cloud/internal/liveness"
	"sentinel.home.arpa/cloud/internal/notify"
	"sentinel.home.arpa/cloud/internal/sentinel"
	"sentinel.home.arpa/shared/calls"
	"sentinel.home.arpa/shared/power"
	"sentinel.home.arpa/shared/shutdown"
	"sentinel.home.arpa/shared/twilio"
)

// effect does what a fact asks for. The fact is in the journal by now.
func (b *Brain) effect(ctx context.Context, e journal.Entry) {
	switch f := e.Fact.(type) {
	case *sentinel.CallRequested:
		b.placeCall(ctx, e.At, &sentinel.Call{ID: f.Call, Incident: f.Incident, Contact: f.Contact, Other: f.Other, Test: f.Test}, false)
	case *sentinel.CallDropped:
		b.caller.Drop(f.Call)
	case *sentinel.NoticeRequested:
		b.sendNotice(ctx, &sentinel.Notice{ID: f.Notice, Contact: f.Contact, Channel: f.Channel, Site: f.Site, Incident: f.Incident, Kind: f.Kind,
			Severity: f.Severity, Over: f.Over, Subject: f.Subject, Text: f.Text, Requested: e.At})
	case *sentinel.KeyPressed:
		if k := b.keypad.Load(); k != nil {
			k.took(f)
		}
	case *sentinel.CallEnded:
		if k := b.keypad.Load(); k != nil {
			k.over(f.Call)
		}
	case *sentinel.BlindEnded:
		b.table.Restart(b.clock.Now(), b.wereUp())
	case *sentinel.KeyBound: // here, or the bundles would lack it
		b.learn(*f)
		b.renewBundles()
	case *sentinel.PlanArmed, *sentinel.PlanDisarmed:
		b.renewBundles()
	case *sentinel.IncidentOpened:
		if sc := b.set.Load().site(f.Site); f.Kind == sentinel.PowerOutage || f.Kind == sentinel.NodeFailure && sc != nil && sc.OnFailure {
			b.survey(ctx, f.Site)
		}
	case *sentinel.RunStepped:
		b.runStepped(ctx, f)
	}
}

// leftovers are what an earlier process left: calls that may or may not have been placed,
// none of which may be taken for another's, notices, and the watch over a run. What this process
// begins by itself before they are resumed is not among them.
func (b *Brain) leftovers() (resume func(ctx context.Context)) {
	calls, notices := b.state.OpenCalls(), b.state.OpenNotices()
	runs := map[string]*shutdown.Run{}
	for _, site := range b.state.Sites {
		if site.Run != nil && (!site.Run.Over() || site.Run.PutsBack()) {
			runs[site.Name] = site.Run
		}
	}
	return func(ctx context.Context) { b.resume(ctx, calls, notices, runs) }
}

func (b *Brain) resume(ctx context.Context, calls []*sentinel.Call, notices []*sentinel.Notice, runs map[string]*shutdown.Run) {
	b.renewBundles()
	known := func(calls []*sentinel.Call) {
		for _, c := range calls {
			if c.SID != "" {
				b.caller.Known(c.SID)
			}
		}
	}
	known(b.state.Tests)
	for _, i := range b.state.Incidents {
		known(i.Calls)
	}
	for _, c := range calls {
		if !c.Open() {
			continue
		}
		b.placeCall(ctx, c.Requested, c, true)
		if c.Dropped {
			b.caller.Drop(c.ID)
		}
	}
	for _, n := range notices { // which may have been delivered: rather twice than never
		b.sendNotice(ctx, n)
	}
	for site, run := range runs {
		if now := b.state.Sites[site]; now != nil && now.Run == run && (!run.Over() || run.PutsBack()) { // or it is no longer configured
			b.watchRun(ctx, site, run)
		}
	}
}

func (b *Brain) placeCall(ctx context.Context, decided time.Time, c *sentinel.Call, doubtful bool) {
	i := b.state.Incidents[c.Incident]
	number, text, err := "", "", error(nil)
	to := b.cfg().tongueOf(c.Contact)
	switch {
	case c.Test != "":
		number = b.set.Load().numbers[c.Contact]
		text, err = notify.Shipped().Say(testStory(c.Contact), to.language)
	case i != nil:
		number = b.set.Load().numbers[c.Contact]
		text, err = b.say(i, c.Contact, to)
	}
	switch {
	case b.phone == nil || number == "":
		err = fmt.Errorf("there is no way to call %s", c.Contact)
	case err == nil:
		says := b.withKeys(c, i, calls.Speech{Text: text, Language: to.code, Voice: to.voice}, to)
		b.caller.Call(ctx, calls.Order{ID: c.ID, Number: number, Speech: says, Late: b.late(i, says, to),
			Age: func() time.Duration { return b.clock.Now().Sub(decided) }, SID: c.SID, Doubtful: doubtful, Urgent: !c.Other, MayAsk: doubtful && b.keypad.Load() != nil && i != nil})
		return
	}
	b.log.Error("call not placed", "call", c.ID, "err", err)
	b.later(ctx, sentinel.CallHasEnded{Call: c.ID, Outcome: err.Error()})
}

// withKeys has a call ask for keys where they work. One whose text leaves no room for them goes
// without: then who takes it counts. So does a test call, in which nothing has happened.
func (b *Brain) withKeys(c *sentinel.Call, i *sentinel.Incident, s calls.Speech, to tongue) calls.Speech {
	k := b.keypad.Load()
	if k == nil || i == nil {
		return s
	}
	address, prompt, bye, err := k.begin(c, spoken{texts: b.set.Load().texts, text: s.Text, to: to, stoppable: b.stoppable(i)})
	if err == nil && address == "" {
		return s
	}
	if err == nil {
		_, err = twilio.AskTwice(s.Text, s.Voice, s.Language, twilio.Keys{Action: address, Prompt: prompt, Bye: bye})
	}
	if err != nil {
		b.log.Warn("the call goes without keys", "call", c.ID, "err", err)
		return s
	}
	s.Keys, s.Prompt, s.Bye = address, prompt, bye
	return s
}

// staleAfter is from when a call says that it is late: its text tells how it was.
const staleAfter = 2 * time.Minute

// late is what a call says first that could not be placed for a while. One whose text leaves no room for it
// goes without.
func (b *Brain) late(i *sentinel.Incident, s calls.Speech, to tongue) func() string {
	if i == nil { // nothing has happened
		return nil
	}
	made := b.clock.Now()
	first, err := b.set.Load().texts.SayLate(b.clock.Shown(made).In(b.zone(i.Site)), to.language)
	if err == nil && s.Keys != "" {
		_, err = twilio.AskTwice(first+" "+s.Text, s.Voice, s.Language, twilio.Keys{Action: s.Keys, Prompt: s.Prompt, Bye: s.Bye})
	} else if err == nil {
		_, err = twilio.SayTwice(first+" "+s.Text, s.Voice, s.Language)
	}
	if err != nil {
		b.log.Warn("the call cannot say if it is late", "incident", i.ID, "err", err)
		return nil
	}
	return func() string {
		if b.clock.Now().Sub(made) < staleAfter {
			return ""
		}
		return first
	}
}

// stoppable reports whether a call offers to stop the plan: not where it says that nothing is shut down.
func (b *Brain) stoppable(i *sentinel.Incident) bool {
	site := b.state.Sites[i.Site]
	if site == nil || !site.Stoppable() {
		return false
	}
	p := b.planStory(site, i)
	return p.Exists && p.Armed || p.Begun || p.ByPi
}

// later submits from within the loop, which must not wait for itself.
func (b *Brain) later(ctx context.Context, in sentinel.Input) {
	b.wg.Go(func() {
		if err := b.submit(ctx, in); err != nil && ctx.Err() == nil {
			b.log.Error("input lost", "input", fmt.Sprintf("%T", in), "err", err)
		}
	})
}

// fineFor is how old the last word of a node may be that is said to be fine: beyond it, it may be
// about to fail as well.
const fineFor = 5 * time.Second

// story gathers what is said about an incident, as of now.
func (b *Brain) story(i *sentinel.Incident, contact string) notify.Story {
	now := b.clock.Now()
	s := notify.Story{Kind: string(i.Kind), Contact: contact, Site: i.Site,
		Since: b.clock.Shown(i.Since).In(b.zone(i.Site)), Nodes: i.Nodes}
	s.Worse, s.Again = b.alarmed(i, contact)
	if i.Kind == sentinel.NodeFailure && i.UPS != "" { // rule U9; its fact named that one alone once
		s.Cause = &notify.Cause{UPSes: i.Lost.UPSes, Broken: i.Lost.Broken}
		if len(i.Lost.UPSes) == 0 {
			s.Cause.UPSes = []string{i.UPS}
		}
	}
	site := b.state.Sites[i.Site]
	if site == nil { // it is of none
		return s
	}
	for _, src := range site.Sources {
		last, _, heard := b.table.Last(liveness.Key{Site: site.Name, Name: src.Name})
		leaves := src.Announced != nil || src.ToldBoot != "" && src.ToldBoot == src.Boot
		switch {
		case src.Role == sentinel.Pi:
			s.PiHeard = s.PiHeard || src.Condition == sentinel.Up
		case slices.Contains(i.Nodes, src.Name):
		case src.Condition == sentinel.Off && !src.Maintained, src.Condition == sentinel.Up && leaves:
			s.Off++
		case src.Condition == sentinel.Up && heard && now.Sub(last) <= fineFor:
			s.Others++
		}
	}
	fresh := b.core().Times.ReportFresh
	for _, u := range site.UPSes {
		r, ok := u.Reading(now, fresh)
		s.OnMains = s.OnMains || ok && r.Supply == power.Mains
	}
	if on := site.OnBatteryNow(now, fresh); len(on) > 0 { // of several the worst is told of
		r := on[0]
		s.OnBattery, s.Charge = true, r.Charge
		if r.Runtime != nil {
			d := r.Runtime.Duration()
			s.Runtime = &d
		}
		if r.LostFor != nil {
			s.Heard = r.LostFor.Duration()
		}
	}
	s.Plan = b.planStory(site, i)
	if s.Worse != nil && s.Worse.Kind == worsenings()[sentinel.PlanBegins] && s.Plan.Rehearsed {
		s.Worse.Kind = "rehearsal"
	}
	return s
}

func (b *Brain) planStory(site *sentinel.Site, i *sentinel.Incident) notify.PlanStory {
	p := notify.PlanStory{Armed: site.Armed, Guests: b.guests[site.Name]}
	plan := b.plan(site.Name)
	if plan == nil {
		return p
	}
	p.Exists, p.Nodes = true, len(plan.Nodes)
	for _, s := range plan.Stages {
		p.Nodes += len(s.Hosts)
	}
	if sc := b.set.Load().site(site.Name); sc != nil {
		p.Offline = sc.InternetAfter
	}
	p.Spared = b.spared(site)
	ran := site.Run != nil && site.RunIncident == i.ID && !site.Run.Begun.Before(i.Since)
	if r := site.Run; ran && !r.DryRun {
		p.Begun, p.Through, p.Stopped = true, r.Finished, r.Stopped != ""
		if r.Scoped() {
			p.Nodes = len(r.Called)
			p.StayOn = len(r.Plan.Machines()) - p.Nodes
		}
		for _, t := range r.Targets {
			if t.Late && t.Target.Kind != shutdown.Listing {
				p.Late++
			}
		}
	}
	p.Rehearsed = ran && site.Run.DryRun
	if r := site.PiRun; r != nil && !r.DryRun && !site.PiRunAt.Before(i.Since) && (r.On == shutdown.ForPower || i.Kind == sentinel.InternetOutage) {
		piStory(&p, r)
	}
	return p
}

// spared reports whether nothing goes down while the one UPS is out that does not have mains (rule U7).
func (b *Brain) spared(site *sentinel.Site) bool {
	sc := b.set.Load().site(site.Name)
	if sc == nil || sc.Plan == nil || sc.Plan.Wiring == nil {
		return false
	}
	var out []string
	for ups := range sc.Plan.Wiring.Feeds {
		u := site.UPSes[ups]
		if u == nil {
			return false
		}
		if r, ok := u.Reading(b.clock.Now(), b.core().Times.ReportFresh); !ok || r.Supply != power.Mains || r.LostFor != nil {
			out = append(out, ups)
		}
	}
	return len(out) == 1 && len(calledBy(*sc.Plan, sc.Policy, out[0])) == 0
}

// piStory adds what the Pi has done by itself, which counts more than a run of the brain's own
// that it took over.
func piStory(p *notify.PlanStory, r *shutdown.Status) {
	p.ByPi = r.State.Open()
	p.Stopped = p.Stopped || r.State == shutdown.Stopped && !p.Begun
	if r.State != shutdown.HasEnded || p.Through {
		return
	}
	p.Through, p.Late = true, 0
	for _, t := range r.Targets {
		if t.State == "late" {
			p.Late++
		}
	}
}

// plan is the site's, or nil.
func (b *Brain) plan(site string) *shutdown.Plan {
	for _, s := range b.core().Sites {
		if s.Name == site {
			return s.Plan
		}
	}
	return nil
}
