package ingest

import (
	"time"

	"sentinel.home.arpa/cloud/internal/sentinel"
	"sentinel.home.arpa/shared/wire"
)

// Orders are what hosts are ordered to do with the answers to their heartbeats (rule H10).
type Orders interface {
	// Heard notes a host's heartbeat of age ago, Announced what it has announced of a boot.
	Heard(name, boot, state string, age time.Duration)
	Announced(name, boot string, kind wire.ShutdownKind)
	// For is the sealed order that goes with the answer to a heartbeat; nil if there is none.
	For(heartbeat wire.Header) []byte
}

// order adds to the answer to a node's own heartbeat what it is ordered; to nothing that was
// answered before.
func (h *Handler) order(r *request) {
	if h.Orders != nil && !r.again && r.e.Kind == wire.KindHeartbeat && r.caller.Role == sentinel.Node {
		r.answer.Order = h.Orders.For(r.e.Header)
	}
}
