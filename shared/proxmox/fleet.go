package proxmox

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"sentinel.home.arpa/shared/shutdown"
)

const (
	// hardStop is what a guest is left, at the end of its stage, between its own
	// shutdown's end and the stage's: Proxmox kills it then (SIGTERM, 10 s, SIGKILL).
	hardStop = 15 * time.Second
	// closedHolds is for how long a node that was seen closed is taken to be.
	closedHolds = time.Second
	// shortestShutdown is what a guest is given in any case.
	shortestShutdown = 5 * time.Second
)

// Fleet are the Proxmox nodes of a plan, as an executor needs them. Each is asked at its
// own address, under its own name: a call forwarded by another node depends on that one
// and on the cluster.
type Fleet struct {
	plan  shutdown.Plan
	nodes map[string]*Client
	unfit map[string]error // why a node of the plan has no client
	mu    sync.Mutex
	tasks map[guestKey]task          // of each guest's last command
	downs map[guestKey]time.Duration // what guests' own configurations give their shutdown
	// PoolsUnread is told, from any goroutine, which node's guests were listed without their
	// pools, and why; nil: nobody is. It is set before the fleet is used.
	PoolsUnread func(node string, err error)
	// closed is when each node's API was last seen closed.
	closed map[string]time.Time
	// silentFor tells how long a node's agent has not been heard; nil if it has none.
	silentFor func(node string) *time.Duration
}

// NewFleet makes clients by the machine's own network, which knows what it resolved before.
func (d *Dialer) NewFleet(plan shutdown.Plan, tokenID, secret string, silentFor func(node string) *time.Duration) (*Fleet, error) {
	return newFleet(plan, Options{TokenID: tokenID, Secret: secret, own: d}, silentFor)
}

// NewFleet makes the clients. dial is the way to the nodes; nil is the machine's network. A node
// that none can be made for takes no command, and says why; the others are not kept up by it.
func NewFleet(plan shutdown.Plan, tokenID, secret string, dial func(ctx context.Context, network, addr string) (net.Conn, error),
	silentFor func(node string) *time.Duration) (*Fleet, error) {
	return newFleet(plan, Options{TokenID: tokenID, Secret: secret, Dial: dial}, silentFor)
}

func newFleet(plan shutdown.Plan, o Options, silentFor func(node string) *time.Duration) (*Fleet, error) {
	f := &Fleet{plan: plan, nodes: map[string]*Client{}, unfit: map[string]error{}, tasks: map[guestKey]task{}, downs: map[guestKey]time.Duration{}, closed: map[string]time.Time{}, silentFor: silentFor}
	for _, n := range plan.Nodes {
		o.Node, o.API, o.Fingerprint = n.Name, n.API, n.Fingerprint
		c, err := New(o)
		if err != nil {
			f.unfit[n.Name] = fmt.Errorf("%.80s can be told nothing: %w", n.Name, err)
			continue
		}
		f.nodes[n.Name] = c
	}
	if len(f.nodes) == 0 && len(plan.Nodes) > 0 { // most often the token, which is that of all
		return nil, f.unfit[plan.Nodes[0].Name]
	}
	return f, nil
}

// task is what a guest was told last.
type task struct {
	upid  string
	start bool
}

// Close drops the connections.
func (f *Fleet) Close() {
	for _, c := range f.nodes {
		c.Close()
	}
}

func (f *Fleet) node(name string) (*Client, error) {
	c := f.nodes[name]
	if err := f.unfit[name]; err != nil {
		return nil, err
	}
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
			ts = append(ts, shutdown.Target{Kind: shutdown.Guest, Node: node, VMID: g.VMID, Type: string(g.Type), Name: g.Name, Tags: g.Tags})
		}
	}
	f.describe(ctx, c, ts)
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
		if c.Start {
			return f.start(ctx, n, c.Target)
		}
		upid, err := n.ShutdownGuest(ctx, guest(c.Target), timeFor(c).Round(time.Second))
		f.mu.Lock()
		defer f.mu.Unlock()
		f.tasks[keyOf(c.Target)] = task{upid: upid}
		return goneFrom(err)
	case shutdown.ProxmoxNode:
		return n.ShutdownNode(ctx)
	}
	return fmt.Errorf("a %s takes no command", c.Target.Kind)
}

