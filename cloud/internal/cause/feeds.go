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
	for _, ups := range slices.Sorted(maps.Keys(feeds)) {
		least := enough(ups)
		gone, lives := 0, false
		for _, n := range own(ups, feeds) {
			switch {
			case slices.Contains(silent, n):
				gone++
			case slices.ContainsFunc(up, func(s Source) bool { return s.Name == n }):
				lives = true
			}
		}
		if least > 0 && gone >= least && !lives {
			upses = append(upses, ups)
		}
	}
	for _, n := range silent {
		by := Feeders(n, feeds)
		powered := func(ups string) bool { return !slices.Contains(upses, ups) }
		sole := slices.ContainsFunc(upses, func(ups string) bool { return slices.Contains(own(ups, feeds), n) })
		if len(by) > 0 && (sole || !slices.ContainsFunc(by, powered)) {
			nodes = append(nodes, n)
		}
	}
	return upses, nodes
}

// own are the nodes that a UPS alone feeds, or if there are none, all that it feeds.
func own(ups string, feeds map[string][]string) []string {
	var alone []string
	for _, n := range feeds[ups] {
		if len(Feeders(n, feeds)) == 1 {
			alone = append(alone, n)
		}
	}
	if len(alone) > 0 {
		return alone
	}
	return feeds[ups]
}
