package lan_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"sentinel.home.arpa/pi-proxy/internal/lan"
	"sentinel.home.arpa/shared/courier"
	"sentinel.home.arpa/shared/daemon"
)

// relay is a relay that is served as the Pi serves it.
type relay struct {
	*lan.Relay
	addr string
	stop func() // the Pi stops; returns once it has
}

func newRelay(t *testing.T, allowed ...string) *relay {
	t.Helper()
	r := &relay{Relay: &lan.Relay{Log: slog.New(slog.DiscardHandler), Refused: func(string) {}, Brain: func(*http.Request) error { return nil }, Mains: func() bool { return false },
		Allowed: func(addr string) bool {
			for _, a := range allowed {
				if a == addr {
					return true
				}
			}
			return false
		},
		Dial: (&net.Dialer{}).DialContext}}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r.addr = ln.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		err := daemon.Serve(ctx, ln, r.Relay, "relay")
		r.Wait()
		done <- err
	}()
	r.stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(10 * time.Second):
			t.Error("the relay does not end")
		}
	})
	t.Cleanup(r.stop)
	return r
}

// through connects as the brain does.
func (r *relay) through(t *testing.T, addr string) (net.Conn, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	conn, err := courier.Through((&net.Dialer{}).DialContext, r.addr, courier.ToAsk, func(string) (string, error) { return "Test x", nil })(ctx, "tcp", addr)
	if err == nil {
		t.Cleanup(func() { conn.Close() })
		if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
			t.Fatal(err)
		}
	}
	return conn, err
}

// machine is a target whose connections do as they are told.
func machine(t *testing.T, serve func(net.Conn)) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { defer c.Close(); serve(c) })
		}
	})
	t.Cleanup(func() { ln.Close(); wg.Wait() })
	return ln.Addr().String()
}

func echo(c net.Conn) { _, _ = io.Copy(c, c) }

func TestConnectTunnelsBytesBothWays(t *testing.T) {
	addr := machine(t, echo)
	conn, err := newRelay(t, addr).through(t, addr)
	if err != nil {
		t.Fatal(err)
	}
	sent := make([]byte, 3<<20)
	if _, err := rand.Read(sent); err != nil {
		t.Fatal(err)
	}
	writing := make(chan error, 1)
	go func() { _, err := conn.Write(sent); writing <- err }()
	got := make([]byte, len(sent))
	if _, err := io.ReadFull(conn, got); err != nil || !bytes.Equal(got, sent) {
		t.Errorf("what comes back is another thing: %v", err)
	}
	if err := <-writing; err != nil {
		t.Error(err)
	}
}

// What the brain sends right behind its request must not be lost in a buffer.
func TestConnectKeepsWhatCameWithTheRequest(t *testing.T) {
	addr := machine(t, echo)
	conn, err := net.Dial("tcp", newRelay(t, addr).addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(conn, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n\r\nhello", addr, addr)
	r := bufio.NewReader(conn)
	resp, err := http.ReadResponse(r, &http.Request{Method: http.MethodConnect})
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("got %v, %v", resp, err)
	}
	got := make([]byte, 5)
	if _, err := io.ReadFull(r, got); err != nil || string(got) != "hello" {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestConnectEndsWithEitherEnd(t *testing.T) {
	ended := make(chan error, 2)
	addr := machine(t, func(c net.Conn) {
		line, err := bufio.NewReader(c).ReadString('\n')
		if line == "bye\n" {
			_, _ = io.WriteString(c, "the last word")
			return
		}
		ended <- err
	})
	r := newRelay(t, addr)
	conn, err := r.through(t, addr)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, "bye\n"); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(conn); err != nil || string(got) != "the last word" {
		t.Errorf("when the machine hangs up the brain reads %q, %v", got, err)
	}
	if conn, err = r.through(t, addr); err != nil {
		t.Fatal(err)
	}
	conn.Close()
	select {
	case err := <-ended:
		if !errors.Is(err, io.EOF) {
			t.Errorf("when the brain hangs up the machine reads %v", err)
		}
	case <-time.After(5 * time.Second):
		t.Error("the machine is not told that the brain hung up")
	}
}

func TestConnectEndsWhenThePiStops(t *testing.T) {
	addr := machine(t, echo)
	r := newRelay(t, addr)
	conn, err := r.through(t, addr)
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	r.stop()
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("the end took %v", took)
	}
	if n, err := conn.Read(make([]byte, 1)); err == nil {
		t.Errorf("read %d bytes after the end", n)
	}
}

func TestConnectIsForTheBrainAndThePlanAlone(t *testing.T) {
	touched := make(chan struct{}, 8)
	addr := machine(t, func(net.Conn) { touched <- struct{}{} })
	r := newRelay(t, addr)
	_, port, _ := net.SplitHostPort(addr)
	for _, other := range []string{"localhost:" + port, "127.0.0.1:22", "127.0.0.2:" + port} {
		if _, err := r.through(t, other); err == nil || !strings.Contains(err.Error(), "it answered 403") || errors.Is(err, courier.ErrTargetClosed) {
			t.Errorf("%s, which is not of the plan: %v", other, err)
		}
	}
	r.Brain = func(req *http.Request) error {
		if req.Host != addr || req.Header.Get("Proxy-Authorization") != "Test x" {
			t.Errorf("asked about %q with %q", req.Host, req.Header.Get("Proxy-Authorization"))
		}
		return errors.New("not the brain")
	}
	if _, err := r.through(t, addr); err == nil || !strings.Contains(err.Error(), "it answered 403") || errors.Is(err, courier.ErrTargetClosed) {
		t.Errorf("not the brain: %v", err)
	}
	if len(touched) > 0 {
		t.Error("the machine was connected to all the same")
	}
}

func TestS4_ConnectTellsAClosedTargetFromItsOwnTrouble(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	refusing := ln.Addr().String()
	ln.Close()
	if _, err := newRelay(t, refusing).through(t, refusing); !errors.Is(err, courier.ErrTargetClosed) {
		t.Errorf("a port that refuses: %v, want %v", err, courier.ErrTargetClosed)
	}
	op := func(err error) error { return &net.OpError{Op: "dial", Net: "tcp", Err: err} }
	for name, tc := range map[string]struct {
		err    error
		closed bool
	}{
		"refused":              {op(syscall.ECONNREFUSED), true},
		"no such host there":   {op(syscall.EHOSTUNREACH), true},
		"no answer":            {op(syscall.ETIMEDOUT), true},
		"no answer in time":    {op(context.DeadlineExceeded), true},
		"own network is gone":  {op(syscall.ENETUNREACH), false},
		"own address is gone":  {op(syscall.EADDRNOTAVAIL), false},
		"own files are out":    {op(syscall.EMFILE), false},
		"the Pi stops":         {op(context.Canceled), false},
		"unknown name":         {op(&net.DNSError{Err: "no such host", Name: "pve1", IsNotFound: true}), false},
		"resolver is silent":   {op(&net.DNSError{Err: "i/o timeout", Name: "pve1", IsTimeout: true, UnwrapErr: context.DeadlineExceeded}), false},
		"resolver is switched": {op(&net.DNSError{Err: "refused", Name: "pve1", UnwrapErr: syscall.ECONNREFUSED}), false},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRelay(t, "pve1:8006")
			r.Dial = func(context.Context, string, string) (net.Conn, error) { return nil, tc.err }
			_, err := r.through(t, "pve1:8006")
			if got := errors.Is(err, courier.ErrTargetClosed); got != tc.closed || err == nil {
				t.Errorf("got %v; closed is %v, want %v", err, got, tc.closed)
			}
			if !tc.closed && !strings.Contains(err.Error(), "it answered 503") {
				t.Errorf("got %v, want a 503", err)
			}
		})
	}
}

