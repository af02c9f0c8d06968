package brain

import (
	"context"
	"time"

	"sentinel.home.arpa/cloud/internal/sentinel"
	"sentinel.home.arpa/shared/shutdown"
)

const (
	// planLookEach is how often an armed plan's machines are looked at, as `plan check` does.
	planLookEach = 24 * time.Hour
	// planLookFirst is when after a start, an arming or another plan: the machines may be starting too.
	planLookFirst = 10 * time.Minute
	// planLookAgain is how soon the look is repeated while something is wrong; what is so the first time is not told yet.
	planLookAgain = 15 * time.Minute
	// planLookBusy is how soon, if somebody asks the machines just then.
	planLookBusy = time.Minute
)

// planLook is what is known of a site's armed plan.
type planLook struct {
	plan    *shutdown.Plan // that was looked at; nil: none
	at      time.Time      // when it is looked at next
	looking bool
	failed  bool // the last look found something
}

// planSeen is what a look found.
type planSeen struct {
	site     string
	plan     *shutdown.Plan
	busy     bool
	refusals []string
}

// lookAtPlans has the machines of armed plans looked at when it is time, while no power outage goes on.
func (b *Brain) lookAtPlans(ctx context.Context, now time.Time) {
	for name, site := range b.state.Sites {
		sc := b.set.Load().site(name)
		if sc == nil || sc.Plan == nil || !site.Armed {
			delete(b.planLooks, name)
			continue
		}
		l := b.planLooks[name]
		if l == nil || l.plan != sc.Plan {
			l = &planLook{plan: sc.Plan, at: now.Add(planLookFirst), looking: l != nil && l.looking}
			b.planLooks[name] = l
		}
		if l.looking || now.Before(l.at) || b.out(name) || !b.over(site) || now.Before(site.MaintainedUntil) || allAway(site, sc.Plan) {
			continue
		}
		l.looking = true
		plan := sc.Plan
		b.wg.Go(func() {
			seen := planSeen{site: name, plan: plan}
			if release, err := b.askOne(); err != nil {
				seen.busy = true
			} else {
				ctx, cancel := context.WithTimeout(ctx, checkWithin)
				never, unless, _ := judgeArming(b.checkPlan(ctx, *sc, false), len(plan.Nodes))
				cancel()
				release()
				seen.refusals = append(never, unless...)
			}
			select {
			case b.planSeen <- seen:
			case <-ctx.Done():
			}
		})
	}
}

// allAway reports whether no node of a plan is up, as far as they are heard: who switches all off for the night knows.
func allAway(site *sentinel.Site, plan *shutdown.Plan) bool {
	for _, n := range plan.Nodes {
		if src := site.Sources[n.Name]; src == nil || src.Condition == sentinel.Up {
			return false
		}
	}
	return true
}

// takeLook is what the core is to know of a look: what was found twice, or that nothing was.
func (b *Brain) takeLook(seen planSeen, now time.Time) []submission {
	l := b.planLooks[seen.site]
	if l == nil {
		return nil
	}
	l.looking = false
	if l.plan != seen.plan { // the plan is another by now
		return nil
	}
	if seen.busy || b.out(seen.site) { // or what went down is down by the plan itself
		l.at = now.Add(planLookBusy)
		return nil
	}
	before := l.failed
	l.failed, l.at = len(seen.refusals) > 0, now.Add(planLookEach)
	if l.failed {
		l.at = now.Add(planLookAgain)
	}
	if l.failed && !before {
		return nil
	}
	return []submission{{in: sentinel.PlanLooked{Site: seen.site, Refusals: seen.refusals}}}
}

// planTroubles are why armed plans would not do their work.
func (b *Brain) planTroubles() (all []string) {
	for _, sc := range b.core().Sites {
		if why := b.state.Unfit(sc.Name); why != "" {
			all = append(all, sentence(why+"; `sentinel-cloud plan check` looks again."))
		}
	}
	return all
}
