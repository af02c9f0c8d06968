package tailnet

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"

	"tailscale.com/client/local"
	"tailscale.com/ipn/ipnstate"
	"tailscale.com/net/tsaddr"
	"tailscale.com/tsnet"
)

// dialDeadline bounds a dial whose context has no earlier deadline: a peer that is off answers nothing.
const dialDeadline = 10 * time.Second

// ErrNotPeer is the error for an address that belongs to no machine of the tailnet.
var ErrNotPeer = errors.New("not a machine of the tailnet")

// Who is calling, as the tailnet vouches for it.
type Who struct {
	StableID string   // never changes and is never given to another machine
	Name     string   // first label of its DNS name; an admin can change it
	Tags     []string // empty for a person's machine
	Login    string   // the person; empty for a tagged machine
	Addr     netip.Addr
	// Grants are the application capabilities that the tailnet's policy gives the caller here: a name, and the
	// JSON text of each grant's value.
	Grants map[string][]string
}

// Peer is another machine of the tailnet.
type Peer struct {
	Name     string
	StableID string
	Tags     []string   // empty for a person's machine
	Addr     netip.Addr // IPv4 if it has one
	Online   bool       // as the control server last said; no sign of life
	// KeyExpiry is when its node key expires; nil if never, as for tagged machines, or unknown. One whose key
	// has Expired is not reached until somebody logs it in again.
	KeyExpiry *time.Time
	Expired   bool
}

// Listen accepts connections from the tailnet at an address such as ":80"; it waits until the machine is up.
// Ports below 1024 need no privilege. Run closes the listener at its end.
func (n *Node) Listen(ctx context.Context, addr string) (net.Listener, error) {
	server, _, err := n.up(ctx)
	if err != nil {
		return nil, fmt.Errorf("listen on the tailnet at %s: %w", addr, err)
	}
	ln, err := server.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("listen on the tailnet at %s: %w", addr, err)
	}
	return listener{ln}, nil
}

// Funnel accepts connections from the internet at a port, one of 443, 8443 and 10000, and gives the address by
// which it is reached; it waits until the machine is up. The tailnet must allow it: HTTPS certificates on its
// DNS page, and the node attribute funnel in its policy.
func (n *Node) Funnel(ctx context.Context, port uint16) (ln net.Listener, address string, err error) {
	server, _, err := n.up(ctx)
	if err != nil {
		return nil, "", fmt.Errorf("open a funnel: %w", err)
	}
	names := server.CertDomains()
	if len(names) == 0 {
		return nil, "", errors.New("open a funnel: the tailnet gives no HTTPS certificates; enable them on its DNS page")
	}
	if ln, err = server.ListenFunnel("tcp", fmt.Sprintf(":%d", port), tsnet.FunnelOnly()); err != nil {
		return nil, "", fmt.Errorf("open a funnel: %w", err)
	}
	address = "https://" + names[0]
	if port != 443 {
		address += fmt.Sprintf(":%d", port)
	}
	return listener{ln}, address, nil
}

// listener may be closed after the machine's end, which closed it before.
type listener struct{ net.Listener }

func (l listener) Close() error {
	if err := l.Listener.Close(); !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

// Dial opens a TCP connection to the address and port of a peer, within 10 s. Names, other networks and
// addresses of no peer (ErrNotPeer) are refused: the library would go to the house's network and DNS with them.
// It does not wait for a machine that is not running.
func (n *Node) Dial(ctx context.Context, network, addr string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialDeadline)
	defer cancel()
	conn, err := n.dial(ctx, network, addr)
	if err != nil {
		return nil, fmt.Errorf("dial %s over the tailnet: %w", addr, err)
	}
	return conn, nil
}

