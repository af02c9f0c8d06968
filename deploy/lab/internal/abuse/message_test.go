//go:build abuse

package abuse_test

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"sentinel.home.arpa/shared/courier"
	"sentinel.home.arpa/shared/wire"
)

// abuse is what is wrong with an otherwise good message.
type abuse struct {
	name   string
	make   func(h *house, e endpoint) []byte // the request
	status int
	reason string
	says   string                  // in the error
	only   func(e endpoint) bool   // nil: everywhere
	known  func(e endpoint) string // a fault that still shows
}

// payload is a good message's JSON after a change, signed by whose it is.
func payload(change func(text string) string) func(*house, endpoint) []byte {
	return func(h *house, e endpoint) []byte {
		return post(e.path, seal(e.kind, []byte(change(string(marshal(h.message(e))))), h.keys[e.by]))
	}
}

// field is a good message with one field changed. A name in dots leads into what it holds.
func field(name string, raw string) func(*house, endpoint) []byte {
	return func(h *house, e endpoint) []byte {
		m := h.message(e)
		in := m
		keys := strings.Split(name, ".")
		for _, k := range keys[:len(keys)-1] {
			in = in[k].(map[string]any)
		}
		in[keys[len(keys)-1]] = "THE-VALUE"
		text := strings.Replace(string(marshal(m)), `"THE-VALUE"`, raw, 1)
		return post(e.path, seal(e.kind, []byte(text), h.keys[e.by]))
	}
}

// envelope is a good envelope after a change, without a new signature.
func envelope(change func(h *house, e endpoint, env map[string]any)) func(*house, endpoint) []byte {
	return func(h *house, e endpoint) []byte {
		var env map[string]any
		if err := json.Unmarshal(h.envelope(e), &env); err != nil {
			h.Fatal(err)
		}
		change(h, e, env)
		return post(e.path, marshal(env))
	}
}

func (h *house) envelope(e endpoint) []byte {
	return seal(e.kind, marshal(h.message(e)), h.keys[e.by])
}

// bytesOf is a body as it stands.
func bytesOf(body string) func(*house, endpoint) []byte {
	return func(h *house, e endpoint) []byte { return post(e.path, []byte(body)) }
}

func cutOff(text string) string { return text[:len(text)/2] }

func zipped(data []byte) []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = z.Write(data)
	_ = z.Close()
	return b.Bytes()
}

const tenMB = 10 << 20

func is(kinds ...wire.Kind) func(endpoint) bool {
	return func(e endpoint) bool { return slices.Contains(kinds, e.kind) }
}

// strangerKept: a Pi keeps what unknown nodes announce, since the brain may know them.
func strangerKept(e endpoint) bool { return !(e.onPi && e.kind == wire.KindAnnouncement) }

