package lan

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"

	"sentinel.home.arpa/shared/courier"
	"sentinel.home.arpa/shared/wire"
)

const (
	// heardFor is how long a node that fell silent is still reported.
	heardFor = time.Minute
	// heardMost bounds what one heartbeat of the Pi carries.
	heardMost = 250
	// askEach is how often the brain is asked about the same stranger, askMost about how many in that time.
	askEach, askMost = time.Minute, 8
	// MaxAnnouncement bounds the envelope of one, which has some 700 bytes: anybody may
	// send them, and a relay carries up to 32.
	MaxAnnouncement = 4 << 10
)

// errNotKept is all that the LAN hears of a full or broken disk; the log says more.
var errNotKept = errors.New("the Pi's disk takes nothing")

// Listener takes what nodes say on the LAN. All its fields must be set.
type Listener struct {
	Log *slog.Logger
	Key wire.Key
	Now func() time.Time
	// SinceBoot is CLOCK_BOOTTIME, by which the lag of a message is known.
	SinceBoot func() time.Duration
	Self      func() wire.Header
	// KeyOf is a node's key, as the brain handed it out; false if it is not known.
	KeyOf func(node string) (wire.PublicKey, bool)
	// Keep puts an announcement on disk; stranger is its signer if that is not known.
	Keep func(envelope []byte, stranger string) error
	// Ask has the brain hear of a stranger by its heartbeat, of which nothing is kept here.
	Ask  func(envelope []byte)
	Tell func(a *wire.Answer) // adds what nodes should know
	// NewBoot is told when a node is heard from a boot that it was not heard from before.
	NewBoot func()
	// Refused counts what changed nothing, by one of a few reasons.
	Refused func(reason string)
	Orders  Orders // nil: nobody is ordered anything

	seen  wire.Sequence
	lags  wire.Lags
	mu    sync.Mutex
	last  map[string]heard
	asked map[wire.PublicKey]time.Time // when the brain was last asked about a stranger
}

// repeated counts what was answered and yet changed nothing.
const repeated = "repeated"

type heard struct {
	wire.Heard
	at time.Time
}

// Register puts the nodes' routes on a mux.
func (l *Listener) Register(mux *http.ServeMux) {
	mux.HandleFunc("POST "+courier.PathHeartbeat, l.serve(l.heartbeat))
	mux.HandleFunc("POST "+courier.PathAnnounce, l.serve(l.announcement))
}

// serve answers what take takes, which tells whether it was a new heartbeat.
func (l *Listener) serve(take func(e *wire.Envelope, raw []byte) (beat bool, err error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		beat := false
		e, raw, err := courier.Receive(w, r)
		if err == nil {
			beat, err = take(e, raw)
		}
		if err != nil {
			reason := courier.Fail(w, err)
			l.Refused(reason)
			l.Log.Warn("message refused", "path", r.URL.Path, "from", r.RemoteAddr, "reason", reason, "err", err)
			return
		}
		a := wire.Answer{Header: l.Self(), To: e.Header.Node, ToBoot: e.Header.Boot, ToSeq: e.Header.Seq}
		l.Tell(&a)
		if beat && l.Orders != nil {
			a.Order = l.Orders.For(e.Header)
		}
		if err := courier.Reply(w, a, l.Key); err != nil {
			l.Log.Debug("answer not delivered", "to", a.To, "err", err)
		}
	}
}

func (l *Listener) heartbeat(e *wire.Envelope, raw []byte) (bool, error) {
	key, ok := l.KeyOf(e.Header.Node)
	if key != e.Signer {
		l.ask(e, raw)
	}
	if !ok {
		return false, &courier.Fault{Status: http.StatusForbidden, Reason: "unknown", Err: fmt.Errorf("%s is not known here", e.Header.Node),
			Hint: "the brain has not handed its key out: let the node in there (sentinel-cloud approve)"}
	}
	var m wire.Heartbeat
	if err := courier.Decode(e, key, wire.KindHeartbeat, &m); err != nil {
		return false, err
	}
	if !l.seen.Fresh(m.Header, wire.KindHeartbeat) {
		l.Refused(repeated)
		return false, nil
	}
	lag := l.lags.Of(m.Header, l.SinceBoot())
	if l.hear(m, lag) {
		l.NewBoot()
	}
	if l.Orders != nil {
		l.Orders.Heard(m.Node, m.Boot, m.State, lag)
	}
	return true, nil
}

