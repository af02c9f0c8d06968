// Package hooksim is a simulated receiver of notices over HTTP: it answers as an ntfy server does and takes webhooks too, at
// any path, with refusals, silences and redirects on demand. It is reached only from tests and the lab.
package hooksim

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// Got is one request, whatever it was answered.
type Got struct {
	Path   string
	Title  string // as ntfy has it
	Body   string
	Header http.Header
	Status int // what it was answered; 0: nothing
	At     time.Time
}

// Taken reports whether the sender was told that it was taken.
func (g Got) Taken() bool { return g.Status/100 == 2 }

// Hang is a status that stands for no answer.
const Hang = -1

// Receiver is what notices come to. Its zero value takes everything.
type Receiver struct {
	Told func(Got) // nil, or who hears of each

	mu    sync.Mutex
	got   []Got
	next  []int // answers to come
	after int   // and to all others; 0: taken
}

// Answer has the next requests answered by these statuses, in order, before all others.
func (r *Receiver) Answer(statuses ...int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.next = append(r.next, statuses...)
}

// Always has all requests answered so from now on; 0: they are taken.
func (r *Receiver) Always(status int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.after = status
}

// Got are all requests so far.
func (r *Receiver) Got() []Got {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.got)
}

// Taken are those whose sender was told so.
func (r *Receiver) Taken() []Got {
	return slices.DeleteFunc(r.Got(), func(g Got) bool { return !g.Taken() })
}

const mostBody = 64 << 10

// ServeHTTP implements http.Handler.
func (r *Receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(io.LimitReader(req.Body, mostBody))
	if err != nil {
		http.Error(w, "the body broke off", http.StatusBadRequest)
		return
	}
	got := Got{Path: req.URL.Path, Title: req.Header.Get("Title"), Body: string(body), Header: req.Header.Clone(), At: time.Now()}
	r.mu.Lock()
	got.Status = r.after
	if len(r.next) > 0 {
		got.Status, r.next = r.next[0], r.next[1:]
	}
	if got.Status == 0 {
		got.Status = http.StatusOK
	}
	if got.Status == Hang {
		got.Status = 0
	}
	r.got = append(r.got, got)
	n := len(r.got)
	r.mu.Unlock()
	if r.Told != nil {
		r.Told(got)
	}
	switch {
	case got.Status == 0:
		<-req.Context().Done()
	case got.Taken():
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]any{"id": fmt.Sprintf("sim%d", n), "time": got.At.Unix(), "event": "message",
			"topic": strings.Trim(req.URL.Path, "/"), "title": got.Title, "message": got.Body})
	default:
		if got.Status/100 == 3 {
			w.Header().Set("Location", "/elsewhere")
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(got.Status)
		_ = json.NewEncoder(w).Encode(map[string]any{"code": got.Status * 100, "http": got.Status, "error": "not now"})
	}
}
