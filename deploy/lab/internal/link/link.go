// Package link is a piece of network that can be cut: a TCP forwarder on loopback. While
// it is cut nothing passes and nothing is refused, as with a dead line; once it is mended
// what waited goes on, as TCP's own repeats would have it.
package link

import (
	"context"
	"net"
	"sync"
	"time"
)

// dialWithin bounds the dial to the far end.
const dialWithin = 5 * time.Second

// Link forwards what comes in on its listener.
type Link struct {
	ln   net.Listener
	to   string
	wg   sync.WaitGroup
	stop context.CancelFunc
	ctx  context.Context

	mu    sync.Mutex
	whole chan struct{} // closed while the link is whole
	cut   bool
	last  time.Time // when something last passed towards the far end
}

// Open listens on a free port of loopback and forwards to an address.
func Open(to string) (*Link, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	l := &Link{ln: ln, to: to, whole: make(chan struct{})}
	close(l.whole)
	l.ctx, l.stop = context.WithCancel(context.Background())
	l.wg.Go(l.accept)
	return l, nil
}

// Addr is where to connect to.
func (l *Link) Addr() string { return l.ln.Addr().String() }

// Cut cuts the link, or mends it.
func (l *Link) Cut(cut bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case cut && !l.cut:
		l.whole = make(chan struct{})
	case !cut && l.cut:
		close(l.whole)
	}
	l.cut = cut
}

// Last is when something last passed towards the far end.
func (l *Link) Last() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.last
}

// Close ends the link and everything on it.
func (l *Link) Close() {
	l.stop()
	_ = l.ln.Close()
	l.wg.Wait()
}

func (l *Link) accept() {
	for {
		near, err := l.ln.Accept()
		if err != nil {
			return
		}
		l.wg.Go(func() { l.forward(near) })
	}
}

func (l *Link) forward(near net.Conn) {
	defer near.Close()
	if !l.pass() {
		return
	}
	d := net.Dialer{Timeout: dialWithin}
	far, err := d.DialContext(l.ctx, "tcp", l.to)
	if err != nil {
		return
	}
	defer far.Close()
	end := context.AfterFunc(l.ctx, func() { near.Close(); far.Close() })
	defer end()
	var both sync.WaitGroup
	both.Go(func() { l.pump(far, near, true) })
	both.Go(func() { l.pump(near, far, false) })
	both.Wait()
}

// pump copies one way and hangs up the other when its own ends.
func (l *Link) pump(to, from net.Conn, upward bool) {
	defer func() {
		if l.pass() { // over a dead line no end is heard either
			to.Close()
			from.Close()
		}
	}()
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if !l.pass() {
			return
		}
		if n > 0 {
			if upward {
				l.mu.Lock()
				l.last = time.Now()
				l.mu.Unlock()
			}
			if _, werr := to.Write(buf[:n]); werr != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// pass waits until the link is whole; false if it has been closed.
func (l *Link) pass() bool {
	l.mu.Lock()
	whole := l.whole
	l.mu.Unlock()
	select {
	case <-whole:
		return l.ctx.Err() == nil
	case <-l.ctx.Done():
		return false
	}
}
