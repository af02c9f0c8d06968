package ingest

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"sentinel.home.arpa/cloud/internal/sentinel"
	"sentinel.home.arpa/shared/courier"
	"sentinel.home.arpa/shared/wire"
)

// trustedFor is how long the tailnet's word on who is calling holds for a connection, and
// a proven key for its heartbeats.
const trustedFor = 10 * time.Second

type connectionKey struct{}

// connection is what was found out about one. It ends with it: who gets the address next
// has to prove everything again.
type connection struct {
	mu     sync.Mutex
	who    Machine
	asked  time.Time // the tailnet, for who
	proven Known     // signed a message that was verified
	at     time.Time
	told   courier.Told
}

// PerConnection has a server remember what Identities find out about its connections.
// Without it everything is found out again for each message.
func PerConnection(s *http.Server) {
	s.ConnContext = func(ctx context.Context, _ net.Conn) context.Context {
		return context.WithValue(ctx, connectionKey{}, &connection{})
	}
}

func connectionOf(ctx context.Context) *connection {
	c, _ := ctx.Value(connectionKey{}).(*connection)
	return c
}

func holds(since, now time.Time) bool {
	age := now.Sub(since)
	return age >= 0 && age < trustedFor
}

// whoIs asks the tailnet who is calling, once in a while for each connection.
func (ids *Identities) whoIs(r *http.Request) (Machine, error) {
	c, now := connectionOf(r.Context()), ids.Now()
	if c != nil {
		c.mu.Lock()
		defer c.mu.Unlock()
		if holds(c.asked, now) {
			return c.who, nil
		}
	}
	who, err := ids.WhoIs(r.Context(), r.RemoteAddr)
	if err != nil {
		return Machine{}, &courier.Fault{Status: http.StatusServiceUnavailable, Reason: "whois", Err: fmt.Errorf("ask the tailnet who is calling: %w", err)}
	}
	if c != nil {
		c.who, c.asked = who, now
	}
	return who, nil
}

// open verifies and reads the message of a caller that Direct has found. On the tailnet a
// node's heartbeat may stand on what its connection proved a moment ago; everything else
// stands on its own signature.
func (ids *Identities) open(ctx context.Context, e *wire.Envelope, caller Known, kind wire.Kind, into wire.Message) error {
	c := connectionOf(ctx)
	if ids.WhoIs == nil || c == nil || kind != wire.KindHeartbeat || caller.Role != sentinel.Node || caller.StableID == "" {
		return courier.Decode(e, caller.Key, kind, into)
	}
	now := ids.Now()
	c.mu.Lock()
	proven := c.proven == caller && e.Signer == caller.Key && holds(c.at, now)
	c.mu.Unlock()
	if proven {
		return courier.DecodeVouched(e, kind, into)
	}
	if err := courier.Decode(e, caller.Key, kind, into); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.proven, c.at = caller, now
	return nil
}
