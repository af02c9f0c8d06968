package ingest

import (
	"sync"

	"sentinel.home.arpa/shared/wire"
)

// unsaved are announcements that were seen and may not be on disk. Their senders get no
// yes before they are, and post them again; so does the Pi that holds a copy (rule A3).
// It is safe for concurrent use; the zero value is ready.
type unsaved struct {
	mu   sync.Mutex
	seqs map[string]map[int64]bool // by node and boot
}

// begin reports whether an announcement must be submitted: it is new, or a copy of one
// that is still unsaved.
func (u *unsaved) begin(h wire.Header, fresh bool) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	of := h.Node + "/" + h.Boot
	if !fresh {
		return u.seqs[of][h.Seq]
	}
	if u.seqs == nil {
		u.seqs = map[string]map[int64]bool{}
	}
	if u.seqs[of] == nil {
		u.seqs[of] = map[int64]bool{}
	}
	u.seqs[of][h.Seq] = true
	return true
}

// done notes that an announcement is on disk. What the same boot said before is overtaken.
func (u *unsaved) done(h wire.Header) {
	u.mu.Lock()
	defer u.mu.Unlock()
	of := h.Node + "/" + h.Boot
	for seq := range u.seqs[of] {
		if seq <= h.Seq {
			delete(u.seqs[of], seq)
		}
	}
	if len(u.seqs[of]) == 0 {
		delete(u.seqs, of)
	}
}
