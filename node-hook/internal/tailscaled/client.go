// Package tailscaled knows the brains: it asks the host's tailscaled, on its socket, which
// peers carry the brain's tag. Names are never resolved, since a name that is no peer's
// would send messages into the open network.
//
// It knows nothing of messages, and must not import the packages that post them.
package tailscaled

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

const (
	lookupTimeout = 3 * time.Second
	maxStatus     = 32 << 20 // bytes; some 1.5 kB a peer
)

// Client asks tailscaled.
type Client struct{ http *http.Client }

// NewClient makes a client of the socket at path.
func NewClient(path string) *Client {
	return &Client{&http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", path)
		},
		DisableKeepAlives: true, // two look-ups a minute
	}}}
}

// Brains looks the brains up, within 3 s. No brains and no error: the tailnet has none.
func (c *Client) Brains(ctx context.Context) ([]Brain, error) {
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://local-tailscaled.sock/localapi/v0/status", nil)
	if err != nil {
		return nil, fmt.Errorf("ask tailscaled: %w", err)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, fmt.Errorf("ask tailscaled: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("ask tailscaled: it answered %d", resp.StatusCode)
	}
	return parseStatus(io.LimitReader(resp.Body, maxStatus))
}
