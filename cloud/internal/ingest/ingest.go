package ingest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"sentinel.home.arpa/cloud/internal/liveness"
	"sentinel.home.arpa/cloud/internal/sentinel"
	"sentinel.home.arpa/shared/courier"
	"sentinel.home.arpa/shared/wire"
)

// Handler serves the programs' routes. All its fields must be set.
type Handler struct {
	Log        *slog.Logger
	Key        wire.Key
	Identities *Identities
	Table      *liveness.Table
	Now        func() time.Time     // the brain's time
	SinceBoot  func() time.Duration // CLOCK_BOOTTIME
	// Submit hands an input to the loop and returns once what follows is on disk.
	Submit func(ctx context.Context, in sentinel.Input) error
	// Self is the header of an answer; Tell adds what the asker should know.
	Self func() wire.Header
	Tell func(asker Known, bundle string, a *wire.Answer)
	// PiIs takes what a Pi says of itself: where its LAN reaches it, and which
	// credentials it lacks.
	PiIs    func(pi Known, says wire.PiStatus)
	Refused func(reason string) // counts
	Orders  Orders              // nil: nobody is ordered anything

	seen    wire.Sequence
	lags    wire.Lags
	untold  sync.Map // of liveness.Key: transitions that the loop did not take
	unsaved unsaved
	pis     heardPis
	telling sync.Mutex

	forgeries   forgeries
	repetitions repetitions
}

// Remember notes a message that an earlier process took: it is a repetition now.
func (h *Handler) Remember(kind wire.Kind, node, boot string, seq int64) {
	h.seen.Fresh(wire.Header{Node: node, Boot: boot, Seq: seq}, kind)
}

// submitWithin bounds how long a post waits for the loop and the disk.
const submitWithin = 5 * time.Second

// Register puts the routes on a mux.
func (h *Handler) Register(mux *http.ServeMux) {
	mux.HandleFunc("POST "+courier.PathHeartbeat, h.serve(h.heartbeat))
	mux.HandleFunc("POST "+courier.PathUPS, h.serve(h.upsReport))
	mux.HandleFunc("POST "+courier.PathAnnounce, h.serve(h.announcement))
	mux.HandleFunc("POST "+courier.PathRelay, h.serve(h.relay))
	mux.HandleFunc("POST "+courier.PathRecord, h.serve(h.record))
}

// request is one verified post under way.
type request struct {
	ctx    context.Context
	until  time.Time // when the loop must have taken all that follows from it
	e      *wire.Envelope
	caller Known
	lag    time.Duration
	answer *wire.Answer
	bundle string // hash of the bundle that a Pi says it has
	again  bool   // it was answered before, and nothing comes of it
}

func (h *Handler) serve(take func(*request) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		req, e, err := h.take(w, r, take)
		if err != nil {
			reason := courier.Fail(w, err)
			h.Refused(reason)
			h.Log.Warn("message refused", "path", r.URL.Path, "from", r.RemoteAddr, "reason", reason, "err", err)
			if reason == forged {
				h.forged(r.Context(), e.Header.Node, host(r.RemoteAddr))
			}
			return
		}
		if err := h.reply(w, r, req); err != nil {
			h.Log.Debug("answer not delivered", "to", req.answer.To, "err", err)
		}
	}
}

// reply sends an answer, signed unless the tailnet vouches for it and the asker relies on that.
// A node's heartbeat may be told that nothing is new.
func (h *Handler) reply(w http.ResponseWriter, r *http.Request, req *request) error {
	if h.Identities.WhoIs == nil || !courier.TakesBare(r) {
		return courier.Reply(w, *req.answer, h.Key)
	}
	if c := connectionOf(r.Context()); c != nil && req.e.Kind == wire.KindHeartbeat && req.caller.Role == sentinel.Node {
		return courier.ReplyTold(w, r, req.answer, &c.told)
	}
	return courier.ReplyBare(w, req.answer)
}