// ask has the brain hear once in a while of a stranger, which may have no other way to it: a person
// lets it in there. Few are asked about, since anybody may make keys.
func (l *Listener) ask(e *wire.Envelope, raw []byte) {
	l.mu.Lock()
	now := l.Now()
	maps.DeleteFunc(l.asked, func(_ wire.PublicKey, at time.Time) bool { return now.Sub(at) >= askEach })
	_, lately := l.asked[e.Signer]
	full := len(l.asked) >= askMost
	l.mu.Unlock()
	var m wire.Heartbeat
	if lately || full || len(raw) > MaxAnnouncement || courier.Decode(e, e.Signer, wire.KindHeartbeat, &m) != nil {
		return
	}
	l.mu.Lock()
	if l.asked == nil {
		l.asked = map[wire.PublicKey]time.Time{}
	}
	l.asked[e.Signer] = now
	l.mu.Unlock()
	l.Ask(raw)
}

// hear notes a heartbeat as of when it was sent: one that waited in a buffer says nothing
// of now. It reports whether its boot is a new one.
func (l *Listener) hear(m wire.Heartbeat, lag time.Duration) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.last == nil {
		l.last = map[string]heard{}
	}
	before, at := l.last[m.Node], l.Now().Add(-lag)
	if before.Boot == m.Boot && before.at.After(at) {
		at = before.at
	}
	l.last[m.Node] = heard{wire.Heard{Node: m.Node, Boot: m.Boot, Seq: m.Seq, State: m.State}, at}
	return before.Boot != m.Boot
}

// announcement is on disk before it is acknowledged (rule A3). One that comes again, or
// was overtaken, is acknowledged and changes nothing (rule A7). What a stranger says marks
// nothing: its name may be another's.
func (l *Listener) announcement(e *wire.Envelope, raw []byte) (bool, error) {
	if len(raw) > MaxAnnouncement {
		return false, &courier.Fault{Status: http.StatusRequestEntityTooLarge, Reason: "too-large",
			Err: fmt.Errorf("the announcement is over %d bytes", MaxAnnouncement)}
	}
	key, known := l.KeyOf(e.Header.Node)
	stranger := ""
	if !known { // the brain decides; it may know the node by now
		key, stranger = e.Signer, string(e.Signer)
	}
	var m wire.Announcement
	if err := courier.Decode(e, key, wire.KindAnnouncement, &m); err != nil {
		return false, err
	}
	if known && !l.seen.Newer(m.Header, wire.KindAnnouncement) {
		l.Refused(repeated)
		return false, nil
	}
	if err := l.Keep(raw, stranger); err != nil {
		l.Log.Error("announcement not kept", "node", m.Node, "err", err)
		return false, &courier.Fault{Status: http.StatusServiceUnavailable, Reason: "spool", Err: errNotKept}
	}
	if known {
		l.seen.Fresh(m.Header, wire.KindAnnouncement)
	}
	if known && l.Orders != nil {
		l.Orders.Announced(m.Node, m.Boot, m.Kind)
	}
	l.Log.Info("announcement taken", "node", m.Node, "kind", m.Kind, "id", m.ID)
	return false, nil
}

// Heard are the nodes heard lately, for the Pi's own heartbeat.
func (l *Listener) Heard() []wire.Heard {
	now := l.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []wire.Heard
	for _, name := range slices.Sorted(maps.Keys(l.last)) {
		h := l.last[name]
		age := now.Sub(h.at)
		if age > heardFor || len(out) == heardMost {
			continue
		}
		h.AgeMS = age.Milliseconds()
		out = append(out, h.Heard)
	}
	return out
}

// SilentFor is how long a node has not been heard; nil if it never was.
func (l *Listener) SilentFor(node string) *time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	h, ok := l.last[node]
	if !ok {
		return nil
	}
	d := l.Now().Sub(h.at)
	return &d
}

// Ages are how long each node that was ever heard has not been heard.
func (l *Listener) Ages() map[string]time.Duration {
	now := l.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	ages := make(map[string]time.Duration, len(l.last))
	for name, h := range l.last {
		ages[name] = now.Sub(h.at)
	}
	return ages
}
