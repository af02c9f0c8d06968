package brain

import (
	"context"
	"net"
	"net/http"
	"time"

	"sentinel.home.arpa/shared/daemon"
)

// machine is what a brain takes from the machine that it runs on. Tests put a world of
// their own in its place.
type machine struct {
	sinceBoot func() time.Duration // CLOCK_BOOTTIME
	wall      func() time.Time
	listen    func(network, addr string) (net.Listener, error)
	dial      func(ctx context.Context, network, addr string) (net.Conn, error)
	phone     http.RoundTripper // the way to Twilio; nil: its adapter's own
	hooks     http.RoundTripper // the way to webhooks and services that take notices; nil: their adapter's own
	outside   http.RoundTripper // the way to who watches the brain from outside; nil: the standard one
}

func thisMachine() machine {
	return machine{sinceBoot: daemon.BootTime, wall: time.Now, listen: net.Listen, dial: (&net.Dialer{}).DialContext}
}
