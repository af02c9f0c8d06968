package shared_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "sentinel.home.arpa/"

// pure packages decide: they know no clock, network, disk, log or randomness.
var pure = []string{"shared/power", "shared/shutdown", "cloud/internal/sentinel", "cloud/internal/cause", "shared/escalation", "shared/routing", "pi-proxy/internal/guardian", "pi-proxy/internal/brainwatch", "shared/doctor"}

// pureMay is all of the standard library that they may import.
var pureMay = []string{"cmp", "encoding/json", "errors", "fmt", "iter", "maps", "math", "slices", "strconv", "strings", "time"}

// clock is what they may not name of package time.
var clock = []string{"Now", "Sleep", "After", "AfterFunc", "Tick", "NewTimer", "NewTicker", "Since", "Until", "Local", "LoadLocation"}

// adapters touch the world outside. None imports another: what joins them is wiring.
var adapters = []string{"shared/proxmox", "shared/twilio", "shared/tailnet", "shared/probe", "cloud/internal/journal", "cloud/internal/notify", "shared/channel",
	"cloud/internal/ingest", "cloud/internal/checks", "cloud/internal/web", "cloud/internal/api", "cloud/internal/cli", "cloud/internal/setup", "pi-proxy/internal/ups", "pi-proxy/internal/apcupsd", "shared/systemctl", "pi-proxy/internal/lan",
	"pi-proxy/internal/spool", "pi-proxy/internal/ledger", "pi-proxy/internal/record", "pi-proxy/internal/root", "pi-proxy/internal/wake", "node-hook/internal/beat", "node-hook/internal/announce",
	"node-hook/internal/systemd", "node-hook/internal/tailscaled", "node-hook/internal/peers"}

// programs are never imported by what they share, nor by one another.
var programs = []string{"cloud", "pi-proxy", "node-hook"}

// forTests are packages that only tests and deploy may import.
var forTests = []string{"shared/sim/", "node-hook/internal/rig", "cloud/sentineltest", "pi-proxy/guardiantest"}

// may lists what each package imports of this module, outside of its tests. A new edge is
// added here, on purpose; deploy may import what it likes.
var may = map[string][]string{
	"shared":                        {}, // this test
	"shared/calls":                  {"shared/twilio"},
	"shared/config":                 {},
	"shared/courier":                {"shared/wire"},
	"shared/daemon":                 {},
	"shared/doctor":                 {},
	"shared/executor":               {"shared/shutdown"},
	"shared/orders":                 {"shared/executor", "shared/shutdown", "shared/wire"},
	"shared/power":                  {},
	"shared/proxmox":                {"shared/shutdown"},
	"shared/shutdown":               {"shared/power"},
	"shared/systemctl":              {},
	"shared/tailnet":                {},
	"shared/twilio":                 {},
	"shared/uplink":                 {"shared/tailnet"},
	"shared/wire":                   {"shared/power", "shared/shutdown"},
	"shared/sim/":                   {"shared/sim/freeport"},
	"shared/speech":                 {},
	"cloud":                         {"cloud/brain", "cloud/internal/cli", "cloud/internal/setup", "shared/daemon", "shared/doctor", "shared/wire"},
	"cloud/brain":                   {"cloud/internal/", "shared/"},
	"pi-proxy":                      {"pi-proxy/internal/root", "pi-proxy/proxy", "shared/daemon", "shared/doctor", "shared/wire"},
	"pi-proxy/proxy":                {"pi-proxy/internal/", "shared/"},
	"node-hook":                     {"node-hook/embedded", "node-hook/hook", "shared/daemon", "shared/wire"},
	"node-hook/embedded":            {"node-hook/hook", "node-hook/internal/find", "shared/courier", "shared/daemon", "shared/tailnet", "shared/wire"},
	"node-hook/hook":                {"node-hook/internal/", "shared/config", "shared/courier", "shared/daemon", "shared/doctor", "shared/wire"},
	"cloud/internal/cause":          {},
	"shared/channel":                {},
	"cloud/internal/cli":            {"shared/doctor", "shared/power"},
	"shared/escalation":             {},
	"shared/routing":                {},
	"cloud/internal/ingest":         {"cloud/internal/liveness", "cloud/internal/sentinel", "shared/courier", "shared/wire"},
	"cloud/internal/journal":        {"cloud/internal/sentinel", "shared/daemon"},
	"cloud/internal/liveness":       {"cloud/internal/cause"},
	"cloud/internal/notify":         {"shared/speech"},
	"shared/outbox":                 {"shared/channel"},
	"cloud/internal/sentinel":       {"cloud/internal/cause", "shared/escalation", "shared/power", "shared/routing", "shared/shutdown"},
	"cloud/internal/setup":          {"shared/wire"},
	"cloud/internal/web":            {"shared/power"},
	"cloud/sentineltest":            {"cloud/internal/cause", "cloud/internal/sentinel"},
	"pi-proxy/internal/apcupsd":     {},
	"pi-proxy/internal/brainwatch":  {"shared/escalation", "shared/power"},
	"pi-proxy/internal/guardian":    {"shared/power", "shared/shutdown"},
	"pi-proxy/internal/lan":         {"shared/courier", "shared/wire"},
	"pi-proxy/internal/ledger":      {"pi-proxy/internal/brainwatch", "pi-proxy/internal/guardian", "shared/daemon", "shared/shutdown", "shared/wire"},
	"pi-proxy/internal/record":      {"shared/daemon", "shared/wire"},
	"pi-proxy/internal/root":        {"shared/daemon"},
	"pi-proxy/internal/spool":       {"shared/daemon"},
	"pi-proxy/internal/ups":         {"shared/power"},
	"pi-proxy/guardiantest":         {"pi-proxy/internal/guardian"},
	"node-hook/internal/announce":   {"shared/courier", "shared/wire"},
	"node-hook/internal/beat":       {"shared/courier", "shared/wire"},
	"node-hook/internal/find":       {"shared/wire"},
	"node-hook/internal/orders":     {"shared/courier", "shared/wire"},
	"node-hook/internal/peers":      {"shared/courier", "shared/daemon", "shared/wire"},
	"node-hook/internal/rig":        {"shared/courier", "shared/wire"},
	"node-hook/internal/self":       {"shared/wire"},
	"node-hook/internal/systemd":    {"shared/wire"},
	"node-hook/internal/tailscaled": {},
}

