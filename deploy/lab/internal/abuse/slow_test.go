//go:build abuse

package abuse_test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// trickle is a request of which the head comes at once and the rest a byte a second.
func trickle(network, addr string, head, rest []byte) reply {
	begun := time.Now()
	conn, err := net.DialTimeout(network, addr, 2*time.Second)
	if err != nil {
		return reply{err: err}
	}
	defer conn.Close()
	if _, err := conn.Write(head); err != nil {
		return reply{err: err, took: time.Since(begun)}
	}
	return exchange(conn, begun, rest, true)
}

// TestR2_Slow sends a byte a second to all at once, while a thousand connections idle at
// brain and Pi. All are cut off, and good messages pass meanwhile.
func TestR2_Slow(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	rss := map[*program]float64{h.brain: h.brain.rss(), h.pi: h.pi.rss()}
	before := h.state()
	mark, counts := h.pi.log.mark(), h.count(false)
	var idle, slow sync.WaitGroup
	for target, addr := range map[string]string{onBrain: h.page, onLAN: h.lan} {
		h.crowd(&idle, target, addr)
	}
	add := func(target, name string, head, rest []byte, status int, limit time.Duration) {
		slow.Go(func() {
			network, addr := h.listener(target)
			r := trickle(network, addr, head, rest)
			var wrong []string
			if r.status != status || r.took < limit-time.Second || r.took > limit+3*time.Second {
				wrong = append(wrong, fmt.Sprintf("answered %s after %s", r.answer(), r.took))
			}
			if status != 400 { // that one is the HTTP library's own
				wrong = append(wrong, oneError(r)...)
			}
			judge(t, row{target: "slow: " + target, abuse: name, answer: fmt.Sprintf("%s, %.0f s", r.answer(), r.took.Seconds()), text: r.text(),
				changed: "nothing"}, wrong)
		})
	}
	bodies := map[bool]int{}
	for _, e := range h.endpoints() {
		data := post(e.path, h.envelope(e))
		head, body, _ := bytes.Cut(data, []byte("\r\n\r\n"))
		target := map[bool]string{false: onBrain, true: onLAN}[e.onPi]
		add(target, "body of "+e.path+", a byte a second", append(head, "\r\n\r\n"...), body, 408, 10*time.Second)
		bodies[e.onPi]++
	}
	for _, target := range []string{onBrain, onControl, onLAN, onEvents} {
		add(target, "header, a byte a second", nil, []byte("POST /v1/heartbeat HTTP/1.1\r\nHost: x\r\n"), 400, 5*time.Second)
	}
	add(onLAN, "CONNECT's header, a byte a second", nil, connectBytes(h.api, h.connectHeader("brain", "pi", h.api)), 400, 5*time.Second)
	add(onBrain, "a body of which nothing comes", []byte("POST /v1/ups HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n"), nil, 408, 10*time.Second)
	bodies[false]++
	for _, e := range h.endpoints()[:1] {
		if status := h.good(e); status != 200 {
			t.Errorf("%s: a good message is answered %d among 1,000 idle connections", e, status)
		}
	}
	slow.Wait()
	crowded := map[*program]float64{h.brain: h.brain.rss(), h.pi: h.pi.rss()}
	idle.Wait()
	if got := counted(counts, h.count(false)); got != fmt.Sprintf("slow+%d", bodies[false]) {
		t.Errorf("the brain counted %s", got)
	}
	if got := counted(nil, h.pi.saidRefused(mark)); got != fmt.Sprintf("slow+%d", bodies[true]) {
		t.Errorf("the Pi said %s", got)
	}
	if what, _ := before.changed(h.state()); len(what) > 0 {
		t.Errorf("changed: %v", what)
	}
	for p, was := range rss {
		var wrong []string
		if grown := crowded[p] - was; grown > 40 {
			wrong = append(wrong, "grown by more than 40 MB")
		}
		judge(t, row{target: "memory, 1,000 idle connections", abuse: p.name, answer: fmt.Sprintf("%+.1f MB", crowded[p]-was), changed: fmt.Sprintf("%.0f MB before", was)}, wrong)
	}
}

// crowd opens a thousand connections, has a few good messages pass between them, and
// waits until each was closed.
func (h *house) crowd(wg *sync.WaitGroup, target, addr string) {
	conns := make([]net.Conn, 1000)
	for i := range conns {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			h.Fatal(err)
		}
		conns[i] = c
		if i%2 == 0 {
			_, _ = io.WriteString(c, "POST / HTTP/1.1\r\n") // half a header
		}
	}
	wg.Go(func() {
		begun := time.Now()
		for _, c := range conns {
			_ = c.SetReadDeadline(begun.Add(15 * time.Second))
			data, err := io.ReadAll(c)
			if ne, ok := err.(net.Error); ok && ne.Timeout() || strings.Contains(string(data), "200") {
				h.Errorf("%s: an idle connection lives on: %q, %v", target, data, err)
				break
			}
			c.Close()
		}
		judge(h.T, row{target: "slow: " + target, abuse: "1,000 idle connections", answer: fmt.Sprintf("closed, %.0f s", time.Since(begun).Seconds()), changed: "nothing"}, nil)
	})
}
