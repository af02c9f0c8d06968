package hook

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"time"

	"sentinel.home.arpa/shared/wire"
)

// Network is the agent's own place on the tailnet.
type Network interface {
	// Run holds the place until ctx ends.
	Run(ctx context.Context) error
	// Brains are the machines that carry the brain's tag. It waits until the place is taken.
	Brains(ctx context.Context) ([]wire.Peer, error)
	// Dial reaches machines of the tailnet and nothing else.
	Dial(ctx context.Context, network, addr string) (net.Conn, error)
	// Forward takes announcements of other processes on a socket, until ctx ends, and
	// hands each to the brain that it is for: a second process can't be the same machine.
	Forward(ctx context.Context, socket string, isBrain func(addr string) bool) error
}

// Build is what a build of the agent has. The zero value uses the host's tailnet.
type Build struct {
	// Join prepares a place of its own on the tailnet; nil where the build knows no tailnet.
	Join func(c Config, log *slog.Logger) Network
	// Log is where it logs; nil is standard error.
	Log io.Writer
}

// joins reports whether the agent is to be a machine of the tailnet by itself.
func (b Build) joins(c Config) bool { return b.Join != nil && len(c.Brains) == 0 }

// afar reports whether an address is to be reached over the tailnet: a brain's always is,
// so that no mistake and no old file sends what is meant for it into the house's network.
func (a *agent) afar(addr string) bool {
	if a.book.Brain(addr) {
		return true
	}
	at, err := netip.ParseAddrPort(addr)
	if err != nil {
		return false
	}
	for _, tailnet := range []string{"100.64.0.0/10", "fd7a:115c:a1e0::/48"} {
		if netip.MustParsePrefix(tailnet).Contains(at.Addr()) {
			return true
		}
	}
	return false
}

// split dials over the tailnet what is there, and the rest by the host's network.
func (a *agent) split(tailnet func(ctx context.Context, network, addr string) (net.Conn, error)) func(context.Context, string, string) (net.Conn, error) {
	house := net.Dialer{Timeout: 3 * time.Second}
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		if a.afar(addr) {
			return tailnet(ctx, network, addr)
		}
		return house.DialContext(ctx, network, addr)
	}
}

// bySocket reaches the tailnet from another process, through the running agent.
func (a *agent) bySocket(ctx context.Context, _, _ string) (net.Conn, error) {
	return (&net.Dialer{}).DialContext(ctx, "unix", a.config.ControlSocket)
}