var abuses = []abuse{
	{name: "empty", make: bytesOf(""), status: 400, reason: "malformed", says: "there is nothing in it"},
	{name: "envelope cut in half", make: func(h *house, e endpoint) []byte { return post(e.path, []byte(cutOff(string(h.envelope(e))))) }, status: 400, reason: "malformed", says: "the JSON breaks off after"},
	{name: "payload cut in half, signed", make: payload(cutOff), status: 400, reason: "malformed", says: "payload"},
	{name: "10 MB, length said", make: bytesOf(strings.Repeat(" ", tenMB)), status: 413, reason: "too-large", says: "over 98304 bytes"},
	{name: "10 MB, length not said", make: func(h *house, e endpoint) []byte { return chunked(e.path, bytes.Repeat([]byte("["), tenMB)) }, status: 413, reason: "too-large", says: "over 98304 bytes"},
	{name: "payload of 70 KB, signed", make: payload(func(s string) string { return s + strings.Repeat(" ", 70<<10) }), status: 400, reason: "malformed", says: "over the limit of 65536"},
	{name: "node is a number", make: field("node", "7"), status: 400, reason: "malformed", says: "node: a number where text is due"},
	{name: "seq is a text", make: field("seq", `"7"`), status: 400, reason: "malformed", says: "seq: text where a whole number is due"},
	{name: "message is a list", make: payload(func(string) string { return "[]" }), status: 400, reason: "malformed", says: "a list where an object is due"},
	{name: "message is null", make: payload(func(string) string { return "null" }), status: 400, reason: "malformed", says: "version"},
	{name: "envelope is a text", make: bytesOf(`"x"`), status: 400, reason: "malformed", says: "text where an object is due"},
	{name: "unknown field in the message", make: field("sudo", "true"), status: 400, reason: "malformed", says: `unknown field "sudo"`},
	{name: "unknown field in the envelope", make: envelope(func(_ *house, _ endpoint, env map[string]any) { env["sudo"] = true }), status: 400, reason: "malformed", says: `unknown field "sudo"`},
	{name: "something after the envelope", make: func(h *house, e endpoint) []byte { return post(e.path, append(h.envelope(e), "{}"...)) }, status: 400, reason: "malformed", says: "follows"},
	{name: "something after the message, signed", make: payload(func(s string) string { return s + " {}" }), status: 400, reason: "malformed", says: "payload"},
	{name: "unknown kind, signed", make: func(h *house, e endpoint) []byte {
		return post(e.path, seal("application/vnd.sentinel.order+json", marshal(h.message(e)), h.keys[e.by]))
	}, status: 400, reason: "malformed", says: "is due"},
	{name: "another route's kind, signed", make: func(h *house, e endpoint) []byte {
		return post(e.path, seal(wire.KindConnect, marshal(h.message(e)), h.keys[e.by]))
	}, status: 400, reason: "malformed", says: "is due"},
	{name: "version 2", make: field("v", "2"), status: 400, reason: "malformed", says: "version 2 where 1"},
	{name: "boot is no boot id", make: field("boot", `"../../etc/passwd"`), status: 400, reason: "malformed", says: "boot"},
	{name: "seq -1", make: field("seq", "-1"), status: 400, reason: "malformed", says: "not positive"},
	{name: "seq 1e400", make: field("seq", "1e400"), status: 400, reason: "malformed", says: "seq"},
	{name: "seq 2^63-1", make: field("seq", "9223372036854775807"), status: 400, reason: "malformed", says: "no machine has been up for"},
	{name: "seq 2^63", make: field("seq", "9223372036854775808"), status: 400, reason: "malformed", says: "seq"},
	{name: "seq NaN", make: field("seq", "NaN"), status: 400, reason: "malformed", says: "invalid character"},
	{name: "node with a newline and ANSI", make: field("node", `"pve1\n\u001b[31mred"`), status: 400, reason: "malformed", says: "is no name"},
	{name: "node is a path", make: field("node", `"../../etc/passwd"`), status: 400, reason: "malformed", says: "is no name"},
	{name: "node of 50 KB", make: field("node", `"`+strings.Repeat("a", 50<<10)+`"`), status: 400, reason: "malformed", says: "is no name"},
	{name: "site of another", make: field("site", `"../x"`), status: 400, reason: "malformed", says: "is no name"},
	{name: "NUL bytes", make: bytesOf(strings.Repeat("\x00", 1000)), status: 400, reason: "malformed", says: "invalid character"},
	{name: "invalid UTF-8", make: bytesOf("{\"payloadType\":\"\xff\xfe\",\"payload\":\"\",\"signatures\":[]}"), status: 400, reason: "malformed", says: "signatures"},
	{name: "invalid UTF-8 in the node, signed", make: field("node", "\"\xff\xfe\""), status: 400, reason: "malformed", says: "is no name"},
	{name: "90,000 levels of [", make: bytesOf(strings.Repeat("[", 90_000)), status: 400, reason: "malformed", says: "depth"},
	{name: "10,000 levels of [ in the message, signed", make: payload(func(string) string { return strings.Repeat("[", 10_001) }), status: 400, reason: "malformed", says: "depth"},
	{name: "gzip'ed", make: func(h *house, e endpoint) []byte {
		return post(e.path, zipped(h.envelope(e)), "Content-Encoding: gzip")
	}, status: 400, reason: "malformed", says: "invalid character"},
	{name: "a zip bomb of 10 MB", make: func(h *house, e endpoint) []byte {
		return post(e.path, zipped(make([]byte, tenMB)), "Content-Encoding: gzip")
	}, status: 400, reason: "malformed", says: "invalid character"},
	{name: "unsigned", make: envelope(func(_ *house, _ endpoint, env map[string]any) { env["signatures"] = []any{} }), status: 400, reason: "malformed", says: "0 signatures"},
	{name: "two signatures", make: func(h *house, e endpoint) []byte {
		return post(e.path, seal(e.kind, marshal(h.message(e)), h.keys[e.by], h.keys["pve2"]))
	}, status: 400, reason: "malformed", says: "2 signatures"},
	{name: "another node's signature", make: func(h *house, e endpoint) []byte {
		return post(e.path, seal(e.kind, marshal(h.message(e)), h.keys["pve2"]))
	}, status: 403, reason: "forged", says: "signature is wrong"},
	{name: "another's signature under the right key", make: envelope(func(h *house, e endpoint, env map[string]any) {
		var other map[string]any
		_ = json.Unmarshal(seal(e.kind, marshal(h.message(e)), h.keys["pve2"]), &other)
		sig := env["signatures"].([]any)[0].(map[string]any)
		sig["sig"] = other["signatures"].([]any)[0].(map[string]any)["sig"]
	}), status: 403, reason: "forged", says: "signature is wrong"},
	{name: "payload changed after signing", make: envelope(func(h *house, e endpoint, env map[string]any) {
		env["payload"] = base64.StdEncoding.EncodeToString(marshal(h.message(e)))
	}), status: 403, reason: "forged", says: "signature is wrong"},
	{name: "a key that is none", make: envelope(func(_ *house, _ endpoint, env map[string]any) {
		env["signatures"].([]any)[0].(map[string]any)["keyid"] = "ed25519:AAAA"
	}), status: 400, reason: "malformed", says: "keyid"},
	{name: "an unknown node", make: func(h *house, e endpoint) []byte {
		e.by = "stranger"
		return post(e.path, h.envelope(e))
	}, status: 403, reason: "unknown", says: "not known here", only: strangerKept},
	{name: "a node as a Pi", make: func(h *house, e endpoint) []byte {
		e.by = "pve2"
		m := h.message(e)
		if e.kind == wire.KindHeartbeat {
			m["pi"] = map[string]any{}
		}
		return post(e.path, seal(e.kind, marshal(m), h.keys["pve2"]))
	}, status: 403, reason: "forbidden", says: "is no Pi", only: func(e endpoint) bool {
		return !e.onPi && e.kind != wire.KindAnnouncement
	}},
	{name: "an unknown kind of shutdown", make: field("kind", `"explode"`), status: 400, reason: "malformed", says: "no kind of shutdown", only: is(wire.KindAnnouncement)},
	{name: "id of 100 characters", make: field("id", `"`+strings.Repeat("x", 100)+`"`), status: 400, reason: "malformed", says: "id", only: is(wire.KindAnnouncement)},
	{name: "charge 250 %", make: field("reading.charge_ratio", "2.5"), status: 400, reason: "malformed", says: "charge_ratio", only: is(wire.KindUPS)},
	{name: "charge 1e400", make: field("reading.charge_ratio", "1e400"), status: 400, reason: "malformed", says: "charge_ratio", only: is(wire.KindUPS)},
	{name: "runtime -1 s", make: field("reading.runtime_s", "-1"), status: 400, reason: "malformed", says: "runtime_s", only: is(wire.KindUPS)},
	{name: "on battery for -1 s", make: field("reading.for_s", "-1"), status: 400, reason: "malformed", says: "for_s", only: is(wire.KindUPS)},
	{name: "on battery for 1e300 s", make: field("reading.for_s", "1e300"), status: 400, reason: "malformed", says: "for_s", only: is(wire.KindUPS)},
	{name: "runtime NaN", make: field("reading.runtime_s", "NaN"), status: 400, reason: "malformed", says: "invalid character", only: is(wire.KindUPS)},
	{name: "an unknown supply", make: field("reading.supply", `"steam"`), status: 400, reason: "malformed", says: "supply", only: is(wire.KindUPS)},
	{name: "a UPS that is a path", make: field("ups", `"../x"`), status: 400, reason: "malformed", says: "ups", only: is(wire.KindUPS)},
	{name: "no messages", make: field("messages", "[]"), status: 400, reason: "malformed", says: "0 of them", only: is(wire.KindRelay)},
	{name: "33 messages", make: field("messages", `[{}`+strings.Repeat(`,{}`, 32)+`]`), status: 400, reason: "malformed", says: "33 of them", only: is(wire.KindRelay)},
	{name: "an age of -1 ms", make: field("messages", `[{"age_ms":-1,"envelope":""}]`), status: 400, reason: "malformed", says: "age_ms", only: is(wire.KindRelay)},
	{name: "an age of 2^62 ms", make: field("messages", `[{"age_ms":4611686018427387904,"envelope":""}]`), status: 400, reason: "malformed", says: "age_ms", only: is(wire.KindRelay)},
	{name: "relayed garbage", make: field("messages", `[{"age_ms":1,"envelope":"AAAA"}]`), status: 200, reason: "relayed", only: is(wire.KindRelay)},
	{name: "relayed, another node's signature", make: relayed(func(h *house, m map[string]any) []byte {
		return seal(wire.KindAnnouncement, marshal(m), h.keys["pve2"])
	}), status: 200, reason: "relayed", only: is(wire.KindRelay)},
	{name: "relayed heartbeat", make: relayed(func(h *house, m map[string]any) []byte {
		return seal(wire.KindHeartbeat, marshal(m), h.keys["pve1"])
	}), status: 200, reason: "relayed", only: is(wire.KindRelay)},
	{name: "relayed for itself", make: relayed(func(h *house, m map[string]any) []byte {
		m["node"] = "pi2"
		return seal(wire.KindAnnouncement, marshal(m), h.keys["pi2"])
	}), status: 200, reason: "relayed", only: is(wire.KindRelay)},
	{name: "101 entries", make: field("entries", `[{"node":"pve1"}`+strings.Repeat(`,{"node":"pve1"}`, 100)+`]`), status: 400, reason: "malformed", says: "101 of them", only: is(wire.KindRecord)},
	{name: "an entry 8 days old", make: entry("age_ms", 8*24*3600_000), status: 400, reason: "malformed", says: "age_ms", only: is(wire.KindRecord)},
	{name: "an entry from the future", make: entry("age_ms", -1), status: 400, reason: "malformed", says: "age_ms", only: is(wire.KindRecord)},
	{name: "an entry about nothing", make: field("entries", `[{"age_ms":1}]`), status: 400, reason: "malformed", says: "either a UPS or a node", only: is(wire.KindRecord)},
	{name: "an entry about two things", make: entry("node", "pve1"), status: 400, reason: "malformed", says: "either a UPS or a node", only: is(wire.KindRecord)},
	{name: "an entry that is a number", make: field("entries", `[7]`), status: 400, reason: "malformed", says: "a number where an object is due", only: is(wire.KindRecord)},
	{name: "a noted charge of 250 %", make: entry("reading", map[string]any{"charge_ratio": 2.5, "supply": "battery"}), status: 400, reason: "malformed", says: "charge_ratio", only: is(wire.KindRecord)},
	{name: "a noted UPS that is a path", make: entry("ups", "../x"), status: 400, reason: "malformed", says: "is no name", only: is(wire.KindRecord)},
	{name: "a noted node of another site", make: field("entries", `[{"age_ms":1,"node":"stranger","heard":true}]`), status: 200, reason: "recorded", only: is(wire.KindRecord)},
	{name: "-1 left", make: field("left", "-1"), status: 400, reason: "malformed", says: "left", only: is(wire.KindRecord)},
	{name: "2^62 left", make: field("left", "4611686018427387904"), status: 400, reason: "malformed", says: "left", only: is(wire.KindRecord)},
	{name: "an old outage with a low battery", make: entry("reading", map[string]any{"flags": 0x05000050, "supply": "battery", "for_s": 60, "low_for_s": 30}), status: 200, only: is(wire.KindRecord)},
	{name: "for another Pi", make: field("to", `"pi3"`), status: 403, reason: "forbidden", says: "another Pi or site", only: is(wire.KindPi)},
	{name: "of another site", make: field("site", `"office"`), status: 403, reason: "forbidden", says: "another Pi or site", only: is(wire.KindPi)},
	{name: "of no site", make: field("site", `""`), status: 400, reason: "malformed", says: "site", only: is(wire.KindPi)},
	{name: "naming a word of before the start", make: field("to_seq", "1"), status: 200, reason: "stale", only: is(wire.KindPi)},
	{name: "naming a word that is yet to be said", make: field("to_seq", "4000000000000000"), status: 200, reason: "stale", only: is(wire.KindPi)},
	{name: "naming a word of another boot", make: field("to_boot", `"`+strings.Repeat("0", 32)+`"`), status: 200, reason: "stale", only: is(wire.KindPi)},
	{name: "a UPS twice", make: field("upses", `[{"name":"a","reading":{"supply":"mains"}},{"name":"a","reading":{"supply":"mains"}}]`), status: 400, reason: "malformed", says: "twice", only: is(wire.KindPi)},
	{name: "a UPS at 250 %", make: field("upses", `[{"name":"a","reading":{"supply":"mains","charge_ratio":2.5}}]`), status: 400, reason: "malformed", says: "charge_ratio", only: is(wire.KindPi)},
	{name: "a run in an unknown state", make: field("run.state", `"runs"`), status: 400, reason: "malformed", says: "state", only: is(wire.KindPi)},
	{name: "an epoch of 2^60", make: field("known.counter", "1152921504606846976"), status: 400, reason: "malformed", says: "epoch", only: is(wire.KindPi)},
	{name: "40 KB, signed", make: payload(func(s string) string { return s + strings.Repeat(" ", 40<<10) }), status: 413, reason: "too-large", says: "over 32768 bytes", only: is(wire.KindPi)},
	{name: "hears an impossible age", make: field("pi", fmt.Sprintf(`{"heard":[{"node":"pve1","boot":"%s","seq":1,"age_ms":%d}]}`, strings.Repeat("0", 32), math.MaxInt64)),
		status: 400, reason: "malformed", says: "age_ms", only: func(e endpoint) bool { return e.kind == wire.KindHeartbeat && !e.onPi }},
}

