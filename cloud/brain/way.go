package brain

import (
	"context"
	"errors"
	"net"
	"time"

	"sentinel.home.arpa/shared/courier"
)

// anotherAfter is how long a Pi may say nothing before the next one is asked as well. Whoever
// looks at a node has 2.5 s, of which a Pi may take 1.5 s to find it closed.
const anotherAfter = 700 * time.Millisecond

// race asks the Pis in their order for a way, the next one once the one before has failed or
// says nothing, and takes the first that is through, or that found the target closed.
func race(ctx context.Context, pis []relay, try func(ctx context.Context, pi relay) (net.Conn, error)) (net.Conn, error) {
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
		go func() { // ends with what a relay is given for its answer
			conn, err := try(ctx, pi)
			answers <- answer{conn, err}
		}()
	}
	late := time.NewTimer(anotherAfter)
	defer late.Stop()
	var errs []error
	for ask(); heard < asked; {
		select {
		case a := <-answers:
			heard++
			if a.err == nil || errors.Is(a.err, courier.ErrTargetClosed) {
				go hangUp(asked-heard, func() net.Conn { return (<-answers).conn })
				return a.conn, a.err
			}
			errs = append(errs, a.err)
		case <-late.C:
		}
		if asked < len(pis) {
			ask()
			late.Reset(anotherAfter)
		}
	}
	return nil, errors.Join(errs...)
}

// hangUp ends the ways that came too late.
func hangUp(n int, next func() net.Conn) {
	for range n {
		if conn := next(); conn != nil {
			_ = conn.Close() // nothing was sent on it
		}
	}
}
