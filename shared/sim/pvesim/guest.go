package pvesim

import (
	"context"
	"fmt"
	"time"
)

// guest is a guest's state, guarded by the Cluster's lock, but for hold.
type guest struct {
	cfg  Guest
	node *node
	hold chan struct{} // of one: whoever works on the guest has put his token in

	fault    GuestFault
	running  bool
	leaving  bool          // was asked to stop, and will
	reported bool          // what the cluster last heard: a cut node's guests stay "running"
	boot     int           // counts the starts
	off      chan struct{} // closed when this boot ends
	since    time.Time
}

func newGuest(cfg Guest, n *node) *guest {
	g := &guest{cfg: cfg, node: n, hold: make(chan struct{}, 1)}
	g.cfg.Node = n.cfg.Name
	if cfg.Running {
		g.start()
	}
	return g
}

// Migrate takes a guest to another node at once, with what it is doing, as the last moment of a
// live migration does.
func (c *Cluster) Migrate(vmid int, to string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	g, n := c.guests[vmid], c.node(to)
	if g == nil || n == nil || n.on == nil || n == g.node {
		return fmt.Errorf("migrate %d to %s: there is no such guest, or no such other node that is up", vmid, to)
	}
	g.node, g.cfg.Node = n, n.cfg.Name
	return nil
}

func (g *guest) snapshot() Guest {
	s := g.cfg
	s.Running = g.running
	return s
}

func (g *guest) start() {
	g.running, g.reported, g.leaving = true, true, false
	g.boot++
	g.off = make(chan struct{})
	g.since = time.Now()
}

func (g *guest) stop() {
	g.running, g.leaving = false, false
	if g.node.on != nil { // else nobody is left to tell the cluster
		g.reported = false
	}
	close(g.off)
}

// label is "VM" or "CT", as messages name the guest.
func (g *guest) label() string {
	if g.cfg.Type == LXC {
		return "CT"
	}
	return "VM"
}

// taskType is the name of a task for what is done to this guest.
func (g *guest) taskType(verb string) string {
	if g.cfg.Type == LXC {
		return "vz" + verb
	}
	return "qm" + verb
}

// ask asks a running guest to stop, which takes it some time, or does nothing
// if it hangs or was asked before. The lock is held.
func (c *Cluster) ask(g *guest, s *session) {
	if g.cfg.Hangs || g.leaving {
		return
	}
	g.leaving = true
	boot, takes := g.boot, g.cfg.StopTakes
	if g.fault.Kind == NoAgent {
		takes += c.cfg.AgentDelay
	}
	c.spawn(func() {
		if !sleep(s.ctx, takes) {
			return
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		if s.ctx.Err() == nil && g.running && g.boot == boot {
			g.stop()
		}
	})
}

// await takes hold of the guest, as Proxmox does with its configuration lock.
// It returns "" or the exit status of the task that could not get it.
func (c *Cluster) await(ctx context.Context, g *guest) string {
	limit, cancel := context.WithTimeout(ctx, c.cfg.LockTimeout)
	defer cancel()
	select {
	case g.hold <- struct{}{}:
		return ""
	case <-limit.Done():
	}
	if ctx.Err() != nil {
		return interrupted
	}
	return fmt.Sprintf("can't lock file '/var/lock/%s/lock-%d.conf' - got timeout", confDir(g.cfg.Type), g.cfg.VMID)
}

// confDir is the directory that Proxmox keeps a type's files in.
func confDir(guestType string) string {
	if guestType == QEMU {
		return "qemu-server"
	}
	return guestType
}

// refusal is the exit status for a locked guest, or "".
func (g *guest) refusal() string {
	if g.cfg.Lock == "" {
		return ""
	}
	return fmt.Sprintf("%s is locked (%s)", g.label(), g.cfg.Lock)
}

// shutdownGuest is the work of status/shutdown, for who holds the guest.
func (c *Cluster) shutdownGuest(ctx context.Context, g *guest, s *session, timeout time.Duration, force bool) string {
	c.mu.Lock()
	if !g.running {
		c.mu.Unlock()
		return taskOK
	}
	if r := g.refusal(); r != "" {
		c.mu.Unlock()
		return r
	}
	c.ask(g, s)
	boot, off := g.boot, g.off
	c.mu.Unlock()

	limit, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	select {
	case <-off:
		return taskOK
	case <-limit.Done():
	}
	switch {
	case ctx.Err() != nil:
		return interrupted
	case !force:
		return "VM quit/powerdown failed - got timeout"
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if s.ctx.Err() == nil && g.running && g.boot == boot && g.fault.Kind != Immortal {
		g.stop()
	}
	return taskOK
}

// stopGuest is the work of status/stop, for who holds the guest.
func (c *Cluster) stopGuest(g *guest, s *session) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch r := g.refusal(); {
	case s.ctx.Err() != nil:
		return interrupted
	case !g.running:
		return taskOK
	case r != "":
		return r
	case g.fault.Kind == Immortal:
		return taskOK
	}
	g.stop()
	return taskOK
}

// startGuest is the work of status/start, for who holds the guest.
func (c *Cluster) startGuest(g *guest, s *session) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch r := g.refusal(); {
	case s.ctx.Err() != nil:
		return interrupted
	case r != "":
		return r
	case g.running:
		return fmt.Sprintf("%s %d already running", g.label(), g.cfg.VMID)
	}
	g.start()
	return taskOK
}
