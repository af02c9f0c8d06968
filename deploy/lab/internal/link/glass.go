package link

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"sync"
	"time"

	"sentinel.home.arpa/shared/sim/freeport"
	"sentinel.home.arpa/shared/sim/pvesim"
)

// handshakeWithin bounds both handshakes of a connection through a Glass.
const handshakeWithin = 10 * time.Second

// Glass is the TLS port of a machine, seen through: it shows a certificate of its own,
// which has to be pinned in the place of the machine's, and lets a tap look at what
// passes in the clear. It is open exactly while the machine's own listener is.
type Glass struct {
	cert tls.Certificate
	tap  func(Hello) Tap
	addr string // where it listens each time that the machine comes up
}

// Hello is the random of a TLS ClientHello: who has seen it pass elsewhere knows whose
// connection this is.
type Hello [32]byte

// Where the random lies in a ClientHello's record.
const (
	helloFrom = 11
	helloTo   = helloFrom + len(Hello{})
)

// ReadHello finds the random in the beginning of a TLS connection.
func ReadHello(b []byte) (h Hello, ok bool) {
	const handshake, clientHello = 0x16, 0x01
	if len(b) < helloTo || b[0] != handshake || b[5] != clientHello {
		return h, false
	}
	copy(h[:], b[helloFrom:helloTo])
	return h, true
}

// NewGlass makes the glass of one machine, at an address; tap makes what looks at one
// connection.
func NewGlass(name, addr string, tap func(Hello) Tap) (*Glass, error) {
	cert, err := pvesim.NewCert(name)
	if err != nil {
		return nil, fmt.Errorf("make the certificate of %s: %w", name, err)
	}
	return &Glass{cert: cert, tap: tap, addr: addr}, nil
}

// Fingerprint is the SHA-256 of the certificate that it shows, "5C:1E:...".
func (g *Glass) Fingerprint() string { return pvesim.Fingerprint(g.cert.Certificate[0]) }

// Listen opens the port and gives the machine what it is to serve: a listener that has
// the port's address. Closing that closes the port and all connections through it.
func (g *Glass) Listen() (net.Listener, error) {
	front, err := freeport.Again("tcp", g.addr)
	if err != nil {
		return nil, err
	}
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		_ = front.Close()
		return nil, err
	}
	g.addr = front.Addr().String()
	p := &pane{Listener: inner, front: front, glass: g}
	p.ctx, p.stop = context.WithCancel(context.Background())
	p.wg.Go(p.accept)
	return p, nil
}

// pane is a Glass while its machine is up.
type pane struct {
	net.Listener // the machine's own
	front        net.Listener
	glass        *Glass

	ctx  context.Context
	stop context.CancelFunc
	wg   sync.WaitGroup
}

// Addr is the port that the world sees.
func (p *pane) Addr() net.Addr { return p.front.Addr() }

// Close does not wait for its connections: a machine that loses its power waits for nobody.
func (p *pane) Close() error {
	p.stop()
	_ = p.front.Close()
	return p.Listener.Close()
}

func (p *pane) accept() {
	for {
		near, err := p.front.Accept()
		if err != nil {
			return
		}
		p.wg.Go(func() { p.serve(near) })
	}
}

// read is a connection whose first bytes were looked at.
type read struct {
	net.Conn
	from *bufio.Reader
}

func (r read) Read(b []byte) (int, error) { return r.from.Read(b) }

func (p *pane) serve(raw net.Conn) {
	defer raw.Close()
	end := context.AfterFunc(p.ctx, func() {
		if tcp, ok := raw.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0) // no goodbye
		}
		raw.Close()
	})
	defer end()
	_ = raw.SetDeadline(time.Now().Add(handshakeWithin))
	peek := bufio.NewReader(raw)
	first, err := peek.Peek(helloTo)
	if err != nil {
		return
	}
	hello, _ := ReadHello(first)
	near := tls.Server(read{raw, peek}, &tls.Config{Certificates: []tls.Certificate{p.glass.cert}, MinVersion: tls.VersionTLS12})
	if near.HandshakeContext(p.ctx) != nil {
		return
	}
	// The far end is a port of this process that nobody else is told of.
	d := tls.Dialer{NetDialer: &net.Dialer{Timeout: handshakeWithin}, Config: &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12}}
	far, err := d.DialContext(p.ctx, "tcp", p.Listener.Addr().String())
	if err != nil {
		return
	}
	defer far.Close()
	_ = raw.SetDeadline(time.Time{})
	tap := p.glass.tap(hello)
	var both sync.WaitGroup
	both.Go(func() { see(far, near, raw, tap, true) })
	both.Go(func() { see(near, far, raw, tap, false) })
	both.Wait()
}

// see copies one way; when it ends, so does the connection.
func see(to, from, raw net.Conn, tap Tap, upward bool) {
	defer func() { raw.Close(); to.Close(); from.Close() }()
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 && !through(to, buf[:n], tap, upward) || err != nil {
			return
		}
	}
}
