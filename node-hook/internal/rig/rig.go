// Package rig is a brain or Pi for tests: a real HTTP server that verifies what it is
// sent and signs its answers, on memory or loopback, and a network of several that a
// client dials by address. It is imported by tests only.
package rig

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"sentinel.home.arpa/shared/courier"
	"sentinel.home.arpa/shared/wire"
)

// Boot is a boot id for tests.
const Boot = "9a3f0c12-0000-4000-8000-00000000abcd"

// Network connects a client to listeners in memory. An address without one refuses.
type Network struct {
	mu   sync.Mutex
	open map[string]*pipes
}

// NewNetwork makes an empty network.
func NewNetwork() *Network { return &Network{open: map[string]*pipes{}} }

// Listen opens an address; closing the listener makes it refuse again.
func (n *Network) Listen(address string) net.Listener {
	n.mu.Lock()
	defer n.mu.Unlock()
	p := &pipes{address: address, conns: make(chan net.Conn), done: make(chan struct{})}
	n.open[address] = p
	return p
}

// Dial is for courier.NewClient.
func (n *Network) Dial(ctx context.Context, _, address string) (net.Conn, error) {
	n.mu.Lock()
	p := n.open[address]
	n.mu.Unlock()
	if p == nil {
		return nil, fmt.Errorf("dial %s: connection refused", address)
	}
	near, far := net.Pipe()
	select {
	case p.conns <- far:
		return near, nil
	case <-p.done:
		return nil, fmt.Errorf("dial %s: connection refused", address)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

type pipes struct {
	address string
	conns   chan net.Conn
	done    chan struct{}
	once    sync.Once
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { p.once.Do(func() { close(p.done) }); return nil }
func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: p.address} }

// Arrival is a message that a receiver verified.
type Arrival struct {
	At       time.Time
	Path     string
	Header   wire.Header
	State    string            // of a heartbeat
	ID       string            // of an announcement
	Kind     wire.ShutdownKind // of an announcement
	Envelope string
}

// Mood is how a receiver misbehaves with a message; true if that was its answer.
type Mood func(w http.ResponseWriter, r *http.Request, a *wire.Answer) bool

// Receiver is a brain or Pi.
type Receiver struct {
	Key   wire.Key
	Teach wire.Answer // is added to its answers; set before the first message

	t        testing.TB
	name     string
	address  string
	mu       sync.Mutex
	mood     Mood
	arrivals []Arrival
	arrived  chan struct{}
}

// Start serves a receiver on a listener until the test ends.
func Start(t testing.TB, name string, ln net.Listener) *Receiver {
	t.Helper()
	key, err := wire.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	r := &Receiver{Key: key, t: t, name: name, address: ln.Addr().String(), arrived: make(chan struct{}, 1)}
	server := &http.Server{Handler: r}
	done := make(chan struct{})
	go func() { defer close(done); server.Serve(ln) }()
	t.Cleanup(func() { server.Close(); <-done })
	return r
}

// Loopback serves a receiver on a free port of this machine.
func Loopback(t testing.TB, name string) *Receiver {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return Start(t, name, ln)
}

// Peer is how others know the receiver.
func (r *Receiver) Peer() wire.Peer {
	return wire.Peer{Name: r.name, Address: r.address, Key: r.Key.PublicKey()}
}

// To is how a client posts to the receiver.
func (r *Receiver) To() courier.Receiver {
	return courier.Receiver{Name: r.name, URL: "http://" + r.address, Key: r.Key.PublicKey()}
}

// Arrivals is what has arrived so far at a path.
func (r *Receiver) Arrivals(path string) []Arrival {
	r.mu.Lock()
	defer r.mu.Unlock()
	var some []Arrival
	for _, a := range r.arrivals {
		if a.Path == path {
			some = append(some, a)
		}
	}
	return some
}

// Await waits until n messages have arrived at a path, 20 s at most.
func (r *Receiver) Await(path string, n int) []Arrival {
	r.t.Helper()
	deadline := time.After(20 * time.Second)
	for {
		if all := r.Arrivals(path); len(all) >= n {
			return all
		}
		select {
		case <-r.arrived:
		case <-deadline:
			r.t.Fatalf("%s: %d of %d messages at %s", r.name, len(r.Arrivals(path)), n, path)
		}
	}
}

// ServeHTTP takes a message as brain and Pi do; the sender's own key is believed.
func (r *Receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	e, raw, err := courier.Receive(w, req)
	if err != nil {
		courier.Fail(w, err)
		return
	}
	arrival := Arrival{At: time.Now(), Path: req.URL.Path, Header: e.Header, Envelope: string(raw)}
	switch req.URL.Path {
	case courier.PathHeartbeat:
		var m wire.Heartbeat
		err = courier.Decode(e, e.Signer, wire.KindHeartbeat, &m)
		arrival.State = m.State
	case courier.PathAnnounce:
		var m wire.Announcement
		err = courier.Decode(e, e.Signer, wire.KindAnnouncement, &m)
		arrival.ID, arrival.Kind = m.ID, m.Kind
	default:
		http.NotFound(w, req)
		return
	}
	if err != nil {
		courier.Fail(w, err)
		return
	}
	r.mu.Lock()
	r.arrivals = append(r.arrivals, arrival)
	mood, a, key := r.mood, r.Teach, r.Key
	r.mu.Unlock()
	select {
	case r.arrived <- struct{}{}:
	default:
	}
	a.Header = wire.Header{V: wire.Version, Node: "answerer", Boot: Boot, Seq: 1}
	a.To, a.ToBoot, a.ToSeq = e.Header.Node, e.Header.Boot, e.Header.Seq
	if mood != nil && mood(w, req, &a) {
		return
	}
	if err := courier.Reply(w, a, key); err != nil {
		r.t.Log(err)
	}
}

// SetMood changes how a running receiver behaves; nil is well.
func (r *Receiver) SetMood(mood Mood) {
	r.mu.Lock()
	r.mood = mood
	r.mu.Unlock()
}

// Hang never answers.
func Hang(_ http.ResponseWriter, r *http.Request, _ *wire.Answer) bool {
	<-r.Context().Done()
	return true
}
