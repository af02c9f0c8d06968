package brain

import (
	"context"
	"log/slog"
	"net"
	"sync"
	"time"

	"sentinel.home.arpa/cloud/internal/sentinel"
)

const (
	// uplinkWithin bounds one check, so that doubt never takes longer than N6 allows.
	uplinkWithin = 2500 * time.Millisecond
	// askEach is how often a brain that is blind looks again.
	askEach = 3 * time.Second
)

// uplink finds out whether the brain itself has internet: by TCP to addresses that do not
// depend on one another (rule N3). Where it has, it finds out whether the tailnet has (rule N10).
type uplink struct {
	anchors func() []string
	dial    func(ctx context.Context, network, addr string) (net.Conn, error)
	gone    func(ctx context.Context) bool // whether the tailnet is out of reach; nil: there is none
	tell    func(ctx context.Context, in sentinel.Uplink)
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
		found := u.check(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case !found.Online:
			u.log.Warn("no anchor answers, the brain's own uplink is down", "anchors", u.anchors())
		case found.TailnetGone:
			u.log.Warn("anchors answer, but Tailscale is out of reach")
		}
		u.tell(ctx, found)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(askEach):
		}
	}
}

// check asks the anchors and the tailnet at once. Without an anchor's answer the silence of
// the tailnet is the brain's own.
func (u *uplink) check(ctx context.Context) sentinel.Uplink {
	ctx, cancel := context.WithTimeout(ctx, uplinkWithin)
	defer cancel()
	gone := make(chan bool, 1)
	go func() { gone <- u.gone != nil && u.gone(ctx) }()
	online := u.online(ctx)
	if !online {
		cancel()
	}
	tailnetGone := <-gone
	return sentinel.Uplink{Online: online, TailnetGone: online && tailnetGone}
}

// online reports whether one of the anchors answers; one is enough, since it cannot be
// reached without an uplink.
func (u *uplink) online(ctx context.Context) bool {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var wg sync.WaitGroup
	anchors := u.anchors()
	answers := make(chan struct{}, len(anchors))
	for _, a := range anchors {
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
