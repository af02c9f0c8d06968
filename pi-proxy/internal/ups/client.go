package ups

import (
	"context"
	"fmt"
	"net"
	"time"

	"sentinel.home.arpa/shared/power"
)

const defaultTimeout = 2 * time.Second

// Client asks one apcupsd. It keeps no connection: apcupsd closes idle ones after
// 15 s, and one that is never read from blocks its other clients.
type Client struct {
	Addr string // host:port
	// Dial connects; nil is a net.Dialer's.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
	// Timeout is for the whole of one Status; 0 is 2 s.
	Timeout time.Duration
}

// Status asks once. What apcupsd did not say, or what cannot be, is nil in the result.
// It fails if there is no complete answer or if the answer has no STATFLAG.
func (c *Client) Status(ctx context.Context) (power.Status, error) {
	timeout := c.Timeout
	if timeout == 0 {
		timeout = defaultTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	a, err := c.ask(ctx, "status")
	if err == nil {
		err = a.complete()
	}
	var s power.Status
	if err == nil {
		s, err = a.status()
	}
	if err != nil {
		return power.Status{}, fmt.Errorf("ask apcupsd at %s for its status: %w", c.Addr, err)
	}
	return s, nil
}

func (c *Client) ask(ctx context.Context, command string) (answer, error) {
	dial := c.Dial
	if dial == nil {
		dial = (&net.Dialer{}).DialContext
	}
	conn, err := dial(ctx, "tcp", c.Addr)
	if err != nil {
		return answer{}, err
	}
	defer conn.Close()
	// Closing is what ends a read at once, whether by deadline or by cancellation.
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	if _, err := conn.Write(frame(command)); err != nil {
		return answer{}, because(ctx, err)
	}
	a, err := readAnswer(conn)
	if err != nil {
		return answer{}, because(ctx, err)
	}
	return a, nil
}

// because prefers the reason why a connection was closed to the fact that it was.
func because(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}
