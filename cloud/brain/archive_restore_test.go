package brain

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sentinel.home.arpa/cloud/internal/sentinel"
)

// TestR3_RestoreACopy: what it says stands, but for the arming, which a person must say anew.
func TestR3_RestoreACopy(t *testing.T) {
	cfg, since := stillConfig(t), new(time.Duration)
	s := stillBrain(t, cfg, since)
	s.facts(30)
	s.turn(t.Context(), []submission{{in: sentinel.Arm{Site: "home", By: "alice"}}})
	file := filepath.Join(t.TempDir(), "copy.db")
	if err := s.journal.Copy(t.Context(), file); err != nil {
		t.Fatal(err)
	}
	s.turn(t.Context(), []submission{{in: sentinel.Disarm{Site: "home", By: "alice"}}})
	soon, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if _, err := RestoreJournal(soon, cfg, file); err == nil || !strings.Contains(err.Error(), "another brain runs on the state directory") {
		t.Errorf("while the brain runs: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for name, bad := range map[string]string{"no file": filepath.Join(t.TempDir(), "none"), "no journal": s.arming.path + "-x", "its own": filepath.Join(cfg.StateDir, journalFile)} {
		if name == "no journal" {
			if err := os.WriteFile(bad, []byte("this is none"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if said, err := RestoreJournal(t.Context(), cfg, bad); err == nil {
			t.Errorf("%s: %s", name, said)
		}
	}
	if _, err := os.Stat(filepath.Join(cfg.StateDir, armingFile)); err == nil {
		t.Error("a restore that was refused has made the arming unknown")
	}
	said, err := RestoreJournal(t.Context(), cfg, file)
	if err != nil || !strings.Contains(said, "31 facts until ") || !strings.Contains(said, journalFile+".replaced-") || !strings.Contains(said, "arm or disarm the plan again") || strings.Contains(said, "\n") {
		t.Errorf("%q, %v", said, err)
	}
	again := stillBrain(t, cfg, since)
	defer again.Close()
	if !again.state.Sites["home"].Armed || len(again.state.Keys) != 7 || !again.arming.lost.Load() || len(again.warnings) > 0 {
		t.Errorf("armed %t, %d keys, arming unknown %t, warnings %q", again.state.Sites["home"].Armed, len(again.state.Keys), again.arming.lost.Load(), again.warnings)
	}
	if _, err := os.Stat(file); err != nil {
		t.Errorf("the copy is gone: %v", err)
	}
}

// TestR3_RestoreIntoNothing: on a machine that never ran a brain.
func TestR3_RestoreIntoNothing(t *testing.T) {
	cfg, since := stillConfig(t), new(time.Duration)
	s := stillBrain(t, cfg, since)
	s.facts(5)
	file := filepath.Join(t.TempDir(), "copy.db")
	if err := s.journal.Copy(t.Context(), file); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	cfg.StateDir = filepath.Join(t.TempDir(), "new")
	said, err := RestoreJournal(t.Context(), cfg, file)
	if err != nil || strings.Contains(said, "the one before") {
		t.Errorf("%q, %v", said, err)
	}
	again := stillBrain(t, cfg, since)
	defer again.Close()
	if len(again.state.Keys) != 5 || !again.arming.lost.Load() {
		t.Errorf("%d keys, arming unknown %t", len(again.state.Keys), again.arming.lost.Load())
	}
}
