package brain

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"

	"sentinel.home.arpa/cloud/internal/ingest"
	"sentinel.home.arpa/cloud/internal/sentinel"
	"sentinel.home.arpa/cloud/internal/web"
	"sentinel.home.arpa/shared/courier"
	"sentinel.home.arpa/shared/daemon"
	"sentinel.home.arpa/shared/wire"
)

// Run serves until the context ends. Nothing waits for the network: the loop, and with
// it READY=1, comes first.
func (b *Brain) Run(ctx context.Context) error {
	defer b.Close()
	b.log.Info("starting", "name", b.cfg.Name, "key", b.key.PublicKey(), "version", b.version)
	mux, err := b.routes()
	if err != nil {
		return err
	}
	routes := courier.JSONErrors(mux)
	tasks := []daemon.Task{{Name: "loop", Run: b.loop}, {Name: "uplink", Run: b.uplink.Run}}
	serve := func(name string, listen func(ctx context.Context) (net.Listener, error), h http.Handler) daemon.Task {
		return daemon.Task{Name: name, Run: func(ctx context.Context) error {
			ln, err := listen(ctx)
			if err != nil {
				return fmt.Errorf("listen: %w", err)
			}
			return daemon.Serve(ctx, ln, h, name)
		}}
	}
	if b.tailnet == nil {
		tasks = append(tasks, serve("http", func(context.Context) (net.Listener, error) { return b.machine.listen("tcp", b.cfg.Listen) }, routes))
	} else {
		// The tailnet goes last: listeners and connections die with it.
		on, off := context.WithCancel(context.WithoutCancel(ctx))
		defer off()
		pages := serve("http", func(ctx context.Context) (net.Listener, error) { return b.tailnet.Listen(ctx, ":80") }, routes)
		tasks = append(tasks, daemon.Task{Name: "keys", Run: b.nodeKeys().Run}, daemon.Task{Name: "tailnet", Run: func(context.Context) error { return b.tailnet.Run(on) }},
			daemon.Task{Name: pages.Name, Run: func(ctx context.Context) error { defer off(); return pages.Run(ctx) }})
	}
	if ln, err := daemon.ControlSocket(b.cfg.ControlSocket, 0o600); err != nil {
		b.log.Warn("no control socket, so the command line cannot reach this brain", "err", err)
	} else {
		tasks = append(tasks, serve("control", func(context.Context) (net.Listener, error) { return ln, nil }, asAdmin(routes)))
	}
	err = daemon.Run(ctx, tasks...)
	b.notifier.Stopping()
	b.wg.Wait()
	if b.caller != nil {
		b.caller.Wait()
	}
	return err
}

