package journal_test

import (
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sentinel.home.arpa/cloud/internal/journal"
	"sentinel.home.arpa/cloud/internal/sentinel"
)

func good([]byte) error { return nil }

// TestR3_PruneKeepsWhatTheStateNeeds: only facts that are old and in the older of two
// snapshots go, if both can be read.
func TestR3_PruneKeepsWhatTheStateNeeds(t *testing.T) {
	minutes := func(n int) time.Time { return begin.Add(time.Duration(n) * time.Minute) }
	for _, tt := range []struct {
		name      string
		snapshots []int64
		before    time.Time
		readable  func([]byte) error
		spoil     func(*testing.T, string)
		first     int64 // of the facts that are left
	}{
		{"old ones", []int64{700, 900}, minutes(600), good, nil, 601},
		{"not those since the older snapshot", []int64{700, 900}, minutes(5000), good, nil, 700},
		{"none that is young", []int64{700, 900}, minutes(0), good, nil, 1},
		{"none without snapshots", nil, minutes(5000), good, nil, 1},
		{"none with only one", []int64{900}, minutes(5000), good, nil, 1},
		{"none with one that this version cannot read", []int64{700, 900}, minutes(5000), func(body []byte) error {
			if string(body) == `{"of":700}` {
				return errors.New("no")
			}
			return nil
		}, nil, 1},
		{"none with one that was altered", []int64{700, 900}, minutes(5000), good, sqlDo(`UPDATE snapshots SET body = 'x' WHERE n = 900`), 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := archived(t, 1000, tt.snapshots...)
			if tt.spoil != nil {
				tt.spoil(t, path)
			}
			r := restore(t, path)
			n, err := r.Journal.Prune(t.Context(), tt.before, tt.readable)
			if err != nil || n != tt.first-1 {
				t.Errorf("%d facts were removed: %v", n, err)
			}
			if left := replay(t, r.Journal); left[0].N != tt.first || left[len(left)-1].N != 1000 {
				t.Errorf("facts %d to %d are left", left[0].N, left[len(left)-1].N)
			}
			appendAll(t, r.Journal, sample())
			if err := r.Journal.Close(); err != nil {
				t.Fatal(err)
			}
			again := restore(t, path)
			if again.Lost || again.Trouble != nil || again.Journal.Last() != int64(1000+len(sample())) {
				t.Errorf("then: lost %v, trouble %v, last %d", again.Lost, again.Trouble, again.Journal.Last())
			}
		})
	}
}

// TestR3_SnapshotsLostAfterPruning: what the removed facts meant is lost then, and that is
// said; a newer version's snapshot is not guessed over.
func TestR3_SnapshotsLostAfterPruning(t *testing.T) {
	prune := func(t *testing.T) (path string) {
		path = archived(t, 1000, 700, 900)
		r := restore(t, path)
		if n, err := r.Journal.Prune(t.Context(), begin.Add(5000*time.Minute), good); err != nil || n != 699 {
			t.Fatalf("%d facts were removed: %v", n, err)
		}
		if err := r.Journal.Close(); err != nil {
			t.Fatal(err)
		}
		return path
	}
	path := prune(t)
	sqlDo(`DELETE FROM snapshots`)(t, path)
	told := false
	w := wanted()
	w.Losing = func() { told = true }
	r, err := journal.Restore(t.Context(), path, begin, w)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Journal.Close()
	if !r.Lost || !told || !errors.Is(r.Trouble, journal.ErrCut) || r.Aside != "" || len(r.Facts) != 301 {
		t.Errorf("lost %v, told %v, trouble %v, aside %q, %d facts", r.Lost, told, r.Trouble, r.Aside, len(r.Facts))
	}
	appendAll(t, r.Journal, sample())
	path = prune(t)
	sqlDo(`UPDATE snapshots SET version = 99`)(t, path)
	if _, err := journal.Restore(t.Context(), path, begin, wanted()); !errors.Is(err, journal.ErrNewer) {
		t.Errorf("with a newer version's snapshots: %v", err)
	}
}

// TestR3_TheFileDoesNotGrowForEver: with as many facts each month the file stays as large as
// what is kept of them, while facts are written all the time.
func TestR3_TheFileDoesNotGrowForEver(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal.db")
	j := open(t, path)
	month := func(m int) {
		for i := range 4 {
			var es []journal.Entry
			for k := range 500 {
				es = append(es, entry(m*30*24*3600+i*7*24*3600+k, &sentinel.Noticed{Text: strings.Repeat("x", 300)}))
			}
			appendAll(t, j, es)
		}
		save(t, j, j.Last(), fmt.Sprintf(`{"of":%d}`, m))
	}
	var sizes []int64
	for m := range 8 {
		month(m)
		writing := make(chan error, 1)
		go func() {
			writing <- j.Append(t.Context(), []journal.Entry{entry(m*30*24*3600+29*24*3600, &sentinel.BrainStarted{Version: "x"})})
		}()
		if _, err := j.Prune(t.Context(), begin.Add(time.Duration(m-1)*30*24*time.Hour), good); err != nil {
			t.Fatal(err)
		}
		if err := <-writing; err != nil {
			t.Fatal(err)
		}
		sizes = append(sizes, pages(t, path))
	}
	if last := sizes[len(sizes)-1]; last > sizes[2]*11/10 {
		t.Errorf("pages month by month: %d", sizes)
	}
	if free := free(t, path); free > 0 {
		t.Errorf("%d pages are free", free)
	}
}

func pragma(t *testing.T, path, name string) (n int64) {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+path+"?mode=ro")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.QueryRow("PRAGMA " + name).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func pages(t *testing.T, path string) int64 { return pragma(t, path, "page_count") }
func free(t *testing.T, path string) int64  { return pragma(t, path, "freelist_count") }

// TestR3_AnOldLayoutCanShrink once it was changed.
func TestR3_AnOldLayoutCanShrink(t *testing.T) {
	path := laidOut(t, "v1")
	restore(t, path)
	if n := pragma(t, path, "auto_vacuum"); n != 2 {
		t.Errorf("auto_vacuum is %d", n)
	}
	if _, err := os.Stat(path); err != nil {
		t.Error(err)
	}
}
