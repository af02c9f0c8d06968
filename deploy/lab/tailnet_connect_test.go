package main

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"sentinel.home.arpa/shared/courier"
)

// TestR1_OnlyTheBrainGoesThroughThePi: on the tailnet it is the tag that lets one through, and
// no word that anybody says; on the LAN nothing does.
func TestR1_OnlyTheBrainGoesThroughThePi(t *testing.T) {
	h := newOverTailnet(t)
	h.startAll()
	ask := func(dial func(ctx context.Context, network, addr string) (net.Conn, error), pi, says string) {
		t.Helper()
		before := h.pi.log.count("connect refused", says)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		_, err := courier.Through(dial, pi, courier.ToAsk, func(string) (string, error) { return courier.ConnectScheme + " e30=", nil })(ctx, "tcp", "192.0.2.1:8006")
		if err == nil || !strings.Contains(err.Error(), "it answered 403") || errors.Is(err, courier.ErrTargetClosed) {
			t.Errorf("who must hear that %q: %v", says, err)
		}
		h.await("the Pi says "+says, func() bool { return h.pi.log.count("connect refused", says) > before })
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if _, err := courier.Through((&net.Dialer{}).DialContext, h.piLAN, courier.ToAsk, nil)(ctx, "tcp", "192.0.2.1:8006"); err == nil || !strings.Contains(err.Error(), "it answered 404") {
		t.Errorf("on the LAN: %v", err)
	}
	for name, tags := range map[string][]string{"pve2": {"tag:sentinel-node"}, "pi-2": {"tag:sentinel-pi"}, "laptop": nil} {
		g := h.joins(name, tags...)
		ask(g.node.Dial, h.piOnTailnet(g), name+" is not the brain")
	}
	g := h.joins("sentinel-2", "tag:sentinel-brain")
	ask(g.node.Dial, h.piOnTailnet(g), "the plan has no such address")
}

// piOnTailnet is where a machine of the tailnet reaches the Pi.
func (h *overTailnet) piOnTailnet(g *guest) (addr string) {
	h.Helper()
	h.await("the Pi among the peers", func() bool {
		ctx, cancel := context.WithTimeout(h.Context(), patience)
		defer cancel()
		peers, err := g.node.PeersTagged(ctx, "tag:sentinel-pi")
		for _, p := range peers {
			if p.Name == "pi" {
				addr = net.JoinHostPort(p.Addr.String(), "7777")
			}
		}
		return err == nil && addr != ""
	})
	return addr
}