// entry is a record with an entry of which one field is changed.
func entry(name string, value any) func(*house, endpoint) []byte {
	return func(h *house, e endpoint) []byte {
		m := h.message(e)
		m["entries"] = []any{h.noted(name, value)}
		return post(e.path, seal(e.kind, marshal(m), h.keys[e.by]))
	}
}

// relayed is a relay of one announcement of pve1, sealed in an odd way.
func relayed(sealed func(h *house, m map[string]any) []byte) func(*house, endpoint) []byte {
	return func(h *house, e endpoint) []byte {
		m := h.message(e)
		in := h.message(endpoint{kind: wire.KindAnnouncement, by: "pve1"})
		m["messages"] = []any{map[string]any{"age_ms": 1, "envelope": sealed(h, in)}}
		return post(e.path, seal(e.kind, marshal(m), h.keys[e.by]))
	}
}

func (h *house) endpoints() []endpoint {
	return []endpoint{
		{addr: h.page, path: courier.PathHeartbeat, kind: wire.KindHeartbeat, by: "pve1"},
		{addr: h.page, path: courier.PathUPS, kind: wire.KindUPS, by: "pi2"},
		{addr: h.page, path: courier.PathAnnounce, kind: wire.KindAnnouncement, by: "pve1"},
		{addr: h.page, path: courier.PathRelay, kind: wire.KindRelay, by: "pi2"},
		{addr: h.page, path: courier.PathRecord, kind: wire.KindRecord, by: "pi2"},
		{addr: h.lan, path: courier.PathHeartbeat, kind: wire.KindHeartbeat, by: "pve1", onPi: true},
		{addr: h.lan, path: courier.PathPi, kind: wire.KindPi, by: "pi2", onPi: true},
		{addr: h.lan, path: courier.PathAnnounce, kind: wire.KindAnnouncement, by: "pve1", onPi: true},
	}
}

