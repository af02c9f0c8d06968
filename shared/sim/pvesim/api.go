package pvesim

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// endpoint is one call of the API.
type endpoint struct {
	method string
	path   []string // segments; "{name}" stands for any
	priv   string   // the privilege needed, "" for none
	params map[string]param
	run    func(*Cluster, call) (any, *failure) // called with the lock held
}

// call is a request that was let in, meant for an endpoint.
type call struct {
	endpoint endpoint
	via      *node // whose API was asked
	node     *node // whom the path names, nil if none
	guest    *guest
	args     map[string]any
	fault    Fault // of the node that was asked
}

// failure is an answer other than 200.
type failure struct {
	code   int
	reason string
	errors map[string]string
}

func internal(format string, args ...any) *failure {
	return &failure{code: http.StatusInternalServerError, reason: fmt.Sprintf(format, args...)}
}

// api is the table of calls: names, types and limits as documented for Proxmox
// VE 9.1. Parameters of guest starts that only root or a migration uses are
// left out, so they are refused here.
func (c *Cluster) api() []endpoint {
	zero := int64(0)
	node := param{kind: kindString, required: true, format: nodeName, what: "node name"}
	vmid := param{kind: kindInteger, required: true, format: vmidForm, what: "VM ID"}
	optBool := param{kind: kindBoolean}
	rootBool := param{kind: kindBoolean, rootOnly: true}
	seconds := param{kind: kindInteger, min: &zero}
	onNode := map[string]param{"node": node}
	with := func(base, more map[string]param) map[string]param {
		all := maps.Clone(base)
		maps.Copy(all, more)
		return all
	}
	onGuest := with(onNode, map[string]param{"vmid": vmid})

	table := []endpoint{
		get("/version", "", nil, (*Cluster).version),
		get("/nodes", "", nil, (*Cluster).listNodes),
		get("/cluster/status", "Sys.Audit", nil, (*Cluster).clusterStatus),
		get("/cluster/ha/status/current", "Sys.Audit", nil, (*Cluster).haStatus),
		get("/cluster/resources", "", map[string]param{
			"type": {kind: kindString, enum: []string{"vm", "storage", "node", "sdn"}},
		}, (*Cluster).resources),
		get("/access/permissions", "", map[string]param{
			"path": {kind: kindString}, "userid": {kind: kindString},
		}, (*Cluster).permissions),
		get("/nodes/{node}/status", "Sys.Audit", onNode, (*Cluster).nodeStatus),
		post("/nodes/{node}/status", "Sys.PowerMgmt", with(onNode, map[string]param{
			"command": {kind: kindString, required: true, enum: []string{"reboot", "shutdown"}},
		}), (*Cluster).nodeCommand),
		get("/nodes/{node}/tasks/{upid}/status", "", with(onNode, map[string]param{
			"upid": {kind: kindString, required: true},
		}), (*Cluster).taskStatus),
		get("/nodes/{node}/qemu", "", with(onNode, map[string]param{"full": optBool}), (*Cluster).listGuests),
		get("/nodes/{node}/lxc", "", onNode, (*Cluster).listGuests),
	}
	qemu, lxc := "/nodes/{node}/qemu/{vmid}/status/", "/nodes/{node}/lxc/{vmid}/status/"
	return append(table,
		get(qemu+"current", "VM.Audit", onGuest, (*Cluster).guestStatus),
		get(lxc+"current", "VM.Audit", onGuest, (*Cluster).guestStatus),
		get("/nodes/{node}/qemu/{vmid}/config", "VM.Audit", with(onGuest, map[string]param{
			"current": optBool, "snapshot": {kind: kindString},
		}), (*Cluster).guestConfig),
		get("/nodes/{node}/lxc/{vmid}/config", "VM.Audit", with(onGuest, map[string]param{
			"current": optBool, "snapshot": {kind: kindString},
		}), (*Cluster).guestConfig),
		post(qemu+"shutdown", "VM.PowerMgmt", with(onGuest, map[string]param{
			"timeout": seconds, "forceStop": optBool, "keepActive": rootBool, "skiplock": rootBool,
		}), (*Cluster).guestShutdown),
		post(lxc+"shutdown", "VM.PowerMgmt", with(onGuest, map[string]param{
			"timeout": seconds, "forceStop": optBool,
		}), (*Cluster).guestShutdown),
		post(qemu+"stop", "VM.PowerMgmt", with(onGuest, map[string]param{
			"timeout": seconds, "overrule-shutdown": optBool, "keepActive": rootBool, "skiplock": rootBool,
		}), (*Cluster).guestStop),
		post(lxc+"stop", "VM.PowerMgmt", with(onGuest, map[string]param{
			"overrule-shutdown": optBool, "skiplock": rootBool,
		}), (*Cluster).guestStop),
		post(qemu+"start", "VM.PowerMgmt", with(onGuest, map[string]param{
			"timeout": seconds, "skiplock": rootBool,
		}), (*Cluster).guestStart),
		post(lxc+"start", "VM.PowerMgmt", with(onGuest, map[string]param{
			"debug": optBool, "skiplock": rootBool,
		}), (*Cluster).guestStart),
	)
}

