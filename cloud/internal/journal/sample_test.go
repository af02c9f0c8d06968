package journal_test

import (
	"bytes"
	"database/sql"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sentinel.home.arpa/cloud/internal/journal"
	"sentinel.home.arpa/cloud/internal/sentinel"
)

var update = flag.Bool("update", false, "write the golden files anew")

// layouts are the tables as each version of the program made them.
var layouts = map[string]string{
	"v1": `CREATE TABLE facts (n INTEGER PRIMARY KEY, at INTEGER NOT NULL, wall INTEGER NOT NULL, boot TEXT NOT NULL, since_boot INTEGER NOT NULL,
		name TEXT NOT NULL, version INTEGER NOT NULL DEFAULT 1, body TEXT NOT NULL) STRICT; PRAGMA user_version = 1;`,
	"v2": `CREATE TABLE facts (n INTEGER PRIMARY KEY, at INTEGER NOT NULL, wall INTEGER NOT NULL, boot TEXT NOT NULL, since_boot INTEGER NOT NULL,
		name TEXT NOT NULL, version INTEGER NOT NULL DEFAULT 1, body TEXT NOT NULL) STRICT;
		CREATE TABLE snapshots (n INTEGER PRIMARY KEY, at INTEGER NOT NULL, wall INTEGER NOT NULL, boot TEXT NOT NULL, since_boot INTEGER NOT NULL,
		version INTEGER NOT NULL, sum INTEGER NOT NULL, body TEXT NOT NULL) STRICT; PRAGMA user_version = 2;`,
}

// sampled is a line of a sample.
type sampled struct {
	At      time.Time
	Fact    string
	Version int // 0: 1
	Body    json.RawMessage
}

func sampleLines(t *testing.T, layout string) (lines []sampled) {
	t.Helper()
	data, err := os.ReadFile("testdata/sample-" + layout + ".ndjson")
	if err != nil {
		t.Fatal(err)
	}
	for n, text := range bytes.Split(bytes.TrimSpace(data), []byte("\n")) {
		l := sampled{Version: 1}
		if err := json.Unmarshal(text, &l); err != nil {
			t.Fatalf("line %d: %v", n+1, err)
		}
		lines = append(lines, l)
	}
	return lines
}

// laidOut makes a journal's file of a sample, as the program of then did.
func laidOut(t *testing.T, layout string) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "journal.db")
	db, err := sql.Open("sqlite", "file:"+path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec(layouts[layout]); err != nil {
		t.Fatal(err)
	}
	for n, l := range sampleLines(t, layout) {
		_, err := db.Exec(`INSERT INTO facts (at, wall, boot, since_boot, name, version, body) VALUES (?, ?, 'a boot', ?, ?, ?, ?)`,
			l.At.UnixNano(), l.At.UnixNano(), n, l.Fact, l.Version, string(l.Body))
		if err != nil {
			t.Fatal(err)
		}
	}
	return path
}

// TestR3_SamplesStayReadable replays journals as earlier versions wrote them, and compares
// what comes of them with what came of them then. Fields that are zero are left out, so
// that those which are added since don't matter.
func TestR3_SamplesStayReadable(t *testing.T) {
	for layout := range layouts {
		t.Run(layout, func(t *testing.T) {
			s := sentinel.New(sentinel.Config{Brain: "brain", Times: sentinel.DefaultTimes()})
			r := restore(t, laidOut(t, layout))
			if r.Trouble != nil || r.Lost || len(r.Facts) != len(sampleLines(t, layout)) {
				t.Fatalf("%d facts, lost %v, trouble %v", len(r.Facts), r.Lost, r.Trouble)
			}
			for _, e := range r.Facts {
				s.Evolve(e.At, e.Fact)
			}
			golden := "testdata/sample-" + layout + ".golden.json"
			now := plain(t, s)
			if *update {
				if err := os.WriteFile(golden, []byte(now), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			then, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(strings.Split(string(then), "\n"), strings.Split(now, "\n")); diff != "" {
				t.Errorf("a journal of layout %s gives another state than it did; if that is meant, run go test ./cloud/internal/journal -run Samples -update (-then +now):\n%s", layout, diff)
			}
			moreThanTheGolden(t, layout, r.Journal)
		})
	}
}

// moreThanTheGolden: the journal goes on in the layout of today.
func moreThanTheGolden(t *testing.T, layout string, j *journal.Journal) {
	t.Helper()
	n := len(sampleLines(t, layout))
	appendAll(t, j, sample())
	if got := replay(t, j); len(got) != n+len(sample()) || j.Last() != int64(len(got)) {
		t.Errorf("%d facts after some more, the last is %d", len(got), j.Last())
	}
	if err := j.Save(t.Context(), journal.Snapshot{N: j.Last(), Body: []byte("{}")}); err != nil {
		t.Errorf("no snapshot: %v", err)
	}
}

// plain is a state as text, without what is zero.
func plain(t *testing.T, s *sentinel.State) string {
	t.Helper()
	data, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	var tree any
	if err := json.Unmarshal(data, &tree); err != nil {
		t.Fatal(err)
	}
	data, err = json.MarshalIndent(withoutZeros(tree), "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(data) + "\n"
}

func withoutZeros(x any) any {
	switch x := x.(type) {
	case map[string]any:
		for k, v := range x {
			if v = withoutZeros(v); v == nil {
				delete(x, k)
			} else {
				x[k] = v
			}
		}
		if len(x) == 0 {
			return nil
		}
	case []any:
		for i := range x {
			x[i] = withoutZeros(x[i])
		}
		if len(x) == 0 {
			return nil
		}
	case string:
		if x == "" || x == "0001-01-01T00:00:00Z" {
			return nil
		}
	case bool:
		if !x {
			return nil
		}
	case float64:
		if x == 0 {
			return nil
		}
	}
	return x
}

// TestSamplesHaveEveryFact: each fact that can be in a journal is in one of the samples.
func TestSamplesHaveEveryFact(t *testing.T) {
	have := map[string]bool{}
	newest := ""
	for layout := range layouts {
		newest = max(newest, layout)
		for _, l := range sampleLines(t, layout) {
			have[l.Fact] = true
		}
	}
	for _, name := range factNames(t) {
		if !have[name] {
			t.Errorf(`no sample has a %s. Add a line to testdata/sample-%s.ndjson, at its end, with a time after the one before:
	{"at":"2026-12-01T12:00:00Z","fact":"%s","body":%s}
with what such a fact would say, run go test ./cloud/internal/journal -run Samples -update, and read what it changes in the golden file`, name, newest, name, body(t, name))
		}
	}
}

// factNames are those that NewFact knows, as the core's own list of facts has them.
func factNames(t *testing.T) (names []string) {
	t.Helper()
	data, err := os.ReadFile("../sentinel/testdata/facts.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(data)) {
		name, _, _ := strings.Cut(line, " ")
		names = append(names, name)
	}
	if len(names) < 30 {
		t.Fatalf("only %d facts", len(names))
	}
	return names
}

func body(t *testing.T, name string) string {
	t.Helper()
	f := sentinel.NewFact(name)
	if f == nil {
		t.Fatalf("NewFact does not know %q", name)
	}
	data, err := json.Marshal(f)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
