package journal_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sentinel.home.arpa/cloud/internal/journal"
)

// TestR3_Copy is whole, its owner's alone, and of one moment, while facts are written.
func TestR3_Copy(t *testing.T) {
	path := archived(t, 1000, 300, 900)
	j := open(t, path)
	appendAll(t, j, sample()) // which lies in the log beside
	to := filepath.Join(t.TempDir(), "copy.db")
	if err := j.Copy(t.Context(), to); err != nil {
		t.Fatal(err)
	}
	appendAll(t, j, sample())
	held, err := journal.Check(t.Context(), to, good)
	if err != nil || held.Facts != 1004 || !held.Until.Equal(sample()[3].Wall) {
		t.Errorf("it holds %+v, %v", held, err)
	}
	if info, err := os.Stat(to); err != nil || info.Mode() != 0o600 {
		t.Errorf("its mode is %v, %v", info.Mode(), err)
	}
	if err := j.Copy(t.Context(), to); err == nil {
		t.Error("it was written over another file")
	}
	if left, _ := filepath.Glob(to + "?*"); len(left) > 0 {
		t.Errorf("beside it lies %v", left)
	}
	r := restore(t, to)
	if r.Trouble != nil || r.Snapshot == nil || r.Snapshot.N != 900 || len(r.Facts) != 104 {
		t.Errorf("read, it is %+v", r)
	}
}

// TestR3_Check refuses what is no whole journal.
func TestR3_Check(t *testing.T) {
	text := func(t *testing.T, path string) {
		if err := os.WriteFile(path, []byte(strings.Repeat("this is no database\n", 1000)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, tt := range map[string]struct {
		spoil func(*testing.T, string)
		newer bool
	}{
		"a text":                {text, false},
		"an empty file":         {func(t *testing.T, path string) { _ = os.Truncate(path, 0) }, false},
		"half of one":           {func(t *testing.T, path string) { _ = os.Truncate(path, 100<<10) }, false},
		"a garbled page":        {overwrite(20<<12, strings.Repeat("garbage!", 512)), false},
		"a garbled fact":        {sqlDo(`UPDATE facts SET body = '{' WHERE n = 5`), false},
		"another database":      {sqlDo(`DROP TABLE facts; DROP TABLE snapshots; CREATE TABLE x (y); PRAGMA user_version = 0`), false},
		"a newer layout":        {sqlDo(`PRAGMA user_version = 3`), true},
		"a newer fact":          {sqlDo(`UPDATE facts SET name = 'moon_fell' WHERE n = 5`), true},
		"facts without a start": {sqlDo(`DELETE FROM snapshots; DELETE FROM facts WHERE n < 5`), false},
		"a pipe": {func(t *testing.T, path string) {
			_ = os.Remove(path)
			if err := syscall.Mkfifo(path, 0o600); err != nil {
				t.Fatal(err)
			}
		}, false},
		"no file": {func(t *testing.T, path string) { _ = os.Remove(path) }, false},
	} {
		path := archived(t, 1000, 300, 900)
		tt.spoil(t, path)
		_, err := journal.Check(t.Context(), path, good)
		if none := map[string]bool{"a text": true, "an empty file": true, "another database": true, "a pipe": true}[name]; journal.IsNone(err) != none {
			t.Errorf("%s is something else than a journal: %t", name, !none)
		}
		if err == nil || errors.Is(err, journal.ErrNewer) != tt.newer || !strings.Contains(err.Error(), path) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestR3_Replace puts a copy in place of the journal, and sets that aside.
func TestR3_Replace(t *testing.T) {
	dir := t.TempDir()
	path, from := filepath.Join(dir, "journal.db"), archived(t, 50, 40)
	present := open(t, path)
	appendAll(t, present, sample())
	if err := present.Close(); err != nil {
		t.Fatal(err)
	}
	aside, err := journal.Replace(t.Context(), path, from, begin)
	if err != nil || aside != path+".replaced-20261121T190200.123Z" {
		t.Fatalf("set aside at %q, %v", aside, err)
	}
	if old := restore(t, aside); len(old.Facts) != len(sample()) || old.Trouble != nil {
		t.Errorf("set aside are %d facts, %v", len(old.Facts), old.Trouble)
	}
	if info, err := os.Stat(path); err != nil || info.Mode() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	r := restore(t, path)
	if diff := cmp.Diff(many(50)[40:], r.Facts, anyPlace()); diff != "" || r.Trouble != nil || r.Snapshot == nil {
		t.Errorf("trouble %v (-want +got):\n%s", r.Trouble, diff)
	}
	if aside, err := journal.Replace(t.Context(), filepath.Join(t.TempDir(), "journal.db"), from, time.Now()); err != nil || aside != "" {
		t.Errorf("in place of nothing: %q, %v", aside, err)
	}
	if _, err := journal.Replace(t.Context(), path, filepath.Join(dir, "none"), time.Now()); err == nil {
		t.Error("replaced by nothing")
	}
	if again := restore(t, path); len(again.Facts) != 10 {
		t.Errorf("then it has %d facts", len(again.Facts))
	}
}
