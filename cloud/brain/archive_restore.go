package brain

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"sentinel.home.arpa/cloud/internal/journal"
	"sentinel.home.arpa/cloud/internal/sentinel"
	"sentinel.home.arpa/shared/daemon"
)

// CheckJournal reads the whole of a copy of a journal and says in words what it holds. One
// that is damaged, or that this version cannot read, is an error.
func CheckJournal(ctx context.Context, path string) (string, error) {
	held, err := journal.Check(ctx, path, readableBy(sentinel.Config{}))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", fmt.Errorf("there is no file %s", path)
	case errors.Is(err, fs.ErrPermission):
		return "", fmt.Errorf("%s may not be read without sudo", path)
	case errors.Is(err, journal.ErrNewer):
		return "", fmt.Errorf("%s was written by a newer version; install that version, or a newer one: %w", path, err)
	case journal.IsNone(err):
		return "", fmt.Errorf("%s is no copy of a journal", path)
	case ctx.Err() != nil:
		return "", fmt.Errorf("%s was not read to its end: %w", path, ctx.Err())
	case err != nil:
		return "", fmt.Errorf("%s is damaged: %w", path, err)
	case held.Facts == 0:
		return "", fmt.Errorf("%s holds no facts", path)
	}
	return fmt.Sprintf("%d facts until %s", held.Facts, held.Until.Local().Format("2 January 2006 at 15:04 MST")), nil
}

// RestoreJournal puts a copy of a journal in the place of the brain's own, which is set
// aside, and says in one line what was done. The brain must not run. Killed at any instant
// it leaves the old journal or the new one. Whether the plan is armed is not known from then
// on until a person arms or disarms it: the copy may be from before one did.
func RestoreJournal(ctx context.Context, cfg Config, file string) (said string, err error) {
	if err := os.MkdirAll(cfg.StateDir, 0o700); err != nil {
		return "", fmt.Errorf("the state directory %s cannot be made; use sudo, or correct state_dir: %w", cfg.StateDir, err)
	}
	running, err := lock(ctx, cfg.StateDir)
	switch {
	case errors.Is(err, fs.ErrPermission):
		return "", fmt.Errorf("the state directory %s may not be used; use sudo", cfg.StateDir)
	case err != nil:
		return "", err
	}
	defer func() { err = errors.Join(err, running.Close()) }()
	path := filepath.Join(cfg.StateDir, journalFile)
	if same(file, path) {
		return "", fmt.Errorf("%s is the brain's journal itself; name a copy that backup made", file)
	}
	held, err := CheckJournal(ctx, file)
	if err != nil {
		return "", fmt.Errorf("%w; nothing was restored, name another copy that backup made", err)
	}
	// First: the copy must not be taken for the truth about the plan.
	if err := daemon.WriteFile(filepath.Join(cfg.StateDir, armingFile), []byte(armingWarning+"\n"), 0o600); err != nil {
		return "", fmt.Errorf("note that the plan's arming is not known: %w", err)
	}
	aside, err := journal.Replace(ctx, path, file, time.Now())
	switch {
	case errors.Is(err, unix.ENOSPC):
		return "", fmt.Errorf("the disk of %s has no room for the copy, so nothing was restored; make room, and try again", cfg.StateDir)
	case err != nil:
		return "", fmt.Errorf("nothing was restored: %w", err)
	}
	if aside != "" {
		aside = "; the one before lies at " + aside
	}
	return fmt.Sprintf("The brain's journal is the copy %s (%s)%s. Start the brain, then arm or disarm the plan again: until then it is not known which it is.", file, held, aside), nil
}

func same(a, b string) bool {
	x, err := os.Stat(a)
	if err != nil {
		return false
	}
	y, err := os.Stat(b)
	return err == nil && os.SameFile(x, y)
}
