// Package journal keeps the facts: append-only, in SQLite, on disk before their effects;
// and snapshots of the state that they make, so that a start need not read them all.
//
// It knows the facts' names and nothing of what they mean, and must not import another
// adapter.
package journal

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"slices"
	"sync/atomic"
	"time"

	"sentinel.home.arpa/cloud/internal/sentinel"
)

// Entry is one fact and when it became one.
type Entry struct {
	N  int64     // its place in the journal, from 1; 0: not written yet
	At time.Time // the brain's own time, which no clock change touches
	// Wall, Boot and SinceBoot let a later process tell how much time has passed.
	Wall      time.Time
	Boot      string
	SinceBoot time.Duration
	Fact      sentinel.Fact
}

// Journal is a database of facts. It is for one process and one writer; what reads, copies
// and clears up has a connection of its own and may run beside the writer.
type Journal struct {
	path  string
	codec codec
	db    *sql.DB // nil: not open for writing; the next Append tries
	last  atomic.Int64
	floor int64 // of a snapshot that is newer than all facts: the next one comes after it
	// replace is what is still to be done before this one takes the place of a damaged one.
	replace *replacement
}

// layout is the version of the schema. Version 1 had no snapshots; it is read as it is, and
// changed in place once that is possible.
const layout = 2

// canShrink lets a database give pages back.
const canShrink = "auto_vacuum(INCREMENTAL)"

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
CREATE TABLE IF NOT EXISTS snapshots (
	n          INTEGER PRIMARY KEY, -- of the last fact that it holds
	at         INTEGER NOT NULL,
	wall       INTEGER NOT NULL,
	boot       TEXT    NOT NULL,
	since_boot INTEGER NOT NULL,
	version    INTEGER NOT NULL,
	sum        INTEGER NOT NULL, -- CRC-32C of the body
	body       TEXT    NOT NULL
) STRICT;
PRAGMA user_version = 2;
`

// open writes nothing to a journal of this layout: it can be read on a full disk too, and
// so can an older one, which stays as it is then.
func (j *Journal) open(ctx context.Context) error {
	how := []string{"journal_mode(WAL)", "synchronous(FULL)", "busy_timeout(2000)"}
	if info, err := os.Stat(j.path); err != nil || info.Size() == 0 {
		how = slices.Insert(how, 0, canShrink) // which is only to be had from the start
	}
	// Whoever looks before it writes must have the lock by then.
	db, err := connect(j.path, url.Values{"_txlock": {"immediate"}, "_pragma": how})
	if err != nil {
		return err
	}
	version, err := layoutOf(ctx, db)
	switch {
	case err != nil:
	case version == 0:
		_, err = db.ExecContext(ctx, schema)
	case version < layout:
		err = migrate(ctx, db, j.path)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("open the journal %s: %w", j.path, err), db.Close())
	}
	j.db = db
	return nil
}

// layoutOf is a database's layout, 0 if it is empty; one that is not known is ErrNewer.
func layoutOf(ctx context.Context, db *sql.DB) (int, error) {
	var version int
	if err := db.QueryRowContext(ctx, `PRAGMA user_version`).Scan(&version); err != nil {
		return 0, err
	}
	if version > layout {
		return 0, fmt.Errorf("its layout is version %d: %w", version, ErrNewer)
	}
	return version, nil
}

func inTx(ctx context.Context, db *sql.DB, do func(tx *sql.Tx) error) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() // does nothing after Commit
	if err := do(tx); err != nil {
		return err
	}
	return tx.Commit()
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

// beside is a connection of its own to a journal that exists, for work beside the writer.
func (j *Journal) beside(mode string) (*sql.DB, error) {
	return connect(j.path, url.Values{"mode": {mode}, "_txlock": {"immediate"}, "_pragma": {"synchronous(NORMAL)", "busy_timeout(2000)"}})
}

// Close closes the journal.
func (j *Journal) Close() error {
	if j.db == nil {
		return nil
	}
	return j.db.Close()
}

// Last is the place of the newest fact that is known to be on disk; 0: there is none.
func (j *Journal) Last() int64 { return j.last.Load() }

// Append writes facts in one transaction, after opening the journal if that was not
// possible before. What it has returned from is on disk, whatever happens to the machine. The
// context must carry a deadline.
//
// It gives each fact its place, also where it fails: a commit whose answer was lost may have
// happened. The same facts appended again are written once; a place that another fact has
// is an error.
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
	err := inTx(ctx, j.db, func(tx *sql.Tx) error {
		if err := j.place(ctx, tx, entries); err != nil {
			return err
		}
		return j.codec.insert(ctx, tx, entries)
	})
	if err == nil {
		if len(entries) > 0 {
			j.last.Store(max(j.last.Load(), entries[len(entries)-1].N))
		}
		return nil
	}
	if readOnly(err) { // what it was opened with stays so, whatever is mended
		_ = j.db.Close()
		j.db = nil
	}
	return fmt.Errorf("append to the journal: %w", err)
}

// place gives facts that have none their places, after all that are known of.
func (j *Journal) place(ctx context.Context, tx *sql.Tx, entries []Entry) error {
	var last int64
	if err := tx.QueryRowContext(ctx, `SELECT coalesce(max(n), 0) FROM facts`).Scan(&last); err != nil {
		return err
	}
	last = max(last, j.floor)
	for i := range entries {
		if entries[i].N == 0 {
			entries[i].N = last + 1
		}
		last = max(last, entries[i].N)
	}
	return nil
}

// errTaken is a fact whose place another one has.
var errTaken = errors.New("another fact has its place; does a second program write to this journal?")

// insert writes facts, each in its place. One that stands there already is not written again.
func (c codec) insert(ctx context.Context, tx *sql.Tx, entries []Entry) error {
	for _, e := range entries {
		body, version, err := c.encode(e.Fact)
		if err != nil {
			return err
		}
		values := []any{e.N, e.At.UnixNano(), e.Wall.UnixNano(), e.Boot, int64(e.SinceBoot), e.Fact.FactName(), version, string(body)}
		r, err := tx.ExecContext(ctx, `INSERT INTO facts (`+columns+`) VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (n) DO NOTHING`, values...)
		if err != nil {
			return err
		}
		written, err := r.RowsAffected()
		if err != nil {
			return err
		}
		if written > 0 {
			continue
		}
		var same bool
		err = tx.QueryRowContext(ctx, `SELECT (`+columns+`) = (?, ?, ?, ?, ?, ?, ?, ?) FROM facts WHERE n = ?`, append(values, e.N)...).Scan(&same)
		if err != nil {
			return err
		}
		if !same {
			return fmt.Errorf("fact %d, a %s: %w", e.N, e.Fact.FactName(), errTaken)
		}
	}
	return nil
}

// row is a fact as it stands in the table.
type row struct {
	n, at, wall, sinceBoot int64
	boot, name, body       string
	version                int
}

const columns = `n, at, wall, boot, since_boot, name, version, body`

func (r *row) scan(rows *sql.Rows) error {
	if err := rows.Scan(&r.n, &r.at, &r.wall, &r.boot, &r.sinceBoot, &r.name, &r.version, &r.body); err != nil {
		return fmt.Errorf("%w: %w", errGarbled, err)
	}
	return nil
}

func (r *row) entry(f sentinel.Fact) Entry {
	return Entry{N: r.n, At: moment(r.at), Wall: moment(r.wall), Boot: r.boot, SinceBoot: time.Duration(r.sinceBoot), Fact: f}
}

func moment(ns int64) time.Time { return time.Unix(0, ns).UTC() }

// walk gives facts in the order that is asked for, until one is not wanted.
func (c codec) walk(ctx context.Context, db *sql.DB, which string, args []any, each func(Entry) bool) error {
	return rowsOf(ctx, db, which, args, func(r *row) (bool, error) {
		fact, err := c.decode(r.name, r.version, []byte(r.body))
		if err != nil {
			return false, fmt.Errorf("fact %d %w", r.n, err)
		}
		return each(r.entry(fact)), nil
	})
}

// rowsOf gives rows as they stand, until one is not wanted.
func rowsOf(ctx context.Context, db *sql.DB, which string, args []any, each func(*row) (more bool, err error)) error {
	rows, err := db.QueryContext(ctx, `SELECT `+columns+` FROM facts `+which, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var r row
		if err := r.scan(rows); err != nil {
			return err
		}
		if more, err := each(&r); err != nil || !more {
			return err
		}
	}
	return rows.Err()
}
