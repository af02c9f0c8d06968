package brain

import (
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"sentinel.home.arpa/cloud/internal/web"
	"sentinel.home.arpa/shared/config"
	"sentinel.home.arpa/shared/sim/twiliosim"
)

func (h *home) lastTest() web.Test {
	h.Helper()
	tests := h.view().Tests
	if len(tests) == 0 {
		h.Fatal("there is no test call")
	}
	return tests[len(tests)-1]
}

// TestC7_ATestCall rings the phone, says that it is a test, and what became of it is told; it
// opens nothing, and comes once a minute at most.
func TestC7_ATestCall(t *testing.T) {
	in(t, nil, func(h *home) {
		ask := func(contact string, code int, says string) {
			h.Helper()
			got, text := h.request(http.MethodPost, "/api/v1/test/call"+contact, nil, nil)
			if got != code || !strings.Contains(text, says) {
				h.Errorf("test call %s: HTTP %d %s, not %d %q", contact, got, text, code, says)
			}
		}
		ask("", 400, "say whom to call")
		ask("?contact=Bob", 404, "known are Alex, Sam")
		ask("?contact=Alex&contact=Sam", 400, "given 2 times")
		ask("?contact=Alex", 200, `{"call":"test-Alex-`)
		rest(time.Second)
		ask("?contact=Alex", 429, "is under way")
		rest(10 * time.Second)
		got := h.lastTest()
		if !got.Over || !got.Delivered || got.Contact != "Alex" || got.By != "the operator" {
			t.Errorf("the test call %+v", got)
		}
		if call := h.calls(1)[0]; call.To != alex || !strings.Contains(call.Text, "Hello Alex. This is your home sentinel. This is a test: nothing has happened.") {
			t.Errorf("called %s: %q", call.To, call.Text)
		}
		ask("?contact=Sam", 429, "once a minute at most")
		rest(time.Minute)
		h.x.Behave(sam, twiliosim.Refuse{Code: 21219})
		ask("?contact=Sam", 200, `{"call":"test-Sam-`)
		rest(3 * time.Second)
		if got := h.lastTest(); got.Delivered || !strings.Contains(got.Advice, "verify this number") {
			t.Errorf("the refused test call %+v", got)
		}
		if v := h.view(); len(v.Incidents) > 0 {
			t.Errorf("incidents %+v", v.Incidents)
		}
		rest(time.Minute)
		h.x.Behave(alex, twiliosim.NoAnswer{})
		ask("?contact=Alex", 200, `{"call":"test-Alex-`)
		rest(40 * time.Second)
		if got := h.lastTest(); !got.Over || got.Delivered || got.Outcome != "no-answer" {
			t.Errorf("the test call that nobody took: %+v", got)
		}
		rest(30 * time.Second)
		ask("?contact=Alex", 429, "Alex was called twice about other things")
	})
}

// TestC4_ATestCallOverARestart is placed once, and known by the next process.
func TestC4_ATestCallOverARestart(t *testing.T) {
	in(t, nil, func(h *home) {
		h.x.Behave(alex, twiliosim.Answer{After: 20 * time.Second, TalkFor: 20 * time.Second})
		h.request(http.MethodPost, "/api/v1/test/call?contact=Alex", nil, nil)
		rest(5 * time.Second)
		h.crash(time.Second)
		rest(time.Minute)
		h.calls(1)
		if got := h.lastTest(); !got.Over || !got.Delivered {
			t.Errorf("the test call %+v", got)
		}
	})
}

// watcher is who is told that the brain lives.
type watcher struct {
	mu    sync.Mutex
	asked []string
	says  int // 0: no connection comes about
	hangs bool
}

// RoundTrip implements http.RoundTripper.
func (w *watcher) RoundTrip(r *http.Request) (*http.Response, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.asked = append(w.asked, r.Method+" "+r.URL.String())
	switch {
	case w.hangs:
		w.mu.Unlock()
		<-r.Context().Done()
		w.mu.Lock()
		return nil, r.Context().Err()
	case w.says == 0:
		return nil, errors.New("dial " + r.URL.String())
	}
	return &http.Response{StatusCode: w.says, Header: http.Header{}, Body: io.NopCloser(strings.NewReader("OK")), Request: r}, nil
}

func (w *watcher) set(says int, hangs bool) (asked []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.says, w.hangs, asked, w.asked = says, hangs, w.asked, nil
	return asked
}

// TestR6_WhoWatchesTheBrain is told each minute that it lives, while its journal is written; that
// it is not reached is told once in a spell, and its address never.
func TestR6_WhoWatchesTheBrain(t *testing.T) {
	const address = "https://watch.example.org/ping/5ecret5ecret"
	w := &watcher{says: 200}
	in(t, func(h *home) {
		path := filepath.Join(h.TempDir(), "deadman")
		if err := os.WriteFile(path, []byte(address+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		url, err := config.NewSecret(path)
		if err != nil {
			t.Fatal(err)
		}
		h.cfg.Deadman.URL, h.outside = url, w
	}, func(h *home) {
		rest(5 * time.Minute)
		if asked := w.set(503, false); len(asked) != 5 || asked[0] != "GET "+address {
			t.Errorf("asked %q in 5 min", asked)
		}
		said := func(text string, want int) {
			h.Helper()
			n := 0
			for _, e := range h.view().Timeline {
				if strings.Contains(e.Text, text) {
					n++
				}
			}
			if n != want {
				h.Errorf("%q is told %d times, not %d:\n%s", text, n, want, h.timeline())
			}
		}
		rest(2 * time.Minute)
		said("is not reached", 0)
		rest(10 * time.Minute)
		said("who watches the sentinel from outside is not reached: it answers 503 Service Unavailable", 1)
		w.set(0, false)
		rest(2 * time.Minute)
		w.set(200, true)
		rest(2 * time.Minute)
		w.set(200, false)
		rest(2 * time.Minute)
		said("is reached again", 1)
		w.set(200, true)
		rest(5 * time.Minute)
		said("is not reached: it does not answer within 10s", 1)
		w.set(200, false)
		rest(2 * time.Minute)
		said("is reached again", 2)
		if strings.Contains(h.timeline()+strings.Join(h.log.lines(""), "\n"), "5ecret") {
			t.Error("the address is told")
		}
	})
}

// TestR6_WhoWatchesTheBrainOverARestart is told to be reached again by a brain that finds it so, and the next spell is told too.
func TestR6_WhoWatchesTheBrainOverARestart(t *testing.T) {
	w := &watcher{says: 503}
	in(t, func(h *home) {
		path := filepath.Join(h.TempDir(), "deadman")
		if err := os.WriteFile(path, []byte("https://watch.example.org/ping\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		url, err := config.NewSecret(path)
		if err != nil {
			t.Fatal(err)
		}
		h.cfg.Deadman.URL, h.outside = url, w
	}, func(h *home) {
		rest(5 * time.Minute)
		w.set(200, false)
		h.crash(time.Second)
		rest(3 * time.Minute)
		w.set(503, false)
		rest(5 * time.Minute)
		said := h.timeline()
		if strings.Count(said, "is reached again") != 1 || strings.Count(said, "is not reached") != 2 {
			t.Error(said)
		}
	})
}
