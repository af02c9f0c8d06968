package link

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// machine is an HTTPS server behind a glass.
func machine(t *testing.T, tap func(Hello) Tap) (*Glass, net.Listener) {
	t.Helper()
	g, err := NewGlass("pve1", "127.0.0.1:0", tap)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := g.Listen()
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %s", r.Method, body)
	}))
	s.Listener.Close()
	s.Listener = ln
	s.StartTLS()
	t.Cleanup(s.Close)
	return g, ln
}

// client is pinned to a fingerprint and notes the random of its hello.
func client(t *testing.T, fingerprint string, hello *Hello) *http.Client {
	t.Helper()
	tr := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true, VerifyConnection: func(s tls.ConnectionState) error {
		sum := sha256.Sum256(s.PeerCertificates[0].Raw)
		if got := strings.ReplaceAll(fmt.Sprintf("% X", sum[:]), " ", ":"); got != fingerprint {
			return fmt.Errorf("the certificate is %s", got)
		}
		return nil
	}}}
	tr.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := new(net.Dialer).DialContext(ctx, network, addr)
		return &noting{Conn: c, hello: hello}, err
	}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

type noting struct {
	net.Conn
	hello *Hello
	once  sync.Once
}

func (n *noting) Write(b []byte) (int, error) {
	n.once.Do(func() { *n.hello, _ = ReadHello(b) })
	return n.Conn.Write(b)
}

func TestAGlassShowsWhatPassesAndWhose(t *testing.T) {
	var mu sync.Mutex
	var seen []string
	var of Hello
	passed := make(chan struct{}, 8) // the client may have its answer before the tap hears that it passed
	note := func(way string) func([]byte) bool {
		return func(b []byte) bool {
			mu.Lock()
			defer mu.Unlock()
			line, _, _ := strings.Cut(string(b), "\r\n")
			seen = append(seen, way+line)
			return true
		}
	}
	g, ln := machine(t, func(h Hello) Tap {
		of = h
		return Tap{Up: note("> "), Down: note("< "), Passed: func() { note("passed")(nil); passed <- struct{}{} }}
	})
	var mine Hello
	resp, err := client(t, g.Fingerprint(), &mine).Post("https://"+ln.Addr().String()+"/x", "text/plain", strings.NewReader("hello"))
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(resp.Body)
	resp.Body.Close()
	if string(body) != "POST hello" {
		t.Errorf("the answer is %q", body)
	}
	select {
	case <-passed:
	case <-time.After(10 * time.Second):
		t.Error("the tap was not told that the answer passed")
	}
	mu.Lock()
	defer mu.Unlock()
	if want := "> POST /x HTTP/1.1 < HTTP/1.1 200 OK passed"; strings.Join(seen, " ") != want {
		t.Errorf("seen %q, want %q", seen, want)
	}
	if of != mine || mine == (Hello{}) {
		t.Errorf("the hello is not the client's")
	}
}

func TestAGlassHangsUpAndIsShutWithItsMachine(t *testing.T) {
	var reached bool
	g, ln := machine(t, func(Hello) Tap {
		return Tap{Up: func(b []byte) bool { return !strings.HasPrefix(string(b), "POST") }, Down: func([]byte) bool { reached = true; return true }}
	})
	var h Hello
	c := client(t, g.Fingerprint(), &h)
	if _, err := c.Post("https://"+ln.Addr().String(), "text/plain", strings.NewReader("x")); err == nil || reached {
		t.Errorf("a request that was hung up upon was answered: %v", err)
	}
	ln.Close()
	if c, err := net.Dial("tcp", ln.Addr().String()); err == nil {
		c.Close()
		t.Error("the port is open though the machine's listener is closed")
	}
}

func TestATapOnALinkHangsUpBeforeTheAnswerGoesBack(t *testing.T) {
	l, err := Open(echo(t))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var up string
	l.Watch(func() Tap {
		return Tap{Up: func(b []byte) bool { up = string(b); return true }, Down: func([]byte) bool { return false }}
	})
	c, err := net.Dial("tcp", l.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprint(c, "hello\n")
	if got, _ := io.ReadAll(c); len(got) > 0 || up != "hello\n" {
		t.Errorf("%q came back, %q went up", got, up)
	}
}
