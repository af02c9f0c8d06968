package journal_test

import (
	"bytes"
	"database/sql"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sentinel.home.arpa/cloud/internal/journal"
	"sentinel.home.arpa/cloud/internal/sentinel"
)

// many are so many facts, a minute apart, of which every other has a sentence.
func many(n int) []journal.Entry {
	es := make([]journal.Entry, 0, n)
	for i := range n {
		var f sentinel.Fact = &sentinel.Noticed{Site: "home", Text: fmt.Sprintf("notice %d %s", i, strings.Repeat("x", 150))}
		if i%2 == 1 {
			f = &sentinel.AnnouncementSeen{Site: "home", Name: "pve1", Boot: "b", Seq: int64(i)}
		}
		es = append(es, entry(60*i, f))
	}
	return es
}

func save(t *testing.T, j *journal.Journal, n int64, body string) journal.Snapshot {
	t.Helper()
	s := journal.Snapshot{N: n, At: begin, Wall: begin.Add(-time.Hour), Boot: "boot-1", SinceBoot: 7, Body: []byte(body)}
	if err := j.Save(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	return s
}

// archived is a closed journal of n facts with snapshots of some of them.
func archived(t *testing.T, n int, snapshots ...int64) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "journal.db")
	j, err := journal.Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	appendAll(t, j, many(n))
	for _, at := range snapshots {
		save(t, j, at, fmt.Sprintf(`{"of":%d}`, at))
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestR3_StartFromASnapshot: the newest snapshot that can be read, the facts since, and the
// newest before it that are shown; the last two snapshots are kept.
func TestR3_StartFromASnapshot(t *testing.T) {
	for _, tt := range []struct {
		name      string
		snapshots []int64
		spoil     func(*testing.T, string)
		from      int64 // 0: from no snapshot
		passed    string
	}{
		{name: "none"},
		{name: "one", snapshots: []int64{100}, from: 100},
		{name: "several", snapshots: []int64{100, 300, 900}, from: 900},
		{name: "of all facts", snapshots: []int64{300, 1000}, from: 1000},
		{name: "a body altered", snapshots: []int64{300, 900}, spoil: sqlDo(`UPDATE snapshots SET body = '{"of":901}' WHERE n = 900`), from: 300, passed: "the snapshot of fact 900: it was altered"},
		{name: "both altered", snapshots: []int64{300, 900}, spoil: sqlDo(`UPDATE snapshots SET body = '{"of":1}'`), passed: "the snapshot of fact 300: it was altered"},
		{name: "a newer version", snapshots: []int64{300, 900}, spoil: sqlDo(`UPDATE snapshots SET version = 99 WHERE n = 900`), from: 300, passed: "it is version 99"},
		{name: "an unknown shape", snapshots: []int64{300, 900}, spoil: sqlDo(fmt.Sprintf(`UPDATE snapshots SET body = 'unreadable', sum = %d WHERE n = 900`, crc32.Checksum([]byte("unreadable"), crc32.MakeTable(crc32.Castagnoli)))), from: 300, passed: "the snapshot of fact 900: it cannot be read"},
		{name: "no table", snapshots: []int64{300}, spoil: sqlDo(`DROP TABLE snapshots; PRAGMA user_version = 1`)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := archived(t, 1000, tt.snapshots...)
			if tt.spoil != nil {
				tt.spoil(t, path)
			}
			w := wanted()
			w.Readable = func(body []byte) error {
				if string(body) == "unreadable" {
					return errors.New("it cannot be read")
				}
				return nil
			}
			r, err := journal.Restore(t.Context(), path, begin, w)
			if err != nil {
				t.Fatal(err)
			}
			defer r.Journal.Close()
			if r.Lost || r.Trouble != nil || r.Aside != "" || r.Journal.Last() != 1000 {
				t.Errorf("lost %v, trouble %v, aside %q, last %d", r.Lost, r.Trouble, r.Aside, r.Journal.Last())
			}
			if text := fmt.Sprint(r.Passed); tt.passed == "" && r.Passed != nil || !strings.Contains(text, tt.passed) {
				t.Errorf("passed over: %v", r.Passed)
			}
			if diff := cmp.Diff(many(1000)[tt.from:], r.Facts, anyPlace()); len(r.Facts) > 0 && diff != "" {
				t.Errorf("facts (-want +got):\n%s", diff)
			}
			if int64(len(r.Facts)) != 1000-tt.from {
				t.Errorf("%d facts since %d", len(r.Facts), tt.from)
			}
			checkSnapshot(t, r, tt.from)
		})
	}
}

