package ingest

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/iotest"

	"sentinel.home.arpa/shared/courier"
	"sentinel.home.arpa/shared/power"
	"sentinel.home.arpa/shared/wire"
)

// route is one of the programs' routes, and somebody who may use it.
type route struct {
	path string
	kind wire.Kind
	by   string
}

var routes = []route{
	{courier.PathHeartbeat, wire.KindHeartbeat, "pve1"},
	{courier.PathUPS, wire.KindUPS, "pi"},
	{courier.PathAnnounce, wire.KindAnnouncement, "pve1"},
	{courier.PathRelay, wire.KindRelay, "pi"},
	{courier.PathRecord, wire.KindRecord, "pi"},
}

// message is a good one for the route, as JSON would have it.
func (b *bench) message(r route) map[string]any {
	h := b.header(r.by)
	m := map[string]any{"v": h.V, "node": h.Node, "boot": h.Boot, "seq": h.Seq}
	switch r.kind {
	case wire.KindUPS:
		m["ups"], m["reading"] = "ups", onMains()
	case wire.KindAnnouncement:
		m["id"], m["kind"] = "x", "reboot"
	case wire.KindRecord:
		m["entries"], m["left"] = []any{map[string]any{"age_ms": 5, "ups": "ups", "reading": onMains()}}, 0
	case wire.KindRelay:
		m["messages"] = []any{map[string]any{"age_ms": 5, "envelope": b.announcement("pve2", wire.Reboot)}}
	}
	return m
}

func (b *bench) good(r route) []byte { return b.seal(r.kind, b.message(r), r.by) }

// with is a good message with one field changed, signed as it should be.
func (b *bench) with(r route, key string, value any) []byte {
	m := b.message(r)
	m[key] = value
	return b.seal(r.kind, m, r.by)
}

// edit changes the envelope around a message, without a new signature.
func (b *bench) edit(envelope []byte, change func(e map[string]any)) []byte {
	var e map[string]any
	if err := json.Unmarshal(envelope, &e); err != nil {
		b.Fatal(err)
	}
	change(e)
	out, err := json.Marshal(e)
	if err != nil {
		b.Fatal(err)
	}
	return out
}

func signature(e map[string]any) map[string]any { return e["signatures"].([]any)[0].(map[string]any) }

type refusal struct {
	name   string
	status int
	reason string
	body   io.Reader
}

// refusals are those that every route has in common.
func (b *bench) refusals(r route) []refusal {
	bad := func(name string, status int, reason string, body []byte) refusal {
		return refusal{name, status, reason, bytes.NewReader(body)}
	}
	good := b.good(r)
	other := wire.KindHeartbeat
	if r.kind == other {
		other = wire.KindAnnouncement
	}
	stranger := b.message(r)
	stranger["node"] = "stranger"
	nul := b.edit(b.good(r), func(e map[string]any) { e["payload"] = "!!!" })
	return []refusal{
		bad("empty", 400, "malformed", nil),
		bad("truncated", 400, "malformed", good[:len(good)/2]),
		bad("no JSON", 400, "malformed", []byte("GET / HTTP/1.1\r\n\r\n")),
		bad("a list", 400, "malformed", []byte("[]")),
		bad("null", 400, "malformed", []byte("null")),
		bad("binary", 400, "malformed", []byte{0, 0xff, 0xfe, 0x80}),
		bad("deeply nested", 400, "malformed", []byte(strings.Repeat("[", 50_000))),
		bad("something behind it", 400, "malformed", append(bytes.Clone(good), "{}"...)),
		bad("an unknown field in the envelope", 400, "malformed", b.edit(b.good(r), func(e map[string]any) { e["extra"] = 1 })),
		bad("two signatures", 400, "malformed", b.edit(b.good(r), func(e map[string]any) {
			e["signatures"] = []any{signature(e), signature(e)}
		})),
		bad("no signature", 400, "malformed", b.edit(b.good(r), func(e map[string]any) { e["signatures"] = []any{} })),
		bad("no key", 400, "malformed", b.edit(b.good(r), func(e map[string]any) { signature(e)["keyid"] = "" })),
		bad("no base64", 400, "malformed", nul),
		{"10 MB", 413, "too-large", io.LimitReader(endless{}, 10<<20)},
		{"cut off on its way", 408, "slow", io.MultiReader(bytes.NewReader(good[:len(good)/2]), iotest.ErrReader(io.ErrUnexpectedEOF))},
		{"too slow", 408, "slow", iotest.ErrReader(errors.New("i/o timeout"))},
		bad("an unknown field", 400, "malformed", b.with(r, "extra", 1)),
		bad("seq is text", 400, "malformed", b.with(r, "seq", "12")),
		bad("seq is negative", 400, "malformed", b.with(r, "seq", -1)),
		bad("seq is a fraction", 400, "malformed", b.with(r, "seq", 1.5)),
		bad("no boot id", 400, "malformed", b.with(r, "boot", "yesterday")),
		bad("a newer version", 400, "malformed", b.with(r, "v", wire.Version+1)),
		bad("no name", 400, "malformed", b.with(r, "node", "../../etc/passwd")),
		bad("another kind's message", 400, "malformed", b.seal(other, b.message(r), r.by)),
		bad("a kind that nobody knows", 400, "malformed", b.seal("application/vnd.sentinel.order+json", b.message(r), r.by)),
		bad("another kind's signature", 403, "forged", b.edit(b.seal(other, b.message(r), r.by), func(e map[string]any) { e["payloadType"] = r.kind })),
		bad("another node's signature", 403, "forged", b.seal(r.kind, b.message(r), "pve2")),
		bad("another node's signature under its name", 403, "forged", b.edit(b.seal(r.kind, b.message(r), "pve2"), func(e map[string]any) {
			signature(e)["keyid"] = b.keys[r.by].PublicKey()
		})),
		bad("a changed payload", 403, "forged", b.edit(b.good(r), func(e map[string]any) {
			m := b.message(r)
			data, err := json.Marshal(m)
			if err != nil {
				b.Fatal(err)
			}
			e["payload"] = base64.StdEncoding.EncodeToString(data)
		})),
		bad("a stranger", 403, "unknown", b.seal(r.kind, stranger, "stranger")),
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = '{'
	}
	return len(p), nil
}

