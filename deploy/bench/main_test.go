package main

import (
	"cmp"
	"fmt"
	"strings"
	"testing"
)

func TestTable(t *testing.T) {
	for name, tt := range map[string]struct {
		in, want string // in comes beside good results of all others; want is a row, its columns one space apart
		without  string // what else does not run
		err      string
	}{
		"a target that is kept": {in: "BenchmarkIngest/tailnet-2 30000 70000 ns/op 20000 bare-req/s 20000 answering-req/s 0.9100 ratio 18000 req/s",
			want: "Ingest/tailnet 18000 req/s 20000 bare-req/s 0.91 ratio >= 0.85 yes"},
		"a target that is missed": {in: "BenchmarkLateness/10000 1 32000000000 ns/op 1 p50-ms 101.5 p99-ms 101.5 max-ms", want: "Lateness/10000 102 p99-ms <= 100 NO", err: "1 targets are missed"},
		"allocations":             {in: "BenchmarkStep/Tick-16 3000 502.6 ns/op 500 took-ns 2000 decode-ns 208 B/op 10 allocs/op", want: "Step/Tick 500 took-ns 10.0 2000 decode-ns 0.25"},
		"one that nobody expects": {in: "BenchmarkOther-2 10 12.5 ns/op", want: "Other 12.5 ns/op"},
		"one that fails":          {in: "BenchmarkOther-2 10 12.5 ns/op\n--- FAIL: BenchmarkIngest", want: "Other 12.5 ns/op", err: "a benchmark failed"},
		"one that did not run":    {in: "PASS", without: "StartAfterAYear/after_a_stop", want: "StartAfterAYear/after_a_stop did not run < 1 s NO", err: "1 targets are missed"},
		"none":                    {in: "PASS", err: "a benchmark failed"},
	} {
		t.Run(name, func(t *testing.T) {
			var out strings.Builder
			in := tt.in + "\n"
			if name != "none" {
				in += others(tt.in, tt.without)
			}
			err := run(strings.NewReader(in), &out)
			if (err == nil) != (tt.err == "") || err != nil && err.Error() != tt.err {
				t.Errorf("error %v, want %q\n%s", err, tt.err, out.String())
			}
			found := tt.want == ""
			for line := range strings.Lines(out.String()) {
				found = found || strings.Join(strings.Fields(line), " ") == tt.want
			}
			if !found {
				t.Errorf("no row %q in\n%s", tt.want, out.String())
			}
		})
	}
}

// others are results that keep every target, but of the benchmarks that are named.
func others(in, without string) string {
	metrics := map[string]string{}
	for _, r := range rows() {
		name := strings.Replace(r.bench, "*", "x", 1)
		if !strings.Contains(in, "Benchmark"+strings.TrimSuffix(r.bench, "*")) && name != without {
			metrics[name] += fmt.Sprintf(" 1 %s 1 %s", r.figure, cmp.Or(r.baseline, "ratio"))
		}
	}
	var b strings.Builder
	for name, m := range metrics {
		fmt.Fprintf(&b, "Benchmark%s 1%s\n", name, m)
	}
	return b.String()
}
