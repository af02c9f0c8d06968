package lan

import (
	"slices"

	"sentinel.home.arpa/shared/wire"
)

// Seen is what of the nodes' messages must outlive the process, so that an old one that
// comes again is known for what it is. The spool holds the marks of what is in it.
//
// A heartbeat that came after this was last written down passes for fresh after a crash.
// In the same boot of the Pi its lag tells how old it is, and it counts as heard then. If
// the Pi itself was started anew nothing tells, since its clocks started anew as well: it
// counts as heard now, once, until the node's next true one overtakes it.
type Seen struct {
	Marks []wire.Mark `json:"marks,omitempty"`
	Ways  []wire.Way  `json:"ways,omitempty"`
}

// Seen is what is remembered of all nodes, or of those that are known now.
func (l *Listener) Seen(all bool) Seen {
	return Seen{
		Marks: slices.DeleteFunc(l.seen.Marks(), func(m wire.Mark) bool { return !all && !l.knows(m.Node) }),
		Ways:  slices.DeleteFunc(l.lags.Ways(), func(w wire.Way) bool { return !all && !l.knows(w.Node) }),
	}
}

func (l *Listener) knows(node string) bool {
	_, ok := l.KeyOf(node)
	return ok
}

// Restore takes up what an earlier process has seen, before anything is served. Ways are
// only for one of the same boot.
func (l *Listener) Restore(s Seen) {
	l.seen.Restore(s.Marks)
	l.lags.Restore(s.Ways)
}

// RestoreKept takes up an announcement that an earlier process has kept.
func (l *Listener) RestoreKept(envelope []byte) {
	e, err := wire.Read(envelope)
	if err != nil || e.Kind != wire.KindAnnouncement {
		return
	}
	if key, ok := l.KeyOf(e.Header.Node); ok && e.Verify(key) == nil {
		l.seen.Fresh(e.Header, wire.KindAnnouncement)
	}
}
