package pvesim

import (
	"net"
	"sync"
	"sync/atomic"
)

// trackedListener remembers its connections, so that a power cut can drop them
// beneath TLS, without the goodbye that TLS would send.
type trackedListener struct {
	net.Listener

	mu     sync.Mutex
	conns  map[*trackedConn]struct{}
	closed bool
	mute   atomic.Bool // what is read on a connection goes nowhere
}

func track(ln net.Listener) *trackedListener {
	return &trackedListener{Listener: ln, conns: map[*trackedConn]struct{}{}}
}

func (l *trackedListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	c := &trackedConn{Conn: conn, ln: l}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		_ = conn.Close()
		return nil, net.ErrClosed
	}
	l.conns[c] = struct{}{}
	return c, nil
}

// cut closes the port and drops all connections at once.
func (l *trackedListener) cut() {
	_ = l.Listener.Close()
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	l.drop()
}

// drop ends all connections at once and leaves the port open.
func (l *trackedListener) drop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for c := range l.conns {
		if tcp, ok := c.Conn.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0)
		}
		_ = c.Conn.Close()
	}
	clear(l.conns)
}

type trackedConn struct {
	net.Conn
	ln   *trackedListener
	deaf atomic.Bool // its peer has spoken to a mute node: the thread is lost for good
}

// Read gives what the peer sends, unless the node is mute.
func (c *trackedConn) Read(p []byte) (int, error) {
	for {
		n, err := c.Conn.Read(p)
		if c.ln.mute.Load() {
			c.deaf.Store(true)
		}
		if err != nil || !c.deaf.Load() {
			return n, err
		}
	}
}

func (c *trackedConn) Close() error {
	c.ln.mu.Lock()
	delete(c.ln.conns, c)
	c.ln.mu.Unlock()
	return c.Conn.Close()
}
