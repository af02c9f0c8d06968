package journal

import (
	"encoding/json"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"sentinel.home.arpa/cloud/internal/sentinel"
)

// TestR3_OlderFactsAreUpgraded: a fact that comes to mean something else is read as it was
// written, through each version since, and written as it is now; a newer one is refused.
func TestR3_OlderFactsAreUpgraded(t *testing.T) {
	rename := func(from, to string) upgrade {
		return func(body []byte) ([]byte, error) {
			var fields map[string]any
			if err := json.Unmarshal(body, &fields); err != nil {
				return nil, err
			}
			fields[to] = fields[from]
			delete(fields, from)
			return json.Marshal(fields)
		}
	}
	// In version 1 who armed was called Who, in version 2 Person.
	now := codec{"plan_armed": {rename("Who", "Person"), rename("Person", "By")}}
	j, err := Open(t.Context(), filepath.Join(t.TempDir(), "journal.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	j.codec = now
	old := func(version int, body string) {
		t.Helper()
		if _, err := j.db.Exec(`INSERT INTO facts (at, wall, boot, since_boot, name, version, body) VALUES (1, 1, 'b', 1, 'plan_armed', ?, ?)`, version, body); err != nil {
			t.Fatal(err)
		}
	}
	old(1, `{"Site":"home","Who":"alice"}`)
	old(2, `{"Site":"home","Person":"bob"}`)
	if err := j.Append(t.Context(), []Entry{{At: time.Unix(2, 0), Fact: &sentinel.PlanArmed{Site: "home", By: "carol"}}, {Fact: &sentinel.BrainStarted{Version: "x"}}}); err != nil {
		t.Fatal(err)
	}
	var by []string
	err = j.Replay(t.Context(), func(e Entry) {
		if f, ok := e.Fact.(*sentinel.PlanArmed); ok {
			by = append(by, f.By)
		}
	})
	if err != nil || len(by) != 3 || by[0] != "alice" || by[1] != "bob" || by[2] != "carol" {
		t.Errorf("armed by %q, %v", by, err)
	}
	versions := map[string]int{}
	rows, err := j.db.Query(`SELECT name, version FROM facts WHERE n > 2`)
	if err != nil {
		t.Fatal(err)
	}
	for rows.Next() {
		var name string
		var v int
		if err := rows.Scan(&name, &v); err != nil {
			t.Fatal(err)
		}
		versions[name] = v
	}
	if versions["plan_armed"] != 3 || versions["brain_started"] != 1 {
		t.Errorf("written as %v", versions)
	}
	for _, tt := range []struct {
		name    string
		version int
		body    string
		want    error
	}{
		{"plan_armed", 4, `{}`, ErrNewer},
		{"plan_disarmed", 2, `{}`, ErrNewer},
		{"plan_unknown", 1, `{}`, ErrNewer},
		{"plan_armed", 0, `{}`, errGarbled},
		{"plan_armed", 1, `{`, errGarbled},
		{"plan_armed", 3, `{"By":7}`, errGarbled},
	} {
		if f, err := now.decode(tt.name, tt.version, []byte(tt.body)); !errors.Is(err, tt.want) || f != nil {
			t.Errorf("%+v: %v, %v", tt, f, err)
		}
	}
}
