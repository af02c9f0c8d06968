package ingest

import (
	"errors"
	"net/http"
	"sync"
	"time"

	"sentinel.home.arpa/cloud/internal/sentinel"
	"sentinel.home.arpa/shared/courier"
	"sentinel.home.arpa/shared/wire"
)

const (
	// recordLag is how late a record may come. The Pi gives a post up before, and sends what
	// is in it anew; what comes later was held back by somebody.
	recordLag = 10 * time.Second
	// heardBefore is for how long a Pi must have been heard: only then is its lag known for
	// sure, and with it how old a record is that somebody sends again after a restart.
	heardBefore = time.Second
)

// heardPis are since when Pis have been heard. It is safe for concurrent use; the zero
// value is ready.
type heardPis struct {
	mu  sync.Mutex
	all map[string]heardPi // by name
}

type heardPi struct {
	boot  string
	since time.Duration // CLOCK_BOOTTIME
}

// heard notes a Pi's fresh heartbeat.
func (p *heardPis) heard(of wire.Header, now time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.all == nil {
		p.all = map[string]heardPi{}
	}
	if p.all[of.Node].boot != of.Boot {
		p.all[of.Node] = heardPi{of.Boot, now}
	}
}

func (p *heardPis) known(of wire.Header, now time.Duration) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	pi := p.all[of.Node]
	return pi.boot == of.Boot && now-pi.since >= heardBefore
}

// record takes what a Pi noted while nobody heard it (rule N7). It is history: it feeds the
// timeline and the core's view of what an outage was, and nothing that begins a plan
// (rule U6). It is answered once it is on disk.
func (h *Handler) record(r *request) error {
	var m wire.Record
	known := h.pis.known(r.e.Header, h.SinceBoot())
	fresh, err := h.open(r, wire.KindRecord, &m)
	if err != nil {
		return err
	}
	r.bundle = m.Bundle
	switch {
	case !known: // it may be an old one that comes again
		err = later(heldBack, "this Pi has not been heard for long enough")
	case !fresh:
		err = later(answered, "this record was answered before")
	case r.lag > recordLag:
		err = later(heldBack, "this record was held back")
	}
	if err := allow(r.caller, err); err != nil {
		return err
	}
	return h.submit(r, sentinel.Recorded{Site: r.caller.Site, Pi: r.caller.Name, Entries: h.entries(r, &m), Left: m.Left})
}

// allow lets only a Pi through, and says so before anything else.
func allow(k Known, err error) error {
	if k.Role != sentinel.Pi {
		return forbidden(k, "is no Pi, and only a Pi keeps a record")
	}
	return err
}

// later refuses a record that the Pi is to send anew.
func later(reason, why string) error {
	return &courier.Fault{Status: http.StatusConflict, Reason: reason, Err: errors.New(why), Hint: "send it anew"}
}

// entries are those of a record that are about its site. A node that is not known here, or
// not any more, has no story; it is left out and counted.
func (h *Handler) entries(r *request, m *wire.Record) []sentinel.Record {
	var out []sentinel.Record
	strange := 0
	for _, n := range m.Entries {
		ago := time.Duration(n.AgeMS)*time.Millisecond + r.lag
		if n.UPS != "" {
			out = append(out, sentinel.Record{Ago: ago, AtLeast: n.AtLeast, UPS: n.UPS, Reading: *n.Reading})
			continue
		}
		k, ok := h.Identities.Lookup(n.Node)
		if !ok || k.Site != r.caller.Site || k.Role != sentinel.Node && k.Name != r.caller.Name {
			strange++
			continue
		}
		entry := sentinel.Record{Ago: ago, AtLeast: n.AtLeast, Node: n.Node, Heard: n.Heard}
		if c := n.Call; c != nil && k.Name == r.caller.Name {
			entry.Called, entry.Why = c.Contact, c.Why
		}
		out = append(out, entry)
	}
	if strange > 0 {
		h.Refused("recorded")
		h.Log.Warn("record tells of strangers, left out", "pi", r.caller.Name, "entries", strange)
	}
	return out
}
