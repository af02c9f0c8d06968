package pvesim

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"sync"
	"time"
)

// Cluster is a running simulated cluster. Its methods may be called from any
// goroutine, also from the hooks, except for Close.
type Cluster struct {
	cfg       Config
	endpoints []endpoint

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	wg     sync.WaitGroup // all goroutines and all requests being answered

	mu         sync.Mutex
	closed     bool
	split      bool // the nodes do not hear each other
	nodes      []*node
	guests     map[int]*guest
	tasks      map[string]*task
	lastPID    int
	changed    chan struct{} // closed and replaced when a node comes or goes
	onStopping []func(node, kind string)
	onDown     []func(node string)
	onUp       []func(node string)
}

// New checks cfg and starts the cluster with all its nodes up.
func New(cfg Config) (*Cluster, error) {
	if err := cfg.check(); err != nil {
		return nil, fmt.Errorf("simulated cluster: %w", err)
	}
	cfg.setDefaults()
	c := &Cluster{
		cfg:     cfg,
		guests:  map[int]*guest{},
		tasks:   map[string]*task{},
		lastPID: 1000,
		changed: make(chan struct{}),
	}
	c.endpoints = c.api()
	c.ctx, c.cancel = context.WithCancel(context.Background())
	for _, nc := range cfg.Nodes {
		n, err := newNode(nc)
		if err != nil {
			return nil, fmt.Errorf("certificate of %s: %w", nc.Name, err)
		}
		c.nodes = append(c.nodes, n)
		for _, g := range nc.Guests {
			c.guests[g.VMID] = newGuest(g, n)
		}
	}
	for _, n := range c.nodes {
		if err := c.powerOn(n, false); err != nil {
			_ = c.Close()
			return nil, err
		}
	}
	return c, nil
}

// Close cuts every node off and waits until all goroutines have ended.
func (c *Cluster) Close() error {
	c.mu.Lock()
	c.closed = true
	for _, n := range c.nodes {
		c.switchOff(n)
	}
	c.mu.Unlock()
	c.cancel()
	c.wg.Wait()
	return nil
}

// OnStopping adds a hook that is called when a node's system begins to stop, in
// an orderly way, before its guests do; kind is PowerOff or Reboot. The
// shutdown goes on when the hook returns.
func (c *Cluster) OnStopping(fn func(node, kind string)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.onStopping = append(c.onStopping, fn)
}

// OnDown adds a hook that is called when a node is off, its port closed,
// whether it was shut down or its power was cut.
func (c *Cluster) OnDown(fn func(node string)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.onDown = append(c.onDown, fn)
}

// OnUp adds a hook that is called when a node answers again.
func (c *Cluster) OnUp(fn func(node string)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.onUp = append(c.onUp, fn)
}

// Start powers a node on that is off; its guests with OnBoot start as soon as
// the cluster is quorate.
func (c *Cluster) Start(name string) error {
	n := c.node(name)
	if n == nil {
		return fmt.Errorf("start %s: no such node", name)
	}
	return c.powerOn(n, true)
}

// Halt shuts a node down, or reboots it, as somebody does at its own console: nothing is
// asked of its API.
func (c *Cluster) Halt(name, kind string) {
	if n := c.node(name); n != nil {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.command(n, kind)
	}
}

// PowerCut takes a node's power away: its guests die, its connections drop, and
// an announced reboot does not happen. Nothing happens to a node that is off.
func (c *Cluster) PowerCut(name string) {
	n := c.node(name)
	if n == nil {
		return
	}
	c.mu.Lock()
	was := c.switchOff(n)
	hooks := c.onDown
	c.mu.Unlock()
	if was {
		for _, fn := range hooks {
			fn(name)
		}
	}
}

// Fingerprint is the SHA-256 of a node's certificate, "5C:1E:...".
func (c *Cluster) Fingerprint(name string) string {
	if n := c.node(name); n != nil {
		return Fingerprint(n.cert.Load().Certificate[0])
	}
	return ""
}

// Certificate is a node's self-signed certificate, nil for an unknown node.
func (c *Cluster) Certificate(name string) *x509.Certificate {
	if n := c.node(name); n != nil {
		return n.cert.Load().Leaf
	}
	return nil
}

// URL is the address of a node's API, "https://127.0.0.1:38006", as its
// listener reported it when the node last came up.
func (c *Cluster) URL(name string) string {
	n := c.node(name)
	if n == nil {
		return ""
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return n.url
}

// NodeUp reports whether a node has power and its API is open.
func (c *Cluster) NodeUp(name string) bool {
	n := c.node(name)
	if n == nil {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return n.on != nil
}

// Guest returns a guest as it is now.
func (c *Cluster) Guest(vmid int) (Guest, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	g, ok := c.guests[vmid]
	if !ok {
		return Guest{}, false
	}
	return g.snapshot(), true
}

// node finds a node by name. The list itself never changes after New.
func (c *Cluster) node(name string) *node {
	for _, n := range c.nodes {
		if n.cfg.Name == name {
			return n
		}
	}
	return nil
}

// quorate tells whether most nodes are up. The lock is held.
func (c *Cluster) quorate() bool {
	if c.split && len(c.nodes) > 1 {
		return false
	}
	up := 0
	for _, n := range c.nodes {
		if n.on != nil {
			up++
		}
	}
	return 2*up > len(c.nodes)
}

// spawn runs fn in a goroutine that Close waits for. The lock is held.
func (c *Cluster) spawn(fn func()) {
	if c.closed {
		return
	}
	c.wg.Go(fn)
}

// sleep waits and reports whether ctx lived that long.
func sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

func newNode(cfg NodeConfig) (*node, error) {
	n := &node{ip: ownLoopback()}
	cert, err := newCert(cfg.Name, time.Now().Add(tenYears), n.ip)
	if err != nil {
		return nil, err
	}
	if cfg.Listen == nil {
		cfg.Listen = listenAt(n.ip)
	}
	n.cfg = cfg
	n.cert.Store(&cert)
	n.tls = &tls.Config{
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return n.cert.Load(), nil },
		MinVersion:     tls.VersionTLS12,
	}
	return n, nil
}
