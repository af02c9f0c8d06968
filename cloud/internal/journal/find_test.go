package journal_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"sentinel.home.arpa/cloud/internal/journal"
	"sentinel.home.arpa/cloud/internal/sentinel"
)

// TestR6_Find: by site, node and incident, whichever of its fields a fact names it in.
func TestR6_Find(t *testing.T) {
	j := restore(t, laidOut(t, "v1")).Journal
	appendAll(t, j, []journal.Entry{entry(40*24*3600, &sentinel.Noticed{Site: "home-2", Text: "another site"}),
		entry(41*24*3600, &sentinel.IncidentResolved{ID: "home-2-node-20261231T000000Z", Why: "it is over"})})
	const outage = "home-power-20261121T190201Z"
	day := func(n, hour int) time.Time { return time.Date(2026, 11, n, hour, 0, 0, 0, time.UTC) }
	for _, tt := range []struct {
		name   string
		filter journal.Filter
		n      int
		has    []string // the first and the last
	}{
		{"all", journal.Filter{}, 81, []string{"brain_started", "incident_resolved"}},
		{"the newest", journal.Filter{Limit: 3}, 3, []string{"call_requested", "incident_resolved"}},
		{"a site", journal.Filter{Site: "home-2"}, 2, []string{"noticed", "incident_resolved"}},
		{"another site", journal.Filter{Site: "cabin"}, 0, nil},
		{"a node", journal.Filter{Node: "pve2"}, 20, []string{"source_appeared", "incident_opened"}},
		{"a part of a name", journal.Filter{Node: "pve"}, 0, nil},
		{"a UPS", journal.Filter{Node: "apc1"}, 6, []string{"supply_changed", "supply_changed"}},
		{"an incident", journal.Filter{Incident: outage}, 15, []string{"incident_opened", "incident_resolved"}},
		{"its newest", journal.Filter{Incident: outage, Limit: 2}, 2, []string{"run_stepped", "incident_resolved"}},
		{"a node in an incident", journal.Filter{Incident: "home-node-20261105T021140Z", Node: "pve2"}, 2, []string{"incident_joined", "incident_left"}},
		{"since", journal.Filter{Since: day(21, 0), Until: day(22, 0)}, 18, []string{"supply_changed", "incident_resolved"}},
		{"since, the newest", journal.Filter{Since: day(21, 0), Until: day(22, 0), Limit: 1}, 1, []string{"incident_resolved", "incident_resolved"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var got []journal.Found
			if err := j.Find(t.Context(), tt.filter, func(f journal.Found) error { got = append(got, f); return nil }); err != nil {
				t.Fatal(err)
			}
			if len(got) != tt.n {
				var said []string
				for _, f := range got {
					said = append(said, f.Name+" "+string(f.Body))
				}
				t.Fatalf("found %d, not %d:\n%s", len(got), tt.n, strings.Join(said, "\n"))
			}
			for i, f := range got {
				if i > 0 && f.N <= got[i-1].N || !json.Valid(f.Body) || f.Fact == nil || f.Wall.IsZero() {
					t.Errorf("fact %d: %+v", i, f)
				}
			}
			if tt.n > 0 && (got[0].Name != tt.has[0] || got[tt.n-1].Name != tt.has[1]) {
				t.Errorf("from %s to %s", got[0].Name, got[tt.n-1].Name)
			}
		})
	}
}

// TestR6_FindShowsWhatCannotBeRead, and goes on.
func TestR6_FindShowsWhatCannotBeRead(t *testing.T) {
	path := archived(t, 10, 10)
	sqlDo(`UPDATE facts SET body = '{"x' WHERE n = 4; UPDATE facts SET name = 'moon_fell', body = '{"Site":"home"}' WHERE n = 5`)(t, path)
	j := open(t, path)
	said := map[int64]string{}
	if err := j.Find(t.Context(), journal.Filter{}, func(f journal.Found) error {
		said[f.N] = fmt.Sprintf("%s %s %q", f.Name, f.Body, f.Sentence())
		return nil
	}); err != nil || len(said) != 10 {
		t.Fatalf("%d facts, %v", len(said), err)
	}
	if said[4] != `announcement_seen  ""` || said[5] != `moon_fell {"Site":"home"} ""` || !strings.Contains(said[7], "notice 6") {
		t.Errorf("found %v", said)
	}
}

// TestR3_FindHoldsUpNobody: facts are written while somebody reads, and who has enough ends it.
func TestR3_FindHoldsUpNobody(t *testing.T) {
	j := open(t, archived(t, 1000))
	enough := errors.New("enough")
	n := 0
	err := j.Find(t.Context(), journal.Filter{}, func(f journal.Found) error {
		if n++; n == 500 {
			return enough
		}
		if n%100 == 0 {
			appendAll(t, j, sample())
		}
		return nil
	})
	if !errors.Is(err, enough) || n != 500 || j.Last() != int64(1000+4*len(sample())) {
		t.Errorf("%v after %d, the last is %d", err, n, j.Last())
	}
	none := open(t, filepath.Join(t.TempDir(), "x.db"))
	if err := none.Find(t.Context(), journal.Filter{}, func(journal.Found) error { return nil }); err != nil {
		t.Errorf("in an empty journal: %v", err)
	}
}

// TestR2_FindHoldsOneFactAtATime, however many are wanted.
func TestR2_FindHoldsOneFactAtATime(t *testing.T) {
	j := open(t, filepath.Join(t.TempDir(), "journal.db"))
	const most, size = 400, 100_000
	for i := range most {
		appendAll(t, j, []journal.Entry{entry(i, &sentinel.Noticed{Site: "home", Text: strings.Repeat("x", size)})})
	}
	held := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before, n := held(), 0
	err := j.Find(t.Context(), journal.Filter{Limit: most}, func(journal.Found) error {
		if n++; n%100 == 1 && held() > before+most*size/4 {
			t.Errorf("at fact %d %d MB are held", n, (held()-before)>>20)
		}
		return nil
	})
	if err != nil || n != most {
		t.Errorf("found %d, %v", n, err)
	}
}
