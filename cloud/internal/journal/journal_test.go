package journal_test

import (
	"context"
	"database/sql"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"sentinel.home.arpa/cloud/internal/journal"
	"sentinel.home.arpa/cloud/internal/sentinel"
	"sentinel.home.arpa/shared/power"
	"sentinel.home.arpa/shared/shutdown"
)

var begin = time.Date(2026, 11, 21, 19, 2, 0, 123456789, time.UTC)

func entry(seconds int, f sentinel.Fact) journal.Entry {
	d := time.Duration(seconds) * time.Second
	return journal.Entry{At: begin.Add(d), Wall: begin.Add(d - time.Hour), Boot: "boot-1", SinceBoot: d + time.Nanosecond, Fact: f}
}

func sample() []journal.Entry {
	charge, runtime := 0.96, power.Seconds(540)
	plan := shutdown.Plan{Site: "home", Nodes: []shutdown.Node{{Name: "pve1", API: "https://192.0.2.1:8006"}}, Stages: []shutdown.Stage{{Nodes: []string{"pve1"}, Deadline: time.Minute}}}
	return []journal.Entry{
		entry(0, &sentinel.BrainStarted{Version: "1"}),
		entry(1, &sentinel.SupplyChanged{Site: "home", UPS: "apc1", Supply: power.Battery, Since: begin,
			Reading: power.Reading{Status: power.Status{Flags: power.OnBattery, Charge: &charge, Runtime: &runtime}, Supply: power.Battery, For: 1}}),
		entry(2, &sentinel.RunStepped{Site: "home", Incident: "i", Epoch: shutdown.Epoch{Counter: 1, Holder: "cloud"},
			Event: shutdown.Event{Type: shutdown.Began, At: begin, Run: &shutdown.Header{ID: "i/1", Plan: plan, Reason: "the power has been out for 10 s"}}}),
		entry(3, &sentinel.CallRequested{Call: "i/1", Incident: "i", Contact: "alice", Attempt: 1, Why: `quotes " and 'these', and 電`}),
	}
}

// anyPlace compares facts wherever they stand.
func anyPlace() cmp.Option { return cmpopts.IgnoreFields(journal.Entry{}, "N") }

func open(t *testing.T, path string) *journal.Journal {
	t.Helper()
	j, err := journal.Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = j.Close() })
	return j
}

func appendAll(t *testing.T, j *journal.Journal, entries []journal.Entry) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := j.Append(ctx, entries); err != nil {
		t.Fatal(err)
	}
}

func replay(t *testing.T, j *journal.Journal) []journal.Entry {
	t.Helper()
	var got []journal.Entry
	if err := j.Replay(t.Context(), func(e journal.Entry) { got = append(got, e) }); err != nil {
		t.Fatal(err)
	}
	return got
}