type runFunc = func(*Cluster, call) (any, *failure)

func get(path, priv string, params map[string]param, run runFunc) endpoint {
	return endpoint{http.MethodGet, segments(path), priv, params, run}
}

func post(path, priv string, params map[string]param, run runFunc) endpoint {
	return endpoint{http.MethodPost, segments(path), priv, params, run}
}

func segments(path string) []string {
	return strings.FieldsFunc(path, func(r rune) bool { return r == '/' })
}

// find returns the endpoint for a path and what its placeholders stand for.
func (c *Cluster) find(method, escapedPath string) (endpoint, map[string]string, bool) {
	got := segments(escapedPath)
	for i, s := range got {
		if u, err := url.PathUnescape(s); err == nil {
			got[i] = u
		}
	}
next:
	for _, e := range c.endpoints {
		if e.method != method || len(e.path) != len(got) {
			continue
		}
		named := map[string]string{}
		for i, want := range e.path {
			if strings.HasPrefix(want, "{") {
				named[strings.Trim(want, "{}")] = got[i]
			} else if want != got[i] {
				continue next
			}
		}
		return e, named, true
	}
	return endpoint{}, nil, false
}

// dispatch does what the API does between authentication and answer, in the
// real order: path, privilege, forwarding, parameters, command.
func (c *Cluster) dispatch(ctx context.Context, via *node, r *http.Request, body []byte, fault Fault) (any, *failure) {
	path := strings.TrimPrefix(r.URL.EscapedPath(), apiPrefix)
	e, named, ok := c.find(r.Method, path)
	if !ok {
		return nil, &failure{code: http.StatusNotImplemented,
			reason: fmt.Sprintf("Method '%s %s' not implemented", r.Method, path)}
	}
	args, err := params(r, body)
	if err != nil {
		return nil, internal("%s", err)
	}
	for name, v := range named {
		if text, _ := scalarText(args[name]); args[name] != nil && text != v {
			return nil, badParams(map[string]string{
				name: "duplicate parameter (already defined in URI) with conflicting values!"})
		}
		args[name] = v
	}
	if path := privPath(named); e.priv != "" && !slices.Contains(c.privileges(path, fault), e.priv) {
		return nil, &failure{code: http.StatusForbidden,
			reason: fmt.Sprintf("Permission check failed (%s, %s)", path, e.priv)}
	}
	k := call{endpoint: e, via: via, args: args, fault: fault}
	if name, named := named["node"]; named {
		if k.node = c.node(name); k.node == nil {
			return nil, internal("hostname lookup '%s' failed - failed to get address info for: %s: Name or service not known", name, name)
		}
		if fail := c.forward(k); fail != nil {
			sleep(ctx, c.cfg.ProxyDelay)
			return nil, fail
		}
	}
	if wrong := checkParams(e.params, args); len(wrong) > 0 {
		return nil, badParams(wrong)
	}
	return c.run(k)
}

// What a node answers for another one that it cannot reach, or that does not answer it.
const (
	connectFailed = 595
	noAnswer      = 596
)

