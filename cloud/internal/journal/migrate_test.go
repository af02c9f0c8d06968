package journal

import (
	"database/sql"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"sentinel.home.arpa/cloud/internal/sentinel"
)

// older makes a journal of the first layout, of some 600 KB.
func older(t *testing.T, dir string) (path string) {
	t.Helper()
	path = filepath.Join(dir, "journal.db")
	db, err := connect(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	tables, _, _ := strings.Cut(schema, "CREATE TABLE IF NOT EXISTS snapshots")
	if _, err := db.Exec(tables + "PRAGMA user_version = 1"); err != nil {
		t.Fatal(err)
	}
	for i := range 60 {
		fact := &sentinel.Noticed{Text: strings.Repeat("x", 10_000)}
		if err := inTx(t.Context(), db, func(tx *sql.Tx) error {
			return known().insert(t.Context(), tx, []Entry{{N: int64(i) + 1, At: time.Unix(int64(i), 0), Fact: fact}})
		}); err != nil {
			t.Fatal(err)
		}
	}
	return path
}

// shrinks opens a journal and reports whether it can shrink. It must be of this layout and whole.
func shrinks(t *testing.T, path string) bool {
	t.Helper()
	got, err := Restore(t.Context(), path, time.Now(), Want{Losing: func() {}})
	if err != nil {
		t.Fatal(err)
	}
	defer got.Journal.Close()
	if len(got.Facts) != 60 || got.Trouble != nil {
		t.Errorf("%d facts, %v", len(got.Facts), got.Trouble)
	}
	var version, how int
	if err := got.Journal.db.QueryRow(`PRAGMA user_version`).Scan(&version); err != nil || version != layout {
		t.Errorf("its layout is %d, %v", version, err)
	}
	if err := got.Journal.db.QueryRow(`PRAGMA auto_vacuum`).Scan(&how); err != nil {
		t.Fatal(err)
	}
	return how == 2
}

// TestR3_AnOlderJournalHoldsNoStartUp: it is rewritten only where the disk has room for it
// twice, and not for long.
func TestR3_AnOlderJournalHoldsNoStartUp(t *testing.T) {
	if !shrinks(t, older(t, t.TempDir())) {
		t.Error("it is not rewritten though there is room")
	}
	t.Run("no time", func(t *testing.T) {
		path := older(t, t.TempDir())
		db, err := connect(path, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		began := time.Now()
		compact(t.Context(), db, path, time.Nanosecond)
		var how int
		if err := db.QueryRow(`PRAGMA auto_vacuum`).Scan(&how); err != nil || how != 0 || time.Since(began) > time.Second {
			t.Errorf("after %s it is rewritten as %d, %v", time.Since(began), how, err)
		}
	})
	t.Run("no room", func(t *testing.T) {
		dir := t.TempDir()
		if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=2m"); err != nil {
			t.Skipf("a small disk cannot be mounted, so one without room is NOT TESTED: %v", err)
		}
		t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
		path := older(t, dir)
		if err := os.WriteFile(filepath.Join(dir, "ballast"), make([]byte, 400<<10), 0o600); err != nil {
			t.Fatal(err)
		}
		if shrinks(t, path) {
			t.Error("it is rewritten though the disk has room for it but once")
		}
	})
}
