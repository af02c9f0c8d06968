package proxmox

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"sentinel.home.arpa/shared/sim/pvesim"
)

// TestFaults_NeverSuccess: no call takes a bad answer for a success, and the
// cause is kept.
func TestFaults_NeverSuccess(t *testing.T) {
	for name, tc := range map[string]struct {
		fault  pvesim.Fault
		code   int
		reason string
	}{
		"page":           {pvesim.Fault{Kind: pvesim.HTML200}, 200, `with "text/html" instead of JSON`},
		"no connection":  {pvesim.Fault{Kind: pvesim.Status, Code: 595, Reason: "No route to host"}, 595, "No route to host"},
		"no answer":      {pvesim.Fault{Kind: pvesim.Status, Code: 596, Reason: "Connection timed out"}, 596, "Connection timed out"},
		"unauthorized":   {pvesim.Fault{Kind: pvesim.Status, Code: 401, Reason: "Authentication failed!"}, 401, "Authentication failed!"},
		"forbidden":      {pvesim.Fault{Kind: pvesim.Status, Code: 403, Reason: "Permission check failed (/nodes/pve1, Sys.PowerMgmt)"}, 403, "Permission check failed (/nodes/pve1, Sys.PowerMgmt)"},
		"not found":      {pvesim.Fault{Kind: pvesim.Status, Code: 404, Reason: "Not Found"}, 404, "Not Found"},
		"internal":       {pvesim.Fault{Kind: pvesim.Status, Code: 500, Reason: "VM 100 not running"}, 500, "VM 100 not running"},
		"no such method": {pvesim.Fault{Kind: pvesim.Status, Code: 501, Reason: "Method not implemented"}, 501, "Method not implemented"},
		"bad gateway":    {pvesim.Fault{Kind: pvesim.Status, Code: 502, Reason: "Bad Gateway"}, 502, "Bad Gateway"},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t, nil)
			c := l.client(t, "pve1")
			l.Fault("pve1", tc.fault)
			for call, err := range allCalls(t.Context(), c) {
				var e *Error
				if !errors.As(err, &e) || e.Code != tc.code || e.Reason != tc.reason {
					t.Errorf("%s: %v", call, err)
				}
			}
			if !l.NodeUp("pve1") {
				t.Error("the node went down")
			}
		})
	}
}

// TestS4_AYesThatBreaksOffWasTaken: what the machine had begun to say yes to it does; of a refusal, or no answer at all,
// nothing is known.
func TestS4_AYesThatBreaksOffWasTaken(t *testing.T) {
	for kind, want := range map[pvesim.FaultKind]bool{pvesim.Cut: true, pvesim.HTML200: false, pvesim.Hang: false} {
		l := newLab(t, nil)
		c := l.client(t, "pve1")
		l.Fault("pve1", pvesim.Fault{Kind: kind})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		var yes interface{ BeganYes() bool }
		if err := c.ShutdownNode(ctx); err == nil || errors.As(err, &yes) != want {
			t.Errorf("%s: %v", kind, err)
		}
		cancel()
	}
}

// allCalls makes each call once and returns the errors.
func allCalls(ctx context.Context, c *Client) map[string]error {
	g := Guest{Node: c.node, VMID: 100, Type: QEMU}
	errs := map[string]error{"shutdown node": c.ShutdownNode(ctx)}
	_, errs["guests"] = c.Guests(ctx)
	_, errs["running"] = c.GuestRunning(ctx, g)
	_, errs["shutdown guest"] = c.ShutdownGuest(ctx, g, time.Minute)
	_, errs["stop guest"] = c.StopGuest(ctx, g)
	_, errs["start guest"] = c.StartGuest(ctx, g)
	_, errs["task"] = c.TaskStatus(ctx, "UPID:"+c.node+":000003E9:0000000A:6700AB00:qmstop:100:a@b!c:")
	return errs
}

func TestRealRefusals(t *testing.T) {
	l := newLab(t, func(cfg *pvesim.Config) { cfg.Missing = []string{"Sys.PowerMgmt"} })
	err := l.client(t, "pve1").ShutdownNode(t.Context())
	var e *Error
	if !errors.As(err, &e) || e.Code != 403 || e.Reason != "Permission check failed (/nodes/pve1, Sys.PowerMgmt)" {
		t.Errorf("got %v", err)
	}
	o := l.options("pve1")
	o.Secret = "wrong-secret"
	err = clientFor(t, o).ShutdownNode(t.Context())
	if !errors.As(err, &e) || e.Code != 401 || strings.Contains(err.Error(), "wrong-secret") {
		t.Errorf("got %v", err)
	}
	// 400 names the parameter.
	c := l.client(t, "pve1")
	_, err = c.post(t.Context(), "/nodes/pve1/qemu/100/status/shutdown", map[string]any{"timeout": -1})
	if !errors.As(err, &e) || e.Code != 400 || e.Fields["timeout"] != "value must have a minimum value of 0" {
		t.Errorf("got %v, %+v", err, e)
	}
}

func TestHang_ObeysContextAndTimeout(t *testing.T) {
	l := newLab(t, nil)
	l.Fault("pve1", pvesim.Fault{Kind: pvesim.Hang})
	o := l.options("pve1")
	o.Timeout = 50 * time.Millisecond
	begin := time.Now()
	if err := clientFor(t, o).ShutdownNode(t.Context()); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	time.AfterFunc(50*time.Millisecond, func() { cancel(nil) })
	if err := l.client(t, "pve1").ShutdownNode(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if took := time.Since(begin); took > 3*time.Second {
		t.Errorf("took %s", took)
	}
}

func TestRedirect_IsNotFollowed(t *testing.T) {
	var leaked atomic.Int64
	other := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { leaked.Add(1) }))
	defer other.Close()
	for _, code := range []int{301, 302, 303, 307, 308} {
		o, _ := fakeAPI(t, func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, other.URL+r.URL.Path, code)
		})
		err := clientFor(t, o).ShutdownNode(t.Context())
		var e *Error
		if !errors.As(err, &e) || e.Code != code {
			t.Errorf("%d: got %v", code, err)
		}
	}
	if n := leaked.Load(); n != 0 {
		t.Errorf("%d requests went to the other server", n)
	}
}

