package cause_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sentinel.home.arpa/cloud/internal/cause"
)

var now = time.Date(2026, 11, 21, 19, 2, 0, 0, time.UTC)

func node(name string, ago float64) cause.Source {
	return cause.Source{Name: name, Last: now.Add(-time.Duration(ago * float64(time.Second)))}
}

func pi(name string, ago float64) cause.Source {
	s := node(name, ago)
	s.Pi = true
	return s
}

func via(pi string, s cause.Source) cause.Source {
	s.Via = pi
	return s
}

func TestExplain(t *testing.T) {
	for _, c := range []struct {
		name   string
		silent cause.Source
		others []cause.Source
		want   cause.Silence
	}{
		{"one node of several", node("a", 20), []cause.Source{node("b", 1), pi("p", 0)}, cause.Silence{Reach: cause.Some, Names: []string{"a"}}},
		{"N1: a lone node", node("a", 20), nil, cause.Silence{Reach: cause.Alone, Names: []string{"a"}}},
		{"N1: a lone node that a Pi relayed", via("p", node("a", 20)), nil, cause.Silence{Reach: cause.Alone, Names: []string{"a"}, Via: "p"}},
		{"N1: all of two", node("a", 20), []cause.Source{node("b", 18)}, cause.Silence{Reach: cause.Whole, Names: []string{"a", "b"}}},
		{"N1: a node and its Pi", node("a", 20), []cause.Source{pi("p", 19)}, cause.Silence{Reach: cause.Whole, Names: []string{"a", "p"}}},
		{"N1: a Pi and its node", pi("p", 20), []cause.Source{node("a", 19)}, cause.Silence{Reach: cause.Whole, Names: []string{"p", "a"}}},
		{"N6: itself first, the others in order", node("b", 20), []cause.Source{pi("p", 20), node("c", 19), node("a", 16)},
			cause.Silence{Reach: cause.Whole, Names: []string{"b", "a", "c", "p"}}},
		{"N6: exactly 5 s apart is together", node("a", 20), []cause.Source{node("b", 15)}, cause.Silence{Reach: cause.Whole, Names: []string{"a", "b"}}},
		{"N6: over 5 s apart is not", node("a", 20), []cause.Source{node("b", 14.9)}, cause.Silence{Reach: cause.Some, Names: []string{"a"}}},
		{"N1: all relayed by one Pi that is gone from here", via("p", node("a", 20)), []cause.Source{via("p", node("b", 20))},
			cause.Silence{Reach: cause.Alone, Names: []string{"a", "b"}, Via: "p"}},
		{"N1: all relayed by one Pi, and it is gone too", via("p", node("a", 20)), []cause.Source{via("p", node("b", 20)), pi("p", 20)},
			cause.Silence{Reach: cause.Whole, Names: []string{"a", "b", "p"}}},
		{"N4: all relayed by one Pi that lives", via("p", node("a", 20)), []cause.Source{via("p", node("b", 20)), pi("p", 0)},
			cause.Silence{Reach: cause.AllNodes, Names: []string{"a", "b"}}},
		{"N1: relayed by two Pis", via("p", node("a", 20)), []cause.Source{via("q", node("b", 20))}, cause.Silence{Reach: cause.Whole, Names: []string{"a", "b"}}},
		{"N1: one relayed, one not", via("p", node("a", 20)), []cause.Source{node("b", 20)}, cause.Silence{Reach: cause.Whole, Names: []string{"a", "b"}}},
		{"N4: all nodes, and a Pi lives", node("a", 20), []cause.Source{node("b", 20), pi("p", 0)}, cause.Silence{Reach: cause.AllNodes, Names: []string{"a", "b"}}},
		{"N4: the only node, and a Pi lives", node("a", 20), []cause.Source{pi("p", 0)}, cause.Silence{Reach: cause.Some, Names: []string{"a"}}},
		{"N4: all nodes and one of two Pis", node("a", 20), []cause.Source{node("b", 20), pi("p", 20), pi("q", 0)},
			cause.Silence{Reach: cause.AllNodes, Names: []string{"a", "b", "p"}}},
		{"a Pi alone", pi("p", 20), []cause.Source{node("a", 0), node("b", 1)}, cause.Silence{Reach: cause.Some, Names: []string{"p"}}},
		{"two nodes of three, and a Pi", node("a", 20), []cause.Source{node("b", 20), node("c", 1), pi("p", 0)},
			cause.Silence{Reach: cause.Some, Names: []string{"a", "b"}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			up := append([]cause.Source{c.silent}, c.others...)
			if diff := cmp.Diff(c.want, cause.Explain(c.silent, up)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestN10_Dark(t *testing.T) {
	last := now.Add(-20 * time.Second)
	for name, c := range map[string]struct {
		up   []cause.Source
		want bool
	}{
		"nobody":           {nil, false},
		"all":              {[]cause.Source{node("a", 18), pi("p", 22)}, true},
		"a lone one":       {[]cause.Source{node("a", 15)}, true},
		"one lives":        {[]cause.Source{node("a", 20), pi("p", 1)}, false},
		"one just later":   {[]cause.Source{node("a", 20), node("b", 14.9)}, false},
		"one just earlier": {[]cause.Source{node("a", 25.1)}, false},
	} {
		if got := cause.Dark(last, c.up); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestU9_Unpowered(t *testing.T) {
	up := []cause.Source{node("a", 20), node("b", 20), node("c", 20), node("d", 20), node("e", 20), pi("p", 0)}
	feeds := map[string][]string{"ups1": {"a", "b", "x"}, "ups2": {"c", "x"}}
	redundant := map[string][]string{"ups1": {"a", "b"}, "ups2": {"a", "b"}}
	for name, c := range map[string]struct {
		silent []string
		feeds  map[string][]string
		least  map[string]int
		upses  []string
		nodes  []string
	}{
		"feeds not known":                     {[]string{"a", "b"}, nil, nil, nil, nil},
		"all of one UPS":                      {[]string{"b", "a"}, feeds, nil, []string{"ups1"}, []string{"b", "a"}},
		"and one of elsewhere":                {[]string{"a", "b", "e"}, feeds, nil, []string{"ups1"}, []string{"a", "b"}},
		"one of them lives":                   {[]string{"a"}, feeds, nil, nil, nil},
		"one is not enough":                   {[]string{"c"}, feeds, nil, nil, nil},
		"one is enough with contact lost":     {[]string{"c"}, feeds, map[string]int{"ups2": 1}, []string{"ups2"}, []string{"c"}},
		"who was not up says nothing":         {[]string{"a", "b"}, map[string][]string{"ups1": {"a", "b", "gone"}}, nil, []string{"ups1"}, []string{"a", "b"}},
		"left out":                            {[]string{"a", "b"}, feeds, map[string]int{"ups1": -1}, nil, nil},
		"fed by both, one of which is well":   {[]string{"a", "b", "x"}, feeds, nil, []string{"ups1"}, []string{"a", "b"}},
		"fed by both, and both are gone":      {[]string{"a", "b", "c", "x"}, feeds, map[string]int{"ups2": 1}, []string{"ups1", "ups2"}, []string{"a", "b", "c", "x"}},
		"none that it alone feeds":            {[]string{"a", "b"}, redundant, nil, []string{"ups1", "ups2"}, []string{"a", "b"}},
		"none that it alone feeds, all gone":  {[]string{"a", "b"}, map[string][]string{"ups1": {"a", "b"}, "ups2": {"a", "b", "c"}}, nil, []string{"ups1"}, []string{"a", "b"}},
		"none that it alone feeds, one lives": {[]string{"b"}, redundant, map[string]int{"ups1": 1, "ups2": 1}, nil, nil},
	} {
		enough := func(ups string) int {
			switch n := c.least[ups]; n {
			case 0:
				return 2
			default:
				return max(n, 0)
			}
		}
		upses, nodes := cause.Unpowered(c.silent, up, c.feeds, enough)
		if diff := cmp.Diff(c.upses, upses); diff != "" {
			t.Errorf("%s: UPSes (-want +got):\n%s", name, diff)
		}
		if diff := cmp.Diff(c.nodes, nodes); diff != "" {
			t.Errorf("%s: nodes (-want +got):\n%s", name, diff)
		}
	}
}
