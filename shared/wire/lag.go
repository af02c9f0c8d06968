package wire

import (
	"sync"
	"time"
)

// creep lets the shortest way ever seen be forgotten slowly, since two machines' clocks
// run apart: 0.05 % is ten times what untuned quartz does.
const creep = 0.0005

// Lags tells how much longer than usual a message was on its way: in a buffer, behind a
// stopped process, on a slow link. It compares the sender's own clock, which is its seq,
// with the receiver's, and needs neither to be right. The zero value is ready.
type Lags struct {
	mu    sync.Mutex
	nodes map[string]way
}

type way struct {
	boot     string
	shortest time.Duration // arrival less seq
	at       time.Duration
}

// Of is the lag of a verified message that arrived at the receiver's CLOCK_BOOTTIME.
func (l *Lags) Of(h Header, arrival time.Duration) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.nodes == nil {
		l.nodes = map[string]way{}
	}
	took := arrival - time.Duration(h.Seq)*time.Microsecond
	w, known := l.nodes[h.Node]
	if !known || w.boot != h.Boot {
		l.nodes[h.Node] = way{h.Boot, took, arrival}
		return 0
	}
	w.shortest += time.Duration(float64(arrival-w.at) * creep)
	w.at = arrival
	w.shortest = min(w.shortest, took)
	l.nodes[h.Node] = w
	return took - w.shortest
}
