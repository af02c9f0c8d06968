package brain

import (
	"context"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"
)

// longStory is for many hours of the brain's life, which the race detector makes ten times
// as long: a short run leaves them out. What runs in them runs in other stories too.
func longStory(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("a long story")
	}
}

// process is a brain's as its kernel sees it: it can be stopped at any instant, and what
// it is sent meanwhile waits in its sockets. Nothing that it does reaches the world, and
// it reads no clock, until it goes on.
type process struct {
	h  *home
	wg sync.WaitGroup

	mu    sync.Mutex
	shut  chan struct{} // closed when it goes on; nil: it runs
	after int           // looks at the world until it is stopped; 0: it is not to be
	looks int           // so far
	then  func()        // what happens once it is stopped
}

// stoppable lets the story stop the brain.
func (h *home) stoppable() {
	h.process = &process{h: h}
	h.away = append(h.away, h.process.wg.Wait)
}

// freeze stops the process, as SIGSTOP does, and lets it go on after d.
func (p *process) freeze(d time.Duration) {
	p.stop()
	rest(d)
	p.goOn()
	rest(0)
}

func (p *process) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.shut = make(chan struct{})
}

func (p *process) goOn() {
	p.mu.Lock()
	defer p.mu.Unlock()
	close(p.shut)
	p.shut = nil
}

// stopAt has the process stop at its nth look at the world from now, for d.
func (p *process) stopAt(n int, d time.Duration, then func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.looks, p.after, p.then = 0, n, func() { then(); time.AfterFunc(d, p.goOn) }
}

// look is where a process that is stopped stands.
func (p *process) look() {
	p.mu.Lock()
	p.looks++
	if p.after > 0 && p.looks == p.after && p.shut == nil {
		p.shut, p.after = make(chan struct{}), 0
		p.then()
	}
	shut := p.shut
	p.mu.Unlock()
	if shut != nil {
		<-shut
	}
}

// on is the machine for a brain that can be stopped.
func (p *process) on(m machine) machine {
	sinceBoot, wall, listen, dial, phone := m.sinceBoot, m.wall, m.listen, m.dial, m.phone
	m.sinceBoot = func() time.Duration { p.look(); return sinceBoot() }
	m.wall = func() time.Time { p.look(); return wall() }
	m.listen = func(network, addr string) (net.Listener, error) {
		ln, err := listen(network, addr)
		if err != nil {
			return nil, err
		}
		return p.backlog(ln), nil
	}
	m.dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
		p.look()
		c, err := dial(ctx, network, addr)
		p.look()
		if err != nil {
			return nil, err
		}
		return stoppedConn{c, p}, nil
	}
	m.phone = asked(func(r *http.Request) (*http.Response, error) {
		p.look()
		resp, err := phone.RoundTrip(r)
		p.look()
		if late := r.Context().Err(); late != nil && err == nil { // its timer was first
			_ = resp.Body.Close()
			return nil, late
		}
		return resp, err
	})
	return m
}

type asked func(r *http.Request) (*http.Response, error)

// RoundTrip implements http.RoundTripper.
func (f asked) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// stoppedConn is a connection that the process has made.
type stoppedConn struct {
	net.Conn
	p *process
}

func (c stoppedConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.p.look()
	return n, err
}

// backlog is a listener whose connections the kernel takes.
type backlog struct {
	net.Listener
	p     *process
	conns chan net.Conn
}

func (p *process) backlog(ln net.Listener) *backlog {
	l := &backlog{ln, p, make(chan net.Conn, 100_000)}
	p.wg.Go(func() {
		defer close(l.conns)
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			l.conns <- p.socket(c)
		}
	})
	return l
}

// Accept implements net.Listener.
func (l *backlog) Accept() (net.Conn, error) {
	c, ok := <-l.conns
	if !ok {
		return nil, net.ErrClosed
	}
	l.p.look()
	return c, nil
}

// socket is the process's end of a connection: what arrives is kept for it, also from a
// sender who has long hung up.
func (p *process) socket(outside net.Conn) net.Conn {
	inside, kernel := net.Pipe()
	arrived := make(chan []byte, 100_000)
	p.wg.Go(func() {
		defer close(arrived)
		for {
			data := make([]byte, 4096)
			n, err := outside.Read(data)
			if n > 0 {
				arrived <- data[:n]
			}
			if err != nil {
				return
			}
		}
	})
	p.wg.Go(func() {
		for data := range arrived {
			p.look()
			_, _ = kernel.Write(data) // the process may have closed it
		}
		p.look()
		_ = kernel.Close() // a pipe's never fails
	})
	p.wg.Go(func() {
		_, _ = io.Copy(outside, kernel) // how it ends is its ends' business
		_ = outside.Close()
		_ = kernel.Close()
	})
	return memConn{inside, memAddr(outside.RemoteAddr().String())}
}