// take answers a post. The envelope is returned with an error too, if it could be read.
func (h *Handler) take(w http.ResponseWriter, r *http.Request, take func(*request) error) (*request, *wire.Envelope, error) {
	e, _, err := courier.Receive(w, r)
	if err != nil {
		return nil, nil, err
	}
	caller, err := h.Identities.Direct(r, e)
	if err != nil {
		return nil, e, err
	}
	req := &request{ctx: r.Context(), until: time.Now().Add(submitWithin), e: e, caller: caller, answer: &wire.Answer{To: e.Header.Node, ToBoot: e.Header.Boot, ToSeq: e.Header.Seq}}
	if err := take(req); err != nil {
		return nil, e, err
	}
	h.telling.Lock() // what is told is never older than in an answer with a lower seq
	defer h.telling.Unlock()
	req.answer.Header = h.Self()
	if req.again && caller.Role == sentinel.Pi {
		return req, e, nil // it may be anybody who sends it: it confirms no bundle, and has nobody told anything
	}
	h.Tell(caller, req.bundle, req.answer)
	h.order(req)
	return req, e, nil
}

// open verifies and decodes the request's message. A repeated one is false: it is
// answered, but changes nothing.
func (h *Handler) open(r *request, kind wire.Kind, into wire.Message) (fresh bool, err error) {
	if err := h.Identities.open(r.ctx, r.e, r.caller, kind, into); err != nil {
		return false, err
	}
	if !h.seen.Fresh(r.e.Header, kind) {
		if kind != wire.KindRelay && kind != wire.KindRecord { // which are refused for it, and so counted
			h.repeated(r.e.Header, kind)
		}
		r.again = true
		return false, nil
	}
	r.lag = h.lags.Of(r.e.Header, h.SinceBoot())
	return true, nil
}

func (h *Handler) heartbeat(r *request) error {
	var m wire.Heartbeat
	fresh, err := h.open(r, wire.KindHeartbeat, &m)
	if err != nil {
		return err
	}
	if m.Pi != nil && r.caller.Role != sentinel.Pi {
		return forbidden(r.caller, "is no Pi")
	}
	if !fresh {
		return nil
	}
	h.beat(r, r.caller, liveness.Beat{Boot: m.Boot, State: m.State, Age: r.lag, Seq: m.Seq})
	if m.Pi == nil {
		return nil
	}
	r.bundle = m.Pi.Bundle
	h.pis.heard(m.Header, h.SinceBoot())
	h.PiIs(r.caller, *m.Pi)
	for _, n := range m.Pi.Heard {
		if k, ok := h.Identities.Lookup(n.Node); ok && k.Site == r.caller.Site && k.Role == sentinel.Node {
			age := time.Duration(n.AgeMS)*time.Millisecond + r.lag
			h.beat(r, k, liveness.Beat{Boot: n.Boot, State: n.State, Via: r.caller.Name, Age: age, Seq: n.Seq})
		}
	}
	if m.Pi.Run != nil {
		return h.submit(r, sentinel.PiReported{Site: r.caller.Site, Pi: r.caller.Name, Run: *m.Pi.Run, Boot: m.Boot, Seq: m.Seq})
	}
	return nil
}

// beat is the hot path: only what changes reaches the loop, and nobody waits for it.
func (h *Handler) beat(r *request, k Known, b liveness.Beat) {
	b.Key, b.Pi = liveness.Key{Site: k.Site, Name: k.Name}, k.Role == sentinel.Pi
	now := h.Now()
	news := h.Table.Beat(now, b)
	of := b.Key
	if news.As != "" {
		of.Name = news.As
	} else if h.Orders != nil && k.Role == sentinel.Node {
		h.Orders.Heard(k.Name, b.Boot, b.State, b.Age)
	}
	if _, again := h.untold.Load(of); again && h.counts(of, now.Add(-b.Age)) {
		h.untold.Delete(of)
		news.Heard, news.State = true, b.State != ""
	}
	if news.Cloned != "" && !h.cloned(r, k, b, news) {
		return
	}
	if news.Heard && news.Cloned == "" {
		h.tell(r, of, sentinel.Heard{Site: k.Site, Name: of.Name, Role: k.Role, Boot: b.Boot, Via: b.Via})
	}
	if news.State {
		h.tell(r, of, sentinel.SystemState{Site: k.Site, Name: of.Name, Boot: b.Boot, State: b.State})
	}
	if news.Indirect {
		h.tellOrKeep(r, of, news, sentinel.Indirect{Site: k.Site, Name: of.Name, Via: b.Via, Since: news.Since})
	}
	if news.Direct {
		h.tellOrKeep(r, of, news, sentinel.Direct{Site: k.Site, Name: of.Name})
	}
}

