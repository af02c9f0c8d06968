// Package tailnetsim is a tailnet in this process: a control server, a relay and a STUN
// server on loopback, for machines of package tailnet and tsnet.
//
// It is reached only from tests, and must not import what it is there to test.
package tailnetsim

import (
	"crypto/tls"
	"log/slog"
	"net"
	"net/http/httptest"
	"os"
	"testing"

	"tailscale.com/derp/derpserver"
	"tailscale.com/net/netns"
	"tailscale.com/net/stun/stuntest"
	"tailscale.com/tailcfg"
	"tailscale.com/tstest/integration/testcontrol"
	"tailscale.com/types/key"
	"tailscale.com/types/logger"
	"tailscale.com/types/nettype"
)

// Start starts a tailnet that lets everybody in and grants all tags. It ends with the
// test. Start the machine first that the others will call: one that comes last costs its
// callers 5 s.
func Start(tb testing.TB) *testcontrol.Server {
	for _, name := range []string{"TS_AUTHKEY", "TS_AUTH_KEY", "TS_CLIENT_SECRET", "TS_CONTROL_URL"} {
		_ = os.Unsetenv(name) // they fill empty fields
	}
	netns.SetEnabled(false) // for the whole process: its sockets must be free to use loopback
	relay := derpserver.New(key.NewNode(), logger.Discard)
	web := httptest.NewUnstartedServer(derpserver.Handler(relay))
	web.TLS = &tls.Config{}
	web.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug)
	web.StartTLS()
	stun, stop := stuntest.ServeWithPacketListener(tb, nettype.Std{})
	c := &testcontrol.Server{
		Logf: logger.Discard, MagicDNSDomain: "lab.ts.net", AllOnline: true,
		DNSConfig: &tailcfg.DNSConfig{Proxied: true},
		TagOwners: map[string][]string{}, // not nil: tags are granted
		DERPMap: &tailcfg.DERPMap{Regions: map[int]*tailcfg.DERPRegion{1: {
			RegionID: 1, RegionCode: "t",
			Nodes: []*tailcfg.DERPNode{{
				Name: "t1", RegionID: 1, HostName: "127.0.0.1", IPv4: "127.0.0.1", IPv6: "none",
				InsecureForTests: true, STUNPort: stun.Port, STUNTestIP: "127.0.0.1",
				DERPPort: web.Listener.Addr().(*net.TCPAddr).Port,
			}},
		}}},
	}
	c.HTTPTestServer = httptest.NewServer(c)
	tb.Cleanup(func() {
		for _, s := range []*httptest.Server{c.HTTPTestServer, web} {
			s.CloseClientConnections()
			s.Close()
		}
		relay.Close()
		stop()
	})
	return c
}
