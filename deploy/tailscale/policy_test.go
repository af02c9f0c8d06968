// Package tailscale_test reads the policy as Tailscale would and asks it about every flow: those that the programs use
// are let through, and nothing else is.
package tailscale_test

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/tailscale/hujson"
	"tailscale.com/tailcfg"
)

// policy is what of a policy the sentinel's has. A section that is not here is refused.
type policy struct {
	TagOwners map[string][]string `json:"tagOwners"`
	Grants    []grant             `json:"grants"`
	NodeAttrs []struct {
		Target, Attr []string
	} `json:"nodeAttrs"`
	Tests []struct {
		Src          string
		Accept, Deny []string
	} `json:"tests"`
}

type grant struct{ Src, Dst, IP []string }

// flow is a connection that somebody opens.
type flow struct {
	src, dst, proto string
	port            int
}

func (f flow) String() string { return fmt.Sprintf("%s -> %s %s:%d", f.src, f.dst, f.proto, f.port) }

// is lists what a policy may call a machine by. People are members, admins are both.
var is = map[string][]string{
	"brain":      {"tag:sentinel-brain"},
	"pi":         {"tag:sentinel-pi"},
	"node":       {"tag:sentinel-node"},
	"prometheus": {"tag:prometheus"},
	"stranger":   {"tag:something-else"},
	"member":     {"autogroup:member"},
	"admin":      {"autogroup:member", "autogroup:admin"},
}

func read(t *testing.T, text []byte) policy {
	t.Helper()
	text, err := hujson.Standardize(text)
	if err != nil {
		t.Fatal(err)
	}
	d := json.NewDecoder(strings.NewReader(string(text)))
	d.DisallowUnknownFields()
	var p policy
	if err := d.Decode(&p); err != nil {
		t.Fatal(err)
	}
	return p
}

func file(t *testing.T) []byte {
	t.Helper()
	text, err := os.ReadFile("policy.hujson")
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// allows asks the grants, each of which only adds. What this does not understand fails the test.
func (p policy) allows(t *testing.T, f flow) bool {
	t.Helper()
	in := func(selectors []string, who string) bool {
		return slices.ContainsFunc(selectors, func(s string) bool {
			known := strings.HasPrefix(s, "tag:") || s == "autogroup:member" || s == "autogroup:admin"
			if !known {
				t.Fatalf("the selector %q is not understood here", s)
			}
			return slices.Contains(is[who], s)
		})
	}
	for _, g := range p.Grants {
		for _, ip := range g.IP {
			proto, port, _ := strings.Cut(ip, ":")
			n, err := strconv.Atoi(port)
			if err != nil || proto != "tcp" && proto != "udp" {
				t.Fatalf("the ports %q are not understood here", ip)
			}
			if proto == f.proto && n == f.port && in(g.Src, f.src) && in(g.Dst, f.dst) {
				return true
			}
		}
	}
	return false
}

// source is a file of the programs, which tells their ports and tags.
type source struct {
	name string
	ast  *ast.File
}

func parse(t *testing.T, name string) source {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), filepath.Join("../..", name), nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	return source{name, f}
}

func text(e ast.Expr) string {
	if l, ok := e.(*ast.BasicLit); ok && l.Kind == token.STRING {
		s, _ := strconv.Unquote(l.Value) // parsed
		return s
	}
	return ""
}

// constant finds one by its name, at whatever level.
func (s source) constant(t *testing.T, name string) string {
	t.Helper()
	found := ""
	ast.Inspect(s.ast, func(n ast.Node) bool {
		if v, ok := n.(*ast.ValueSpec); ok {
			for i, id := range v.Names {
				if id.Name == name && i < len(v.Values) {
					found = text(v.Values[i])
				}
			}
		}
		return true
	})
	if found == "" {
		t.Fatalf("%s has no %s any more; tell this test where it is", s.name, name)
	}
	return found
}

// listens finds the address in a call of tailnet.Listen.
func (s source) listens(t *testing.T) string {
	t.Helper()
	found := ""
	ast.Inspect(s.ast, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok || len(call.Args) != 2 {
			return true
		}
		if f, ok := call.Fun.(*ast.SelectorExpr); ok && f.Sel.Name == "Listen" {
			if on, ok := f.X.(*ast.SelectorExpr); ok && on.Sel.Name == "tailnet" {
				found = text(call.Args[1])
			}
		}
		return true
	})
	if found == "" {
		t.Fatalf("%s does not listen on the tailnet at a literal any more; tell this test where it does", s.name)
	}
	return found
}

