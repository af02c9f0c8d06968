package shared_test

import (
	"strings"
	"testing"
)

// TestWallsAreCaught feeds each wall a package that breaks it.
func TestWallsAreCaught(t *testing.T) {
	for name, c := range map[string]struct {
		path, file, src string
		want            string // part of what is said; empty: nothing is wrong
	}{
		"a good pure package":                {"shared/power", "a.go", `package power; import ("fmt"; "time"); var errX = fmt.Errorf("x"); func f(now time.Time) time.Time { return now.Add(time.Second) }`, ""},
		"pure, with a clock":                 {"shared/power", "a.go", `package power; import "time"; func f() time.Time { return time.Now() }`, "names time.Now"},
		"pure, with a clock by another name": {"cloud/internal/cause", "a.go", `package cause; import clk "time"; func f() { clk.Sleep(1) }`, "names time.Sleep"},
		"pure, with a clock as a value":      {"shared/shutdown", "a.go", `package shutdown; import "time"; type r struct { now func() time.Time }; func f() r { return r{time.Now} }`, "names time.Now"},
		"pure, with a dot import":            {"shared/shutdown", "a.go", `package shutdown; import . "time"; func f() Time { return Now() }`, "dot import"},
		"pure, with a network":               {"cloud/internal/sentinel", "a.go", `package sentinel; import "net"; type c net.Conn`, "is pure and imports net"},
		"pure, with a log":                   {"pi-proxy/internal/guardian", "a.go", `package guardian; import "log/slog"; type l slog.Logger`, "is pure and imports log/slog"},
		"pure, with randomness":              {"shared/escalation", "a.go", `package escalation; import "math/rand/v2"; func f() int { return rand.Int() }`, "is pure and imports math/rand/v2"},
		"pure, with an adapter":              {"cloud/internal/sentinel", "a.go", `package sentinel; import "sentinel.home.arpa/shared/wire"; type h wire.Header`, "is pure and imports"},
		"pure, with a goroutine":             {"shared/power", "a.go", `package power; func f() { go f() }`, "does two things at once"},
		"pure, in its test":                  {"shared/power", "a_test.go", `package power; import ("time"; "net"); func f() (time.Time, net.Conn) { return time.Now(), nil }`, ""},
		"shared, with a program":             {"shared/wire", "a.go", `package wire; import _ "sentinel.home.arpa/cloud/brain"`, "not on its list"},
		"an adapter with an adapter":         {"cloud/internal/web", "a.go", `package web; import _ "sentinel.home.arpa/cloud/internal/journal"`, "not on its list"},
		"a blank import beside another":      {"cloud/internal/web", "a.go", `package web; import (_ "net"; _ "sentinel.home.arpa/cloud/internal/journal")`, "not on its list"},
		"a program with a simulator":         {"cloud/brain", "a.go", `package brain; import _ "sentinel.home.arpa/shared/sim/upssim"`, "is for tests"},
		"a test with a simulator":            {"cloud/brain", "a_test.go", `package brain; import _ "sentinel.home.arpa/shared/sim/upssim"`, ""},
		"the lab with a simulator":           {"deploy/lab", "a.go", `package main; import _ "sentinel.home.arpa/shared/sim/upssim"`, ""},
		"a program with a test's rig":        {"node-hook/hook", "a.go", `package hook; import _ "sentinel.home.arpa/node-hook/internal/rig"`, "is for tests"},
		"a package nobody listed":            {"cloud/internal/util", "a.go", `package util`, "is in no list"},
		"init":                               {"shared/wire", "a.go", `package wire; func init() {}`, "init function"},
		"a method called init":               {"shared/wire", "a.go", `package wire; type t int; func (t) init() {}`, ""},
		"a variable":                         {"shared/wire", "a.go", `package wire; var cache = map[string]int{}`, "package variable cache"},
		"a variable without a value":         {"shared/wire", "a.go", `package wire; var mu, n int`, "package variable mu"},
		"a variable made by a call":          {"shared/wire", "a.go", `package wire; import "net/http"; var client = http.NewRequest("", "", nil)`, "package variable client"},
		"an error and more":                  {"shared/wire", "a.go", `package wire; import "errors"; var errA, b = errors.New("a"), 7`, "package variable errA"},
		"variables that may be":              {"shared/wire", "a.go", "package wire\nimport (\n\"embed\"\n\"errors\"\n\"regexp\"\n)\nvar _ error = nil\nvar (\n\terrA = errors.New(\"a\")\n\tre = regexp.MustCompile(`a`)\n)\n//go:embed a.txt\nvar files embed.FS\n", ""},
		"a long file":                        {"shared/wire", "a.go", "package wire\n" + strings.Repeat("\n", maxCode), "lines are over 450"},
		"a long test":                        {"shared/wire", "a_test.go", "package wire\n" + strings.Repeat("\n", maxTest), "lines are over 700"},
	} {
		t.Run(name, func(t *testing.T) {
			f, err := newFile(c.file, []byte(c.src))
			if err != nil {
				t.Fatal(err)
			}
			got := strings.Join(walls(pkg{path: c.path, files: []file{f}}), "\n")
			if c.want == "" && got != "" || !strings.Contains(got, c.want) {
				t.Errorf("said %q, want %q", got, c.want)
			}
		})
	}
}

func TestTableIsCaught(t *testing.T) {
	for name, c := range map[string]struct{ from, to, want string }{
		"two adapters":         {"cloud/internal/notify", "shared/twilio", "both adapters"},
		"shared and a program": {"shared/wire", "cloud/internal/sentinel", "is shared"},
		"two programs":         {"pi-proxy/proxy", "node-hook/hook", "of two programs"},
	} {
		t.Run(name, func(t *testing.T) {
			got := strings.Join(table(map[string][]string{c.from: {c.to}}), "\n")
			if !strings.Contains(got, c.want) {
				t.Errorf("said %q", got)
			}
		})
	}
}

func TestHeavyDependenciesAreCaught(t *testing.T) {
	got := heavy("fmt\nnet\ntailscale.com/tsnet\nsentinel.home.arpa/node-hook/internal/tailscaled\nmodernc.org/sqlite\n")
	if len(got) != 2 {
		t.Errorf("found %q", got)
	}
}
