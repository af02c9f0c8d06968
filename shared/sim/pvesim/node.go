package pvesim

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"sync/atomic"
	"time"
)

// node is one machine of the cluster. Fields below the blank line are guarded
// by the Cluster's lock.
type node struct {
	cfg  NodeConfig
	ip   net.IP // where it listens, unless the configuration says otherwise
	cert atomic.Pointer[tls.Certificate]
	tls  *tls.Config

	url    string
	fault  Fault
	on     *session           // nil while off
	reboot context.CancelFunc // gives up on coming back by itself; nil if none is due
}

// session is a node's life between two power-offs. Whatever runs on the node
// ends with ctx, which is cancelled under the Cluster's lock: who holds the lock
// and finds ctx alive may change the node.
type session struct {
	ctx      context.Context
	cancel   context.CancelFunc
	ln       *trackedListener
	srv      *http.Server
	since    time.Time
	stopping bool
}

// powerOn opens the node's port and serves it. With boot it behaves as a boot
// does: guests with OnBoot start, hooks are called.
func (c *Cluster) powerOn(n *node, boot bool) error {
	c.mu.Lock()
	if err := c.open(n); err != nil {
		c.mu.Unlock()
		return fmt.Errorf("start %s: %w", n.cfg.Name, err)
	}
	s, hooks := n.on, c.onUp
	if boot {
		c.spawn(func() { c.startOnBoot(n, s) })
	}
	c.mu.Unlock()
	if boot {
		for _, fn := range hooks {
			fn(n.cfg.Name)
		}
	}
	return nil
}

// open begins a session. The lock is held.
func (c *Cluster) open(n *node) error {
	switch {
	case c.closed:
		return errors.New("the cluster is closed")
	case n.on != nil:
		return errors.New("it is up already")
	}
	if n.reboot != nil {
		n.reboot()
		n.reboot = nil
	}
	ln, err := n.cfg.Listen()
	if err != nil {
		return err
	}
	s := &session{ln: track(ln), since: time.Now()}
	s.ln.mute.Store(n.fault.Kind == Mute)
	s.ctx, s.cancel = context.WithCancel(c.ctx)
	s.srv = &http.Server{
		Handler:           http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { c.serve(n, s, w, r) }),
		ReadHeaderTimeout: 30 * time.Second,
		BaseContext:       func(net.Listener) context.Context { return s.ctx },
		ErrorLog:          log.New(io.Discard, "", 0), // handshakes refused by a client are no news
	}
	n.on = s
	n.url = "https://" + ln.Addr().String()
	c.nodesChanged()
	c.spawn(func() { _ = s.srv.Serve(tls.NewListener(s.ln, n.tls)) })
	return nil
}

// switchOff ends a node's session at once, and with it all guests and tasks on
// it. It reports whether the node was on. The lock is held.
func (c *Cluster) switchOff(n *node) bool {
	if n.reboot != nil {
		n.reboot()
		n.reboot = nil
	}
	s := n.on
	if s == nil {
		return false
	}
	n.on = nil
	s.cancel()
	s.ln.cut()
	_ = s.srv.Close()
	for _, g := range c.guests {
		if g.node == n && g.running {
			g.stop()
		}
	}
	for _, t := range c.tasks {
		if t.node == n {
			t.finish("unexpected status")
		}
	}
	c.nodesChanged()
	return true
}

// nodesChanged wakes those who wait for a quorum. The lock is held.
func (c *Cluster) nodesChanged() {
	close(c.changed)
	c.changed = make(chan struct{})
}

// command takes a node's shutdown or reboot, which begins after a while; a
// second one changes nothing. The lock is held.
func (c *Cluster) command(n *node, kind string) {
	s := n.on
	if s == nil || s.stopping {
		return
	}
	s.stopping = true
	c.spawn(func() { c.halt(n, s, kind) })
}

// halt brings a node down in order: hooks, guests, port, and up again after a
// reboot. A power cut in between ends it.
func (c *Cluster) halt(n *node, s *session, kind string) {
	if !sleep(s.ctx, c.cfg.ShutdownDelay) {
		return
	}
	c.mu.Lock()
	hooks := c.onStopping
	c.mu.Unlock()
	for _, fn := range hooks {
		fn(n.cfg.Name, kind)
	}
	c.stopAll(n, s)

	c.mu.Lock()
	if s.ctx.Err() != nil {
		c.mu.Unlock()
		return
	}
	for _, g := range c.guests {
		if g.node == n && g.running {
			g.stop() // while the node can still report it
		}
	}
	c.switchOff(n)
	back, cancel := context.WithCancel(c.ctx)
	defer cancel()
	if kind == Reboot {
		n.reboot = cancel
	}
	down := c.onDown
	c.mu.Unlock()
	for _, fn := range down {
		fn(n.cfg.Name)
	}
	if kind == Reboot && sleep(back, c.cfg.RebootTakes) {
		_ = c.powerOn(n, true) // fails only if somebody else was quicker
	}
}

// stopAll asks all guests of a node to stop and waits for them. Locked ones
// refuse and are not waited for; they die with the node.
func (c *Cluster) stopAll(n *node, s *session) {
	limit, cancel := context.WithTimeout(s.ctx, c.cfg.StopAllTimeout)
	defer cancel()
	var leaving []<-chan struct{}
	c.mu.Lock()
	for _, g := range c.guests {
		if g.node == n && g.running && g.cfg.Lock == "" {
			c.ask(g, s)
			leaving = append(leaving, g.off)
		}
	}
	c.mu.Unlock()
	for _, off := range leaving {
		select {
		case <-off:
		case <-limit.Done():
			return
		}
	}
}

// startOnBoot waits for a quorum, without end, then starts the guests that are
// to start by themselves.
func (c *Cluster) startOnBoot(n *node, s *session) {
	for {
		c.mu.Lock()
		if s.ctx.Err() != nil {
			c.mu.Unlock()
			return
		}
		if c.quorate() {
			break
		}
		changed := c.changed
		c.mu.Unlock()
		select {
		case <-changed:
		case <-s.ctx.Done():
		}
	}
	defer c.mu.Unlock()
	for _, g := range c.guests {
		if g.node == n && g.cfg.OnBoot && g.cfg.Lock == "" && !g.running {
			g.start()
		}
	}
}