// timeFor is how long a guest is given to shut down by itself.
func timeFor(c shutdown.Command) time.Duration {
	left := max(c.Left-hardStop, shortestShutdown)
	if c.Given > 0 {
		return min(max(c.Given, time.Second), left)
	}
	return left
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

// start has a guest started; one that runs is as good.
func (f *Fleet) start(ctx context.Context, n *Client, t shutdown.Target) error {
	upid, err := n.StartGuest(ctx, guest(t))
	if isRunningAlready(err) {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.tasks[keyOf(t)] = task{upid, true}
	return err
}

// isRunningAlready tells whether a guest was not started because it runs.
func isRunningAlready(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Code == http.StatusInternalServerError && strings.HasSuffix(e.Reason, "already running")
}

// lookAtGuest sees whether a guest runs, and if that is not what it was told, whether its task
// still does. How a task says that it ended is no evidence: one may end with OK over a guest
// that runs on.
func (f *Fleet) lookAtGuest(ctx context.Context, n *Client, t shutdown.Target) (shutdown.Sight, error) {
	f.mu.Lock()
	told := f.tasks[keyOf(t)]
	f.mu.Unlock()
	if f.closedLately(t.Node) {
		return f.hostIsClosed(t), nil
	}
	running, err := n.GuestRunning(ctx, guest(t))
	switch {
	case isNoGuest(err):
		return shutdown.Sight{Moved: true}, nil
	case err != nil:
		return f.lookAtHost(ctx, n, t, err)
	}
	s := shutdown.Sight{Running: running}
	if running == told.start || told.upid == "" {
		return s, nil
	}
	task, err := n.TaskStatus(ctx, told.upid)
	if err != nil && !isNoTask(err) || err == nil && task.Running {
		return s, nil
	}
	failed := told.failed(t.Node, task, err)
	// It may have stopped, or started, between the two questions.
	s.Running, err = n.GuestRunning(ctx, guest(t))
	f.mu.Lock()
	defer f.mu.Unlock()
	if s.Running != told.start && f.tasks[keyOf(t)] == told { // else it was told again meanwhile
		s.Failed = failed
	}
	return s, err
}

// failed says why what a guest was told came to nothing: its task has ended, or is not known.
func (t task) failed(node string, ended Task, err error) string {
	what, but := "its shutdown", "it runs on"
	if t.start {
		what, but = "its start", "it does not run"
	}
	switch {
	case err != nil:
		return what + " came to nothing: " + node + " knows no such task"
	case ended.OK:
		return what + " ended with " + ended.ExitStatus + ", but " + but
	default:
		return what + " failed: " + ended.ExitStatus
	}
}

// lookAtHost tells of a guest that cannot be asked for whether its node is off: then it does
// not run either.
func (f *Fleet) lookAtHost(ctx context.Context, n *Client, t shutdown.Target, cause error) (shutdown.Sight, error) {
	if reach, err := n.Reachable(ctx); err != nil || !reach.Closed() {
		return shutdown.Sight{}, cause
	}
	f.mu.Lock()
	f.closed[t.Node] = time.Now()
	f.mu.Unlock()
	return f.hostIsClosed(t), nil
}

func (f *Fleet) hostIsClosed(t shutdown.Target) shutdown.Sight {
	return shutdown.Sight{Running: true, Closed: true, SilentFor: f.silentFor(t.Node)}
}

// closedLately reports whether a node was seen closed so short a time ago that it holds for all
// of its guests: to wait for each of them would take long, as it answers nothing.
func (f *Fleet) closedLately(node string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	at, seen := f.closed[node]
	return seen && time.Since(at) < closedHolds
}

func guest(t shutdown.Target) Guest {
	return Guest{Node: t.Node, VMID: t.VMID, Type: GuestType(t.Type), Name: t.Name}
}
