package tailnet

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"

	"tailscale.com/ipn"
	"tailscale.com/tailcfg"
)

var errNoHome = errors.New("it has no home region yet")

// Relay is where one of the tailnet's DERP servers is reached with TLS, over the machine's own network.
type Relay struct {
	Name string // that TLS asks for
	Addr string // host:port; the host is an IP address if the tailnet says which
}

// ControlURL is the control server's.
func (n *Node) ControlURL() string { return cmp.Or(n.cfg.ControlURL, ipn.DefaultControlURL) }

// HomeRelays are the DERP servers of the region where peers look for this machine, one for each of their
// addresses. It waits until the machine is up; a region is chosen within seconds of that.
func (n *Node) HomeRelays(ctx context.Context) ([]Relay, error) {
	relays, err := n.homeRelays(ctx)
	if err != nil {
		return nil, fmt.Errorf("find the tailnet's home relays: %w", err)
	}
	return relays, nil
}

func (n *Node) homeRelays(ctx context.Context) ([]Relay, error) {
	_, client, err := n.up(ctx)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, localDeadline)
	defer cancel()
	st, err := client.StatusWithoutPeers(ctx)
	if err != nil {
		return nil, err
	}
	regions, err := client.CurrentDERPMap(ctx)
	if err != nil {
		return nil, err
	}
	for _, r := range regions.Regions {
		if st.Self != nil && st.Self.Relay != "" && r.RegionCode == st.Self.Relay {
			return relaysOf(r), nil
		}
	}
	return nil, errNoHome
}

func relaysOf(r *tailcfg.DERPRegion) []Relay {
	var all []Relay
	for _, n := range r.Nodes {
		if n.STUNOnly {
			continue
		}
		port := strconv.Itoa(cmp.Or(n.DERPPort, 443))
		at := len(all)
		for _, ip := range []string{n.IPv4, n.IPv6} {
			if _, err := netip.ParseAddr(ip); err == nil { // else there is none, or names are looked up
				all = append(all, Relay{Name: n.HostName, Addr: net.JoinHostPort(ip, port)})
			}
		}
		if len(all) == at {
			all = append(all, Relay{Name: n.HostName, Addr: net.JoinHostPort(n.HostName, port)})
		}
	}
	return all
}
