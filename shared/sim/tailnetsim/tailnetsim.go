// Package tailnetsim is a tailnet in this process: a control server, a relay and a STUN
// server, for machines of package tailnet and tsnet.
//
// It is reached only from tests and the lab, and must not import what it is there to test.
package tailnetsim

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"

	"tailscale.com/derp/derpserver"
	"tailscale.com/envknob"
	"tailscale.com/net/netns"
	"tailscale.com/net/stun"
	"tailscale.com/tailcfg"
	"tailscale.com/tstest/integration/testcontrol"
	"tailscale.com/types/key"
	"tailscale.com/types/logger"
)

// Config is how a tailnet differs from the usual.
type Config struct {
	// Listen is where its servers listen, on ports of their own: an address that all its machines reach.
	// The zero value is 127.0.0.1.
	Listen netip.Addr
	// Relay chooses the address at which a machine reaches the relay, by the name that the machine asks for; it
	// may be nil, and answer "" for the relay's own. With a forwarder there, and UDP off in the machine
	// (TS_DEBUG_ALWAYS_USE_DERP), all that it says on the tailnet passes the forwarder.
	Relay func(hostname string) string
	// Logger hears what the servers say, at level debug; nil is nobody.
	Logger *slog.Logger
}

// Tailnet is a running tailnet. It lets everybody in and grants all tags.
type Tailnet struct {
	control *testcontrol.Server
	relay   *derpserver.Server
	web     [2]*server // control and relay
	stun    net.PacketConn
	wg      sync.WaitGroup
	once    sync.Once
}