func checkSnapshot(t *testing.T, r journal.Restored, from int64) {
	t.Helper()
	if (r.Snapshot == nil) != (from == 0) || from > 0 && (r.Snapshot.N != from || string(r.Snapshot.Body) != fmt.Sprintf(`{"of":%d}`, from)) {
		t.Errorf("the snapshot is %+v", r.Snapshot)
	}
	if want := min(300, (from+1)/2); int64(len(r.Before)) != want {
		t.Errorf("%d of %d shown facts are before it", len(r.Before), want)
	}
	for i, e := range r.Before {
		if e.N%2 != 1 || e.N > from || i > 0 && e.N != r.Before[i-1].N+2 {
			t.Errorf("before it is fact %d", e.N)
		}
	}
	if len(r.Facts) == 0 && (r.Last == nil || !r.Last.At.Equal(begin) || r.Last.SinceBoot != 7) {
		t.Errorf("the last moment is %+v, not the snapshot's", r.Last)
	}
}

// TestR3_FactsGoOnAfterASnapshot: none takes the place of one that a snapshot holds, whatever
// became of that.
func TestR3_FactsGoOnAfterASnapshot(t *testing.T) {
	path := archived(t, 1000, 900)
	sqlDo(`DELETE FROM facts WHERE n > 400`)(t, path)
	r := restore(t, path)
	if r.Lost || r.Snapshot == nil || len(r.Facts) > 0 {
		t.Fatalf("%+v", r)
	}
	appendAll(t, r.Journal, sample())
	if err := r.Journal.Close(); err != nil {
		t.Fatal(err)
	}
	again := restore(t, path)
	if diff := cmp.Diff(sample(), again.Facts, anyPlace()); diff != "" || again.Facts[0].N != 901 || again.Journal.Last() != 904 {
		t.Errorf("last %d (-want +got):\n%s", again.Journal.Last(), diff)
	}
}

// layoutNow is the layout of a file.
func layoutNow(t *testing.T, path string) (version int) {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.QueryRow(`PRAGMA user_version`).Scan(&version); err != nil {
		t.Fatal(err)
	}
	return version
}

