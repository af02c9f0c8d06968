package journal

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"sentinel.home.arpa/cloud/internal/sentinel"
)

// kept makes a journal of n facts, the last of which lie in the log beside it, as after a kill.
func kept(t *testing.T, path string, n int) {
	t.Helper()
	from := filepath.Join(t.TempDir(), "journal.db")
	j, err := Open(t.Context(), from)
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	for i := range n {
		if err := j.Append(t.Context(), []Entry{{At: time.Unix(int64(i), 0), Wall: time.Unix(int64(i), 0), Fact: &sentinel.Noticed{Text: "n"}}}); err != nil {
			t.Fatal(err)
		}
	}
	for _, end := range []string{"", "-wal"} {
		data, err := os.ReadFile(from + end)
		if err == nil {
			err = os.WriteFile(path+end, data, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// TestR3_ReplaceInterrupted: a kill after any step of a copy's restoring leaves the journal of
// before, with all its facts and nothing beside it, or the copy. The next start says that it
// was interrupted, and nothing of damage.
func TestR3_ReplaceInterrupted(t *testing.T) {
	at := time.Date(2026, 11, 21, 19, 2, 0, 0, time.UTC)
	from := filepath.Join(t.TempDir(), "copy.db")
	kept(t, from, 7)
	const moved = 10 // steps, after which the copy is the journal
	for _, folds := range []bool{true, false} {
		for done := range 12 {
			t.Run(fmt.Sprintf("folds %t, after %d steps", folds, done), func(t *testing.T) {
				path := filepath.Join(t.TempDir(), "journal.db")
				kept(t, path, 3)
				x := &exchange{path, from, path + replaced + stamp(at)}
				for i, step := range x.steps(t.Context())[:done] {
					if i == 3 && !folds { // as with one that is too damaged for it
						continue
					}
					if err := step(); err != nil {
						t.Fatal(err)
					}
				}
				for start := range 2 {
					got, err := Restore(t.Context(), path, at.Add(time.Hour), Want{Losing: func() { t.Error("it says that facts are lost") }})
					if err != nil {
						t.Fatal(err)
					}
					want := map[bool]int{false: 3, true: 7}[done >= moved]
					if len(got.Facts) != want || got.Lost || got.Trouble != nil || got.Aside != "" {
						t.Errorf("%d facts, not %d: lost %t, aside %q, %v", len(got.Facts), want, got.Lost, got.Aside, got.Trouble)
					}
					if tells := start == 0 && done > 1 && done < moved; got.Unrestored != tells {
						t.Errorf("start %d: told of an interrupted restore: %t", start, got.Unrestored)
					}
					if err := got.Journal.Close(); err != nil {
						t.Fatal(err)
					}
				}
				left, _ := filepath.Glob(path + ".*")
				if done < moved && len(left) > 0 || done >= moved && (len(left) == 0 || left[0] != x.aside) {
					t.Errorf("beside it lie %q", left)
				}
			})
		}
	}
}

// TestR3_ReplaceThatFails leaves nothing behind.
func TestR3_ReplaceThatFails(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal.db")
	kept(t, path, 3)
	bad := filepath.Join(t.TempDir(), "bad.db")
	if err := os.WriteFile(bad, []byte("this is no journal"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Replace(t.Context(), path, bad, time.Now()); err == nil {
		t.Error("replaced by a text")
	}
	if left, _ := filepath.Glob(path + ".*"); len(left) > 0 {
		t.Errorf("beside it lie %q", left)
	}
}
