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
		{"N1: a lone node", node("a", 20), nil, cause.Silence{Reach: cause.Some, Names: []string{"a"}}},
		{"N1: all of two", node("a", 20), []cause.Source{node("b", 18)}, cause.Silence{Reach: cause.Whole, Names: []string{"a", "b"}}},
		{"N1: a node and its Pi", node("a", 20), []cause.Source{pi("p", 19)}, cause.Silence{Reach: cause.Whole, Names: []string{"a", "p"}}},
		{"N1: a Pi and its node", pi("p", 20), []cause.Source{node("a", 19)}, cause.Silence{Reach: cause.Whole, Names: []string{"p", "a"}}},
		{"N6: itself first, the others in order", node("b", 20), []cause.Source{pi("p", 20), node("c", 19), node("a", 16)},
			cause.Silence{Reach: cause.Whole, Names: []string{"b", "a", "c", "p"}}},
		{"N6: exactly 5 s apart is together", node("a", 20), []cause.Source{node("b", 15)}, cause.Silence{Reach: cause.Whole, Names: []string{"a", "b"}}},
		{"N6: over 5 s apart is not", node("a", 20), []cause.Source{node("b", 14.9)}, cause.Silence{Reach: cause.Some, Names: []string{"a"}}},
		{"N1: all relayed by one Pi that is gone from here", via("p", node("a", 20)), []cause.Source{via("p", node("b", 20))},
			cause.Silence{Reach: cause.Some, Names: []string{"a", "b"}}},
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
