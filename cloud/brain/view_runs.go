package brain

import (
	"slices"
	"time"

	"sentinel.home.arpa/cloud/internal/sentinel"
	"sentinel.home.arpa/cloud/internal/web"
	"sentinel.home.arpa/shared/shutdown"
)

// runsView are the site's runs: the brain's last, and a Pi's. Of one that is over, as what it
// was about is, it is only said when it was.
func (b *Brain) runsView(site *sentinel.Site, now time.Time) []web.Run {
	var runs []web.Run
	if r := site.Run; r != nil {
		i := b.state.Incidents[site.RunIncident]
		w := runView("The plan", r.Status(now, site.Epoch))
		w.Now = runNow(r, now)
		w.Next = runNext(r, func(t time.Time) string { return b.clock.Shown(t).In(b.zone(site.Name)).Format(time.TimeOnly) })
		if r.Taken {
			w.Title = "The plan was taken over by a Pi"
		}
		if r.Over() && (i == nil || !i.Open() || r.Begun.Before(i.Since)) { // one that goes on as another outage has begun anew
			b.past(&w, "Last run of the plan", site.Name, r.Begun)
		}
		runs = append(runs, w)
	}
	if r := site.PiRun; r != nil {
		w := runView("The Pi's own run", r)
		w.Now = b.piRunNow(site, r)
		if since, out := b.outSince(site.Name); !r.State.Open() && (!out || site.PiRunAt.Before(since)) {
			b.past(&w, "Last run of the Pi", site.Name, site.PiRunAt)
		}
		runs = append(runs, w)
	}
	return runs
}

// out reports whether a power outage of the site goes on, or what may be one.
func (b *Brain) out(site string) bool {
	_, out := b.outSince(site)
	return out
}

// outSince is since when.
func (b *Brain) outSince(site string) (since time.Time, out bool) {
	for _, i := range b.state.OpenIncidents() {
		if i.Site == site && (i.Kind == sentinel.PowerOutage || i.Kind == sentinel.InternetOutage) && (!out || i.Since.Before(since)) {
			since, out = i.Since, true
		}
	}
	return since, out
}

// past has a run be told of as what is over.
func (b *Brain) past(w *web.Run, title, site string, at time.Time) {
	w.Past = true
	w.Title = title + ": " + web.Until(b.clock.Shown(at).In(b.zone(site)), b.machine.wall())
	switch {
	case w.DryRun:
		w.Title += ", only rehearsed"
	case w.State == string(shutdown.Stopped):
		w.Title += ", stopped before its end"
	}
}

func runView(title string, s *shutdown.Status) web.Run {
	w := web.Run{ID: s.ID, Title: title + " " + runWords(s.State), State: string(s.State), Reason: s.Reason, DryRun: s.DryRun, Stage: s.Stage + 1}
	if s.DryRun {
		w.Title = title + " was only rehearsed"
	} else if s.State == shutdown.HasEnded && missed(s) {
		w.Title = title + " has run; not all went down"
	}
	for _, t := range s.Targets {
		w.Targets = append(w.Targets, web.Target{Name: t.Name, State: t.State, Why: t.Why})
	}
	return w
}

// missed reports whether a run that has ended did not see all of it go down.
func missed(s *shutdown.Status) bool {
	return slices.ContainsFunc(s.Targets, func(o shutdown.Outcome) bool { return o.State == "late" })
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
