//go:build lab || controls || stages

package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// buildLab builds the lab itself; it builds the three programs unless it is given them.
func buildLab(t *testing.T) string {
	t.Helper()
	bin := filepath.Join(t.TempDir(), "lab")
	out, err := exec.Command("go", "build", "-o", bin, ".").CombinedOutput()
	if err != nil {
		t.Fatalf("build the lab: %v\n%s", err, out)
	}
	return bin
}

// playStory has the lab play a story and judge it, and returns what the judge measured.
func playStory(t *testing.T, bin, programs, name string) (measured []string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	log := filepath.Join(t.TempDir(), "log")
	out, err := exec.CommandContext(ctx, bin, "-programs", programs, "-scenario", name, "-page", "127.0.0.1:0", "-control", "127.0.0.1:0", "-log", log).CombinedOutput()
	for line := range strings.Lines(string(out)) {
		_, said, judge := strings.Cut(line, "  judge  ")
		if judge {
			measured = append(measured, strings.TrimSpace(said))
		}
		if err != nil || judge {
			t.Log(strings.TrimSpace(line))
		}
	}
	if err != nil {
		said, _ := os.ReadFile(log)
		t.Fatalf("%v\n%s", err, said[max(0, len(said)-20_000):])
	}
	return measured
}
