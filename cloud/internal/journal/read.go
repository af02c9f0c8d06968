package journal

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"time"

	"sentinel.home.arpa/cloud/internal/sentinel"
	"sentinel.home.arpa/shared/daemon"
)

// Want is what a start asks of a journal.
type Want struct {
	// Readable says whether a snapshot's body can be read. nil: no snapshot is wanted.
	Readable func(body []byte) error
	// Shown picks facts that a snapshot holds and that are wanted all the same, the newest
	// Most of them.
	Shown func(sentinel.Fact) bool
	Most  int
	// Look bounds a look over the whole file, which finds damage where nothing is read at a
	// start. A journal that takes longer is only looked at where it is read. 0: no look.
	Look time.Duration
	// Losing is called before anything hides that facts are lost, so that whoever must
	// remember it can; after a kill it may be called again.
	Losing func()
}

// contents is what can be read of a journal.
type contents struct {
	snapshot *Snapshot
	passed   error   // why newer snapshots were not taken; nil: there are none
	facts    []Entry // after the snapshot, in their order
	before   []Entry // of those that it holds, in their order
	newest   int64   // the place of the newest fact in the file
	whole    bool    // they give the state
}

// reaches is the place of the newest fact that is known of.
func (c *contents) reaches() int64 {
	switch {
	case len(c.facts) > 0:
		return c.facts[len(c.facts)-1].N
	case c.snapshot != nil:
		return c.snapshot.N
	default:
		return 0
	}
}

// last is when the newest of what was read became so; nil: there is nothing.
func (c *contents) last() *daemon.Moment {
	switch {
	case len(c.facts) > 0:
		e := c.facts[len(c.facts)-1]
		return &daemon.Moment{At: e.At, Wall: e.Wall, Boot: e.Boot, SinceBoot: e.SinceBoot}
	case c.snapshot != nil:
		s := c.snapshot
		return &daemon.Moment{At: s.At, Wall: s.Wall, Boot: s.Boot, SinceBoot: s.SinceBoot}
	default:
		return nil
	}
}

// read reads the newest snapshot that can be read and the facts since. What was read before
// an error is given with it, and is whole if the error takes nothing from the state.
func (c codec) read(ctx context.Context, db *sql.DB, w Want) (got contents, err error) {
	version, err := layoutOf(ctx, db)
	if err != nil {
		return got, err
	}
	var passedOver error // the table's own damage
	if w.Readable != nil && version >= layout {
		passedOver = snapshots(ctx, db, w.Readable, func(s Snapshot, bad error) bool {
			if bad == nil {
				got.snapshot = &s
			}
			got.passed = errors.Join(got.passed, bad)
			return bad != nil
		})
	}
	if err := ctx.Err(); err != nil {
		return got, err
	}
	first := int64(1)
	err = db.QueryRowContext(ctx, `SELECT coalesce(max(n), 0) FROM facts`).Scan(&got.newest)
	if got.snapshot == nil {
		err = errors.Join(err, db.QueryRowContext(ctx, `SELECT coalesce(min(n), 1) FROM facts`).Scan(&first))
	}
	if err == nil || damaged(err) {
		err = errors.Join(err, c.walk(ctx, db, `WHERE n > ? ORDER BY n`, []any{got.reaches()}, func(e Entry) bool {
			got.facts = append(got.facts, e)
			return true
		}))
	}
	cut := first > 1
	switch {
	case err != nil:
		return got, errors.Join(err, passedOver)
	case cut && errors.Is(got.passed, sentinel.ErrNewerSnapshot):
		return got, fmt.Errorf("%w: %w", got.passed, ErrNewer)
	case cut:
		return got, errors.Join(ErrCut, got.passed, passedOver)
	}
	got.whole = true
	return got, errors.Join(passedOver, c.readBefore(ctx, db, w, &got))
}

// ErrCut is a journal whose facts go on where a snapshot ended that is gone.
var ErrCut = errors.New("older facts were removed, and the snapshot of what they meant cannot be read")

// readBefore reads the newest facts that the snapshot holds. Those of a newer version are
// not needed.
func (c codec) readBefore(ctx context.Context, db *sql.DB, w Want, got *contents) error {
	if got.snapshot == nil || w.Most == 0 {
		return nil
	}
	err := rowsOf(ctx, db, `WHERE n <= ? ORDER BY n DESC`, []any{got.snapshot.N}, func(r *row) (bool, error) {
		fact, err := c.decode(r.name, r.version, []byte(r.body))
		switch {
		case errors.Is(err, ErrNewer):
		case err != nil:
			return false, fmt.Errorf("fact %d %w", r.n, err)
		case w.Shown(fact):
			got.before = append(got.before, r.entry(fact))
		}
		return len(got.before) < w.Most, nil
	})
	slices.Reverse(got.before)
	return err
}

// salvage gives all facts that can be read of a damaged journal: those before the damage,
// and where a snapshot bridges it those after it too.
func (c codec) salvage(ctx context.Context, db *sql.DB, got *contents) []Entry {
	if got.snapshot == nil || db == nil {
		return got.facts
	}
	var front, back []Entry
	reached := int64(0)
	// The errors are why it is done.
	err := c.walk(ctx, db, `WHERE n <= ? ORDER BY n`, []any{got.snapshot.N}, func(e Entry) bool {
		front, reached = append(front, e), e.N
		return true
	})
	if err != nil {
		_ = c.walk(ctx, db, `WHERE n > ? AND n <= ? ORDER BY n DESC`, []any{reached, got.snapshot.N}, func(e Entry) bool {
			back = append(back, e)
			return true
		})
	}
	slices.Reverse(back)
	return slices.Concat(front, back, got.facts)
}

// look goes over the whole file, if that does not take too long.
func look(ctx context.Context, db *sql.DB, within time.Duration) error {
	if within == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	var found string
	switch err := db.QueryRowContext(ctx, `PRAGMA quick_check(1)`).Scan(&found); {
	case err != nil && damaged(err):
		return err
	case err == nil && found != "ok":
		return fmt.Errorf("%w: %s", errGarbled, found)
	}
	return nil // or not in time
}

func (c codec) readWith(ctx context.Context, path string, how url.Values, w Want) (contents, error) {
	db, err := connect(path, how)
	if err != nil {
		return contents{}, err
	}
	defer db.Close()
	return c.read(ctx, db, w)
}
