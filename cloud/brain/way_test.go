package brain

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sentinel.home.arpa/shared/config"
	"sentinel.home.arpa/shared/courier"
	"sentinel.home.arpa/shared/proxmox"
	"sentinel.home.arpa/shared/shutdown"
)

const firstRelayAddr = "192.168.77.3:7777"

// withFirstPi puts a Pi before the house's own in the list, which behaves as serve does; nil:
// nobody is there.
func (h *home) withFirstPi(serve func(conn net.Conn, r *http.Request)) {
	h.cfg.Sites[0].Pis = append([]Peer{{Name: "pi-0", Relay: firstRelayAddr, Key: someKey}}, h.cfg.Sites[0].Pis...)
	if serve == nil {
		return
	}
	ln, err := h.net.listen("tcp", firstRelayAddr)
	if err != nil {
		h.Fatal(err)
	}
	var done sync.WaitGroup
	done.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			done.Go(func() {
				defer conn.Close()
				if r, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
					serve(conn, r)
				}
			})
		}
	})
	h.away = append(h.away, func() { _ = ln.Close(); h.net.cut(firstRelayAddr); done.Wait() })
}

func relaySays(text string) func(net.Conn, *http.Request) {
	return func(c net.Conn, _ *http.Request) { _, _ = io.WriteString(c, text) }
}

// TestS4_AnotherPiIsTheWayWhenTheFirstIsGone, however it is gone: a node is seen, told and
// seen to be down in the time that whoever looks has for it.
func TestS4_AnotherPiIsTheWayWhenTheFirstIsGone(t *testing.T) {
	for name, c := range map[string]struct {
		serve func(net.Conn, *http.Request)
		lost  bool
	}{
		"refuses":                            {},
		"is silent":                          {lost: true},
		"hangs up":                           {serve: relaySays("")},
		"does not know the brain":            {serve: relaySays("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")},
		"cannot dial":                        {serve: relaySays("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")},
		"takes the request and says nothing": {serve: func(c net.Conn, _ *http.Request) { _, _ = c.Read(make([]byte, 1)) }},
		"is another kind of machine":         {serve: relaySays("SSH-2.0-OpenSSH_9.2\r\n")},
		"is refused in the node's name":      {serve: relaySays(foundClosed)},
		"is kept off without a word": {serve: func(c net.Conn, r *http.Request) {
			rest(1500 * time.Millisecond)
			relaySays(foundClosed)(c, r)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			var house *cluster
			in(t, func(h *home) { house = h.withPlan(); h.withFirstPi(c.serve) }, func(h *home) {
				if c.lost {
					h.net.cut(firstRelayAddr)
				}
				fleet, err := h.brain.fleet(*h.brain.plan("home"), courier.ToAsk)
				if err != nil {
					h.Fatal(err)
				}
				defer fleet.Close()
				node := shutdown.Target{Kind: shutdown.ProxmoxNode, Node: "pve2"}
				look := func(what string, closed bool) {
					h.Helper()
					ctx, cancel := context.WithTimeout(h.Context(), 3*time.Second) // as an executor looks
					defer cancel()
					if s, err := fleet.Look(ctx, node); err != nil || s.Closed != closed {
						h.Errorf("%s: %+v, %v", what, s, err)
					}
				}
				look("all well", false)
				if ts, err := fleet.List(h.Context(), "pve2"); err != nil || len(ts) != 3 {
					h.Errorf("its guests: %v, %v", ts, err)
				}
				if err := fleet.Do(h.Context(), shutdown.Command{Target: node}); err != nil || house.count("pve2 /status") != 1 {
					h.Errorf("told to shut down: %v, %d times", err, house.count("pve2 /status"))
				}
				rest(30 * time.Second)
				look("off", true)
			})
		})
	}
}

// foundClosed is how a Pi says that a node refuses its connection, or does not answer it.
const foundClosed = "HTTP/1.1 502 Bad Gateway\r\nSentinel-Target: closed\r\nContent-Length: 0\r\n\r\n"

