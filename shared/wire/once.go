package wire

import "sync"

// onceKept is how many messages a Once remembers.
const onceKept = 512

// Once lets each message through once, in whatever order they come: for requests that one
// sender makes at the same time. One from before those it remembers is refused. It is safe
// for concurrent use; the zero value is ready.
type Once struct {
	mu   sync.Mutex
	boot string
	seen []int64 // a ring
	next int
	low  int64 // refused, and all below
}

// Fresh reports whether a verified message comes for the first time, and remembers it.
func (o *Once) Fresh(h Header) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.boot != h.Boot {
		o.boot, o.seen, o.next, o.low = h.Boot, nil, 0, 0
	}
	if h.Seq <= o.low {
		return false
	}
	for _, s := range o.seen {
		if s == h.Seq {
			return false
		}
	}
	if len(o.seen) < onceKept {
		o.seen = append(o.seen, h.Seq)
		return true
	}
	o.low = max(o.low, o.seen[o.next])
	o.seen[o.next] = h.Seq
	o.next = (o.next + 1) % onceKept
	return true
}
