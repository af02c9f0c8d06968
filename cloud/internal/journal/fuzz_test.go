package journal_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sentinel.home.arpa/cloud/internal/journal"
	"sentinel.home.arpa/cloud/internal/sentinel"
)

// FuzzOpen: whatever has become of a journal's file, it is read or refused with an error
// that says which file, in time and without a panic.
func FuzzOpen(f *testing.F) {
	path := filepath.Join(f.TempDir(), "journal.db")
	j, err := journal.Open(f.Context(), path)
	if err != nil {
		f.Fatal(err)
	}
	at := time.Date(2026, 11, 21, 19, 0, 0, 0, time.UTC)
	err = j.Append(f.Context(), []journal.Entry{{At: at, Wall: at, Boot: "b", Fact: &sentinel.BrainStarted{Version: "x"}}, {At: at, Wall: at, Boot: "b", Fact: &sentinel.PlanArmed{Site: "home", By: "y"}}})
	if err != nil {
		f.Fatal(err)
	}
	if err := j.Close(); err != nil {
		f.Fatal(err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(0, []byte(nil))
	f.Add(0, []byte("SQLite format 3"))
	f.Add(100, []byte{13})
	f.Add(4096, []byte(strings.Repeat("\xff", 64)))
	f.Add(8100, []byte("}}}}"))
	f.Fuzz(func(t *testing.T, at int, garbage []byte) {
		broken := append([]byte(nil), whole...)
		copy(broken[uint(at)%uint(len(broken)):], garbage)
		path := filepath.Join(t.TempDir(), "journal.db")
		if err := os.WriteFile(path, broken, 0o600); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		j, err := journal.Open(ctx, path)
		if err != nil {
			if !strings.Contains(err.Error(), path) {
				t.Errorf("does not name the file: %v", err)
			}
			return
		}
		defer j.Close()
		n := 0
		err = j.Replay(ctx, func(journal.Entry) { n++ })
		if ctx.Err() != nil || n > 100 || err != nil && !strings.Contains(err.Error(), "journal") {
			t.Errorf("%d facts, %v", n, err)
		}
	})
}