func TestBadBodies(t *testing.T) {
	answer := func(ctype, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", ctype)
			_, _ = io.WriteString(w, body)
		}
	}
	for name, h := range map[string]http.HandlerFunc{
		"empty":      answer("application/json", ""),
		"null":       answer("application/json", "null"),
		"list":       answer("application/json", "[]"),
		"no data":    answer("application/json", `{"errors":{}}`),
		"half":       answer("application/json", `{"data":`),
		"two":        answer("application/json", `{"data":null}{"data":null}`),
		"wrong type": answer("text/plain", `{"data":null}`),
		"no content": func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(204) },
		"oversize":   answer("application/json", `{"data":"`+strings.Repeat("x", maxAnswer)+`"}`),
		"broken off": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "100")
			answer("application/json", `{"data":null}`)(w, r)
		},
		"echo secret": func(w http.ResponseWriter, r *http.Request) { http.Error(w, r.Header.Get("Authorization"), 500) },
	} {
		t.Run(name, func(t *testing.T) {
			o, _ := fakeAPI(t, h)
			err := clientFor(t, o).ShutdownNode(t.Context())
			if err == nil {
				t.Fatal("taken for a success")
			}
			var e *Error
			if errors.As(err, &e) && len(e.Body) > maxErrorBody {
				t.Errorf("%d bytes of body are kept", len(e.Body))
			}
			if strings.Contains(fmt.Sprintf("%v %+v %#v", err, e, e), testSecret) {
				t.Errorf("the secret shows: %v", err)
			}
		})
	}
	// Proxmox's null is no task.
	o, _ := fakeAPI(t, answer("application/json;charset=UTF-8", `{"data":null}`))
	c := clientFor(t, o)
	if err := c.ShutdownNode(t.Context()); err != nil {
		t.Errorf("null is what a node's shutdown answers: %v", err)
	}
	for call, err := range allCalls(t.Context(), c) {
		if (err == nil) != (call == "shutdown node") {
			t.Errorf("%s: %v", call, err)
		}
	}
}

func TestS8_WrongFingerprintIsRefusedBeforeTheRequest(t *testing.T) {
	l := newLab(t, nil)
	o := l.options("pve1")
	o.Fingerprint = l.Fingerprint("pve2")
	err := clientFor(t, o).ShutdownNode(t.Context())
	var pin *PinError
	if !errors.As(err, &pin) || pin.Got != l.Fingerprint("pve1") || pin.Want != l.Fingerprint("pve2") {
		t.Fatalf("got %v", err)
	}
	if n := len(l.requests()); n != 0 {
		t.Errorf("%d requests arrived", n)
	}
}

func TestS8_WithoutFingerprintTheCADecides(t *testing.T) {
	l := newLab(t, nil)
	o := l.options("pve1")
	o.Fingerprint = ""
	var unknown x509.UnknownAuthorityError
	if err := clientFor(t, o).ShutdownNode(t.Context()); !errors.As(err, &unknown) {
		t.Errorf("got %v", err)
	}
	if n := len(l.requests()); n != 0 {
		t.Errorf("%d requests arrived", n)
	}
	roots := x509.NewCertPool()
	roots.AddCert(l.Certificate("pve1"))
	c, err := newClient(o, roots)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Guests(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestS4_Reachable(t *testing.T) {
	l := newLab(t, nil)
	c := l.client(t, "pve1")
	check := func(name string, c *Client, want ReachState, closed bool) {
		t.Helper()
		r, err := c.Reachable(t.Context())
		if r.State != want || r.Closed() != closed || (err != nil) != (want == Unknown) {
			t.Errorf("%s: %s, %v, %v", name, r.State, r.Err, err)
		}
	}
	check("up", c, Answered, false)
	l.Fault("pve1", pvesim.Fault{Kind: pvesim.Status, Code: 500, Reason: "no"})
	check("error", c, Answered, false)
	l.Fault("pve1", pvesim.Fault{Kind: pvesim.Hang})
	o := l.options("pve1")
	o.Timeout = 100 * time.Millisecond
	check("hang", clientFor(t, o), Open, false)
	o = l.options("pve1")
	o.Fingerprint = l.Fingerprint("pve2")
	check("wrong certificate", clientFor(t, o), Open, false)

	l.PowerCut("pve1")
	check("off", c, Refused, true)

	o = l.options("pve1")
	for name, tc := range map[string]struct {
		err    error
		want   ReachState
		closed bool
	}{
		"relay gone":     {&net.OpError{Op: "dial", Err: errors.New("connection refused")}, Unknown, false},
		"relay says off": {fmt.Errorf("relay: 504: %w", ErrTargetClosed), Silent, true},
	} {
		o.Dial = func(context.Context, string, string) (net.Conn, error) { return nil, tc.err }
		check(name, clientFor(t, o), tc.want, tc.closed)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if r, err := c.Reachable(ctx); err == nil || r.Closed() {
		t.Errorf("cancelled: %+v, %v", r, err)
	}
}

func TestS4_JudgeDial(t *testing.T) {
	for name, tc := range judgements() {
		if got := judgeDial(&net.OpError{Op: "dial", Net: "tcp", Err: tc.err}); got != tc.want {
			t.Errorf("%s: %s, want %s", name, got, tc.want)
		}
	}
}
