package journal

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"sentinel.home.arpa/shared/daemon"
)

// replaceWithin bounds the replacement of a damaged journal from within Append, whose own
// deadline is meant for a few facts.
const replaceWithin = 30 * time.Second

// newEnd ends the name of a journal that is about to replace another one.
const newEnd = ".new"

// broken follows the name of a damaged journal that was set aside, before the moment.
const broken = ".broken-"

// errInterrupted is a replacement that an earlier process did not get through with.
var errInterrupted = errors.New("a journal was being replaced when the program ended")

// replacement puts a new journal in the place of a damaged one, with what could be read of
// it. Killed at any instant it leaves the old one where it was, or a whole new one.
type replacement struct {
	path  string
	aside string // where the old one will lie
	codec
	snapshot *Snapshot
	facts    []Entry
}

func asideName(path string, now time.Time) string { return path + broken + stamp(now) }

func stamp(now time.Time) string { return now.UTC().Format("20060102T150405.000Z") }

// steps are done in this order; the log goes after what it belongs to, whose facts it holds.
func (r *replacement) steps(ctx context.Context) []func() error {
	return []func() error{
		func() error { return removeAll(r.path + newEnd) },
		func() error { return r.build(ctx) },
		func() error { return missingIsFine(os.Rename(r.path, r.aside)) },
		func() error { return moveBeside(r.path, r.aside) },
		func() error { return os.Rename(r.path+newEnd, r.path) },
		func() error { return daemon.SyncDir(filepath.Dir(r.path)) },
	}
}

func (r *replacement) do(ctx context.Context) error {
	for _, step := range r.steps(ctx) {
		if err := step(); err != nil {
			return fmt.Errorf("replace the journal: %w", err)
		}
	}
	return nil
}

// build writes the new journal in one transaction and without a log beside it. Its layout's
// version is part of the transaction: a file that has it is whole.
func (r *replacement) build(ctx context.Context) (err error) {
	db, err := connect(r.path+newEnd, url.Values{"_pragma": {canShrink, "journal_mode(DELETE)", "synchronous(EXTRA)"}})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	return inTx(ctx, db, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, schema); err != nil {
			return err
		}
		if r.snapshot != nil {
			if err := r.snapshot.insert(ctx, tx); err != nil {
				return err
			}
		}
		return r.insert(ctx, tx, r.facts)
	})
}

// adopt goes on with a replacement that was interrupted after the old journal had been set
// aside, and tells where that lies.
//
// A journal that is missing without one to take its place is no trouble.
func adopt(ctx context.Context, path string, now time.Time) (aside string, adopted bool, err error) {
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		_ = removeAll(path + newEnd) // of one that did not come so far: it is done anew, or not at all
		return "", false, nil
	}
	if _, err := os.Lstat(path + newEnd); errors.Is(err, fs.ErrNotExist) {
		return "", false, nil
	}
	if !whole(ctx, path+newEnd) {
		return "", false, nil
	}
	if aside = lastAside(path); aside == "" {
		aside = asideName(path, now)
	}
	if err := moveBeside(path, aside); err != nil { // or the old log would count for the new journal
		return aside, false, err
	}
	if err := os.Rename(path+newEnd, path); err != nil {
		return aside, false, err
	}
	return aside, true, daemon.SyncDir(filepath.Dir(path))
}

func whole(ctx context.Context, path string) bool {
	db, err := connect(path, url.Values{"mode": {"rw"}}) // writable, to roll back what was not committed
	if err != nil {
		return false
	}
	defer db.Close()
	version, err := layoutOf(ctx, db)
	return err == nil && version > 0
}

// lastAside is the journal that was set aside last; empty: none.
func lastAside(path string) (aside string) {
	entries, _ := os.ReadDir(filepath.Dir(path))
	newest := ""
	for _, e := range entries {
		rest, ok := strings.CutPrefix(e.Name(), filepath.Base(path)+broken)
		if ok && strings.HasSuffix(rest, "Z") && rest > newest {
			newest, aside = rest, filepath.Join(filepath.Dir(path), e.Name())
		}
	}
	return aside
}

// removeAll removes a database and what lies beside it.
func removeAll(path string) error {
	for _, end := range []string{"", "-journal", "-wal", "-shm"} {
		if err := missingIsFine(os.Remove(path + end)); err != nil {
			return err
		}
	}
	return nil
}

// moveBeside renames what lies beside a journal.
func moveBeside(path, aside string) error {
	for _, end := range []string{"-wal", "-shm"} {
		if err := missingIsFine(os.Rename(path+end, aside+end)); err != nil {
			return err
		}
	}
	return nil
}

func missingIsFine(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
