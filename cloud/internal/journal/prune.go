package journal

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

const (
	// prunedAtOnce is how many facts are deleted together: few enough for a writer not to
	// wait for long.
	prunedAtOnce = 500
	// pagesAtOnce is how many free pages are given back together.
	pagesAtOnce = 250
	// pruneRest is how long the disk is left to the writer in between.
	pruneRest = 50 * time.Millisecond
)

// Prune deletes the facts from before a moment of the brain's time and gives their room
// back, and tells how many they were. What is needed to give the state back stays: only
// what the older of two snapshots holds goes, and only if both can be read. Append may run
// meanwhile.
func (j *Journal) Prune(ctx context.Context, before time.Time, readable func(body []byte) error) (deleted int64, err error) {
	db, err := j.beside("rw")
	if err != nil {
		return 0, err
	}
	defer db.Close()
	below, err := prunable(ctx, db, before, readable)
	for err == nil && below > 0 {
		var n int64
		if n, err = deleteSome(ctx, db, below); n == 0 {
			break
		}
		deleted += n
		err = errors.Join(err, rest(ctx))
	}
	if err == nil {
		err = shrink(ctx, db)
	}
	if err != nil {
		return deleted, fmt.Errorf("remove old facts from the journal: %w", err)
	}
	return deleted, nil
}

// prunable is the place of the first fact that stays; 0: all do.
func prunable(ctx context.Context, db *sql.DB, before time.Time, readable func(body []byte) error) (below int64, err error) {
	version, err := layoutOf(ctx, db)
	if err != nil || version < layout {
		return 0, err
	}
	good := 0
	err = snapshots(ctx, db, readable, func(s Snapshot, bad error) bool {
		if bad == nil {
			good, below = good+1, s.N
		}
		return true
	})
	if err != nil || good < snapshotsKept {
		return 0, err
	}
	var young int64
	err = db.QueryRowContext(ctx, `SELECT n FROM facts WHERE n < ? AND at >= ? ORDER BY n LIMIT 1`, below, before.UnixNano()).Scan(&young)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return below, nil
	case err != nil:
		return 0, err
	}
	return young, nil
}

func deleteSome(ctx context.Context, db *sql.DB, below int64) (n int64, err error) {
	err = inTx(ctx, db, func(tx *sql.Tx) error {
		r, err := tx.ExecContext(ctx, `DELETE FROM facts WHERE n IN (SELECT n FROM facts WHERE n < ? ORDER BY n LIMIT ?)`, below, prunedAtOnce)
		if err != nil {
			return err
		}
		n, err = r.RowsAffected()
		return err
	})
	return n, err
}

// shrink gives free pages back to the disk. A file that was made without that keeps them
// for new facts.
func shrink(ctx context.Context, db *sql.DB) error {
	for last := int64(-1); ; {
		var free int64
		if err := db.QueryRowContext(ctx, `PRAGMA freelist_count`).Scan(&free); err != nil {
			return err
		}
		if free == 0 || free == last {
			return nil
		}
		last = free
		if _, err := db.ExecContext(ctx, fmt.Sprintf(`PRAGMA incremental_vacuum(%d)`, pagesAtOnce)); err != nil {
			return err
		}
		if err := rest(ctx); err != nil {
			return err
		}
	}
}

func rest(ctx context.Context) error {
	t := time.NewTimer(pruneRest)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
