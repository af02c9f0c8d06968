// Package embedded makes the agent a machine of the tailnet by itself, for nodes on which
// no tailscaled runs. It weighs 16 MB, so only the build with the tag tsnet has it.
//
// It posts nothing itself, and is imported by main alone.
package embedded

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"

	"sentinel.home.arpa/node-hook/hook"
	"sentinel.home.arpa/node-hook/internal/find"
	"sentinel.home.arpa/shared/tailnet"
	"sentinel.home.arpa/shared/wire"
)

const (
	tagNode   = "tag:sentinel-node"
	brainPort = "80"
)

// Network is the agent's place on the tailnet.
type Network struct {
	*tailnet.Node
	log *slog.Logger
}

// New prepares the place that a configuration asks for. Its identity lies in the state
// directory.
func New(c hook.Config, log *slog.Logger) *Network {
	return &Network{log: log, Node: tailnet.New(tailnet.Config{
		Hostname: c.Tailnet.Hostname, Dir: filepath.Join(c.StateDir, "tailnet"), ControlURL: c.Tailnet.ControlURL,
		Tags: []string{tagNode}, Logger: log,
		AuthKey: func() (string, error) {
			if c.Tailnet.AuthKey.IsZero() {
				return "", nil
			}
			return c.Tailnet.AuthKey.Read()
		}})}
}

// Brains are the machines that carry the brain's tag. It waits until the machine was let
// in; an error says that it is out again, and a peer's word would be old.
func (n *Network) Brains(ctx context.Context) ([]wire.Peer, error) {
	peers, err := n.PeersTagged(ctx, find.Tag)
	if err != nil {
		return nil, err
	}
	if s := n.Status(); !s.Running() {
		return nil, fmt.Errorf("look for brains: this machine's state on the tailnet is %s", s.State)
	}
	brains := make([]wire.Peer, 0, len(peers))
	for _, p := range peers {
		brains = append(brains, wire.Peer{Name: p.Name, Address: net.JoinHostPort(p.Addr.String(), brainPort)})
	}
	return brains, nil
}
