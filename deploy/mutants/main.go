// Command mutants breaks the pure packages on purpose, one place at a time, and tells how
// many of the breaks their tests notice. Those that live are looked up in survivors.txt,
// which says of each why nothing notices it; one that is not there is told as news.
package main

import (
	"bufio"
	_ "embed"
	"flag"
	"fmt"
	"os"
	"strings"
)

// target is the least share of the breaks that must be noticed, in percent.
const target = 85.0

// pure are the packages that decide.
func pure() []string {
	return []string{"shared/power", "shared/shutdown", "cloud/internal/cause", "shared/escalation", "cloud/internal/sentinel", "pi-proxy/internal/guardian", "pi-proxy/internal/brainwatch"}
}

//go:embed survivors.txt
var survivors string

func main() {
	workers := flag.Int("workers", 2, "how many breaks are tested at once")
	only := choice{}
	flag.StringVar(&only.files, "files", "", "break only the files of which the `name` is one of these, as watch.go,worse.go")
	flag.IntVar(&only.checks, "checks", 0, "how many random histories each break is tested with, the same for all; 0: as many as the tests like")
	flag.IntVar(&only.oneOf, "one-of", 1, "break one place of so many, evenly, for a first look")
	flag.Parse()
	packages := flag.Args()
	if len(packages) == 0 {
		packages = pure()
	}
	if err := run(packages, *workers, only); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(packages []string, workers int, only choice) error {
	why := explained()
	var all, news tally
	var table, list strings.Builder
	for _, p := range packages {
		found, err := unleash(p, workers, only)
		if err != nil {
			return err
		}
		var here tally
		for _, m := range found {
			here.add(m.came)
			all.add(m.came)
			if m.came != lived {
				continue
			}
			reason, known := why[m.String()]
			if !known {
				reason = "NEW: not in survivors.txt"
				news.add(m.came)
			}
			fmt.Fprintf(&list, "%s\n    %s\n", m, reason)
		}
		here.row(&table, p)
		fmt.Printf("%s: %d of %d noticed\n", p, here.killed, here.killed+here.lived)
	}
	all.row(&table, "all")
	fmt.Printf("\nThose that live:\n%s\n%-28s %6s %6s %6s %12s %8s\n%s", list.String(), "package", "breaks", "killed", "lived", "not compiled", "killed", table.String())
	switch {
	case all.share() < target:
		return fmt.Errorf("%.1f %% of the breaks are noticed; it must be %.0f %%", all.share(), target)
	case news.lived > 0:
		return fmt.Errorf("%d of those that live are not in survivors.txt; test them, or say there why nothing can notice them", news.lived)
	}
	return nil
}

// tally counts what came of breaks.
type tally struct{ killed, lived, uncompiled int }

func (t *tally) add(o outcome) {
	switch o {
	case killed:
		t.killed++
	case lived:
		t.lived++
	case uncompiled:
		t.uncompiled++
	}
}

func (t *tally) share() float64 {
	if t.killed+t.lived == 0 {
		return 100
	}
	return 100 * float64(t.killed) / float64(t.killed+t.lived)
}

func (t *tally) row(w *strings.Builder, name string) {
	fmt.Fprintf(w, "%-28s %6d %6d %6d %12d %6.1f %%\n", name, t.killed+t.lived, t.killed, t.lived, t.uncompiled, t.share())
}

// explained reads survivors.txt: a line that names a mutant, then an indented one that says why.
func explained() map[string]string {
	why := map[string]string{}
	last := ""
	lines := bufio.NewScanner(strings.NewReader(survivors))
	for lines.Scan() {
		switch text := lines.Text(); {
		case strings.HasPrefix(text, "#"):
		case strings.HasPrefix(text, " "):
			why[last] = strings.TrimSpace(text)
		default:
			last = text
		}
	}
	return why
}