// TestS4_OnePisWordIsEnoughWithoutOthers: a node that one Pi finds closed is, in the time that
// whoever looks has, if the other Pi is gone.
func TestS4_OnePisWordIsEnoughWithoutOthers(t *testing.T) {
	in(t, func(h *home) { h.withPlan(); h.withFirstPi(relaySays(foundClosed)) }, func(h *home) {
		fleet, err := h.brain.fleet(*h.brain.plan("home"), courier.ToAsk)
		if err != nil {
			h.Fatal(err)
		}
		defer fleet.Close()
		h.net.cut(relayAddr)
		ctx, cancel := context.WithTimeout(h.Context(), 3*time.Second)
		defer cancel()
		begun := time.Now()
		s, err := fleet.Look(ctx, shutdown.Target{Kind: shutdown.ProxmoxNode, Node: "pve2"})
		if took := time.Since(begun); err != nil || !s.Closed || took != closedAfter {
			h.Errorf("after %s: %+v, %v", took, s, err)
		}
	})
}

// TestS4_WithoutAnyPiNothingIsKnown of a node, be it up or off: it never counts as down.
func TestS4_WithoutAnyPiNothingIsKnown(t *testing.T) {
	var house *cluster
	in(t, func(h *home) { house = h.withPlan(); h.withFirstPi(nil) }, func(h *home) {
		fleet, err := h.brain.fleet(*h.brain.plan("home"), courier.ToShutDown)
		if err != nil {
			h.Fatal(err)
		}
		defer fleet.Close()
		for _, lost := range []bool{false, true} {
			if lost {
				h.net.cut(firstRelayAddr, relayAddr)
			} else {
				h.net.cut(relayAddr)
			}
			house.PowerCut("pve2")
			ctx, cancel := context.WithTimeout(h.Context(), 3*time.Second)
			s, err := fleet.Look(ctx, shutdown.Target{Kind: shutdown.ProxmoxNode, Node: "pve2"})
			cancel()
			if err == nil || s.Closed || errors.Is(err, proxmox.ErrTargetClosed) {
				h.Errorf("%+v, %v", s, err)
			}
			if !strings.Contains(err.Error(), "through pi") && ctx.Err() == nil {
				h.Errorf("it does not say by which Pi: %v", err)
			}
		}
	})
}

// TestARaceHasAnOwner who waits for what comes too late, and for its end.
func TestARaceHasAnOwner(t *testing.T) {
	for name, fails := range map[string]bool{"another was through": false, "nobody was": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client, server := net.Pipe()
				var owner sync.WaitGroup
				begun := time.Now()
				var late atomic.Bool
				conn, err := race(t.Context(), &owner, []relay{{name: "slow"}, {name: "quick"}}, func(_ context.Context, pi relay) (net.Conn, error) {
					switch {
					case pi.name == "slow":
						time.Sleep(3 * time.Second) // and heeds nothing
						late.Store(true)
						return server, nil
					case fails:
						return nil, courier.ErrTargetClosed
					}
					return client, nil
				})
				if (conn == client) == fails || (err != nil) != fails || late.Load() {
					t.Errorf("%v, %v", conn, err)
				}
				owner.Wait()
				if took := time.Since(begun); took != 3*time.Second || !late.Load() {
					t.Errorf("its owner has waited for %s", took)
				}
				if _, err := server.Write([]byte("x")); !errors.Is(err, io.ErrClosedPipe) {
					t.Errorf("what came too late is open: %v", err)
				}
				_ = client.Close()
			})
		})
	}
}

// TestR2_TheLastPiIsTakenOutInARun: the run that went through it has no way any more, says so, and
// the brain lives on.
func TestR2_TheLastPiIsTakenOutInARun(t *testing.T) {
	reloading(t, func(h *home) { h.withPlan() }, func(h *home) {
		h.press("/api/v1/plan/arm")
		h.ups.set(true)
		rest(12 * time.Second)
		h.rewrite(func(c *Config) {
			c.Plan = Plan{{Nodes: c.Plan[len(c.Plan)-1].Nodes, Deadline: config.Duration(time.Minute)}}
			c.Sites[0].Pis = nil
		})
		rest(3 * time.Minute)
		if line := h.log.lines("panic"); len(line) > 0 {
			t.Errorf("%q", line)
		}
		if got := h.shows("pve1"); got.Condition != "up" {
			t.Errorf("the page shows %+v", got)
		}
		if _, said := h.told(errNoPi.Error()); !said {
			t.Error(h.timeline())
		}
	})
}
