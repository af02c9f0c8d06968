package tailnet

import (
	"context"
	"slices"
	"testing"
	"time"

	"tailscale.com/ipn"
	"tailscale.com/tailcfg"

	"sentinel.home.arpa/shared/sim/tailnetsim"
)

// TestN10_HomeRelays are learnt once the machine is up, and known while control is away.
func TestN10_HomeRelays(t *testing.T) {
	tn, err := tailnetsim.Open(tailnetsim.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(tn.Close)
	node, _ := run(t, Config{Hostname: "brain", ControlURL: tn.URL()})
	want := []Relay{{Name: "127.0.0.1", Addr: tn.RelayAddr()}}
	learns := func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		relays, err := node.HomeRelays(ctx)
		return err == nil && slices.Equal(relays, want)
	}
	await(t, "the home relays", learns)
	if node.ControlURL() != tn.URL() {
		t.Errorf("control is at %s", node.ControlURL())
	}
	tn.StopControl()
	if !learns() {
		t.Error("unknown without control")
	}
	if url := New(Config{}).ControlURL(); url != ipn.DefaultControlURL {
		t.Errorf("Tailscale's own control is at %q", url)
	}
}

func TestN10_RelaysOfARegion(t *testing.T) {
	got := relaysOf(&tailcfg.DERPRegion{Nodes: []*tailcfg.DERPNode{
		{HostName: "derp1a.example.net", IPv4: "198.51.100.1", IPv6: "2001:db8::1"},
		{HostName: "derp1b.example.net", IPv4: "198.51.100.2", IPv6: "none", DERPPort: 8443},
		{HostName: "derp1c.example.net"},
		{HostName: "stun.example.net", STUNOnly: true},
	}})
	want := []Relay{
		{Name: "derp1a.example.net", Addr: "198.51.100.1:443"}, {Name: "derp1a.example.net", Addr: "[2001:db8::1]:443"},
		{Name: "derp1b.example.net", Addr: "198.51.100.2:8443"}, {Name: "derp1c.example.net", Addr: "derp1c.example.net:443"},
	}
	if !slices.Equal(got, want) {
		t.Errorf("%+v", got)
	}
}
