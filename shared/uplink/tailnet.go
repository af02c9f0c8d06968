package uplink

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"sentinel.home.arpa/shared/tailnet"
)

const (
	// RelaysEach is how often it is asked which relays are the home region's, and
	// RelaysFirst while none is known.
	RelaysEach  = time.Minute
	RelaysFirst = 5 * time.Second
	// relaysWithin bounds that question, which waits for a tailnet that is not up.
	relaysWithin = 20 * time.Second
)

// Tailnet finds out whether the tailnet itself is out of reach: by its control server and the
// relays of the machine's home region, asked over the machine's own network (rule N10). What
// the tailnet's library says of its health says nothing of that. All its fields must be set.
type Tailnet struct {
	Control string                                             // its URL
	Relays  func(ctx context.Context) ([]tailnet.Relay, error) // those of the home region
	Status  func() tailnet.Status
	Dial    Dial
	Log     *slog.Logger

	mu    sync.Mutex
	known []tailnet.Relay // as last heard: they are wanted when nothing can be heard any more
}

// OfTailnet is the tailnet of a node.
func OfTailnet(n *tailnet.Node, dial Dial, log *slog.Logger) *Tailnet {
	return &Tailnet{Control: n.ControlURL(), Relays: n.HomeRelays, Status: n.Status, Dial: dial, Log: log}
}

// Run keeps the home region's relays in mind.
func (r *Tailnet) Run(ctx context.Context) error {
	for {
		wait := RelaysEach
		if !r.Learn(ctx) {
			wait = RelaysFirst
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
	}
}

// Learn asks for the home region's relays, and reports whether any relays are known.
func (r *Tailnet) Learn(ctx context.Context) bool {
	asked, cancel := context.WithTimeout(ctx, relaysWithin)
	defer cancel()
	relays, err := r.Relays(asked)
	if err != nil && ctx.Err() == nil {
		r.Log.Debug("home relays not learnt", "err", err) // what is wrong with the tailnet is told elsewhere
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(relays) > 0 {
		r.known = relays
	}
	return len(r.known) > 0
}

// Gone reports whether neither the control server nor any of the home relays answers by
// the context's end, or the tailnet has put the machine out. One of the two alone says
// nothing: the tailnet lives on without control, and without one region.
func (r *Tailnet) Gone(ctx context.Context) bool {
	if r.Status().NeedsLogin() {
		return true
	}
	control, err := controlServer(r.Control)
	r.mu.Lock()
	relays := r.known
	r.mu.Unlock()
	if err != nil || len(relays) == 0 {
		return false
	}
	targets := []server{control}
	for _, relay := range relays {
		targets = append(targets, server{name: relay.Name, addr: relay.Addr, secure: true})
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var silent atomic.Int64
	var wg sync.WaitGroup
	for _, t := range targets {
		wg.Go(func() {
			if r.silent(ctx, t) {
				silent.Add(1)
			} else {
				cancel() // the others need not go on
			}
		})
	}
	wg.Wait()
	return silent.Load() == int64(len(targets))
}

// server is one that answers TLS or HTTP.
type server struct {
	name, addr string
	secure     bool
}

func controlServer(text string) (server, error) {
	u, err := url.Parse(text)
	if err != nil {
		return server{}, fmt.Errorf("read the control server's address: %w", err)
	}
	s := server{name: u.Hostname(), secure: u.Scheme == "https"}
	port := map[bool]string{false: "80", true: "443"}[s.secure]
	s.addr = net.JoinHostPort(s.name, cmp.Or(u.Port(), port))
	return s, nil
}

// silent reports whether a server was asked and said nothing at all. Whatever it says is an
// answer, its certificate may be anybody's: nothing is told it, and nothing believed. Whose
// name cannot be looked up was not asked.
func (r *Tailnet) silent(ctx context.Context, s server) bool {
	conn, err := r.Dial(ctx, "tcp", s.addr)
	if err != nil {
		var lookup *net.DNSError
		return !errors.As(err, &lookup)
	}
	heard := &heardConn{Conn: conn}
	defer heard.Close() // nothing of what is on it is wanted
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	if s.secure {
		err = tls.Client(heard, &tls.Config{ServerName: s.name}).HandshakeContext(ctx)
	} else {
		err = askHTTP(ctx, heard, s)
	}
	if err != nil {
		r.Log.Debug("a server of the tailnet's does not answer well", "addr", s.addr, "heard", heard.any.Load(), "err", err)
	}
	return !heard.any.Load()
}

// askHTTP asks for the key with which control servers begin, and waits for a first word.
func askHTTP(ctx context.Context, conn net.Conn, s server) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodHead, "http://"+s.addr+"/key", nil)
	if err != nil {
		return fmt.Errorf("ask the control server: %w", err)
	}
	if err := req.Write(conn); err != nil {
		return fmt.Errorf("ask the control server: %w", err)
	}
	if _, err := conn.Read(make([]byte, 1)); err != nil {
		return fmt.Errorf("hear the control server: %w", err)
	}
	return nil
}

// heardConn knows whether anything was ever heard on it.
type heardConn struct {
	net.Conn
	any atomic.Bool
}

func (c *heardConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 {
		c.any.Store(true)
	}
	return n, err
}