func (n *Node) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	if network != "tcp" && network != "tcp4" && network != "tcp6" {
		return nil, fmt.Errorf("%s is not TCP", network)
	}
	to, err := netip.ParseAddrPort(addr)
	if err != nil {
		return nil, fmt.Errorf("%w: names are not looked up", ErrNotPeer)
	}
	if !tsaddr.IsTailscaleIP(to.Addr()) {
		return nil, ErrNotPeer
	}
	if s := n.Status(); !s.Running() {
		return nil, fmt.Errorf("this machine is in state %s", s.State)
	}
	server, client, err := n.up(ctx)
	if err != nil {
		return nil, err
	}
	if _, err := client.WhoIs(ctx, addr); err != nil {
		return nil, notPeer(err)
	}
	// Server.Dial leaves the tailnet when the peer goes away between the question and the dial; this can't.
	return server.Sys().Dialer.Get().NetstackDialTCP(ctx, to)
}

func notPeer(err error) error {
	if errors.Is(err, local.ErrPeerNotFound) {
		return ErrNotPeer
	}
	return err
}

// WhoIs names the machine behind a connection's remote address. Ask for each request: a connection outlives the
// rule that let it in.
func (n *Node) WhoIs(ctx context.Context, remoteAddr string) (Who, error) {
	ctx, cancel := context.WithTimeout(ctx, localDeadline)
	defer cancel()
	who, err := n.whoIs(ctx, remoteAddr)
	if err != nil {
		return Who{}, fmt.Errorf("ask the tailnet who %s is: %w", remoteAddr, err)
	}
	return who, nil
}

func (n *Node) whoIs(ctx context.Context, remoteAddr string) (Who, error) {
	from, err := netip.ParseAddrPort(remoteAddr)
	if err != nil || !tsaddr.IsTailscaleIP(from.Addr()) {
		return Who{}, ErrNotPeer
	}
	_, client, err := n.up(ctx)
	if err != nil {
		return Who{}, err
	}
	answer, err := client.WhoIs(ctx, remoteAddr)
	if err != nil {
		return Who{}, notPeer(err)
	}
	who := Who{
		StableID: string(answer.Node.StableID), Name: firstLabel(answer.Node.Name),
		Tags: answer.Node.Tags, Addr: from.Addr().Unmap(),
	}
	if len(who.Tags) == 0 && answer.UserProfile != nil {
		who.Login = answer.UserProfile.LoginName
	}
	if len(answer.CapMap) > 0 {
		who.Grants = make(map[string][]string, len(answer.CapMap))
		for name, values := range answer.CapMap {
			for _, value := range values {
				who.Grants[string(name)] = append(who.Grants[string(name)], string(value))
			}
		}
	}
	return who, nil
}

// PeersTagged lists the other machines that carry a tag, such as tag:sentinel-brain, by name. It waits until the
// machine is up.
func (n *Node) PeersTagged(ctx context.Context, tag string) ([]Peer, error) {
	peers, err := n.Peers(ctx)
	return slices.DeleteFunc(peers, func(p Peer) bool { return !slices.Contains(p.Tags, tag) }), err
}

// Peers lists the other machines by name. It waits until the machine is up.
func (n *Node) Peers(ctx context.Context) ([]Peer, error) {
	_, client, err := n.up(ctx)
	if err != nil {
		return nil, fmt.Errorf("list the tailnet's machines: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, localDeadline)
	defer cancel()
	st, err := client.Status(ctx)
	if err != nil {
		return nil, fmt.Errorf("list the tailnet's machines: %w", err)
	}
	var peers []Peer
	for _, p := range st.Peer {
		addr, ok := mainAddr(p)
		if !ok {
			continue
		}
		peer := Peer{Name: firstLabel(p.DNSName), StableID: string(p.ID), Addr: addr, Online: p.Online,
			KeyExpiry: p.KeyExpiry, Expired: p.Expired || p.KeyExpiry != nil && !p.KeyExpiry.After(time.Now())}
		if p.Tags != nil {
			peer.Tags = p.Tags.AsSlice()
		}
		peers = append(peers, peer)
	}
	slices.SortFunc(peers, func(a, b Peer) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.StableID, b.StableID))
	})
	return peers, nil
}

func mainAddr(p *ipnstate.PeerStatus) (netip.Addr, bool) {
	for _, addr := range p.TailscaleIPs {
		if addr.Is4() {
			return addr, true
		}
	}
	if len(p.TailscaleIPs) == 0 {
		return netip.Addr{}, false
	}
	return p.TailscaleIPs[0], true
}
