package embedded

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"time"

	"sentinel.home.arpa/shared/courier"
	"sentinel.home.arpa/shared/daemon"
)

// answersWithin is longer than any announcement waits for its answer.
const answersWithin = 5 * time.Second

// Forward takes announcements of other processes on a socket, which is root's, until ctx
// ends, and posts each to the brain that it is for. Without a socket the agent goes on.
func (n *Network) Forward(ctx context.Context, socket string, isBrain func(addr string) bool) error {
	ln, err := daemon.ControlSocket(socket, 0o600)
	if err != nil {
		n.log.Warn("no control socket, so the announce command reaches Pis alone", "err", err)
		return nil
	}
	return daemon.Serve(ctx, ln, n.routes(isBrain), "control")
}

func (n *Network) routes(isBrain func(addr string) bool) http.Handler {
	forward := &httputil.ReverseProxy{
		Transport: &http.Transport{DialContext: n.Dial, DisableKeepAlives: true, ResponseHeaderTimeout: answersWithin},
		Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(&url.URL{Scheme: "http", Host: r.In.Host}) },
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			courier.Fail(w, &courier.Fault{Status: http.StatusBadGateway, Err: err})
		},
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+courier.PathAnnounce, func(w http.ResponseWriter, r *http.Request) {
		if !isBrain(withPort(r.Host)) {
			courier.Fail(w, &courier.Fault{Status: http.StatusNotFound, Reason: "unknown", Err: errors.New("no brain is known at that address")})
			return
		}
		forward.ServeHTTP(w, r)
	})
	return courier.JSONErrors(mux)
}

// withPort gives an address of a URL the port that its scheme implies.
func withPort(host string) string {
	if _, _, err := net.SplitHostPort(host); err == nil {
		return host
	}
	return net.JoinHostPort(host, brainPort)
}
