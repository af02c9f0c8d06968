package courier_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/iotest"
	"time"
	"unicode/utf8"

	"sentinel.home.arpa/shared/courier"
	"sentinel.home.arpa/shared/wire"
)

const boot = "0f8fad5b-d9cb-469f-a165-70867728950e"

func newKey(t *testing.T) wire.Key {
	t.Helper()
	k, err := wire.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func header(node string) wire.Header {
	return wire.Header{V: wire.Version, Site: "home", Node: node, Boot: boot, Seq: 7}
}

func seal(t *testing.T, kind wire.Kind, m any, k wire.Key) []byte {
	t.Helper()
	data, err := wire.Seal(kind, m, k)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// post sends a heartbeat of pve1 to a server.
func post(t *testing.T, h http.Handler, key wire.PublicKey, within time.Duration) (*wire.Answer, error) {
	t.Helper()
	srv := httptest.NewServer(h)
	defer srv.Close()
	c := courier.NewClient(nil)
	defer c.Close()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	data := seal(t, wire.KindHeartbeat, wire.Heartbeat{Header: header("pve1")}, newKey(t))
	return c.Post(ctx, courier.Receiver{Name: "cloud", URL: srv.URL, Key: key}, courier.PathHeartbeat, header("pve1"), data)
}

// answerTo is the answer to a request of that header.
func answerTo(h wire.Header) wire.Answer {
	return wire.Answer{Header: header("cloud"), To: h.Node, ToBoot: h.Boot, ToSeq: h.Seq}
}

func reply(t *testing.T, a wire.Answer, k wire.Key) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if err := courier.Reply(w, a, k); err != nil {
			t.Errorf("Reply: %v", err)
		}
	}
}

func TestPostIsAnswered(t *testing.T) {
	brain, node := newKey(t), newKey(t)
	data := seal(t, wire.KindHeartbeat, wire.Heartbeat{Header: header("pve1"), State: "running"}, node)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost || r.URL.Path != courier.PathHeartbeat || r.Header.Get("Idempotency-Key") != boot+"-7" {
			t.Errorf("%s %s, key %q", r.Method, r.URL, r.Header.Get("Idempotency-Key"))
		}
		e, raw, err := courier.Receive(w, r)
		if err != nil || string(raw) != string(data) {
			t.Errorf("Receive: %v", err)
			return
		}
		var m wire.Heartbeat
		if err := courier.Decode(e, node.PublicKey(), wire.KindHeartbeat, &m); err != nil || m.State != "running" {
			t.Errorf("Decode: %+v, %v", m, err)
		}
		reply(t, answerTo(m.Header), brain)(w, r)
	}))
	defer srv.Close()
	c := courier.NewClient(nil)
	defer c.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for _, key := range []wire.PublicKey{brain.PublicKey(), ""} {
		a, err := c.Post(ctx, courier.Receiver{Name: "cloud", URL: srv.URL, Key: key}, courier.PathHeartbeat, header("pve1"), data)
		if err != nil || a.Node != "cloud" || a.To != "pve1" {
			t.Errorf("with key %q: %+v, %v", key, a, err)
		}
	}
}

// TestA2_AnswersThatAreNone: none of them passes, none is a refusal, and posting again is
// what remains.
func TestA2_AnswersThatAreNone(t *testing.T) {
	brain, other := newKey(t), newKey(t)
	mine := answerTo(header("pve1"))
	later, elsewhere := mine, mine
	later.ToSeq = 6
	elsewhere.To = "pve2"
	raw := func(data []byte) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write(data) }
	}
	status := func(code int) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(code) }
	}
	for name, h := range map[string]http.HandlerFunc{
		"signed by another":         reply(t, mine, other),
		"to an older request":       reply(t, later, brain),
		"to another's request":      reply(t, elsewhere, brain),
		"nothing":                   raw(nil),
		"no envelope":               raw([]byte("<html>welcome to the hotel</html>")),
		"another kind":              raw(seal(t, wire.KindHeartbeat, wire.Heartbeat{Header: header("cloud")}, brain)),
		"oversize":                  raw([]byte(strings.Repeat("x", 10<<20))),
		"oversize behind an answer": raw([]byte(string(seal(t, wire.KindAnswer, mine, brain)) + strings.Repeat(" ", wire.MaxEnvelope))),
		"500":                       status(http.StatusInternalServerError),
		"502":                       status(http.StatusBadGateway),
		"503":                       status(http.StatusServiceUnavailable),
		"429":                       status(http.StatusTooManyRequests),
		"408: it did not arrive":    status(http.StatusRequestTimeout),
		"204":                       status(http.StatusNoContent),
		"302 of a captive portal":   http.RedirectHandler("http://portal.example/", http.StatusFound).ServeHTTP,
		"600":                       status(600),
		"cut in the middle":         cut(seal(t, wire.KindAnswer, mine, brain)),
		"hangs up":                  func(w http.ResponseWriter, r *http.Request) { panic(http.ErrAbortHandler) },
	} {
		t.Run(name, func(t *testing.T) {
			a, err := post(t, h, brain.PublicKey(), 10*time.Second)
			var refusal *courier.Refusal
			if err == nil || errors.As(err, &refusal) {
				t.Errorf("Post = %+v, %v", a, err)
			}
			if err != nil && !strings.Contains(err.Error(), "cloud") {
				t.Errorf("the error does not say to whom: %v", err)
			}
		})
	}
}