// counts reports whether the table took the word of that moment: one that came too late, or
// is of a boot that is over, says nothing of now, and so cannot tell again what was not told.
func (h *Handler) counts(of liveness.Key, at time.Time) bool {
	last, _, known := h.Table.Last(of)
	return known && last.Equal(at)
}

// cloned tells of a second machine under a name, which has just spoken, and lets the first
// have its name back (rule H11). What the loop does not take will show again.
func (h *Handler) cloned(r *request, k Known, b liveness.Beat, news liveness.News) bool {
	err := h.submit(r, sentinel.Cloned{Site: k.Site, Name: k.Name, As: news.As, Boot: b.Boot})
	if err != nil {
		h.Log.Warn("a second machine under one name was not told", "node", k.Name, "err", err)
		h.Table.Forget(liveness.Key{Site: k.Site, Name: news.As})
		return false
	}
	h.tell(r, b.Key, sentinel.Heard{Site: k.Site, Name: k.Name, Role: k.Role, Boot: news.Cloned})
	return true
}

// tellOrKeep submits news that is the table's to tell again.
func (h *Handler) tellOrKeep(r *request, of liveness.Key, news liveness.News, in sentinel.Input) {
	if err := h.submit(r, in); err != nil {
		h.Table.Untold(of, news)
		h.Log.Warn("transition not taken", "input", fmt.Sprintf("%T", in), "err", err)
	}
}

// tell submits a transition whose message needs no durable answer. One that the loop did
// not take is told again with the next beat: a node that it holds for down would not be
// missed a second time.
func (h *Handler) tell(r *request, of liveness.Key, in sentinel.Input) {
	if err := h.submit(r, in); err != nil {
		h.untold.Store(of, true)
		h.Log.Warn("transition not taken", "input", fmt.Sprintf("%T", in), "err", err)
	}
}

func (h *Handler) upsReport(r *request) error {
	var m wire.UPSReport
	fresh, err := h.open(r, wire.KindUPS, &m)
	if err != nil {
		return err
	}
	if r.caller.Role != sentinel.Pi {
		return forbidden(r.caller, "is no Pi, and only a Pi reports a UPS")
	}
	if !fresh {
		return nil
	}
	r.bundle = m.Bundle
	if m.Run != nil { // before the report: it may keep the brain from beginning
		if err := h.submit(r, sentinel.PiReported{Site: r.caller.Site, Pi: r.caller.Name, Run: *m.Run, Boot: m.Boot, Seq: m.Seq}); err != nil {
			return err
		}
	}
	return h.submit(r, sentinel.UPSReported{Site: r.caller.Site, Pi: r.caller.Name, UPS: m.UPS, Reading: m.Reading, Lag: r.lag,
		Boot: m.Boot, Seq: m.Seq, Cutting: m.Cutting})
}

func (h *Handler) announcement(r *request) error {
	var m wire.Announcement
	fresh, err := h.open(r, wire.KindAnnouncement, &m)
	if err != nil {
		return err
	}
	return h.announce(r, fresh, m.Header, announced(r.caller, m, "", r.lag))
}

// announce submits an announcement, once: one that comes again changes nothing, unless
// nobody knows yet that the first is on disk.
func (h *Handler) announce(r *request, fresh bool, of wire.Header, in sentinel.Announced) error {
	if !h.unsaved.begin(of, fresh) {
		return nil
	}
	if err := h.submit(r, in); err != nil {
		return err
	}
	h.unsaved.done(of)
	if h.Orders != nil {
		h.Orders.Announced(in.Name, in.Boot, wire.ShutdownKind(in.Kind))
	}
	return nil
}

