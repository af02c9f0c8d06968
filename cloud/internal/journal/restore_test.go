package journal_test

import (
	"context"
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sentinel.home.arpa/cloud/internal/journal"
	"sentinel.home.arpa/cloud/internal/sentinel"
)

// written makes a journal of the sample facts, whole in one file.
func written(t *testing.T, dir string, entries []journal.Entry) string {
	t.Helper()
	path := filepath.Join(dir, "journal.db")
	j, err := journal.Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	appendAll(t, j, entries)
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

// wanted is what a brain asks of its journal, but for a state that can be anything.
func wanted() journal.Want {
	return journal.Want{Readable: func(body []byte) error { return nil }, Shown: func(f sentinel.Fact) bool { return sentinel.Sentence(f) != "" }, Most: 300, Look: time.Minute, Losing: func() {}}
}

func restore(t *testing.T, path string) journal.Restored {
	t.Helper()
	r, err := journal.Restore(t.Context(), path, begin, wanted())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Journal.Close() })
	return r
}

// sqlDo changes the file as no program of ours would.
func sqlDo(statement string) func(*testing.T, string) {
	return func(t *testing.T, path string) {
		t.Helper()
		db, err := sql.Open("sqlite", "file:"+path)
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		if _, err := db.Exec(statement); err != nil {
			t.Fatal(err)
		}
	}
}

func overwrite(at int64, text string) func(*testing.T, string) {
	return func(t *testing.T, path string) {
		t.Helper()
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if _, err := f.WriteAt([]byte(text), at); err != nil {
			t.Fatal(err)
		}
	}
}

// TestR3_DamagedJournal: the facts before the damage are kept, the file is set aside, and
// the new one begins with what was kept.
func TestR3_DamagedJournal(t *testing.T) {
	many := sample()
	for i := range 500 { // over several pages
		many = append(many, entry(10+i, &sentinel.Noticed{Text: strings.Repeat("x", 200)}))
	}
	for _, tt := range []struct {
		name  string
		spoil func(t *testing.T, path string)
		keeps func(n int) bool
	}{
		{"no database", func(t *testing.T, path string) {
			if err := os.WriteFile(path, []byte(strings.Repeat("x", 1<<20)), 0o600); err != nil {
				t.Fatal(err)
			}
		}, func(n int) bool { return n == 0 }},
		{"cut in half", func(t *testing.T, path string) {
			info, err := os.Stat(path)
			if err == nil {
				err = os.Truncate(path, info.Size()/2)
			}
			if err != nil {
				t.Fatal(err)
			}
		}, func(n int) bool { return n < len(many) }},
		{"the first page garbled", overwrite(100, strings.Repeat("garbage!", 400)), func(n int) bool { return n == 0 }},
		{"a page in the middle garbled", overwrite(16<<12, strings.Repeat("garbage!", 512)), func(n int) bool { return n > 100 && n < 400 }},
		{"a body garbled", sqlDo(`UPDATE facts SET body = '{"x' WHERE n = 300`), func(n int) bool { return n == 299 }},
		{"another table", sqlDo(`ALTER TABLE facts RENAME TO fiction`), func(n int) bool { return n == 0 }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			path := written(t, dir, many)
			tt.spoil(t, path)
			spoilt, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			r := restore(t, path)
			if !tt.keeps(len(r.Facts)) || !r.Lost || r.Trouble == nil || r.Aside != path+".broken-20261121T190200.123Z" {
				t.Errorf("%d facts, lost %v, aside %q, trouble: %v", len(r.Facts), r.Lost, r.Aside, r.Trouble)
			}
			if diff := cmp.Diff(many[:len(r.Facts)], r.Facts, anyPlace()); len(r.Facts) > 0 && diff != "" {
				t.Errorf("facts (-written +read):\n%s", diff)
			}
			if aside, err := os.ReadFile(r.Aside); err != nil || string(aside) != string(spoilt) {
				t.Errorf("the file that was set aside is another one: %v", err)
			}
			more := entry(1000, &sentinel.BrainStarted{Version: "2"})
			appendAll(t, r.Journal, []journal.Entry{more})
			if err := r.Journal.Close(); err != nil {
				t.Fatal(err)
			}
			again := restore(t, path)
			if diff := cmp.Diff(append(many[:len(r.Facts):len(r.Facts)], more), again.Facts, anyPlace()); diff != "" || again.Trouble != nil {
				t.Errorf("then: %v (-want +got):\n%s", again.Trouble, diff)
			}
		})
	}
}

// TestR3_NewerJournals are refused, and left as they are.
func TestR3_NewerJournals(t *testing.T) {
	for name, spoil := range map[string]func(*testing.T, string){
		"an unknown fact":   sqlDo(`UPDATE facts SET name = 'moon_fell' WHERE n = 2`),
		"an unknown shape":  sqlDo(`UPDATE facts SET version = 2 WHERE n = 2`),
		"an unknown layout": sqlDo(`PRAGMA user_version = 3`),
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path := written(t, dir, sample())
			spoil(t, path)
			if _, err := journal.Restore(t.Context(), path, begin, wanted()); !errors.Is(err, journal.ErrNewer) {
				t.Errorf("answered with %v", err)
			}
			if files, _ := filepath.Glob(filepath.Join(dir, "*broken*")); len(files) > 0 {
				t.Errorf("set aside: %v", files)
			}
		})
	}
}