// cut promises more than it sends.
func cut(data []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "5000")
		_, _ = w.Write(data[:len(data)/2])
		panic(http.ErrAbortHandler)
	}
}

func TestRefusals(t *testing.T) {
	for name, c := range map[string]struct {
		h      http.HandlerFunc
		status int
		text   string
	}{
		"with a hint": {func(w http.ResponseWriter, r *http.Request) {
			courier.Fail(w, &courier.Fault{Status: http.StatusForbidden, Reason: "unknown", Err: errors.New("pve1 is not known"), Hint: "approve it"})
		}, 403, "refused with 403: pve1 is not known; approve it"},
		"of somebody else": {http.NotFound, 404, "refused with 404: Not Found"},
		"without a word":   {func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusConflict) }, 409, "refused with 409: Conflict"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := post(t, c.h, "", 10*time.Second)
			var r *courier.Refusal
			if !errors.As(err, &r) || r.Status != c.status || r.Error() != c.text {
				t.Errorf("Post: %v", err)
			}
		})
	}
}

// TestR2_ARefusalsWordsAreBounded: nobody has signed them, and they are logged.
func TestR2_ARefusalsWordsAreBounded(t *testing.T) {
	long := strings.Repeat("ä", 10<<10)
	_, err := post(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		courier.Fail(w, &courier.Fault{Status: http.StatusForbidden, Err: errors.New("a\n\x1b[31mb\x00\u2028" + long), Hint: long})
	}), "", 10*time.Second)
	var r *courier.Refusal
	if !errors.As(err, &r) {
		t.Fatalf("Post: %v", err)
	}
	if want := "a[31mbä"; !strings.HasPrefix(r.Reason, want) || len(r.Reason) > 300 || len(r.Hint) > 300 || !utf8.ValidString(r.Hint) || !utf8.ValidString(r.Reason) {
		t.Errorf("%d and %d bytes: %q", len(r.Reason), len(r.Hint), r.Reason)
	}
}

// TestR2_GarbageIsNotLoggedWhole, though the error quotes it.
func TestR2_GarbageIsNotLoggedWhole(t *testing.T) {
	garbage := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		_, _ = io.WriteString(conn, strings.Repeat("\x00\xff", 2000)+"\r\n\r\n")
	})
	if _, err := post(t, garbage, "", 10*time.Second); err == nil || len(err.Error()) > 350 || !strings.Contains(err.Error(), "malformed HTTP") {
		t.Errorf("%.600v", err)
	}
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	followed := make(chan string, 1)
	trap := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { followed <- r.Method }))
	defer trap.Close()
	for _, code := range []int{301, 302, 303, 307, 308} {
		_, err := post(t, http.RedirectHandler(trap.URL, code), "", 10*time.Second)
		if err == nil {
			t.Errorf("%d passes for an answer", code)
		}
	}
	select {
	case m := <-followed:
		t.Errorf("followed with %s", m)
	default:
	}
}

func TestPostKeepsItsDeadline(t *testing.T) {
	for name, h := range map[string]http.HandlerFunc{
		"no answer": func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body) // only then does the server see who hangs up
			<-r.Context().Done()
		},
		"a body that trickles": func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			for r.Context().Err() == nil {
				_, _ = io.WriteString(w, " ")
				_ = http.NewResponseController(w).Flush()
				select {
				case <-r.Context().Done():
				case <-time.After(10 * time.Millisecond):
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			begun := time.Now()
			_, err := post(t, h, "", 200*time.Millisecond)
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("Post: %v", err)
			}
			if took := time.Since(begun); took > 5*time.Second {
				t.Errorf("it took %s", took)
			}
		})
	}
}