func announced(k Known, m wire.Announcement, via string, age time.Duration) sentinel.Announced {
	kind := string(m.Kind)
	if k.Role == sentinel.Pi && m.Kind == wire.SoftReboot {
		kind = sentinel.Restart
	}
	return sentinel.Announced{Site: k.Site, Name: k.Name, Boot: m.Boot, ID: m.ID, Kind: kind,
		Returns: m.Kind.Returns(), Via: via, Age: age, Seq: m.Seq}
}

// relay takes envelopes that a Pi holds for nodes. Each is judged by its own signature;
// one that can never be taken is taken off the Pi's hands and counted.
func (h *Handler) relay(r *request) error {
	var m wire.Relay
	fresh, err := h.open(r, wire.KindRelay, &m)
	if err != nil {
		return err
	}
	if r.caller.Role != sentinel.Pi {
		return forbidden(r.caller, "is no Pi, and only a Pi relays")
	}
	if !fresh {
		return &courier.Fault{Status: http.StatusConflict, Reason: answered, Err: errors.New("this relay was answered before"), Hint: "send it anew"}
	}
	for i, msg := range m.Messages {
		age := time.Duration(msg.AgeMS)*time.Millisecond + r.lag
		e, err := wire.Read(msg.Envelope)
		if err == nil {
			err = h.relayed(r, e, age)
		}
		var no *courier.Fault
		switch {
		case errors.Is(err, errLater):
			continue
		case err != nil:
			h.Refused("relayed")
			h.Log.Warn("relayed message refused", "pi", r.caller.Name, "err", err)
			if errors.As(err, &no) && no.Reason == forged {
				h.forged(r.ctx, e.Header.Node, "the LAN of "+r.caller.Name)
			}
		}
		r.answer.Taken = append(r.answer.Taken, i)
	}
	return nil
}

// forged is the reason of a wrong signature.
const forged = "forged"

// errLater leaves a relayed message with the Pi.
var errLater = errors.New("not now")

func (h *Handler) relayed(r *request, e *wire.Envelope, age time.Duration) error {
	k, ok := h.Identities.Lookup(e.Header.Node)
	asks := e.Kind == wire.KindAnnouncement || e.Kind == wire.KindHeartbeat // a Pi passes on a heartbeat of whom it does not know
	var m wire.Announcement
	switch {
	case !ok && asks:
		return h.Identities.relayedStranger(r.caller, e, "nobody has said that it belongs here")
	case !ok || k.Site != r.caller.Site || k.Role != sentinel.Node:
		return fmt.Errorf("%s is no node of %s", e.Header.Node, r.caller.Site)
	case k.Key != e.Signer && asks && h.Identities.rules().Configured[k.Name] == "": // else it is forged
		return h.Identities.relayedStranger(r.caller, e, "it is known by another key")
	case e.Kind == wire.KindHeartbeat:
		return fmt.Errorf("%s sends its heartbeats itself, or has a key that is not the one in cloud.yaml", e.Header.Node)
	}
	if err := courier.Decode(e, k.Key, wire.KindAnnouncement, &m); err != nil {
		return err
	}
	fresh := h.seen.Fresh(e.Header, wire.KindAnnouncement) // or it came by another route
	if err := h.announce(r, fresh, e.Header, announced(k, m, r.caller.Name, age)); err != nil {
		return errLater
	}
	return nil
}

func (h *Handler) submit(r *request, in sentinel.Input) error {
	ctx, cancel := context.WithDeadline(r.ctx, r.until)
	defer cancel()
	if err := h.Submit(ctx, in); err != nil {
		return &courier.Fault{Status: http.StatusServiceUnavailable, Reason: "busy", Err: err}
	}
	return nil
}

func forbidden(k Known, what string) error {
	return &courier.Fault{Status: http.StatusForbidden, Reason: "forbidden", Err: fmt.Errorf("%s %s", k.Name, what)}
}