// routes are the programs' and the people's.
func (b *Brain) routes() (*http.ServeMux, error) {
	mux := http.NewServeMux()
	in := &ingest.Handler{Log: b.log, Key: b.key, Identities: b.identities, Table: b.table,
		Now: b.clock.Now, SinceBoot: b.machine.sinceBoot, Submit: b.submit, Self: b.header, Tell: b.tell, PiIs: b.piIs,
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
	mux.HandleFunc("POST /api/v1/plan/arm", b.button(func(ctx context.Context, r *http.Request) error {
		for _, s := range b.core.Sites {
			if err := b.lacking(s.Name); err != nil {
				return err
			}
		}
		return b.decideArming(ctx, func(site string) sentinel.Input { return sentinel.Arm{Site: site, By: "the operator"} })
	}))
	mux.HandleFunc("POST /api/v1/plan/disarm", b.button(func(ctx context.Context, r *http.Request) error {
		return b.decideArming(ctx, func(site string) sentinel.Input { return sentinel.Disarm{Site: site, By: "the operator"} })
	}))
	mux.HandleFunc("POST /api/v1/incidents/{id}/ack", b.button(func(ctx context.Context, r *http.Request) error {
		return b.acknowledge(ctx, r.PathValue("id"))
	}))
	mux.HandleFunc("POST /api/v1/nodes/{name}/approve", b.button(func(ctx context.Context, r *http.Request) error {
		q := r.URL.Query()
		return b.identities.Approve(ctx, ingest.Approval{Name: r.PathValue("name"), Key: wire.PublicKey(q.Get("key")), Site: q.Get("site"), By: "the operator"})
	}))
	return mux, nil
}

// remind tells the handler what the journal knows of messages that were taken. The loop,
// whose state it is, does not run yet.
func (b *Brain) remind(in *ingest.Handler) {
	for _, site := range b.state.Sites {
		for _, src := range site.Sources {
			for _, s := range src.Said {
				in.Remember(wire.KindAnnouncement, src.Name, s.Boot, s.Seq)
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

func (b *Brain) acknowledge(ctx context.Context, id string) error {
	if v := b.view.Load(); v != nil && !v.open[id] {
		return &courier.Fault{Status: http.StatusNotFound, Reason: "unknown", Err: fmt.Errorf("no incident %.80q is open", id)}
	}
	return b.submit(ctx, sentinel.Acknowledge{Incident: id, By: "the operator"})
}

func (b *Brain) page() *web.View {
	if v := b.view.Load(); v != nil {
		return v.page
	}
	return nil
}

// decideArming is a person's word on whether the plan is armed.
func (b *Brain) decideArming(ctx context.Context, in func(site string) sentinel.Input) error {
	if err := b.forEachSite(ctx, in); err != nil {
		return err
	}
	b.armingKnown()
	return nil
}

func (b *Brain) forEachSite(ctx context.Context, in func(site string) sentinel.Input) error {
	found := false
	for _, s := range b.core.Sites {
		if s.Plan == nil {
			continue
		}
		found = true
		if err := b.submit(ctx, in(s.Name)); err != nil {
			return err
		}
	}
	if !found {
		return &courier.Fault{Status: http.StatusConflict, Reason: "no-plan", Err: errNoPlan}
	}
	return nil
}

var errNoPlan = errors.New("there is no plan; add plan: to cloud.yaml")

// errOtherPage is for buttons that another site's page tried to press.
var errOtherPage = errors.New("this button may only be pressed on the sentinel's own page")

// errNotAdmin keeps buttons to the machine itself until roles come with the tailnet's grants.
var errNotAdmin = errors.New("only the machine that the brain runs on may press this")

// adminKey marks requests that came by the control socket, which is root's.
type adminKey struct{}

func asAdmin(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), adminKey{}, true)))
	})
}

// button is a change that a person makes: by the control socket, or from loopback and by
// a name that means it, never from another site's page, answered once it is on disk.
func (b *Brain) button(do func(ctx context.Context, r *http.Request) error) http.HandlerFunc {
	press := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), 2*appendWithin)
		defer cancel()
		err := do(ctx, r)
		var no *courier.Fault
		switch {
		case err == nil:
			w.WriteHeader(http.StatusNoContent)
		case errors.As(err, &no):
			courier.Fail(w, no)
		default:
			courier.Fail(w, &courier.Fault{Status: http.StatusServiceUnavailable, Reason: "busy", Err: err})
		}
	})
	guard := http.NewCrossOriginProtection()
	guard.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		b.metrics.refused.WithLabelValues("forbidden").Inc()
		courier.Fail(w, &courier.Fault{Status: http.StatusForbidden, Reason: "forbidden", Err: errOtherPage})
	}))
	protected := guard.Handler(press)
	return func(w http.ResponseWriter, r *http.Request) {
		no := &courier.Fault{Status: http.StatusForbidden, Reason: "forbidden"}
		switch {
		case r.Context().Value(adminKey{}) != nil: // root's socket has no name
		case !loopback(r.RemoteAddr):
			no.Err = errNotAdmin
		case !loopbackName(r.Host): // another site's name, made to point here
			no.Err, no.Hint = errOtherPage, "open the page by the address 127.0.0.1, or as localhost"
		}
		if no.Err != nil {
			b.metrics.refused.WithLabelValues("forbidden").Inc()
			courier.Fail(w, no)
			return
		}
		protected.ServeHTTP(w, r)
	}
}

// loopbackName reports whether a request's Host, with or without a port, can mean nothing
// but this machine.
func loopbackName(name string) bool {
	if host, _, err := net.SplitHostPort(name); err == nil {
		name = host
	}
	ip := net.ParseIP(strings.Trim(name, "[]"))
	return strings.EqualFold(name, "localhost") || ip != nil && ip.IsLoopback()
}
