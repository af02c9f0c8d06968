package ingest

import (
	"context"
	"net"
	"sync"
	"time"

	"sentinel.home.arpa/cloud/internal/sentinel"
	"sentinel.home.arpa/shared/wire"
)

const (
	// forgedMany in forgedWithin are worth a notice (rule A7).
	forgedMany   = 3
	forgedWithin = time.Hour
	// repeatedEach is how often one sender's repetitions are logged.
	repeatedEach = time.Minute
)

// forgeries counts wrongly signed messages by the known name that they claim; all that
// claim one that nobody has are one. It is safe for concurrent use; the zero value is ready.
type forgeries struct {
	mu sync.Mutex
	of map[string]*forgery
}

type forgery struct {
	last []time.Time // the newest forgedMany
	told time.Time
}

// many counts a message, and reports whether it makes a notice due. What is told is not
// due again before it would be news.
func (f *forgeries) many(name string, now time.Time) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.of == nil {
		f.of = map[string]*forgery{}
	}
	x := f.of[name]
	if x == nil {
		x = &forgery{}
		f.of[name] = x
	}
	x.last = append(x.last, now)
	if len(x.last) > forgedMany {
		x.last = x.last[1:]
	}
	return len(x.last) == forgedMany && now.Sub(x.last[0]) <= forgedWithin && (x.told.IsZero() || now.Sub(x.told) >= forgedWithin)
}

func (f *forgeries) told(name string, now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.of[name].told = now
}

// forged notes a message whose signature is not its sender's.
func (h *Handler) forged(ctx context.Context, name, from string) {
	k, ok := h.Identities.Lookup(name)
	if !ok {
		k = Known{}
	}
	now := h.Now()
	if !h.forgeries.many(k.Name, now) {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), submitWithin) // its sender may hang up
	defer cancel()
	if err := h.Submit(ctx, sentinel.Forged{Site: k.Site, Name: k.Name, From: from, Times: forgedMany}); err != nil {
		h.Log.Warn("forged messages not told", "as", k.Name, "err", err) // the next one tries again
		return
	}
	h.forgeries.told(k.Name, now)
}

// repetitions are when a sender's were last logged. It is safe for concurrent use; the
// zero value is ready.
type repetitions struct {
	mu     sync.Mutex
	logged map[string]time.Time // by name, all of them known
}

func (r *repetitions) due(name string, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if at, ok := r.logged[name]; ok && now.Sub(at) < repeatedEach {
		return false
	}
	if r.logged == nil {
		r.logged = map[string]time.Time{}
	}
	r.logged[name] = now
	return true
}

// The reasons why what is true changes nothing: it is not newer than what was heard before, or
// a Pi sends a relay or a record as it was answered, or a record may be one that somebody kept.
const (
	repeated = "repeated"
	answered = "answered"
	heldBack = "held-back"
)

// repeated counts and logs a verified message that is not newer than one before it.
func (h *Handler) repeated(of wire.Header, kind wire.Kind) {
	h.Refused(repeated)
	if h.repetitions.due(of.Node, h.Now()) {
		h.Log.Info("message repeated, nothing changed", "node", of.Node, "boot", of.Boot, "seq", of.Seq, "kind", kind)
	}
}

// host is an address without its port.
func host(addr string) string {
	if h, _, err := net.SplitHostPort(addr); err == nil {
		return h
	}
	return addr
}
