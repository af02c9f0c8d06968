package main

import (
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"sentinel.home.arpa/deploy/lab/internal/home"
)

var (
	block   = regexp.MustCompile("(?s)```([a-z]*)\n(.*?)```")
	labFlag = regexp.MustCompile(`-[a-z-]+`)
)

func readme(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestDocsConfigurations gives each configuration of the guide for an installation to the program
// that it is for.
func TestDocsConfigurations(t *testing.T) {
	if testing.Short() {
		t.Skip("builds two programs")
	}
	guide, err := os.ReadFile("../../docs/install.md")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	checked := 0
	for _, m := range block.FindAllStringSubmatch(string(guide), -1) {
		if m[1] != "yaml" {
			continue
		}
		pkg := map[bool]string{true: "cloud", false: "pi-proxy"}[strings.HasPrefix(m[2], "# /etc/sentinel/cloud.yaml")]
		path := filepath.Join(dir, pkg+".yaml")
		if err := os.WriteFile(path, []byte(m[2]), 0o600); err != nil {
			t.Fatal(err)
		}
		out, err := exec.Command("go", "run", "sentinel.home.arpa/"+pkg, "check-config", "--config", path).CombinedOutput()
		if err != nil {
			t.Errorf("%s: %v\n%s", pkg, err, out)
		}
		checked++
	}
	if checked != 2 {
		t.Errorf("%d configurations instead of 2", checked)
	}
}

// TestReadmeKnowsTheLab demands that the flags of the lab that the README names exist.
func TestReadmeKnowsTheLab(t *testing.T) {
	known := map[string]bool{"-h": true}
	flags(flag.NewFlagSet("lab", flag.ContinueOnError), &options{}).VisitAll(func(f *flag.Flag) { known["-"+f.Name] = true })
	seen := 0
	for line := range strings.Lines(readme(t)) {
		_, args, found := strings.Cut(line, "go run ./deploy/lab ")
		if !found {
			continue
		}
		args, _, _ = strings.Cut(args, "`")
		for _, word := range strings.Fields(args) {
			if labFlag.FindString(word) == word {
				seen++
				if !known[word] {
					t.Errorf("the lab knows no %s", word)
				}
			}
		}
	}
	if seen < 3 {
		t.Errorf("only %d flags found", seen)
	}
}

// TestDocsKnowTheVerbs demands that each verb of the lab is told in its guide.
func TestDocsKnowTheVerbs(t *testing.T) {
	text, err := os.ReadFile("../../docs/lab.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range home.Actions() {
		verb := strings.Fields(a[0])[0]
		if !strings.Contains(string(text), "`"+verb) {
			t.Errorf("docs/lab.md does not speak of %q", verb)
		}
	}
}
