// Command bench reads what go test -bench prints, passes it on, and ends with one table:
// each figure beside its baseline of the same run, and whether it keeps its target.
package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"
)

func main() {
	if err := run(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// row is one line of the table: a benchmark's metric, by its unit.
type row struct {
	bench, figure string // bench without Benchmark; it may end in * for any
	baseline      string // the unit of what it is held against; empty: nothing
	target        func(figure, ratio float64) bool
	wants         string // the target in words
}

// rows are told in this order. A benchmark of which none speaks is told by its time.
func rows() []row {
	return []row{
		{bench: "Ingest/tailnet", figure: "req/s", baseline: "bare-req/s", wants: "ratio >= 0.85", target: func(_, r float64) bool { return r >= 0.85 }},
		{bench: "Ingest/tailnet", figure: "req/s", baseline: "answering-req/s"},
		{bench: "Ingest/each-second", figure: "req/s", baseline: "bare-req/s"},
		{bench: "Ingest/listen", figure: "req/s", baseline: "bare-req/s"},
		{bench: "Lateness/10000", figure: "p50-ms"},
		{bench: "Lateness/10000", figure: "p99-ms", wants: "<= 100", target: func(f, _ float64) bool { return f <= 100 }},
		{bench: "Lateness/10000", figure: "max-ms"},
		{bench: "Lateness/100000", figure: "p50-ms"},
		{bench: "Lateness/100000", figure: "p99-ms"},
		{bench: "Lateness/100000", figure: "max-ms"},
		{bench: "Memory", figure: "B/table"},
		{bench: "Memory", figure: "B/source", wants: "<= 1024", target: func(f, _ float64) bool { return f <= 1024 }},
		{bench: "StartAfterAYear/after_a_stop", figure: "ns/op", wants: "< 1 s", target: underASecond},
		{bench: "StartAfterAYear/after_a_kill", figure: "ns/op", wants: "< 1 s", target: underASecond},
		{bench: "StartAfterAYear/without_snapshot", figure: "ns/op"},
		{bench: "Beat/*", figure: "ns/op"},
		{bench: "Expire/*", figure: "ns/op"},
		{bench: "Step/*", figure: "took-ns", baseline: "decode-ns"},
		{bench: "Replay/*", figure: "took-ns", baseline: "decode-ns"},
	}
}

func underASecond(ns, _ float64) bool { return ns < 1e9 }

func (r row) matches(name string) bool {
	if prefix, any := strings.CutSuffix(r.bench, "*"); any {
		return strings.HasPrefix(name, prefix)
	}
	return r.bench == name
}

// result is one benchmark's metrics by unit.
type result struct {
	name    string
	metrics map[string]float64
}

// parse reads a line such as "BenchmarkStep/Tick-2  3000  502.6 ns/op  10 allocs/op".
func parse(line string) (result, bool) {
	fields := strings.Fields(line)
	if len(fields) < 4 || !strings.HasPrefix(fields[0], "Benchmark") {
		return result{}, false
	}
	r := result{strings.TrimPrefix(fields[0], "Benchmark"), map[string]float64{}}
	if i := strings.LastIndexByte(r.name, '-'); i > 0 {
		if _, err := strconv.Atoi(r.name[i+1:]); err == nil {
			r.name = r.name[:i]
		}
	}
	for i := 2; i+1 < len(fields); i += 2 {
		value, err := strconv.ParseFloat(fields[i], 64)
		if err != nil {
			return result{}, false
		}
		r.metrics[fields[i+1]] = value
	}
	return r, true
}

func run(in io.Reader, out io.Writer) error {
	var results []result
	failed := false
	scan := bufio.NewScanner(in)
	for scan.Scan() {
		fmt.Fprintln(out, scan.Text())
		failed = failed || strings.HasPrefix(scan.Text(), "FAIL") || strings.HasPrefix(scan.Text(), "--- FAIL")
		if r, ok := parse(scan.Text()); ok {
			results = append(results, r)
		}
	}
	if err := scan.Err(); err != nil {
		return fmt.Errorf("read the results: %w", err)
	}
	missed := table(results, out)
	switch {
	case failed || len(results) == 0:
		return fmt.Errorf("a benchmark failed")
	case missed > 0:
		return fmt.Errorf("%d targets are missed", missed)
	}
	return nil
}

// table prints the rows, and counts the missed targets. A row without a result is one: the
// benchmark did not run.
func table(results []result, out io.Writer) (missed int) {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	defer w.Flush()
	fmt.Fprintln(w, "\nname\tfigure\tallocs\tbaseline\tratio\ttarget\tok")
	told := map[string]bool{}
	for _, spec := range rows() {
		ran := false
		for _, r := range results {
			figure, ok := r.metrics[spec.figure]
			if !spec.matches(r.name) || !ok {
				continue
			}
			told[r.name], ran = true, true
			if !print(w, spec, r, figure) {
				missed++
			}
		}
		if !ran {
			fmt.Fprintf(w, "%s\tdid not run\t\t\t\t%s\tNO\n", spec.bench, spec.wants)
			missed++
		}
	}
	for _, r := range results {
		if !told[r.name] {
			print(w, row{figure: "ns/op"}, r, r.metrics["ns/op"])
		}
	}
	return missed
}

// print tells one row, and whether it keeps its target.
func print(w io.Writer, spec row, r result, figure float64) bool {
	allocs, baseline, ratio, ok := "", "", 0.0, ""
	if n, known := r.metrics["allocs/op"]; known {
		allocs = short(n)
	}
	against := ""
	if base, known := r.metrics[spec.baseline]; known && base > 0 {
		ratio = figure / base
		if median, known := r.metrics["ratio"]; known && spec.baseline == "bare-req/s" {
			ratio = median // of the turns that the two took
		}
		baseline, against = short(base)+" "+spec.baseline, fmt.Sprintf("%.2f", ratio)
	}
	kept := true
	if spec.target != nil {
		kept = spec.target(figure, ratio)
		ok = map[bool]string{true: "yes", false: "NO"}[kept]
	}
	fmt.Fprintf(w, "%s\t%s %s\t%s\t%s\t%s\t%s\t%s\n", r.name, short(figure), spec.figure, allocs, baseline, against, spec.wants, ok)
	return kept
}

// short is a number without digits that say nothing.
func short(v float64) string {
	switch {
	case v >= 100:
		return strconv.FormatFloat(v, 'f', 0, 64)
	case v >= 1:
		return strconv.FormatFloat(v, 'f', 1, 64)
	}
	return strconv.FormatFloat(v, 'f', 3, 64)
}
