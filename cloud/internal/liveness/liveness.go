// Package liveness is the table of who was heard last: one entry a source, made for a
// heartbeat a second from each of 100,000 of them. Only transitions leave it.
//
// It keeps no time of its own and imports nothing of the brain but the causes' Source.
package liveness

import (
	"cmp"
	"maps"
	"slices"
	"sync"
	"time"

	"sentinel.home.arpa/cloud/internal/cause"
)

// directFor is how long after its last direct word a source still counts as heard
// directly, although a Pi hears it too.
const directFor = 5 * time.Second

// indirectAfter is for how long only a Pi must have heard a source, which beats, for its
// own way to the brain to be gone.
const indirectAfter = 60 * time.Second

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
	Seq   int64 // of the source's own message, in µs of its boot; 0: not known

	// What follows is for Restart alone: how the source was known before.
	WasDirect bool   // the brain heard it directly
	Indirect  bool   // and now only a Pi does, which was told
	Silent    bool   // it is not up
	CloneOf   string // the name that another machine has too
}

// News is what a beat changed.
type News struct {
	As    string // whose word it was, if that is a second machine under the name
	Heard bool   // first word, first after silence or nearly that, or of another boot
	State bool   // systemd's state is another one

	Indirect bool      // only a Pi has heard it for some time, though the brain did before
	Since    time.Time // then: its last direct word, as far as is known
	Direct   bool      // after that it is heard directly again
	// Cloned is the boot of the machine that had the name first, if it is by this word that
	// there are two; As is what the other is called from now on.
	Cloned string
}

// entry is what is kept of a source. Of 100,000 of them each byte counts, so moments are
// since the table's begin, and what a beat repeats is not replaced.
type entry struct {
	Key
	boot, via, state string
	last             time.Duration // its last word
	direct           time.Duration // its last direct one; 0: none yet
	alone            time.Duration // since when only a Pi has heard it; 0: the brain does, or nobody
	seq              int64         // of the boot's last message
	pi, silent       bool
	wasDirect        bool
	anew             bool   // its silence was begun anew, and it was not heard since
	early            bool   // when that was, it may have counted as silent with another
	indirect         bool   // which was told
	rival            *rival // the boot before; nil: none is known
	twin             *entry // a second machine under the name
	next, prev       *entry // in its slot; the first's prev is the last
}

// Table is safe for concurrent use.
type Table struct {
	silence time.Duration

	mu      sync.Mutex
	begin   time.Time     // earlier than every word
	resumed time.Duration // when the last stop was over
	entries map[Key]*entry
	sites   map[string][]*entry
	deleted map[Key]time.Duration // when, by a person, until its next word
	// slots hold those that are not silent by their last words, within one as they came: what
	// a Pi passes on comes late, and must not look for its place among thousands.
	slots  map[int64]*entry
	lowest int64 // no slot below it has anybody
}

// slotWidth is how much time one slot takes: a few hundred of 100,000 sources.
const slotWidth = 5 * time.Millisecond

// New makes an empty table; a source is silent once nothing was heard for that long.
func New(silence time.Duration) *Table {
	return &Table{silence: silence, entries: map[Key]*entry{}, sites: map[string][]*entry{}, deleted: map[Key]time.Duration{}, slots: map[int64]*entry{}}
}

