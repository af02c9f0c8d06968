//go:build abuse

package abuse_test

import (
	"encoding/json"
	"fmt"
	"syscall"
	"testing"
	"time"

	"sentinel.home.arpa/shared/courier"
	"sentinel.home.arpa/shared/wire"
)

// replay is a message that was sent before, and is sent again as it was.
type replay struct {
	target, name string
	onPi         bool
	data         []byte
	status       int
	reason       string
	known        string
}

// again sends it, and judges that it changes nothing.
func (h *house) again(x replay) {
	h.Helper()
	before, counts := h.state(), h.count(x.onPi)
	addr := map[bool]string{false: h.page, true: h.lan}[x.onPi]
	r := send("tcp", addr, x.data)
	var wrong []string
	if r.status != x.status {
		wrong = append(wrong, fmt.Sprintf("answered %s instead of %d", r.answer(), x.status))
	}
	if x.status >= 400 {
		wrong = append(wrong, oneError(r)...)
	}
	h.settle()
	out := h.outcome("replayed: "+x.target, x.name, r, before, counts, x.onPi, x.reason, &wrong)
	out.known = x.known
	judge(h.T, out, wrong)
}

// restart kills a program and starts it anew.
func restart(p *program, start func()) {
	_ = p.cmd.Process.Signal(syscall.SIGKILL)
	<-p.ended
	start()
}

// TestA7_Replayed sends the same bytes twice, also to a program that was started anew.
func TestA7_Replayed(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.settle() // a Pi's record is believed once the Pi has been heard for a second
	sent := map[endpoint][]byte{}
	for _, e := range h.endpoints() {
		data := post(e.path, h.envelope(e))
		sent[e] = data
		if r := send("tcp", e.addr, data); r.status != 200 {
			t.Fatalf("%s: the first is answered %s: %s", e, r.answer(), r.text())
		}
	}
	told, held := h.battery()
	dead := h.lastWords()
	h.settle()
	for _, e := range h.endpoints() {
		x := replay{target: e.String(), name: "the same bytes twice", onPi: e.onPi, data: sent[e], status: 200, reason: "repeated"}
		if e.kind == wire.KindRelay || e.kind == wire.KindRecord {
			x.status, x.reason = 409, "answered"
		}
		if e.kind == wire.KindPi { // by now it names a word of over 10 s ago
			x.reason = "stale"
		}
		h.again(x)
	}
	h.connects()
	restart(h.brain, h.startBrain)
	h.confirmed()
	h.settle()
	// What the journal knows of is a repetition still; the others are, by what they say.
	after := map[wire.Kind]string{wire.KindAnnouncement: "repeated"}
	for _, e := range h.endpoints() {
		if !e.onPi && e.kind != wire.KindUPS {
			x := replay{target: e.String(), name: "after a restart of the brain", data: sent[e], status: 200, reason: after[e.kind]}
			if e.kind == wire.KindRecord { // how old it is cannot be told
				x.status, x.reason = 409, "held-back"
			}
			h.again(x)
		}
	}
	h.again(replay{target: "brain POST /v1/ups", name: "an old outage, after a restart", data: told, status: 200, reason: "repeated"})
	h.again(replay{target: "brain POST /v1/ups", name: "an old outage that was held back, the same", data: held, status: 200})
	h.onMains()
	restart(h.pi, h.startPi)
	h.confirmed()
	h.settle()
	h.heardAgain(dead)
	for _, e := range h.endpoints() {
		if e.onPi {
			x := replay{target: e.String(), name: "after a restart of the Pi", onPi: true, data: sent[e], status: 200, reason: "repeated"}
			if e.kind == wire.KindPi { // it names a word of before
				x.reason = "stale"
			}
			h.again(x)
		}
	}
}

// lastWords is the heartbeat that pve2 sends to the Pi before it dies.
func (h *house) lastWords() []byte {
	e := endpoint{addr: h.lan, path: courier.PathHeartbeat, kind: wire.KindHeartbeat, by: "pve2"}
	data := post(e.path, h.envelope(e))
	if r := send("tcp", h.lan, data); r.status != 200 {
		h.Fatalf("a heartbeat is answered %s", r.answer())
	}
	return data
}

// heardAgain is a node that has died, and whose heartbeat is replayed on the LAN.
func (h *house) heardAgain(last []byte) {
	age := func() time.Duration {
		var v struct {
			Sites []struct {
				Sources []struct {
					Name string
					Age  time.Duration `json:"age_ns"`
				}
			}
		}
		if err := json.Unmarshal([]byte(h.get("/api/v1/status")), &v); err != nil {
			h.Fatal(err)
		}
		for _, s := range v.Sites[0].Sources {
			if s.Name == "pve2" {
				return s.Age
			}
		}
		return 0
	}
	await(h.T, "pve2 is silent for a while", 10*time.Second, func() bool { return age() > 4*time.Second })
	r := send("tcp", h.lan, last)
	h.settle()
	x := row{target: "replayed: pi POST /v1/heartbeat", abuse: "of a dead node, after a restart of the Pi", answer: r.answer(), changed: "nothing"}
	var wrong []string
	if now := age(); now < 3*time.Second {
		x.changed = fmt.Sprintf("the brain takes pve2 for alive, heard %.0f s ago", now.Seconds())
		wrong = append(wrong, x.changed)
	}
	judge(h.T, x, wrong)
}

// outage is a report of an outage of pi2's UPS that has lasted for so many seconds.
func (h *house) outage(seconds float64) []byte {
	e := endpoint{addr: h.page, path: courier.PathUPS, kind: wire.KindUPS, by: "pi2"}
	m := h.message(e)
	m["reading"] = map[string]any{"flags": 0x05000010, "charge_ratio": 0.9, "runtime_s": 2000, "supply": "battery", "for_s": seconds}
	return post(e.path, seal(e.kind, marshal(m), h.keys["pi2"]))
}

// battery are two reports of an outage that is over: one that the brain was told, and one
// that somebody held back.
func (h *house) battery() (told, held []byte) {
	told = h.outage(0.5) // or it would be held for an old one itself
	if r := send("tcp", h.page, told); r.status != 200 {
		h.Fatalf("a report is answered %s", r.answer())
	}
	h.onMains()
	held = h.outage(60)
	h.onMains() // this one, the last that is taken, makes no fact
	return told, held
}

func (h *house) onMains() {
	if status := h.good(endpoint{addr: h.page, path: courier.PathUPS, kind: wire.KindUPS, by: "pi2"}); status != 200 {
		h.Fatalf("a good report is answered %d", status)
	}
}

// connects are a brain's words that were used before.
func (h *house) connects() {
	word := func(boot string) []byte {
		hd := h.header("brain")
		hd.Boot = boot
		auth, err := courier.SignConnect(wire.Connect{Header: hd, Pi: "pi", Addr: h.api}, h.keys["brain"])
		if err != nil {
			h.Fatal(err)
		}
		return connectBytes(h.api, auth, courier.HeaderPurpose+": "+string(courier.ToAsk))
	}
	once := func(data []byte) {
		if r := send("tcp", h.lan, data); r.status != 200 {
			h.Fatalf("CONNECT is answered %s: %s", r.answer(), r.text())
		}
	}
	first, other := word(h.boots["brain"]), word(h.boots["pve1"])
	once(first)
	h.again(replay{target: "pi CONNECT", name: "the same word twice", onPi: true, data: first, status: 403, reason: "forbidden"})
	once(other)
	h.again(replay{target: "pi CONNECT", name: "the same word after one of another boot", onPi: true, data: first, status: 403, reason: "forbidden"})
}
