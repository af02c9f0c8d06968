package lan

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"sentinel.home.arpa/shared/courier"
	"sentinel.home.arpa/shared/wire"
)

// Peers takes what the other Pis of the site say (rule G6). All its fields must be set.
type Peers struct {
	Log  *slog.Logger
	Key  wire.Key
	Self func() wire.Header // with the site
	// SinceBoot is CLOCK_BOOTTIME, and Since what it was when the process began: a word that
	// proves no more than that it is from before says nothing.
	SinceBoot func() time.Duration
	Since     time.Duration
	// KeyOf is the key of another Pi of the site, as the brain handed it out; false if there is
	// none of that name.
	KeyOf func(pi string) (wire.PublicKey, bool)
	// Said is told what one says, and how much longer than usual it was on its way.
	Said func(ctx context.Context, m *wire.PiReport, lag time.Duration)
	// Refused counts what changed nothing, by one of a few reasons.
	Refused func(reason string)

	seen wire.Sequence
	lags wire.Lags
}

// stale counts what does not prove that it is new.
const stale = "stale"

// Register puts the Pis' route on a mux.
func (p *Peers) Register(mux *http.ServeMux) { mux.HandleFunc("POST "+courier.PathPi, p.serve) }

// serve answers also what it does not take: by the answer the other can prove that its next word
// is new.
func (p *Peers) serve(w http.ResponseWriter, r *http.Request) {
	var m wire.PiReport
	self := p.Self()
	e, raw, err := courier.Receive(w, r)
	if err == nil {
		err = p.open(self, e, raw, &m)
	}
	if err != nil {
		reason := courier.Fail(w, err)
		p.Refused(reason)
		p.Log.Warn("message refused", "path", r.URL.Path, "from", r.RemoteAddr, "reason", reason, "err", err)
		return
	}
	a := wire.Answer{Header: self, To: m.Node, ToBoot: m.Boot, ToSeq: m.Seq}
	now := p.SinceBoot()
	switch why := p.old(self, &m, now); {
	case m.ToBoot == "": // it has heard nothing of this Pi yet
	case why != "":
		p.Refused(why)
		p.Log.Info("word of another Pi changes nothing", "pi", m.Node, "from", r.RemoteAddr, "reason", why)
	default:
		p.Said(r.Context(), &m, p.lags.Of(m.Header, now))
		a.Taken = []int{0}
	}
	if err := courier.Reply(w, a, p.Key); err != nil {
		p.Log.Debug("answer not delivered", "to", a.To, "err", err)
	}
}

// open reads a word that another Pi of the site says to this one.
func (p *Peers) open(self wire.Header, e *wire.Envelope, raw []byte, m *wire.PiReport) error {
	if len(raw) > wire.MaxPiReport {
		return &courier.Fault{Status: http.StatusRequestEntityTooLarge, Reason: "too-large", Err: fmt.Errorf("the message is over %d bytes", wire.MaxPiReport)}
	}
	key, ok := p.KeyOf(e.Header.Node)
	if !ok {
		return &courier.Fault{Status: http.StatusForbidden, Reason: "unknown", Err: fmt.Errorf("%s is not known here as another Pi of the site", e.Header.Node),
			Hint: "the brain has not handed its key out; it must know the Pi first"}
	}
	if err := courier.Decode(e, key, wire.KindPi, m); err != nil {
		return err
	}
	if m.To != self.Node || m.Site != self.Site {
		return &courier.Fault{Status: http.StatusForbidden, Reason: "forbidden", Err: errors.New("this is for another Pi or site")}
	}
	return nil
}

// old is why a word may be no new one; empty: it is. What names this Pi's word of a moment ago was
// said since.
func (p *Peers) old(self wire.Header, m *wire.PiReport, now time.Duration) (why string) {
	named := time.Duration(m.ToSeq) * time.Microsecond
	switch {
	case m.ToBoot != self.Boot, named < p.Since, named > now, now-named > wire.PiProofFor:
		return stale
	case !p.seen.Fresh(m.Header, wire.KindPi):
		return repeated
	}
	return ""
}
