package pvesim

import (
	"context"
	"fmt"
	"time"
)

// Exit statuses that Proxmox's workers end with.
const (
	taskOK      = "OK"
	interrupted = "interrupted by signal"
)

// task is a worker, known by its UPID. Guarded by the Cluster's lock.
type task struct {
	upid    string
	node    *node
	kind    string // "qmshutdown", "vzstop"...
	vmid    int
	pid     int
	started time.Time
	exit    string // "" while it runs
	abort   context.CancelFunc
}

func (t *task) finish(exit string) {
	if t.exit == "" {
		t.exit = exit
		t.abort()
	}
}

// newTask registers a task of the guest's node. The lock is held, the node on.
func (c *Cluster) newTask(g *guest, verb string, abort context.CancelFunc) *task {
	c.lastPID++
	now := time.Now()
	t := &task{
		node: g.node, kind: g.taskType(verb), vmid: g.cfg.VMID,
		pid: c.lastPID, started: now, abort: abort,
	}
	pstart := now.Sub(g.node.on.since) / (10 * time.Millisecond)
	t.upid = fmt.Sprintf("UPID:%s:%08X:%08X:%08X:%s:%d:%s:",
		g.node.cfg.Name, t.pid, int64(pstart), now.Unix(), t.kind, t.vmid, c.cfg.TokenID)
	c.tasks[t.upid] = t
	return t
}

// fork starts a task and returns its UPID. The guest is held at once if it is
// free, so that tasks come in the order of the requests. The lock is held, the
// node on.
func (c *Cluster) fork(g *guest, verb string, work func(context.Context, *session) string) string {
	s := g.node.on
	ctx, cancel := context.WithCancel(s.ctx)
	t := c.newTask(g, verb, cancel)
	free := true
	select {
	case g.hold <- struct{}{}:
	default:
		free = false
	}
	c.spawn(func() {
		exit := ""
		if !free {
			exit = c.await(ctx, g)
		}
		if exit == "" {
			exit = work(ctx, s)
			<-g.hold
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		t.finish(exit)
	})
	return t.upid
}

// phantom is the UPID of a task that was never registered. The lock is held, the node on.
func (c *Cluster) phantom(g *guest, verb string) string {
	t := c.newTask(g, verb, func() {})
	delete(c.tasks, t.upid)
	return t.upid
}

// resist does what a guest's fault does to a command instead of the command; ok is false if
// it is to be carried out. The lock is held, the node on.
func (c *Cluster) resist(g *guest, verb string) (upid string, fail *failure, ok bool) {
	switch g.fault.Kind {
	case Nothing:
		return c.pretend(g, verb), nil, true
	case NoTask:
		return c.phantom(g, verb), nil, true
	case Fails:
		t := c.newTask(g, verb, func() {})
		t.finish(g.fault.Reason)
		return t.upid, nil, true
	case Endless:
		return c.fork(g, verb, func(ctx context.Context, _ *session) string {
			<-ctx.Done()
			return interrupted
		}), nil, true
	case Refuses:
		return "", internal("%s", g.fault.Reason), true
	}
	return "", nil, false
}

// pretend registers a task that ended well without having done anything.
func (c *Cluster) pretend(g *guest, verb string) string {
	t := c.newTask(g, verb, func() {})
	t.finish(taskOK)
	return t.upid
}

// abortShutdowns interrupts the shutdown tasks of a guest. The lock is held.
func (c *Cluster) abortShutdowns(g *guest) {
	for _, t := range c.tasks {
		if t.vmid == g.cfg.VMID && t.kind == g.taskType("shutdown") {
			t.finish(interrupted)
		}
	}
}
