package wire

import (
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

// bootsKept is how many boots of a node are remembered. An envelope of an older boot
// passes for new; it explains the silence of that boot alone, so nothing comes of it.
const bootsKept = 16

// Sequence remembers the highest seq of each node, boot and kind. It is safe for
// concurrent use; the zero value is ready.
type Sequence struct {
	mu    sync.Mutex
	nodes map[string][]bootSeqs // by node, the oldest boot first
}

type bootSeqs struct {
	boot string
	high map[Kind]int64
}

// Fresh reports whether a verified message is newer than all before it, and remembers
// it. One that is not is a repetition: answered, but changing nothing.
func (s *Sequence) Fresh(h Header, kind Kind) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.nodes == nil {
		s.nodes = map[string][]bootSeqs{}
	}
	boots := s.nodes[h.Node]
	for _, b := range boots {
		if b.boot == h.Boot {
			if h.Seq <= b.high[kind] {
				return false
			}
			b.high[kind] = h.Seq
			return true
		}
	}
	if len(boots) == bootsKept {
		boots = append(boots[:0:0], boots[1:]...)
	}
	s.nodes[h.Node] = append(boots, bootSeqs{h.Boot, map[Kind]int64{kind: h.Seq}})
	return true
}