// TestR3_OldLayoutIsChangedInPlace, and not where it cannot be: then it is read as it is.
func TestR3_OldLayoutIsChangedInPlace(t *testing.T) {
	path := laidOut(t, "v1")
	r := restore(t, path)
	if r.Trouble != nil || r.Aside != "" || layoutNow(t, path) != 2 {
		t.Errorf("trouble %v, aside %q, layout %d", r.Trouble, r.Aside, layoutNow(t, path))
	}
	want := len(sampleLines(t, "v1"))
	t.Run("on a full disk", func(t *testing.T) {
		dir := small(t)
		full := filepath.Join(dir, "journal.db")
		data, err := os.ReadFile(laidOut(t, "v1"))
		if err == nil {
			err = os.WriteFile(full, data, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		ballast := fill(t, dir)
		r := restore(t, full)
		if len(r.Facts) != want || r.Lost || r.Aside != "" {
			t.Errorf("%d facts, lost %v, trouble %v", len(r.Facts), r.Lost, r.Trouble)
		}
		if err := os.Remove(ballast); err != nil {
			t.Fatal(err)
		}
		appendAll(t, r.Journal, sample())
		save(t, r.Journal, r.Journal.Last(), "{}")
		if again := restore(t, full); again.Snapshot == nil || again.Snapshot.N != int64(want+len(sample())) {
			t.Errorf("then %+v", again)
		}
	})
	t.Run("on a disk that is read-only", func(t *testing.T) {
		r := restore(t, readOnlyDisk(t, laidOut(t, "v1")))
		if len(r.Facts) != want || r.Lost || r.Aside != "" || r.Trouble == nil {
			t.Errorf("%d facts, lost %v, aside %q, trouble %v", len(r.Facts), r.Lost, r.Aside, r.Trouble)
		}
	})
}

// TestR3_SnapshotOnADiskThatIsReadOnly is read too.
func TestR3_SnapshotOnADiskThatIsReadOnly(t *testing.T) {
	r := restore(t, readOnlyDisk(t, archived(t, 1000, 300, 900)))
	if r.Snapshot == nil || r.Snapshot.N != 900 || len(r.Facts) != 100 || len(r.Before) != 300 || r.Lost || r.Trouble == nil {
		t.Errorf("from %+v, %d facts, %d before, lost %v, trouble %v", r.Snapshot, len(r.Facts), len(r.Before), r.Lost, r.Trouble)
	}
	if err := r.Journal.Save(t.Context(), journal.Snapshot{N: 1000, Body: []byte("{}")}); err == nil {
		t.Error("a snapshot was written")
	}
}

// readOnlyDisk is a journal on a disk of its own that takes nothing any more.
func readOnlyDisk(t *testing.T, from string) (path string) {
	t.Helper()
	dir := small(t)
	data, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(dir, "journal.db")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	lockDisk(t, dir)
	return path
}

// pageOf gives the place of a page that only a table's rows lie in, from the middle of it.
func pageOf(t *testing.T, path, text string) int64 {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	at := bytes.Index(data, []byte(text))
	if at < 0 {
		t.Fatalf("%q is not in the file", text)
	}
	return int64(at) &^ 4095
}

// TestR3_DamageBesideTheState: a page that is garbled where the snapshots lie, or where facts
// lie that a snapshot holds, takes nothing from the state. It is said, and the journal is
// replaced by one with all that can be read.
func TestR3_DamageBesideTheState(t *testing.T) {
	for _, tt := range []struct {
		name, page string
		from       int64
		least      int // facts that are left
	}{
		{"the snapshots", `{"of":900}`, 0, 1000},
		{"an old fact", "notice 100 ", 900, 900},
		{"a fact shortly before the snapshot", "notice 870 ", 900, 900},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := archived(t, 1000, 300, 900)
			overwrite(pageOf(t, path, tt.page), strings.Repeat("garbage!", 512))(t, path)
			w := wanted()
			w.Losing = func() { t.Error("it says that facts are lost") }
			r, err := journal.Restore(t.Context(), path, begin, w)
			if err != nil {
				t.Fatal(err)
			}
			if r.Lost || r.Trouble == nil || r.Aside == "" || int64(len(r.Facts)) != 1000-tt.from {
				t.Errorf("lost %v, trouble %v, aside %q, %d facts", r.Lost, r.Trouble, r.Aside, len(r.Facts))
			}
			if (r.Snapshot == nil) != (tt.from == 0) {
				t.Errorf("the snapshot is %+v", r.Snapshot)
			}
			appendAll(t, r.Journal, sample())
			kept := replay(t, r.Journal)
			if len(kept) < tt.least+len(sample()) {
				t.Errorf("only %d facts are left", len(kept))
			}
			if err := r.Journal.Close(); err != nil {
				t.Fatal(err)
			}
			again := restore(t, path)
			if again.Trouble != nil || len(again.Facts) != len(r.Facts)+len(sample()) || (again.Snapshot == nil) != (tt.from == 0) {
				t.Errorf("then %d facts, trouble %v", len(again.Facts), again.Trouble)
			}
		})
	}
}