// count is what the brain or the Pi has counted.
func (h *house) count(onPi bool) map[string]int {
	if onPi {
		r := send("unix", filepath.Join(h.of("pi"), "control.sock"), []byte("GET /metrics HTTP/1.1\r\nHost: pi\r\n\r\n"))
		if r.status != http.StatusOK {
			h.Errorf("the Pi's metrics: %s", r.answer())
		}
		return refused(r.body)
	}
	return refused(h.get("/metrics"))
}

// TestR2_Messages sends each abuse to each route of brain and Pi.
func TestR2_Messages(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	rss := map[*program]float64{h.brain: h.brain.rss(), h.pi: h.pi.rss()}
	for _, e := range h.endpoints() {
		begun := h.state()
		for _, a := range abuses {
			if a.only == nil || a.only(e) {
				h.abuse(e, a)
			}
		}
		h.settle()
		if what, _ := begun.changed(h.state()); len(what) > 0 {
			t.Errorf("%s: after all of it %v", e, what)
		}
		if status := h.good(e); status != 200 {
			t.Errorf("%s: a good message is answered %d afterwards", e, status)
		}
	}
	if !strings.Contains(h.get("/api/v1/status"), "somebody signs as pve1 with a wrong key: 3 messages in the hour") {
		t.Error("nobody was told of the forged messages")
	}
	for p, before := range rss {
		grown := p.rss() - before
		x := row{target: "memory", abuse: p.name, answer: fmt.Sprintf("%+.1f MB", grown), changed: fmt.Sprintf("%.0f MB before", before)}
		var wrong []string
		if grown > 20 {
			wrong = append(wrong, "grown by more than 20 MB")
		}
		judge(t, x, wrong)
	}
}

