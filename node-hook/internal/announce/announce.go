// Package announce tells every receiver at once that this machine goes down, and waits
// for the first that acknowledges it, 4.5 s at most (rule A2).
//
// It does not know why the machine goes down or who the receivers are, and must not
// import the packages that do.
package announce

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"sync"
	"time"

	"sentinel.home.arpa/shared/courier"
	"sentinel.home.arpa/shared/wire"
)

// The times of rule A2. The whole stays under the 5 s that logind grants.
const (
	tryTimeout = 2 * time.Second
	tryGap     = 250 * time.Millisecond
	whole      = 4500 * time.Millisecond
	grace      = 200 * time.Millisecond // for the other routes, after the first acknowledgement
)

// ErrNoRoute means that no brain and no Pi is known.
var ErrNoRoute = errors.New("no brain and no Pi is known: set brains: or pi_proxies:, or connect the machine to the tailnet")

// Poster posts an envelope and returns the verified answer; courier.Client is one.
type Poster interface {
	Post(ctx context.Context, to courier.Receiver, path string, h wire.Header, envelope []byte) (*wire.Answer, error)
}

// Sender sends one announcement.
type Sender struct {
	Seal   func(id string, kind wire.ShutdownKind) (wire.Header, []byte, error)
	Routes func() []courier.Receiver
	Poster Poster
}

// NewID makes the random id of an announcement.
func NewID() string {
	var id [16]byte
	rand.Read(id[:]) // never fails
	return hex.EncodeToString(id[:])
}

// outcome is how it ended with one route.
type outcome struct {
	name string
	err  error
}

// Send announces by every route and returns who acknowledged, at least one unless there
// is an error. The error says what went wrong on each route.
func (s *Sender) Send(ctx context.Context, id string, kind wire.ShutdownKind) ([]string, error) {
	h, envelope, err := s.Seal(id, kind)
	if err != nil {
		return nil, fmt.Errorf("announce %s: %w", kind, err)
	}
	routes := s.Routes()
	if len(routes) == 0 {
		return nil, fmt.Errorf("announce %s: %w", kind, ErrNoRoute)
	}
	ctx, cancel := context.WithTimeout(ctx, whole)
	defer cancel()
	outcomes := make(chan outcome, len(routes))
	var wg sync.WaitGroup
	for _, to := range routes {
		wg.Go(func() { outcomes <- outcome{to.Name, s.tell(ctx, to, h, envelope)} })
	}
	var by []string
	var errs []error
	for range routes {
		o := <-outcomes
		if o.err != nil {
			errs = append(errs, o.err)
			continue
		}
		if by = append(by, o.name); len(by) == 1 {
			defer time.AfterFunc(grace, cancel).Stop()
		}
	}
	wg.Wait()
	if len(by) == 0 {
		return nil, fmt.Errorf("announce %s: %w", kind, errors.Join(errs...))
	}
	return by, nil
}

// tell repeats an announcement on one route until it is acknowledged, refused, or time is
// up. The same envelope goes out each time: a receiver that has it acknowledges it again.
func (s *Sender) tell(ctx context.Context, to courier.Receiver, h wire.Header, envelope []byte) error {
	var last error
	for {
		err := s.try(ctx, to, h, envelope)
		var no *courier.Refusal
		switch {
		case err == nil:
			return nil
		case errors.As(err, &no):
			return err
		case ctx.Err() == nil || last == nil:
			last = err // and not that the time was up
		}
		select {
		case <-ctx.Done():
			return last
		case <-time.After(tryGap):
		}
	}
}

func (s *Sender) try(ctx context.Context, to courier.Receiver, h wire.Header, envelope []byte) error {
	ctx, cancel := context.WithTimeout(ctx, tryTimeout)
	defer cancel()
	_, err := s.Poster.Post(ctx, to, courier.PathAnnounce, h, envelope)
	return err
}
