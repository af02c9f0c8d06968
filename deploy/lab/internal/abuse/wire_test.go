//go:build abuse

package abuse_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/secure-systems-lab/go-securesystemslib/dsse"

	"sentinel.home.arpa/shared/courier"
	"sentinel.home.arpa/shared/shutdown"
	"sentinel.home.arpa/shared/wire"
)

// endpoint is a route for messages, and who may use it.
type endpoint struct {
	addr, path string
	kind       wire.Kind
	by         string
	onPi       bool
}

func (e endpoint) String() string {
	return map[bool]string{false: "brain", true: "pi"}[e.onPi] + " POST " + e.path
}

// message is a good one, as JSON would have it.
func (h *house) message(e endpoint) map[string]any {
	hd := h.header(e.by)
	m := map[string]any{"v": hd.V, "site": hd.Site, "node": hd.Node, "boot": hd.Boot, "seq": hd.Seq}
	switch e.kind {
	case wire.KindHeartbeat:
		m["state"] = "running"
		if e.by == "pi2" {
			m["pi"] = map[string]any{"bundle": "x"}
			delete(m, "state")
		}
	case wire.KindUPS:
		m["ups"] = "ups2"
		m["reading"] = map[string]any{"flags": 0x05000008, "charge_ratio": 1, "runtime_s": 2520, "supply": "mains"}
	case wire.KindAnnouncement:
		m["id"], m["kind"] = fmt.Sprintf("x%d", hd.Seq), "cancelled"
	case wire.KindRecord:
		m["entries"], m["left"] = []any{h.noted("reading", map[string]any{"flags": 0x05000008, "supply": "mains", "for_s": 9})}, 0
	case wire.KindPi:
		m["to"], m["to_boot"], m["to_seq"] = "pi", h.boots["pi"], h.word()
		m["upses"] = []any{map[string]any{"name": "ups2", "reading": map[string]any{"supply": "mains"}}}
		m["run"] = map[string]any{"state": "none", "epoch": map[string]any{"counter": 0, "holder": ""}}
		m["known"] = map[string]any{"counter": 0, "holder": ""}
	case wire.KindRelay:
		m["messages"] = []any{map[string]any{"age_ms": 5, "envelope": h.relayable("pve1")}}
	}
	return m
}

// word is the seq of a word that the Pi says to pi2, which is asked for it.
func (h *house) word() int64 {
	hd := h.header("pi2")
	r := send("tcp", h.lan, post(courier.PathPi, seal(wire.KindPi, marshal(wire.PiReport{Header: hd, To: "pi", Run: wire.PiRun{State: shutdown.None}}), h.keys["pi2"])))
	e, err := wire.Read([]byte(r.body))
	if err != nil {
		h.Fatalf("a greeting is answered %s: %s", r.answer(), r.text())
	}
	return e.Header.Seq
}

// noted is an entry of a record, with one field changed.
func (h *house) noted(field string, value any) map[string]any {
	e := map[string]any{"age_ms": 5, "ups": "ups2", "reading": map[string]any{"flags": 0x05000010, "supply": "battery", "for_s": 1}}
	e[field] = value
	return e
}

// relayable is an announcement of a node that a Pi may relay.
func (h *house) relayable(by string) []byte {
	e := endpoint{path: courier.PathAnnounce, kind: wire.KindAnnouncement, by: by}
	return seal(wire.KindAnnouncement, marshal(h.message(e)), h.keys[by])
}

func marshal(v any) []byte {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return data
}

// seal signs any bytes as a payload, with as many keys as there are.
func seal(kind wire.Kind, payload []byte, keys ...wire.Key) []byte {
	sigs := []any{}
	for _, k := range keys {
		sig, _ := k.Sign(context.Background(), dsse.PAE(string(kind), payload))
		sigs = append(sigs, map[string]any{"keyid": k.PublicKey(), "sig": base64.StdEncoding.EncodeToString(sig)})
	}
	return marshal(map[string]any{"payloadType": kind, "payload": base64.StdEncoding.EncodeToString(payload), "signatures": sigs})
}

// post is a request as bytes.
func post(path string, body []byte, headers ...string) []byte {
	head := fmt.Sprintf("POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n", path, len(body))
	for _, line := range headers {
		head += line + "\r\n"
	}
	return append([]byte(head+"\r\n"), body...)
}

// chunked is a request whose length is not said.
func chunked(path string, body []byte) []byte {
	out := []byte("POST " + path + " HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
	for len(body) > 0 {
		n := min(len(body), 32<<10)
		out = append(append(fmt.Appendf(out, "%x\r\n", n), body[:n]...), "\r\n"...)
		body = body[n:]
	}
	return append(out, "0\r\n\r\n"...)
}

// reply is what came of a request.
type reply struct {
	status int // 0: the connection was closed without a word
	body   string
	json   *courier.ErrorBody
	took   time.Duration
	err    error
}

func (r reply) answer() string {
	if r.status == 0 {
		return "closed"
	}
	return fmt.Sprint(r.status)
}

func (r reply) text() string {
	switch {
	case r.json != nil && r.json.Hint != "":
		return r.json.Error + " [hint: " + r.json.Hint + "]"
	case r.json != nil:
		return r.json.Error
	case r.status == 0 && r.err != nil:
		return fmt.Sprintf("(%v after %.1f s)", r.err, r.took.Seconds())
	case r.status == http.StatusOK:
		return ""
	}
	return "(not JSON) " + r.body
}

// send writes bytes to an address and reads the answer.
func send(network, addr string, data []byte) reply {
	begun := time.Now()
	conn, err := net.DialTimeout(network, addr, 2*time.Second)
	if err != nil {
		return reply{err: err}
	}
	defer conn.Close()
	return exchange(conn, begun, data, false)
}

// exchange writes the rest of a request and reads the answer.
func exchange(conn net.Conn, begun time.Time, data []byte, slow bool) reply {
	_ = conn.SetDeadline(begun.Add(25 * time.Second))
	done := make(chan struct{})
	defer func() { conn.Close(); <-done }()
	go func() {
		defer close(done)
		if !slow {
			_, _ = conn.Write(data) // it may be cut off in the middle
			return
		}
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for _, b := range data {
			if _, err := conn.Write([]byte{b}); err != nil {
				return
			}
			<-tick.C
		}
	}()
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
			err = errors.New("closed")
		}
		return reply{err: err, took: time.Since(begun)}
	}
	defer resp.Body.Close()
	if bytes.HasPrefix(data, []byte("CONNECT ")) && resp.StatusCode == http.StatusOK {
		return reply{status: resp.StatusCode, took: time.Since(begun)} // what follows is the tunnel
	}
	body, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	r := reply{status: resp.StatusCode, body: string(body), took: time.Since(begun)}
	var e courier.ErrorBody
	if strings.HasPrefix(resp.Header.Get("Content-Type"), "application/json") && wire.Strict(body, &e) == nil {
		r.json = &e
	}
	return r
}

// good posts a good message and returns the status.
func (h *house) good(e endpoint) int {
	return send("tcp", e.addr, post(e.path, seal(e.kind, marshal(h.message(e)), h.keys[e.by]))).status
}

// oneError tells what is wrong with an error's form.
func oneError(r reply) []string {
	var wrong []string
	switch {
	case r.json == nil || r.json.Error == "":
		wrong = append(wrong, "no error in JSON")
	case len(r.json.Error) > 400:
		wrong = append(wrong, fmt.Sprintf("an error of %d bytes", len(r.json.Error)))
	case strings.ContainsAny(r.json.Error, "\n\r\x1b\x00"):
		wrong = append(wrong, "a control character in the error")
	}
	return wrong
}
