package brain

import (
	"context"
	"log/slog"
	"net"
	"sync"
	"time"
)

const (
	// anchorWithin bounds one check, so that doubt never takes longer than N6 allows.
	anchorWithin = 2500 * time.Millisecond
	// askEach is how often a brain that is blind looks again.
	askEach = 3 * time.Second
)

// uplink finds out whether the brain itself has internet: by TCP to addresses that do not
// depend on one another (rule N3).
type uplink struct {
	anchors []string
	dial    func(ctx context.Context, network, addr string) (net.Conn, error)
	tell    func(ctx context.Context, online bool)
	log     *slog.Logger
	asked   chan struct{}
}

// Ask wishes for a check; wishes during one are one.
func (u *uplink) Ask() {
	select {
	case u.asked <- struct{}{}:
	default:
	}
}

// Run checks whenever asked, at most every few seconds.
func (u *uplink) Run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-u.asked:
		}
		online := u.online(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if !online {
			u.log.Warn("no anchor answers, the brain's own uplink is down", "anchors", u.anchors)
		}
		u.tell(ctx, online)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(askEach):
		}
	}
}

// online reports whether one of the anchors answers; one is enough, since it cannot be
// reached without an uplink.
func (u *uplink) online(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, anchorWithin)
	defer cancel()
	var wg sync.WaitGroup
	answers := make(chan struct{}, len(u.anchors))
	for _, a := range u.anchors {
		wg.Go(func() {
			conn, err := u.dial(ctx, "tcp", a)
			if err != nil {
				return
			}
			answers <- struct{}{}
			cancel() // the others need not go on
			_ = conn.Close()
		})
	}
	wg.Wait()
	return len(answers) > 0
}
