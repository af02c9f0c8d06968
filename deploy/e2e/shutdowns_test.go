//go:build e2e

package e2e

import (
	"cmp"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"sentinel.home.arpa/deploy/e2e/internal/guest"
	"sentinel.home.arpa/deploy/e2e/internal/layers"
	"sentinel.home.arpa/deploy/e2e/internal/network"
)

// manager is a way to bring a network up, each of which takes it away differently.
type manager struct {
	name     string
	base     layers.Base
	packages []string
	files    func(addr string) []guest.File
}

func managers() []manager {
	onNetworkd := func(addr string) []guest.File { return static(addr, routerLAN) }
	byDHCP := func(string) []guest.File { return dhcp() }
	return []manager{
		{"networkd", layers.Bookworm(), nil, onNetworkd},
		{"netd-dhcp", layers.Bookworm(), nil, byDHCP},
		{"ifupdown", layers.Bookworm(), []string{"ifupdown"}, ifupdown},
		{"ifupdown2", layers.Bookworm(), []string{"ifupdown2"}, ifupdown},
		{"nm", layers.Bookworm(), []string{"network-manager"}, networkManager},
		{"netd257", layers.Trixie(), nil, onNetworkd},
		{"netd257-dhcp", layers.Trixie(), nil, byDHCP},
	}
}

func networkManager(addr string) []guest.File {
	return []guest.File{{Path: "/etc/NetworkManager/system-connections/host0.nmconnection", Mode: 0o600, Text: fmt.Sprintf(
		"[connection]\nid=host0\ntype=ethernet\ninterface-name=host0\n\n[ipv4]\nmethod=manual\naddress1=%s/24,%s\n\n[ipv6]\nmethod=disabled\n", addr, routerLAN)}}
}

// shutdown is how one went. Times are of the wire, in milliseconds.
type shutdown struct {
	announced, acknowledged bool
	toPost, toAnswer        float64 // from the command, and from the POST
	toLinkDown              float64 // from the POST; 0: the link was not seen to go
}

// forced is a power off of which nobody is told: the network goes with the agent, so its
// announcement is best effort.
const forced = "--force"

