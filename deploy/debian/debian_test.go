package main

import (
	"crypto/sha256"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// inRoot is where the command runs.
func inRoot(t *testing.T) *works {
	t.Helper()
	t.Chdir("../..")
	return &works{stage: t.TempDir(), source: source{version: "1.2.3~x", at: time.Unix(1700000000, 0).UTC()}}
}

// TestEachVerbHasItsPapers: what the sources of the programs have for verbs is in the manual
// and is completed, and nothing else is.
func TestEachVerbHasItsPapers(t *testing.T) {
	if testing.Short() {
		t.Skip("builds three programs")
	}
	w := inRoot(t)
	for _, p := range products() {
		if p.tags != "" {
			continue // the same verbs again, from the same source
		}
		t.Run(p.Package, func(t *testing.T) {
			u, err := w.usage(t.Context(), p)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, v := range u.verbs {
				got = append(got, v.name)
				if v.about == "" {
					t.Errorf("nothing is said of %s", v.name)
				}
			}
			want := verbs(t, p.source)
			slices.Sort(got)
			if slices.Sort(want); !slices.Equal(got, want) {
				t.Errorf("the verbs are\n%q, want\n%q", got, want)
			}
			page := manual(p, u, w.version, w.at)
			for _, v := range want {
				if !strings.Contains(page, "\n.TP\n\\fB"+roff(v)+"\\fR") {
					t.Errorf("the manual lacks %s", v)
				}
				for _, word := range strings.Fields(v) {
					before, _, _ := strings.Cut(v, word)
					if next := complete(t, bash(p.Program, u), p.Program, append(strings.Fields(before), word[:1])); !slices.Contains(next, word) {
						t.Errorf("%q is completed to %q", before+word[:1], next)
					}
				}
			}
			example := filepath.Join(here, "examples", p.Config)
			if out, err := exec.Command(filepath.Join(w.stage, "asked", p.Package), "--config", example, "check-config").CombinedOutput(); err != nil {
				t.Errorf("%s: %v\n%s", example, err, out)
			}
		})
	}
}

// complete has a shell complete a command line.
func complete(t *testing.T, script, program string, words []string) []string {
	t.Helper()
	shell, err := exec.LookPath("bash")
	if err != nil {
		t.Skip("there is no bash: completions are NOT TESTED")
	}
	script += "\nCOMP_WORDS=(" + program + ` "$@"); COMP_CWORD=$#; ` + function(program) + `; printf '%s\n' "${COMPREPLY[@]}"`
	out, err := exec.Command(shell, append([]string{"-euc", script, "bash"}, words...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return strings.Fields(string(out))
}

func TestCompletion(t *testing.T) {
	u := usage{flags: []entry{{"-h, --help", ""}, {`--config="/x"`, ""}}, verbs: []verb{
		{name: "run"}, {name: "plan show"}, {name: "plan arm", flags: []entry{{"--force", ""}}}, {name: "event", choices: []string{"doreboot", "doshutdown", "timeout"}}}}
	for line, want := range map[string]string{
		"|":                       "run plan event --help --config",
		"p|":                      "plan",
		"plan|":                   "plan",
		"plan |":                  "show arm",
		"plan arm |":              "--force",
		"plan arm x --f|":         "--force",
		"run |":                   "",
		"event do|":               "doreboot doshutdown",
		"--config plan e|":        "event",
		"--config = plan event |": "doreboot doshutdown timeout",
		"--config |":              "",
		"--help r|":               "run",
	} {
		words := strings.Split(strings.TrimSuffix(line, "|"), " ")
		if got := strings.Join(complete(t, bash("sentinel-x", u), "sentinel-x", words), " "); got != want {
			t.Errorf("%q is completed to %q, want %q", line, got, want)
		}
	}
	if text := zsh("sentinel-x", u); !strings.HasPrefix(text, "#compdef sentinel-x\n") || !strings.Contains(text, "'plan arm' | 'plan arm '*) next='--force' ;;") {
		t.Error(text)
	}
}

// verbs are those that a program's source has: kong's, or the agent's list.
func verbs(t *testing.T, dir string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	types := map[string]*ast.StructType{}
	var found []string
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if m := regexp.MustCompile(`Contains\(\[\]string\{("run".*)\}, o\.command\)`).FindStringSubmatch(string(text)); m != nil {
			return strings.Split(strings.ReplaceAll(m[1], `"`, ""), ", ")
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), name, text, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(parsed, func(n ast.Node) bool {
			if spec, ok := n.(*ast.TypeSpec); ok {
				if s, ok := spec.Type.(*ast.StructType); ok {
					types[spec.Name.Name] = s
				}
			}
			return true
		})
	}
	var walk func(s *ast.StructType, so string)
	walk = func(s *ast.StructType, so string) {
		for _, f := range s.Fields.List {
			if f.Tag == nil {
				continue
			}
			literal, _ := strconv.Unquote(f.Tag.Value)
			tag := reflect.StructTag(literal)
			_, cmd := tag.Lookup("cmd")
			_, hidden := tag.Lookup("hidden")
			if !cmd || hidden {
				continue
			}
			name := regexp.MustCompile(`([a-z])([A-Z])`).ReplaceAllString(f.Names[0].Name, "$1-$2")
			if given := tag.Get("name"); given != "" {
				name = given
			}
			name = strings.TrimSpace(so + " " + strings.ToLower(name))
			inner, _ := f.Type.(*ast.StructType)
			if named, ok := f.Type.(*ast.Ident); ok {
				inner = types[named.Name]
			}
			before := len(found)
			if inner != nil {
				walk(inner, name)
			}
			if len(found) == before {
				found = append(found, name)
			}
		}
	}
	if types["commands"] == nil {
		t.Fatalf("%s has no commands", dir)
	}
	walk(types["commands"], "")
	return found
}

// TestAProgramSaysTheVersionThatItWasGiven: the linker has set it.
func TestAProgramSaysTheVersionThatItWasGiven(t *testing.T) {
	if testing.Short() {
		t.Skip("builds a program")
	}
	w := inRoot(t)
	for _, p := range products() {
		if p.Package != "sentinel-node" {
			continue
		}
		program := filepath.Join(w.stage, p.Program)
		goarch, err := exec.Command("go", "env", "GOARCH").Output()
		if err != nil {
			t.Fatal(err)
		}
		arch := map[string]string{"amd64": "amd64", "arm64": "arm64", "arm": "armhf"}[strings.TrimSpace(string(goarch))]
		if arch == "" {
			t.Skipf("packages are not built for %s", goarch)
		}
		if err := w.build(t.Context(), p, arch, program); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command(program, "version").CombinedOutput(); err != nil || string(out) != "sentinel-node 1.2.3~x\n" {
			t.Errorf("it says %q, %v", out, err)
		}
		return
	}
	t.Error("there is no agent")
}

func TestScripts(t *testing.T) {
	for _, p := range products() {
		for _, name := range []string{"preinst", "postinst", "prerm", "postrm"} {
			text, err := script("scripts", name, p)
			if err != nil {
				t.Fatal(err)
			}
			cmd := exec.Command("sh", "-n")
			cmd.Stdin = strings.NewReader(string(text))
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%s of %s: %v %s\n%s", name, p.Package, err, out, text)
			}
		}
	}
}

// TestTheBuildersEnvironmentChangesNoProgram: who has other settings of Go gets the same bytes.
func TestTheBuildersEnvironmentChangesNoProgram(t *testing.T) {
	if testing.Short() {
		t.Skip("builds programs")
	}
	w := inRoot(t)
	p := products()[2]
	for arch, theirs := range map[string]map[string]string{
		"amd64": {"GOFLAGS": "", "GOAMD64": "v3", "GOFIPS140": "latest"},
		"armhf": {"GOFLAGS": "-buildvcs=false -tags=x", "GOARM": "7", "GOEXPERIMENT": "nodwarf5"},
	} {
		t.Run(arch, func(t *testing.T) {
			var sums [2][sha256.Size]byte
			for i := range sums {
				program := filepath.Join(t.TempDir(), "program")
				if err := w.build(t.Context(), p, arch, program); err != nil {
					t.Fatal(err)
				}
				text, err := os.ReadFile(program)
				if err != nil {
					t.Fatal(err)
				}
				sums[i] = sha256.Sum256(text)
				for name, value := range theirs {
					t.Setenv(name, value)
				}
			}
			if sums[0] != sums[1] {
				t.Errorf("with %v it is another program", theirs)
			}
		})
	}
}

// TestScriptsOfAnInstallation runs them below a directory: who has written nothing is told what to
// do next, who has is not, and an installation that was given up leaves nothing behind.
func TestScriptsOfAnInstallation(t *testing.T) {
	for _, p := range products() {
		root := t.TempDir()
		for _, dir := range []string{"run/systemd/system", "etc/sentinel", "bin"} {
			if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		for _, tool := range []string{"systemctl", "systemd-sysusers", "deb-systemd-helper", "deb-systemd-invoke"} {
			if err := os.WriteFile(filepath.Join(root, "bin", tool), []byte("#!/bin/sh\necho "+tool+" \"$@\" >>"+root+"/did\n"), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		run := func(name, why string) string {
			t.Helper()
			text, err := script("scripts", name, p)
			if err != nil {
				t.Fatal(err)
			}
			cmd := exec.Command("sh", "-s", why)
			cmd.Stdin = strings.NewReader(strings.NewReplacer("/run/", root+"/run/", "/etc/sentinel", root+"/etc/sentinel").Replace(string(text)))
			cmd.Env = append(os.Environ(), "PATH="+root+"/bin:"+os.Getenv("PATH"))
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Fatalf("%s of %s: %v %s", name, p.Package, err, out)
			}
			return strings.ReplaceAll(string(out), root, "")
		}
		left := func() bool {
			_, err := os.Stat(filepath.Join(root, "run", p.Package+".installed"))
			return err == nil
		}
		started := func() bool {
			did, _ := os.ReadFile(filepath.Join(root, "did")) // none: nothing was done
			return strings.Contains(string(did), "deb-systemd-invoke start")
		}
		if run("preinst", "install"); !left() {
			t.Errorf("%s: nothing tells an installation", p.Package)
		}
		if run("postrm", "abort-install"); left() {
			t.Errorf("%s: an installation that was given up is taken for one by the next upgrade", p.Package)
		}
		run("preinst", "install")
		if out := run("postinst", "configure"); !strings.HasPrefix(out, p.Package+": ") || !strings.Contains(out, "/etc/sentinel/"+p.Config) || left() || started() {
			t.Errorf("%s: with nothing configured it says %q; started: %v", p.Package, out, started())
		}
		if err := os.WriteFile(filepath.Join(root, "etc", "sentinel", p.Config), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		run("preinst", "install")
		if out := run("postinst", "configure"); out != "" || !started() {
			t.Errorf("%s: with a configuration it says %q; started: %v", p.Package, out, started())
		}
	}
}

func TestReleases(t *testing.T) {
	got := releases("# Changelog\n\n- no release's\n\n## 0.2.0 (unreleased)\n\n- One `thing`\n  in two lines.\n- **Another**.\n\nProse.\n\n## Words\n\n## 0.1.0 (2026-11-29)\n\n- First.\n")
	if len(got) != 2 || got[0].version != "0.2.0" || !got[0].at.IsZero() || len(got[0].lines) != 2 || got[0].lines[0] != "One `thing` in two lines." ||
		got[1].at.Format(time.DateOnly) != "2026-11-29" {
		t.Errorf("%+v", got)
	}
	want := `x (0.2.0~1) stable; urgency=medium

  * One thing in two lines.
  * Another.

 -- ` + maintainer + `  Tue, 14 Nov 2023 22:13:20 +0000

x (0.1.0) stable; urgency=medium

  * First.

 -- ` + maintainer + `  Sun, 29 Nov 2026 00:00:00 +0000

`
	if text := changelog("x", "0.2.0~1", time.Unix(1700000000, 0).UTC(), got); text != want {
		t.Errorf("%s", text)
	}
}

// TestVersions: what is built from a commit comes before the release that it becomes, and
// after what was built from an earlier one.
func TestVersions(t *testing.T) {
	dpkg, err := exec.LookPath("dpkg")
	if err != nil {
		t.Skip("there is no dpkg: how versions sort is NOT TESTED")
	}
	dir := t.TempDir()
	t.Chdir(dir)
	t.Setenv("SOURCE_DATE_EPOCH", "")
	git := func(args ...string) {
		t.Helper()
		cmd := exec.Command("git", append([]string{"-c", "user.name=x", "-c", "user.email=x@example.com"}, args...)...)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.MkdirAll("docs", 0o755))
	must(os.WriteFile("docs/CHANGELOG.md", []byte("## 0.2.0 (unreleased)\n"), 0o644))
	git("init", "-q")
	git("add", ".")
	var seen []string
	for _, at := range []string{"2026-11-29T10:00:00Z", "2026-11-29T11:00:00Z"} {
		t.Setenv("GIT_COMMITTER_DATE", at)
		git("commit", "-q", "--allow-empty", "-m", "x")
		s, err := look(t.Context(), "")
		must(err)
		seen = append(seen, s.version)
	}
	git("tag", "v0.2.0")
	s, err := look(t.Context(), "")
	must(err)
	if s.version != "0.2.0" {
		t.Errorf("a tagged commit is %s", s.version)
	}
	seen = append(seen, s.version)
	git("commit", "-q", "--allow-empty", "-m", "after it, under the heading of what is out")
	s, err = look(t.Context(), "")
	must(err)
	seen = append(seen, s.version)
	must(os.WriteFile("docs/CHANGELOG.md", []byte("## 0.2.1 (unreleased)\n\n## 0.2.0 (2026-11-29)\n"), 0o644))
	git("commit", "-qam", "x")
	s, err = look(t.Context(), "")
	must(err)
	seen = append(seen, s.version)
	for i := range seen[1:] {
		if err := exec.Command(dpkg, "--compare-versions", seen[i], "lt", seen[i+1]).Run(); err != nil {
			t.Errorf("%s is not before %s: %v", seen[i], seen[i+1], err)
		}
	}
	must(os.WriteFile("docs/CHANGELOG.md", []byte("## 0.2.0 (now)\n"), 0o644))
	if s, err := look(t.Context(), ""); err != nil || !strings.HasSuffix(s.version, ".changed") {
		t.Errorf("with changed files it is %s, %v", s.version, err)
	}
	if _, err := look(t.Context(), "v1"); err == nil {
		t.Error("v1 is taken for a version")
	}
}
