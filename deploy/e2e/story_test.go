//go:build e2e

package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"sentinel.home.arpa/deploy/e2e/internal/guest"
	"sentinel.home.arpa/deploy/e2e/internal/layers"
	"sentinel.home.arpa/deploy/e2e/internal/network"
)

// TestStory is a bad day of a house, with the real programs under their real units on real
// machines: what each rule promises is seen on the wire, at the phone company and on the
// brain's page.
func TestStory(t *testing.T) {
	h := openHouse(t)
	s := &story{house: h}
	s.build()
	s.boot()
	s.agentDies()
	cut := s.linkCut(s.node1)
	s.plannedDowns() // while that incident calms down
	s.hungAgent()
	s.deadAgent()
	s.mains()
	s.calm(cut)
	power := s.powerCut(s.node2)
	s.brainReboots(power, s.node2, "node1", "pi")
	s.withoutLogind()
	s.noCapabilities()
	s.otherPath()
	s.piEnds() // while that incident calms down
	s.calm(power)
	s.calm(s.internetCut("pi", "node1", "node2"))
	h.calls(3)
	s.ordered()
}

// story is the house with its two nodes: node1 on systemd-networkd with an address by
// DHCP and the host's tailscaled, node2 on ifupdown with an agent that is a machine of the
// tailnet by itself.
type story struct {
	*house
	node1, node2, box, lone *guest.Guest
}

func (s *story) build() {
	s.timed("layers", func() string {
		s.router = s.newRouter()
		s.pi = s.newPi()
		s.lower(layers.Bookworm(), "ifupdown")
		return "unpacked"
	})
	s.timed("tailscaled", func() string {
		files := append(dhcp(), s.agent("sentinel-node", "site: home\n")...)
		s.node1 = s.machine(guest.Spec{Name: "node1", Lower: s.lower(layers.Bookworm()), Bridge: network.LAN,
			Files: append(files, s.tailscale()...), Args: tunArgs()})
		return "built"
	})
	config := fmt.Sprintf("site: home\ntailnet: {control_url: %q}\nobey_orders: off\n", s.out.Control)
	s.node2 = s.machine(guest.Spec{Name: "node2", Lower: s.lower(layers.Bookworm(), "ifupdown"), Bridge: network.LAN,
		Files: append(ifupdown("10.77.0.12"), s.agent("sentinel-node-tsnet", config)...)})
	key := s.key("box", "/var/lib/sentinel-node")
	files := append(static("10.77.0.13", routerLAN), s.agent("sentinel-node", s.throughPi())...)
	s.box = s.machine(guest.Spec{Name: "box", Lower: s.lower(layers.Bookworm()), Bridge: network.LAN,
		Files: append(files, key, guest.Mask("systemd-logind.service"), guest.Mask("dbus-org.freedesktop.login1.service")),
		Args:  []string{"--private-users=pick", "--private-users-ownership=chown"}})
	s.lone = s.newLonePi()
	s.cloud = s.newCloud("plan: [{hosts: [node1, node2], deadline: 20s}]\n", "node1", "node2", s.known("box"))
}

func (s *story) boot() {
	s.timed("router, brain", func() string {
		s.on(s.router)
		s.connect()
		s.on(s.cloud)
		s.now()
		return "on"
	})
	s.timed("Pi", func() string {
		s.on(s.pi)
		s.await("the Pi and its UPS", patience, func(v *status) bool {
			return v.up(time.Now().Add(-beat), "pi") && len(v.Sites[0].UPSes) == 1 && v.Sites[0].UPSes[0].Supply == "mains"
		})
		return "up, with the real apcupsd on mains"
	})
	s.timed("nodes", func() string {
		s.on(s.node2)
		s.on(s.node1)
		s.joinTailnet(s.node1)
		s.back("node1", "node2")
		return fmt.Sprintf("up at %s and %s", s.address(s.node1), s.address(s.node2))
	})
	s.timed("both nodes know the Pi", func() string {
		for _, g := range []*guest.Guest{s.node1, s.node2} {
			s.until(g.Name+" knows the Pi", patience, func() bool {
				text, err := s.try(g, "cat", "/var/lib/sentinel-node/peers.json")
				return err == nil && strings.Contains(text, piLAN+":7777")
			})
		}
		s.hears()
		return "from the brain"
	})
}

