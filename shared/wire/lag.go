package wire

import (
	"maps"
	"slices"
	"sync"
	"time"
)

// Lags tells how much longer than usual a message was on its way: in a buffer, behind a
// stopped process, on a slow link. It compares the sender's own clock, which is its seq,
// with the receiver's, and needs neither to be right. The zero value is ready.
type Lags struct {
	mu    sync.Mutex
	nodes map[string]Way
}

// usualFor is how long what is usual is remembered, once or twice that. What waits in a
// buffer comes in a burst and catches up well within it; a sender whose clock stood still,
// as a paused virtual machine's does, is behind for good, and that must pass for usual soon.
const usualFor = time.Minute

// Way is how long the messages of one node take: the receiver's CLOCK_BOOTTIME at their
// arrival less their seq. It says something only while both machines keep their boots.
type Way struct {
	Node   string        `json:"node"`
	Boot   string        `json:"boot"`
	Before time.Duration `json:"before_ns"` // the shortest of the time before Since
	Now    time.Duration `json:"now_ns"`    // and from then on
	Since  time.Duration `json:"since_ns"`  // by the receiver's CLOCK_BOOTTIME
}

// Of is the lag of a verified message that arrived at the receiver's CLOCK_BOOTTIME.
func (l *Lags) Of(h Header, arrival time.Duration) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.nodes == nil {
		l.nodes = map[string]Way{}
	}
	took := arrival - time.Duration(h.Seq)*time.Microsecond
	w, known := l.nodes[h.Node]
	switch {
	case !known || w.Boot != h.Boot:
		w = Way{Node: h.Node, Boot: h.Boot, Before: took, Now: took, Since: arrival}
	case arrival-w.Since >= usualFor:
		w.Before, w.Now, w.Since = w.Now, took, arrival
	default:
		w.Now = min(w.Now, took)
	}
	l.nodes[h.Node] = w
	return took - min(w.Before, w.Now)
}

// Ways are all that is known, for Restore by a later process of the same boot.
func (l *Lags) Ways() (all []Way) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, node := range slices.Sorted(maps.Keys(l.nodes)) {
		all = append(all, l.nodes[node])
	}
	return all
}

// Restore takes up what an earlier process of the same boot knew.
func (l *Lags) Restore(ways []Way) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.nodes == nil {
		l.nodes = map[string]Way{}
	}
	for _, w := range ways {
		l.nodes[w.Node] = w
	}
}
