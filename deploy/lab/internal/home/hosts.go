package home

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"sentinel.home.arpa/deploy/lab/internal/edge"
	"sentinel.home.arpa/shared/sim/logindsim"
)

// PowersOff is what the edges say of a host whose agent had it powered off.
const PowersOff = "is asked to power off"

// hostStops is what a host takes to go down, once its locks are let go.
const hostStops = 2 * time.Second

// agents are all on which one runs: the cluster's nodes, and Linux hosts beside them.
func (h *Home) agents() []string { return append(h.names(), h.opts.Hosts...) }

func (h *Home) isHost(name string) bool { return slices.Contains(h.opts.Hosts, name) }

// startHosts makes each host's logind, so that its agent has no other machine to speak for.
func (h *Home) startHosts() error {
	h.hosts = map[string]*logindsim.Machine{}
	for _, name := range h.opts.Hosts {
		m, err := logindsim.Start(logindsim.Config{Path: filepath.Join(h.dir, name+".bus"), StopTakes: hostStops,
			Asked: func() {
				h.say(name, PowersOff)
				h.rec.Add(time.Now(), edge.Entry{Edge: edge.Lab, Node: name, What: PowersOff})
			},
			Off: func(string) { h.nodeDown(name) }})
		if err != nil {
			return err
		}
		h.hosts[name] = m
	}
	return nil
}

func (h *Home) stopHosts() {
	for _, m := range h.hosts {
		m.Close()
	}
}

// bus has a host's agent ask its own logind.
func (h *Home) bus(name string) []string {
	if m := h.hosts[name]; m != nil {
		return []string{"DBUS_SYSTEM_BUS_ADDRESS=" + m.Address()}
	}
	return nil
}

// logind is the switch in an agent's configuration: a node's must not speak for this machine.
func (h *Home) logind(name string) string {
	if h.isHost(name) {
		return "on"
	}
	return "off"
}

// hostStage is the plan's for the hosts, if there are any.
func (h *Home) hostStage() string {
	if len(h.opts.Hosts) == 0 {
		return ""
	}
	return fmt.Sprintf("  - hosts: [%s]\n    deadline: 60s\n", strings.Join(h.opts.Hosts, ", "))
}

// host does to a host what node does to a node.
func (h *Home) host(verb, name string) error {
	m := h.hosts[name]
	switch verb {
	case "kill":
		h.say("lab", name+" loses its power")
		h.rec.Add(time.Now(), edge.Entry{Edge: edge.Lab, Node: name, What: "off"})
		h.nodes[name].end(syscall.SIGKILL)
	case "start":
		m.Boot()
		h.nodeUp(name)
	case "shutdown", "reboot":
		kind := map[string]string{"shutdown": "poweroff", "reboot": "reboot"}[verb]
		h.say("lab", name+": "+kind)
		return m.Shutdown(kind)
	}
	return nil
}
