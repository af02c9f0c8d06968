//go:build lab

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

// TestScenarioOverTailnet plays a story with the real programs as machines of a tailnet,
// the agents with their own tsnet.
func TestScenarioOverTailnet(t *testing.T) {
	t.Parallel()
	bin := buildLab(t)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	log := filepath.Join(t.TempDir(), "log")
	out, err := exec.CommandContext(ctx, bin, "-tailnet", "-scenario", "node-failure", "-page", "127.0.0.1:0", "-control", "127.0.0.1:0", "-log", log).CombinedOutput()
	said, _ := os.ReadFile(log)
	if err != nil {
		t.Fatalf("%v\n%s\n%s", err, out, said[max(0, len(said)-20_000):])
	}
	if !strings.Contains(string(said), `"url":"http://100.64.0.`) {
		t.Error("no program spoke to an address of the tailnet")
	}
}
