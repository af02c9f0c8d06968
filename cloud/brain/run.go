package brain

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/http"

	"sentinel.home.arpa/cloud/internal/ingest"
	"sentinel.home.arpa/cloud/internal/web"
	"sentinel.home.arpa/shared/courier"
	"sentinel.home.arpa/shared/daemon"
	"sentinel.home.arpa/shared/wire"
)

// Run serves until the context ends. Nothing waits for the network: the loop, and with
// it READY=1, comes first.
func (b *Brain) Run(ctx context.Context) error {
	defer b.Close()
	b.log.Info("starting", "name", b.cfg().Name, "key", b.key.PublicKey(), "version", b.version)
	mux, err := b.routes()
	if err != nil {
		return err
	}
	routes := courier.JSONErrors(mux)
	tasks := []daemon.Task{{Name: "loop", Run: b.loop}, {Name: "uplink", Run: b.uplink.Run}}
	tasks = append(tasks, daemon.Task{Name: "deadman", Run: b.watched})
	if b.reload != nil {
		tasks = append(tasks, daemon.Task{Name: "reload", Run: b.reloads})
	}
	serve := func(name string, listen func(ctx context.Context) (net.Listener, error), h http.Handler) daemon.Task {
		return daemon.Task{Name: name, Run: func(ctx context.Context) error {
			ln, err := listen(ctx)
			if err != nil {
				return fmt.Errorf("listen: %w", err)
			}
			return daemon.Serve(ctx, ln, h, name, ingest.PerConnection)
		}}
	}
	if b.tailnet == nil {
		tasks = append(tasks, serve("http", func(context.Context) (net.Listener, error) { return b.machine.listen("tcp", b.cfg().Listen) }, routes))
	} else {
		// The tailnet goes last: listeners and connections die with it.
		on, off := context.WithCancel(context.WithoutCancel(ctx))
		defer off()
		pages := serve("http", func(ctx context.Context) (net.Listener, error) { return b.tailnet.Listen(ctx, ":80") }, routes)
		tasks = append(tasks, daemon.Task{Name: "keys", Run: b.nodeKeys().Run}, daemon.Task{Name: "reach", Run: b.reach.Run},
			daemon.Task{Name: "tailnet", Run: func(context.Context) error { return b.tailnet.Run(on) }},
			daemon.Task{Name: pages.Name, Run: func(ctx context.Context) error { defer off(); return pages.Run(ctx) }})
	}
	if pad := b.cfg().Calls.Keypad; pad.on() {
		if err := b.haveKeypad(ctx); err != nil { // before the loop takes up calls that were placed with keys
			return err
		}
		tasks = append(tasks, daemon.Task{Name: "keypad", Run: b.serveKeys})
	}
	if ln, err := daemon.ControlSocket(b.cfg().ControlSocket, 0o600); err != nil {
		b.log.Warn("no control socket, so the command line cannot reach this brain", "err", err)
	} else {
		tasks = append(tasks, serve("control", func(context.Context) (net.Listener, error) { return ln, nil }, asAdmin(routes)))
	}
	err = daemon.Run(ctx, tasks...)
	b.notifier.Stopping()
	b.wg.Wait()
	b.ways.Wait()
	b.caller.Wait()
	b.outbox.Wait()
	for _, s := range b.set.Load().senders {
		if s, ok := s.(interface{ Wait() }); ok { // a library that knows no context
			s.Wait()
		}
	}
	return err
}

// routes are the programs' and the people's.
func (b *Brain) routes() (*http.ServeMux, error) {
	mux := http.NewServeMux()
	in := &ingest.Handler{Log: b.log, Key: b.key, Identities: b.identities, Table: b.table,
		Now: b.clock.Now, SinceBoot: b.machine.sinceBoot, Submit: b.submit, Self: b.header, Tell: b.tell, PiIs: b.piIs, Orders: b.desk,
		Refused: func(reason string) { b.metrics.refused.WithLabelValues(reason).Inc() }}
	b.remind(in)
	in.Register(mux)
	page, err := web.NewPage(b.page, b.log)
	if err != nil {
		return nil, err
	}
	page.Register(mux)
	mux.Handle("GET /healthz", b.health.LiveHandler())
	mux.Handle("GET /readyz", b.health.ReadyHandler())
	b.metrics.registry.MustRegister(newGauges(b.page))
	mux.Handle("GET /metrics", b.metrics.handler())
	b.buttons(mux)
	b.testRoutes(mux)
	b.planRoutes(mux)
	b.tryRoutes(mux)
	b.archiveRoutes(mux)
	mux.HandleFunc("GET /api/v1/digest", b.showDigest)
	return mux, nil
}

// remind tells the handler what the journal knows of messages that were taken. The loop,
// whose state it is, does not run yet.
func (b *Brain) remind(in *ingest.Handler) {
	for _, site := range b.state.Sites {
		b.whoLeft(site)
		for _, src := range site.Sources {
			for _, s := range src.Said {
				in.Remember(wire.KindAnnouncement, cmp.Or(src.CloneOf, src.Name), s.Boot, s.Seq)
			}
		}
		for _, u := range site.UPSes {
			for pi, shown := range u.Shown {
				for _, s := range shown {
					in.Remember(wire.KindUPS, pi, s.Boot, s.Seq)
				}
			}
		}
	}
}

func (b *Brain) page() *web.View {
	if v := b.view.Load(); v != nil {
		return v.page
	}
	return nil
}
