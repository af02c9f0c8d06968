package journal

import (
	"context"
	"database/sql"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// compactWithin bounds the rewriting of an older layout's file: a start waits for it.
const compactWithin = 5 * time.Second

// migrate changes an older layout in place. What keeps it from that now will not later, and
// facts can be read and written as it is: only a damaged file is an error.
func migrate(ctx context.Context, db *sql.DB, path string) error {
	if err := inTx(ctx, db, func(tx *sql.Tx) error { _, err := tx.ExecContext(ctx, schema); return err }); err != nil {
		if damaged(err) {
			return err
		}
		return nil
	}
	compact(ctx, db, path, compactWithin)
	return nil
}

// compact rewrites a database so that it can shrink. Without that, where the disk has not
// room for it twice or there is not the time, the room of what is removed is only used again.
func compact(ctx context.Context, db *sql.DB, path string, within time.Duration) {
	if !roomTwice(path) {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	_, _ = db.ExecContext(ctx, `PRAGMA auto_vacuum = INCREMENTAL; VACUUM`)
}

// roomTwice reports whether the disk has room for two more of a file.
func roomTwice(path string) bool {
	info, err := os.Stat(path)
	if err != nil {
		return false
	}
	var disk syscall.Statfs_t
	if err := syscall.Statfs(filepath.Dir(path), &disk); err != nil {
		return false
	}
	return disk.Bavail*uint64(disk.Bsize) >= 2*uint64(info.Size())
}
