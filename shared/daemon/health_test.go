package daemon

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func ask(h http.Handler) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
	return w
}

func TestLiveFollowsTheLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := NewHealth(5 * time.Second)
		time.Sleep(4 * time.Second)
		if w := ask(h.LiveHandler()); w.Code != 200 || w.Body.String() != "ok\n" {
			t.Errorf("fresh: %d %s", w.Code, w.Body)
		}
		time.Sleep(time.Second)
		w := ask(h.LiveHandler())
		var body map[string]string
		if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil {
			t.Fatal(err)
		}
		if w.Code != 503 || body["error"] != "the main loop has not turned for 5s; at most 5s is normal" {
			t.Errorf("hung: %d %v", w.Code, body)
		}
		h.Turned()
		if w := ask(h.LiveHandler()); w.Code != 200 {
			t.Errorf("again: %d", w.Code)
		}
	})
}

func TestReadyWaitsForEachCondition(t *testing.T) {
	type answer struct {
		Ready      bool
		Conditions map[string]string
	}
	h := NewHealth(time.Second, "journal", "tailnet")
	check := func(code int, want answer) {
		t.Helper()
		w := ask(h.ReadyHandler())
		var got answer
		if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" || w.Code != code {
			t.Errorf("code %d, want %d\n%s", w.Code, code, diff)
		}
	}
	h.Set("journal", nil)
	check(503, answer{false, map[string]string{"journal": "ok", "tailnet": "not yet known"}})
	h.Set("tailnet", nil)
	check(200, answer{true, map[string]string{"journal": "ok", "tailnet": "ok"}})
	if h.Ready() != nil {
		t.Error("ready, yet it has reasons")
	}
	full := errors.New("disk full")
	h.Set("journal", full)
	check(503, answer{false, map[string]string{"journal": "disk full", "tailnet": "ok"}})
	if got := h.Ready(); len(got) != 1 || got["journal"] != full {
		t.Errorf("reasons %v", got)
	}
}
