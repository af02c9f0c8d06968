package brain

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// lockWithin is how long a brain waits for the one before it to end.
	lockWithin = 5 * time.Second
	lockEach   = 100 * time.Millisecond
)

// lock keeps a second brain off the state directory for as long as the file that it
// returns is open. A file system that knows no locks is no hindrance.
func lock(ctx context.Context, dir string) (*os.File, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("open the state directory: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, lockWithin)
	defer cancel()
	for {
		if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			return f, nil
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(fmt.Errorf("another brain runs on the state directory %s; stop it first", dir), f.Close())
		case <-time.After(lockEach):
		}
	}
}
