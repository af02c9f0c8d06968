package cause_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"sentinel.home.arpa/cloud/internal/cause"
)

// TestU9_UnpoweredByTheRule compares it with the rule's own words, which ask of each node
// anew what feeds it.
func TestU9_UnpoweredByTheRule(t *testing.T) {
	names, upses := []string{"a", "b", "c", "d", "e"}, []string{"ups1", "ups2", "ups3"}
	rapid.Check(t, func(rt *rapid.T) {
		some := func(label string) []string {
			return rapid.SliceOfNDistinct(rapid.SampledFrom(names), 0, len(names), rapid.ID).Draw(rt, label)
		}
		feeds, least := map[string][]string{}, map[string]int{}
		for _, ups := range upses {
			feeds[ups], least[ups] = some(ups), rapid.IntRange(0, 2).Draw(rt, "least")
		}
		silent := some("silent")
		var up []cause.Source
		for _, n := range some("up") {
			up = append(up, cause.Source{Name: n})
		}
		var wantUPSes, wantNodes []string
		judged := map[string][]string{}
		for _, ups := range upses {
			alone := slices.DeleteFunc(slices.Clone(feeds[ups]), func(n string) bool { return len(cause.Feeders(n, feeds)) > 1 })
			if len(alone) == 0 {
				alone = feeds[ups]
			}
			gone := slices.DeleteFunc(slices.Clone(alone), func(n string) bool { return !slices.Contains(silent, n) })
			lives := slices.ContainsFunc(up, func(s cause.Source) bool { return slices.Contains(alone, s.Name) && !slices.Contains(silent, s.Name) })
			if least[ups] > 0 && len(gone) >= least[ups] && !lives {
				wantUPSes, judged[ups] = append(wantUPSes, ups), alone
			}
		}
		for _, n := range silent {
			by := cause.Feeders(n, feeds)
			all := len(by) > 0 && !slices.ContainsFunc(by, func(ups string) bool { return !slices.Contains(wantUPSes, ups) })
			if all || slices.ContainsFunc(by, func(ups string) bool { return slices.Contains(judged[ups], n) }) {
				wantNodes = append(wantNodes, n)
			}
		}
		gotUPSes, gotNodes := cause.Unpowered(silent, up, feeds, func(ups string) int { return least[ups] })
		if diff := cmp.Diff([][]string{wantUPSes, wantNodes}, [][]string{gotUPSes, gotNodes}); diff != "" {
			rt.Fatalf("of %v, up %v, feeds %v, least %v (-want +got):\n%s", silent, up, feeds, least, diff)
		}
	})
}

// TestU9_UnpoweredOfThousands: a site of 10,000 nodes is judged at once, in the time in
// which the silence of one is declared (rule H2).
func TestU9_UnpoweredOfThousands(t *testing.T) {
	const nodes, each = 10_000, 100
	feeds := map[string][]string{}
	var silent []string
	var up []cause.Source
	for n := range nodes {
		name, ups := fmt.Sprintf("n%05d", n), fmt.Sprintf("ups%03d", n/each)
		feeds[ups] = append(feeds[ups], name)
		up = append(up, cause.Source{Name: name})
		if n < nodes/2 {
			silent = append(silent, name)
		}
	}
	begun := time.Now()
	upses, gone := cause.Unpowered(silent, up, feeds, func(string) int { return 2 })
	if took := time.Since(begun); took > time.Second { // it takes 5 ms; a node's feeds searched each time, many seconds
		t.Errorf("it took %s", took)
	}
	if len(upses) != nodes/each/2 || len(gone) != nodes/2 {
		t.Errorf("%d UPSes and %d nodes", len(upses), len(gone))
	}
}
