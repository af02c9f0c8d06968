package home

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"sentinel.home.arpa/deploy/lab/internal/edge"
	"sentinel.home.arpa/deploy/lab/internal/link"
	"sentinel.home.arpa/shared/sim/hooksim"
	"sentinel.home.arpa/shared/sim/pvesim"
)

// machine is how a Proxmox node is reached.
type machine struct{ url, fingerprint string }

func (h *Home) startProxmox() error {
	h.pve = map[string]machine{}
	if h.opts.PVE != "" {
		return h.foreignProxmox()
	}
	cfg := pvesim.Config{TokenID: h.opts.ProxmoxToken, Secret: h.opts.ProxmoxSecret, RebootTakes: h.opts.RebootTakes, Edge: h.proxmoxAsked}
	names := []string{"mail", "nas", "git", "home", "dns", "media", "wiki", "backup", "web", "chat", "photos", "build"}
	next := 0
	for i, n := range h.opts.Nodes {
		node := pvesim.NodeConfig{Name: n}
		if h.opts.Gated {
			addr, err := freeAddr(anyAddr)
			if err != nil {
				return err
			}
			glass, err := link.NewGlass(n, addr, func(hello link.Hello) link.Tap { return h.command(n, hello) })
			if err != nil {
				return err
			}
			node.Listen = glass.Listen
			h.pve[n] = machine{fingerprint: glass.Fingerprint()}
		}
		for j := range (h.opts.Guests - next + len(h.opts.Nodes) - i - 1) / (len(h.opts.Nodes) - i) {
			kind := pvesim.QEMU
			if j == 2 {
				kind = pvesim.LXC
			}
			node.Guests = append(node.Guests, pvesim.Guest{VMID: firstGuest + next, Name: names[next], Type: kind, Running: true, OnBoot: true,
				StopTakes: time.Duration(2+j) * time.Second})
			next++
		}
		cfg.Nodes = append(cfg.Nodes, node)
	}
	var err error
	if h.cluster, err = pvesim.New(cfg); err != nil {
		return err
	}
	for _, n := range h.opts.Nodes {
		m := machine{h.cluster.URL(n), h.cluster.Fingerprint(n)}
		if seen := h.pve[n].fingerprint; seen != "" {
			m.fingerprint = seen
		}
		h.pve[n] = m
	}
	h.cluster.OnStopping(h.nodeStopping)
	h.cluster.OnDown(h.nodeDown)
	h.cluster.OnUp(h.nodeUp)
	return nil
}

// proxmoxAsked records a request, and of a command how many guests still run.
func (h *Home) proxmoxAsked(x pvesim.Exchange) {
	e := edge.Entry{Edge: edge.PVE, Node: x.Node, Method: x.Method, Path: x.Path, Body: x.Body, Status: x.Status, Answer: x.Answer}
	if x.Method != "GET" {
		e.What = fmt.Sprintf("%d guests run", h.GuestsRun())
	}
	h.rec.Add(x.At, e)
}

// GuestsRun is how many guests of the simulated cluster run.
func (h *Home) GuestsRun() int {
	run := 0
	for id := firstGuest; id < firstGuest+h.opts.Guests; id++ {
		if g, ok := h.cluster.Guest(id); ok && g.Running {
			run++
		}
	}
	return run
}

// firstGuest is the lowest VM id; the others follow.
const firstGuest = 100

// foreignProxmox takes somebody else's simulator and pins the certificate it shows now.
func (h *Home) foreignProxmox() error {
	u, err := url.Parse(h.opts.PVE)
	if err != nil || u.Scheme != "https" || u.Host == "" {
		return fmt.Errorf("-pve %q: must be https://host:port", h.opts.PVE)
	}
	ctx, cancel := context.WithTimeout(h.ctx, 5*time.Second)
	defer cancel()
	var leaf []byte
	// The certificate is only read here; every program then verifies it by this pin.
	d := tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true, VerifyConnection: func(s tls.ConnectionState) error {
		leaf = s.PeerCertificates[0].Raw
		return nil
	}}}
	conn, err := d.DialContext(ctx, "tcp", u.Host)
	if err != nil {
		return fmt.Errorf("read the certificate of %s: %w", u.Host, err)
	}
	sum := sha256.Sum256(leaf)
	print := strings.ToUpper(hex.EncodeToString(sum[:]))
	var pairs []string
	for i := 0; i < len(print); i += 2 {
		pairs = append(pairs, print[i:i+2])
	}
	for _, n := range h.opts.Nodes {
		h.pve[n] = machine{h.opts.PVE, strings.Join(pairs, ":")}
	}
	return conn.Close()
}

// startNtfy is where the notices arrive.
func (h *Home) startNtfy() error {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	h.ntfy = ln.Addr().String()
	server := &http.Server{ReadHeaderTimeout: 5 * time.Second, Handler: &hooksim.Receiver{Told: func(g hooksim.Got) {
		h.rec.Add(g.At, edge.Entry{Edge: edge.Ntfy, Path: g.Path, Status: g.Status, What: g.Title, Body: g.Body})
		h.say("ntfy", fmt.Sprintf("told %s: %s", person, g.Body))
	}}}
	h.wg.Go(func() { <-h.ctx.Done(); server.Close() })
	h.wg.Go(func() {
		if err := server.Serve(ln); err != nil && !errors.Is(err, http.ErrServerClosed) {
			h.say("ntfy", "stopped: "+err.Error())
		}
	})
	return nil
}
