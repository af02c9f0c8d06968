package journal

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"
	"time"

	"sentinel.home.arpa/cloud/internal/sentinel"
)

// Filter picks facts. What is zero picks all.
type Filter struct {
	// Site picks what names the site, or an incident whose id begins with it.
	Site string
	// Node picks what names the node, Pi or UPS: as Name, Node, UPS or Pi, among Nodes, or
	// in a run's step.
	Node string
	// Incident picks what names the incident or one of its calls or runs: as ID or
	// Incident, or as Call or Run that begins with its id and a slash.
	Incident string
	// Since and Until bound the wall clock's time; Until is not part of it.
	Since, Until time.Time
	// Limit is how many facts are given at most, the newest.
	Limit int
}

// Found is a fact as people read it.
type Found struct {
	Entry
	Name string
	Body json.RawMessage // as this version writes it; nil: it cannot be read
}

// Find gives the facts that a filter picks, in their order, until one is not taken. It holds
// one of them at a time, and Append goes on meanwhile.
func (j *Journal) Find(ctx context.Context, f Filter, each func(Found) error) error {
	if err := j.find(ctx, f, each); err != nil {
		return fmt.Errorf("search the journal: %w", err)
	}
	return nil
}

func (j *Journal) find(ctx context.Context, f Filter, each func(Found) error) error {
	db, err := j.beside("ro")
	if err != nil {
		return err
	}
	defer db.Close()
	since, until := bounds(f)
	first, last := int64(0), int64(math.MaxInt64)
	if f.Limit > 0 {
		if first, last, err = newest(ctx, db, f); err != nil {
			return err
		}
	}
	return rowsOf(ctx, db, `WHERE n BETWEEN ? AND ? AND wall >= ? AND wall < ? ORDER BY n`, []any{first, last, since, until}, func(r *row) (bool, error) {
		if !f.picks([]byte(r.body)) {
			return true, nil
		}
		return true, each(j.codec.found(r))
	})
}

// newest is where the newest facts begin and end that a filter picks, as many as it wants.
// They are not kept meanwhile: they may be more than the memory has room for.
func newest(ctx context.Context, db *sql.DB, f Filter) (first, last int64, err error) {
	since, until := bounds(f)
	left := f.Limit
	err = rowsOf(ctx, db, `WHERE wall >= ? AND wall < ? ORDER BY n DESC`, []any{since, until}, func(r *row) (bool, error) {
		if !f.picks([]byte(r.body)) {
			return true, nil
		}
		first, last = r.n, max(last, r.n)
		left--
		return left > 0, nil
	})
	return first, last, err
}

func bounds(f Filter) (since, until int64) {
	since, until = math.MinInt64, math.MaxInt64
	if !f.Since.IsZero() {
		since = f.Since.UnixNano()
	}
	if !f.Until.IsZero() {
		until = f.Until.UnixNano()
	}
	return since, until
}

// found is a row for people, who may look at what the state does not need.
func (c codec) found(r *row) Found {
	found := Found{Name: r.name}
	fact, err := c.decode(r.name, r.version, []byte(r.body))
	if err == nil {
		found.Entry = r.entry(fact)
		found.Body, _ = json.Marshal(fact)
		return found
	}
	found.Entry = r.entry(nil)
	if json.Valid([]byte(r.body)) { // a newer version's
		found.Body = json.RawMessage(r.body)
	}
	return found
}

// about is what facts name, whichever they are.
type about struct {
	Site, Name, Node, UPS, Pi string
	Nodes                     []string
	ID, Incident, Call        string
	Run                       struct{ ID string }
	Event                     struct {
		Name    string
		Run     struct{ ID string }
		Targets []struct{ Node string }
	}
}

// incidentID is an incident's: the site, what it is about, and since when.
var incidentID = regexp.MustCompile(`^(.+)-[a-z]+-[0-9]{8}T[0-9]{6}Z`)

func (f *Filter) picks(body []byte) bool {
	if f.Site == "" && f.Node == "" && f.Incident == "" {
		return true
	}
	if f.Node != "" && !strings.Contains(string(body), f.Node) { // which spares reading most
		return false
	}
	var a about
	if json.Unmarshal(body, &a) != nil {
		return false
	}
	return (f.Site == "" || a.site() == f.Site) && (f.Node == "" || a.names(f.Node)) && (f.Incident == "" || a.of(f.Incident))
}

func (a *about) site() string {
	if a.Site != "" {
		return a.Site
	}
	for _, id := range []string{a.Incident, a.ID, a.Call} {
		if m := incidentID.FindStringSubmatch(id); m != nil {
			return m[1]
		}
	}
	return ""
}

func (a *about) names(node string) bool {
	if slices.Contains([]string{a.Name, a.Node, a.UPS, a.Pi, a.Event.Name}, node) || slices.Contains(a.Nodes, node) {
		return true
	}
	for _, t := range a.Event.Targets {
		if t.Node == node {
			return true
		}
	}
	return false
}

func (a *about) of(incident string) bool {
	if a.ID == incident || a.Incident == incident {
		return true
	}
	for _, id := range []string{a.Call, a.Run.ID, a.Event.Run.ID} {
		if strings.HasPrefix(id, incident+"/") {
			return true
		}
	}
	return false
}

// Sentence is the fact's, empty for bookkeeping and for what cannot be read.
func (f Found) Sentence() string {
	if f.Fact == nil {
		return ""
	}
	return sentinel.Sentence(f.Fact)
}