// forward tells why a call cannot be passed on to the node that it names.
func (c *Cluster) forward(k call) *failure {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case k.node == k.via:
		return nil
	case k.fault.Kind == NoForward:
		return &failure{code: k.fault.Code, reason: k.fault.Reason}
	case c.split, k.node.on == nil:
		return &failure{code: connectFailed, reason: "No route to host"}
	case k.node.fault.Kind == Mute, k.node.fault.Kind == Hang:
		return &failure{code: noAnswer, reason: "Connection timed out"}
	}
	return nil
}

// run finds the guest that the path names, if any, and runs the call.
func (c *Cluster) run(k call) (any, *failure) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if k.node != nil && k.node.on == nil {
		return nil, &failure{code: connectFailed, reason: "Connection refused"}
	}
	if id, ok := k.args["vmid"].(string); ok {
		n, err := strconv.Atoi(id)
		g := c.guests[n]
		if err != nil || g == nil || g.node != k.node || g.cfg.Type != k.endpoint.path[2] {
			return nil, internal("Configuration file 'nodes/%s/%s/%s.conf' does not exist", k.node.cfg.Name, confDir(k.endpoint.path[2]), id)
		}
		k.guest = g
	}
	return k.endpoint.run(c, k)
}

func badParams(wrong map[string]string) *failure {
	return &failure{code: http.StatusBadRequest, reason: "Parameter verification failed.", errors: wrong}
}

// privPath is the object that a privilege is checked on.
func privPath(named map[string]string) string {
	switch {
	case named["vmid"] != "":
		return "/vms/" + named["vmid"]
	case named["node"] != "":
		return "/nodes/" + named["node"]
	}
	return "/"
}

func (c *Cluster) nodeCommand(k call) (any, *failure) {
	if k.fault.Kind == Lies {
		return nil, nil
	}
	kind := PowerOff
	if k.args["command"] == "reboot" {
		kind = Reboot
	}
	c.command(k.node, kind)
	return nil, nil
}

func (c *Cluster) guestShutdown(k call) (any, *failure) {
	g := k.guest
	if g.cfg.Type == LXC && !g.running {
		return nil, internal("CT %d not running", g.cfg.VMID)
	}
	if k.fault.Kind == Lies {
		return c.pretend(g, "shutdown"), nil
	}
	if upid, fail, ok := c.resist(g, "shutdown"); ok {
		return upid, fail
	}
	timeout := 60 * time.Second
	if text, ok := scalarText(k.args["timeout"]); ok {
		n, err := strconv.ParseInt(text, 10, 32)
		if err != nil {
			n = 1<<31 - 1
		}
		timeout = time.Duration(n) * time.Second
	}
	force := truth(k.args["forceStop"])
	return c.fork(g, "shutdown", func(ctx context.Context, s *session) string {
		return c.shutdownGuest(ctx, g, s, timeout, force)
	}), nil
}

func (c *Cluster) guestStop(k call) (any, *failure) {
	g := k.guest
	if g.cfg.Type == LXC && !g.running {
		return nil, internal("CT %d not running", g.cfg.VMID)
	}
	if k.fault.Kind == Lies {
		return c.pretend(g, "stop"), nil
	}
	if upid, fail, ok := c.resist(g, "stop"); ok {
		return upid, fail
	}
	if truth(k.args["overrule-shutdown"]) {
		c.abortShutdowns(g)
	}
	return c.fork(g, "stop", func(_ context.Context, s *session) string {
		return c.stopGuest(g, s)
	}), nil
}

func (c *Cluster) guestStart(k call) (any, *failure) {
	g := k.guest
	if g.cfg.Type == LXC && g.running {
		return nil, internal("CT %d already running", g.cfg.VMID)
	}
	if !c.quorate() {
		return nil, internal("cluster not ready - no quorum?")
	}
	if k.fault.Kind == Lies {
		return c.pretend(g, "start"), nil
	}
	if upid, fail, ok := c.resist(g, "start"); ok {
		return upid, fail
	}
	return c.fork(g, "start", func(_ context.Context, s *session) string {
		return c.startGuest(g, s)
	}), nil
}