// Beat takes a sign of life that arrived at now.
func (t *Table) Beat(now time.Time, b Beat) News {
	t.mu.Lock()
	defer t.mu.Unlock()
	if b.Age >= t.silence {
		return News{}
	}
	at := t.since(now)
	last := at - b.Age
	if len(t.deleted) > 0 && t.gone(b.Key, last) {
		return News{}
	}
	e, first := t.speaker(t.entry(b.Key), &b, last)
	if e == nil {
		return News{}
	}
	// Whose last word came with another's counts as silent with it (rule N6), up to that
	// much before its own silence is complete; its next word must be news all the same, also
	// when its silence was begun anew meanwhile.
	missed := e.silent || e.early || at-e.last >= t.silence-cause.Together
	news := News{Cloned: first}
	if e.Name != b.Name {
		news.As = e.Name
	}
	if missed {
		e.alone = 0
	}
	if b.Via == "" {
		news.Direct = e.indirect
		e.direct, e.wasDirect, e.indirect, e.alone = max(e.direct, last), true, false, 0
	}
	if last <= e.last && (e.boot == b.Boot || b.Via != "") {
		return news // a Pi's word about what is known already, or about a boot that is over
	}
	news.Heard, news.State = missed || e.boot != b.Boot, b.State != "" && e.state != b.State
	e.pi = b.Pi
	if e.boot != b.Boot {
		e.boots(b.Boot, last)
	}
	e.seq = max(e.seq, b.Seq)
	if news.State {
		e.state = b.State
	}
	via := b.Via
	if via != "" && e.direct != 0 && last-e.direct < directFor {
		via = ""
	}
	if e.via != via {
		e.via = via
	}
	if b.Via != "" && e.wasDirect && !e.indirect {
		t.onlyHeardBy(e, last, &news)
	}
	e.anew, e.early = false, false
	t.spoke(e, last)
	return news
}

// onlyHeardBy counts for how long only a Pi has heard a source (rule H10).
func (t *Table) onlyHeardBy(e *entry, last time.Duration, news *News) {
	if e.alone == 0 {
		e.alone = last
	}
	if last-e.alone < indirectAfter {
		return
	}
	news.Indirect, e.indirect = true, true
	news.Since = t.begin.Add(e.alone)
	if e.direct != 0 {
		news.Since = t.begin.Add(e.direct)
	}
}

// Untold takes news back that nobody was told of: it is news again with the source's next
// word.
func (t *Table) Untold(k Key, news News) {
	t.mu.Lock()
	defer t.mu.Unlock()
	e := t.entries[k]
	switch {
	case e == nil:
	case news.Indirect:
		e.indirect = false
	case news.Direct:
		e.indirect = true
	}
}

// since is a moment as the table keeps it.
func (t *Table) since(now time.Time) time.Duration {
	if t.begin.IsZero() {
		t.begin = now.Add(-t.silence) // the oldest word that counts is later
	}
	return now.Sub(t.begin)
}

// entry is a source's, made with its first word.
func (t *Table) entry(k Key) *entry {
	e := t.entries[k]
	if e == nil {
		e = &entry{Key: k, silent: true}
		t.entries[k] = e
		t.sites[k.Site] = append(t.sites[k.Site], e)
	}
	return e
}

func slotOf(at time.Duration) int64 { return int64(at / slotWidth) }

// spoke moves an entry to where its last word belongs.
func (t *Table) spoke(e *entry, last time.Duration) {
	from, to := slotOf(e.last), slotOf(last)
	e.last = last
	if !e.silent && from == to {
		return
	}
	if !e.silent {
		t.unlink(e, from)
	}
	if len(t.slots) == 0 || to < t.lowest {
		t.lowest = to
	}
	e.silent, e.prev, e.next = false, e, nil
	first := t.slots[to]
	if first == nil {
		t.slots[to] = e
		return
	}
	e.prev, first.prev.next, first.prev = first.prev, e, e
}

func (t *Table) unlink(e *entry, slot int64) {
	first := t.slots[slot]
	switch {
	case e != first:
		e.prev.next = e.next
	case e.next == nil:
		delete(t.slots, slot)
		return
	default:
		first = e.next
		t.slots[slot] = first
	}
	if e.next == nil {
		first.prev = e.prev
	} else {
		e.next.prev = e.prev
	}
}

// earliest finds the lowest slot that has anybody.
func (t *Table) earliest() (slot int64, ok bool) {
	if len(t.slots) == 0 {
		return 0, false
	}
	for range len(t.slots) + 1000 {
		if t.slots[t.lowest] != nil {
			return t.lowest, true
		}
		t.lowest++
	}
	t.lowest = slices.Min(slices.Collect(maps.Keys(t.slots))) // after a long gap
	return t.lowest, true
}

// Silence is a source that fell silent.
type Silence struct {
	Key
	Last time.Time
}