func TestReplayGivesBackWhatWasAppended(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal.db")
	j := open(t, path)
	if got := replay(t, j); len(got) != 0 {
		t.Errorf("a new journal holds %v", got)
	}
	want := sample()
	appendAll(t, j, want[:1])
	appendAll(t, j, nil)
	appendAll(t, j, want[1:])
	if diff := cmp.Diff(want, replay(t, j), anyPlace()); diff != "" {
		t.Errorf("(-appended +replayed):\n%s", diff)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	again := open(t, path)
	more := entry(9, &sentinel.PlanArmed{Site: "home", By: "alice"})
	appendAll(t, again, []journal.Entry{more})
	if diff := cmp.Diff(append(want, more), replay(t, again), anyPlace()); diff != "" {
		t.Errorf("after it was opened again (-appended +replayed):\n%s", diff)
	}
}

// TestR3_OnDiskWithoutClose copies the files as a machine that loses its power leaves
// them, and opens the copy.
func TestR3_OnDiskWithoutClose(t *testing.T) {
	dir := t.TempDir()
	j := open(t, filepath.Join(dir, "journal.db"))
	want := sample()
	for _, e := range want {
		appendAll(t, j, []journal.Entry{e})
	}
	left := t.TempDir()
	for _, name := range []string{"journal.db", "journal.db-wal"} {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(left, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(want, replay(t, open(t, filepath.Join(left, "journal.db"))), anyPlace()); diff != "" {
		t.Errorf("(-appended +found):\n%s", diff)
	}
}

// TestAwkwardPath: no path takes the pragmas away that put facts on disk.
func TestAwkwardPath(t *testing.T) {
	path := filepath.Join(t.TempDir(), "with space & ?question#hash.db")
	j := open(t, path)
	appendAll(t, j, sample())
	if _, err := os.Stat(path); err != nil {
		t.Errorf("the journal is not where it should be: %v", err)
	}
	if _, err := os.Stat(path + "-wal"); err != nil {
		t.Errorf("no write-ahead log: %v", err)
	}
}

// TestUnknownFactIsRefused: an older program must not guess over a newer one's journal.
func TestUnknownFactIsRefused(t *testing.T) {
	for name, row := range map[string]struct{ name, body, want string }{
		"unknown name": {"from_the_future", "{}", "from_the_future"},
		"broken body":  {"noticed", "{", "noticed"},
		"wrong type":   {"noticed", `{"Site":7}`, "noticed"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "journal.db")
			j := open(t, path)
			appendAll(t, j, sample()[:1])
			insert(t, path, row.name, row.body)
			n := 0
			err := j.Replay(t.Context(), func(journal.Entry) { n++ })
			if err == nil || !strings.Contains(err.Error(), row.want) || !strings.Contains(err.Error(), "fact 2") {
				t.Errorf("Replay: %v", err)
			}
			if n != 1 {
				t.Errorf("%d entries were given before the error", n)
			}
		})
	}
}

func insert(t *testing.T, path, name, body string) {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec(`INSERT INTO facts (at, wall, boot, since_boot, name, body) VALUES (1, 1, 'b', 1, ?, ?)`, name, body); err != nil {
		t.Fatal(err)
	}
}

// unwritable is a fact that JSON cannot hold.
type unwritable struct {
	sentinel.Fact
	F func()
}

func (*unwritable) FactName() string { return "unwritable" }

func TestAppendIsAllOrNothing(t *testing.T) {
	j := open(t, filepath.Join(t.TempDir(), "journal.db"))
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	err := j.Append(ctx, append(sample(), entry(9, &unwritable{F: func() {}})))
	if err == nil || !strings.Contains(err.Error(), "unwritable") {
		t.Errorf("Append: %v", err)
	}
	if got := replay(t, j); len(got) != 0 {
		t.Errorf("half of it was written: %d entries", len(got))
	}
	appendAll(t, j, sample())
}

// TestAppendKeepsItsDeadline: somebody else holds the file's lock.
func TestAppendKeepsItsDeadline(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal.db")
	j := open(t, path)
	release := lock(t, path)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	begun := time.Now()
	err := j.Append(ctx, sample())
	if err == nil {
		t.Error("appended to a locked journal")
	}
	// busy_timeout is 2 s, and SQLite may sit out a last nap of its own.
	if took := time.Since(begun); took > 3*time.Second {
		t.Errorf("gave up after %s", took)
	}
	release()
	appendAll(t, j, sample())
	if got := replay(t, j); len(got) != len(sample()) {
		t.Errorf("%d entries after the lock was released", len(got))
	}
}

func lock(t *testing.T, path string) (release func()) {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	db.SetMaxOpenConns(1)
	if _, err := db.Exec("BEGIN IMMEDIATE"); err != nil {
		t.Fatal(err)
	}
	return func() {
		if _, err := db.Exec("ROLLBACK"); err != nil {
			t.Error(err)
		}
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestCancelledContext(t *testing.T) {
	j := open(t, filepath.Join(t.TempDir(), "journal.db"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := j.Append(ctx, sample()); !errors.Is(err, context.Canceled) {
		t.Errorf("Append: %v", err)
	}
	if err := j.Replay(ctx, func(journal.Entry) {}); !errors.Is(err, context.Canceled) {
		t.Errorf("Replay: %v", err)
	}
}

func TestOpenSaysWhatItTried(t *testing.T) {
	path := filepath.Join(t.TempDir(), "missing", "journal.db")
	if j, err := journal.Open(t.Context(), path); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("Open = %v, %v", j, err)
	}
	text := filepath.Join(t.TempDir(), "text.db")
	if err := os.WriteFile(text, []byte(strings.Repeat("this is no database\n", 100)), 0o600); err != nil {
		t.Fatal(err)
	}
	if j, err := journal.Open(t.Context(), text); err == nil {
		_ = j.Close()
		t.Error("a text file passes for a journal")
	}
}

// TestR3_AppendedAgain: a write whose answer was lost is made again, and changes nothing. A
// place that another fact has is an error.
func TestR3_AppendedAgain(t *testing.T) {
	j := open(t, filepath.Join(t.TempDir(), "journal.db"))
	batch := sample()
	appendAll(t, j, batch)
	for i, e := range batch {
		if e.N != int64(i)+1 {
			t.Errorf("fact %d has the place %d", i, e.N)
		}
	}
	more := append(slices.Clone(batch), sample()...)
	appendAll(t, j, more)
	appendAll(t, j, more[3:]) // the oldest were dropped meanwhile
	if got := replay(t, j); len(got) != 2*len(batch) || j.Last() != int64(2*len(batch)) {
		t.Errorf("%d facts, the last at %d", len(got), j.Last())
	}
	other := slices.Clone(batch)
	other[2].Wall = other[2].Wall.Add(1)
	err := j.Append(t.Context(), append(other, sample()...))
	if err == nil || !strings.Contains(err.Error(), "fact 3, a ") || !strings.Contains(err.Error(), "another fact has its place") {
		t.Errorf("in another's place: %v", err)
	}
	if got := replay(t, j); len(got) != 2*len(batch) {
		t.Errorf("then %d facts", len(got))
	}
	rest := []journal.Entry{sample()[0], sample()[1]}
	rest[0].N = 50 // those before it were dropped, and were never written
	appendAll(t, j, rest)
	if rest[1].N != 51 || j.Last() != 51 {
		t.Errorf("after a gap the next has the place %d, and the last is %d", rest[1].N, j.Last())
	}
}
