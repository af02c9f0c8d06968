package cause

import (
	"maps"
	"slices"
)

// Feeders are the UPSes that feed a node, in order; none: it is on no UPS.
func Feeders(node string, feeds map[string][]string) []string {
	var by []string
	for _, ups := range slices.Sorted(maps.Keys(feeds)) {
		if slices.Contains(feeds[ups], node) {
			by = append(by, ups)
		}
	}
	return by
}

// Unpowered finds the UPSes of which everything is silent, and the nodes that lost their
// power with them (rule U9). A UPS is judged by the nodes that it alone feeds, or if there
// are none, by all that it feeds; enough says how many of them must be silent for it, 0 to
// leave the UPS out. A node that several UPSes feed is among the nodes if all of those are,
// or one that was judged by it.
func Unpowered(silent []string, up []Source, feeds map[string][]string, enough func(ups string) int) (upses, nodes []string) {
	quiet, heard := setOf(silent), make(map[string]bool, len(up))
	for _, s := range up {
		heard[s.Name] = true
	}
	by := feedersOf(feeds)
	lost, sole := map[string]bool{}, map[string]bool{}
	for _, ups := range slices.Sorted(maps.Keys(feeds)) {
		least := enough(ups)
		gone, lives := 0, false
		judged := own(feeds[ups], by)
		for _, n := range judged {
			switch {
			case quiet[n]:
				gone++
			case heard[n]:
				lives = true
			}
		}
		if least <= 0 || gone < least || lives {
			continue
		}
		upses = append(upses, ups)
		lost[ups] = true
		for _, n := range judged {
			sole[n] = true
		}
	}
	for _, n := range silent {
		powered := func(ups string) bool { return !lost[ups] }
		if len(by[n]) > 0 && (sole[n] || !slices.ContainsFunc(by[n], powered)) {
			nodes = append(nodes, n)
		}
	}
	return upses, nodes
}

// feedersOf are the UPSes that feed each node.
func feedersOf(feeds map[string][]string) map[string][]string {
	by := map[string][]string{}
	for ups, nodes := range feeds {
		for n := range setOf(nodes) {
			by[n] = append(by[n], ups)
		}
	}
	return by
}

// own are the nodes that a UPS alone feeds, or if there are none, all that it feeds.
func own(fed []string, by map[string][]string) []string {
	var alone []string
	for _, n := range fed {
		if len(by[n]) == 1 {
			alone = append(alone, n)
		}
	}
	if len(alone) > 0 {
		return alone
	}
	return fed
}

func setOf(names []string) map[string]bool {
	set := make(map[string]bool, len(names))
	for _, n := range names {
		set[n] = true
	}
	return set
}