// TestShutdowns powers off and reboots machines of each network manager, many times with
// SENTINEL_E2E_SHUTDOWNS, and wants every one announced and acknowledged (rules A1, A2). The last
// machine goes by the plan in the end, by an order that the Pi lends: none here reaches the brain.
func TestShutdowns(t *testing.T) {
	times := 2
	if text := os.Getenv("SENTINEL_E2E_SHUTDOWNS"); text != "" {
		var err error
		if times, err = strconv.Atoi(text); err != nil {
			t.Fatalf("SENTINEL_E2E_SHUTDOWNS: %v", err)
		}
	}
	h := openHouse(t)
	nodes := map[string]*guest.Guest{}
	ordered := managers()[len(managers())-1].name
	h.timed("layers", func() string {
		h.router = h.newRouter()
		h.pi = h.newPi()
		var known []string
		for i, m := range managers() {
			key := h.key(m.name, "/var/lib/sentinel-node")
			files := append(m.files(fmt.Sprintf("10.77.0.%d", 20+i)), h.agent("sentinel-node", h.throughPi())...)
			nodes[m.name] = h.machine(guest.Spec{Name: m.name, Lower: h.lower(m.base, m.packages...), Bridge: network.LAN, Files: append(files, key)})
			known = append(known, h.known(m.name))
		}
		h.cloud = h.newCloud("plan: [{hosts: ["+ordered+"], deadline: 1m}]\n", known...)
		return "unpacked"
	})
	h.timed("house", func() string {
		h.on(h.router)
		h.connect()
		h.on(h.cloud)
		h.on(h.pi)
		h.back("pi")
		return "on"
	})
	var table []string
	for _, m := range managers() {
		g := nodes[m.name]
		h.on(g)
		h.back(m.name)
		h.hears()
		for _, kind := range []string{"poweroff", "reboot", forced} {
			var all []shutdown
			h.timed(m.name+" "+kind, func() string {
				for range times {
					all = append(all, h.shutdown(g, kind))
				}
				return fmt.Sprintf("%d times", times)
			})
			table = append(table, row(m.name, kind, all))
			if kind != forced && slices.ContainsFunc(all, func(s shutdown) bool { return !s.acknowledged }) {
				t.Errorf("%s: not every %s was announced and acknowledged", m.name, kind)
			}
		}
		if m.name == ordered {
			h.timed(m.name+" as ordered (H10)", func() string {
				h.exec(h.cloud, "sentinel-cloud", "plan", "arm")
				return h.obeys(g, func() { h.ups("unplug") })
			})
			continue
		}
		if err := g.PowerCut(h.ctx); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("median [max] in ms\n%-13s %-9s %-10s %-10s %-16s %-16s %s\n%s", "network", "kind", "announced", "acked",
		"command-POST", "POST-answer", "POST-link down", strings.Join(table, "\n"))
}

// shutdown does one, and brings the machine back.
func (h *house) shutdown(g *guest.Guest, kind string) shutdown {
	h.t.Helper()
	from, boots, begin := h.address(g), g.Boots(), time.Now()
	command := []string{"systemctl", kind}
	if kind == forced {
		kind, command = "poweroff", []string{"systemctl", forced, "poweroff"}
	}
	_, _ = h.try(g, command...) // the machine may be gone before it answers
	var s shutdown
	over := make(chan struct{})
	go func() { // ends when the machine does, or with the test
		defer close(over)
		tick := time.NewTicker(poll)
		defer tick.Stop()
		for !gone(g, boots) && h.ctx.Err() == nil {
			<-tick.C
		}
	}()
	a, ok := h.announcedWithin(from, begin, announceWithin, over)
	h.until(g.Name+" goes down", patience, func() bool { return gone(g, boots) })
	s.announced, s.acknowledged = !a.At.IsZero(), ok
	if ok {
		s.toPost, s.toAnswer = ms(a.At.Sub(begin)), ms(a.Answered.Sub(a.At))
		h.until("the end of its link", patience, func() bool { _, ok := h.tap.Lost(g.Port(), begin); return ok })
		at, _ := h.tap.Lost(g.Port(), begin)
		s.toLinkDown = ms(at.Sub(a.At))
		h.await(g.Name+" announced its "+kind, patience, func(s *status) bool { return s.said(begin, g.Name+" announced its "+kind) })
	}
	if kind == "poweroff" {
		<-g.Off()
		h.on(g)
	} else {
		h.ready(g)
	}
	h.back(g.Name)
	return s
}

// gone tells whether this boot of the machine is over.
func gone(g *guest.Guest, boots int) bool {
	select {
	case <-g.Off():
		return true
	default:
		return g.Boots() > boots
	}
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func row(name, kind string, all []shutdown) string {
	announced, acknowledged := 0, 0
	var post, answer, down []float64
	for _, s := range all {
		if s.announced {
			announced++
		}
		if s.acknowledged {
			acknowledged++
			post, answer, down = append(post, s.toPost), append(answer, s.toAnswer), append(down, s.toLinkDown)
		}
	}
	return fmt.Sprintf("%-13s %-9s %-10s %-10s %-16s %-16s %s", name, kind, fmt.Sprintf("%d of %d", announced, len(all)),
		fmt.Sprintf("%d of %d", acknowledged, len(all)), spread(post), spread(answer), spread(down))
}

// spread is the median and the maximum.
func spread(all []float64) string {
	if len(all) == 0 {
		return "-"
	}
	slices.SortFunc(all, cmp.Compare[float64])
	return fmt.Sprintf("%.0f [%.0f]", all[len(all)/2], all[len(all)-1])
}
