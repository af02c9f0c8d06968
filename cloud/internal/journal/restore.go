package journal

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"time"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// Restored is what could be had of a journal.
type Restored struct {
	// Journal takes facts as soon as the disk lets it.
	Journal *Journal
	// Facts are those that could be read, in their order.
	Facts []Entry
	// Trouble is what was wrong; nil: nothing was.
	Trouble error
	// Lost tells that facts may be missing.
	Lost bool
	// Aside is where a damaged journal lies now; empty: it is in its place.
	Aside string
}

// errGarbled is a row that cannot be a fact.
var errGarbled = errors.New("it is garbled")

// Restore gives back what a journal holds, whatever state it is in: a program that must
// act may not fail to start for it. One that cannot be written is read, and written later.
// Of a damaged one the facts before the damage are kept; it is set aside, and a new one
// begins with them. Only a newer version's journal is an error, ErrNewer.
//
// now names the damaged file.
func Restore(ctx context.Context, path string, now time.Time) (Restored, error) {
	j := &Journal{path: path}
	facts, err := j.begin(ctx)
	r := Restored{Journal: j, Facts: facts, Trouble: err}
	switch {
	case err == nil:
		return r, nil
	case errors.Is(err, ErrNewer), ctx.Err() != nil:
		return Restored{}, errors.Join(err, j.Close())
	case !damaged(err):
		return r, r.readOnly(ctx)
	}
	r.Lost = true
	if err := j.Close(); err != nil {
		r.Trouble = errors.Join(r.Trouble, err)
	}
	j.db = nil
	if r.Aside, err = setAside(path, now); err != nil {
		r.Trouble = errors.Join(r.Trouble, fmt.Errorf("set the journal aside: %w", err))
		return r, nil
	}
	j.seed = r.Facts
	if err := j.Append(ctx, nil); err != nil { // or with the first fact
		r.Trouble = errors.Join(r.Trouble, err)
	}
	return r, nil
}

// begin opens the journal and reads it.
func (j *Journal) begin(ctx context.Context) (facts []Entry, err error) {
	if err := j.open(ctx); err != nil {
		return nil, err
	}
	err = j.Replay(ctx, func(e Entry) { facts = append(facts, e) })
	return facts, err
}

// readOnly reads a journal that cannot be opened for writing, or not be read so: through
// the index beside it; without one, which a full disk has no room for; and at last without
// the log beside it, which holds the newest facts.
func (r *Restored) readOnly(ctx context.Context) error {
	path := r.Journal.path
	if info, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) || err == nil && info.Size() == 0 {
		return nil // there is nothing to read
	}
	for _, how := range []url.Values{
		{"mode": {"ro"}},
		{"mode": {"rw"}, "_pragma": {"locking_mode(EXCLUSIVE)"}},
		{"immutable": {"1"}},
	} {
		facts, err := readWith(ctx, path, how)
		if errors.Is(err, ErrNewer) {
			return err
		}
		if len(facts) >= len(r.Facts) {
			r.Facts = facts
		}
		if err == nil {
			log, _ := os.Stat(path + "-wal")
			r.Lost = how.Has("immutable") && log != nil && log.Size() > 0
			return nil
		}
	}
	r.Lost = true
	return nil
}

func readWith(ctx context.Context, path string, how url.Values) (facts []Entry, err error) {
	db, err := connect(path, how)
	if err != nil {
		return nil, err
	}
	defer db.Close()
	err = replay(ctx, db, func(e Entry) { facts = append(facts, e) })
	return facts, err
}

// setAside renames a journal and what lies beside it.
func setAside(path string, now time.Time) (string, error) {
	aside := path + ".broken-" + now.UTC().Format("20060102T150405.000Z")
	if err := os.Rename(path, aside); err != nil {
		return "", err
	}
	for _, end := range []string{"-wal", "-shm"} {
		if err := os.Rename(path+end, aside+end); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return aside, err
		}
	}
	return aside, nil
}

// damaged reports whether an error says that what stands in the file is no journal, or not
// a whole one; not that it cannot be reached.
func damaged(err error) bool {
	switch code(err) {
	case sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR: // such as: no such table
		return true
	}
	return errors.Is(err, errGarbled)
}

func readOnly(err error) bool { return code(err) == sqlite3.SQLITE_READONLY }

// code is the primary result code of an error of SQLite's, or 0.
func code(err error) int {
	var e *sqlite.Error
	if errors.As(err, &e) {
		return e.Code() & 0xff
	}
	return 0
}
