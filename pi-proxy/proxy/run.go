package proxy

import (
	"context"
	"fmt"
	"net"
	"net/http"

	"sentinel.home.arpa/shared/courier"
	"sentinel.home.arpa/shared/daemon"
)

// Run serves until the context ends. The UPS, the LAN and the guardian never wait for a
// network beyond the house.
func (p *Proxy) Run(ctx context.Context) error {
	defer p.ledger.Close()
	defer p.client.Close()
	defer p.record.Close()
	ln, err := net.Listen("tcp", p.cfg.LAN.Listen)
	if err != nil {
		return fmt.Errorf("listen on the LAN: %w", err)
	}
	p.log.Info("starting", "name", p.cfg.Name, "key", p.key.PublicKey(), "lan", ln.Addr(), "version", daemon.Version())
	tasks := []daemon.Task{
		{Name: "guardian", Run: p.guard.loop},
		{Name: "end", Run: p.end.run},
		{Name: "machines", Run: p.end.watch},
		{Name: "heartbeat", Run: p.beat},
		{Name: "forward", Run: p.forward},
		{Name: "strangers", Run: p.askAll},
		{Name: "bundles", Run: p.storeBundles},
		{Name: "seen", Run: p.remember},
		{Name: "names", Run: p.learnNames},
		{Name: "record", Run: p.record.Run},
		{Name: "nodes", Run: p.noteNodes},
		{Name: "deliver", Run: p.deliver},
		{Name: "outside", Run: p.outside.loop},
		{Name: "calls", Run: p.outside.store},
		{Name: "other Pis", Run: p.exchange.run},
		{Name: "lan", Run: func(ctx context.Context) error { return daemon.Serve(ctx, ln, p.lanRoutes(), "lan") }},
	}
	for i, u := range p.pollers {
		tasks = append(tasks, daemon.Task{Name: "ups " + p.cfg.UPS[i].Name, Run: u.Run},
			daemon.Task{Name: "report " + p.cfg.UPS[i].Name, Run: func(ctx context.Context) error { return p.reportUPS(ctx, p.latest[i]) }})
	}
	served := make(chan struct{})
	// The tailnet goes last: listeners, connections and last words die with it.
	on, off := context.WithCancel(context.WithoutCancel(ctx))
	defer off()
	if p.tailnet != nil {
		tasks = append(tasks, daemon.Task{Name: "tailnet", Run: func(context.Context) error { return p.tailnet.Run(on) }},
			daemon.Task{Name: "reach", Run: p.outside.reach.Run},
			daemon.Task{Name: "tailnet relay", Run: func(ctx context.Context) error { defer close(served); return p.serveTailnet(ctx) }})
	} else {
		close(served)
	}
	tasks = append(tasks, daemon.Task{Name: "farewell", Run: func(failed context.Context) error {
		defer off()
		<-failed.Done()
		p.farewell(ctx)
		<-served
		return nil
	}})
	if control, err := daemon.ControlSocket(p.cfg.ControlSocket, 0o600); err != nil {
		p.log.Warn("no control socket, so apcupsd's events do not reach this Pi", "err", err)
	} else {
		tasks = append(tasks, daemon.Task{Name: "control", Run: func(ctx context.Context) error {
			return daemon.Serve(ctx, control, p.controlRoutes(), "control")
		}})
	}
	p.notifier.Ready()
	err = daemon.Run(ctx, tasks...)
	p.notifier.Stopping()
	p.relay.Wait()
	p.saveSeen()
	return err
}

// lanRoutes are the nodes'. Without a tailnet the brain comes this way too.
func (p *Proxy) lanRoutes() http.Handler {
	mux := http.NewServeMux()
	p.lan.Register(mux)
	p.exchange.heard.Register(mux)
	if p.tailnet != nil {
		return courier.JSONErrors(mux)
	}
	return orConnect(courier.JSONErrors(mux), p.relay)
}

// orConnect serves CONNECT beside ordinary routes; a mux would not match its target.
func orConnect(routes, connect http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodConnect {
			connect.ServeHTTP(w, r)
			return
		}
		routes.ServeHTTP(w, r)
	})
}

func (p *Proxy) serveTailnet(ctx context.Context) error {
	ln, err := p.tailnet.Listen(ctx, piPort)
	if err != nil {
		return fmt.Errorf("listen on the tailnet: %w", err)
	}
	mux := http.NewServeMux()
	p.lan.Register(mux)
	p.metrics.register(mux)
	return daemon.Serve(ctx, ln, orConnect(courier.JSONErrors(mux), p.relay), "tailnet relay")
}

// controlRoutes are apcupsd's hooks and the operator's.
func (p *Proxy) controlRoutes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /event/{name}", func(w http.ResponseWriter, r *http.Request) {
		p.log.Info("apcupsd event", "event", r.PathValue("name"))
		p.poke()
		if r.PathValue("name") == doShutdown {
			p.serveTrip(w, r)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	})
	mux.HandleFunc("GET /status", p.outside.serveStatus)
	mux.HandleFunc("GET /doctor", p.serveHeld)
	mux.Handle("GET /healthz", p.health.LiveHandler())
	p.metrics.register(mux)
	return courier.JSONErrors(mux)
}
