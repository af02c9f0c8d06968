package brain

import (
	"context"
	"log/slog"
	"net"
	"sync"
	"time"

	"sentinel.home.arpa/cloud/internal/sentinel"
)

// From a doubt to its answer must not take longer than sentinel.Times.DoubtAtMost (rule N6):
// after that the site is blamed. So all but askEach together stay under it.
const (
	// uplinkWithin bounds what one check asks, and uplinkEnds the check, whatever becomes of that.
	uplinkWithin = 2500 * time.Millisecond
	uplinkEnds   = uplinkWithin + 100*time.Millisecond
	// doubtEach is how often a brain in doubt looks, and askEach one that is blind.
	doubtEach = 200 * time.Millisecond
	askEach   = 3 * time.Second
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
	doubted chan struct{}
}

func newUplink(anchors func() []string, dial func(ctx context.Context, network, addr string) (net.Conn, error), log *slog.Logger) *uplink {
	return &uplink{anchors: anchors, dial: dial, log: log, asked: make(chan struct{}, 1), doubted: make(chan struct{}, 1)}
}

// Ask wishes for a check; wishes during one are one. In doubt somebody waits for it.
func (u *uplink) Ask(doubt bool) {
	wishes := u.asked
	if doubt {
		wishes = u.doubted
	}
	select {
	case wishes <- struct{}{}:
	default:
	}
}

// Run checks whenever asked: at once in doubt, and else at most every few seconds.
func (u *uplink) Run(ctx context.Context) error {
	asked := (<-chan struct{})(u.asked)
	var rested <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-rested:
			asked, rested = u.asked, nil
			continue
		case <-asked:
		case <-u.doubted:
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
		case <-time.After(doubtEach):
		}
		asked, rested = nil, time.After(askEach-doubtEach)
	}
}

// check asks the anchors and the tailnet at once. Without an anchor's answer the silence of
// the tailnet is the brain's own. It ends in time, whatever hangs.
func (u *uplink) check(ctx context.Context) sentinel.Uplink {
	ctx, cancel := context.WithTimeout(ctx, uplinkWithin)
	defer cancel()
	online, gone := make(chan bool, 1), make(chan bool, 1)
	go func() { online <- u.online(ctx) }()
	go func() { gone <- u.gone != nil && u.gone(ctx) }()
	limit := time.NewTimer(uplinkEnds)
	defer limit.Stop()
	var found sentinel.Uplink
	select {
	case found.Online = <-online:
	case <-limit.C:
	}
	if !found.Online {
		return found
	}
	select {
	case found.TailnetGone = <-gone:
	case <-limit.C:
	}
	return found
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
