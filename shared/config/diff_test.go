package config_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sentinel.home.arpa/shared/config"
)

type part struct {
	Name string `yaml:"name"`
	Key  string `yaml:"key"`
}

type whole struct {
	Title  string            `yaml:"title"`
	Wait   config.Duration   `yaml:"wait"`
	Floor  config.Percent    `yaml:"floor"`
	Times  int               `yaml:"times"`
	Secret config.Secret     `yaml:"secret_file"`
	Words  []string          `yaml:"words"`
	Parts  []part            `yaml:"parts"`
	Steps  []step            `yaml:"steps"`
	More   *part             `yaml:"more"`
	Named  map[string]part   `yaml:"named"`
	Plain  map[string]string `yaml:"plain"`
}

type step struct {
	Wait config.Duration `yaml:"wait"`
}

// TestR5_DiffByName: what came, what went, what changed; of a secret only that it did.
func TestR5_DiffByName(t *testing.T) {
	secret := func(name string) config.Secret {
		s, err := config.NewSecret(name)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	from := whole{Title: "a", Wait: config.Duration(time.Minute), Floor: 20, Times: 1, Secret: secret("old"), Words: []string{"x", "y"},
		Parts: []part{{"pve2", "k2"}, {"pve3", "k3"}, {"pve1", "k1"}}, Steps: []step{{1}, {2}},
		Named: map[string]part{"b": {Key: "1"}, "c": {Key: "2"}}, More: &part{Name: "m"}}
	for _, tt := range []struct {
		name   string
		change func(c *whole)
		want   []string
	}{
		{"nothing", func(*whole) {}, nil},
		{"empty for nil", func(c *whole) { c.Plain = map[string]string{} }, nil},
		{"plain values", func(c *whole) {
			c.Title, c.Wait, c.Floor, c.Times = "", config.Duration(90*time.Second), 25, 2
		}, []string{"title: from a to nothing", "wait: from 1m to 1m30s", "floor: from 20% to 25%", "times: from 1 to 2"}},
		{"a secret", func(c *whole) { c.Secret = secret("new") }, []string{"secret_file: changed"}},
		{"words", func(c *whole) { c.Words = []string{"z", "x"} }, []string{"words: + z, - y"}},
		{"their order", func(c *whole) { c.Words = []string{"y", "x"} }, []string{"words: now in the order y, x"}},
		{"names", func(c *whole) { c.Parts = []part{{"pve4", ""}, {"pve2", "k9"}, {"pve1", "k1"}} }, []string{"parts: + pve4, - pve3", "parts[pve2].key: from k2 to k9"}},
		{"the names' order", func(c *whole) { c.Parts = []part{{"pve1", "k1"}, {"pve2", "k2"}, {"pve3", "k3"}} }, []string{"parts: now in the order pve1, pve2, pve3"}},
		{"places", func(c *whole) { c.Steps = []step{{1}, {config.Duration(time.Second)}, {3}} }, []string{"steps: + 2", "steps[1].wait: from 2ns to 1s"}},
		{"keys", func(c *whole) { c.Named = map[string]part{"c": {Key: "3"}, "d": {}} }, []string{"named: + d, - b", "named[c].key: from 2 to 3"}},
		{"a section that goes", func(c *whole) { c.More = nil }, []string{"more: removed"}},
		{"a section that changes", func(c *whole) { c.More = &part{Name: "n"} }, []string{"more.name: from m to n"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			to := from
			tt.change(&to)
			var got []string
			for _, c := range config.Diff(from, to) {
				got = append(got, c.String())
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
	if got := config.Diff(whole{}, whole{More: &part{}}); len(got) != 1 || !cmp.Equal(got[0].Attrs(), []any{"key", "more", "how", "added"}) {
		t.Errorf("got %+v", got)
	}
}
