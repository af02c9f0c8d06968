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
	// Mains reports whether the mains are known to be there; nothing is shut down then.
	Mains func() bool
	Dial  func(ctx context.Context, network, addr string) (net.Conn, error)
	// Refused counts what was refused, by one of a few reasons.
	Refused func(reason string)

	mu    sync.Mutex
	open  int
	ends  map[int]func() // of the tunnels through which a run may send
	count int
	wg    sync.WaitGroup
}

// errMains is why a run's connection is refused.
var errMains = errors.New("the mains are there, so nothing is shut down")

// MainsBack ends the tunnels of runs: no further command (rule S5).
func (c *Relay) MainsBack() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for id, end := range c.ends {
		end()
		delete(c.ends, id)
	}
}

// tracked has a run's tunnel ended when the mains come back.
func (c *Relay) tracked(r *http.Request, end func()) (forget func()) {
	if forRun(r) {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.ends == nil {
			c.ends = map[int]func(){}
		}
		c.count++
		id := c.count
		c.ends[id] = end
		return func() {
			c.mu.Lock()
			defer c.mu.Unlock()
			delete(c.ends, id)
		}
	}
	return func() {}
}

// forRun: what does not say that it only asks may shut down.
func forRun(r *http.Request) bool {
	return courier.Purpose(r.Header.Get(courier.HeaderPurpose)) != courier.ToAsk
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
	if forRun(r) && c.Mains() {
		refuse(http.StatusConflict, "mains", errMains)
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
	defer c.tracked(r, shut)()
	if forRun(r) && c.Mains() { // they came back while it was dialled
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
