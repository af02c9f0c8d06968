package wire

import (
	"maps"
	"slices"
	"sync"
)

const (
	// onceKept is how many messages of one boot a Once remembers.
	onceKept = 512
	// onceBoots is how many boots of one sender, and onceSenders how many senders.
	onceBoots   = 4
	onceSenders = 16
)

// Once lets each message through once, in whatever order they come: for requests that one
// sender makes at the same time. One from before those it remembers is refused. It is safe
// for concurrent use; the zero value is ready.
type Once struct {
	mu      sync.Mutex
	senders map[string][]*onceBoot // by node, the oldest boot first
}

type onceBoot struct {
	boot string
	seen []int64 // a ring
	next int
	low  int64 // refused, and all below
}

// Fresh reports whether a verified message comes for the first time, and remembers it.
func (o *Once) Fresh(h Header) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	b := o.of(h.Node, h.Boot)
	return b != nil && b.fresh(h.Seq)
}

// of is what is known of a sender's boot; nil if there are too many senders.
func (o *Once) of(node, boot string) *onceBoot {
	boots := o.senders[node]
	if i := slices.IndexFunc(boots, func(b *onceBoot) bool { return b.boot == boot }); i >= 0 {
		return boots[i]
	}
	if o.senders == nil {
		o.senders = map[string][]*onceBoot{}
	}
	if boots == nil && len(o.senders) == onceSenders {
		return nil
	}
	if len(boots) == onceBoots {
		boots = slices.Delete(boots, 0, 1)
	}
	b := &onceBoot{boot: boot}
	o.senders[node] = append(boots, b)
	return b
}

func (b *onceBoot) fresh(seq int64) bool {
	if seq <= b.low || slices.Contains(b.seen, seq) {
		return false
	}
	if len(b.seen) < onceKept {
		b.seen = append(b.seen, seq)
		return true
	}
	b.low = max(b.low, b.seen[b.next])
	b.seen[b.next] = seq
	b.next = (b.next + 1) % onceKept
	return true
}

// Marks are the highest seq of each sender's boots, the oldest boot first, for Restore.
func (o *Once) Marks() (all []Mark) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, node := range slices.Sorted(maps.Keys(o.senders)) {
		for _, b := range o.senders[node] {
			high := b.low
			for _, seq := range b.seen {
				high = max(high, seq)
			}
			all = append(all, Mark{Node: node, Boot: b.boot, Kind: KindConnect, Seq: high})
		}
	}
	return all
}

// Restore refuses what is not newer than an earlier process's marks.
func (o *Once) Restore(marks []Mark) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, m := range marks {
		if b := o.of(m.Node, m.Boot); b != nil {
			b.low = max(b.low, m.Seq)
		}
	}
}