// linked are the variables that the linker sets, once and before the program runs.
var linked = []string{"shared/daemon.given"}

// Bounds of a file's length, in lines: of code, and of tests with their tables.
const (
	maxCode = 450
	maxTest = 700
)

// pkg is a package as the walls see it.
type pkg struct {
	path  string // within the module
	files []file
}

type file struct {
	name    string
	lines   int
	ast     *ast.File
	imports map[string]string // path by local name
}

func (f file) test() bool { return strings.HasSuffix(f.name, "_test.go") }

// walls are all that one package must keep to. Each gives what is wrong.
func walls(p pkg) []string {
	var wrong []string
	say := func(f file, format string, args ...any) {
		wrong = append(wrong, p.path+"/"+f.name+": "+fmt.Sprintf(format, args...))
	}
	allowed, listed := lookUp(p.path)
	if !listed {
		wrong = append(wrong, p.path+": is in no list: say in may what it imports")
	}
	for _, f := range p.files {
		if limit := map[bool]int{false: maxCode, true: maxTest}[f.test()]; f.lines > limit {
			say(f, "%d lines are over %d", f.lines, limit)
		}
		if f.test() {
			continue
		}
		for _, path := range f.imports {
			inner, ours := strings.CutPrefix(path, module)
			switch {
			case !ours:
			case !strings.HasPrefix(p.path, "deploy/") && within(forTests, inner) && !within(forTests, p.path):
				say(f, "imports %s, which is for tests", inner)
			case listed && !within(allowed, inner):
				say(f, "imports %s, which is not on its list", inner)
			}
			if slices.Contains(pure, p.path) && !slices.Contains(pureMay, path) && (!ours || !slices.Contains(pure, inner)) {
				say(f, "is pure and imports %s", path)
			}
		}
		if slices.Contains(pure, p.path) {
			for _, name := range clocks(f) {
				say(f, "is pure and names time.%s", name)
			}
			if concurrent(f) {
				say(f, "is pure and does two things at once, which the race detector does not see here")
			}
		}
		for _, what := range globals(f, p.path) {
			say(f, "%s", what)
		}
	}
	return wrong
}

// lookUp finds what a package may import; a folder's entry ends in a slash.
func lookUp(path string) (allowed []string, listed bool) {
	if strings.HasPrefix(path, "deploy/") {
		return []string{"deploy/", "shared/"}, true
	}
	for entry, allowed := range may {
		if entry == path || strings.HasSuffix(entry, "/") && strings.HasPrefix(path, entry) {
			return allowed, true
		}
	}
	return nil, false
}

// within reports whether a path is one of a list, or in one of its folders.
func within(list []string, path string) bool {
	return slices.ContainsFunc(list, func(l string) bool {
		return l == path || strings.HasSuffix(l, "/") && strings.HasPrefix(path, l)
	})
}

// clocks are what a file names of the forbidden part of package time.
func clocks(f file) []string {
	var named []string
	ast.Inspect(f.ast, func(n ast.Node) bool {
		sel, ok := n.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		if x, ok := sel.X.(*ast.Ident); ok && f.imports[x.Name] == "time" && slices.Contains(clock, sel.Sel.Name) {
			named = append(named, sel.Sel.Name)
		}
		return true
	})
	if f.imports["."] != "" {
		named = append(named, "anything, by a dot import of "+f.imports["."])
	}
	return named
}

// concurrent reports whether a file starts a goroutine, or knows channels.
func concurrent(f file) (found bool) {
	ast.Inspect(f.ast, func(n ast.Node) bool {
		switch n.(type) {
		case *ast.GoStmt, *ast.ChanType, *ast.SelectStmt:
			found = true
		}
		return !found
	})
	return found
}

