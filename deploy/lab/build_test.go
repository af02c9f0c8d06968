//go:build lab || controls

package main

import (
	"os/exec"
	"path/filepath"
	"testing"
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
