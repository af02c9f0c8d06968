// Package grafana_test holds the dashboard and the alerts against the metrics that brain and Pi really have, by
// docs/metrics.md, whose rows tests of both programs hold against what they answer. What promtool says of the alerts
// is asked where it is installed.
package grafana_test

import (
	"cmp"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"sentinel.home.arpa/shared/sim/scrape"
)

// others are metrics of Prometheus itself and of the client library, with labels that matter here.
var others = map[string][]string{"up": {}, "process_resident_memory_bytes": {}, "process_cpu_seconds_total": {}}

// byPrometheus are the labels that every series has.
var byPrometheus = []string{"job", "instance"}

// known are all metrics by name, with their labels.
func known(t *testing.T) map[string][]string {
	t.Helper()
	text, err := os.ReadFile("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	all := map[string][]string{}
	for _, heading := range []string{"The brain", "The Pi"} {
		listed := scrape.Listed(string(text), heading)
		if len(listed) < 5 {
			t.Fatalf("docs/metrics.md lists %d metrics under %q", len(listed), heading)
		}
		for _, m := range listed {
			all[m.Name] = m.Labels
		}
	}
	for name, labels := range others {
		all[name] = labels
	}
	return all
}

type dashboard struct {
	Panels []struct {
		ID                       int
		Type, Title, Description string
		GridPos                  struct{ X, Y, W, H int }
		Targets                  []struct{ Expr, LegendFormat string }
	}
	Templating struct {
		List []struct{ Name, Definition string }
	}
}

type rules struct {
	Groups []struct {
		Rules []struct {
			Alert       string            `yaml:"alert"`
			Expr        string            `yaml:"expr"`
			Labels      map[string]string `yaml:"labels"`
			Annotations map[string]string `yaml:"annotations"`
		} `yaml:"rules"`
	} `yaml:"groups"`
}

func load(t *testing.T) (dashboard, rules) {
	t.Helper()
	var d dashboard
	var r rules
	for name, into := range map[string]func([]byte) error{
		"dashboard.json":     func(text []byte) error { return json.Unmarshal(text, &d) },
		"sentinel.rules.yml": func(text []byte) error { return yaml.Unmarshal(text, &r) },
	} {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := into(text); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	if len(d.Panels) < 15 || len(r.Groups) != 1 || len(r.Groups[0].Rules) < 15 {
		t.Fatalf("%d panels, %d groups: not all was read", len(d.Panels), len(r.Groups))
	}
	return d, r
}

var (
	words    = regexp.MustCompile(`[a-zA-Z_:][a-zA-Z0-9_:]*`)
	selector = regexp.MustCompile(`([a-z_]+)\{([^}]*)\}`)
	matcher  = regexp.MustCompile(`([a-z_]+)\s*(?:=~|!~|!=|=)`)
	grouped  = regexp.MustCompile(`by \(([^)]*)\)`)
	quoted   = regexp.MustCompile(`"[^"]*"`)
	spans    = regexp.MustCompile(`\[[^\]]*\]`)
	offset   = regexp.MustCompile(`offset \w+`)
	promql   = []string{"and", "or", "unless", "sum", "by", "increase", "rate", "label_values", "site", "offset"}
)

// wrong lists what an expression names and nothing has.
func wrong(expr string, metrics map[string][]string) (out []string) {
	has := func(metric, label string) bool {
		return slices.Contains(metrics[metric], label) || slices.Contains(byPrometheus, label)
	}
	var named []string
	bare := expr
	for _, m := range selector.FindAllStringSubmatch(expr, -1) {
		for _, l := range matcher.FindAllStringSubmatch(quoted.ReplaceAllString(m[2], `""`), -1) {
			if !has(m[1], l[1]) {
				out = append(out, m[1]+" has no label "+l[1])
			}
		}
		bare = strings.ReplaceAll(bare, "{"+m[2]+"}", "")
	}
	bare = grouped.ReplaceAllString(offset.ReplaceAllString(spans.ReplaceAllString(bare, ""), ""), "")
	for _, w := range words.FindAllString(bare, -1) {
		if slices.Contains(promql, w) {
			continue
		}
		if _, ok := metrics[w]; !ok {
			out = append(out, "there is no metric "+w)
		}
		named = append(named, w)
	}
	for _, g := range grouped.FindAllStringSubmatch(expr, -1) {
		for label := range strings.SplitSeq(g[1], ",") {
			if !slices.ContainsFunc(named, func(m string) bool { return has(m, strings.TrimSpace(label)) }) {
				out = append(out, "nothing has the label "+label)
			}
		}
	}
	if len(named) == 0 {
		out = append(out, "no metric is named")
	}
	return out
}

// expressions are those of the dashboard and of the alerts, by where they stand.
func expressions(d dashboard, r rules) map[string]string {
	all := map[string]string{}
	for _, p := range d.Panels {
		for i, target := range p.Targets {
			all["panel "+p.Title+" "+string(rune('A'+i))] = target.Expr
		}
	}
	for _, v := range d.Templating.List {
		if v.Definition != "" {
			all["variable "+v.Name] = v.Definition
		}
	}
	for _, a := range r.Groups[0].Rules {
		all["alert "+a.Alert] = a.Expr
	}
	return all
}

// TestEachMetricExists refuses panels and alerts of what brain and Pi do not have.
func TestEachMetricExists(t *testing.T) {
	metrics := known(t)
	d, r := load(t)
	for where, expr := range expressions(d, r) {
		for _, w := range wrong(expr, metrics) {
			t.Errorf("%s: %s (%s)", where, w, expr)
		}
	}
	for _, bad := range []string{"sentinel_nodes_up == 0", `sentinel_node_up{ups="a"}`, "sum by (ups) (sentinel_node_up)", "1"} {
		if len(wrong(bad, metrics)) == 0 {
			t.Errorf("%s was not noticed", bad)
		}
	}
}

// TestTheDashboardCanBeRead: each panel has a place of its own, a name, and a word on what it shows.
func TestTheDashboardCanBeRead(t *testing.T) {
	d, _ := load(t)
	at, ids := map[[2]int]string{}, map[int]bool{}
	for _, p := range d.Panels {
		if p.Title == "" || ids[p.ID] {
			t.Errorf("panel %d %q: no title, or its id twice", p.ID, p.Title)
		}
		ids[p.ID] = true
		if p.Type != "row" && (p.Description == "" || len(p.Targets) == 0) {
			t.Errorf("%s: no description, or nothing to show", p.Title)
		}
		if p.GridPos.W == 0 || p.GridPos.H == 0 || p.GridPos.X+p.GridPos.W > 24 {
			t.Errorf("%s: stands at %+v", p.Title, p.GridPos)
		}
		for x := range p.GridPos.W {
			for y := range p.GridPos.H {
				cell := [2]int{p.GridPos.X + x, p.GridPos.Y + y}
				if other := at[cell]; other != "" {
					t.Fatalf("%s lies on %s", p.Title, other)
				}
				at[cell] = p.Title
			}
		}
	}
}

// TestEachAlertSaysWhatToDo, how grave it is, and is in a story.
func TestEachAlertSaysWhatToDo(t *testing.T) {
	_, r := load(t)
	stories, err := os.ReadFile("sentinel.rules.test.yml")
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range r.Groups[0].Rules {
		if a.Annotations["summary"] == "" || a.Annotations["description"] == "" || !slices.Contains([]string{"critical", "warning"}, a.Labels["severity"]) {
			t.Errorf("%s lacks a summary, a description or a severity", a.Alert)
		}
		name := `alertname: ` + a.Alert + `\b`
		fires := regexp.MustCompile(`(?m)` + name + `\n\s*exp_alerts:\n\s*- exp_labels`)
		if !fires.Match(stories) {
			t.Errorf("%s fires in no story", a.Alert)
		}
	}
}

// TestPromtool asks Prometheus itself about the alerts, their stories, the example and the dashboard's expressions.
func TestPromtool(t *testing.T) {
	asked := os.Getenv("PROMTOOL")
	promtool, err := exec.LookPath(cmp.Or(asked, "promtool"))
	if err != nil {
		if asked != "" {
			t.Fatalf("promtool is missing (Debian: apt-get install prometheus): %v", err)
		}
		t.Skip("promtool is missing (Debian: apt-get install prometheus), so Prometheus was not asked about the alerts")
	}
	d, _ := load(t)
	var recorded strings.Builder
	recorded.WriteString("groups:\n- name: dashboard\n  rules:\n")
	for _, p := range d.Panels {
		for _, target := range p.Targets {
			text, err := json.Marshal(strings.ReplaceAll(target.Expr, "$site", "home"))
			if err != nil {
				t.Fatal(err)
			}
			recorded.WriteString("  - {record: panel, labels: {of: \"" + strconv.Itoa(p.ID) + "\"}, expr: " + string(text) + "}\n")
		}
	}
	panels := filepath.Join(t.TempDir(), "panels.yml")
	if err := os.WriteFile(panels, []byte(recorded.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"check", "rules", "sentinel.rules.yml"}, {"test", "rules", "sentinel.rules.test.yml"},
		{"check", "config", "prometheus.example.yml"}, {"check", "rules", "--lint=none", panels}} {
		out, err := exec.CommandContext(t.Context(), promtool, args...).CombinedOutput()
		if err != nil {
			t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
			continue
		}
		t.Logf("promtool %s\n%s", strings.Join(args, " "), out)
	}
}
