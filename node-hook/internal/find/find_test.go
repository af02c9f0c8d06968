package find

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"sentinel.home.arpa/shared/wire"
)

func TestFinderLooksUpEvery30sWhenNudgedAndSoonWhileThereIsNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		start := time.Now()
		var at []time.Duration
		var log strings.Builder
		f := New(
			func(context.Context) ([]wire.Peer, error) {
				at = append(at, time.Since(start))
				if len(at) == 1 {
					return nil, errors.New("no tailscaled")
				}
				return []wire.Peer{{Name: "brain", Address: "100.64.0.5:80"}, {Name: "old", Address: "100.64.0.9:80"}}, nil
			},
			func([]wire.Peer, error) {},
			slog.New(slog.NewTextHandler(&log, nil)))
		done := make(chan error, 1)
		go func() { done <- f.Run(ctx) }()
		time.Sleep(61 * time.Second)
		for range 3 { // brains that do not answer nudge often
			f.Nudge()
			time.Sleep(time.Second)
		}
		time.Sleep(20 * time.Second)
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		s := time.Second
		if diff := cmp.Diff([]time.Duration{0, 5 * s, 35 * s, 61 * s, 66 * s}, at); diff != "" {
			t.Error(diff)
		}
		if n := strings.Count(log.String(), "\n"); n != 2 {
			t.Errorf("%d lines instead of 2:\n%s", n, log.String())
		}
	})
}
