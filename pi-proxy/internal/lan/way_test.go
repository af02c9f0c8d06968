package lan_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sentinel.home.arpa/pi-proxy/internal/lan"
	"sentinel.home.arpa/shared/courier"
	"sentinel.home.arpa/shared/daemon"
	"sentinel.home.arpa/shared/proxmox"
	"sentinel.home.arpa/shared/sim/pvesim"
)

// fleet is a cluster of one node, and how the brain asks it through a relay.
type fleet struct {
	*pvesim.Cluster
	addr  string
	heard atomic.Int64 // requests that reached the node
}

func newFleet(t *testing.T) *fleet {
	t.Helper()
	f := &fleet{}
	var err error
	f.Cluster, err = pvesim.New(pvesim.Config{TokenID: "sentinel@pve!power", Secret: "sim-secret", Nodes: []pvesim.NodeConfig{{Name: "pve1"}},
		Edge: func(pvesim.Exchange) { f.heard.Add(1) }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	u, err := url.Parse(f.URL("pve1"))
	if err != nil {
		t.Fatal(err)
	}
	f.addr = u.Host
	return f
}

// by is the brain's client for the node, whose only way is through a relay.
func (f *fleet) by(t *testing.T, r *relay, pin string) *proxmox.Client {
	t.Helper()
	through := courier.Through((&net.Dialer{}).DialContext, r.addr, courier.ToShutDown, nil)
	c, err := proxmox.New(proxmox.Options{Node: "pve1", API: f.URL("pve1"), Fingerprint: pin, TokenID: "sentinel@pve!power", Secret: "sim-secret", Timeout: 2 * time.Second,
		Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
			conn, err := through(ctx, network, addr)
			if errors.Is(err, courier.ErrTargetClosed) {
				err = fmt.Errorf("%w: %w", proxmox.ErrTargetClosed, err)
			}
			return conn, err
		}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// sees demands what a look at the node shows.
func sees(t *testing.T, what string, c *proxmox.Client, want proxmox.ReachState, closed bool) {
	t.Helper()
	r, err := c.Reachable(t.Context())
	if r.State != want || r.Closed() != closed || (err != nil) != (want == proxmox.Unknown) {
		t.Errorf("%s: the node is %s (%v, %v), want %s", what, r.State, r.Err, err, want)
	}
}

// TestS8_ThePinHoldsThroughTheRelay, which cannot show another certificate than the node's.
func TestS8_ThePinHoldsThroughTheRelay(t *testing.T) {
	f, other := newFleet(t), newFleet(t)
	r := newRelay(t, f.addr)
	c := f.by(t, r, f.Fingerprint("pve1"))
	if _, err := c.Guests(t.Context()); err != nil || f.heard.Load() == 0 {
		t.Fatalf("the node's own certificate: %v", err)
	}
	r.Dial = func(ctx context.Context, network, _ string) (net.Conn, error) { // to a machine of its own
		return (&net.Dialer{}).DialContext(ctx, network, other.addr)
	}
	c = f.by(t, r, f.Fingerprint("pve1"))
	var pin *proxmox.PinError
	if err := c.ShutdownNode(t.Context()); !errors.As(err, &pin) || pin.Got != other.Fingerprint("pve1") {
		t.Errorf("another machine's certificate: %v", err)
	}
	sees(t, "another machine", c, proxmox.Open, false)
	if n := other.heard.Load(); n > 0 {
		t.Errorf("%d requests reached the other machine", n)
	}
}

// TestS4_WhatIsSeenThroughTheRelay: a node is closed only on the relay's word, whatever else
// goes wrong, and is seen again once that is over.
func TestS4_WhatIsSeenThroughTheRelay(t *testing.T) {
	f := newFleet(t)
	r := newRelay(t, f.addr)
	c := f.by(t, r, f.Fingerprint("pve1"))
	sees(t, "all well", c, proxmox.Answered, false)
	f.PowerCut("pve1")
	sees(t, "off", c, proxmox.Silent, true)
	if err := f.Start("pve1"); err != nil {
		t.Fatal(err)
	}
	sees(t, "on again", c, proxmox.Answered, false)
	if err := f.Fault("pve1", pvesim.Fault{Kind: pvesim.Mute}); err != nil {
		t.Fatal(err)
	}
	sees(t, "a node that takes connections and says nothing", c, proxmox.Open, false)
	if err := f.Fault("pve1", pvesim.Fault{}); err != nil {
		t.Fatal(err)
	}
	dial := r.Dial
	r.Dial = func(ctx context.Context, _, _ string) (net.Conn, error) { // a host that is off refuses nothing
		<-ctx.Done()
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: ctx.Err()}
	}
	sees(t, "a node that does not answer", c, proxmox.Silent, true)
	r.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
		time.Sleep(time.Second)
		return dial(ctx, network, addr)
	}
	sees(t, "a node that answers late", c, proxmox.Answered, false)
	r.Dial = dial
	sees(t, "all well again", c, proxmox.Answered, false)
	r.stop()
	sees(t, "the relay is gone", c, proxmox.Unknown, false)
}

// TestS4_ARelayThatGoesWhileANodeIsAsked says nothing of the node.
func TestS4_ARelayThatGoesWhileANodeIsAsked(t *testing.T) {
	f := newFleet(t)
	r := newRelay(t, f.addr)
	c := f.by(t, r, f.Fingerprint("pve1"))
	if err := f.Fault("pve1", pvesim.Fault{Kind: pvesim.Hang}); err != nil {
		t.Fatal(err)
	}
	told := make(chan error, 1)
	go func() { told <- c.ShutdownNode(t.Context()) }()
	eventually(t, "the node is asked", func() bool { return f.heard.Load() > 0 })
	begun := time.Now()
	r.stop()
	if err := <-told; err == nil || errors.Is(err, proxmox.ErrTargetClosed) || time.Since(begun) > 5*time.Second {
		t.Errorf("after %s: %v", time.Since(begun), err)
	}
	sees(t, "the relay is gone", c, proxmox.Unknown, false)
}

// TestR1_ThePlanOfNowDecides which addresses are let through, not that of a moment ago.
func TestR1_ThePlanOfNowDecides(t *testing.T) {
	was, is := machine(t, echo), machine(t, echo)
	r := newRelay(t)
	var plan atomic.Value
	plan.Store(was)
	r.Allowed = func(addr string) bool { return addr == plan.Load() }
	if _, err := r.through(t, was); err != nil {
		t.Fatal(err)
	}
	plan.Store(is)
	if _, err := r.through(t, was); err == nil || !strings.Contains(err.Error(), "it answered 403") {
		t.Errorf("an address that was of the plan: %v", err)
	}
	conn, err := r.through(t, is)
	if err != nil {
		t.Fatal(err)
	}
	echoes(t, conn)
}

// TestR2_AConnectThatIsHugeOrSlowIsCut before anybody is asked who is calling.
func TestR2_AConnectThatIsHugeOrSlowIsCut(t *testing.T) {
	const head = "CONNECT pve1:8006 HTTP/1.1\r\nHost: pve1:8006\r\n"
	for name, c := range map[string]struct {
		parts  []string // one each second
		answer string
	}{
		"a header of 1 MB":         {[]string{head + "Proxy-Authorization: Sentinel " + strings.Repeat("x", 1<<20) + "\r\n\r\n"}, "HTTP/1.1 431 "},
		"a target of 1 MB":         {[]string{"CONNECT " + strings.Repeat("x", 1<<20) + ":1 HTTP/1.1\r\n\r\n"}, "HTTP/1.1 431 "},
		"a header without an end":  {[]string{head}, ""},
		"a header a line a second": {append([]string{head}, strings.SplitAfter(strings.Repeat("X: y\r\n", 30), "\n")...), ""},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := &lan.Relay{Log: slog.New(slog.DiscardHandler), Refused: func(string) {}, Mains: func() bool { return false }, Allowed: func(string) bool { return true },
					Brain: func(*http.Request) error { t.Error("it was read"); return nil },
					Dial:  func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("no") }}
				ctx, cancel := context.WithCancel(t.Context())
				served := make(chan error, 1)
				ln := make(pipes)
				go func() { served <- daemon.Serve(ctx, ln, r, "relay") }()
				near, brain := net.Pipe()
				ln <- near
				var writes sync.WaitGroup
				writes.Go(func() {
					for i, p := range c.parts {
						if i > 0 {
							time.Sleep(time.Second)
						}
						if _, err := io.WriteString(brain, p); err != nil {
							return
						}
					}
				})
				begun := time.Now()
				said, _ := io.ReadAll(brain)
				if took := time.Since(begun); took > 6*time.Second || !strings.HasPrefix(string(said), c.answer) || strings.Contains(string(said), " 200 ") {
					t.Errorf("after %s it said %q", took, said)
				}
				_ = brain.Close()
				writes.Wait()
				cancel()
				close(ln)
				if err := <-served; err != nil && !errors.Is(err, net.ErrClosed) {
					t.Error(err)
				}
				r.Wait()
			})
		})
	}
}
