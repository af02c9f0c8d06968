package proxmox

import (
	"context"
	"errors"
	"fmt"
	"net"
	"syscall"
	"time"
)

// ReachState says what became of an attempt to reach a node's API.
type ReachState int

// The states, from knowing nothing to knowing most.
const (
	Unknown  ReachState = iota // nothing was learned: cancelled, no name, no network, the relay is gone
	Answered                   // the API answered over HTTP, be it with an error
	Open                       // the port is open, but TLS or HTTP failed or took too long
	Refused                    // nobody listens on the port
	Silent                     // no answer to the connection, or the network says that the host is not there
)

// String is one word for messages.
func (s ReachState) String() string {
	switch s {
	case Answered:
		return "answered"
	case Open:
		return "open"
	case Refused:
		return "refused"
	case Silent:
		return "silent"
	}
	return "unknown"
}

// Reach is what an attempt to reach a node's API showed.
type Reach struct {
	State ReachState
	Err   error // what went wrong; nil only after an ordinary answer
}

// Closed tells whether this is evidence that the node's API is down: the port
// refuses, or nothing at all comes back. A TLS or HTTP failure is none.
func (r Reach) Closed() bool { return r.State == Refused || r.State == Silent }

// Reachable opens a fresh connection to the node and, if that works, asks for
// its version, each within the client's timeout. The error is nil unless the
// state is Unknown.
func (c *Client) Reachable(ctx context.Context) (Reach, error) {
	state, err := c.tryPort(ctx)
	if state == Open {
		if _, err = c.get(ctx, "/version"); err == nil {
			return Reach{State: Answered}, nil
		}
		var e *Error
		if errors.As(err, &e) {
			state = Answered
		} else if ctx.Err() != nil {
			state = Unknown
		}
	}
	r := Reach{State: state, Err: fmt.Errorf("reach %s: %w", c.node, err)}
	if state == Unknown {
		return r, r.Err
	}
	return r, nil
}

// reachWithin is how long a node is given to take a connection: two tries of TCP's. A host
// that is off answers nothing at all, and whoever looks must hear so before its own
// patience ends.
const reachWithin = 2500 * time.Millisecond

// tryPort connects and hangs up. A connection of the pool would not do: a dead
// node's looks alive until it is used.
func (c *Client) tryPort(ctx context.Context) (ReachState, error) {
	limited, cancel := context.WithTimeout(ctx, min(c.timeout, reachWithin))
	defer cancel()
	conn, err := c.dial(limited, "tcp", c.addr)
	if err == nil {
		_ = conn.Close()
		return Open, nil
	}
	switch {
	case ctx.Err() != nil: // the caller's patience ended, not ours
		return Unknown, err
	case errors.Is(err, ErrTargetClosed):
		return Silent, err
	case !c.ownDial:
		return Unknown, err
	}
	return judgeDial(err), err
}

// judgeDial tells from net's error whether the node is closed. Our own network
// being gone (ENETUNREACH and the like) must not look like that.
func judgeDial(err error) ReachState {
	var dns *net.DNSError
	var timeout net.Error
	switch {
	case errors.As(err, &dns):
		return Unknown
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.ECONNRESET):
		return Refused
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.EHOSTDOWN):
		return Silent
	case errors.As(err, &timeout) && timeout.Timeout():
		return Silent
	}
	return Unknown
}
