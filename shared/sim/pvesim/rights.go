package pvesim

import (
	"fmt"
	"maps"
	"path"
	"slices"
)

// privileges are what the token may do on a path: what its nearest grant says, but for what
// is missing everywhere, and for a fault of the node that is asked.
func (c *Cluster) privileges(on string, fault Fault) []string {
	for {
		if granted, ok := c.cfg.Grants[on]; ok {
			return slices.DeleteFunc(slices.Clone(granted), func(p string) bool {
				return slices.Contains(c.cfg.Missing, p) || fault.Kind == Lacks && slices.Contains(fault.Privileges, p)
			})
		}
		if on == "/" {
			return nil
		}
		on = path.Dir(on)
	}
}

// permissions shows what the token may do on a path, or on all that Proxmox lists: the top
// levels, and what has a grant of its own. The value of each privilege tells whether it
// holds for what lies below.
func (c *Cluster) permissions(k call) (any, *failure) {
	paths := []string{"/", "/access", "/access/groups", "/nodes", "/pool", "/sdn", "/storage", "/vms"}
	paths = append(paths, slices.Collect(maps.Keys(c.cfg.Grants))...)
	if p, ok := k.args["path"].(string); ok {
		paths = []string{p}
	}
	all := object{}
	for _, p := range paths {
		privs := object{}
		for _, priv := range c.privileges(p, k.fault) {
			privs[priv] = 1
		}
		if len(privs) > 0 {
			all[p] = privs
		}
	}
	return all, nil
}

// haStatus shows the manager's state: who is quorate, and which guests it guards. Without
// any it is idle.
func (c *Cluster) haStatus(k call) (any, *failure) {
	quorum := object{"type": "quorum", "id": "quorum", "node": k.via.cfg.Name, "quorate": bit(c.quorate()), "status": "OK"}
	list := []object{quorum}
	busy := map[*node]bool{}
	for _, id := range slices.Sorted(maps.Keys(c.guests)) {
		g := c.guests[id]
		if !g.cfg.HA {
			continue
		}
		busy[g.node] = true
		kind := "vm"
		if g.cfg.Type == LXC {
			kind = "ct"
		}
		sid := fmt.Sprintf("%s:%d", kind, id)
		list = append(list, object{"type": "service", "id": "service:" + sid, "sid": sid, "node": g.node.cfg.Name,
			"state": "started", "crm_state": "started", "request_state": "started", "status": fmt.Sprintf("%s (%s, started)", sid, g.node.cfg.Name)})
	}
	if len(busy) == 0 {
		return list, nil
	}
	for _, n := range c.nodes {
		state := "idle"
		if busy[n] {
			state = "active"
		}
		list = append(list, object{"type": "lrm", "id": "lrm:" + n.cfg.Name, "node": n.cfg.Name,
			"status": fmt.Sprintf("%s (%s, Sat Nov 21 19:02:00 2026)", n.cfg.Name, state)})
	}
	return append(list, object{"type": "fencing", "id": "fencing", "node": "cluster", "armed-state": "armed", "status": "armed"}), nil
}
