package brain

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"

	"sentinel.home.arpa/shared/courier"
)

// anotherAfter is how long a Pi may say nothing before the next one is asked as well. Whoever
// looks at a node has 2.5 s, of which a Pi may take 1.5 s to find it closed.
const anotherAfter = 700 * time.Millisecond

// closedAfter is when a Pi's word that the target is closed is the answer, though others have
// not said theirs: the second has had the time that it takes to find that out.
const closedAfter = anotherAfter + 1500*time.Millisecond

// errNoPi is why there is no way at all.
var errNoPi = errors.New("the site has no Pi")

// race asks the Pis in their order for a way, the next one once the one before has failed or
// says nothing, and takes the first that is through. The target is closed if a Pi says so and
// no other gets through to it: one may be behind a firewall that refuses in the target's name. It
// waits for nobody who comes too late; owner does.
func race(ctx context.Context, owner *sync.WaitGroup, pis []relay, try func(ctx context.Context, pi relay) (net.Conn, error)) (net.Conn, error) {
	if len(pis) == 0 { // a reload may take the last one from under a run
		return nil, errNoPi
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type answer struct {
		conn net.Conn
		err  error
	}
	answers := make(chan answer, len(pis))
	asked, heard := 0, 0
	ask := func() {
		pi := pis[asked]
		asked++
		owner.Go(func() {
			conn, err := try(ctx, pi)
			answers <- answer{conn, err}
		})
	}
	hangUp := func() { // ends the ways that come too late
		n := asked - heard
		owner.Go(func() {
			for range n {
				if a := <-answers; a.conn != nil {
					_ = a.conn.Close() // nothing was sent on it
				}
			}
		})
	}
	late, enough := time.NewTimer(anotherAfter), time.NewTimer(closedAfter)
	defer late.Stop()
	defer enough.Stop()
	var closed error
	var errs []error
	patience := true
	for ask(); heard < asked && (patience || closed == nil); {
		select {
		case a := <-answers:
			heard++
			if a.err == nil {
				hangUp()
				return a.conn, nil
			}
			if closed == nil && errors.Is(a.err, courier.ErrTargetClosed) {
				closed = a.err
			}
			errs = append(errs, a.err)
		case <-late.C:
		case <-enough.C:
			patience = false
			continue
		}
		if asked < len(pis) {
			ask()
			late.Reset(anotherAfter)
		}
	}
	hangUp()
	if closed != nil {
		return nil, closed
	}
	return nil, errors.Join(errs...)
}
