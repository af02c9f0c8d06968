// Package journal keeps the facts: append-only, in SQLite, on disk before their effects.
//
// It knows the facts' names and nothing of what they mean, and must not import another
// adapter.
package journal

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"time"

	_ "modernc.org/sqlite" // the driver

	"sentinel.home.arpa/cloud/internal/sentinel"
)

// Entry is one fact and when it became one.
type Entry struct {
	At time.Time // the brain's own time, which no clock change touches
	// Wall, Boot and SinceBoot let a later process tell how much time has passed.
	Wall      time.Time
	Boot      string
	SinceBoot time.Duration
	Fact      sentinel.Fact
}

// Journal is a database of facts. It is for one process and one writer.
type Journal struct{ db *sql.DB }

// schema is version 1. Facts carry the version of their own shape.
const schema = `
CREATE TABLE IF NOT EXISTS facts (
	n          INTEGER PRIMARY KEY,
	at         INTEGER NOT NULL, -- ns, brain time
	wall       INTEGER NOT NULL, -- ns
	boot       TEXT    NOT NULL,
	since_boot INTEGER NOT NULL, -- ns
	name       TEXT    NOT NULL,
	version    INTEGER NOT NULL DEFAULT 1,
	body       TEXT    NOT NULL
) STRICT;
PRAGMA user_version = 1;
`

// Open opens or makes the journal. What Append has returned from is on disk, whatever
// happens to the machine.
func Open(ctx context.Context, path string) (*Journal, error) {
	q := url.Values{"_pragma": {"journal_mode(WAL)", "synchronous(FULL)", "busy_timeout(2000)"}}
	uri := url.URL{Scheme: "file", OmitHost: true, Path: path, RawQuery: q.Encode()}
	db, err := sql.Open("sqlite", uri.String())
	if err != nil {
		return nil, fmt.Errorf("open the journal %s: %w", path, err)
	}
	db.SetMaxOpenConns(1)
	if _, err := db.ExecContext(ctx, schema); err != nil {
		return nil, errors.Join(fmt.Errorf("open the journal %s: %w", path, err), db.Close())
	}
	return &Journal{db}, nil
}

// Close closes the journal.
func (j *Journal) Close() error { return j.db.Close() }

// Append writes facts in one transaction. The context must carry a deadline.
func (j *Journal) Append(ctx context.Context, entries []Entry) error {
	tx, err := j.db.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("append to the journal: %w", err)
	}
	defer tx.Rollback() // does nothing after Commit
	for _, e := range entries {
		body, err := json.Marshal(e.Fact)
		if err != nil {
			return fmt.Errorf("append %s to the journal: %w", e.Fact.FactName(), err)
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO facts (at, wall, boot, since_boot, name, body) VALUES (?, ?, ?, ?, ?, ?)`,
			e.At.UnixNano(), e.Wall.UnixNano(), e.Boot, int64(e.SinceBoot), e.Fact.FactName(), string(body))
		if err != nil {
			return fmt.Errorf("append to the journal: %w", err)
		}
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("append to the journal: %w", err)
	}
	return nil
}

// Replay gives all facts in their order. A fact that this version does not know is an
// error: an older program must not guess over a newer one's journal.
func (j *Journal) Replay(ctx context.Context, each func(Entry)) error {
	rows, err := j.db.QueryContext(ctx, `SELECT n, at, wall, boot, since_boot, name, body FROM facts ORDER BY n`)
	if err != nil {
		return fmt.Errorf("read the journal: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var n, at, wall, sinceBoot int64
		var boot, name, body string
		if err := rows.Scan(&n, &at, &wall, &boot, &sinceBoot, &name, &body); err != nil {
			return fmt.Errorf("read the journal: %w", err)
		}
		fact := sentinel.NewFact(name)
		if fact == nil {
			return fmt.Errorf("read the journal: fact %d is a %q, which this version does not know", n, name)
		}
		if err := json.Unmarshal([]byte(body), fact); err != nil {
			return fmt.Errorf("read the journal: fact %d, %s: %w", n, name, err)
		}
		each(Entry{At: time.Unix(0, at).UTC(), Wall: time.Unix(0, wall).UTC(), Boot: boot, SinceBoot: time.Duration(sinceBoot), Fact: fact})
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("read the journal: %w", err)
	}
	return nil
}
