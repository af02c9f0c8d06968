//go:build torture

package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"sentinel.home.arpa/deploy/lab/internal/home"
	"sentinel.home.arpa/deploy/lab/internal/torture"
)

func buildTorture(t *testing.T) string {
	t.Helper()
	bin := filepath.Join(t.TempDir(), "torture")
	if out, err := exec.Command("go", "build", "-o", bin, "./torture").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	return bin
}

// TestTorture is the short variant: about 30 kills in about four minutes, with a seed of
// its own each time, which it prints. TORTURE_SEED plays one again.
func TestTorture(t *testing.T) {
	args := []string{"-kills", "30", "-homes", "4", "-minutes", "4.5"}
	if seed := os.Getenv("TORTURE_SEED"); seed != "" {
		args = append(args, "-seed", seed)
	}
	out, err := exec.CommandContext(t.Context(), buildTorture(t), args...).CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Fatal(err)
	}
}

// TestTortureAtEachStepOfACall kills the brain at each step of one: whatever it was at, exactly
// one call comes, and who took it is known.
func TestTortureAtEachStepOfACall(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), buildTorture(t), "-calls", "-homes", "8", "-seed", "1", "-dir", t.TempDir()).CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Fatal(err)
	}
}

// TestTortureNoticesWhatIsBroken breaks one thing that only a kill at the right moment
// brings to light, by an overlay that leaves the tree alone.
func TestTortureNoticesWhatIsBroken(t *testing.T) {
	bin := buildTorture(t)
	for _, c := range []struct {
		name           string
		file, old, new string
		story          string
		first          home.Phase // of the kill at which it shows
		notices        string
	}{
		{"a call is placed again after a crash", "shared/calls/caller.go",
			"doubtful, since := o.Doubtful, time.Now()", "doubtful, since := false, time.Now()",
			"node failure", home.CallDone, "a second call about the same failure"},
		{"announcements are acknowledged before they are on disk", "pi-proxy/internal/lan/lan.go",
			"if err := l.Keep(raw, stranger); err != nil {",
			"if err := func() error { go func() { time.Sleep(300 * time.Millisecond); _ = l.Keep(raw, stranger) }(); return nil }(); err != nil {",
			"planned", home.SpoolBefore, "had announced itself and was called a failure"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			cmd := exec.CommandContext(t.Context(), bin, "-seed", "1", "-home", "0", "-episode", fmt.Sprint(episodeWith(t, c.story, c.first)), "-dir", t.TempDir())
			cmd.Env = append(os.Environ(), "GOFLAGS="+os.Getenv("GOFLAGS")+" -overlay="+overlayOf(t, c.file, c.old, c.new))
			out, err := cmd.CombinedOutput()
			if err == nil || !strings.Contains(string(out), c.notices) {
				t.Fatalf("not noticed: %v\n%s", err, out)
			}
		})
	}
}

// episodeWith is the first episode of seed 1 whose story and kill are as wanted.
func episodeWith(t *testing.T, story string, phase home.Phase) int {
	t.Helper()
	for n := range 1000 {
		s := torture.Draw(1, 0, n)
		if !strings.HasPrefix(s.Name, story) {
			continue
		}
		for i, k := range s.Kills {
			if k.Phase == phase && i < 2 && k.Victim != home.Agent {
				return n
			}
		}
	}
	t.Fatalf("no %s with a kill %s", story, phase)
	return 0
}

// overlayOf makes an overlay that changes one piece of one file.
func overlayOf(t *testing.T, file, old, new string) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join("../..", file))
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(text), old); n != 1 {
		t.Fatalf("%s holds %q %d times; the control must be told of the change", file, old, n)
	}
	dir := t.TempDir()
	broken, overlay := filepath.Join(dir, "broken.go"), filepath.Join(dir, "overlay.json")
	data, err := json.Marshal(map[string]any{"Replace": map[string]string{path: broken}})
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{broken: []byte(strings.Replace(string(text), old, new, 1)), overlay: data} {
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return overlay
}