func TestConnectGivesUpADialThatHangs(t *testing.T) {
	r := newRelay(t, "pve1:8006")
	r.Dial = func(ctx context.Context, _, _ string) (net.Conn, error) {
		<-ctx.Done()
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: ctx.Err()}
	}
	began := time.Now()
	_, err := r.through(t, "pve1:8006")
	if took := time.Since(began); !errors.Is(err, courier.ErrTargetClosed) || took > 3900*time.Millisecond {
		t.Errorf("after %v got %v; the brain waits for 4 s", took, err)
	}
}

func TestConnectIsBounded(t *testing.T) {
	addr := machine(t, echo)
	r := newRelay(t, addr)
	var conns []net.Conn
	for i := range 64 {
		conn, err := r.through(t, addr)
		if err != nil {
			t.Fatalf("tunnel %d: %v", i, err)
		}
		conns = append(conns, conn)
	}
	if _, err := r.through(t, addr); err == nil || !strings.Contains(err.Error(), "it answered 503") {
		t.Errorf("the 65th: %v", err)
	}
	conns[7].Close()
	eventually(t, "a place is free again", func() bool {
		_, err := r.through(t, addr)
		return err == nil
	})
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(60 * time.Second); !ok(); {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("never: %s", what)
		}
	}
}

// pipes is a listener in memory.
type pipes chan net.Conn

func (p pipes) Accept() (net.Conn, error) {
	c, ok := <-p
	if !ok {
		return nil, net.ErrClosed
	}
	return c, nil
}
func (p pipes) Close() error   { return nil }
func (p pipes) Addr() net.Addr { return &net.UnixAddr{Name: "memory"} }

func TestConnectEndsAnIdleTunnel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		far, machine := net.Pipe()
		r := &lan.Relay{Log: slog.New(slog.DiscardHandler), Refused: func(string) {}, Brain: func(*http.Request) error { return nil }, Mains: func() bool { return false },
			Allowed: func(string) bool { return true },
			Dial:    func(context.Context, string, string) (net.Conn, error) { return far, nil }}
		ln, server := make(pipes), &http.Server{Handler: r, WriteTimeout: 30 * time.Second}
		go server.Serve(ln)
		near, brain := net.Pipe()
		ln <- near
		go io.Copy(machine, machine)
		fmt.Fprint(brain, "CONNECT pve1:8006 HTTP/1.1\r\nHost: pve1:8006\r\n\r\n")
		in := bufio.NewReader(brain)
		if resp, err := http.ReadResponse(in, &http.Request{Method: http.MethodConnect}); err != nil || resp.StatusCode != 200 {
			t.Fatal(resp, err)
		}
		for range 5 { // used, it lives on past the server's own deadlines
			time.Sleep(110 * time.Second)
			fmt.Fprint(brain, "x")
			if b, err := in.ReadByte(); err != nil || b != 'x' {
				t.Fatalf("read %q, %v", b, err)
			}
		}
		last := time.Now()
		if _, err := in.ReadByte(); err == nil {
			t.Error("a byte out of nothing")
		}
		if took := time.Since(last); took != 2*time.Minute {
			t.Errorf("an idle tunnel ended after %v", took)
		}
		r.Wait()
		close(ln)
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
}
