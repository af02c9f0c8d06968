package journal

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"sentinel.home.arpa/shared/daemon"
)

const (
	// copyEnd ends the name of a copy that is about to take a journal's place.
	copyEnd = ".restoring"
	// replaced follows the name of a journal that a copy has replaced, before the moment.
	replaced = ".replaced-"
)

// exchange puts a copy in the place of a journal. Killed at any instant it leaves the old
// one or the copy, each whole and under its name.
type exchange struct{ path, from, aside string }

// Replace puts a copy of a journal in the place of the one at path, whose program does not
// run, and sets that aside; aside is empty if there was none.
func Replace(ctx context.Context, path, from string, now time.Time) (aside string, err error) {
	x := &exchange{path, from, path + replaced + stamp(now)}
	for _, step := range x.steps(ctx) {
		if err := step(); err != nil {
			_ = undo(path)
			return "", fmt.Errorf("put a copy in the place of the journal %s: %w", path, err)
		}
	}
	if _, err := os.Lstat(x.aside); err != nil {
		return "", nil
	}
	return x.aside, nil
}

// steps are done in this order. The old journal has its second name before the copy takes the
// first, and no log that the copy would be read with.
func (x *exchange) steps(ctx context.Context) []func() error {
	return []func() error{
		func() error { return removeAll(x.path + copyEnd) },
		func() error { return copyFile(ctx, x.from, x.path+copyEnd) },
		func() error { return giveTo(filepath.Dir(x.path), x.path+copyEnd) },
		func() error { return x.fold(ctx) },
		func() error { return missingIsFine(os.Link(x.path, x.aside)) },
		func() error { return missingIsFine(os.Link(x.path+"-wal", x.aside+"-wal")) },
		func() error { return daemon.SyncDir(filepath.Dir(x.path)) },
		func() error { return missingIsFine(os.Remove(x.path + "-wal")) },
		func() error { return missingIsFine(os.Remove(x.path + "-shm")) },
		func() error { return os.Rename(x.path+copyEnd, x.path) },
		func() error { return daemon.SyncDir(filepath.Dir(x.path)) },
	}
}

// fold takes the old journal's log into it. One that is too damaged for that keeps its log.
func (x *exchange) fold(ctx context.Context) error {
	if _, err := os.Lstat(x.path + "-wal"); err != nil {
		return missingIsFine(err)
	}
	db, err := connect(x.path, url.Values{"mode": {"rw"}})
	if err != nil {
		return err
	}
	_, _ = db.ExecContext(ctx, `PRAGMA wal_checkpoint(TRUNCATE)`)
	return errors.Join(ctx.Err(), db.Close())
}

// undo takes back what an interrupted exchange did, and reports whether there was one.
func undo(path string) (interrupted bool) {
	if _, err := os.Lstat(path + copyEnd); err != nil {
		return false
	}
	present, err := os.Stat(path)
	asides, _ := filepath.Glob(path + replaced + "*Z")
	for _, aside := range asides {
		info, gone := os.Lstat(aside)
		if err != nil || gone != nil || !os.SameFile(info, present) {
			continue
		}
		if _, err := os.Lstat(path + "-wal"); errors.Is(err, fs.ErrNotExist) {
			_ = os.Rename(aside+"-wal", path+"-wal") // or there is none
		}
		_ = os.Remove(aside + "-wal")
		_ = os.Remove(aside)
	}
	_ = removeAll(path + copyEnd) // last: until then the next start tries again
	return true
}

// giveTo lets a file be the one's whose directory it is in, whoever makes it.
func giveTo(dir, file string) error {
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	owner, ok := info.Sys().(*syscall.Stat_t)
	if !ok || int(owner.Uid) == os.Geteuid() {
		return nil
	}
	return os.Chown(file, int(owner.Uid), int(owner.Gid))
}
