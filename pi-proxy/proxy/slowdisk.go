package proxy

import (
	"errors"
	"time"
)

// writeWithin bounds how long a loop that must turn waits for the disk.
const writeWithin = 2 * time.Second

var errDiskHangs = errors.New("the disk hangs")

// slowDisk lets a loop write although the disk may hang: one write at a time, each waited for
// within 2 s. It holds a value while one is under way.
type slowDisk chan struct{}

func newSlowDisk() slowDisk { return make(slowDisk, 1) }

// write begins a write and waits for it. It has not begun if an earlier one hangs still; one that
// has goes on though it is not waited for any longer.
func (d slowDisk) write(f func() error) (begun bool, err error) {
	select {
	case d <- struct{}{}:
	default:
		return false, errDiskHangs
	}
	written := make(chan error, 1)
	go func() {
		err := f()
		<-d
		written <- err
	}()
	limit := time.NewTimer(writeWithin)
	defer limit.Stop()
	select {
	case err := <-written:
		return true, err
	case <-limit.C:
		return true, errDiskHangs
	}
}
