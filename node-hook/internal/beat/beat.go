// Package beat sends a heartbeat to every receiver at each tick, whatever happened at the
// tick before. Each receiver has its own goroutine and one post in flight, so that one
// that hangs delays no other (rules H1, H10).
//
// It knows neither who the receivers are nor what is in a heartbeat, and must not import
// the packages that do.
package beat

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"sentinel.home.arpa/shared/courier"
	"sentinel.home.arpa/shared/wire"
)

// Timeout is how long one post may take: long enough for a reconnect over the tailnet,
// short enough for six of them before a node counts as silent.
const Timeout = 3 * time.Second

// feedEvery is how often the supervisor is told that the loop turns, whatever the
// interval.
const feedEvery = time.Second

// sayAgain is the least time until another cause of the same trouble is told.
const sayAgain = time.Minute

// Poster posts an envelope and returns the verified answer; courier.Client is one.
type Poster interface {
	Post(ctx context.Context, to courier.Receiver, path string, h wire.Header, envelope []byte) (*wire.Answer, error)
}

// Loop is the heart. All fields must be set.
type Loop struct {
	Interval  time.Duration
	Seal      func() (wire.Header, []byte, error)
	Receivers func() []courier.Receiver // asked at each tick
	Poster    Poster
	Answered  func(ctx context.Context, from courier.Receiver, a *wire.Answer)
	Failed    func(to courier.Receiver)
	Feed      func() // the watchdog
	Log       *slog.Logger
}

// message is one sealed heartbeat.
type message struct {
	header   wire.Header
	envelope []byte
}

// worker posts to one receiver.
type worker struct {
	next   chan message // the newest one that waits
	cancel context.CancelFunc
}

// Run beats until ctx ends, at once for the first time.
func (l *Loop) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	workers := map[courier.Receiver]*worker{}
	tick, feed := time.NewTicker(l.Interval), time.NewTicker(feedEvery)
	defer tick.Stop()
	defer feed.Stop()
	lonely := false
	for {
		l.employ(ctx, &wg, workers)
		if len(workers) == 0 && !lonely {
			l.Log.Warn("nobody hears this agent: no brain or Pi is known yet; it looks for brains by their tag, or set brains: and pi_proxies:")
		}
		lonely = len(workers) == 0
		if err := l.offer(workers); err != nil {
			return err
		}
		for turned := false; !turned; {
			l.Feed()
			select {
			case <-ctx.Done():
				return nil
			case <-feed.C:
			case <-tick.C:
				turned = true
			}
		}
	}
}

// employ gives each receiver its worker, and lets those go that are receivers no more.
func (l *Loop) employ(ctx context.Context, wg *sync.WaitGroup, workers map[courier.Receiver]*worker) {
	current := map[courier.Receiver]bool{}
	for _, to := range l.Receivers() {
		current[to] = true
		if workers[to] != nil {
			continue
		}
		own, cancel := context.WithCancel(ctx)
		w := &worker{next: make(chan message, 1), cancel: cancel}
		workers[to] = w
		wg.Go(func() { l.serve(own, to, w.next) })
	}
	for to, w := range workers {
		if !current[to] {
			w.cancel()
			delete(workers, to)
		}
	}
}

// offer hands the same new heartbeat to all; one that still waits is replaced.
func (l *Loop) offer(workers map[courier.Receiver]*worker) error {
	h, envelope, err := l.Seal()
	if err != nil {
		return fmt.Errorf("seal a heartbeat: %w", err)
	}
	for _, w := range workers {
		select {
		case <-w.next:
		default:
		}
		w.next <- message{h, envelope} // this loop alone sends, so there is room
	}
	return nil
}

// serve posts to one receiver and says when it becomes reachable or ceases to be.
func (l *Loop) serve(ctx context.Context, to courier.Receiver, next <-chan message) {
	var said told
	for {
		select {
		case <-ctx.Done():
			return
		case m := <-next:
			err := l.post(ctx, to, m)
			if ctx.Err() != nil {
				return
			}
			if err != nil {
				l.Failed(to)
			}
			said = l.tell(to, said, err)
		}
	}
}

func (l *Loop) post(ctx context.Context, to courier.Receiver, m message) error {
	ctx, cancel := context.WithTimeout(ctx, Timeout)
	defer cancel()
	a, err := l.Poster.Post(ctx, to, courier.PathHeartbeat, m.header, m.envelope)
	if err == nil {
		l.Answered(ctx, to, a)
	}
	return err
}

// told is how it stands with a receiver, as it was last said.
type told struct {
	state, cause string
	at           time.Time
}

// tell logs a change of how it stands with a receiver and returns what was said. Trouble
// that goes on for another reason is told too: the first one would lead astray.
func (l *Loop) tell(to courier.Receiver, said told, err error) told {
	now := told{state: "reachable", at: time.Now()}
	var no *courier.Refusal
	switch {
	case errors.As(err, &no):
		now.state, now.cause = fmt.Sprintf("refusing with %d", no.Status), no.Error()
	case err != nil:
		now.state, now.cause = "unreachable", root(err)
	}
	if now.state == said.state && (now.cause == said.cause || now.at.Sub(said.at) < sayAgain) {
		return said
	}
	switch {
	case no != nil:
		l.Log.Warn("receiver refuses the heartbeats", "receiver", to.Name, "url", to.URL, "err", err)
	case err != nil:
		l.Log.Warn("receiver is unreachable", "receiver", to.Name, "url", to.URL, "err", err)
	default:
		l.Log.Info("receiver is reachable", "receiver", to.Name, "url", to.URL)
	}
	return now
}

// root is the innermost cause, which names no port that differs each time.
func root(err error) string {
	for inner := err; inner != nil; inner = errors.Unwrap(err) {
		err = inner
	}
	return err.Error()
}
