package announce

import (
	"context"
	"log/slog"
	"time"

	"sentinel.home.arpa/shared/wire"
)

// retryAfter is when an announcement that nobody acknowledged may be made again. Signs of
// one shutdown come within a second of each other, and must not hold it up twice; a host
// that stopped guests for minutes between them gets another chance.
const retryAfter = 10 * time.Second

// Voice announces each shutdown once, however many signs of it are seen, and takes back
// only what it has said. It is safe for concurrent use: who comes second waits for the
// first, and finds it done.
type Voice struct {
	send func(ctx context.Context, id string, kind wire.ShutdownKind) ([]string, error)
	log  *slog.Logger
	turn chan struct{} // holds one token while it is somebody's turn
	said *said
}

// said is what was announced last.
type said struct {
	id           string
	kind         wire.ShutdownKind
	acknowledged bool
	ended        time.Time
}

// NewVoice makes a Voice on Sender.Send.
func NewVoice(send func(ctx context.Context, id string, kind wire.ShutdownKind) ([]string, error), log *slog.Logger) *Voice {
	return &Voice{send: send, log: log, turn: make(chan struct{}, 1)}
}

// Say announces a shutdown unless that is done, or its end if one was announced. It
// returns when the shutdown may go on.
func (v *Voice) Say(ctx context.Context, kind wire.ShutdownKind) {
	select {
	case v.turn <- struct{}{}:
		defer func() { <-v.turn }()
	case <-ctx.Done():
		return
	}
	if kind == wire.Cancelled {
		if v.said != nil {
			v.announce(ctx, &said{id: NewID(), kind: kind})
			v.said = nil
		}
		return
	}
	if v.said == nil || v.said.kind != kind {
		v.said = &said{id: NewID(), kind: kind}
	}
	if v.said.acknowledged || !v.said.ended.IsZero() && time.Since(v.said.ended) < retryAfter {
		return
	}
	v.announce(ctx, v.said)
}

func (v *Voice) announce(ctx context.Context, s *said) {
	start := time.Now()
	by, err := v.send(ctx, s.id, s.kind)
	s.ended, s.acknowledged = time.Now(), err == nil
	took := s.ended.Sub(start).Round(time.Millisecond)
	if err != nil {
		v.log.Error("shutdown announced, and nobody acknowledged it", "kind", s.kind, "took", took, "err", err)
		return
	}
	v.log.Info("shutdown announced", "kind", s.kind, "acknowledged_by", by, "took", took)
}