// agentDies is rule A8: neither a stop nor a death of the agent is a shutdown.
func (s *story) agentDies() {
	begin, from := time.Now(), s.address(s.node1)
	s.timed("agent restarted, then killed (A8)", func() string {
		s.exec(s.node1, "systemctl", "restart", "sentinel-node")
		s.back("node1")
		s.exec(s.node1, "systemctl", "kill", "--signal=KILL", "sentinel-node")
		s.until("the agent is back", patience, func() bool {
			out, err := s.try(s.node1, "systemctl", "show", "-P", "NRestarts", "sentinel-node")
			return err == nil && strings.TrimSpace(out) == "1"
		})
		s.until("it runs", patience, func() bool { _, err := s.try(s.node1, "systemctl", "is-active", "sentinel-node"); return err == nil })
		s.back("node1")
		s.silent(from, begin)
		s.quietSince(begin)
		s.calls(0)
		return "no announcement, no failure"
	})
}

// plannedDowns are the announced ones, by rules A1 to A4. node1 stays off for longer than
// silence may last while node2 goes through the others.
func (s *story) plannedDowns() {
	begin, calls := time.Now(), len(s.out.placed())
	off := s.powersOff(s.node1, "(DHCP, networkd)")
	s.reboots(s.node2, "(ifupdown)")
	s.timed("halt", func() string {
		seen := s.goesDown(s.node2, "halt", s.command(s.node2, "systemctl", "halt"))
		s.on(s.node2)
		s.back("node2")
		return seen
	})
	s.timed("Ctrl-Alt-Del", func() string {
		seen := s.goesDown(s.node2, "reboot", func() {
			if err := s.node2.CtrlAltDel(); err != nil {
				s.t.Fatal(err)
			}
		})
		s.back("node2")
		return seen
	})
	s.timed("systemctl --force poweroff (best effort)", func() string {
		from, at := s.address(s.node2), time.Now()
		s.command(s.node2, "systemctl", "--force", "poweroff")()
		a, ok := s.announcedWithin(from, at, announceWithin, s.node2.Off())
		<-s.node2.Off()
		s.on(s.node2)
		s.back("node2")
		if !ok {
			return "not announced; it was back in time"
		}
		return fmt.Sprintf("announced after %d ms", a.At.Sub(at).Milliseconds())
	})
	s.staysOff(s.node1, off)
	s.plannedOnly(begin, calls)
}

// hungAgent is an agent that turns no more: systemd restarts it, and a shutdown meanwhile
// is announced all the same.
func (s *story) hungAgent() {
	begin := time.Now()
	s.timed("agent hangs", func() string {
		before := s.pidOf(s.node1)
		at := time.Now()
		s.exec(s.node1, "systemctl", "kill", "--signal=STOP", "sentinel-node")
		s.until("the watchdog restarts it", patience, func() bool { pid := s.pidOf(s.node1); return pid != before && pid != "0" })
		seen := fmt.Sprintf("restarted by the watchdog after %.1f s", time.Since(at).Seconds())
		s.back("node1")
		s.quietSince(begin)
		return seen
	})
	s.timed("power off while it hangs", func() string {
		seen := s.goesDown(s.node1, "poweroff", func() {
			s.exec(s.node1, "systemctl", "kill", "--signal=STOP", "sentinel-node")
			s.command(s.node1, "systemctl", "poweroff")()
		})
		s.on(s.node1)
		s.back("node1")
		s.quietSince(begin)
		return seen
	})
}

