package proxmox

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sentinel.home.arpa/shared/shutdown"
)

// resolver knows one name, until it is without power.
type resolver struct {
	ips    []string
	dark   atomic.Bool
	silent bool // in the dark it does not answer at all
}

func (r *resolver) lookup(ctx context.Context, _, host string) (ips []netip.Addr, _ error) {
	switch {
	case r.dark.Load() && r.silent:
		<-ctx.Done()
		return nil, &net.DNSError{Err: ctx.Err().Error(), Name: host, IsTimeout: true}
	case r.dark.Load() || host != "pve1.lan":
		return nil, &net.DNSError{Err: "server misbehaving", Name: host}
	}
	for _, ip := range r.ips {
		ips = append(ips, netip.MustParseAddr(ip))
	}
	return ips, nil
}

// listening is a node's API that takes connections; its port.
func listening(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	return fmt.Sprint(ln.Addr().(*net.TCPAddr).Port)
}

// TestS3_ANodeIsReachedByNameThoughNobodyResolves: the plan shuts down who resolves names before
// the nodes that are called by them. One that was never resolved is not known to be down.
func TestS3_ANodeIsReachedByNameThoughNobodyResolves(t *testing.T) {
	for name, silent := range map[string]bool{"it refuses": false, "it is silent": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			port := listening(t)
			r := &resolver{ips: []string{"127.0.0.1"}, silent: silent}
			d := &Dialer{lookup: r.lookup}
			dial := func(host string) error {
				ctx, cancel := context.WithTimeout(t.Context(), reachWithin)
				defer cancel()
				conn, err := d.DialContext(ctx, "tcp", net.JoinHostPort(host, port))
				if err == nil {
					_ = conn.Close()
				}
				return err
			}
			if err := dial("pve1.lan"); err != nil {
				t.Fatal(err)
			}
			r.dark.Store(true)
			if err := dial("pve1.lan"); err != nil {
				t.Errorf("in the dark: %v", err)
			}
			if err := dial("127.0.0.1"); err != nil {
				t.Errorf("by its address: %v", err)
			}
			var dns *net.DNSError
			if err := dial("pve2.lan"); !errors.As(err, &dns) || judgeDial(err) != Unknown {
				t.Errorf("one that was never resolved: %v", err)
			}
		})
	}
}

// TestS3_OneOfSeveralAddressesIsEnough, and the newest ones count.
func TestS3_OneOfSeveralAddressesIsEnough(t *testing.T) {
	port := listening(t)
	r := &resolver{ips: []string{"127.0.0.9", "::ffff:127.0.0.1"}}
	d := &Dialer{lookup: r.lookup}
	dial := func() error {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		conn, err := d.DialContext(ctx, "tcp", "pve1.lan:"+port)
		if err == nil {
			_ = conn.Close()
		}
		return err
	}
	if err := dial(); err != nil {
		t.Error(err)
	}
	r.ips = r.ips[:1]
	if err := dial(); judgeDial(err) != Refused {
		t.Errorf("at its new address nobody is there: %v", err)
	}
	r.dark.Store(true)
	if err := dial(); judgeDial(err) != Refused {
		t.Errorf("in the dark: %v", err)
	}
	r.dark.Store(false)
	r.ips = nil
	if _, err := (&Dialer{lookup: r.lookup}).DialContext(t.Context(), "tcp", "pve1.lan:"+port); judgeDial(err) != Unknown || err == nil {
		t.Errorf("a name without an address: %v", err)
	}
}

// TestS3_AnAddressThatMustBeResolvedIsWarnedOf, with what to write instead.
func TestS3_AnAddressThatMustBeResolvedIsWarnedOf(t *testing.T) {
	l := newLab(t, fit)
	p := l.planOf("pve1", "pve2")
	p.Nodes[0].API = "https://localhost" + p.Nodes[0].API[strings.LastIndex(p.Nodes[0].API, ":"):]
	for _, n := range p.Nodes {
		found := strings.Join(grave(found(t, shutdown.Plan{Nodes: []shutdown.Node{n}}, testSecret)), "\n")
		named := strings.Contains(found, "warning pve1: the address of pve1 is a name, localhost, ") && strings.Contains(found, "write its IP address into the plan")
		if named != (n.Name == "pve1") {
			t.Errorf("of %s: %s", n.API, found)
		}
	}
}

// TestS3_NamesAreKnownBeforeAnybodyDialsThem: whoever resolves them may be gone with the mains.
func TestS3_NamesAreKnownBeforeAnybodyDialsThem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &resolver{ips: []string{"192.0.2.1"}}
		d := &Dialer{lookup: r.lookup}
		ctx, cancel := context.WithCancel(t.Context())
		plan := atomic.Pointer[shutdown.Plan]{}
		var learns sync.WaitGroup
		learns.Go(func() { _ = d.Learn(ctx, plan.Load) })
		time.Sleep(time.Second) // nothing is there yet
		plan.Store(&shutdown.Plan{Nodes: []shutdown.Node{{API: "https://192.0.2.7:8006"}, {API: "https://pve9.lan:8006"}, {API: "https://pve1.lan:8006"}, {API: ":"}}})
		time.Sleep(learnEach)
		r.dark.Store(true)
		if ips, err := d.resolve(t.Context(), "pve1.lan"); err != nil || len(ips) != 1 || ips[0].String() != "192.0.2.1" || len(d.known) != 1 {
			t.Errorf("%v, %v, of all %v", ips, err, d.known)
		}
		cancel()
		learns.Wait()
	})
}

// TestS3_OneRunKnowsWhatAnotherResolved: and its errors say still whether a node is down.
func TestS3_OneRunKnowsWhatAnotherResolved(t *testing.T) {
	port := listening(t)
	r := &resolver{ips: []string{"127.0.0.1"}}
	d := &Dialer{lookup: r.lookup}
	look := func() (shutdown.Sight, error) {
		f, err := d.NewFleet(shutdown.Plan{Nodes: []shutdown.Node{{Name: "pve1", API: "https://pve1.lan:" + port}}}, testToken, testSecret, func(string) *time.Duration { return nil })
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		f.nodes["pve1"].timeout = 500 * time.Millisecond // nobody answers on the port
		return f.Look(t.Context(), shutdown.Target{Kind: shutdown.ProxmoxNode, Node: "pve1"})
	}
	if s, err := look(); err != nil || s.Closed {
		t.Errorf("%+v, %v", s, err)
	}
	r.dark.Store(true)
	if s, err := look(); err != nil || s.Closed {
		t.Errorf("in the dark: %+v, %v", s, err)
	}
	port = "1" // it is down
	if s, err := look(); err != nil || !s.Closed {
		t.Errorf("down in the dark: %+v, %v", s, err)
	}
}
