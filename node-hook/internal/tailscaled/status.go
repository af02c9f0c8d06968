package tailscaled

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
)

// tag marks the brains of a tailnet.
const tag = "tag:sentinel-brain"

// Brain is a peer that carries the brain's tag.
type Brain struct {
	Name    string // the machine's, for logs
	Address netip.Addr
}

// status is the part of ipnstate.Status (tailscale.com v1.102) that is read here.
type status struct {
	BackendState string
	Peer         map[string]peer
}

type peer struct {
	HostName     string
	TailscaleIPs []netip.Addr
	Tags         []string
	Online       bool
}

// parseStatus reads the answer of /localapi/v0/status: the brains, those that the control
// server calls online first. It may be wrong about that, so the others follow.
func parseStatus(r io.Reader) ([]Brain, error) {
	var s status
	if err := json.NewDecoder(r).Decode(&s); err != nil {
		return nil, fmt.Errorf("read tailscaled's status: %w", err)
	}
	if s.BackendState != "Running" {
		return nil, fmt.Errorf("tailscaled is not connected: %.40q", s.BackendState)
	}
	var found []*peer // pointers: sorting them costs the program no bytes of its own
	for _, p := range s.Peer {
		if slices.Contains(p.Tags, tag) && len(p.TailscaleIPs) > 0 {
			// IPv4 before IPv6, for people who read logs.
			p.TailscaleIPs[0] = slices.MinFunc(p.TailscaleIPs, netip.Addr.Compare)
			found = append(found, &p)
		}
	}
	slices.SortFunc(found, func(a, b *peer) int {
		if a.Online != b.Online {
			if a.Online {
				return -1
			}
			return 1
		}
		return cmp.Or(cmp.Compare(a.HostName, b.HostName), a.TailscaleIPs[0].Compare(b.TailscaleIPs[0]))
	})
	brains := make([]Brain, 0, len(found))
	for _, p := range found {
		if !p.TailscaleIPs[0].IsValid() {
			return nil, errors.New("read tailscaled's status: a peer with an empty address")
		}
		brains = append(brains, Brain{p.HostName, p.TailscaleIPs[0]})
	}
	return brains, nil
}
