// Package liveness is the table of who was heard last: one entry a source, made for a
// heartbeat a second from each of 100,000 of them. Only transitions leave it.
//
// It keeps no time of its own and imports nothing of the brain but the causes' Source.
package liveness

import (
	"sync"
	"time"

	"sentinel.home.arpa/cloud/internal/cause"
)

// directFor is how long after its last direct word a source still counts as heard
// directly, although a Pi hears it too.
const directFor = 5 * time.Second

// Key names a source.
type Key struct{ Site, Name string }

// Beat is one sign of life.
type Beat struct {
	Key
	Pi    bool   // the source is a Pi
	Boot  string // its boot id
	Via   string // the Pi that heard it; empty: the brain itself did
	State string // systemd's state; empty: not said
	Age   time.Duration
}

// News is what a beat changed.
type News struct {
	Heard bool // first word, first after silence or nearly that, or of another boot
	State bool // systemd's state is another one
}

type entry struct {
	Beat
	last, direct time.Time
	silent       bool
	prev, next   *entry // by last, among those not silent
}

// Table is safe for concurrent use.
type Table struct {
	silence time.Duration

	mu      sync.Mutex
	entries map[Key]*entry
	sites   map[string][]*entry
	ring    entry // sentinel of the list; next is the one heard longest ago
}

// New makes an empty table; a source is silent once nothing was heard for that long.
func New(silence time.Duration) *Table {
	t := &Table{silence: silence, entries: map[Key]*entry{}, sites: map[string][]*entry{}}
	t.ring.prev, t.ring.next = &t.ring, &t.ring
	return t
}

// Beat takes a sign of life that arrived at now.
func (t *Table) Beat(now time.Time, b Beat) News {
	last := now.Add(-b.Age)
	if now.Sub(last) >= t.silence {
		return News{}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	e := t.entries[b.Key]
	if e == nil {
		e = &entry{Beat: Beat{Key: b.Key}, silent: true}
		t.entries[b.Key] = e
		t.sites[b.Site] = append(t.sites[b.Site], e)
	}
	if !last.After(e.last) && e.Boot == b.Boot {
		return News{} // a Pi's word about what is known already
	}
	if e.Boot != b.Boot && b.Via != "" && !last.After(e.last) {
		return News{} // a Pi's word about a boot that is over
	}
	// Whose last word came with another's counts as silent with it (rule N6), up to that
	// much before its own silence is complete; its next word must be news all the same.
	missed := e.silent || now.Sub(e.last) >= t.silence-cause.Together
	news := News{Heard: missed || e.Boot != b.Boot, State: b.State != "" && e.State != b.State}
	if b.Via == "" {
		e.direct = last
	}
	e.Boot, e.Pi = b.Boot, b.Pi
	if b.State != "" {
		e.State = b.State
	}
	e.Via = b.Via
	if b.Via != "" && !e.direct.IsZero() && last.Sub(e.direct) < directFor {
		e.Via = ""
	}
	e.last = last
	t.toBack(e)
	return news
}

// toBack keeps the list in the order of last words; nearly always that is its end.
func (t *Table) toBack(e *entry) {
	if !e.silent {
		e.prev.next, e.next.prev = e.next, e.prev
	}
	e.silent = false
	at := t.ring.prev
	for at != &t.ring && at.last.After(e.last) {
		at = at.prev
	}
	e.prev, e.next = at, at.next
	at.next.prev, at.next = e, e
}

// Silence is a source that fell silent.
type Silence struct {
	Key
	Last time.Time
}

// Expire takes out those whose silence is complete at now.
func (t *Table) Expire(now time.Time) []Silence {
	t.mu.Lock()
	defer t.mu.Unlock()
	var out []Silence
	for e := t.ring.next; e != &t.ring && now.Sub(e.last) >= t.silence; e = t.ring.next {
		e.prev.next, e.next.prev = e.next, e.prev
		e.prev, e.next, e.silent = nil, nil, true
		out = append(out, Silence{e.Key, e.last})
	}
	return out
}

// Next is when the next source will have been silent for long enough; zero: never.
func (t *Table) Next() time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ring.next == &t.ring {
		return time.Time{}
	}
	return t.ring.next.last.Add(t.silence)
}

// Site are the sources of a site with their last words, silent ones too.
func (t *Table) Site(site string) []cause.Source {
	t.mu.Lock()
	defer t.mu.Unlock()
	out := make([]cause.Source, 0, len(t.sites[site]))
	for _, e := range t.sites[site] {
		out = append(out, cause.Source{Name: e.Name, Pi: e.Pi, Last: e.last, Via: e.Via})
	}
	return out
}

// Last is a source's last word, systemd's state as of then, and whether it is known.
func (t *Table) Last(k Key) (time.Time, string, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	e := t.entries[k]
	if e == nil {
		return time.Time{}, "", false
	}
	return e.last, e.State, true
}

// Restart starts every silence clock again at now (rule H8). known are the sources that
// were up as far as anybody decided: those of an earlier process, and those whose silence
// was told here and then not believed.
func (t *Table) Restart(now time.Time, known []Beat) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for e := t.ring.next; e != &t.ring; e = e.next {
		e.last = now
	}
	for _, b := range known {
		e := t.entries[b.Key]
		if e == nil {
			e = &entry{Beat: b, silent: true}
			t.entries[b.Key] = e
			t.sites[b.Site] = append(t.sites[b.Site], e)
		}
		if e.silent {
			e.last = now
			t.toBack(e)
		}
	}
}
