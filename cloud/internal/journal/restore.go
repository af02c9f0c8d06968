package journal

import (
	"context"
	"errors"
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
// Of a damaged one the facts before the damage are kept; a new one that begins with them
// takes its place, and it is set aside. Only a newer version's journal is an error, ErrNewer.
//
// now names the damaged file. losing is called before anything hides that facts are lost,
// so that whoever must remember it can; after a kill it may be called again.
func Restore(ctx context.Context, path string, now time.Time, losing func()) (Restored, error) {
	j := &Journal{path: path}
	aside, adopted, trouble := adopt(ctx, path, now)
	switch {
	case trouble != nil && !adopted: // an empty journal in its place would hide it
		losing()
		r := Restored{Journal: j, Trouble: errors.Join(errInterrupted, trouble), Lost: true}
		r.Facts, _ = readWith(ctx, path+newEnd, url.Values{"mode": {"ro"}})
		j.replace = &replacement{path: path, aside: aside, facts: r.Facts}
		return r, nil
	case adopted:
		losing()
	}
	facts, err := j.begin(ctx)
	r := Restored{Journal: j, Facts: facts, Trouble: errors.Join(trouble, err)}
	switch {
	case err == nil && adopted:
		r.Lost, r.Aside, r.Trouble = true, aside, errors.Join(errInterrupted, trouble)
		return r, nil
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
	losing()
	j.replace = &replacement{path: path, aside: asideName(path, now), facts: r.Facts}
	if err := j.replace.do(ctx); err != nil { // it is tried again with each Append
		r.Trouble = errors.Join(r.Trouble, err)
		return r, nil
	}
	r.Aside, j.replace = j.replace.aside, nil
	if err := j.open(ctx); err != nil { // or with the first fact
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
		if busy(err) { // somebody writes: what lies in the file alone may be half of it
			break
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

func busy(err error) bool {
	return code(err) == sqlite3.SQLITE_BUSY || code(err) == sqlite3.SQLITE_LOCKED
}

// code is the primary result code of an error of SQLite's, or 0.
func code(err error) int {
	var e *sqlite.Error
	if errors.As(err, &e) {
		return e.Code() & 0xff
	}
	return 0
}