// Open starts a tailnet. For the whole process it frees the library's sockets to use loopback, keeps its logs
// at home, and takes away the variables that would fill a machine's empty settings.
//
// Start the machine first that the others will call: one that comes last costs its callers 5 s.
func Open(cfg Config) (*Tailnet, error) {
	for _, name := range []string{"TS_AUTHKEY", "TS_AUTH_KEY", "TS_CLIENT_SECRET", "TS_CONTROL_URL"} {
		if err := os.Unsetenv(name); err != nil {
			return nil, fmt.Errorf("start a tailnet: %w", err)
		}
	}
	netns.SetEnabled(false)
	envknob.SetNoLogsNoSupport()
	if !cfg.Listen.IsValid() {
		cfg.Listen = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	logf := logger.Discard
	if cfg.Logger != nil {
		logf = func(format string, args ...any) {
			cfg.Logger.Debug("tailnet", "line", strings.TrimSpace(fmt.Sprintf(format, args...)))
		}
	}
	t := &Tailnet{}
	if err := t.open(cfg, logf); err != nil {
		t.Close()
		return nil, fmt.Errorf("start a tailnet at %s: %w", cfg.Listen, err)
	}
	return t, nil
}

func (t *Tailnet) open(cfg Config, logf logger.Logf) error {
	host := cfg.Listen.String()
	udp := "udp4"
	if cfg.Listen.Is6() {
		udp = "udp6"
	}
	var err error
	if t.stun, err = net.ListenPacket(udp, net.JoinHostPort(host, "0")); err != nil {
		return err
	}
	t.wg.Go(func() { answerSTUN(t.stun) })
	t.relay = derpserver.New(key.NewNode(), logf)
	relay, err := listen(host)
	if err != nil {
		return err
	}
	t.web[1] = relay
	cert, err := certificate()
	if err != nil {
		return err
	}
	t.wg.Go(func() { relay.serve(derpserver.Handler(t.relay), &tls.Config{Certificates: cert}) })
	web, err := listen(host)
	if err != nil {
		return err
	}
	t.web[0] = web
	t.control = &testcontrol.Server{
		Logf: logf, MagicDNSDomain: "lab.ts.net", AllOnline: true, ExplicitBaseURL: "http://" + web.Addr().String(),
		DNSConfig: &tailcfg.DNSConfig{Proxied: true},
		TagOwners: map[string][]string{}, // not nil: tags are granted
		DERPMap:   derpMap(relay.Addr(), t.stun.LocalAddr().(*net.UDPAddr).Port),
	}
	if cfg.Relay != nil {
		usual := t.control.DERPMap
		t.control.DERPMap = nil // in later answers: what was said first still holds
		t.control.ModifyFirstMapResponse = func(res *tailcfg.MapResponse, req *tailcfg.MapRequest) {
			res.DERPMap = usual
			if req.Hostinfo == nil {
				return
			}
			if at, err := netip.ParseAddrPort(cfg.Relay(req.Hostinfo.Hostname)); err == nil {
				res.DERPMap = derpMap(net.TCPAddrFromAddrPort(at), t.stun.LocalAddr().(*net.UDPAddr).Port)
			}
		}
	}
	t.wg.Go(func() { web.serve(t.control, nil) })
	return nil
}

// derpMap is the one region, with its relay at an address.
func derpMap(relay net.Addr, stunPort int) *tailcfg.DERPMap {
	at := relay.(*net.TCPAddr).AddrPort()
	ip := at.Addr().Unmap()
	node := &tailcfg.DERPNode{Name: "t1", RegionID: 1, HostName: ip.String(), IPv4: ip.String(), IPv6: "none",
		InsecureForTests: true, STUNPort: stunPort, STUNTestIP: ip.String(), DERPPort: int(at.Port())}
	if ip.Is6() {
		node.IPv4, node.IPv6 = "none", ip.String()
	}
	return &tailcfg.DERPMap{Regions: map[int]*tailcfg.DERPRegion{1: {RegionID: 1, RegionCode: "t", Nodes: []*tailcfg.DERPNode{node}}}}
}

// certificate is one that nobody verifies, as InsecureForTests has it.
func certificate() ([]tls.Certificate, error) {
	s := httptest.NewUnstartedServer(nil)
	s.StartTLS()
	defer s.Close()
	if s.TLS == nil || len(s.TLS.Certificates) == 0 {
		return nil, errors.New("no certificate for the relay")
	}
	return s.TLS.Certificates, nil
}

// answerSTUN tells each asker its own address, until the socket is closed. Without it a machine needs 3 s to
// come up.
func answerSTUN(conn net.PacketConn) {
	buf := make([]byte, 1500)
	for {
		n, from, err := conn.ReadFrom(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue
		}
		id, err := stun.ParseBindingRequest(buf[:n])
		if err != nil {
			continue
		}
		at := from.(*net.UDPAddr).AddrPort()
		_, _ = conn.WriteTo(stun.Response(id, netip.AddrPortFrom(at.Addr().Unmap(), at.Port())), from) // it asks again
	}
}

// URL is the control server's.
func (t *Tailnet) URL() string { return t.control.BaseURL() }

// Control is the control server, for what an admin of the tailnet or a fault would do.
func (t *Tailnet) Control() *testcontrol.Server { return t.control }

// RelayAddr is where the relay listens.
func (t *Tailnet) RelayAddr() string { return t.web[1].Addr().String() }

// StopControl takes the control server away for good; the relay and the machines go on.
func (t *Tailnet) StopControl() { t.web[0].close() }

// Close ends the servers and waits for them. Machines that still run go on without.
func (t *Tailnet) Close() {
	t.once.Do(func() {
		for _, s := range t.web {
			if s != nil {
				s.close()
			}
		}
		if t.relay != nil {
			_ = t.relay.Close() // always nil
		}
		if t.stun != nil {
			_ = t.stun.Close() // nothing is written after it
		}
		t.wg.Wait()
	})
}

// Start starts the usual tailnet, which ends with the test.
func Start(tb testing.TB) *testcontrol.Server {
	tb.Helper()
	t, err := Open(Config{})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(t.Close)
	return t.Control()
}

// server is an HTTP server whose end takes its connections along, the hijacked ones too: both the control
// server's and the relay's are.
type server struct {
	net.Listener
	http http.Server

	mu    sync.Mutex
	conns map[net.Conn]bool
	over  bool
}

func listen(host string) (*server, error) {
	ln, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		return nil, err
	}
	return &server{Listener: ln, conns: map[net.Conn]bool{}}, nil
}

// serve answers until close. It fails only with the listener, which close ends.
func (s *server) serve(h http.Handler, secure *tls.Config) {
	s.http.Handler = h
	s.http.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug)
	var ln net.Listener = s
	if secure != nil {
		ln = tls.NewListener(s, secure)
	}
	_ = s.http.Serve(ln)
}

// Accept keeps the connection in mind.
func (s *server) Accept() (net.Conn, error) {
	c, err := s.Listener.Accept()
	if err != nil {
		return nil, err
	}
	tracked := &conn{Conn: c, server: s}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		_ = c.Close() // the end goes on
		return nil, net.ErrClosed
	}
	s.conns[tracked] = true
	return tracked, nil
}

func (s *server) close() {
	s.mu.Lock()
	s.over = true
	conns := s.conns
	s.conns = map[net.Conn]bool{}
	s.mu.Unlock()
	_ = s.http.Close() // the connections that are idle or under way
	_ = s.Listener.Close()
	for c := range conns {
		_ = c.Close() // the hijacked ones
	}
}

type conn struct {
	net.Conn
	server *server
}

func (c *conn) Close() error {
	c.server.mu.Lock()
	delete(c.server.conns, c)
	c.server.mu.Unlock()
	return c.Conn.Close()
}
