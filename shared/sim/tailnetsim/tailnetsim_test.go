package tailnetsim

import (
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"
	"tailscale.com/net/stun"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m, Leftovers()...) }

// TestServers answer where they were told to listen, and end with all their connections.
func TestServers(t *testing.T) {
	for _, host := range []string{"", "127.0.0.2", "::1"} {
		var at netip.Addr
		if host != "" {
			at = netip.MustParseAddr(host)
		}
		tn, err := Open(Config{Listen: at})
		if err != nil {
			if host == "::1" {
				t.Skip("no IPv6 here: ", err)
			}
			t.Fatal(err)
		}
		resp, err := http.Get(tn.URL() + "/key?v=1")
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			t.Errorf("%s: the control server answers %s", host, resp.Status)
		}
		region := tn.Control().DERPMap.Regions[1].Nodes[0]
		if host != "" && region.HostName != host {
			t.Errorf("the relay is said to be at %s, not %s", region.HostName, host)
		}
		asks(t, net.JoinHostPort(region.STUNTestIP, ""), region.STUNPort)
		conn, err := net.Dial("tcp", tn.RelayAddr())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		tn.StopControl()
		if _, err := net.DialTimeout("tcp", tn.URL()[len("http://"):], time.Second); err == nil {
			t.Error("the control server still listens")
		}
		tn.Close()
		tn.Close()
		if err := conn.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("a connection to the relay outlives it: %v", err)
		}
		http.DefaultClient.CloseIdleConnections()
	}
}

// asks the STUN server for the own address.
func asks(t *testing.T, host string, port int) {
	t.Helper()
	ip, _, err := net.SplitHostPort(host)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.DialUDP("udp", nil, &net.UDPAddr{IP: net.ParseIP(ip), Port: port})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	id := stun.NewTxID()
	buf := make([]byte, 1500)
	for _, packet := range [][]byte{[]byte("no STUN"), stun.Request(id)} {
		if _, err := conn.Write(packet); err != nil {
			t.Fatal(err)
		}
	}
	if err := conn.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
		t.Fatal(err)
	}
	n, err := conn.Read(buf)
	if err != nil {
		t.Fatal(err)
	}
	got, at, err := stun.ParseResponse(buf[:n])
	if err != nil || got != id || at.String() != conn.LocalAddr().String() {
		t.Errorf("answered %v, %v, %v", got, at, err)
	}
}

func TestAnAddressOfAnotherMachineIsAnError(t *testing.T) {
	if tn, err := Open(Config{Listen: netip.MustParseAddr("192.0.2.1")}); err == nil {
		tn.Close()
		t.Error("listens on an address that is not here")
	}
}
