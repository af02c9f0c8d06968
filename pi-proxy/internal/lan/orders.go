package lan

import (
	"time"

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
