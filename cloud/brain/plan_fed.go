package brain

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"sentinel.home.arpa/cloud/internal/web"
	"sentinel.home.arpa/shared/power"
	"sentinel.home.arpa/shared/shutdown"
)

// leftBy are the machines that a run leaves on.
func leftBy(r *shutdown.Run) map[string]bool {
	left := map[string]bool{}
	for machine := range r.Left {
		left[machine] = true
	}
	return left
}

// calledBy are the machines of a plan that a UPS calls for while all others have mains; nil: all.
func calledBy(plan shutdown.Plan, by power.Policy, ups string) []string {
	if plan.Wiring == nil || ups == "" {
		return nil
	}
	feeds := []power.Feed{{UPS: ups, Reading: &power.Reading{Supply: power.Battery}, Word: "its mains are gone"}}
	for other := range plan.Wiring.Feeds {
		if other != ups {
			feeds = append(feeds, power.Feed{UPS: other, Reading: &power.Reading{Supply: power.Mains}})
		}
	}
	names, _ := plan.CalledFor(by, feeds, nil)
	return append([]string{}, names...)
}

// stayOn are the machines of a plan that are not called for.
func stayOn(plan shutdown.Plan, called []string) (names []string) {
	for _, m := range plan.Machines() {
		if called != nil && !slices.Contains(called, m.Node) {
			names = append(names, m.Node)
		}
	}
	return names
}

// neverToldOf are the UPSes that are said to feed machines of a plan, and of which no Pi has told.
func neverToldOf(plan shutdown.Plan, heard []web.UPS) (names []string) {
	if plan.Wiring == nil {
		return nil
	}
	for _, ups := range slices.Sorted(maps.Keys(plan.Wiring.Feeds)) {
		if !slices.ContainsFunc(heard, func(u web.UPS) bool { return u.Name == ups }) {
			names = append(names, ups)
		}
	}
	return names
}

func saidNeverToldOf(ups string) string {
	return fmt.Sprintf("no Pi has told of %s, so what it feeds does not go down for it; look for its name in the Pi's ups:", ups)
}

// fedSaid are lines about which machines stay on if a UPS alone is out, and about UPSes that are
// written down and of which no Pi tells.
func fedSaid(plan shutdown.Plan, by power.Policy, heard []web.UPS) (lines []string) {
	if plan.Wiring == nil {
		return nil
	}
	unheard := neverToldOf(plan, heard)
	for _, ups := range unheard {
		lines = append(lines, saidNeverToldOf(ups))
	}
	for _, ups := range slices.Sorted(maps.Keys(plan.Wiring.Feeds)) {
		if slices.Contains(unheard, ups) {
			continue
		}
		if stay := stayOn(plan, calledBy(plan, by, ups)); len(stay) > 0 {
			verb := "stay"
			if len(stay) == 1 {
				verb = "stays"
			}
			lines = append(lines, fmt.Sprintf("If %s alone is out: %s %s on.", ups, strings.Join(stay, ", "), verb))
		}
	}
	return lines
}
