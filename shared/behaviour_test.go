package shared_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	ruleTest = regexp.MustCompile(`(?m)^func (Test[A-Za-z]*[A-Z][0-9]+_\w+)\(`)
	docTest  = regexp.MustCompile("`(Test\\w+)`")
	docRule  = regexp.MustCompile(`(?m)^\| ([A-Z][0-9]+) \|`)
)

// TestTheContractsListIsTrue demands that docs/behaviour.md lists every test that names a
// rule, and no test that is not there.
func TestTheContractsListIsTrue(t *testing.T) {
	text, err := os.ReadFile("../docs/behaviour.md")
	if err != nil {
		t.Fatal(err)
	}
	listed := map[string]bool{}
	for _, m := range docTest.FindAllStringSubmatch(string(text), -1) {
		listed[m[1]] = true
	}
	if n := len(docRule.FindAllString(string(text), -1)); n < 70 {
		t.Errorf("only %d rules are listed", n)
	}
	found := map[string]bool{}
	err = filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		code, err := os.ReadFile(path)
		for _, m := range ruleTest.FindAllStringSubmatch(string(code), -1) {
			found[m[1]] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for name := range found {
		if !listed[name] {
			t.Errorf("docs/behaviour.md does not list %s", name)
		}
	}
	for name := range listed {
		if !found[name] {
			t.Errorf("docs/behaviour.md lists %s, which is not there", name)
		}
	}
}
