package ingest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"sentinel.home.arpa/cloud/internal/liveness"
	"sentinel.home.arpa/cloud/internal/sentinel"
	"sentinel.home.arpa/shared/courier"
	"sentinel.home.arpa/shared/power"
	"sentinel.home.arpa/shared/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	boot1 = "11111111-1111-4111-8111-111111111111"
	boot2 = "22222222-2222-4222-8222-222222222222"
)

var errBusy = errors.New("the loop is busy")

// bench is a handler with everything around it: nodes pve1 and pve2 and the Pi of home,
// node nas of office, and a stranger whom nobody knows.
type bench struct {
	testing.TB
	mux   *http.ServeMux
	h     *Handler
	ids   *Identities
	table *liveness.Table
	brain wire.Key
	keys  map[string]wire.Key

	mu      sync.Mutex
	now     time.Duration // since the brain's boot
	seq     int64
	inputs  []sentinel.Input
	refused map[string]int
	bundles []string                                    // that askers said they have
	submit  func(context.Context, sentinel.Input) error // nil: taken
}

func newBench(t testing.TB) *bench {
	b := &bench{TB: t, mux: http.NewServeMux(), table: liveness.New(20 * time.Second), keys: map[string]wire.Key{},
		refused: map[string]int{}, now: time.Hour}
	b.brain = b.newKey()
	b.ids = &Identities{Now: b.time, Rules: Rules{Configured: map[string]wire.PublicKey{}, Sites: []string{"home", "office"}, Pis: map[string]string{"pi": "home"}}}
	for _, k := range []Known{{Name: "pve1", Site: "home", Role: sentinel.Node}, {Name: "pve2", Site: "home", Role: sentinel.Node},
		{Name: "pi", Site: "home", Role: sentinel.Pi}, {Name: "nas", Site: "office", Role: sentinel.Node}} {
		b.keys[k.Name] = b.newKey()
		k.Key = b.keys[k.Name].PublicKey()
		b.ids.Learn(k)
		b.ids.Configured[k.Name] = k.Key
	}
	b.keys["stranger"] = b.newKey()
	b.h = &Handler{PiIs: func(Known, wire.PiStatus) {}, Log: slog.New(slog.DiscardHandler), Key: b.brain, Identities: b.ids, Table: b.table,
		Now: b.time, SinceBoot: b.sinceBoot, Submit: b.take,
		Self: func() wire.Header {
			return wire.Header{V: wire.Version, Node: "brain", Boot: boot1, Seq: b.sinceBoot().Microseconds()}
		},
		Tell: func(_ Known, bundle string, a *wire.Answer) {
			a.BrainKey = b.brain.PublicKey()
			b.mu.Lock()
			defer b.mu.Unlock()
			b.bundles = append(b.bundles, bundle)
		},
		Refused: func(reason string) {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.refused[reason]++
		}}
	b.h.Register(b.mux)
	return b
}

func (b *bench) newKey() wire.Key {
	k, err := wire.NewKey()
	if err != nil {
		b.Fatal(err)
	}
	return k
}

func (b *bench) sinceBoot() time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.now
}

func (b *bench) time() time.Time {
	return time.Date(2026, 11, 21, 19, 0, 0, 0, time.UTC).Add(b.sinceBoot())
}

func (b *bench) pass(d time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.now += d
}

