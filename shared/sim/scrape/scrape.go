// Package scrape reads a program's metrics as Prometheus does, and the rows of docs/metrics.md, so that a test may
// hold one against the other.
package scrape

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Metric is one that a program has.
type Metric struct {
	Name, Type, Help string
	Labels           []string // in their order
}

// Row is the metric as the document lists it.
func (m Metric) Row() string {
	labels := "-"
	if len(m.Labels) > 0 {
		labels = "`" + strings.Join(m.Labels, "`, `") + "`"
	}
	return fmt.Sprintf("| `%s` | %s | %s | %s |", m.Name, m.Type, labels, m.Help)
}

var (
	series = regexp.MustCompile(`^(sentinel_[a-z_]+)(?:\{(.*)\})? `)
	label  = regexp.MustCompile(`([a-z_]+)="(?:[^"\\]|\\.)*"`)
)

// Read takes the sentinel's own metrics from what a program answers, by name.
func Read(text string) []Metric {
	all := map[string]*Metric{}
	for line := range strings.Lines(text) {
		f := strings.SplitN(strings.TrimSpace(line), " ", 4)
		switch {
		case len(f) == 4 && f[1] == "HELP" && strings.HasPrefix(f[2], "sentinel_"):
			all[f[2]] = &Metric{Name: f[2], Help: f[3]}
		case len(f) == 4 && f[1] == "TYPE" && all[f[2]] != nil:
			all[f[2]].Type = f[3]
		}
		m := series.FindStringSubmatch(line)
		if m == nil || all[m[1]] == nil {
			continue
		}
		for _, l := range label.FindAllStringSubmatch(m[2], -1) {
			if !slices.Contains(all[m[1]].Labels, l[1]) {
				all[m[1]].Labels = append(all[m[1]].Labels, l[1])
			}
		}
	}
	var out []Metric
	for _, m := range all {
		slices.Sort(m.Labels)
		out = append(out, *m)
	}
	slices.SortFunc(out, func(a, b Metric) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// Table is the rows of several, one a line.
func Table(metrics []Metric) string {
	var out strings.Builder
	for _, m := range metrics {
		out.WriteString(m.Row() + "\n")
	}
	return out.String()
}

var row = regexp.MustCompile("^\\| `(sentinel_[a-z_]+)` \\| ([a-z]+) \\| (.*?) \\| (.*) \\|$")

// Listed reads the rows under one heading of the document.
func Listed(document, heading string) []Metric {
	_, part, _ := strings.Cut(document, "\n## "+heading+"\n")
	part, _, _ = strings.Cut(part, "\n## ")
	var out []Metric
	for line := range strings.Lines(part) {
		m := row.FindStringSubmatch(strings.TrimSpace(line))
		if m == nil {
			continue
		}
		listed := Metric{Name: m[1], Type: m[2], Help: m[4]}
		if m[3] != "-" {
			for l := range strings.SplitSeq(m[3], ", ") {
				listed.Labels = append(listed.Labels, strings.Trim(l, "`"))
			}
		}
		out = append(out, listed)
	}
	return out
}
