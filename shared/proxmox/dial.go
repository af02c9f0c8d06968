package proxmox

import (
	"context"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"sync"
	"time"

	"sentinel.home.arpa/shared/shutdown"
)

// resolveWithin is how long a name is resolved whose addresses are known from before: whoever
// looks at a node has 2.5 s, and what resolves names may be without power.
const resolveWithin = time.Second

// Dialer opens connections by the machine's own network, and remembers the addresses that names
// resolved to: in a power cut whoever resolves them may be down, such as a router, or a guest that
// the plan has shut down. One serves all of a process. It is safe for concurrent use, and its zero
// value is ready.
type Dialer struct {
	mu    sync.Mutex
	known map[string][]netip.Addr

	lookup func(ctx context.Context, network, host string) ([]netip.Addr, error) // nil: the system's
}

// DialContext is net.Dialer's, and fails as that does. Who answers at an address that is no longer
// the name's is found out by its certificate.
func (d *Dialer) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return new(net.Dialer).DialContext(ctx, network, addr)
	}
	if _, err := netip.ParseAddr(host); err == nil {
		return new(net.Dialer).DialContext(ctx, network, addr)
	}
	ips, err := d.resolve(ctx, host)
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: network, Err: err}
	}
	return dialEach(ctx, network, ips, port)
}

// learnEach is how often the names of a plan's nodes are resolved ahead of the power cut.
const learnEach = time.Minute

// Learn resolves the names of a plan's nodes again and again, so that they are known when nobody
// resolves them any more, until ctx ends. plan may give nil while there is none.
func (d *Dialer) Learn(ctx context.Context, plan func() *shutdown.Plan) error {
	for {
		if p := plan(); p != nil {
			for _, n := range p.Nodes {
				if name, is := nameOf(n.API); is {
					within, cancel := context.WithTimeout(ctx, DefaultTimeout)
					_, _ = d.resolve(within, name) // plan check says what cannot be reached
					cancel()
				}
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(learnEach):
		}
	}
}

// nameOf is the name in an address of an API; false if it is an IP address, or none.
func nameOf(api string) (string, bool) {
	base, err := url.Parse(api)
	if err != nil || base.Hostname() == "" {
		return "", false
	}
	_, err = netip.ParseAddr(base.Hostname())
	return base.Hostname(), err != nil
}

// resolve gives a name's addresses, those of before if it cannot be resolved now.
func (d *Dialer) resolve(ctx context.Context, host string) ([]netip.Addr, error) {
	lookup := d.lookup
	if lookup == nil {
		lookup = net.DefaultResolver.LookupNetIP
	}
	d.mu.Lock()
	known := d.known[host]
	d.mu.Unlock()
	if len(known) > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, resolveWithin)
		defer cancel()
	}
	ips, err := lookup(ctx, "ip", host)
	switch {
	case err == nil && len(ips) > 0:
	case len(known) > 0:
		return known, nil
	case err == nil:
		return nil, &net.DNSError{Err: "no address", Name: host, IsNotFound: true}
	default:
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.known == nil {
		d.known = map[string][]netip.Addr{}
	}
	d.known[host] = slices.Clone(ips)
	return ips, nil
}

// dialEach takes the first address that answers. One that is silent leaves the others their share
// of the time.
func dialEach(ctx context.Context, network string, ips []netip.Addr, port string) (conn net.Conn, err error) {
	for i, ip := range ips {
		one, cancel := ctx, context.CancelFunc(func() {})
		if deadline, ok := ctx.Deadline(); ok {
			one, cancel = context.WithTimeout(ctx, time.Until(deadline)/time.Duration(len(ips)-i))
		}
		c, failed := new(net.Dialer).DialContext(one, network, net.JoinHostPort(ip.Unmap().String(), port))
		cancel()
		if failed == nil {
			return c, nil
		}
		if err == nil {
			err = failed
		}
	}
	return nil, err
}
