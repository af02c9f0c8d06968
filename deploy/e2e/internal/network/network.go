// Package network is the house's LAN and the internet: two bridges in a network namespace
// of their own, whose ports are cut and joined.
//
// It knows nothing of who is at the ports.
package network

import (
	"context"
	"fmt"
	"os/exec"

	"sentinel.home.arpa/deploy/internal/forge"
)

// The bridges, and the addresses that the test has on the internet.
const (
	LAN      = "lan"
	Internet = "inet"

	// Outside is the host's own address on the internet (RFC 5737).
	Outside = "203.0.113.1"
	// Gateway is how the internet finds the house.
	Gateway = "203.0.113.254"
	// House is the LAN.
	House = "10.77.0.0/24"
)

// Network is a namespace with both bridges.
type Network struct {
	name  string
	forge *forge.Forge
}

// Open makes the namespace of that name. Whoever gave the name removes it.
func Open(ctx context.Context, f *forge.Forge, name string) (*Network, error) {
	n := &Network{name, f}
	if _, err := f.Run(ctx, "ip", "netns", "add", name); err != nil {
		return nil, fmt.Errorf("make a network: %w", err)
	}
	for _, args := range [][]string{
		{"link", "set", "lo", "up"},
		{"link", "add", LAN, "type", "bridge"},
		{"link", "add", Internet, "type", "bridge"},
		{"addr", "add", Outside + "/24", "dev", Internet},
		{"link", "set", LAN, "up"},
		{"link", "set", Internet, "up"},
		{"route", "add", House, "via", Gateway},
	} {
		if err := n.ip(ctx, args...); err != nil {
			return nil, fmt.Errorf("make a network: %w", err)
		}
	}
	return n, nil
}

// Name is the namespace's.
func (n *Network) Name() string { return n.name }

// Args is a command line within the namespace. `ip netns exec` would hide the control
// groups under a fresh /sys.
func (n *Network) Args(args ...string) []string {
	return append([]string{"nsenter", "--net=/run/netns/" + n.name}, args...)
}

// Command is a command within the namespace.
func (n *Network) Command(ctx context.Context, args ...string) *exec.Cmd {
	args = n.Args(args...)
	return exec.CommandContext(ctx, args[0], args[1:]...)
}

// Cut takes a port off its bridge: nothing passes any more, and neither side is told.
func (n *Network) Cut(ctx context.Context, port string) error {
	if err := n.ip(ctx, "link", "set", port, "nomaster"); err != nil {
		return fmt.Errorf("cut %s: %w", port, err)
	}
	return nil
}

// Join puts a port on a bridge.
func (n *Network) Join(ctx context.Context, port, bridge string) error {
	if err := n.ip(ctx, "link", "set", port, "master", bridge, "up"); err != nil {
		return fmt.Errorf("join %s to %s: %w", port, bridge, err)
	}
	return nil
}

func (n *Network) ip(ctx context.Context, args ...string) error {
	_, err := n.forge.Run(ctx, n.Args(append([]string{"ip"}, args...)...)...)
	return err
}