// check posts something bad and looks at what came of it.
func (b *bench) check(path string, bad refusal) {
	b.Helper()
	before := b.world()
	b.counted()
	w := b.post(path, bad.body)
	b.refusedWith(w, bad.status)
	if after := b.world(); after != before {
		b.Errorf("it changed something:\n%s\n%s", before, after)
	}
	if got := b.counted(); !maps.Equal(got, map[string]int{bad.reason: 1}) {
		b.Errorf("counted %v, not one %s", got, bad.reason)
	}
}

// TestR2_BadInputChangesNothing: one clear error, and nothing changed but its counter.
func TestR2_BadInputChangesNothing(t *testing.T) {
	for _, r := range routes {
		probe := newBench(t)
		for i, bad := range probe.refusals(r) {
			t.Run(r.path[4:]+"/"+bad.name, func(t *testing.T) {
				b := newBench(t)
				b.send(courier.PathHeartbeat, b.heartbeat("pve1")) // there is something to change
				b.trusts("pi")
				b.taken()
				b.check(r.path, b.refusals(r)[i])
				b.send(r.path, b.good(r)) // and the next good one is taken
			})
		}
	}
}

// TestR1_NobodySpeaksForOthers: a node for itself alone, and only a Pi for a UPS.
func TestR1_NobodySpeaksForOthers(t *testing.T) {
	for _, tt := range []struct {
		name, path string
		envelope   func(b *bench) []byte
	}{
		{"a node reports a UPS", courier.PathUPS, func(b *bench) []byte { return b.report("pve1", onMains()) }},
		{"a node relays", courier.PathRelay, func(b *bench) []byte { return b.relayed("pve1", b.announcement("pve2", wire.Poweroff)) }},
		{"a node keeps a record", courier.PathRecord, func(b *bench) []byte { return b.record("pve1", 0) }},
		{"a node says whom it hears", courier.PathHeartbeat, func(b *bench) []byte {
			m := wire.Heartbeat{Header: b.header("pve1"), Pi: &wire.PiStatus{Heard: []wire.Heard{{Node: "pve2", Boot: boot1, Seq: 9}}}}
			return b.seal(wire.KindHeartbeat, m, "pve1")
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t)
			b.check(tt.path, refusal{"", 403, "forbidden", bytes.NewReader(tt.envelope(b))})
		})
	}
}