// receive serves one request and gives the fault, with what the client saw.
func receive(t *testing.T, send func(url string) (*http.Response, error)) (*courier.Fault, *http.Response, courier.ErrorBody) {
	t.Helper()
	faults := make(chan error, 1)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _, err := courier.Receive(w, r)
		faults <- err
		if err != nil {
			courier.Fail(w, err)
		}
	}))
	defer srv.Close()
	resp, err := send(srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var body courier.ErrorBody
	if err := json.NewDecoder(resp.Body).Decode(&body); err != nil && resp.StatusCode != http.StatusOK {
		t.Errorf("the error is no JSON: %v", err)
	}
	var f *courier.Fault
	errors.As(<-faults, &f)
	return f, resp, body
}

func TestR2_Receive(t *testing.T) {
	good := string(seal(t, wire.KindHeartbeat, wire.Heartbeat{Header: header("pve1")}, newKey(t)))
	for name, c := range map[string]struct {
		body   string
		status int
		reason string
	}{
		"a message":         {good, 200, ""},
		"nothing":           {"", 400, "malformed"},
		"no envelope":       {"{}", 400, "malformed"},
		"truncated":         {good[:100], 400, "malformed"},
		"just at the limit": {good + strings.Repeat(" ", wire.MaxEnvelope-len(good)), 200, ""},
		"over it":           {good + strings.Repeat(" ", wire.MaxEnvelope-len(good)+1), 413, "too-large"},
		"huge":              {strings.Repeat("x", 4<<20), 413, "too-large"},
	} {
		t.Run(name, func(t *testing.T) {
			f, resp, body := receive(t, func(url string) (*http.Response, error) {
				return http.Post(url, "application/json", strings.NewReader(c.body))
			})
			if resp.StatusCode != c.status {
				t.Errorf("status %d", resp.StatusCode)
			}
			if c.reason == "" && f != nil || c.reason != "" && (f == nil || f.Reason != c.reason || body.Error == "") {
				t.Errorf("fault %+v, body %+v", f, body)
			}
		})
	}
}

func TestR2_AMessageThatDoesNotArriveWhole(t *testing.T) {
	r := httptest.NewRequest(http.MethodPost, courier.PathUPS, iotest.ErrReader(io.ErrUnexpectedEOF))
	var f *courier.Fault
	if _, _, err := courier.Receive(httptest.NewRecorder(), r); !errors.As(err, &f) || f.Status != http.StatusRequestTimeout || f.Reason != "slow" {
		t.Errorf("Receive: %v", err)
	}
}

func TestDecodeFaults(t *testing.T) {
	k, other := newKey(t), newKey(t)
	e, err := wire.Read(seal(t, wire.KindHeartbeat, wire.Heartbeat{Header: header("pve1")}, k))
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		key    wire.PublicKey
		kind   wire.Kind
		into   wire.Message
		status int
		reason string
	}{
		"another key":  {other.PublicKey(), wire.KindHeartbeat, &wire.Heartbeat{}, 403, "forged"},
		"another kind": {k.PublicKey(), wire.KindUPS, &wire.UPSReport{}, 400, "malformed"},
	} {
		t.Run(name, func(t *testing.T) {
			var f *courier.Fault
			if err := courier.Decode(e, c.key, c.kind, c.into); !errors.As(err, &f) || f.Status != c.status || f.Reason != c.reason {
				t.Errorf("Decode: %+v", err)
			}
		})
	}
}

func TestFailTellsOneClearError(t *testing.T) {
	for name, c := range map[string]struct {
		err    error
		status int
		reason string
	}{
		"a fault":       {&courier.Fault{Status: 409, Reason: "repeated", Err: errors.New("again"), Hint: "send it anew"}, 409, "repeated"},
		"anything else": {errors.New("disk full"), 500, "internal"},
	} {
		t.Run(name, func(t *testing.T) {
			w := httptest.NewRecorder()
			if got := courier.Fail(w, c.err); got != c.reason || w.Code != c.status {
				t.Errorf("Fail = %q, status %d", got, w.Code)
			}
			var body courier.ErrorBody
			if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil || body.Error != c.err.Error() {
				t.Errorf("body %q: %v", w.Body, err)
			}
		})
	}
}
