package brain

import (
	"context"
	"log/slog"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"sentinel.home.arpa/cloud/internal/sentinel"
	"sentinel.home.arpa/shared/uplink"
)

// TestN6_NoDoubtWaitsLongerThanItMay for the brain's own uplink, also one that comes shortly
// after a check: past that the site would be blamed. Who is blind looks again more rarely.
func TestN6_NoDoubtWaitsLongerThanItMay(t *testing.T) {
	longest := sentinel.DefaultTimes().DoubtAtMost
	for _, late := range []time.Duration{0, time.Millisecond, doubtEach, time.Second, uplink.Within, askEach, askEach + time.Second} {
		synctest.Test(t, func(t *testing.T) {
			n := newMemnet()
			n.cut(anchors...)
			told := make(chan sentinel.Uplink, 100)
			u := newLooks(func() []string { return anchors }, n.dial, slog.New(slog.DiscardHandler))
			u.tell = func(_ context.Context, in sentinel.Uplink) { told <- in }
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan error, 1)
			go func() { ended <- u.Run(ctx) }()
			u.Ask(true)
			if in := <-told; in.Online {
				t.Errorf("found %+v", in)
			}
			rest(late)
			began := time.Now()
			u.Ask(true)
			if <-told; time.Since(began) >= longest {
				t.Errorf("a doubt %s after a check was answered after %s", late, time.Since(began))
			}
			n.mend(anchors...) // they refuse at once
			began = time.Now()
			u.Ask(false)
			if <-told; time.Since(began) < askEach {
				t.Errorf("a blind brain looked again after %s", time.Since(began))
			}
			cancel()
			if err := <-ended; err != nil {
				t.Error(err)
			}
		})
	}
}

// TestN3_WhatHangsIsNoAnswer: a check ends in time though nothing heeds its deadline. Anchors
// that hang are offline; a tailnet that hangs takes nothing from anchors that answer.
func TestN3_WhatHangsIsNoAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newMemnet()
		says(t, n, anchors[0], "...")
		until := make(chan struct{})
		defer close(until)
		hangs := func(context.Context, string, string) (net.Conn, error) { <-until; return nil, net.ErrClosed }
		gone := func(context.Context) bool { <-until; return true }
		for name, c := range map[string]struct {
			u    *uplink.Uplink
			want sentinel.Uplink
		}{
			"the anchors": {&uplink.Uplink{Anchors: func() []string { return anchors }, Dial: hangs}, sentinel.Uplink{}},
			"the tailnet": {&uplink.Uplink{Anchors: func() []string { return anchors }, Dial: n.dial, Gone: gone}, sentinel.Uplink{Online: true}},
			"both":        {&uplink.Uplink{Anchors: func() []string { return anchors }, Dial: hangs, Gone: gone}, sentinel.Uplink{}},
		} {
			began := time.Now()
			if got := c.u.Look(t.Context()); sentinel.Uplink(got) != c.want || time.Since(began) >= sentinel.DefaultTimes().DoubtAtMost {
				t.Errorf("%s: found %+v after %s", name, got, time.Since(began))
			}
		}
	})
}
