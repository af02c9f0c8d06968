package calls

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"
)

// Errors by which a Phone says what a failure means. Any other error leaves open whether
// the call was placed.
var (
	// ErrNotPlaced: surely not, and it may be tried again.
	ErrNotPlaced = errors.New("the call was not placed")
	// ErrWillNot: surely not, and trying again is vain until somebody mends something.
	ErrWillNot = errors.New("the call cannot be placed")
)

// Status is a call as the phone's provider sees it.
type Status struct {
	SID      string
	State    string        // the provider's word for it, for the record
	Age      time.Duration // since it was created, by the provider's own clock; in Recent only
	Queued   bool          // not yet ringing
	Person   bool          // a person took it
	Final    bool
	Outbound bool
}

// Phone places calls and tells what became of them.
type Phone interface {
	Place(ctx context.Context, number, text string) (Status, error)
	// Recent lists the newest calls to a number, to find one whose answer was lost.
	Recent(ctx context.Context, number string) ([]Status, error)
	Line
}

// Line is a call that was placed.
type Line interface {
	Fetch(ctx context.Context, sid string) (Status, error)
	Hangup(ctx context.Context, sid string) error
}

// Order is a call that was decided.
type Order struct {
	ID     string
	Number string
	Text   string
	// Age is how long ago it was decided, whatever the wall clock says.
	Age func() time.Duration
	SID string // if it is known to have been placed
	// Doubtful: an earlier process may have placed it, so the provider is asked first.
	Doubtful bool

	phone Phone
}

// Report tells how an order fares.
type Report struct {
	Placed func(id, sid string)
	Ended  func(id string, delivered bool, outcome string)
}

// Times of a call.
const (
	requestWithin = 12 * time.Second
	pollEach      = time.Second
	// slack is how far before its decision a call may seem to have been created, since
	// the provider tells both by the second, and its answer takes a while.
	slack = time.Minute
	// lookAgain is how long the provider's list may take to show a call.
	lookAgain = 3 * time.Second
	// queuedAtMost is how long a call may wait at the provider before it is stale.
	queuedAtMost = time.Minute
	// doubtAtMost is how long the provider is asked in vain whether it has placed a call,
	// before it is told to, for what may be the second time.
	doubtAtMost = time.Minute
	// followAtMost is longer than any call waits, rings and lasts. One that is not seen to
	// end by then must not hold up the next to its number.
	followAtMost = 6 * time.Minute
	retryFirst   = 2 * time.Second
	retryMost    = 30 * time.Second
)

// Caller carries orders out: one at a time to a number, each exactly once as far as can
// be known, and rather twice than never.
type Caller struct {
	report Report
	log    *slog.Logger

	wg      sync.WaitGroup
	mu      sync.Mutex
	phone   Phone
	dropped map[string]chan struct{} // closed when the order is taken back
	numbers map[string]chan struct{}
	sids    []string // that belong to other orders
}

// NewCaller makes a caller.
func NewCaller(phone Phone, report Report, log *slog.Logger) *Caller {
	return &Caller{phone: phone, report: report, log: log, dropped: map[string]chan struct{}{}, numbers: map[string]chan struct{}{}}
}

// Use has another phone for the orders from now on. Those under way go on with theirs,
// which alone knows their calls.
func (c *Caller) Use(phone Phone) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.phone = phone
}

// Wait waits for all orders to end; their context must have.
func (c *Caller) Wait() { c.wg.Wait() }

// Known tells of a call of an order that is over, so that it is not taken for another's.
func (c *Caller) Known(sid string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sids = append(c.sids, sid)
}

// Call carries an order out, without waiting for it.
func (c *Caller) Call(ctx context.Context, o Order) {
	c.mu.Lock()
	drop := make(chan struct{})
	c.dropped[o.ID], o.phone = drop, c.phone
	line := c.numbers[o.Number]
	if line == nil {
		line = make(chan struct{}, 1)
		c.numbers[o.Number] = line
	}
	c.mu.Unlock()
	c.wg.Go(func() {
		defer c.forget(o.ID)
		select {
		case line <- struct{}{}:
		case <-drop:
			c.report.Ended(o.ID, false, "taken back before it was placed")
			return
		case <-ctx.Done():
			return
		}
		defer func() { <-line }()
		c.carryOut(ctx, o, drop)
	})
}

func (c *Caller) forget(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.dropped, id)
}