// settle lets the brain turn once more: what an abuse has set going shows by then.
func (h *house) settle() {
	var v, now struct{ At string }
	_ = json.Unmarshal([]byte(h.get("/api/v1/status")), &v)
	turns := 0
	await(h.T, "the brain turns", 5*time.Second, func() bool {
		_ = json.Unmarshal([]byte(h.get("/api/v1/status")), &now)
		if now.At != v.At {
			v, turns = now, turns+1
		}
		return turns == 2
	})
}

func (h *house) abuse(e endpoint, a abuse) {
	h.Helper()
	before, counts := h.state(), h.count(e.onPi)
	r := send("tcp", e.addr, a.make(h, e))
	var wrong []string
	if r.status != a.status {
		wrong = append(wrong, fmt.Sprintf("answered %s instead of %d", r.answer(), a.status))
	}
	if a.status >= 400 {
		wrong = append(wrong, oneError(r)...)
		if !strings.Contains(r.text(), a.says) {
			wrong = append(wrong, fmt.Sprintf("does not say %q", a.says))
		}
	}
	x := h.outcome(e.String(), a.name, r, before, counts, e.onPi, a.reason, &wrong)
	if a.known != nil {
		x.known = a.known(e)
	}
	judge(h.T, x, wrong)
}

// outcome looks at what a request has changed: one counter, and nothing else.
func (h *house) outcome(target, name string, r reply, before state, counts map[string]int, onPi bool, reason string, wrong *[]string) row {
	what, waiting := before.changed(h.state())
	want := ""
	if reason != "" {
		want = reason + "+1"
	}
	got := counted(counts, h.count(onPi))
	for late := time.Now().Add(2 * time.Second); got != want && time.Now().Before(late); { // a second request of the same connection
		time.Sleep(50 * time.Millisecond)
		got = counted(counts, h.count(onPi))
	}
	if got != want {
		*wrong = append(*wrong, fmt.Sprintf("counted %q instead of %q", got, want))
	}
	if waiting && reason != "unknown" {
		what = append(what, "the list of those that wait")
	}
	if len(what) > 0 {
		*wrong = append(*wrong, "changed "+strings.Join(what, ", "))
	}
	for _, p := range []*program{h.brain, h.pi} {
		if sick := p.alive(); sick != "" {
			*wrong = append(*wrong, p.name+": "+sick)
		}
	}
	if !h.healthy(h.page) {
		*wrong = append(*wrong, "/healthz is not fine")
	}
	changed := "nothing but the counter " + got
	if got == "" {
		changed = "nothing"
	}
	if waiting {
		changed += ", listed as waiting"
	}
	if len(what) > 0 {
		changed = strings.Join(what, ", ")
	}
	return row{target: target, abuse: name, answer: r.answer(), text: r.text(), changed: changed}
}
