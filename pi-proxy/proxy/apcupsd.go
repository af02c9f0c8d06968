package proxy

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"sentinel.home.arpa/pi-proxy/internal/guardian"
	"sentinel.home.arpa/shared/courier"
)

const (
	// doShutdown is the event by which apcupsd is about to shut the Pi down (rule G7).
	doShutdown = "doshutdown"
	// tripWithin bounds how long its script waits for the guardian, whose turn takes 3 s at
	// worst. Without a yes by then apcupsd goes on by itself.
	tripWithin = 5 * time.Second
	// tripAgain is how soon a Pi that is being restarted, or has not heard its UPS yet, is
	// asked again.
	tripAgain = 200 * time.Millisecond
)

var errNotAsked = errors.New("the guardian was not asked")

// trip hands apcupsd's word to the guardian. Without an error it sees to the Pi's end, and that
// is on disk: it must hold for a process that comes after this one.
func (g *guard) trip(ctx context.Context) error {
	answer := make(chan error, 1)
	refused := errNotAsked
	g.sendWithin(ctx, func(now time.Time) (es []guardian.Event) {
		es, refused = g.core.Trip(now)
		return es
	})
	g.sendWithin(ctx, func(time.Time) []guardian.Event {
		answer <- errors.Join(refused, g.untripped) // by now it was written, or not
		return nil
	})
	select {
	case err := <-answer:
		return err
	case <-ctx.Done():
		return fmt.Errorf("the guardian does not answer: %w", ctx.Err())
	}
}

// serveTrip answers apcupsd's script, which lets apcupsd go on after anything but a 204.
func (p *Proxy) serveTrip(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), tripWithin)
	defer cancel()
	err := p.guard.trip(ctx)
	for errors.Is(err, guardian.ErrNotHeard) && ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-time.After(tripAgain):
			err = p.guard.trip(ctx)
		}
	}
	if err == nil {
		p.log.Warn("apcupsd leaves the Pi's shutdown to the guardian")
		w.WriteHeader(http.StatusNoContent)
		return
	}
	p.log.Error("apcupsd shuts this Pi down by itself", "because", err)
	courier.Fail(w, &courier.Fault{Status: http.StatusConflict, Reason: "apcupsd", Err: err})
}