// Drop takes an order back: a call that still waits or rings is cancelled.
func (c *Caller) Drop(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if drop := c.dropped[id]; drop != nil {
		close(drop)
		delete(c.dropped, id)
	}
}

func (c *Caller) carryOut(ctx context.Context, o Order, drop <-chan struct{}) {
	if o.SID == "" {
		sid, outcome := c.place(ctx, o, drop)
		if sid == "" {
			if outcome != "" {
				c.report.Ended(o.ID, false, outcome)
			}
			return
		}
		o.SID = sid
		c.Known(sid)
		c.report.Placed(o.ID, sid)
	}
	c.follow(ctx, o, drop)
}

// place returns the call's SID, or why there is none; neither if the context ended.
func (c *Caller) place(ctx context.Context, o Order, drop <-chan struct{}) (sid, outcome string) {
	wait := retryFirst
	doubtful, since := o.Doubtful, time.Now()
	for {
		if doubtful {
			found, err := c.adopt(ctx, o)
			if err == nil && found != "" {
				return found, ""
			}
			if err != nil {
				c.log.Warn("recent calls not listed", "call", o.ID, "err", err)
			}
			doubtful = err != nil && time.Since(since) < doubtAtMost
		}
		if isClosed(drop) && !doubtful {
			return "", "taken back before it was placed"
		}
		if !doubtful {
			s, err := c.try(ctx, o)
			if err == nil {
				return s.SID, ""
			}
			if ctx.Err() != nil {
				return "", ""
			}
			c.log.Warn("call not placed", "call", o.ID, "err", err)
			if errors.Is(err, ErrWillNot) {
				return "", err.Error()
			}
			doubtful, since = !errors.Is(err, ErrNotPlaced), time.Now()
		}
		if !sleep(ctx, wait) {
			return "", ""
		}
		wait = min(2*wait, retryMost)
	}
}

func (c *Caller) try(ctx context.Context, o Order) (Status, error) {
	ctx, cancel := context.WithTimeout(ctx, requestWithin)
	defer cancel()
	return o.phone.Place(ctx, o.Number, o.Text)
}

// adopt looks twice for a call that may have been placed for this order.
func (c *Caller) adopt(ctx context.Context, o Order) (string, error) {
	for look := range 2 {
		if look > 0 && !sleep(ctx, lookAgain) {
			return "", ctx.Err()
		}
		sid, err := c.find(ctx, o)
		if err != nil || sid != "" {
			return sid, err
		}
	}
	return "", nil
}

func (c *Caller) find(ctx context.Context, o Order) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, requestWithin)
	defer cancel()
	calls, err := o.phone.Recent(ctx, o.Number)
	if err != nil {
		return "", fmt.Errorf("ask for recent calls: %w", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range calls {
		if s.Outbound && s.Age <= o.Age()+slack && !slices.Contains(c.sids, s.SID) {
			return s.SID, nil
		}
	}
	return "", nil
}

// follow waits for the call's end, or for a person to take it.
func (c *Caller) follow(ctx context.Context, o Order, drop <-chan struct{}) {
	begin := time.Now()
	for cancelled := false; sleep(ctx, pollEach); {
		late := time.Since(begin) > followAtMost // before it is asked: the process may have stood still
		s, err := c.fetch(ctx, o)
		if err == nil && (s.Person || s.Final) {
			c.report.Ended(o.ID, s.Person, s.State)
			return
		}
		if late {
			c.report.Ended(o.ID, false, "nothing was heard of its end")
			return
		}
		if err != nil {
			c.log.Warn("call not followed", "call", o.ID, "err", err)
			continue
		}
		stale := s.Queued && time.Since(begin) > queuedAtMost
		if !cancelled && (stale || isClosed(drop)) {
			cancelled = c.hangup(ctx, o)
		}
	}
}

func (c *Caller) fetch(ctx context.Context, o Order) (Status, error) {
	ctx, cancel := context.WithTimeout(ctx, requestWithin)
	defer cancel()
	return o.phone.Fetch(ctx, o.SID)
}

func (c *Caller) hangup(ctx context.Context, o Order) bool {
	ctx, cancel := context.WithTimeout(ctx, requestWithin)
	defer cancel()
	if err := o.phone.Hangup(ctx, o.SID); err != nil {
		c.log.Warn("call not cancelled", "call", o.ID, "err", err)
		return false
	}
	return true
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// sleep reports whether the time passed before the context ended.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
