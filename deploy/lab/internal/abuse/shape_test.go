//go:build abuse

package abuse_test

import (
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sentinel.home.arpa/shared/courier"
	"sentinel.home.arpa/shared/wire"
)

// shape is a request as it stands, at one of the listeners.
type shape struct {
	target, name string
	make         func(h *house) []byte
	status       []int // any of them; 0 is closed without a word
	says         string
	reason       string // counted
	plain        bool   // the HTTP library's own answer, before any route: it is plain text
	known        string
}

// line is a request with nothing in it.
func line(text string, headers ...string) func(*house) []byte {
	return func(*house) []byte {
		return []byte(text + " HTTP/1.1\r\nHost: 127.0.0.1\r\n" + strings.Join(append(headers, "\r\n"), "\r\n"))
	}
}

func raw(text string) func(*house) []byte { return func(*house) []byte { return []byte(text) } }

// Listeners.
const (
	onBrain   = "brain's page"
	onControl = "brain's control socket"
	onLAN     = "pi's LAN"
	onEvents  = "pi's control socket"
)

func (h *house) listener(target string) (network, addr string) {
	switch target {
	case onBrain:
		return "tcp", h.page
	case onControl:
		return "unix", filepath.Join(h.of("brain"), "control.sock")
	case onLAN:
		return "tcp", h.lan
	default:
		return "unix", filepath.Join(h.of("pi"), "control.sock")
	}
}

