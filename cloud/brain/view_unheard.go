package brain

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"sentinel.home.arpa/cloud/internal/liveness"
	"sentinel.home.arpa/cloud/internal/sentinel"
	"sentinel.home.arpa/shared/power"
)

// unheardAfter is from which silence on the page no longer says that all is well: a restart of
// the program or a hiccup of the network is over by then.
const unheardAfter = 10 * time.Second

// unheardSaid is the verdict on who is silent for no reason that is known, while that is no
// incident: not yet, or of a Pi while others watch; empty: nobody is.
func (b *Brain) unheardSaid(now time.Time) string {
	for _, name := range slices.Sorted(maps.Keys(b.state.Sites)) {
		site := b.state.Sites[name]
		if now.Before(site.MaintainedUntil) {
			continue
		}
		var names []string
		var least time.Duration
		for _, src := range site.Sources {
			silent := b.unheardFor(site, src, now)
			if silent < unheardAfter {
				continue
			}
			if len(names) == 0 || silent < least {
				least = silent
			}
			names = append(names, src.Name)
		}
		if len(names) == 0 {
			continue
		}
		slices.Sort(names)
		has := "have"
		if len(names) == 1 {
			has = "has"
		}
		return fmt.Sprintf("%s at %s %s not been heard for %s.", few(names), name, has, power.Spell(least))
	}
	return ""
}

// unheardFor is for how long a source has been silent that announced nothing and of which
// nobody said that it may be.
func (b *Brain) unheardFor(site *sentinel.Site, src *sentinel.Source, now time.Time) time.Duration {
	failed := src.Condition == sentinel.Failed
	planned := src.Condition != sentinel.Up || src.Announced != nil // until it is not back in time, which is a failure
	if !failed && planned || src.Muted() || now.Before(src.MaintainedUntil) {
		return 0
	}
	if last, _, ok := b.table.Last(liveness.Key{Site: site.Name, Name: src.Name}); ok {
		return now.Sub(last)
	}
	if failed {
		return now.Sub(src.Last) // an earlier process heard it
	}
	return 0
}
