// Package tailscaled finds the brains: it asks the host's tailscaled, on its socket, which
// peers carry the brain's tag. Names are never resolved, since a name that is no peer's
// would send messages into the open network.
//
// It knows nothing of messages, and must not import the packages that post them.
package tailscaled

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"time"
)

const (
	lookupTimeout = 3 * time.Second
	lookupEvery   = 30 * time.Second
	lookupGap     = 5 * time.Second // between two look-ups that failed posts ask for
	maxStatus     = 32 << 20        // bytes; some 1.5 kB a peer
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

// Finder looks the brains up every 30 s and when it is nudged.
type Finder struct {
	lookup func(ctx context.Context) ([]Brain, error)
	found  func(brains []Brain, err error)
	log    *slog.Logger
	nudge  chan struct{}
	said   string
}

// NewFinder makes a finder; found hears the outcome of each look-up, from one goroutine.
func NewFinder(lookup func(ctx context.Context) ([]Brain, error), found func([]Brain, error), log *slog.Logger) *Finder {
	return &Finder{lookup: lookup, found: found, log: log, nudge: make(chan struct{}, 1)}
}

// Nudge asks for a look-up soon, since a brain does not answer. It never blocks.
func (f *Finder) Nudge() {
	select {
	case f.nudge <- struct{}{}:
	default:
	}
}

// Run looks up until ctx ends.
func (f *Finder) Run(ctx context.Context) error {
	for {
		brains, err := f.lookup(ctx)
		if ctx.Err() != nil {
			return nil
		}
		f.found(brains, err)
		f.tell(brains, err)
		if !f.wait(ctx) {
			return nil
		}
	}
}

func (f *Finder) wait(ctx context.Context) bool {
	gap, due := time.NewTimer(lookupGap), time.NewTimer(lookupEvery)
	defer gap.Stop()
	defer due.Stop()
	select {
	case <-gap.C:
	case <-ctx.Done():
		return false
	}
	select {
	case <-due.C:
	case <-f.nudge:
	case <-ctx.Done():
		return false
	}
	return true
}

// tell logs what changed since the last look-up, not each one.
func (f *Finder) tell(brains []Brain, err error) {
	now := fmt.Sprint(brains)
	if err != nil {
		now = err.Error()
	}
	if now == f.said {
		return
	}
	f.said = now
	switch {
	case err != nil:
		f.log.Warn("brains cannot be looked up; those known before are kept", "err", err)
	case len(brains) == 0:
		f.log.Warn("the tailnet shows no brain to this machine", "tag", tag)
	default:
		f.log.Info("brains found", "count", len(brains), "first", brains[0].Name, "address", brains[0].Address)
	}
}
