package courier_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sentinel.home.arpa/shared/courier"
	"sentinel.home.arpa/shared/wire"
)

// through connects to addr over a relay in memory that behaves as serve does.
func through(t *testing.T, authorise func(string) (string, error), serve func(conn net.Conn, req *http.Request)) (net.Conn, error) {
	t.Helper()
	var wg sync.WaitGroup
	t.Cleanup(wg.Wait)
	dial := func(_ context.Context, network, addr string) (net.Conn, error) {
		if network != "tcp" || addr != "pi1:7777" {
			t.Errorf("dialled %s %s", network, addr)
		}
		client, server := net.Pipe()
		wg.Go(func() {
			defer server.Close()
			req, err := http.ReadRequest(bufio.NewReader(server))
			if err == nil {
				serve(server, req)
			}
		})
		return client, nil
	}
	return courier.Through(dial, "pi1:7777", courier.ToAsk, authorise)(t.Context(), "tcp", "192.0.2.1:8006")
}

func answer(text string) func(net.Conn, *http.Request) {
	return func(c net.Conn, _ *http.Request) { _, _ = io.WriteString(c, text) }
}

func TestThroughARelay(t *testing.T) {
	conn, err := through(t, func(addr string) (string, error) { return "Sentinel for " + addr, nil }, func(c net.Conn, req *http.Request) {
		if req.Method != http.MethodConnect || req.Host != "192.0.2.1:8006" || req.Header.Get("Proxy-Authorization") != "Sentinel for 192.0.2.1:8006" {
			t.Errorf("%s %s, %v", req.Method, req.Host, req.Header)
		}
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n")
		_, _ = io.Copy(c, c) // the target echoes
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, "hello"); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 5)
	if _, err := io.ReadFull(conn, got); err != nil || string(got) != "hello" {
		t.Errorf("%q, %v", got, err)
	}
	if err := conn.Close(); err != nil {
		t.Error(err)
	}
}

// TestS4_OnlyTheRelaysWordIsEvidence: a target counts as closed only when the relay that
// is ours says so.
func TestS4_OnlyTheRelaysWordIsEvidence(t *testing.T) {
	for name, c := range map[string]struct {
		text   string
		closed bool
	}{
		"closed, says the relay":  {"HTTP/1.1 502 Bad Gateway\r\nSentinel-Target: closed\r\nContent-Length: 0\r\n\r\n", true},
		"502 of some other proxy": {"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n", false},
		"403":                     {"HTTP/1.1 403 Forbidden\r\nSentinel-Target: closed\r\nContent-Length: 0\r\n\r\n", false},
		"another word":            {"HTTP/1.1 502 Bad Gateway\r\nSentinel-Target: maybe\r\nContent-Length: 0\r\n\r\n", false},
		"no HTTP":                 {"SSH-2.0-OpenSSH_9.2\r\n", false},
		"hangs up":                {"", false},
		"an endless header":       {"HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 2<<20), false},
	} {
		t.Run(name, func(t *testing.T) {
			conn, err := through(t, nil, answer(c.text))
			if err == nil {
				_ = conn.Close()
				t.Fatal("connected")
			}
			if errors.Is(err, courier.ErrTargetClosed) != c.closed {
				t.Errorf("closed %v: %v", c.closed, err)
			}
		})
	}
}

func TestARelayThatHangsIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begun := time.Now()
		_, err := through(t, nil, func(c net.Conn, _ *http.Request) { _, _ = io.Copy(io.Discard, c) })
		if err == nil || errors.Is(err, courier.ErrTargetClosed) {
			t.Errorf("Through: %v", err)
		}
		if took := time.Since(begun); took > 5*time.Second {
			t.Errorf("given up after %s", took)
		}
	})
}

// TestARelayIsNotWaitedForByWhoHasGivenUp: another was the way meanwhile. What it answers in the same moment
// is no way either.
func TestARelayIsNotWaitedForByWhoHasGivenUp(t *testing.T) {
	for name, answers := range map[string]time.Duration{"silent": time.Minute, "answers just then": time.Second} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), time.Hour)
				defer cancel()
				time.AfterFunc(time.Second, cancel)
				client, server := net.Pipe()
				over := make(chan struct{})
				go func() {
					defer close(over)
					_, _ = http.ReadRequest(bufio.NewReader(server))
					time.AfterFunc(answers, func() { _, _ = io.WriteString(server, "HTTP/1.1 200 OK\r\n\r\n") })
					_, _ = io.Copy(io.Discard, server)
				}()
				begun := time.Now()
				dial := func(context.Context, string, string) (net.Conn, error) { return client, nil }
				conn, err := courier.Through(dial, "pi1:7777", courier.ToAsk, nil)(ctx, "tcp", "192.0.2.1:8006")
				if took := time.Since(begun); took != time.Second {
					t.Errorf("it took %s: %v", took, err)
				}
				if err == nil { // it came first, and is good
					if _, err := conn.Write([]byte("x")); err != nil {
						t.Error(err)
					}
					_ = conn.Close()
				}
				<-over // the connection is closed
				_ = server.Close()
			})
		})
	}
}

func TestNoWayToAuthorise(t *testing.T) {
	no := errors.New("no key")
	if _, err := through(t, func(string) (string, error) { return "", no }, answer("HTTP/1.1 200 OK\r\n\r\n")); !errors.Is(err, no) {
		t.Errorf("Through: %v", err)
	}
}

func TestConnectAuthorisation(t *testing.T) {
	brain, other := newKey(t), newKey(t)
	want := wire.Connect{Header: header("cloud"), Pi: "pi1", Addr: "192.0.2.1:8006"}
	sign := func(k wire.Key) string {
		t.Helper()
		text, err := courier.SignConnect(want, k)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	got, err := courier.ReadConnect(sign(brain), brain.PublicKey())
	if err != nil || *got != want {
		t.Errorf("ReadConnect = %+v, %v", got, err)
	}
	good := sign(brain)
	for name, text := range map[string]string{
		"nothing":         "",
		"another scheme":  strings.Replace(good, courier.ConnectScheme, "Basic", 1),
		"no base64":       courier.ConnectScheme + " ***",
		"no envelope":     courier.ConnectScheme + " e30=",
		"another's":       sign(other),
		"cut":             good[:len(good)-8],
		"only the scheme": courier.ConnectScheme,
	} {
		if c, err := courier.ReadConnect(text, brain.PublicKey()); err == nil {
			t.Errorf("%s passes: %+v", name, c)
		}
	}
}

func TestSayClosedIsUnderstood(t *testing.T) {
	var wg sync.WaitGroup
	defer wg.Wait()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { courier.SayClosed(w) })}
	wg.Go(func() { _ = srv.Serve(ln) })
	defer srv.Close()
	_, err = courier.Through((&net.Dialer{}).DialContext, ln.Addr().String(), courier.ToAsk, nil)(t.Context(), "tcp", "192.0.2.1:8006")
	if !errors.Is(err, courier.ErrTargetClosed) {
		t.Errorf("Through: %v", err)
	}
}
