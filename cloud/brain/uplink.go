package brain

import (
	"context"
	"log/slog"
	"time"

	"sentinel.home.arpa/cloud/internal/sentinel"
	"sentinel.home.arpa/shared/uplink"
)

// From a doubt to its answer must not take longer than sentinel.Times.DoubtAtMost (rule N6):
// after that the site is blamed. So uplink.Ends and what is no askEach together stay under it.
const (
	// doubtEach is how often a brain in doubt looks, and askEach one that is blind.
	doubtEach = 200 * time.Millisecond
	askEach   = 3 * time.Second
)

// looks finds out when asked whether the brain itself has internet (rule N3). Where it has, it
// finds out whether the tailnet has (rule N10).
type looks struct {
	uplink.Uplink
	tell    func(ctx context.Context, in sentinel.Uplink)
	log     *slog.Logger
	asked   chan struct{}
	doubted chan struct{}
}

func newLooks(anchors func() []string, dial uplink.Dial, log *slog.Logger) *looks {
	return &looks{Uplink: uplink.Uplink{Anchors: anchors, Dial: dial}, log: log, asked: make(chan struct{}, 1), doubted: make(chan struct{}, 1)}
}

// Ask wishes for a check; wishes during one are one. In doubt somebody waits for it.
func (u *looks) Ask(doubt bool) {
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
func (u *looks) Run(ctx context.Context) error {
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
		found := u.Look(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case !found.Online:
			u.log.Warn("no anchor answers, the brain's own uplink is down", "anchors", u.Anchors())
		case found.TailnetGone:
			u.log.Warn("anchors answer, but Tailscale is out of reach")
		}
		u.tell(ctx, sentinel.Uplink(found))
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(doubtEach):
		}
		asked, rested = nil, time.After(askEach-doubtEach)
	}
}
