package proxmox

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"sentinel.home.arpa/shared/shutdown"
)

const (
	// hardStop is what a guest is left, at the end of its stage, between its own
	// shutdown's end and the stage's: Proxmox kills it then (SIGTERM, 10 s, SIGKILL).
	hardStop = 15 * time.Second
	// shortestShutdown is what a guest is given in any case.
	shortestShutdown = 5 * time.Second
)

// Fleet are the Proxmox nodes of a plan, as an executor needs them. Each is asked at its
// own address, under its own name: a call forwarded by another node depends on that one
// and on the cluster.
type Fleet struct {
	plan  shutdown.Plan
	nodes map[string]*Client
	mu    sync.Mutex
	tasks map[int]string // the UPID of each guest's last shutdown
	// silentFor tells how long a node's agent has not been heard; nil if it has none.
	silentFor func(node string) *time.Duration
}

// NewFleet makes the clients. dial is the way to the nodes; nil is the machine's network.
func NewFleet(plan shutdown.Plan, tokenID, secret string, dial func(ctx context.Context, network, addr string) (net.Conn, error),
	silentFor func(node string) *time.Duration) (*Fleet, error) {
	f := &Fleet{plan: plan, nodes: map[string]*Client{}, tasks: map[int]string{}, silentFor: silentFor}
	for _, n := range plan.Nodes {
		c, err := New(Options{Node: n.Name, API: n.API, Fingerprint: n.Fingerprint, TokenID: tokenID, Secret: secret, Dial: dial})
		if err != nil {
			return nil, fmt.Errorf("node %s: %w", n.Name, err)
		}
		f.nodes[n.Name] = c
	}
	return f, nil
}

// Close drops the connections.
func (f *Fleet) Close() {
	for _, c := range f.nodes {
		c.Close()
	}
}

func (f *Fleet) node(name string) (*Client, error) {
	c := f.nodes[name]
	if c == nil {
		return nil, fmt.Errorf("%s is not part of the plan", name)
	}
	return c, nil
}

// List gives the guests that run on a node.
func (f *Fleet) List(ctx context.Context, node string) ([]shutdown.Target, error) {
	c, err := f.node(node)
	if err != nil {
		return nil, err
	}
	guests, err := c.Guests(ctx)
	if err != nil {
		return nil, err
	}
	var ts []shutdown.Target
	for _, g := range guests {
		if g.Running && !g.Template {
			ts = append(ts, shutdown.Target{Kind: shutdown.Guest, Node: node, VMID: g.VMID, Type: string(g.Type), Name: g.Name})
		}
	}
	return ts, nil
}

// Do tells a guest or node to shut down. A guest that has not by the end of its stage is
// stopped hard shortly before.
func (f *Fleet) Do(ctx context.Context, c shutdown.Command) error {
	n, err := f.node(c.Target.Node)
	if err != nil {
		return err
	}
	switch c.Target.Kind {
	case shutdown.Guest:
		upid, err := n.ShutdownGuest(ctx, guest(c.Target), max(c.Left-hardStop, shortestShutdown).Round(time.Second))
		f.mu.Lock()
		defer f.mu.Unlock()
		f.tasks[c.Target.VMID] = upid
		return err
	case shutdown.ProxmoxNode:
		return n.ShutdownNode(ctx)
	}
	return fmt.Errorf("a %s takes no command", c.Target.Kind)
}

// Look sees whether a target still runs: a guest by its own live state, a node by its
// API and its agent.
func (f *Fleet) Look(ctx context.Context, t shutdown.Target) (shutdown.Sight, error) {
	n, err := f.node(t.Node)
	if err != nil {
		return shutdown.Sight{}, err
	}
	switch t.Kind {
	case shutdown.Guest:
		return f.lookAtGuest(ctx, n, t)
	case shutdown.ProxmoxNode, shutdown.Listing:
		reach, err := n.Reachable(ctx)
		return shutdown.Sight{Closed: reach.Closed(), SilentFor: f.silentFor(t.Node)}, err
	}
	return shutdown.Sight{}, errors.New("there is nothing to see of a " + string(t.Kind))
}

// lookAtGuest sees whether a guest runs, and if it does, whether its shutdown still does. How
// a task says that it ended is no evidence: one may end with OK over a guest that runs on.
func (f *Fleet) lookAtGuest(ctx context.Context, n *Client, t shutdown.Target) (shutdown.Sight, error) {
	f.mu.Lock()
	upid := f.tasks[t.VMID]
	f.mu.Unlock()
	running, err := n.GuestRunning(ctx, guest(t))
	if err != nil {
		return f.lookAtHost(ctx, n, t, err)
	}
	s := shutdown.Sight{Running: running}
	if !running || upid == "" {
		return s, nil
	}
	task, err := n.TaskStatus(ctx, upid)
	failed := ""
	switch {
	case isNoTask(err):
		failed = "its shutdown came to nothing: " + t.Node + " knows no such task"
	case err != nil || task.Running:
		return s, nil
	case task.OK:
		failed = "its shutdown ended with " + task.ExitStatus + ", but it runs on"
	default:
		failed = "its shutdown failed: " + task.ExitStatus
	}
	// It may have stopped between the two questions.
	s.Running, err = n.GuestRunning(ctx, guest(t))
	f.mu.Lock()
	defer f.mu.Unlock()
	if s.Running && f.tasks[t.VMID] == upid { // else it was told again meanwhile
		s.Failed = failed
	}
	return s, err
}

// lookAtHost tells of a guest that cannot be asked for whether its node is off: then it does
// not run either.
func (f *Fleet) lookAtHost(ctx context.Context, n *Client, t shutdown.Target, cause error) (shutdown.Sight, error) {
	if reach, err := n.Reachable(ctx); err != nil || !reach.Closed() {
		return shutdown.Sight{}, cause
	}
	return shutdown.Sight{Running: true, Closed: true, SilentFor: f.silentFor(t.Node)}, nil
}

func guest(t shutdown.Target) Guest {
	return Guest{Node: t.Node, VMID: t.VMID, Type: GuestType(t.Type), Name: t.Name}
}
