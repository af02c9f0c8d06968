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
	nodes map[string][]Way // by node: one for each boot, the last heard last
}

// waysKept is how many boots of a node are remembered, those heard last: a machine and a
// copy of it that took its name speak in turn.
const waysKept = 4

// usualFor is how long what is usual is remembered, once or twice that. What waits in a
// buffer comes in a burst and catches up well within it; a sender whose clock stood still,
// as a paused virtual machine's does, is behind for good, and that must pass for usual soon.
const usualFor = time.Minute

// Way is how long the messages of one boot of a node take: the receiver's CLOCK_BOOTTIME at their
// arrival less their seq. It says something only while both machines keep their boots.
type Way struct {
	Node   string        `json:"node"`
	Boot   string        `json:"boot"`
	Before time.Duration `json:"before_ns"` // the shortest of the time before Since
	Now    time.Duration `json:"now_ns"`    // and from then on
	Since  time.Duration `json:"since_ns"`  // by the receiver's CLOCK_BOOTTIME
}

// Of is the lag of a verified message that arrived at the receiver's CLOCK_BOOTTIME. The
// first of a boot has none.
func (l *Lags) Of(h Header, arrival time.Duration) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	took := arrival - time.Duration(h.Seq)*time.Microsecond
	w := Way{Node: h.Node, Boot: h.Boot, Before: took, Now: took, Since: arrival}
	if i := l.find(h.Node, h.Boot); i >= 0 {
		w = l.nodes[h.Node][i]
	}
	if arrival-w.Since >= usualFor {
		w.Before, w.Now, w.Since = w.Now, took, arrival
	}
	w.Now = min(w.Now, took)
	l.put(w)
	return took - min(w.Before, w.Now)
}

// find is where a boot's way is; -1: nowhere.
func (l *Lags) find(node, boot string) int {
	return slices.IndexFunc(l.nodes[node], func(w Way) bool { return w.Boot == boot })
}

// put makes a way its node's last heard, and forgets what is too many.
func (l *Lags) put(w Way) {
	if l.nodes == nil {
		l.nodes = map[string][]Way{}
	}
	ways := l.nodes[w.Node]
	if i := l.find(w.Node, w.Boot); i >= 0 {
		ways = slices.Delete(ways, i, i+1)
	} else if len(ways) == waysKept {
		ways = slices.Delete(ways, 0, 1)
	}
	l.nodes[w.Node] = append(ways, w)
}

// Ways are all that is known, a node's last heard last, for Restore by a later process of the same boot.
func (l *Lags) Ways() (all []Way) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, node := range slices.Sorted(maps.Keys(l.nodes)) {
		all = append(all, l.nodes[node]...)
	}
	return all
}

// Restore takes up what an earlier process of the same boot knew.
func (l *Lags) Restore(ways []Way) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, w := range ways {
		l.put(w)
	}
}
