package brain

import (
	"context"
	"net"
	"sync"
	"syscall"
)

// memnet is a network in memory, for bubbles: sockets would keep their time from passing.
type memnet struct {
	mu        sync.Mutex
	listeners map[string]*memListener
	alias     map[string]string     // other names of addresses
	lost      map[string]bool       // addresses that do not answer at all
	conns     map[string][]net.Conn // by the address that was dialled
}

func newMemnet() *memnet {
	return &memnet{listeners: map[string]*memListener{}, alias: map[string]string{}, lost: map[string]bool{}, conns: map[string][]net.Conn{}}
}

// listen implements machine.listen.
func (n *memnet) listen(_, addr string) (net.Listener, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.listeners[addr] != nil {
		return nil, &net.OpError{Op: "listen", Net: "tcp", Err: syscall.EADDRINUSE}
	}
	l := &memListener{addr: memAddr(addr), net: n, accept: make(chan net.Conn), closed: make(chan struct{})}
	n.listeners[addr] = l
	return l, nil
}

// dial implements machine.dial.
func (n *memnet) dial(ctx context.Context, _, addr string) (net.Conn, error) {
	n.mu.Lock()
	to, lost := addr, n.lost[addr]
	if other := n.alias[addr]; other != "" {
		to = other
	}
	l := n.listeners[to]
	n.mu.Unlock()
	if lost {
		<-ctx.Done()
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: ctx.Err()}
	}
	if l == nil {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
	}
	near, far := net.Pipe()
	n.mu.Lock()
	n.conns[addr] = append(n.conns[addr], near, far)
	n.mu.Unlock()
	select {
	case l.accept <- memConn{far, memAddr("127.0.0.1:50000")}:
		return memConn{near, l.addr}, nil
	case <-l.closed:
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// cut takes addresses off the network, and ends what is connected to them.
func (n *memnet) cut(addrs ...string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, a := range addrs {
		n.lost[a] = true
		for _, c := range n.conns[a] {
			_ = c.Close() // a pipe's never fails
		}
		delete(n.conns, a)
	}
}

func (n *memnet) mend(addrs ...string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, a := range addrs {
		delete(n.lost, a)
	}
}

type memListener struct {
	addr   memAddr
	net    *memnet
	accept chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (l *memListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.accept:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *memListener) Close() error {
	l.once.Do(func() {
		close(l.closed)
		l.net.mu.Lock()
		defer l.net.mu.Unlock()
		delete(l.net.listeners, string(l.addr))
	})
	return nil
}

func (l *memListener) Addr() net.Addr { return l.addr }

// memConn is one end of a pipe that knows whom it talks to.
type memConn struct {
	net.Conn
	remote memAddr
}

func (c memConn) RemoteAddr() net.Addr { return c.remote }

type memAddr string

func (memAddr) Network() string  { return "tcp" }
func (a memAddr) String() string { return string(a) }
