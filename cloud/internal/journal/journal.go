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
type Journal struct {
	path string
	db   *sql.DB // nil: not open for writing; the next Append tries
	// replace is what is still to be done before this one takes the place of a damaged one.
	replace *replacement
}

// ErrNewer is a journal that a newer version of the program has written: an older one must
// not guess over it.
var ErrNewer = errors.New("the journal is a newer version's")

// layout is the version of the schema, and shape that of the facts' bodies.
const (
	layout = 1
	shape  = 1
)

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
	j := &Journal{path: path}
	if err := j.open(ctx); err != nil {
		return nil, err
	}
	return j, nil
}

// open writes nothing to a journal that exists: it can be read on a full disk too.
func (j *Journal) open(ctx context.Context) error {
	db, err := connect(j.path, url.Values{"_pragma": {"journal_mode(WAL)", "synchronous(FULL)", "busy_timeout(2000)"}})
	if err != nil {
		return err
	}
	var version int
	err = db.QueryRowContext(ctx, `PRAGMA user_version`).Scan(&version)
	switch {
	case err == nil && version > layout:
		err = fmt.Errorf("its layout is version %d: %w", version, ErrNewer)
	case err == nil && version < layout:
		_, err = db.ExecContext(ctx, schema)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("open the journal %s: %w", j.path, err), db.Close())
	}
	j.db = db
	return nil
}

func connect(path string, q url.Values) (*sql.DB, error) {
	uri := url.URL{Scheme: "file", OmitHost: true, Path: path, RawQuery: q.Encode()}
	db, err := sql.Open("sqlite", uri.String())
	if err != nil {
		return nil, fmt.Errorf("open the journal %s: %w", path, err)
	}
	db.SetMaxOpenConns(1)
	return db, nil
}

// Close closes the journal.
func (j *Journal) Close() error {
	if j.db == nil {
		return nil
	}
	return j.db.Close()
}

// Append writes facts in one transaction, after opening the journal if that was not
// possible before. The context must carry a deadline.
func (j *Journal) Append(ctx context.Context, entries []Entry) error {
	if j.replace != nil {
		long, cancel := context.WithTimeout(context.WithoutCancel(ctx), replaceWithin)
		defer cancel()
		if err := j.replace.do(long); err != nil {
			return err
		}
		j.replace = nil
	}
	if j.db == nil {
		if err := j.open(ctx); err != nil {
			return err
		}
	}
	return j.write(ctx, entries)
}

func (j *Journal) write(ctx context.Context, entries []Entry) error {
	err := j.insert(ctx, entries)
	if err == nil {
		return nil
	}
	if readOnly(err) { // what it was opened with stays so, whatever is mended
		_ = j.db.Close()
		j.db = nil
	}
	return fmt.Errorf("append to the journal: %w", err)
}

func (j *Journal) insert(ctx context.Context, entries []Entry) error {
	tx, err := j.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() // does nothing after Commit
	if err := insert(ctx, tx, entries); err != nil {
		return err
	}
	return tx.Commit()
}

func insert(ctx context.Context, tx *sql.Tx, entries []Entry) error {
	for _, e := range entries {
		body, err := json.Marshal(e.Fact)
		if err != nil {
			return fmt.Errorf("%s: %w", e.Fact.FactName(), err)
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO facts (at, wall, boot, since_boot, name, body) VALUES (?, ?, ?, ?, ?, ?)`,
			e.At.UnixNano(), e.Wall.UnixNano(), e.Boot, int64(e.SinceBoot), e.Fact.FactName(), string(body))
		if err != nil {
			return err
		}
	}
	return nil
}

// Replay gives all facts in their order. A fact that this version does not know is
// ErrNewer.
func (j *Journal) Replay(ctx context.Context, each func(Entry)) error {
	if err := replay(ctx, j.db, each); err != nil {
		return fmt.Errorf("read the journal: %w", err)
	}
	return nil
}

func replay(ctx context.Context, db *sql.DB, each func(Entry)) error {
	rows, err := db.QueryContext(ctx, `SELECT n, at, wall, boot, since_boot, name, version, body FROM facts ORDER BY n`)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var n, at, wall, sinceBoot int64
		var version int
		var boot, name, body string
		if err := rows.Scan(&n, &at, &wall, &boot, &sinceBoot, &name, &version, &body); err != nil {
			return fmt.Errorf("%w: %w", errGarbled, err)
		}
		fact := sentinel.NewFact(name)
		switch {
		case fact == nil:
			return fmt.Errorf("fact %d is a %q, which this version does not know: %w", n, name, ErrNewer)
		case version > shape:
			return fmt.Errorf("fact %d is version %d of %q, which this version does not know: %w", n, version, name, ErrNewer)
		}
		if err := json.Unmarshal([]byte(body), fact); err != nil {
			return fmt.Errorf("fact %d, %s: %w: %w", n, name, errGarbled, err)
		}
		each(Entry{At: time.Unix(0, at).UTC(), Wall: time.Unix(0, wall).UTC(), Boot: boot, SinceBoot: time.Duration(sinceBoot), Fact: fact})
	}
	return rows.Err()
}
