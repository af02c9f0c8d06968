package brain

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"sentinel.home.arpa/cloud/internal/sentinel"
	"sentinel.home.arpa/shared/shutdown"
)

// namesSaid is how many machines or guests a sentence lists.
const namesSaid = 6

// runNow says in which stage a run is, and what it waits for; empty: it is over.
func runNow(r *shutdown.Run, now time.Time) string {
	if r.Over() || r.Stage < 0 || r.Stage >= len(r.Plan.Stages) {
		return ""
	}
	guests := 0
	var machines, waits []string
	for _, p := range r.Current() {
		said := p.Target.Said()
		switch p.Target.Kind {
		case shutdown.Listing:
			said = "the list of guests on " + p.Target.Node
		case shutdown.Guest:
			guests++
		default:
			machines = append(machines, said)
		}
		if !p.Over() {
			waits = append(waits, said)
		}
	}
	text := stageSaid(r.Stage, len(r.Plan.Stages), guests, machines)
	left := r.StageAt.Add(r.Plan.Stages[r.Stage].Deadline).Sub(now)
	if len(waits) > 0 && left > 0 {
		text += fmt.Sprintf("; waits for %s at most %s", few(waits), exactly(left))
	}
	return text
}

// runNext says what comes after a run's stage, and when at the latest; empty: the run is over.
func runNext(r *shutdown.Run, at func(time.Time) string) string {
	if r.Over() || r.Stage < 0 || r.Stage >= len(r.Plan.Stages) {
		return ""
	}
	by := at(r.StageAt.Add(r.Plan.Stages[r.Stage].Deadline))
	for i := r.Stage + 1; i < len(r.Plan.Stages); i++ {
		s := r.Plan.Stages[i]
		machines := slices.DeleteFunc(slices.Concat(s.Nodes, s.Hosts), func(m string) bool { return r.Scoped() && !slices.Contains(r.Called, m) })
		switch guests := takesGuests(s); {
		case len(machines) > 0:
			return fmt.Sprintf("stage %d of %d, %s, begins at %s at the latest", i+1, len(r.Plan.Stages), few(machines), by)
		case guests:
			return fmt.Sprintf("stage %d of %d, guests, begins at %s at the latest", i+1, len(r.Plan.Stages), by)
		}
	}
	return "it ends at " + by + " at the latest"
}

// piRunNow is the same as runNow of a Pi's run, which does not tell when its stage ends.
func (b *Brain) piRunNow(site *sentinel.Site, r *shutdown.Status) string {
	plan := b.plan(site.Name)
	if !r.State.Open() || plan == nil || r.Stage < 0 || r.Stage >= len(plan.Stages) {
		return ""
	}
	guests := 0
	var waits []string
	for _, t := range r.Targets {
		if t.State != "pending" && t.State != "told" {
			continue
		}
		waits = append(waits, t.Name)
		if t.Kind == shutdown.Guest {
			guests++
		}
	}
	s := plan.Stages[r.Stage]
	text := stageSaid(r.Stage, len(plan.Stages), guests, append(append([]string(nil), s.Nodes...), s.Hosts...))
	if len(waits) > 0 {
		text += "; waits for " + few(waits)
	}
	return text
}

func stageSaid(stage, of, guests int, machines []string) string {
	var what []string
	if guests > 0 {
		what = append(what, countGuestsSaid(guests))
	}
	if len(machines) > 0 {
		what = append(what, few(machines))
	}
	text := fmt.Sprintf("stage %d of %d", stage+1, of)
	if len(what) > 0 {
		text += ": " + strings.Join(what, " and ")
	}
	return text
}

func countGuestsSaid(n int) string {
	if n == 1 {
		return "1 guest"
	}
	return fmt.Sprintf("%d guests", n)
}

// few joins names and keeps it short.
func few(names []string) string {
	if more := len(names) - namesSaid; more > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:namesSaid], ", "), more)
	}
	return strings.Join(names, ", ")
}

// exactly is a duration to the second, since somebody waits for its end: "1 min 40 s".
func exactly(d time.Duration) string {
	switch seconds := int(d.Round(time.Second).Seconds()); {
	case seconds < 60:
		return fmt.Sprintf("%d s", seconds)
	case seconds%60 == 0:
		return fmt.Sprintf("%d min", seconds/60)
	default:
		return fmt.Sprintf("%d min %d s", seconds/60, seconds%60)
	}
}
