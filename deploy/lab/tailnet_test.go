package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"sentinel.home.arpa/node-hook/embedded"
	"sentinel.home.arpa/node-hook/hook"
	"sentinel.home.arpa/shared/courier"
	"sentinel.home.arpa/shared/power"
	"sentinel.home.arpa/shared/wire"
)

// TestH1_HeartbeatsCarryTheTailnetsIdentity: nothing is registered and no key configured,
// yet node and Pi stand on the page, which a person sees over the tailnet.
func TestH1_HeartbeatsCarryTheTailnetsIdentity(t *testing.T) {
	h := newOverTailnet(t)
	h.startAll()
	// The brain named the Pi to the node, which from now on beats to it over the LAN.
	h.await("the node at the Pi", func() bool { return h.node.log.has("receiver is reachable", "receiver=pi", h.piLAN) })

	viewer := h.joins("laptop")
	client := &http.Client{Timeout: patience, Transport: &http.Transport{DialContext: viewer.node.Dial, DisableKeepAlives: true}}
	resp, err := client.Get(viewer.url + "/api/v1/status")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK || !strings.Contains(string(body), `"pve1"`) {
		t.Errorf("%s over the tailnet: %s, %v", resp.Status, body, err)
	}
}

// TestR8_AStrangerWaitsForAnAdmin and nobody speaks for another.
func TestR8_AStrangerWaitsForAnAdmin(t *testing.T) {
	h := newOverTailnet(t)
	h.startAll()
	stranger := h.joins("pve9")
	refused(t, "a machine without the tag", stranger.beat("pve9"))
	h.await("it on the list of those that wait", func() bool { return h.waits("pve9") })

	node := h.joins("pve2", "tag:sentinel-node")
	if err := node.beat("pve2"); err != nil {
		t.Fatal(err)
	}
	refused(t, "a node in another's name", node.beat("pve1"))
	refused(t, "a node in the Pi's name", node.beat("pi"))
	head := node.header("pve2")
	refused(t, "a node with a UPS", node.post(courier.PathUPS, wire.KindUPS, head,
		&wire.UPSReport{Header: head, UPS: "ups", Reading: power.Reading{Supply: power.Battery}}))
	if !h.up("pve1") || !h.up("pi") {
		t.Error("those whose names were taken are not up")
	}

	code, body := h.control("brain", http.MethodPost, "/api/v1/nodes/pve9/approve")
	if code != http.StatusNoContent {
		t.Fatalf("approve: %d %s", code, body)
	}
	if err := stranger.beat("pve9"); err != nil {
		t.Errorf("approved, and yet: %v", err)
	}
	h.await("the approved one up", func() bool { return h.up("pve9") && !h.waits("pve9") })
}

func refused(t *testing.T, what string, err error) {
	t.Helper()
	var no *courier.Refusal
	if !errors.As(err, &no) || no.Status != http.StatusForbidden {
		t.Errorf("%s was answered with %v", what, err)
	}
}

// TestN10_AnExpiredKeyIsANotice of each program, in one line that says what to do, and
// again when it is mended.
func TestN10_AnExpiredKeyIsANotice(t *testing.T) {
	h := newOverTailnet(t)
	control := h.tailnet.Control()
	control.RequireAuth = true
	programs := map[string]*daemonUnderTest{"sentinel": h.brain, "pi": h.pi, "pve1": h.node}
	login := func(p *daemonUnderTest, n int) {
		t.Helper()
		h.await(p.name+"'s address to log in at", func() bool { return p.log.loginAddress(n) != "" })
		if !control.CompleteAuth(p.log.loginAddress(n)) {
			t.Fatalf("%s names an address that the control server does not know", p.name)
		}
	}
	for _, p := range []*daemonUnderTest{h.brain, h.pi, h.node} {
		p.start()
		login(p, 1)
		h.await(p.name+" on the tailnet", func() bool { return p.log.has("tailnet state changed", "state=Running") })
	}
	h.await("everybody up", func() bool { return h.up("pve1") && h.up("pi") })
	expire := func(name string, at time.Time) {
		for _, n := range control.AllNodes() { // the old and, while it is renewed, the new one
			if n.Hostinfo.Hostname() == name {
				n.KeyExpiry = at
				control.UpdateNode(n)
			}
		}
	}
	for name, p := range programs {
		warning := []string{"level=WARN", "out of the tailnet until a person logs this machine in", "expired=true", "has expired"}
		expire(name, time.Now().Add(-time.Hour))
		h.await("the notice of "+p.name, func() bool { return p.log.has(warning...) })
		h.await("a new address of "+p.name, func() bool { return p.log.loginAddress(2) != "" })
		expire(name, time.Now().Add(time.Hour))
		login(p, 2)
		h.await(p.name+" back", func() bool { return p.log.has("level=INFO", "back in the tailnet") })
		if n := p.log.count(warning...); n != 1 {
			t.Errorf("%s said it %d times", p.name, n)
		}
	}
	heard := h.way.heard.Load()
	h.await("heartbeats again", func() bool { return h.way.heard.Load() > heard+1 })
}

// TestH8_AgentsAreBackSoonAfterTheBrain: its fixed UDP port spares them WireGuard's retry.
func TestH8_AgentsAreBackSoonAfterTheBrain(t *testing.T) {
	restarts := 10
	if testing.Short() {
		restarts = 3
	}
	h := newOverTailnet(t)
	h.startAll()
	var took []time.Duration
	for range restarts {
		h.brain.stop()
		heard := h.way.heard.Load()
		begin := time.Now()
		h.brain.start()
		h.await("an answer to the agent", func() bool { return h.way.heard.Load() > heard })
		took = append(took, time.Since(begin).Round(time.Millisecond))
		h.await("the next answers", func() bool { return h.way.heard.Load() > heard+2 })
	}
	t.Log("back after", took)
	slices.Sort(took)
	median, worst := took[len(took)/2], took[len(took)-1]
	t.Log("median", median, "worst", worst)
	if median > 3*time.Second && !testing.Short() { // three, under the race detector, have no median to speak of
		t.Errorf("the median is %s, over 3 s", median)
	}
	if worst > 7*time.Second {
		t.Errorf("the worst is %s, over 7 s", worst)
	}
}

