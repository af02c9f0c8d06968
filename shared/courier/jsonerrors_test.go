package courier_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"

	"sentinel.home.arpa/shared/courier"
)

// TestR2_UnknownPathsAreToldInJSON: what no route answers reads as every other error, and
// what a route answers stays as it is.
func TestR2_UnknownPathsAreToldInJSON(t *testing.T) {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/heartbeat", func(w http.ResponseWriter, r *http.Request) {})
	mux.HandleFunc("GET /page/", http.NotFound)
	mux.HandleFunc("GET /flushed", func(w http.ResponseWriter, r *http.Request) {
		if _, ok := w.(http.Flusher); !ok {
			t.Error("a route's writer is another one")
		}
	})
	notFound := http.HandlerFunc(http.NotFound)
	own := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		w.WriteHeader(http.StatusNotFound)
		_, _ = w.Write([]byte("<p>no"))
	})
	for _, c := range []struct {
		name         string
		h            http.Handler
		method, path string
		status       int
		allow        string
		text         string // as it is; empty: JSON
		hint         string
	}{
		{"an unknown path", mux, "GET", "/wp-login.php", 404, "", "", "look at the path, and at the address"},
		{"an unknown method", mux, "GET", "/v1/heartbeat", 405, "POST", "", "use POST"},
		{"a route's own", mux, "GET", "/page/x", 404, "", "404 page not found\n", ""},
		{"a route that flushes", mux, "GET", "/flushed", 200, "", "", ""},
		{"a handler that is no mux", notFound, "GET", "/", 404, "", "", "look at the path, and at the address"},
		{"its own words", own, "GET", "/", 404, "", "<p>no", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := httptest.NewRecorder()
			courier.JSONErrors(c.h).ServeHTTP(w, httptest.NewRequest(c.method, c.path, nil))
			if w.Code != c.status || w.Header().Get("Allow") != c.allow {
				t.Errorf("status %d, Allow %q", w.Code, w.Header().Get("Allow"))
			}
			if c.text != "" || c.status == http.StatusOK {
				if w.Body.String() != c.text {
					t.Errorf("body %q", w.Body)
				}
				return
			}
			var body courier.ErrorBody
			if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil || body.Error == "" || body.Hint != c.hint {
				t.Errorf("body %q: %v", w.Body, err)
			}
			if got := w.Header().Get("Content-Type"); got != "application/json" {
				t.Errorf("type %q", got)
			}
		})
	}
}
