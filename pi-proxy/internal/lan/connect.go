package lan

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"syscall"
	"time"

	"sentinel.home.arpa/shared/courier"
)

const (
	// dialWithin is shorter than the brain's patience, which must hear that a target that
	// answers nothing is closed.
	dialWithin = 1500 * time.Millisecond
	// idleAtMost ends a tunnel through which nothing goes.
	idleAtMost = 2 * time.Minute
	tunnels    = 64
)

// Relay answers HTTP CONNECT: a tunnel to the machines of the plan, for the brain alone.
// TLS and its pin stay between the brain and the machine.
type Relay struct {
	Log *slog.Logger
	// Brain reports whether the brain is asking, for this address.
	Brain func(r *http.Request) error
	// Allowed are the addresses of the plan's APIs.
	Allowed func(addr string) bool
	// Mains reports whether the mains were there when the supply was last known; nothing is
	// shut down then. MainsNow reports whether they are there now: only then is anything started.
	Mains    func() bool
	MainsNow func() bool
	// OnFailure reports whether the plan is armed and may begin for failed nodes, so also on mains.
	OnFailure func() bool
	Dial      func(ctx context.Context, network, addr string) (net.Conn, error)
	// Refused counts what was refused, by one of a few reasons.
	Refused func(reason string)

	mu    sync.Mutex
	open  int
	ends  map[int]ending // of the tunnels through which something may be told
	count int
	wg    sync.WaitGroup
}

// Why a connection is refused.
var (
	errMains   = errors.New("the mains are there, so nothing is shut down")
	errNoMains = errors.New("the mains are not known to be there, so nothing is started")
)

// ending is how a tunnel is ended, and what it is for.
type ending struct {
	end     func()
	purpose courier.Purpose
}

// SupplyChanged ends the tunnels that the supply forbids by now: no further command
// (rule S5).
func (c *Relay) SupplyChanged() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for id, e := range c.ends {
		if c.forbidden(e.purpose) != nil {
			e.end()
			delete(c.ends, id)
		}
	}
}

// tracked has a tunnel ended when the supply forbids it.
func (c *Relay) tracked(purpose courier.Purpose, end func()) (forget func()) {
	if purpose == courier.ToAsk {
		return func() {}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ends == nil {
		c.ends = map[int]ending{}
	}
	c.count++
	id := c.count
	c.ends[id] = ending{end, purpose}
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.ends, id)
	}
}

func purposeOf(r *http.Request) courier.Purpose {
	return courier.Purpose(r.Header.Get(courier.HeaderPurpose))
}

// forbidden says why a connection may not be: what does not say what it is for may shut down.
func (c *Relay) forbidden(p courier.Purpose) error {
	switch {
	case p == courier.ToAsk:
		return nil
	case p == courier.ToPutBack && !c.MainsNow():
		return errNoMains
	case p == courier.ToShutDownForFailure && c.OnFailure():
		return nil
	case p != courier.ToPutBack && c.Mains():
		return errMains
	}
	return nil
}

// Wait waits for all tunnels to end.
func (c *Relay) Wait() { c.wg.Wait() }

// ServeHTTP implements http.Handler.
func (c *Relay) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	refuse := func(status int, reason string, err error) {
		c.Refused(courier.Fail(w, &courier.Fault{Status: status, Reason: reason, Err: err}))
		c.Log.Warn("connect refused", "from", r.RemoteAddr, "to", r.Host, "reason", reason, "err", err)
	}
	if err := c.Brain(r); err != nil {
		refuse(http.StatusForbidden, "forbidden", err)
		return
	}
	if !c.Allowed(r.Host) {
		refuse(http.StatusForbidden, "forbidden", errors.New("the plan has no such address"))
		return
	}
	if err := c.forbidden(purposeOf(r)); err != nil {
		refuse(http.StatusConflict, "mains", err)
		return
	}
	if !c.enter() {
		refuse(http.StatusServiceUnavailable, "busy", errors.New("too many connections"))
		return
	}
	defer c.leave()
	ctx, cancel := context.WithTimeout(r.Context(), dialWithin)
	defer cancel()
	far, err := c.Dial(ctx, "tcp", r.Host)
	switch {
	case err == nil:
	case closed(err):
		courier.SayClosed(w)
		return
	default:
		refuse(http.StatusServiceUnavailable, "dial", err)
		return
	}
	c.tunnel(w, r, far)
}

// closed tells a target that is down from a fault of the Pi's own network or resolver.
func closed(err error) bool {
	var dns *net.DNSError
	if errors.As(err, &dns) {
		return false
	}
	return errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.EHOSTUNREACH) ||
		errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, syscall.ETIMEDOUT)
}

func (c *Relay) tunnel(w http.ResponseWriter, r *http.Request, far net.Conn) {
	near, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		_ = far.Close()
		c.Log.Error("connect not taken over", "err", err)
		return
	}
	_ = near.SetDeadline(time.Time{}) // the server's own; idle sets another
	if _, err := near.Write([]byte("HTTP/1.1 200 Connection established\r\n\r\n")); err != nil {
		_ = errors.Join(near.Close(), far.Close())
		return
	}
	shut := func() { _ = errors.Join(near.Close(), far.Close()) }
	stop := context.AfterFunc(r.Context(), shut) // the Pi stops
	defer stop()
	defer c.tracked(purposeOf(r), shut)()
	if c.forbidden(purposeOf(r)) != nil { // they came or went while it was dialled
		shut()
	}
	var wg sync.WaitGroup
	pipe := func(to net.Conn, from io.Reader, conn net.Conn) {
		_, _ = io.Copy(idle{to}, idleReader{from, conn}) // how a tunnel ends is its ends' business
		shut()
	}
	wg.Go(func() { pipe(far, buffered, near) })
	wg.Go(func() { pipe(near, far, far) })
	wg.Wait()
}

func (c *Relay) enter() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.open == tunnels {
		return false
	}
	c.open++
	c.wg.Add(1)
	return true
}

func (c *Relay) leave() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.open--
	c.wg.Done()
}

// idle and idleReader move a connection's deadline with each use.
type idle struct{ net.Conn }

func (i idle) Write(p []byte) (int, error) {
	_ = i.SetWriteDeadline(time.Now().Add(idleAtMost))
	return i.Conn.Write(p)
}

type idleReader struct {
	io.Reader
	conn net.Conn
}

func (i idleReader) Read(p []byte) (int, error) {
	_ = i.conn.SetReadDeadline(time.Now().Add(idleAtMost))
	return i.Reader.Read(p)
}
