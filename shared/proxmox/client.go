package proxmox

import (
	"cmp"
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"time"

	goproxmox "github.com/luthermonson/go-proxmox"
)

// Client talks to one node. It may be used by several goroutines.
type Client struct {
	node      string
	addr      string // host:port
	timeout   time.Duration
	dial      dialFunc
	ownDial   bool // dial's errors are net's, and about the node itself
	pinned    bool // by its leaf's fingerprint; else the CAs decide
	transport *http.Transport
	api       func() *goproxmox.Client // behind a func, as fmt would print the secret that it holds
}

// New makes a client for the node that o describes. It sends nothing.
func New(o Options) (*Client, error) { return newClient(o, nil) }

func newClient(o Options, roots *x509.CertPool) (*Client, error) {
	base, pin, err := o.check()
	if err != nil {
		return nil, fmt.Errorf("proxmox client for %s: %w", o.Node, err)
	}
	c := &Client{node: o.Node, addr: base.Host, timeout: o.Timeout, dial: o.Dial, pinned: pin != nil}
	if base.Port() == "" {
		c.addr = net.JoinHostPort(base.Hostname(), "443")
	}
	if c.timeout == 0 {
		c.timeout = DefaultTimeout
	}
	if c.dial == nil {
		c.dial, c.ownDial = cmp.Or(o.own, new(Dialer)).DialContext, true
	}
	c.transport = newTransport(c.dial, tlsConfig(pin, roots), c.timeout)
	api := goproxmox.NewClient("https://"+base.Host+"/api2/json",
		goproxmox.WithHTTPClient(&http.Client{
			Transport: strict{c.transport},
			// The second lock on the door: strict refuses 3xx before this is asked.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}),
		goproxmox.WithAPIToken(o.TokenID, o.Secret),
		goproxmox.WithUserAgent("sentinel"),
		goproxmox.WithLogger(silence{}),
	)
	c.api = func() *goproxmox.Client { return api }
	return c, nil
}

// Close drops idle connections. Requests under way end by their contexts.
func (c *Client) Close() { c.transport.CloseIdleConnections() }

// String names the node and its address.
func (c *Client) String() string { return c.node + " at " + c.addr }

// Format makes every verb print String.
func (c *Client) Format(s fmt.State, _ rune) { _, _ = s.Write([]byte(c.String())) }

func (c *Client) get(ctx context.Context, path string) (json.RawMessage, error) {
	return c.do(ctx, func(ctx context.Context, data *json.RawMessage) error {
		return c.api().Get(ctx, path, data)
	})
}

func (c *Client) post(ctx context.Context, path string, params map[string]any) (json.RawMessage, error) {
	return c.do(ctx, func(ctx context.Context, data *json.RawMessage) error {
		return c.api().Post(ctx, path, params, data)
	})
}

// do runs one request within its deadline and returns the answer's "data", nil
// if that is null.
func (c *Client) do(ctx context.Context, send func(context.Context, *json.RawMessage) error) (json.RawMessage, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	var data json.RawMessage
	err := send(ctx, &data)
	if err == nil {
		return data, nil
	}
	// The typed errors speak for themselves; net/http's prefix repeats the URL.
	var wire *url.Error
	if errors.As(err, &wire) {
		err = wire.Err
	}
	var timed net.Error // also context.DeadlineExceeded
	if errors.As(err, &timed) && timed.Timeout() {
		err = &silenceError{err}
	}
	return nil, err
}

// silenceError says in words that a deadline has passed.
type silenceError struct{ cause error }

func (e *silenceError) Error() string { return "it did not answer in time" }
func (e *silenceError) Unwrap() error { return e.cause }

// nodePath is a path of this node in the API.
func (c *Client) nodePath(rest string) string { return "/nodes/" + c.node + rest }

// silence keeps go-proxmox from writing to the standard streams.
type silence struct{}

func (silence) Errorf(string, ...any) {}
func (silence) Warnf(string, ...any)  {}
func (silence) Infof(string, ...any)  {}
func (silence) Debugf(string, ...any) {}
