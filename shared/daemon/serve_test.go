package daemon

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// pipes is a listener in memory, for synctest bubbles.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func newPipes() *pipes { return &pipes{conns: make(chan net.Conn), done: make(chan struct{})} }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { p.once.Do(func() { close(p.done) }); return nil }
func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipes"} }

func (p *pipes) client() *http.Client {
	return &http.Client{Transport: &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
		near, far := net.Pipe()
		select {
		case p.conns <- far:
			return near, nil
		case <-p.done:
			return nil, net.ErrClosed
		}
	}}}
}

func TestServeAnswersAndEnds(t *testing.T) {
	for _, c := range []struct {
		name      string
		handler   time.Duration // how long it takes
		took      time.Duration // how long Serve takes to end
		delivered bool
	}{
		{"in time", time.Second, time.Second, true},
		{"too slow", time.Hour, shutdownGrace, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				ln := newPipes()
				cut := false
				handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					select {
					case <-time.After(c.handler):
						io.WriteString(w, "hello")
					case <-r.Context().Done():
						cut = true
					}
				})
				served := make(chan error, 1)
				go func() { served <- Serve(ctx, ln, handler, "test") }()
				client := ln.client()
				defer client.CloseIdleConnections()
				got := make(chan error, 1)
				go func() {
					resp, err := client.Get("http://test/")
					if err == nil {
						_, err = io.ReadAll(resp.Body)
						resp.Body.Close()
					}
					got <- err
				}()
				synctest.Wait()
				start := time.Now()
				cancel()
				if err := <-served; err != nil {
					t.Error(err)
				}
				// net/http looks for idle connections in steps of up to 0.5 s.
				if took := time.Since(start); took < c.took || took > c.took+time.Second {
					t.Errorf("ended after %v, want %v", took, c.took)
				}
				if err := <-got; (err == nil) != c.delivered {
					t.Errorf("client got %v", err)
				}
				synctest.Wait()
				if cut == c.delivered {
					t.Errorf("handler cut: %v", cut)
				}
			})
		})
	}
}

// TestR2_SlowHeadersAreCut: a client that sends its header too slowly holds no connection.
func TestR2_SlowHeadersAreCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		ln := newPipes()
		served := make(chan error, 1)
		go func() { served <- Serve(ctx, ln, http.NotFoundHandler(), "test") }()
		near, far := net.Pipe()
		ln.conns <- far
		if _, err := io.WriteString(near, "GET / HTTP/1.1\r\nHost: x\r\n"); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		if _, err := io.Copy(io.Discard, near); err != nil {
			t.Error(err)
		}
		if took := time.Since(start); took > 6*time.Second {
			t.Errorf("cut after %v", took)
		}
		near.Close()
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
}

func TestServeReportsALostListener(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln.Close()
	if err := Serve(t.Context(), ln, http.NotFoundHandler(), "api"); !errors.Is(err, net.ErrClosed) {
		t.Errorf("got %v", err)
	}
}
