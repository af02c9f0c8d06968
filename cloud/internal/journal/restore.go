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

	"sentinel.home.arpa/shared/daemon"
)

// Restored is what could be had of a journal.
type Restored struct {
	// Journal takes facts as soon as the disk lets it.
	Journal *Journal
	// Snapshot is what the state begins with; nil: with nothing.
	Snapshot *Snapshot
	// Facts are those since the snapshot that could be read, in their order.
	Facts []Entry
	// Before are the newest facts of those that the snapshot holds, as far as they were
	// wanted.
	Before []Entry
	// Last is when the newest of all this became so; nil: there is nothing.
	Last *daemon.Moment
	// Trouble is what was wrong; nil: nothing was.
	Trouble error
	// Passed is why a newer snapshot was not taken; nil: the newest was. It loses nothing.
	Passed error
	// Lost tells that facts may be missing that the state needs.
	Lost bool
	// Aside is where a damaged journal lies now; empty: it is in its place.
	Aside string
	// Unrestored tells that the restoring of a copy was interrupted: what it had done was taken
	// back, and the journal is the one from before. It loses nothing.
	Unrestored bool
}

func (r *Restored) take(got contents) {
	r.Snapshot, r.Facts, r.Before, r.Last, r.Passed = got.snapshot, got.facts, got.before, got.last(), got.passed
	r.Journal.goesOn(got)
}

// goesOn lets new facts come after all that is known of.
func (j *Journal) goesOn(got contents) {
	j.last.Store(max(got.newest, got.reaches()))
	j.floor = 0
	if s := got.snapshot; got.whole && s != nil && s.N > got.newest {
		j.last.Store(got.newest)
		j.floor = s.N
	}
}

// Restore gives back what a journal holds, whatever state it is in: a program that must
// act may not fail to start for it. One that cannot be written is read, and written later.
// Of a damaged one everything is kept that can be read: what a snapshot holds, and the facts
// before the damage; a new one that begins with them takes its place, and it is set aside.
// Only a newer version's journal is an error, ErrNewer.
//
// now names the damaged file.
func Restore(ctx context.Context, path string, now time.Time, w Want) (Restored, error) {
	j := &Journal{path: path, codec: known()}
	r := Restored{Journal: j, Unrestored: undo(path)}
	aside, adopted, trouble := adopt(ctx, path, now)
	switch {
	case trouble != nil && !adopted: // an empty journal in its place would hide it
		w.Losing()
		got, _ := j.codec.readWith(ctx, path+newEnd, url.Values{"mode": {"ro"}}, w)
		r.take(got)
		r.Trouble, r.Lost = errors.Join(errInterrupted, trouble), true
		j.replace = &replacement{path: path, aside: aside, codec: j.codec, snapshot: got.snapshot, facts: got.facts}
		return r, nil
	case adopted:
		w.Losing()
	}
	got, err := j.begin(ctx, w)
	r.take(got)
	r.Trouble = errors.Join(trouble, err)
	switch {
	case err == nil && adopted:
		r.Lost, r.Aside, r.Trouble = true, aside, errors.Join(errInterrupted, trouble)
		return r, nil
	case err == nil:
		return r, nil
	case errors.Is(err, ErrNewer), ctx.Err() != nil:
		return Restored{}, errors.Join(err, j.Close())
	case !damaged(err) && errors.Is(err, ErrCut):
		w.Losing()
		r.Lost = true
		return r, nil
	case !damaged(err):
		return r, r.readOnly(ctx, w, got.reaches())
	}
	r.Lost = !got.whole
	r.replace(ctx, now, got, w)
	return r, nil
}

// replace puts a new journal in a damaged one's place, or has the next Append do it.
func (r *Restored) replace(ctx context.Context, now time.Time, got contents, w Want) {
	j := r.Journal
	facts := j.codec.salvage(ctx, j.db, &got)
	if err := j.Close(); err != nil {
		r.Trouble = errors.Join(r.Trouble, err)
	}
	j.db = nil
	if r.Lost {
		w.Losing()
	}
	got.newest, got.whole = 0, true // of the new one
	if len(facts) > 0 {
		got.newest = facts[len(facts)-1].N
	}
	j.goesOn(got)
	j.replace = &replacement{path: j.path, aside: asideName(j.path, now), codec: j.codec, snapshot: got.snapshot, facts: facts}
	if err := j.replace.do(ctx); err != nil { // it is tried again with each Append
		r.Trouble = errors.Join(r.Trouble, err)
		return
	}
	r.Aside, j.replace = j.replace.aside, nil
	if err := j.open(ctx); err != nil { // or with the first fact
		r.Trouble = errors.Join(r.Trouble, err)
	}
}

// begin opens the journal and reads it.
func (j *Journal) begin(ctx context.Context, w Want) (got contents, err error) {
	if err := j.open(ctx); err != nil {
		return got, err
	}
	if got, err = j.codec.read(ctx, j.db, w); err == nil {
		err = look(ctx, j.db, w.Look)
	}
	return got, err
}

// readOnly reads a journal that cannot be opened for writing, or not be read so: through
// the index beside it; without one, which a full disk has no room for; and at last without
// the log beside it, which holds the newest facts.
func (r *Restored) readOnly(ctx context.Context, w Want, best int64) error {
	path := r.Journal.path
	if info, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) || err == nil && info.Size() == 0 {
		return nil // there is nothing to read
	}
	for _, how := range []url.Values{
		{"mode": {"ro"}},
		{"mode": {"rw"}, "_pragma": {"locking_mode(EXCLUSIVE)"}},
		{"immutable": {"1"}},
	} {
		got, err := r.Journal.codec.readWith(ctx, path, how, w)
		if errors.Is(err, ErrNewer) {
			return err
		}
		if reached := got.reaches(); reached >= best {
			best = reached
			r.take(got)
		}
		if busy(err) { // somebody writes: what lies in the file alone may be half of it
			break
		}
		if err == nil || got.whole {
			log, _ := os.Stat(path + "-wal")
			r.Lost = how.Has("immutable") && log != nil && log.Size() > 0
			return nil
		}
	}
	r.Lost = true
	return nil
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