// Expire takes out those whose silence is complete at now, in the order of their last
// words.
func (t *Table) Expire(now time.Time) []Silence {
	t.mu.Lock()
	defer t.mu.Unlock()
	due := t.since(now) - t.silence
	var out []Silence
	for slot, ok := t.earliest(); ok && slot <= slotOf(due); slot, ok = t.earliest() {
		for e, next := t.slots[slot], (*entry)(nil); e != nil; e = next {
			next = e.next
			if e.last <= due {
				t.unlink(e, slot)
				e.silent = true
				out = append(out, Silence{e.Key, t.begin.Add(e.last)})
			}
		}
		if slot == slotOf(due) {
			break // the rest of it is not due
		}
	}
	slices.SortStableFunc(out, func(a, b Silence) int { return a.Last.Compare(b.Last) })
	return out
}

// Next is when the next source will have been silent for long enough; zero: never.
func (t *Table) Next() time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	slot, ok := t.earliest()
	if !ok {
		return time.Time{}
	}
	last := t.slots[slot].last
	for e := t.slots[slot]; e != nil; e = e.next {
		last = min(last, e.last)
	}
	return t.begin.Add(last + t.silence)
}

// Site are the sources of a site with their last words, silent ones too.
func (t *Table) Site(site string) []cause.Source {
	t.mu.Lock()
	defer t.mu.Unlock()
	out := make([]cause.Source, 0, len(t.sites[site]))
	for _, e := range t.sites[site] {
		if e.last == 0 {
			continue // nobody has heard it here
		}
		out = append(out, cause.Source{Name: e.Name, Pi: e.pi, Last: t.begin.Add(e.last), Via: e.via})
	}
	return out
}

// Last is a source's last word, systemd's state as of then, and whether it is known.
func (t *Table) Last(k Key) (time.Time, string, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	e := t.entries[k]
	if e == nil || e.last == 0 {
		return time.Time{}, "", false
	}
	return t.begin.Add(e.last), e.state, true
}

// Restart starts every silence clock again at now (rule H8). known are the sources that
// were up as far as anybody decided: those of an earlier process, and those whose silence
// was told here and then not believed.
func (t *Table) Restart(now time.Time, known []Beat) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.resume(now, t.silence, known)
}

// Resume is Restart after the process stood still for a while. Who was not heard since an
// earlier restart is silent for the time in which somebody listened: else a process that is
// stopped again and again would miss nobody. After a long stop all starts again.
func (t *Table) Resume(now time.Time, stood time.Duration, known []Beat) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.resume(now, stood, known)
}

func (t *Table) resume(now time.Time, stood time.Duration, known []Beat) {
	at := t.since(now)
	listened := at - stood - t.resumed
	t.resumed = at
	from := func(e *entry) time.Duration {
		if e.anew && stood < t.silence {
			return at - cause.Waited(at-stood-e.last, listened, t.silence)
		}
		return at
	}
	var speaking []*entry
	for _, slot := range slices.Sorted(maps.Keys(t.slots)) {
		for e := t.slots[slot]; e != nil; e = e.next {
			speaking = append(speaking, e)
		}
	}
	slices.SortStableFunc(speaking, func(a, b *entry) int { return cmp.Compare(a.last, b.last) })
	for _, e := range speaking {
		last := from(e)
		e.anew, e.early = true, e.early || at-stood-e.last >= t.silence-cause.Together
		t.spoke(e, last)
	}
	for _, b := range known {
		e := t.entries[b.Key]
		if e == nil {
			e = t.entry(b.Key)
			e.boot, e.pi, e.via, e.state = b.Boot, b.Pi, b.Via, b.State
			e.wasDirect, e.indirect = b.WasDirect || b.Indirect, b.Indirect
		}
		if e.silent && !b.Silent {
			last := from(e)
			e.anew = true
			t.spoke(e, last)
		}
	}
	for _, b := range known {
		if b.CloneOf != "" {
			t.entry(Key{b.Site, b.CloneOf}).twin = t.entries[b.Key]
		}
	}
	for _, e := range t.entries {
		e.alone = 0
	}
}