// everywhere are shapes for all listeners.
var everywhere = []shape{
	{name: "a TLS hello", make: raw("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + strings.Repeat("\x00", 500)), status: []int{400}, plain: true},
	{name: "HTTP/1.0 junk", make: raw("GEH / HTTP/1.0\r\nX\r\n\r\n"), status: []int{400}, plain: true},
	{name: "no HTTP at all", make: raw(strings.Repeat("\x00\xff\r\n", 100)), status: []int{400}, plain: true},
	{name: "HTTP/9.9", make: raw("GET / HTTP/9.9\r\n\r\n"), status: []int{400, 505}, plain: true},
	{name: "no host", make: raw("POST /v1/heartbeat HTTP/1.1\r\n\r\n"), status: []int{400}, plain: true},
	{name: "two lengths", make: raw("POST /v1/heartbeat HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nabcde"), status: []int{400}, plain: true},
	{name: "a length of -1", make: raw("POST /v1/heartbeat HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n"), status: []int{400}, plain: true},
	{name: "odd transfer encoding", make: raw("POST /v1/heartbeat HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n"), status: []int{400, 501}, plain: true},
	{name: "a header of 1 MB", make: line("GET /", "X: "+strings.Repeat("x", 1<<20)), status: []int{431}, plain: true},
	{name: "10,000 headers", make: line("GET /", slices.Repeat([]string{"X: y"}, 10_000)...), status: []int{431}, plain: true},
	{name: "a path of 1 MB", make: line("GET /" + strings.Repeat("x", 1<<20)), status: []int{414, 431}, plain: true},
	{name: "a header with NUL", make: line("GET /", "X: \x00"), status: []int{400}, plain: true},
	{name: "a path that is none", make: line("GET /../../etc/passwd"), status: []int{404, 301, 307}, plain: true},
	{name: "a path with %00 and %0a", make: line("GET /%00%0a%1b[31m"), status: []int{404}},
	{name: "an unknown path", make: line("GET /wp-login.php"), status: []int{404}},
	{name: "CONNECT to elsewhere", make: raw("CONNECT 192.0.2.1:22 HTTP/1.1\r\nHost: 192.0.2.1:22\r\n\r\n"), status: []int{403, 404, 405}, plain: true},
	{name: "OPTIONS *", make: line("OPTIONS *"), status: []int{200, 404, 405, 400}, plain: true},
	{name: "TRACE", make: line("TRACE /"), status: []int{404, 405}},
}

// shapes are those for one listener.
var shapes = []shape{
	{target: onBrain, name: "GET of a route for messages", make: line("GET /v1/heartbeat"), status: []int{405}},
	{target: onBrain, name: "PUT of a route for messages", make: line("PUT /v1/ups", "Content-Length: 0"), status: []int{405}},
	{target: onBrain, name: "a body cut off by its sender", make: raw("POST /v1/ups HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\n{}}}x"), status: []int{400}, says: "malformed", reason: "malformed"},
	{target: onBrain, name: "a length and chunks", make: raw("POST /v1/ups HTTP/1.1\r\nHost: x\r\nContent-Length: 60\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"), status: []int{400}, says: "there is nothing in it", reason: "malformed"},
	{target: onBrain, name: "GET of the arm button", make: line("GET /api/v1/plan/arm"), status: []int{405}},
	{target: onBrain, name: "arm from another site's page", make: line("POST /api/v1/plan/arm", "Origin: http://evil.example", "Content-Length: 0"), status: []int{403}, says: "own page", reason: "forbidden"},
	{target: onBrain, name: "arm, cross-site says the browser", make: line("POST /api/v1/plan/arm", "Sec-Fetch-Site: cross-site", "Content-Length: 0"), status: []int{403}, says: "own page", reason: "forbidden"},
	{target: onBrain, name: "disarm with Origin: null", make: line("POST /api/v1/plan/disarm", "Origin: null", "Content-Length: 0"), status: []int{403}, says: "own page", reason: "forbidden"},
	{target: onBrain, name: "arm by a name that was rebound", make: raw("POST /api/v1/plan/arm HTTP/1.1\r\nHost: evil.example:8080\r\nOrigin: http://evil.example:8080\r\nSec-Fetch-Site: same-origin\r\nContent-Length: 0\r\n\r\n"),
		status: []int{403, 421}, says: "page", reason: "forbidden"},
	{target: onBrain, name: "ack of an unknown incident", make: line("POST /api/v1/incidents/home-power-20261121T190211Z/ack", "Content-Length: 0"), status: []int{404}, says: "is open", reason: "unknown"},
	{target: onBrain, name: "ack of a path", make: line("POST /api/v1/incidents/%2e%2e%2f%2e%2e%2fetc/ack", "Content-Length: 0"), status: []int{404}, says: "is open", reason: "unknown"},
	{target: onBrain, name: "ack with control characters", make: line("POST /api/v1/incidents/%0a%1b%5b31m%00/ack", "Content-Length: 0"), status: []int{404}, says: "is open", reason: "unknown"},
	{target: onBrain, name: "ack with an id of 10 KB", make: line("POST /api/v1/incidents/"+strings.Repeat("x", 10<<10)+"/ack", "Content-Length: 0"), status: []int{404}, says: "is open", reason: "unknown"},
	{target: onBrain, name: "ack with an id of 1 MB", make: line("POST /api/v1/incidents/"+strings.Repeat("x", 1<<20)+"/ack", "Content-Length: 0"), status: []int{414, 431}, plain: true},
	{target: onBrain, name: "ack without an id", make: line("POST /api/v1/incidents//ack", "Content-Length: 0"), status: []int{404, 301, 307}, plain: true},
	{target: onBrain, name: "ack by GET", make: line("GET /api/v1/incidents/x/ack"), status: []int{405}},
	{target: onBrain, name: "ack with 10 MB", make: func(*house) []byte { return post("/api/v1/incidents/x/ack", make([]byte, tenMB)) }, status: []int{400}, says: "takes no body", reason: "malformed"},
	{target: onControl, name: "GET of the arm button", make: line("GET /api/v1/plan/arm"), status: []int{405}},
	{target: onControl, name: "ack of an unknown incident", make: line("POST /api/v1/incidents/x/ack", "Content-Length: 0"), status: []int{404}, says: "is open", reason: "unknown"},
	{target: onControl, name: "an empty heartbeat", make: line("POST /v1/heartbeat", "Content-Length: 0"), status: []int{400}, says: "malformed", reason: "malformed"},
	{target: onLAN, name: "the brain's UPS route", make: line("POST /v1/ups", "Content-Length: 0"), status: []int{404}},
	{target: onLAN, name: "GET of a route for messages", make: line("GET /v1/announce"), status: []int{405}},
	{target: onLAN, name: "an announcement of 5 KB, signed", make: func(h *house) []byte {
		e := endpoint{path: courier.PathAnnounce, kind: wire.KindAnnouncement, by: "pve1"}
		return post(e.path, seal(e.kind, append(marshal(h.message(e)), strings.Repeat(" ", 5<<10)...), h.keys["pve1"]))
	}, status: []int{413}, says: "over 4096 bytes", reason: "too-large"},
	{target: onEvents, name: "an unknown event", make: line("POST /event/../../x", "Content-Length: 0"), status: []int{404, 307, 301}, plain: true},
	{target: onEvents, name: "an event of control characters", make: line("POST /event/%0a%1b%5b31m", "Content-Length: 0"), status: []int{204}, plain: true},
	{target: onEvents, name: "an event of 10 KB", make: line("POST /event/"+strings.Repeat("x", 10<<10), "Content-Length: 0"), status: []int{204}, plain: true},
	{target: onEvents, name: "an event by GET", make: line("GET /event/onbattery"), status: []int{405}},
	{target: onEvents, name: "an event with 10 MB", make: func(*house) []byte { return post("/event/onbattery", make([]byte, tenMB)) }, status: []int{204}, plain: true},
	{target: onLAN, name: "CONNECT, unsigned", make: connect("", ""), status: []int{403}, says: "no Sentinel authorisation", reason: "forbidden"},
	{target: onLAN, name: "CONNECT, Basic", make: connect("", "Basic YTpi"), status: []int{403}, says: "no Sentinel authorisation", reason: "forbidden"},
	{target: onLAN, name: "CONNECT, garbage", make: connect("", "Sentinel ****"), status: []int{403}, says: "base64", reason: "forbidden"},
	{target: onLAN, name: "CONNECT, signed by a node", make: signedConnect("pve1", "pi", ""), status: []int{403}, says: "signature is wrong", reason: "forbidden"},
	{target: onLAN, name: "CONNECT, for another Pi", make: signedConnect("brain", "pi2", ""), status: []int{403}, says: "another Pi or address", reason: "forbidden"},
	{target: onLAN, name: "CONNECT, signed for another address", make: func(h *house) []byte {
		return connectBytes(h.api, h.connectHeader("brain", "pi", "192.0.2.1:8006"))
	}, status: []int{403}, says: "another Pi or address", reason: "forbidden"},
	{target: onLAN, name: "CONNECT, not in the plan", make: signedConnect("brain", "pi", "127.0.0.1:22"), status: []int{403}, says: "no such address", reason: "forbidden"},
	{target: onLAN, name: "CONNECT, spelt otherwise", make: signedConnect("brain", "pi", "127.0.0.1.:8006"), status: []int{403}, says: "no such address", reason: "forbidden"},
	{target: onLAN, name: "CONNECT to shut down, on mains", make: signedConnect("brain", "pi", ""), status: []int{409}, says: "mains are there", reason: "mains"},
	{target: onLAN, name: "CONNECT with a request smuggled in", make: func(h *house) []byte {
		return append(connectBytes("127.0.0.1:22", h.connectHeader("brain", "pi", h.api)), "POST /v1/announce HTTP/1.1\r\nHost: x\r\n\r\n"...)
	}, status: []int{403}, says: "another Pi or address", reason: "forbidden+1 malformed"}, // what follows is one more request of the same caller
}

func connectBytes(addr, auth string, headers ...string) []byte {
	head := "CONNECT " + addr + " HTTP/1.1\r\nHost: " + addr + "\r\n"
	if auth != "" {
		head += "Proxy-Authorization: " + auth + "\r\n"
	}
	for _, line := range headers {
		head += line + "\r\n"
	}
	return []byte(head + "\r\n")
}

func (h *house) connectHeader(signer, pi, addr string) string {
	auth, err := courier.SignConnect(wire.Connect{Header: h.header("brain"), Pi: pi, Addr: addr}, h.keys[signer])
	if err != nil {
		h.Fatal(err)
	}
	return auth
}

// connect asks for an address, the plan's if none is named.
func connect(addr, auth string) func(*house) []byte {
	return func(h *house) []byte { return connectBytes(orPlan(h, addr), auth) }
}

func signedConnect(signer, pi, addr string) func(*house) []byte {
	return func(h *house) []byte {
		a := orPlan(h, addr)
		return connectBytes(a, h.connectHeader(signer, pi, a))
	}
}

func orPlan(h *house, addr string) string {
	if addr == "" {
		return h.api
	}
	return addr
}

// TestR2_Shapes sends what is hardly HTTP, and what is for nobody to send.
func TestR2_Shapes(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	for _, target := range []string{onBrain, onControl, onLAN, onEvents} {
		for _, s := range everywhere {
			s.target = target
			if target == onLAN && strings.HasPrefix(s.name, "CONNECT") {
				s.reason = "forbidden" // the relay's own answer
			}
			h.shape(s)
		}
		for _, s := range slices.Concat(shapes, surface()) {
			if s.target == target {
				h.shape(s)
			}
		}
	}
	h.oddSearches()
	h.copiesCutOff()
	for _, e := range h.endpoints() {
		if status := h.good(e); status != 200 {
			t.Errorf("%s: a good message is answered %d afterwards", e, status)
		}
	}
}

func (h *house) shape(s shape) {
	h.Helper()
	onPi := s.target == onLAN || s.target == onEvents
	before, counts := h.state(), h.count(onPi)
	network, addr := h.listener(s.target)
	r := send(network, addr, s.make(h))
	var wrong []string
	if !slices.Contains(s.status, r.status) {
		wrong = append(wrong, fmt.Sprintf("answered %s instead of %d", r.answer(), s.status))
	}
	if !s.plain {
		wrong = append(wrong, oneError(r)...)
		if !strings.Contains(r.text(), s.says) {
			wrong = append(wrong, fmt.Sprintf("does not say %q", s.says))
		}
	}
	x := h.outcome(s.target, s.name, r, before, counts, onPi, s.reason, &wrong)
	x.known = s.known
	judge(h.T, x, wrong)
	if s.known != "" && r.status == http.StatusNoContent { // it was pressed: take it back
		send("tcp", h.page, post("/api/v1/plan/disarm", nil))
	}
}
