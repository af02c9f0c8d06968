package pvesim

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"
)

// object is a JSON object of an answer. Proxmox writes booleans as 1 and 0, and
// numbers as strings now and then; some of that is imitated on purpose.
type object map[string]any

const gib = int64(1) << 30

func bit(b bool) int {
	if b {
		return 1
	}
	return 0
}

func uptime(since time.Time) int64 { return int64(time.Since(since) / time.Second) }

func (c *Cluster) version(call) (any, *failure) {
	return object{"version": "9.1.4", "release": "9.1", "repoid": "5ac30304265fbd8e"}, nil
}

func (c *Cluster) listNodes(call) (any, *failure) {
	list := []object{}
	for _, n := range c.nodes {
		o := object{
			"id": "node/" + n.cfg.Name, "node": n.cfg.Name, "type": "node", "status": "offline", "level": "",
			"ssl_fingerprint": Fingerprint(n.cert.Load().Certificate[0]),
		}
		if n.on != nil {
			maps.Copy(o, object{"status": "online", "uptime": uptime(n.on.since),
				"cpu": 0.0123, "maxcpu": 8, "mem": 9 * gib, "maxmem": 32 * gib})
		}
		list = append(list, o)
	}
	return list, nil
}

func (c *Cluster) nodeStatus(k call) (any, *failure) {
	return object{
		"uptime": uptime(k.node.on.since), "pveversion": "pve-manager/9.1.4/5ac30304265fbd8e",
		"cpu": 0.0123, "wait": 0, "loadavg": []string{"0.21", "0.19", "0.12"},
		"memory":  object{"total": 32 * gib, "used": 9 * gib, "free": 23 * gib, "available": 23 * gib},
		"cpuinfo": object{"cpus": 8, "cores": 4, "sockets": 1, "model": "Simulated"},
	}, nil
}

func (c *Cluster) clusterStatus(k call) (any, *failure) {
	list := []object{}
	if len(c.nodes) > 1 { // a node on its own has no such entry
		list = append(list, object{"type": "cluster", "id": "cluster", "name": "sim", "version": 3,
			"nodes": len(c.nodes), "quorate": bit(c.quorate())})
	}
	for i, n := range c.nodes {
		list = append(list, object{"type": "node", "id": "node/" + n.cfg.Name, "name": n.cfg.Name,
			"nodeid": i + 1, "ip": nil, "level": "", "online": bit(n.on != nil), "local": bit(n == k.via)})
	}
	return list, nil
}

func (c *Cluster) resources(k call) (any, *failure) {
	list := []object{}
	if t := k.args["type"]; t == nil || t == "node" {
		for _, n := range c.nodes {
			status := "offline"
			if n.on != nil {
				status = "online"
			}
			list = append(list, object{"type": "node", "id": "node/" + n.cfg.Name, "node": n.cfg.Name, "status": status})
		}
	}
	if t := k.args["type"]; t == nil || t == "vm" {
		for _, g := range c.visible(k) {
			o := g.object()
			maps.Copy(o, object{"id": fmt.Sprintf("%s/%d", g.cfg.Type, g.cfg.VMID), "node": g.node.cfg.Name,
				"type": g.cfg.Type, "status": statusWord(g.reported)})
			if g.cfg.Pool != "" {
				o["pool"] = g.cfg.Pool
			}
			list = append(list, o)
		}
	}
	return list, nil
}

// visible are the guests that the token may see, in order.
func (c *Cluster) visible(k call) []*guest {
	var all []*guest
	for _, id := range slices.Sorted(maps.Keys(c.guests)) {
		if slices.Contains(c.privileges(fmt.Sprintf("/vms/%d", id), k.fault), "VM.Audit") {
			all = append(all, c.guests[id])
		}
	}
	return all
}

func (c *Cluster) listGuests(k call) (any, *failure) {
	list := []object{}
	for _, g := range c.visible(k) {
		if g.node == k.node && g.cfg.Type == k.endpoint.path[2] {
			list = append(list, g.object())
		}
	}
	return list, nil
}

func (c *Cluster) guestStatus(k call) (any, *failure) {
	o := k.guest.object()
	o["ha"] = object{"managed": bit(k.guest.cfg.HA)}
	if k.guest.cfg.Type == QEMU {
		o["qmpstatus"] = o["status"]
	}
	return o, nil
}

// guestConfig shows of a guest's configuration what is simulated.
func (c *Cluster) guestConfig(k call) (any, *failure) {
	g := k.guest.cfg
	o := object{"digest": "da39a3ee5e6b4b0d3255bfef95601890afd80709", "memory": "2048", "cores": 2}
	for key, value := range map[string]string{"tags": g.Tags, "startup": g.Startup, "lock": g.Lock} {
		if value != "" {
			o[key] = value
		}
	}
	if g.OnBoot {
		o["onboot"] = 1
	}
	return o, nil
}

func statusWord(running bool) string {
	if running {
		return "running"
	}
	return "stopped"
}

func (g *guest) object() object {
	o := object{
		"vmid": g.cfg.VMID, "name": g.cfg.Name, "status": statusWord(g.running),
		"cpus": 2, "cpu": 0, "mem": 0, "maxmem": 2 * gib, "maxdisk": strconv.FormatInt(8*gib, 10), "uptime": 0,
	}
	if g.cfg.Type == LXC {
		o["vmid"], o["type"] = strconv.Itoa(g.cfg.VMID), LXC
	}
	if g.running {
		o["uptime"], o["cpu"], o["mem"] = uptime(g.since), 0.0071, 1.5*float64(gib)
	}
	if g.cfg.Tags != "" {
		o["tags"] = g.cfg.Tags
	}
	if g.cfg.Lock != "" {
		o["lock"] = g.cfg.Lock
	}
	if g.cfg.Template {
		o["template"] = 1
	} else if g.cfg.Type == LXC {
		o["template"] = ""
	}
	return o
}

func (c *Cluster) taskStatus(k call) (any, *failure) {
	upid, _ := scalarText(k.args["upid"])
	t := c.tasks[upid]
	if t == nil || t.node != k.node {
		return nil, badParams(map[string]string{"upid": "no such task"})
	}
	o := object{
		"upid": t.upid, "node": t.node.cfg.Name, "pid": t.pid, "pstart": 0, "starttime": t.started.Unix(),
		"type": t.kind, "id": strconv.Itoa(t.vmid), "user": c.cfg.TokenID, "status": "running",
	}
	if t.exit != "" {
		o["status"], o["exitstatus"] = "stopped", t.exit
	}
	return o, nil
}
