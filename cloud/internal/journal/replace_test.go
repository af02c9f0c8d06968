package journal

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"sentinel.home.arpa/cloud/internal/sentinel"
)

// spoilt makes a journal of n good facts, of which the last arms the plan, and a garbled one
// that lies in the log beside it, as after a kill.
func spoilt(t *testing.T, n int) (path string) {
	t.Helper()
	from := filepath.Join(t.TempDir(), "journal.db")
	j, err := Open(t.Context(), from)
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	var es []Entry
	for i := range n - 1 {
		es = append(es, Entry{At: time.Unix(int64(i), 0), Fact: &sentinel.Noticed{Text: "n"}})
	}
	es = append(es, Entry{At: time.Unix(int64(n), 0), Fact: &sentinel.PlanArmed{Site: "home", By: "alice"}})
	if err := j.Append(t.Context(), es); err != nil {
		t.Fatal(err)
	}
	if _, err := j.db.Exec(`INSERT INTO facts (at, wall, boot, since_boot, name, body) VALUES (1, 1, '', 1, 'plan_disarmed', '{garbled')`); err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(t.TempDir(), "journal.db")
	for _, end := range []string{"", "-wal"} {
		data, err := os.ReadFile(from + end)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path+end, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return path
}

// TestR3_RestoreInterrupted: a kill after any step of a damaged journal's replacement loses
// nothing of what could be read, and the next start knows that something was lost.
func TestR3_RestoreInterrupted(t *testing.T) {
	const kept = 2500
	at := time.Date(2026, 11, 21, 19, 2, 0, 0, time.UTC)
	for done := range 7 {
		t.Run(fmt.Sprintf("after %d steps", done), func(t *testing.T) {
			path := spoilt(t, kept)
			read, err := known().readWith(t.Context(), path, nil, Want{})
			if err == nil || len(read.facts) != kept {
				t.Fatalf("%d facts, %v", len(read.facts), err)
			}
			r := &replacement{path: path, aside: asideName(path, at), facts: read.facts}
			steps := r.steps(t.Context())
			for _, step := range steps[:done] {
				if err := step(); err != nil {
					t.Fatal(err)
				}
			}
			check := func(lost bool) {
				t.Helper()
				told := false
				got, err := Restore(t.Context(), path, at.Add(time.Hour), Want{Losing: func() { told = true }})
				if err != nil {
					t.Fatal(err)
				}
				defer got.Journal.Close()
				if len(got.Facts) != kept || got.Lost != lost || told != lost || (got.Trouble != nil) != lost || (got.Aside != "") != lost {
					t.Errorf("%d facts, lost %v, told %v, aside %q, trouble %v", len(got.Facts), got.Lost, told, got.Aside, got.Trouble)
				}
				if _, armed := got.Facts[len(got.Facts)-1].Fact.(*sentinel.PlanArmed); !armed {
					t.Error("the last fact is another one")
				}
				if _, err := os.Stat(path + newEnd); err == nil {
					t.Error("the new journal lies beside the journal still")
				}
			}
			check(done < 5) // once the new one is in its place only whoever was told remembers
			check(false)
		})
	}
}

// TestR3_RestoreInterruptedWhileWriting: a new journal that is not whole is not taken.
func TestR3_RestoreInterruptedWhileWriting(t *testing.T) {
	path := spoilt(t, 100)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r := &replacement{path: path, aside: asideName(path, time.Now())}
	if err := r.build(ctx); err == nil {
		t.Error("built though it was interrupted")
	}
	if whole(t.Context(), path+newEnd) {
		t.Error("half of a journal passes for a whole one")
	}
	if err := os.WriteFile(path+newEnd, []byte("half a page"), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := Restore(t.Context(), path, time.Now(), Want{Losing: func() {}})
	if err != nil {
		t.Fatal(err)
	}
	defer got.Journal.Close()
	if len(got.Facts) != 100 || !got.Lost || got.Aside == "" {
		t.Errorf("%d facts, lost %v, aside %q, trouble %v", len(got.Facts), got.Lost, got.Aside, got.Trouble)
	}
}

// TestR3_LockedJournal: one that another program holds is not read without its log, and not
// set aside.
func TestR3_LockedJournal(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal.db")
	j, err := Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	if _, err := j.db.Exec(`PRAGMA locking_mode = EXCLUSIVE`); err != nil {
		t.Fatal(err)
	}
	if err := j.Append(t.Context(), []Entry{{Fact: &sentinel.PlanArmed{Site: "home"}}}); err != nil {
		t.Fatal(err)
	}
	got, err := Restore(t.Context(), path, time.Now(), Want{Losing: func() {}})
	if err != nil {
		t.Fatal(err)
	}
	defer got.Journal.Close()
	if !got.Lost || got.Aside != "" || got.Trouble == nil || len(got.Facts) > 0 {
		t.Errorf("%d facts, lost %v, aside %q, trouble %v", len(got.Facts), got.Lost, got.Aside, got.Trouble)
	}
}