// TestU6_ValuesThatCannotBe are refused, never acted on.
func TestU6_ValuesThatCannotBe(t *testing.T) {
	ratio := func(v float64) *float64 { return &v }
	seconds := func(v power.Seconds) *power.Seconds { return &v }
	for name, change := range map[string]func(r *power.Reading){
		"a charge of 250 %":          func(r *power.Reading) { r.Charge = ratio(2.5) },
		"a negative charge":          func(r *power.Reading) { r.Charge = ratio(-0.01) },
		"a negative runtime":         func(r *power.Reading) { r.Runtime = seconds(-1) },
		"a runtime of a year":        func(r *power.Reading) { r.Runtime = seconds(365 * 24 * 3600) },
		"on battery for minus 1 s":   func(r *power.Reading) { r.For = -1 },
		"on battery for two years":   func(r *power.Reading) { r.For = 2 * 366 * 24 * 3600 },
		"low for minus 1 s":          func(r *power.Reading) { r.LowFor = seconds(-1) },
		"lost for two years":         func(r *power.Reading) { r.LostFor = seconds(2 * 366 * 24 * 3600) },
		"a supply that nobody knows": func(r *power.Reading) { r.Supply = "fusion" },
		"no supply":                  func(r *power.Reading) { r.Supply = "" },
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			r := power.Reading{Supply: power.Battery}
			change(&r)
			b.check(courier.PathUPS, refusal{"", 400, "malformed", bytes.NewReader(b.report("pi", r))})
		})
	}
	t.Run("a number that is none", func(t *testing.T) {
		b := newBench(t)
		m := b.message(route{courier.PathUPS, wire.KindUPS, "pi"})
		m["reading"] = json.RawMessage(`{"supply":"battery","for_s":1e999}`)
		b.check(courier.PathUPS, refusal{"", 400, "malformed", bytes.NewReader(b.seal(wire.KindUPS, m, "pi"))})
	})
}

// TestU6_OlderReportsChangeNothing: one whose sequence is not newer is answered and counted.
func TestU6_OlderReportsChangeNothing(t *testing.T) {
	b := newBench(t)
	older := b.report("pi", power.Reading{Supply: power.Battery, For: 60})
	newer := b.report("pi", onMains())
	b.send(courier.PathUPS, newer)
	b.taken()
	before := b.world()
	for _, again := range [][]byte{newer, older} {
		b.counted()
		b.send(courier.PathUPS, again)
		if got := b.counted(); !maps.Equal(got, map[string]int{"repeated": 1}) {
			t.Errorf("counted %v", got)
		}
	}
	if after := b.world(); after != before {
		t.Errorf("a repetition changed something:\n%s\n%s", before, after)
	}
}

// TestA7_RepeatedMessagesChangeNothing, on every route. A whole relay or record is told so:
// its answer says that all in it is on disk.
func TestA7_RepeatedMessagesChangeNothing(t *testing.T) {
	for _, r := range routes {
		t.Run(r.path[4:], func(t *testing.T) {
			b := newBench(t)
			b.trusts("pi")
			b.taken()
			good := b.good(r)
			b.send(r.path, good)
			if len(b.taken()) == 0 {
				t.Fatal("the first changed nothing")
			}
			b.counted()
			before := b.world()
			w, reason := b.post(r.path, bytes.NewReader(good)), "repeated"
			if r.kind == wire.KindRelay || r.kind == wire.KindRecord {
				b.refusedWith(w, http.StatusConflict)
				reason = "answered"
			} else if w.Code != http.StatusOK {
				t.Errorf("answered %d %s", w.Code, w.Body)
			}
			if after := b.world(); after != before {
				t.Errorf("it changed something:\n%s\n%s", before, after)
			}
			if got := b.counted(); !maps.Equal(got, map[string]int{reason: 1}) {
				t.Errorf("counted %v", got)
			}
		})
	}
}

func TestR2_OnlyPosts(t *testing.T) {
	b := newBench(t)
	for _, r := range routes {
		w := httptest.NewRecorder()
		b.mux.ServeHTTP(w, httptest.NewRequest(http.MethodGet, r.path, nil))
		if w.Code != http.StatusMethodNotAllowed {
			t.Errorf("GET %s answered %d", r.path, w.Code)
		}
	}
}

// FuzzPost: whatever is posted, it is an error in JSON and no input.
func FuzzPost(f *testing.F) {
	b := newBench(f)
	for i, r := range routes {
		good := b.good(r)
		f.Add(i, good)
		f.Add(i, good[:len(good)-3])
	}
	f.Fuzz(func(t *testing.T, route int, body []byte) {
		b := newBench(t) // with keys of its own, so that nothing in the corpus is good
		r := routes[uint(route)%uint(len(routes))]
		w := b.post(r.path, bytes.NewReader(body))
		if w.Code < 400 || w.Code >= 500 {
			t.Errorf("answered %d", w.Code)
		}
		b.refusedWith(w, w.Code)
		if len(b.taken()) > 0 {
			t.Error("it became an input")
		}
	})
}