func (b *bench) take(ctx context.Context, in sentinel.Input) error {
	b.mu.Lock()
	submit := b.submit
	b.mu.Unlock()
	if submit != nil {
		if err := submit(ctx, in); err != nil {
			return err
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.inputs = append(b.inputs, in)
	return nil
}

// busy lets the loop refuse what matches; nil: nothing.
func (b *bench) busy(match func(sentinel.Input) bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.submit = nil
	if match != nil {
		b.submit = func(_ context.Context, in sentinel.Input) error {
			if match(in) {
				return errBusy
			}
			return nil
		}
	}
}

func anything(sentinel.Input) bool { return true }

// taken are the inputs so far; they are forgotten.
func (b *bench) taken() []sentinel.Input {
	b.mu.Lock()
	defer b.mu.Unlock()
	in := b.inputs
	b.inputs = nil
	return in
}

// header is the next one of a sender, whose clock runs as the brain's.
func (b *bench) header(node string) wire.Header {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.seq++
	return wire.Header{V: wire.Version, Node: node, Boot: boot1, Seq: b.now.Microseconds() + b.seq}
}

func (b *bench) seal(kind wire.Kind, m any, by string) []byte {
	data, err := wire.Seal(kind, m, b.keys[by])
	if err != nil {
		b.Fatal(err)
	}
	return data
}

func (b *bench) heartbeat(node string) []byte {
	return b.seal(wire.KindHeartbeat, wire.Heartbeat{Header: b.header(node), State: "running"}, node)
}

func (b *bench) announcement(node string, kind wire.ShutdownKind) []byte {
	return b.seal(wire.KindAnnouncement, wire.Announcement{Header: b.header(node), ID: "id-" + string(kind), Kind: kind}, node)
}

func (b *bench) report(by string, r power.Reading) []byte {
	return b.seal(wire.KindUPS, wire.UPSReport{Header: b.header(by), UPS: "ups", Reading: r}, by)
}

func (b *bench) relayed(by string, envelopes ...[]byte) []byte {
	m := wire.Relay{Header: b.header(by)}
	for _, e := range envelopes {
		m.Messages = append(m.Messages, wire.Relayed{AgeMS: 1500, Envelope: e})
	}
	return b.seal(wire.KindRelay, m, by)
}

func onMains() power.Reading { return power.Reading{Supply: power.Mains} }

func (b *bench) post(path string, body io.Reader) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	b.mux.ServeHTTP(w, httptest.NewRequestWithContext(b.Context(), http.MethodPost, path, body))
	return w
}

// send posts an envelope that must be taken, and returns the answer.
func (b *bench) send(path string, envelope []byte) wire.Answer {
	b.Helper()
	w := b.post(path, bytes.NewReader(envelope))
	if w.Code != http.StatusOK {
		b.Fatalf("%s answered %d %s", path, w.Code, w.Body)
	}
	e, err := wire.Read(w.Body.Bytes())
	if err != nil {
		b.Fatal(err)
	}
	if err := e.Verify(b.brain.PublicKey()); err != nil {
		b.Fatal(err)
	}
	var a wire.Answer
	if err := e.Decode(wire.KindAnswer, &a); err != nil {
		b.Fatal(err)
	}
	asked, err := wire.Read(envelope)
	if err != nil {
		b.Fatal(err)
	}
	if !a.Answers(asked.Header) {
		b.Errorf("the answer %+v is to another request than %+v", a, asked.Header)
	}
	return a
}

// refusedWith checks that an answer is one error in JSON.
func (b *bench) refusedWith(w *httptest.ResponseRecorder, status int) courier.ErrorBody {
	b.Helper()
	var body courier.ErrorBody
	if w.Code != status {
		b.Errorf("answered %d, not %d: %s", w.Code, status, w.Body)
	}
	if err := wire.Strict(w.Body.Bytes(), &body); err != nil || body.Error == "" {
		b.Errorf("the answer %q is no error in JSON: %v", w.Body, err)
	}
	if ct := w.Header().Get("Content-Type"); ct != "application/json" {
		b.Errorf("content type %q", ct)
	}
	return body
}

// world is everything that a message may change but a counter.
func (b *bench) world() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	data, err := json.Marshal(map[string]any{"inputs": len(b.inputs), "home": b.table.Site("home"), "office": b.table.Site("office"),
		"next": b.table.Next(), "pve1": b.ids.Keys("home"), "nas": b.ids.Keys("office")})
	if err != nil {
		b.Fatal(err)
	}
	return string(data)
}

func (b *bench) counted() map[string]int {
	b.mu.Lock()
	defer b.mu.Unlock()
	c := b.refused
	b.refused = map[string]int{}
	return c
}
