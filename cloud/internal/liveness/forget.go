package liveness

import (
	"slices"
	"time"
)

// SetSilence changes after how long a source is silent. No clock starts again.
func (t *Table) SetSilence(silence time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.silence = silence
}

// Forget drops a source: its next word is its first.
func (t *Table) Forget(k Key) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.forget(k)
}

// Delete forgets a source for good: what it said before now, which a Pi goes on telling of for
// a while, is not its first word.
func (t *Table) Delete(now time.Time, k Key) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.forget(k)
	t.deleted[k] = t.since(now)
}

// gone reports whether a word is from before its source was deleted.
func (t *Table) gone(k Key, last time.Duration) bool {
	at, ok := t.deleted[k]
	if ok && last > at {
		delete(t.deleted, k)
		return false
	}
	return ok
}

// ForgetSite drops all sources of a site.
func (t *Table) ForgetSite(site string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, e := range t.sites[site] {
		e.twin = nil
	}
	for _, e := range slices.Clone(t.sites[site]) {
		t.forget(e.Key)
	}
}

func (t *Table) forget(k Key) {
	e := t.entries[k]
	if e == nil {
		return
	}
	if !e.silent {
		t.unlink(e, slotOf(e.last))
	}
	for _, o := range t.sites[k.Site] {
		if o.twin == e {
			o.twin = nil
		}
	}
	delete(t.entries, k)
	t.sites[k.Site] = slices.DeleteFunc(t.sites[k.Site], func(o *entry) bool { return o == e })
	if e.twin != nil { // which is still another machine's
		t.entry(k).twin = e.twin
	}
	if len(t.sites[k.Site]) == 0 {
		delete(t.sites, k.Site)
	}
}
