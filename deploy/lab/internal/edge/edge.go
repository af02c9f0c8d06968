// Package edge records what the edges of the lab saw: each request to the phone company
// and to Proxmox with its answer, each UPS state that was read, and what was done to the
// home. A story is judged from this alone, never from what a program says of itself.
package edge

import (
	"encoding/json"
	"fmt"
	"io"
	"sync"
	"time"
)

// Which edge saw it.
const (
	UPS    = "ups"
	PVE    = "pve"
	Twilio = "twilio"
	Phone  = "phone" // what a person hears
	Keys   = "keys"  // a key that the phone company passed on, and what it was answered
	Ntfy   = "ntfy"  // a notice that arrived
	Lab    = "lab"   // what was done to the home
	Way    = "way"   // what passed towards Proxmox, and by whose hand, before it arrived
)

// Entry is one thing that an edge saw.
type Entry struct {
	MS     float64 `json:"ms"` // since the lab began, on the monotonic clock
	Edge   string  `json:"edge"`
	Node   string  `json:"node,omitempty"`
	Method string  `json:"method,omitempty"`
	Path   string  `json:"path,omitempty"`
	Body   string  `json:"body,omitempty"`
	Status int     `json:"status,omitempty"`
	Answer string  `json:"answer,omitempty"`
	Flags  string  `json:"flags,omitempty"` // of the UPS
	What   string  `json:"what,omitempty"`  // of the lab
}

// At is the entry's time since the lab began.
func (e Entry) At() time.Duration { return time.Duration(e.MS * float64(time.Millisecond)) }

// Recorder keeps the entries, and writes each as a line of JSON. It is safe for
// concurrent use.
type Recorder struct {
	begin time.Time

	mu      sync.Mutex
	out     io.Writer
	entries []Entry
	changed chan struct{} // closed and renewed with each entry
	failed  error
}

// NewRecorder records from now; out may be nil.
func NewRecorder(out io.Writer) *Recorder {
	return &Recorder{begin: time.Now(), out: out, changed: make(chan struct{})}
}

// Add records an entry, seen at a time that has a monotonic reading.
func (r *Recorder) Add(at time.Time, e Entry) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e.MS = float64(at.Sub(r.begin).Microseconds()) / 1000
	r.entries = append(r.entries, e)
	close(r.changed)
	r.changed = make(chan struct{})
	if r.out == nil || r.failed != nil {
		return
	}
	data, err := json.Marshal(e)
	if err == nil {
		_, err = r.out.Write(append(data, '\n'))
	}
	if err != nil {
		r.failed = fmt.Errorf("write the edges: %w", err)
	}
}

// Since are the entries from the nth on, and a channel that is closed when there are more.
func (r *Recorder) Since(n int) ([]Entry, <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]Entry(nil), r.entries[min(n, len(r.entries)):]...), r.changed
}

// Now is the time since the lab began.
func (r *Recorder) Now() time.Duration { return time.Since(r.begin) }

// Err is why the file of edges is not whole, if it is not.
func (r *Recorder) Err() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.failed
}
