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
	watch func() Tap
}

// Tap looks at what passes one connection, a piece at a time as it was written. A nil
// function sees nothing.
type Tap struct {
	Up     func(piece []byte) bool // before it goes to the far end; false hangs up instead
	Down   func(piece []byte) bool // before it goes back
	Passed func()                  // after something went back
}

func (t Tap) up(piece []byte) bool   { return t.Up == nil || t.Up(piece) }
func (t Tap) down(piece []byte) bool { return t.Down == nil || t.Down(piece) }
func (t Tap) passed() {
	if t.Passed != nil {
		t.Passed()
	}
}

// Watch has each connection from now on looked at by a tap of its own.
func (l *Link) Watch(tap func() Tap) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.watch = tap
}

func (l *Link) tap() Tap {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.watch == nil {
		return Tap{}
	}
	return l.watch()
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
	tap := l.tap()
	var both sync.WaitGroup
	both.Go(func() { l.pump(far, near, tap, true) })
	both.Go(func() { l.pump(near, far, tap, false) })
	both.Wait()
}

// pump copies one way and hangs up the other when its own ends.
func (l *Link) pump(to, from net.Conn, tap Tap, upward bool) {
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
			if !through(to, buf[:n], tap, upward) {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// through passes a piece on, unless the tap hangs up or the other end has gone.
func through(to net.Conn, piece []byte, tap Tap, upward bool) bool {
	if upward && !tap.up(piece) || !upward && !tap.down(piece) {
		return false
	}
	if _, err := to.Write(piece); err != nil {
		return false
	}
	if !upward {
		tap.passed()
	}
	return true
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