// TestR3_SomethingInItsPlace is not moved; the journal begins once it is gone.
func TestR3_SomethingInItsPlace(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal.db")
	if err := os.MkdirAll(filepath.Join(path, "x"), 0o700); err != nil {
		t.Fatal(err)
	}
	r := restore(t, path)
	if len(r.Facts) > 0 || !r.Lost || r.Trouble == nil || r.Aside != "" {
		t.Errorf("%d facts, lost %v, aside %q, trouble: %v", len(r.Facts), r.Lost, r.Aside, r.Trouble)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := r.Journal.Append(ctx, sample()); err == nil {
		t.Error("appended to a directory")
	}
	if err := os.RemoveAll(path); err != nil {
		t.Fatal(err)
	}
	appendAll(t, r.Journal, sample())
	if diff := cmp.Diff(sample(), replay(t, r.Journal), anyPlace()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestR3_NewJournal is no trouble, and neither is an empty file.
func TestR3_NewJournal(t *testing.T) {
	for _, empty := range []bool{false, true} {
		path := filepath.Join(t.TempDir(), "journal.db")
		if empty {
			if err := os.WriteFile(path, nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		r := restore(t, path)
		if r.Trouble != nil || r.Lost || len(r.Facts) > 0 {
			t.Errorf("empty %v: %+v", empty, r)
		}
		appendAll(t, r.Journal, sample())
	}
}

// small mounts a disk of 2 MB.
func small(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=2m"); err != nil {
		t.Skipf("a small disk cannot be mounted, so a full one is NOT TESTED: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	return dir
}

// lockDisk lets a small disk take nothing any more.
func lockDisk(t *testing.T, dir string) {
	t.Helper()
	if err := syscall.Mount("", dir, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		t.Skipf("a disk cannot be made read-only, so that is NOT TESTED: %v", err)
	}
}

// fill leaves not one byte.
func fill(t *testing.T, dir string) (ballast string) {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(dir, "ballast"), os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for block := make([]byte, 4096); len(block) > 0; {
		if _, err := f.Write(block); errors.Is(err, syscall.ENOSPC) {
			block = block[:len(block)/2]
		} else if err != nil {
			t.Fatal(err)
		}
	}
	return f.Name()
}

// TestR3_FullDisk: what is on the disk is read, also what a killed process left in the log
// beside the journal, and with nothing to index it; what is new is written once there is room.
func TestR3_FullDisk(t *testing.T) {
	for name, leaves := range map[string][]string{
		"the file alone":             nil,
		"a killed process":           {"-wal", "-shm"},
		"a killed process, no index": {"-wal"},
	} {
		t.Run(name, func(t *testing.T) {
			from := filepath.Join(t.TempDir(), "journal.db")
			j := open(t, from)
			appendAll(t, j, sample())
			if leaves == nil {
				if err := j.Close(); err != nil {
					t.Fatal(err)
				}
			}
			dir := small(t)
			path := filepath.Join(dir, "journal.db")
			for _, end := range append([]string{""}, leaves...) {
				data, err := os.ReadFile(from + end)
				if err == nil {
					err = os.WriteFile(path+end, data, 0o600)
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			ballast := fill(t, dir)
			r := restore(t, path)
			if diff := cmp.Diff(sample(), r.Facts, anyPlace()); diff != "" || r.Lost || r.Aside != "" {
				t.Fatalf("lost %v, aside %q, trouble %v (-want +got):\n%s", r.Lost, r.Aside, r.Trouble, diff)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			more := []journal.Entry{entry(9, &sentinel.Noticed{Text: strings.Repeat("x", 1<<20)})}
			if err := r.Journal.Append(ctx, more); err == nil {
				t.Error("a full disk took it")
			}
			if err := os.Remove(ballast); err != nil {
				t.Fatal(err)
			}
			more[0].Fact = &sentinel.BrainStarted{Version: "2"}
			appendAll(t, r.Journal, more)
			if diff := cmp.Diff(append(sample(), more...), replay(t, r.Journal), anyPlace()); diff != "" {
				t.Errorf("then (-want +got):\n%s", diff)
			}
		})
	}
}

// TestR3_FullDiskFromTheStart: where there is no journal there is nothing to lose.
func TestR3_FullDiskFromTheStart(t *testing.T) {
	dir := small(t)
	ballast := fill(t, dir)
	r := restore(t, filepath.Join(dir, "journal.db"))
	if r.Trouble == nil || r.Lost || len(r.Facts) > 0 {
		t.Errorf("%d facts, lost %v, trouble: %v", len(r.Facts), r.Lost, r.Trouble)
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	appendAll(t, r.Journal, sample())
}
