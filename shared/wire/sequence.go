package wire

import (
	"cmp"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Counter gives a process's messages their seq: CLOCK_BOOTTIME in µs, rising with each.
// It is safe for concurrent use; the zero value is ready.
type Counter struct{ last atomic.Int64 }

// Next is the seq of a message made at that time since boot.
func (c *Counter) Next(sinceBoot time.Duration) int64 {
	for {
		last := c.last.Load()
		seq := max(sinceBoot.Microseconds(), last+1)
		if c.last.CompareAndSwap(last, seq) {
			return seq
		}
	}
}

// bootsKept is how many boots of a node are remembered. An envelope of one that is forgotten
// passes for new, as if the node had booted.
const bootsKept = 16

// restoredHeard is how often a boot counts as heard of which an earlier version wrote down no
// number: for an hour.
const restoredHeard = 3600

// Sequence remembers the highest seq of each node, boot and kind. It is safe for
// concurrent use; the zero value is ready.
type Sequence struct {
	mu    sync.Mutex
	nodes map[string][]bootSeqs // by node, the last heard last
}

type bootSeqs struct {
	boot  string
	heard int // messages
	high  map[Kind]int64
}

// Mark is the highest seq of one node, boot and kind, as it is written down.
type Mark struct {
	Node string `json:"node"`
	Boot string `json:"boot"`
	Kind Kind   `json:"kind"`
	Seq  int64  `json:"seq"`
	// Heard is how many messages of the boot there were, of whatever kind. It decides which boot
	// makes room for another, also after a restart: if all that an earlier process heard counted
	// as much, a few words of long past boots would push out the one that runs.
	Heard int `json:"heard,omitempty"`
}

// Fresh reports whether a verified message is newer than all before it, and remembers
// it. One that is not is a repetition: answered, but changing nothing.
func (s *Sequence) Fresh(h Header, kind Kind) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.newer(h, kind) {
		return false
	}
	s.raise(Mark{Node: h.Node, Boot: h.Boot, Kind: kind, Seq: h.Seq}, 1)
	return true
}

// Newer is Fresh that remembers nothing yet: for a message that must be on disk first.
func (s *Sequence) Newer(h Header, kind Kind) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.newer(h, kind)
}

func (s *Sequence) newer(h Header, kind Kind) bool {
	for _, b := range s.nodes[h.Node] {
		if b.boot == h.Boot {
			return h.Seq > b.high[kind]
		}
	}
	return true
}

// raise makes a boot its node's last heard. The one that was heard least makes room for
// another, of several the one heard least recently, and never the last heard: who sends a
// word each of many old boots pushes those out, not the one that a node was known by.
func (s *Sequence) raise(m Mark, heard int) {
	if s.nodes == nil {
		s.nodes = map[string][]bootSeqs{}
	}
	boots := s.nodes[m.Node]
	b, least := bootSeqs{boot: m.Boot, high: map[Kind]int64{}}, 0
	for i := range boots {
		if boots[i].boot == m.Boot {
			b, least = boots[i], i
			break
		}
		if i < len(boots)-1 && boots[i].heard < boots[least].heard {
			least = i
		}
	}
	if b.heard > 0 || len(boots) == bootsKept {
		boots = append(boots[:least], boots[least+1:]...)
	}
	b.heard += heard
	b.high[m.Kind] = max(b.high[m.Kind], m.Seq)
	s.nodes[m.Node] = append(boots, b)
}

// Marks are all that is remembered, the last heard boot of a node last, for Restore after a
// restart.
func (s *Sequence) Marks() (all []Mark) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, node := range slices.Sorted(maps.Keys(s.nodes)) {
		for _, b := range s.nodes[node] {
			for _, kind := range slices.Sorted(maps.Keys(b.high)) {
				all = append(all, Mark{node, b.boot, kind, b.high[kind], b.heard})
			}
		}
	}
	return all
}

// Restore takes up what an earlier process remembered.
func (s *Sequence) Restore(marks []Mark) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range marks {
		s.raise(m, 0)
		b := &s.nodes[m.Node][len(s.nodes[m.Node])-1]
		b.heard = max(b.heard, cmp.Or(m.Heard, restoredHeard))
	}
}
