package brain

import (
	"context"
	"fmt"
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
	bad := t.TempDir()
	for name, is := range map[string]struct{ text, says string }{
		"none":    {"", "there is no file %s"},
		"text":    {strings.Repeat("this is none\n", 100), "%s is no copy of a journal"},
		"damaged": {garbled(t, file), "%s is damaged: "},
	} {
		path := filepath.Join(bad, name)
		if is.text != "" {
			if err := os.WriteFile(path, []byte(is.text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if said, err := RestoreJournal(t.Context(), cfg, path); err == nil || !strings.HasPrefix(err.Error(), fmt.Sprintf(is.says, path)) || !strings.HasSuffix(err.Error(), "; nothing was restored, name another copy that backup made") || strings.Contains(err.Error(), "(26)") {
			t.Errorf("%s: %q, %v", name, said, err)
		}
	}
	own := filepath.Join(cfg.StateDir, journalFile)
	if said, err := RestoreJournal(t.Context(), cfg, own); err == nil || err.Error() != own+" is the brain's journal itself; name a copy that backup made" {
		t.Errorf("its own: %q, %v", said, err)
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

// garbled is a copy's bytes with one page of others.
func garbled(t *testing.T, file string) string {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(data[:4096]) + strings.Repeat("garbage!", 512) + string(data[8192:])
}

// TestR3_AnInterruptedRestoreIsToldAsJustThat: the brain goes on with the journal from
// before, warns of no damage, and leaves nothing beside it.
func TestR3_AnInterruptedRestoreIsToldAsJustThat(t *testing.T) {
	cfg, since := stillConfig(t), new(time.Duration)
	s := stillBrain(t, cfg, since)
	s.facts(5)
	path := filepath.Join(cfg.StateDir, journalFile)
	if err := os.WriteFile(path+".restoring", []byte("half a copy"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Link(path, path+".replaced-20261121T190200.000Z"); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	again := stillBrain(t, cfg, since)
	defer again.Close()
	if text := fmt.Sprint(again.notices); len(again.notices) != 1 || !strings.Contains(text, "a restore was interrupted") || len(again.warnings) > 0 || len(again.state.Keys) != 5 {
		t.Errorf("%d keys, notices %q, warnings %q", len(again.state.Keys), again.notices, again.warnings)
	}
	if left, _ := filepath.Glob(path + ".*"); len(left) > 0 {
		t.Errorf("beside it lie %q", left)
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