// deadAgent is a shutdown with no agent to announce it: sentinel-announce does.
func (s *story) deadAgent() {
	s.timed("power off with the agent dead", func() string {
		seen := s.goesDown(s.node1, "poweroff", s.command(s.node1, "sh", "-c", "systemctl kill --signal=KILL sentinel-node; systemctl poweroff"))
		s.on(s.node1)
		s.back("node1")
		return seen
	})
}

func (s *story) pidOf(g *guest.Guest) string {
	out, _ := s.try(g, "systemctl", "show", "-P", "MainPID", "sentinel-node") // "" is no process's
	return strings.TrimSpace(out)
}

// mains is a short power cut: U2's incident after 5 s, and U4's end of it, without a call.
func (s *story) mains() {
	var outage incident
	calls := len(s.out.placed())
	s.timed("mains gone at the UPS (U2)", func() string {
		at := time.Now()
		s.ups("unplug")
		s.await("on battery", patience, func(v *status) bool { return v.Sites[0].UPSes[0].OnBattery })
		known := time.Since(at)
		v := s.await("a power outage", patience, func(v *status) bool { _, ok := v.open("power_outage"); return ok })
		outage, _ = v.open("power_outage")
		return fmt.Sprintf("the brain knows after %.1f s, %s after %.1f s", known.Seconds(), outage.ID, time.Since(at).Seconds())
	})
	s.timed("mains back (U4)", func() string {
		s.ups("plug")
		v := s.await("the end of the outage", patience, func(v *status) bool { return !v.incident(outage.ID).Open })
		s.calls(calls)
		return v.incident(outage.ID).Outcome
	})
}

// withoutLogind is a machine like an unprivileged container: no logind, and a root that is
// none on the host.
func (s *story) withoutLogind() {
	s.timed("power off without logind, unprivileged", func() string {
		s.on(s.box)
		s.back("box")
		return s.goesDown(s.box, "poweroff", s.command(s.box, "systemctl", "poweroff"))
	})
}

// noCapabilities is the proof that an agent in its sandbox may switch its host off.
func (s *story) noCapabilities() {
	s.timed("power off from the agent's sandbox", func() string {
		unit := s.exec(s.node1, "systemctl", "cat", "sentinel-node")
		args := []string{"systemd-run", "--no-block", "--collect"}
		for _, p := range sandbox(unit) {
			args = append(args, "-p", p)
		}
		args = append(args, "busctl", "call", "org.freedesktop.login1", "/org/freedesktop/login1", "org.freedesktop.login1.Manager", "PowerOff", "b", "false")
		seen := s.goesDown(s.node1, "poweroff", s.command(s.node1, args...))
		s.on(s.node1)
		s.back("node1")
		return seen
	})
}

// sandbox are a unit's properties that take something away from its program.
func sandbox(unit string) []string {
	var all []string
	for line := range strings.Lines(unit) {
		key, _, ok := strings.Cut(line, "=")
		for _, prefix := range []string{"CapabilityBoundingSet", "NoNewPrivileges", "Private", "Protect", "Restrict", "LockPersonality",
			"MemoryDeny", "RemoveIPC", "SystemCall", "UMask"} {
			if ok && strings.HasPrefix(key, prefix) && key != "RestartSec" {
				all = append(all, strings.TrimSpace(line))
			}
		}
	}
	return all
}

// otherPath is rule H10: a node that only the Pi hears is up.
func (s *story) otherPath() {
	s.timed("node1's tailscaled stopped (H10)", func() string {
		at := time.Now()
		s.exec(s.node1, "systemctl", "stop", "tailscaled")
		s.await("22 s through the Pi", patience, func(v *status) bool { return time.Since(at) > 22*time.Second && v.up(time.Now().Add(-beat), "node1") })
		s.quietSince(at)
		s.exec(s.node1, "systemctl", "start", "tailscaled")
		return "still up through the Pi, no call"
	})
}
