package shared_test

import (
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the tests that there are into docs/behaviour.md")

var (
	ruleTest   = regexp.MustCompile(`(?m)^func (Test[A-Za-z]*?([A-Z][0-9]+)_\w+)\(`)
	scriptRule = regexp.MustCompile(`\b[A-Z][0-9]+\b`)
	docRule    = regexp.MustCompile(`^\| ([A-Z][0-9]+) \| (.*) \| .* \|$`)
)

const (
	contract  = "../docs/behaviour.md"
	scripts   = "../cloud/internal/sentinel/testdata/*.txt"
	notProved = "not kept yet"
)

// TestTheContractsListIsTrue demands that docs/behaviour.md lists with each rule every test
// and every script that names it, and none that is not there. -update writes them there.
func TestTheContractsListIsTrue(t *testing.T) {
	text, err := os.ReadFile(contract)
	if err != nil {
		t.Fatal(err)
	}
	proofs := proofs(t)
	lines, rules := strings.Split(string(text), "\n"), 0
	want := slices.Clone(lines)
	for i, line := range lines {
		m := docRule.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		rules++
		by := notProved
		if len(proofs[m[1]]) > 0 {
			by = strings.Join(proofs[m[1]], ", ")
		}
		want[i] = "| " + m[1] + " | " + m[2] + " | " + by + " |"
		delete(proofs, m[1])
	}
	if rules < 70 {
		t.Errorf("only %d rules are listed", rules)
	}
	for rule, names := range proofs {
		t.Errorf("%v name %s, which is no rule of the contract", names, rule)
	}
	if *update {
		if err := os.WriteFile(contract, []byte(strings.Join(want, "\n")), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(lines, want); diff != "" {
		t.Errorf("docs/behaviour.md lists other tests than there are (-listed +there); -update writes them:\n%s", diff)
	}
}

// proofs are the tests and scripts of each rule, as the document shows them.
func proofs(t *testing.T) map[string][]string {
	t.Helper()
	of := map[string]map[string]bool{}
	add := func(rule, proof string) {
		if of[rule] == nil {
			of[rule] = map[string]bool{}
		}
		of[rule][proof] = true
	}
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		code, err := os.ReadFile(path)
		for _, m := range ruleTest.FindAllStringSubmatch(string(code), -1) {
			add(m[2], "`"+m[1]+"`")
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(scripts)
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		story, _, _ := strings.Cut(string(text), "\n")
		for _, rule := range scriptRule.FindAllString(story, -1) {
			add(rule, "script "+filepath.Base(file))
		}
	}
	sorted := map[string][]string{}
	for rule, set := range of {
		for proof := range set {
			sorted[rule] = append(sorted[rule], proof)
		}
		slices.Sort(sorted[rule])
	}
	return sorted
}
