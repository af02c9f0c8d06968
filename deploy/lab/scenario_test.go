//go:build lab

package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"sentinel.home.arpa/deploy/lab/internal/home"
	"sentinel.home.arpa/deploy/lab/internal/scenario"
)

// TestScenarios plays every short story with the real programs, some at a time; the lab judges each
// by its edges and says so by its exit code.
func TestScenarios(t *testing.T) {
	bin, programs := buildLab(t), t.TempDir()
	if err := home.Build(t.Context(), programs); err != nil {
		t.Fatal(err)
	}
	for _, s := range scenario.Names() {
		if scenario.Long(s[0]) { // it is played with the stages
			continue
		}
		t.Run(s[0], func(t *testing.T) {
			t.Parallel()
			playStory(t, bin, programs, s[0])
		})
	}
}

// TestNothingOutlivesTheLab ends the lab in each way and looks for what is left.
func TestNothingOutlivesTheLab(t *testing.T) {
	bin := buildLab(t)
	for name, sig := range map[string]syscall.Signal{"Ctrl-C": syscall.SIGINT, "killed": syscall.SIGKILL} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tmp := t.TempDir()
			cmd := exec.Command(bin, "-page", "127.0.0.1:0", "-control", "127.0.0.1:0", "-speak=false")
			cmd.Env = append(os.Environ(), "TMPDIR="+tmp)
			var out safeBuffer
			cmd.Stdout, cmd.Stderr = &out, &out
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			defer cmd.Process.Kill()
			eventually(t, 3*time.Minute, func() bool { return strings.Contains(out.String(), "lab: keys") }, out.String)
			if n := len(running(t, tmp)); n != 5 {
				t.Fatalf("%d programs run instead of 5", n)
			}
			if err := cmd.Process.Signal(sig); err != nil {
				t.Fatal(err)
			}
			_ = cmd.Wait() // how it ended is not the question
			eventually(t, 10*time.Second, func() bool { return len(running(t, tmp)) == 0 }, func() string { return strings.Join(running(t, tmp), "\n") })
			left, err := filepath.Glob(filepath.Join(tmp, "sentinel-lab-*"))
			if err != nil {
				t.Fatal(err)
			}
			if sig == syscall.SIGINT && len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

// running are the programs whose executable lies below a directory.
func running(t *testing.T, dir string) []string {
	t.Helper()
	links, err := filepath.Glob("/proc/[0-9]*/exe")
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, l := range links {
		if exe, err := os.Readlink(l); err == nil && strings.HasPrefix(exe, dir) {
			out = append(out, exe)
		}
	}
	return out
}

func eventually(t *testing.T, within time.Duration, cond func() bool, state func() string) {
	t.Helper()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(within); !cond(); {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("not within %s; state:\n%s", within, state())
		}
	}
}

// safeBuffer is written by the command and read by the test.
type safeBuffer struct {
	locked
	b bytes.Buffer
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}
