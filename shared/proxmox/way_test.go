package proxmox

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sentinel.home.arpa/shared/sim/pvesim"
)

// TestS4_AWayThatHungIsFreeAgainSoon: what was dialled while it hung, and would be for
// minutes, must not be in the way of what is asked once it is whole.
func TestS4_AWayThatHungIsFreeAgainSoon(t *testing.T) {
	l := newLab(t, nil)
	o := l.options("pve1")
	o.Timeout = 300 * time.Millisecond
	var hangs atomic.Bool
	hangs.Store(true)
	var begun, ended sync.WaitGroup
	over := make(chan struct{}) // a network gives up at last
	o.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
		if !hangs.Load() {
			return new(net.Dialer).DialContext(ctx, network, addr)
		}
		ended.Add(1)
		defer ended.Done()
		select {
		case <-ctx.Done():
		case <-over:
		}
		return nil, errors.New("no answer")
	}
	c := clientFor(t, o)
	for range 8 {
		begun.Go(func() { _, _ = c.Guests(t.Context()) }) // they fail, which is not the question
	}
	begun.Wait()
	hangs.Store(false)
	defer ended.Wait()
	defer close(over)
	eventually(t, "the node is asked again", func() bool { _, err := c.Guests(t.Context()); return err == nil })
}

// TestS4_WhoTakesTheConnectionAndSaysNothingIsNotDown: neither a node, nor a relay that says
// that it is through and then nothing.
func TestS4_WhoTakesTheConnectionAndSaysNothingIsNotDown(t *testing.T) {
	l := newLab(t, nil)
	if err := l.Fault("pve1", pvesim.Fault{Kind: pvesim.Mute}); err != nil {
		t.Fatal(err)
	}
	o := l.options("pve1")
	o.Timeout = 300 * time.Millisecond
	c := clientFor(t, o)
	if r, err := c.Reachable(t.Context()); err != nil || r.State != Open || r.Closed() {
		t.Errorf("%s, %v", r.State, err)
	}
	if err := c.ShutdownNode(t.Context()); err == nil {
		t.Error("it was told")
	}
}

// TestS8_WhoeverIsInTheWayIsRefused: one who ends the TLS himself, with a certificate of his
// own or with the node's and no key for it, learns neither the token nor what is asked.
func TestS8_WhoeverIsInTheWayIsRefused(t *testing.T) {
	l := newLab(t, nil)
	var heard atomic.Int64
	own := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		heard.Add(1)
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"data":[]}`))
	}))
	own.Config.ErrorLog = log.New(io.Discard, "", 0)
	own.StartTLS()
	defer own.Close()
	stolen := httptest.NewUnstartedServer(own.Config.Handler)
	stolen.Config.ErrorLog = own.Config.ErrorLog
	stolen.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{l.Certificate("pve1").Raw}, PrivateKey: own.TLS.Certificates[0].PrivateKey}}}
	stolen.StartTLS()
	defer stolen.Close()
	for name, who := range map[string]*httptest.Server{"a certificate of his own": own, "the node's certificate without its key": stolen} {
		o := l.options("pve1")
		o.Dial = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", who.Listener.Addr().String())
		}
		c := clientFor(t, o)
		_, err := c.Guests(t.Context())
		var pin *PinError
		if err == nil || errors.As(err, &pin) != (who == own) {
			t.Errorf("%s: %v", name, err)
		}
		if err := c.ShutdownNode(t.Context()); err == nil {
			t.Errorf("%s: it was told to shut down", name)
		}
		if r, err := c.Reachable(t.Context()); err != nil || r.Closed() {
			t.Errorf("%s: the node counts as down: %s, %v", name, r.State, err)
		}
	}
	if n := heard.Load(); n > 0 {
		t.Errorf("%d requests reached him", n)
	}
}
