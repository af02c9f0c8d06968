package home

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"sentinel.home.arpa/deploy/lab/internal/link"
	"sentinel.home.arpa/shared/sim/tailnetsim"
	"sentinel.home.arpa/shared/tailnet"
)

const (
	tagBrain  = "tag:sentinel-brain"
	brainName = "sentinel"
	// controlLink is the home's way to the tailnet's control server.
	controlLink = "control"
)

// overlay is the tailnet on which the programs meet, in the lab's own process, and the
// lab's own machine on it, which looks at the brain's page.
//
// Its relay stands in for the internet. The programs are told to use it alone
// (TS_DEBUG_ALWAYS_USE_DERP), each by a link of its own, so that a link which is cut
// cuts all of a machine's tailnet: what lives as well as what begins.
type overlay struct {
	sim    *tailnetsim.Tailnet
	viewer *tailnet.Node
	brain  string // the brain's address and port
	page   *http.Server
}

// buildTailnet makes the agent that is a machine of the tailnet by itself in the place of
// the plain one.
func (h *Home) buildTailnet(ctx context.Context) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-tags", "tsnet", "-o", h.bin("node-hook"), "sentinel.home.arpa/node-hook")
	cmd.Stderr = os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("build node-hook with its own tailnet: %w", err)
	}
	return nil
}

// layTailnet starts the tailnet and lays each machine's link to its relay.
func (h *Home) layTailnet() error {
	o := &overlay{}
	h.overlay = o
	var err error
	if o.sim, err = tailnetsim.Open(tailnetsim.Config{Relay: h.wayToRelay}); err != nil {
		return err
	}
	for _, who := range append(h.agents(), h.pis()...) {
		if h.links[who], err = link.Open(o.sim.RelayAddr()); err != nil {
			return err
		}
	}
	u, err := url.Parse(o.sim.URL())
	if err != nil {
		return err
	}
	if h.links[controlLink], err = link.Open(u.Host); err != nil {
		return err
	}
	o.viewer = tailnet.New(tailnet.Config{Hostname: "lab", Dir: filepath.Join(h.dir, "lab"), ControlURL: o.sim.URL(),
		Logger: slog.New(slog.NewTextHandler(h.opts.Log, nil))})
	h.wg.Go(func() { _ = o.viewer.Run(h.ctx) }) // it never fails
	return nil
}

// wayToRelay is the address of a machine's link to the relay; "" for those that do not
// stand in the home.
func (h *Home) wayToRelay(hostname string) string {
	if l := h.links[hostname]; l != nil {
		return l.Addr()
	}
	return ""
}

// awaitBrain waits until the brain is a machine of the tailnet, since one that comes last
// costs the others seconds, and then shows its page.
func (h *Home) awaitBrain(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyWithin)
	defer cancel()
	err := h.await(ctx, func() bool {
		peers, err := h.overlay.viewer.PeersTagged(ctx, tagBrain)
		if err != nil || len(peers) == 0 {
			return false
		}
		h.overlay.brain = net.JoinHostPort(peers[0].Addr.String(), "80")
		return true
	})
	if err != nil {
		return fmt.Errorf("the brain is not on the tailnet: %w", err)
	}
	return h.servePage()
}

// servePage shows the brain's page as the lab's machine sees it over the tailnet. Who
// presses a button there is the operator, who sits at the brain's control socket.
func (h *Home) servePage() error {
	ln, err := net.Listen("tcp", h.page)
	if err != nil {
		return err
	}
	forward := func(dial func(ctx context.Context, network, addr string) (net.Conn, error)) http.Handler {
		return &httputil.ReverseProxy{FlushInterval: -1, Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true},
			Rewrite: func(r *httputil.ProxyRequest) {
				r.SetURL(&url.URL{Scheme: "http", Host: brainName})
				r.Out.Host = r.In.Host
			},
			ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug)}
	}
	look := forward(func(ctx context.Context, _, _ string) (net.Conn, error) {
		return h.overlay.viewer.Dial(ctx, "tcp", h.overlay.brain)
	})
	press := forward(func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", h.brainSocket())
	})
	h.overlay.page = &http.Server{ReadHeaderTimeout: 5 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet || r.Method == http.MethodHead {
			look.ServeHTTP(w, r)
			return
		}
		press.ServeHTTP(w, r)
	})}
	h.wg.Go(func() {
		if err := h.overlay.page.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
			h.say("lab", err.Error())
		}
	})
	return nil
}

// close ends the tailnet; the machines on it have ended.
func (o *overlay) close() {
	if o.page != nil {
		_ = o.page.Close() // who looked has seen it
	}
	if o.sim != nil {
		o.sim.Close()
	}
}

// onTailnet is how a program is told to join, and by which name.
func (h *Home) onTailnet(hostname, control string) string {
	return fmt.Sprintf("tailnet: {hostname: %s, control_url: %q}\n", hostname, control)
}

// controlURL is the control server as machines in the home reach it.
func (h *Home) controlURL() string { return "http://" + h.links[controlLink].Addr() }