// TestR1_NothingWaitsForTheTailnet: with the control server gone what runs goes on, and
// what starts anew does its work in the house at once.
func TestR1_NothingWaitsForTheTailnet(t *testing.T) {
	systemd := hearSystemd(t)
	h := newOverTailnet(t)
	h.startAll()
	h.await("the node at the Pi", func() bool { return h.node.log.has("receiver is reachable", "receiver=pi", h.piLAN) })
	h.tailnet.StopControl()
	heard := h.way.heard.Load()
	h.await("heartbeats without a control server", func() bool { return h.way.heard.Load() > heard+3 })

	soon := func(what string, ok func() bool) {
		t.Helper()
		begin := time.Now()
		h.await(what, ok)
		if took := time.Since(begin); took > 5*time.Second {
			t.Errorf("%s took %s", what, took)
		} else {
			t.Log(what, "took", took.Round(time.Millisecond))
		}
	}
	again := func(p *daemonUnderTest) {
		t.Helper()
		begin := time.Now()
		p.stop()
		if took := time.Since(begin); took > 10*time.Second {
			t.Errorf("%s took %s to end", p.name, took)
		}
		p.log = &sayings{}
		ready := systemd.count("READY=1")
		p.start()
		soon("READY=1 of "+p.name, func() bool { return systemd.count("READY=1") > ready })
	}
	again(h.node)
	soon("the restarted node at the Pi", func() bool { return h.node.log.has("receiver is reachable", "receiver=pi") })
	again(h.pi)
	soon("the restarted Pi on the LAN", func() bool {
		resp, err := http.Post("http://"+h.piLAN+courier.PathHeartbeat, "application/json", strings.NewReader("{}"))
		if err != nil {
			return false
		}
		resp.Body.Close()
		return resp.StatusCode == http.StatusBadRequest
	})
	again(h.brain)
	soon("the restarted brain's loop", func() bool { _, ok := h.status(); return ok })
	code, body := h.control("brain", http.MethodGet, "/healthz")
	if code != http.StatusOK {
		t.Errorf("healthz: %d %s", code, body)
	}
}

// TestR1_NoHeartbeatLeavesTheTailnet: what is meant for a brain that is no machine of the
// tailnet, as an old file may have it, goes neither to the house's network nor to its DNS.
func TestR1_NoHeartbeatLeavesTheTailnet(t *testing.T) {
	h := newOverTailnet(t)
	house, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer house.Close()
	leaks := new(atomic.Int32)
	go func() { // ends with the listener
		for {
			conn, err := house.Accept()
			if err != nil {
				return
			}
			leaks.Add(1)
			conn.Close()
		}
	}()
	_, port, err := net.SplitHostPort(house.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	key, err := wire.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	brains := []wire.Peer{{Name: "by-address", Address: house.Addr().String(), Key: key.PublicKey()},
		{Name: "by-name", Address: "localhost:" + port, Key: key.PublicKey()}, {Name: "gone", Address: "100.64.0.77:80", Key: key.PublicKey()}}
	data, err := json.Marshal(map[string]any{"brains": brains})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(h.path("pve1", "peers.json"), data, 0o600); err != nil {
		t.Fatal(err)
	}
	h.node.start() // there is no brain that it could find in their place
	h.await("the node on the tailnet", func() bool { return h.node.log.has("the tailnet shows no brain") })
	for _, b := range brains {
		h.await("the refusal of "+b.Address, func() bool { return h.node.log.has("receiver is unreachable", "receiver="+b.Name) })
	}
	build := hook.Build{Join: func(c hook.Config, log *slog.Logger) hook.Network { return embedded.New(c, log) }}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	err = build.Announce(ctx, h.path("pve1", "config.yaml"), wire.Reboot, io.Discard)
	for _, b := range brains { // the agent itself answers in their place
		if err == nil || !strings.Contains(err.Error(), "post to "+b.Name+": it answered 502") {
			t.Errorf("an announcement to %s: %v", b.Name, err)
		}
	}
	if n := leaks.Load(); n > 0 {
		t.Errorf("%d connections went to the house's network", n)
	}
}

// TestA2_AnnounceGoesThroughTheRunningAgent: a process of its own can't be the same
// machine of the tailnet, yet its announcement reaches the brain.
func TestA2_AnnounceGoesThroughTheRunningAgent(t *testing.T) {
	h := newOverTailnet(t)
	h.startAll()
	h.await("the Pi in the node's book", func() bool { return h.node.log.has("receiver is reachable", "receiver=pi") })
	h.pi.stop() // the brain is the only way
	build := hook.Build{Join: func(hook.Config, *slog.Logger) hook.Network {
		t.Error("a second machine with the same identity")
		return nil
	}}
	var out strings.Builder
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := build.Announce(ctx, h.path("pve1", "config.yaml"), wire.Reboot, &out); err != nil {
		t.Fatal(err)
	}
	if got := out.String(); got != "reboot acknowledged by sentinel\n" {
		t.Errorf("printed %q", got)
	}
	h.node.stop()
	err := build.Announce(ctx, h.path("pve1", "config.yaml"), wire.Poweroff, io.Discard)
	if err == nil || !strings.Contains(err.Error(), filepath.Base(h.path("pve1", "s"))) {
		t.Errorf("without a running agent: %v", err)
	}
}