func port(t *testing.T, address string) int {
	t.Helper()
	n, err := strconv.Atoi(strings.TrimPrefix(address, ":"))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestR1_ThePolicyLetsThroughWhatIsUsed asks about each pair of machines and each port that anything here uses. Ports and
// tags are those of the programs' source.
func TestR1_ThePolicyLetsThroughWhatIsUsed(t *testing.T) {
	p := read(t, file(t))
	proxy := parse(t, "pi-proxy/proxy/proxy.go")
	bundle := parse(t, "cloud/brain/bundle.go")
	page, relay := port(t, parse(t, "cloud/brain/run.go").listens(t)), port(t, proxy.constant(t, "piPort"))
	if dials := port(t, bundle.constant(t, "piPort")); dials != relay {
		t.Errorf("the brain dials %d, and the Pi listens at %d", dials, relay)
	}
	for name, tag := range map[string]string{"brain": bundle.constant(t, "tagBrain"), "pi": proxy.constant(t, "tagPi"),
		"node": parse(t, "cloud/internal/ingest/identity.go").constant(t, "TagNode")} {
		if !slices.Equal(is[name], []string{tag}) {
			t.Errorf("a %s is %s, not %s", name, tag, is[name])
		}
		if owners := p.TagOwners[tag]; !slices.Equal(owners, []string{"autogroup:admin"}) {
			t.Errorf("%s may be given by %q", tag, owners)
		}
	}
	used := []flow{
		{"node", "brain", "tcp", page},   // heartbeats and announcements
		{"pi", "brain", "tcp", page},     // reports and what it relays
		{"brain", "pi", "tcp", relay},    // the way to Proxmox
		{"node", "pi", "tcp", relay},     // by its tailnet address
		{"member", "brain", "tcp", page}, // the page
		{"admin", "brain", "tcp", page},
	}
	compare(t, p, used, page, relay)
}

// compare demands that the policy lets through what is used, and denies every other pair, port and protocol.
func compare(t *testing.T, p policy, used []flow, ports ...int) {
	t.Helper()
	asked := 0
	for src := range is {
		for dst := range is {
			for _, proto := range []string{"tcp", "udp"} {
				for _, port := range append([]int{22, 443, 3551, 8006, 8443, 9090, 10000, 41642}, ports...) {
					f := flow{src, dst, proto, port}
					if got, want := p.allows(t, f), slices.Contains(used, f); got != want {
						t.Errorf("%s: let through %v, want %v", f, got, want)
					}
					asked++
				}
			}
		}
	}
	if asked != 49*2*(8+len(ports)) {
		t.Errorf("%d flows asked about", asked)
	}
}

// TestThePolicysOwnTests does what Tailscale does when the policy is saved.
func TestThePolicysOwnTests(t *testing.T) {
	p := read(t, file(t))
	who := func(selector string) string {
		for name, all := range is {
			if len(all) == 1 && all[0] == selector {
				return name
			}
		}
		t.Fatalf("%s is nobody", selector)
		return ""
	}
	tried := map[string]bool{}
	for _, test := range p.Tests {
		if strings.HasPrefix(test.Src, "autogroup:") {
			t.Errorf("Tailscale's tests do not know %s", test.Src)
		}
		for want, all := range map[bool][]string{true: test.Accept, false: test.Deny} {
			for _, dst := range all {
				i := strings.LastIndex(dst, ":")
				f := flow{who(test.Src), who(dst[:i]), "tcp", port(t, dst[i:])}
				if got := p.allows(t, f); got != want {
					t.Errorf("%s: let through %v, want %v", f, got, want)
				}
			}
		}
		tried[test.Src] = len(test.Accept) > 0 && len(test.Deny) > 0
	}
	for tag := range p.TagOwners {
		if !tried[tag] {
			t.Errorf("nothing is accepted and denied of %s", tag)
		}
	}
}

// TestThePolicyKeepsNetworkMaps demands the attribute by the name that the library knows, and no funnel unasked.
func TestThePolicyKeepsNetworkMaps(t *testing.T) {
	has := map[string][]string{}
	for _, a := range read(t, file(t)).NodeAttrs {
		for _, target := range a.Target {
			has[target] = append(has[target], a.Attr...)
		}
	}
	want := []string{string(tailcfg.NodeAttrCacheNetworkMaps)}
	for _, tag := range []string{"tag:sentinel-brain", "tag:sentinel-pi"} {
		if !slices.Equal(has[tag], want) {
			t.Errorf("%s has %q, want %q", tag, has[tag], want)
		}
		delete(has, tag)
	}
	if len(has) != 0 {
		t.Errorf("others have attributes: %q", has)
	}
}

// TestWhatMayBeTakenIn takes the slashes away from each line that the policy offers.
func TestWhatMayBeTakenIn(t *testing.T) {
	offered := regexp.MustCompile(`(?m)^(\s*)// (\{.*)$`)
	text := file(t)
	if n := len(offered.FindAll(text, -1)); n != 4 {
		t.Fatalf("%d lines are offered instead of 4", n)
	}
	p := read(t, offered.ReplaceAll(text, []byte("$1$2")))
	for _, f := range []flow{{"prometheus", "brain", "tcp", 80}, {"prometheus", "pi", "tcp", 7777}} {
		if !p.allows(t, f) {
			t.Errorf("%s is not let through", f)
		}
	}
	if p.allows(t, flow{"prometheus", "node", "tcp", 8006}) {
		t.Error("Prometheus reaches Proxmox")
	}
	last := p.NodeAttrs[len(p.NodeAttrs)-1]
	if !slices.Equal(last.Attr, []string{string(tailcfg.NodeAttrFunnel)}) || !slices.Equal(last.Target, []string{"tag:sentinel-brain"}) {
		t.Errorf("the funnel is %+v", last)
	}
	if last := p.Tests[len(p.Tests)-1]; last.Src != "you@example.com" {
		t.Errorf("the last test is of %s", last.Src)
	}
}
