package journal

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"hash/crc32"
	"time"

	"sentinel.home.arpa/cloud/internal/sentinel"
)

// Snapshot is the state as some facts have made it.
type Snapshot struct {
	N int64 // the place of the last fact that it holds
	// When it was taken.
	At, Wall  time.Time
	Boot      string
	SinceBoot time.Duration
	Body      []byte // of sentinel.State.Snapshot
}

// snapshotsKept is how many snapshots are kept: the newest, and one for when that cannot be
// read.
const snapshotsKept = 2

// Save writes a snapshot beside the facts, and removes those that are too old. Append may
// run meanwhile; it waits for no longer than one snapshot takes to be written.
func (j *Journal) Save(ctx context.Context, s Snapshot) error {
	db, err := j.beside("rw")
	if err != nil {
		return err
	}
	defer db.Close()
	err = inTx(ctx, db, func(tx *sql.Tx) error {
		var version int
		if err := tx.QueryRowContext(ctx, `PRAGMA user_version`).Scan(&version); err != nil {
			return err
		}
		if version < layout { // it could not be changed before
			if _, err := tx.ExecContext(ctx, schema); err != nil {
				return err
			}
		}
		if err := s.insert(ctx, tx); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `DELETE FROM snapshots WHERE n NOT IN (SELECT n FROM snapshots ORDER BY n DESC LIMIT ?)`, snapshotsKept)
		return err
	})
	if err != nil {
		return fmt.Errorf("write a snapshot into the journal: %w", err)
	}
	return nil
}

func (s *Snapshot) insert(ctx context.Context, tx *sql.Tx) error {
	_, err := tx.ExecContext(ctx, `INSERT OR REPLACE INTO snapshots (n, at, wall, boot, since_boot, version, sum, body) VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
		s.N, s.At.UnixNano(), s.Wall.UnixNano(), s.Boot, int64(s.SinceBoot), sentinel.SnapshotVersion, int64(checksum(s.Body)), string(s.Body))
	return err
}

func checksum(body []byte) uint32 { return crc32.Checksum(body, crc32.MakeTable(crc32.Castagnoli)) }

var errAltered = errors.New("it was altered")

// snapshots are those that stand in the table, the newest first, each with what keeps it
// from being read. Those before a damaged page are given with the error.
func snapshots(ctx context.Context, db *sql.DB, readable func(body []byte) error, each func(s Snapshot, bad error) (more bool)) error {
	rows, err := db.QueryContext(ctx, `SELECT n, at, wall, boot, since_boot, version, sum, body FROM snapshots ORDER BY n DESC`)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var s Snapshot
		var at, wall, sinceBoot, sum int64
		var version int
		var body string
		if err := rows.Scan(&s.N, &at, &wall, &s.Boot, &sinceBoot, &version, &sum, &body); err != nil {
			return fmt.Errorf("%w: %w", errGarbled, err)
		}
		s.At, s.Wall, s.SinceBoot, s.Body = moment(at), moment(wall), time.Duration(sinceBoot), []byte(body)
		var bad error
		switch {
		case version > sentinel.SnapshotVersion:
			bad = fmt.Errorf("it is version %d: %w", version, sentinel.ErrNewerSnapshot)
		case sum != int64(checksum(s.Body)):
			bad = errAltered
		default:
			bad = readable(s.Body)
		}
		if bad != nil {
			bad = fmt.Errorf("the snapshot of fact %d: %w", s.N, bad)
		}
		if !each(s, bad) {
			return nil
		}
	}
	return rows.Err()
}