// globals are init functions and package variables that are no error, regular expression,
// embedded file or assertion.
func globals(f file, path string) []string {
	var found []string
	for _, decl := range f.ast.Decls {
		switch d := decl.(type) {
		case *ast.FuncDecl:
			if d.Recv == nil && d.Name.Name == "init" {
				found = append(found, "has an init function")
			}
		case *ast.GenDecl:
			if d.Tok != token.VAR {
				continue
			}
			for _, spec := range d.Specs {
				if v := spec.(*ast.ValueSpec); !excused(d, v) && !slices.Contains(linked, path+"."+v.Names[0].Name) {
					found = append(found, "has the package variable "+v.Names[0].Name)
				}
			}
		}
	}
	return found
}

func excused(d *ast.GenDecl, v *ast.ValueSpec) bool {
	for _, doc := range []*ast.CommentGroup{d.Doc, v.Doc} {
		if doc != nil && slices.ContainsFunc(doc.List, func(c *ast.Comment) bool { return strings.HasPrefix(c.Text, "//go:embed ") }) {
			return true
		}
	}
	if v.Names[0].Name == "_" {
		return true
	}
	for _, value := range v.Values {
		call, ok := value.(*ast.CallExpr)
		if !ok {
			return false
		}
		fun, ok := call.Fun.(*ast.SelectorExpr)
		if !ok {
			return false
		}
		x, ok := fun.X.(*ast.Ident)
		if !ok || !slices.Contains([]string{"errors.New", "fmt.Errorf", "regexp.MustCompile"}, x.Name+"."+fun.Sel.Name) {
			return false
		}
	}
	return len(v.Values) > 0
}

// newFile parses a file and gathers its imports.
func newFile(name string, src []byte) (file, error) {
	parsed, err := parser.ParseFile(token.NewFileSet(), name, src, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return file{}, err
	}
	f := file{name: filepath.Base(name), lines: bytes.Count(src, []byte("\n")), ast: parsed, imports: map[string]string{}}
	for _, i := range parsed.Imports {
		path, err := strconv.Unquote(i.Path.Value)
		if err != nil {
			return file{}, err
		}
		local := path[strings.LastIndex(path, "/")+1:]
		if i.Name != nil {
			local = i.Name.Name
		}
		for f.imports[local] != "" { // blank imports, and guessed names, may coincide
			local += "'"
		}
		f.imports[local] = path
	}
	return f, nil
}

// load reads every package of the module, whatever its build tags.
func load(t *testing.T) []pkg {
	t.Helper()
	var ps []pkg
	listed := goList(t, "-json=ImportPath,Dir", "./...")
	for d := json.NewDecoder(bytes.NewReader(listed)); ; {
		var l struct{ ImportPath, Dir string }
		if err := d.Decode(&l); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		names, err := filepath.Glob(filepath.Join(l.Dir, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		p := pkg{path: strings.TrimPrefix(l.ImportPath, module)}
		for _, name := range names {
			src, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			f, err := newFile(name, src)
			if err != nil {
				t.Fatal(err)
			}
			p.files = append(p.files, f)
		}
		ps = append(ps, p)
	}
	if len(ps) < 20 {
		t.Fatalf("only %d packages were found", len(ps))
	}
	return ps
}

func goList(t *testing.T, args ...string) []byte {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", append([]string{"list"}, args...)...)
	cmd.Dir = ".."
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list %s: %v", strings.Join(args, " "), err)
	}
	return out
}

func TestWalls(t *testing.T) {
	for _, p := range load(t) {
		for _, w := range walls(p) {
			t.Error(w)
		}
	}
}

// table finds what the list of edges may not say, however much somebody wants it.
func table(may map[string][]string) []string {
	var wrong []string
	for from, edges := range may {
		for _, to := range edges {
			switch {
			case slices.Contains(adapters, from) && slices.Contains(adapters, to):
				wrong = append(wrong, from+" and "+to+" are both adapters")
			case strings.HasPrefix(from, "shared/") && !strings.HasPrefix(to, "shared/"):
				wrong = append(wrong, from+" is shared and may import the program of "+to)
			case crosses(from, to):
				wrong = append(wrong, from+" and "+to+" are of two programs")
			}
		}
	}
	return wrong
}

func crosses(from, to string) bool {
	of := func(path string) string {
		top, _, _ := strings.Cut(path, "/")
		return top
	}
	return slices.Contains(programs, of(from)) && slices.Contains(programs, of(to)) && of(from) != of(to)
}

func TestTheTableItself(t *testing.T) {
	for _, w := range table(may) {
		t.Error(w)
	}
}

// heavy are packages among dependencies that the agent must not pull.
func heavy(deps string) []string {
	var found []string
	for s := bufio.NewScanner(strings.NewReader(deps)); s.Scan(); {
		if path := s.Text(); strings.HasPrefix(path, "tailscale.com") || strings.HasPrefix(path, "modernc.org/") || strings.HasPrefix(path, "gvisor.dev/") {
			found = append(found, path)
		}
	}
	return found
}

// TestTheAgentStaysSmall: what runs on every node has no tailnet and no database in it.
func TestTheAgentStaysSmall(t *testing.T) {
	for _, path := range heavy(string(goList(t, "-deps", "./node-hook"))) {
		t.Errorf("node-hook pulls %s", path)
	}
}
