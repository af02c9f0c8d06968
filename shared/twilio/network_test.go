package twilio_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sentinel.home.arpa/shared/sim/twiliosim"
	"sentinel.home.arpa/shared/twilio"
)

func TestNotSentOnlyBeforeTheRequest(t *testing.T) {
	refused := loopback(t, nil)
	silent := loopback(t, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) })
	hasty := loopback(t, func(net.Conn) {})
	// Reads the request, then hangs up: it may have been carried out.
	reader := loopback(t, func(c net.Conn) { _, _ = c.Read(make([]byte, 1<<16)) })
	untrusted := httptest.NewUnstartedServer(http.NotFoundHandler())
	untrusted.Config.ErrorLog = log.New(io.Discard, "", 0)
	untrusted.StartTLS()
	t.Cleanup(untrusted.Close)
	noName := &net.DNSError{Err: "no such host", Name: "api.twilio.com", IsNotFound: true}

	for name, tc := range map[string]struct {
		base string
		rt   http.RoundTripper
		want twilio.Class
	}{
		"refused":               {"http://" + refused, nil, twilio.NotSent},
		"certificate":           {untrusted.URL, nil, twilio.NotSent},
		"no TLS handshake":      {"https://" + silent, nil, twilio.NotSent},
		"TLS hung up":           {"https://" + hasty, nil, twilio.NotSent},
		"dial, other transport": {"", failing(&net.OpError{Op: "dial", Net: "tcp", Err: errors.New("no route")}), twilio.NotSent},
		"DNS, other transport":  {"", failing(fmt.Errorf("proxy: %w", noName)), twilio.NotSent},
		"hung up after reading": {"http://" + reader, nil, twilio.Ambiguous},
		"never answers":         {"http://" + silent, nil, twilio.Ambiguous},
		"read, other transport": {"", failing(&net.OpError{Op: "read", Net: "tcp", Err: errors.New("reset")}), twilio.Ambiguous},
		"EOF, other transport":  {"", failing(io.EOF), twilio.Ambiguous},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := clientConfig()
			cfg.BaseURL, cfg.Transport, cfg.Timeout = tc.base, tc.rt, 300*time.Millisecond
			_, err := newClient(t, cfg).Place(t.Context(), twilio.CallRequest{To: alice, TwiML: hello(t)})
			e := twilioError(t, err)
			if e.Class != tc.want || e.HTTPStatus != 0 || e.Unwrap() == nil {
				t.Errorf("%+v, want class %v", e, tc.want)
			}
		})
	}
}

// loopback serves each connection with handle and closes it then; without
// handle it returns an address where nobody listens.
func loopback(t *testing.T, handle func(net.Conn)) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := ln.Addr().String()
	if handle == nil {
		_ = ln.Close()
		return addr
	}
	var conns sync.WaitGroup
	stop, stopped := context.WithCancel(context.Background())
	conns.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			// net/http goes on with a TLS handshake that nobody waits for.
			context.AfterFunc(stop, func() { _ = c.Close() })
			conns.Go(func() { handle(c); _ = c.Close() })
		}
	})
	t.Cleanup(func() { _ = ln.Close(); stopped(); conns.Wait() })
	return addr
}

func failing(err error) roundTripper {
	return func(*http.Request) (*http.Response, error) { return nil, err }
}

// A connection kept idle may be closed under the next POST, which nobody could
// tell from a lost answer.
func TestNoConnectionIsUsedTwice(t *testing.T) {
	sim := twiliosim.New(simConfig())
	t.Cleanup(sim.Close)
	var conns atomic.Int32
	front := httptest.NewUnstartedServer(sim)
	front.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			conns.Add(1)
		}
	}
	front.Start()
	t.Cleanup(front.Close)
	cfg := clientConfig()
	cfg.BaseURL = front.URL
	c := newClient(t, cfg)
	for range 3 {
		if _, err := c.Recent(t.Context(), alice); err != nil {
			t.Fatal(err)
		}
	}
	if n := conns.Load(); n != 3 {
		t.Errorf("%d connections for 3 requests", n)
	}
}
