package daemon

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"
)

// Health gathers what /healthz and /readyz answer: whether the loop turns, and named conditions.
type Health struct {
	limit time.Duration

	mu         sync.Mutex
	turned     time.Time
	conditions map[string]error
}

var errNotYet = errors.New("not yet known")

// NewHealth expects Turned at least once in limit, counted from now, and one Set for each of the names before
// the program counts as ready.
func NewHealth(limit time.Duration, names ...string) *Health {
	h := &Health{limit: limit, turned: time.Now(), conditions: make(map[string]error)}
	for _, name := range names {
		h.conditions[name] = errNotYet
	}
	return h
}

// Turned is the heartbeat of the program's main loop.
func (h *Health) Turned() {
	h.mu.Lock()
	h.turned = time.Now()
	h.mu.Unlock()
}

// Set says that a condition holds (nil) or why it doesn't. The error's text is shown to whoever asks.
func (h *Health) Set(name string, err error) {
	h.mu.Lock()
	h.conditions[name] = err
	h.mu.Unlock()
}

// Ready returns nil if all conditions hold, and otherwise each one's reason by its name.
func (h *Health) Ready() map[string]error {
	h.mu.Lock()
	defer h.mu.Unlock()
	var failed map[string]error
	for name, err := range h.conditions {
		if err != nil {
			if failed == nil {
				failed = make(map[string]error)
			}
			failed[name] = err
		}
	}
	return failed
}

// LiveHandler answers 200 "ok" while the loop turns, else 503 with a reason in JSON. A supervisor may restart
// the program on a 503.
func (h *Health) LiveHandler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		h.mu.Lock()
		age := time.Since(h.turned)
		h.mu.Unlock()
		if age < h.limit {
			w.Header().Set("Content-Type", "text/plain; charset=utf-8")
			w.Header().Set("Cache-Control", "no-store")
			fmt.Fprintln(w, "ok")
			return
		}
		reply(w, http.StatusServiceUnavailable, map[string]any{
			"error": fmt.Sprintf("the main loop has not turned for %v; at most %v is normal", age.Round(time.Millisecond), h.limit),
		})
	})
}

// ReadyHandler answers each condition in JSON, "ok" or the reason, with 200 if all hold and 503 otherwise.
func (h *Health) ReadyHandler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		status, texts := http.StatusOK, make(map[string]string)
		h.mu.Lock()
		for name, err := range h.conditions {
			texts[name] = "ok"
			if err != nil {
				texts[name] = err.Error()
				status = http.StatusServiceUnavailable
			}
		}
		h.mu.Unlock()
		reply(w, status, map[string]any{"ready": status == http.StatusOK, "conditions": texts})
	})
}

func reply(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // the asker has gone: nobody is left to tell
}
