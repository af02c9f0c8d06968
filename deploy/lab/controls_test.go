//go:build controls

package main

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sentinel.home.arpa/deploy/lab/internal/home"
	"sentinel.home.arpa/deploy/lab/internal/scenario"
)

// sabotage is a deliberate break of the code, and how its story must notice it.
type sabotage struct {
	scenario string
	what     string
	file     string // below the module's root
	old, new string
	notices  string // part of what the judge says
}

func sabotages() []sabotage {
	return []sabotage{
		{"power-outage", "the plan waits 13 s in place of 10 s",
			"shared/power/rule.go", "RideThrough:   10 * time.Second", "RideThrough:   13 * time.Second",
			"on battery to the first Proxmox command"},
		{"power-outage", "notices wait until the call is long over",
			"shared/outbox/outbox.go", "o.wg.Go(func() { o.run(ctx, order.To, l) })", "o.wg.Go(func() { sleep(ctx, time.Minute, nil, nil); o.run(ctx, order.To, l) })",
			"ntfy was never told of the outage"},
		{"node-failure", "every silence is taken for a planned one, so no node ever fails",
			"cloud/internal/sentinel/silence.go", "if (src.Announced != nil || !site.maintained(src).IsZero()) && d.leftInPeace(site, src, in.Last) {", "if src.Announced == nil || d.leftInPeace(site, src, in.Last) {",
			"0 calls instead of one"},
		{"planned-reboot", "the Pi acknowledges announcements and throws them away",
			"pi-proxy/internal/lan/lan.go", "if err := l.Keep(raw, stranger); err != nil {", "if err := error(nil); err != nil || stranger == \"nobody\" {",
			"a planned reboot was called about"},
		{"internet-outage", "a silent site is taken for so many failed nodes",
			"cloud/internal/cause/cause.go", "s.Reach = Whole", "s.Reach = Some",
			"to the request for the call"},
		{"brain-frozen", "the guardian waits a minute for the brain",
			"pi-proxy/internal/guardian/guardian.go", "patience = 10 * time.Second", "patience = 60 * time.Second",
			"on battery to the first Proxmox command"},
		{"one-ups-of-two", "one UPS of those that feed a machine is enough",
			"shared/power/wiring.go", "if slices.Contains(w.Any, machine) {", "if len(w.Feeds) > 1 {",
			"on battery to the first Proxmox command"},
		{"any-ups", "any_ups is not heeded",
			"shared/power/wiring.go", "if slices.Contains(w.Any, machine) {", "if machine == \"\" {",
			"4 were told instead of six guests and two servers"},
		{"disarmed-while-arming", "a disarming does not end the arming that is under way",
			"cloud/brain/plan_arming.go", "undone := b.arming.undone()", "undone := (<-chan struct{})(make(chan struct{}))",
			"commands though the plan was disarmed"},
		{"pi-dies", "what another Pi's UPS called for ends with that Pi",
			"pi-proxy/internal/guardian/fed.go", "return !h.at.IsZero() && h.Supply != power.Mains && now.Sub(h.at) < h.GoneAfter()", "return h.at.IsZero() && !now.IsZero()",
			"never told: pve1"},
		{"internet-plan", "the Pi begins after half the time",
			"pi-proxy/internal/guardian/internet.go", "after := g.orders.InternetAfter", "after := g.orders.InternetAfter / 2",
			"internet off to the first Proxmox command"},
		{"key-one", "a key is written down, and nobody is taken to know",
			"cloud/internal/sentinel/keypad.go", "case in.Key != KeyKnown:", "case in.Key != \"\":",
			"the page does not say who knows of it"},
		{"key-two-twice", "the second key 2 asks for another",
			"cloud/internal/sentinel/keypad.go", "d.stop(Stop{Site: i.Site, By: c.Contact})", "_ = d.stop",
			"commands came after the plan was stopped"},
		{"key-after-a-crash", "the paths of keys are others after a restart",
			"cloud/brain/keypad_serve.go", "[]byte(\"the paths of calls' keys\")", "[]byte(b.clock.Now().String())",
			"the last key was answered 404"},
		{"seventh-call", "calls about the power are not counted",
			"cloud/internal/sentinel/held.go", "hold(all, d.cfg.Limits.Calls, \"\")", "hold(nil, d.cfg.Limits.Calls, fmt.Sprint(all))",
			"7 calls instead of 6"},
	}
}

// TestControls breaks one thing for each story, by an overlay that leaves the tree alone,
// and demands that the story fails for that reason. All are built before the first is played:
// what a story takes is the same as in the sound code's.
func TestControls(t *testing.T) {
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	bin := buildLab(t)
	for _, c := range sabotages() {
		t.Run(c.scenario, func(t *testing.T) {
			if testing.Short() && scenario.Long(c.scenario) {
				t.Skip("its story is too long for every day: without -short it is played")
			}
			programs := t.TempDir()
			if err := home.Build(t.Context(), programs, "-overlay="+breakIt(t, root, c)); err != nil {
				t.Fatal(err)
			}
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
			defer cancel()
			cmd := exec.CommandContext(ctx, bin, "-programs", programs, "-scenario", c.scenario, "-page", "127.0.0.1:0", "-control", "127.0.0.1:0")
			out, err := cmd.CombinedOutput()
			_, verdict, broken := strings.Cut(string(out), "the contract was broken:")
			if err == nil || !broken {
				t.Fatalf("with %s the story ended with %v:\n%s", c.what, err, out)
			}
			if !strings.Contains(verdict, c.notices) {
				t.Fatalf("with %s the story failed for another reason:\n%s", c.what, verdict)
			}
			t.Logf("with %s: %s", c.what, strings.TrimSpace(verdict))
		})
	}
}

func breakIt(t *testing.T, root string, c sabotage) string {
	t.Helper()
	path := filepath.Join(root, c.file)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(text), c.old); n != 1 {
		t.Fatalf("%s holds %q %d times; the control must be told of the change", c.file, c.old, n)
	}
	dir := t.TempDir()
	broken := filepath.Join(dir, "broken.go")
	if err := os.WriteFile(broken, []byte(strings.Replace(string(text), c.old, c.new, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	data, err := json.Marshal(map[string]any{"Replace": map[string]string{path: broken}})
	if err != nil {
		t.Fatal(err)
	}
	overlay := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(overlay, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return overlay
}
