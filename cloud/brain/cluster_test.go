package brain

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"sentinel.home.arpa/shared/config"
	"sentinel.home.arpa/shared/courier"
	"sentinel.home.arpa/shared/sim/pvesim"
	"sentinel.home.arpa/shared/wire"
)

const (
	pveToken  = "sentinel@pve!shutdown"
	pveSecret = "0f5c9a1e-1111-4222-8333-444455556666"
)

// cluster is a simulated Proxmox cluster in the house, reached through the Pi, and what
// its edge saw.
type cluster struct {
	*pvesim.Cluster
	h *home

	mu       sync.Mutex
	commands []command
}

// command is one that left for a guest or node.
type command struct {
	at   time.Time
	what string // node, method and the end of the path
}

// withPlan gives the house a cluster of three nodes and nine guests, and the brain a plan
// for it: guests, then pve2 and pve3, then pve1.
func (h *home) withPlan(change ...func(*pvesim.Config)) *cluster {
	c := &cluster{h: h}
	cfg := pvesim.Config{TokenID: pveToken, Secret: pveSecret, Edge: c.saw}
	for i := range 3 {
		n := pvesim.NodeConfig{Name: fmt.Sprintf("pve%d", i+1)}
		addr := fmt.Sprintf("192.168.77.1%d:8006", i+1)
		n.Listen = func() (net.Listener, error) { return h.net.listen("tcp", addr) }
		for g := range 3 {
			n.Guests = append(n.Guests, pvesim.Guest{VMID: 100*(i+1) + g, Name: fmt.Sprintf("vm%d", 100*(i+1)+g), Type: pvesim.QEMU, Running: true, StopTakes: 5 * time.Second})
		}
		cfg.Nodes = append(cfg.Nodes, n)
	}
	for _, f := range change {
		f(&cfg)
	}
	var err error
	if c.Cluster, err = pvesim.New(cfg); err != nil {
		h.Fatal(err)
	}
	c.OnDown(func(node string) { h.nodes[node].kill() })
	machine := func(i int) map[string]Machine {
		name := fmt.Sprintf("pve%d", i)
		return map[string]Machine{name: {API: c.URL(name), Fingerprint: c.Fingerprint(name)}}
	}
	both := machine(2)
	both["pve3"] = machine(3)["pve3"]
	h.cfg.Plan = Plan{{Guests: &Guests{All: true}, Deadline: config.Duration(3 * time.Minute)},
		{Nodes: both, Deadline: config.Duration(2 * time.Minute)}, {Nodes: machine(1), Deadline: config.Duration(2 * time.Minute)}}
	h.away = append(h.away, func() { _ = c.Close() })
	h.relay()
	return c
}

func (c *cluster) saw(x pvesim.Exchange) {
	if x.Method != http.MethodPost {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	path := strings.TrimPrefix(x.Path, "/api2/json/nodes/"+x.Node)
	c.commands = append(c.commands, command{x.At, x.Node + " " + path})
}

// told are the commands so far.
func (c *cluster) told() []command {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]command(nil), c.commands...)
}

// shut are those that shut something down.
func (c *cluster) shut() []command {
	return slices.DeleteFunc(c.told(), func(x command) bool { return strings.HasSuffix(x.what, "/status/start") })
}

func (c *cluster) count(what string) int {
	n := 0
	for _, t := range c.told() {
		if strings.Contains(t.what, what) {
			n++
		}
	}
	return n
}

// relay is the Pi's CONNECT, for the brain alone.
func (h *home) relay() {
	ln, err := h.net.listen("tcp", relayAddr)
	if err != nil {
		h.Fatal(err)
	}
	var done sync.WaitGroup
	done.Go(func() {
		for {
			near, err := ln.Accept()
			if err != nil {
				return
			}
			done.Go(func() { h.tunnel(near) })
		}
	})
	h.away = append(h.away, func() { _ = ln.Close(); h.net.cut(relayAddr); done.Wait() })
}

func (h *home) tunnel(near net.Conn) {
	defer near.Close()
	buffered := bufio.NewReader(near)
	r, err := http.ReadRequest(buffered)
	if err != nil {
		return
	}
	c, err := courier.ReadConnect(r.Header.Get("Proxy-Authorization"), h.brainKey())
	if err != nil || c.Pi != "pi" || c.Addr != r.Host {
		h.Errorf("the brain asked for %s with %+v: %v", r.Host, c, err)
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 1500*time.Millisecond) // as the relay has it
	defer cancel()
	far, err := h.net.dial(ctx, "tcp", r.Host)
	if err != nil {
		_, _ = io.WriteString(near, "HTTP/1.1 502 Bad Gateway\r\nSentinel-Target: closed\r\nContent-Length: 0\r\n\r\n")
		return
	}
	if _, err := io.WriteString(near, "HTTP/1.1 200 Connection established\r\n\r\n"); err != nil {
		_ = far.Close()
		return
	}
	var both sync.WaitGroup
	pipe := func(to, from net.Conn, r io.Reader) {
		_, _ = io.Copy(to, r) // how it ends is its ends' business
		_ = errors.Join(to.Close(), from.Close())
	}
	both.Go(func() { pipe(far, near, buffered) })
	both.Go(func() { pipe(near, far, far) })
	both.Wait()
}

// brainKey is the brain's key as the Pi heard it.
func (h *home) brainKey() wire.PublicKey {
	if a := h.pi.answer(); a != nil {
		return a.BrainKey
	}
	return ""
}
