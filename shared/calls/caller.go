package calls

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
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

// Refusal is an ErrWillNot with what is to be mended.
type Refusal struct {
	Advice   string
	OfNumber bool // it is about the number alone: a call to another may be placed
	Cause    error
}

// Error implements error.
func (r *Refusal) Error() string { return ErrWillNot.Error() + ": " + r.Cause.Error() }

// Unwrap lets errors.Is find ErrWillNot.
func (r *Refusal) Unwrap() []error { return []error{ErrWillNot, r.Cause} }

// Status is a call as the phone's provider sees it.
type Status struct {
	SID      string
	State    string        // the provider's word for it, for the record
	Age      time.Duration // since it was created, by the provider's own clock; in Recent only
	Queued   bool          // not yet ringing
	Person   bool          // a person took it
	Detected bool          // who took it was looked for, so that it asks for no keys
	Final    bool
	Outbound bool
}

// Phone places calls and tells what became of them.
type Phone interface {
	Place(ctx context.Context, number string, s Speech) (Status, error)
	// Recent lists the newest calls to a number, to find one whose answer was lost.
	Recent(ctx context.Context, number string) ([]Status, error)
	Line
}

// Speech is what a call says, and how.
type Speech struct {
	Text     string
	Language string // a code such as de-DE; empty: en-US
	Voice    string // empty: the provider's choice
	// Keys, where they work: the address that one goes to, which keys there are, and what is said
	// where none was pressed. Then a key is what counts, and who took the call tells nothing.
	Keys, Prompt, Bye string
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
	Speech Speech
	// Age is how long ago it was decided, whatever the wall clock says.
	Age func() time.Duration
	SID string // if it is known to have been placed
	// Doubtful: an earlier process may have placed it, so the provider is asked first.
	Doubtful bool
	// Urgent: at this number what rings and is not urgent is taken back for it, and what waits goes on waiting.
	Urgent bool
	// MayAsk: it may have been placed with keys, whether or not Speech has any now.
	MayAsk bool
	// Late is what is said first as of now, since the text may tell how it was; nil: nothing.
	Late func() string

	phone Phone
}

// Report tells how an order fares.
type Report struct {
	Placed func(id, sid string)
	// Late: it has been tried in vain for a while, and goes on to be; each time anew. Nil: nobody
	// wants to know.
	Late  func(id, why, advice string)
	Ended func(id string, e End)
}

// End is what became of an order.
type End struct {
	Delivered bool
	Outcome   string
	// Refused: nor will the next call be placed before somebody mends what Advice says; OfNumber:
	// the next to this number.
	Refused, OfNumber bool
	Advice            string
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
	// lateAfter is how long an order is tried before anybody need know that it comes to nothing.
	lateAfter  = 30 * time.Second
	retryFirst = 2 * time.Second
	retryMost  = 30 * time.Second
)

// takenBack is the outcome of an order that was dropped in time.
const takenBack = "taken back before it was placed"

// Caller carries orders out: one at a time to a number, each exactly once as far as can
// be known, and rather twice than never.
type Caller struct {
	report Report
	log    *slog.Logger

	wg      sync.WaitGroup
	mu      sync.Mutex
	phone   Phone
	orders  map[string]*underway // by id; those that were taken back are not in it
	numbers map[string]chan struct{}
	sids    []string // that belong to other orders
}

// NewCaller makes a caller.
func NewCaller(phone Phone, report Report, log *slog.Logger) *Caller {
	return &Caller{phone: phone, report: report, log: log, orders: map[string]*underway{}, numbers: map[string]chan struct{}{}}
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
	first := make(chan struct{})
	if o.Urgent {
		c.overtake(o, first)
	}
	u := &underway{number: o.Number, urgent: o.Urgent, drop: make(chan struct{}), behind: make(chan (<-chan struct{}), 1)}
	c.orders[o.ID], o.phone = u, c.phone
	line := c.numbers[o.Number]
	if line == nil {
		line = make(chan struct{}, 1)
		c.numbers[o.Number] = line
	}
	c.mu.Unlock()
	c.wg.Go(func() {
		defer c.forget(o.ID)
		got, dropped := c.wait(ctx, u, line)
		close(first)
		if !got {
			if dropped {
				c.report.Ended(o.ID, End{Outcome: takenBack})
			}
			return
		}
		defer func() { <-line }()
		c.carryOut(ctx, o, u.drop)
	})
}

func (c *Caller) forget(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.orders, id)
}

// Drop takes an order back: a call that still waits or rings is cancelled.
func (c *Caller) Drop(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.drop(id)
}

// drop is Drop, with the lock held.
func (c *Caller) drop(id string) {
	if u, ok := c.orders[id]; ok {
		close(u.drop)
		delete(c.orders, id)
	}
}

func (c *Caller) carryOut(ctx context.Context, o Order, drop <-chan struct{}) {
	if o.SID == "" {
		sid, end := c.place(ctx, o, drop)
		if sid == "" {
			if end.Outcome != "" {
				c.report.Ended(o.ID, end)
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
func (c *Caller) place(ctx context.Context, o Order, drop <-chan struct{}) (sid string, end End) {
	wait, begun := retryFirst, time.Now()
	doubtful, since := o.Doubtful, time.Now()
	for {
		if doubtful {
			found, err := c.adopt(ctx, o)
			if err == nil && found != "" {
				return found, End{}
			}
			if err != nil {
				c.log.Warn("recent calls not listed", "call", o.ID, "err", err)
				c.late(o, begun, err)
			}
			doubtful = err != nil && time.Since(since) < doubtAtMost
		}
		if isClosed(drop) && !doubtful {
			return "", End{Outcome: takenBack}
		}
		if !doubtful {
			s, err := c.try(ctx, o)
			if err == nil {
				return s.SID, End{}
			}
			if ctx.Err() != nil {
				return "", End{}
			}
			c.log.Warn("call not placed", "call", o.ID, "err", err)
			if errors.Is(err, ErrWillNot) {
				return "", refused(err)
			}
			c.late(o, begun, err)
			doubtful, since = !errors.Is(err, ErrNotPlaced), time.Now()
		}
		if !sleep(ctx, wait) {
			return "", End{}
		}
		wait = min(2*wait, retryMost)
	}
}

func refused(err error) End {
	end := End{Refused: true}
	end.Outcome, end.Advice = said(err)
	var r *Refusal
	if errors.As(err, &r) {
		end.Advice, end.OfNumber = r.Advice, r.OfNumber
	}
	return end
}

// late tells that an order comes to nothing, once that lasts.
func (c *Caller) late(o Order, begun time.Time, err error) {
	if c.report.Late != nil && time.Since(begun) >= lateAfter {
		why, advice := said(err)
		c.report.Late(o.ID, why, advice)
	}
}

func (c *Caller) try(ctx context.Context, o Order) (Status, error) {
	ctx, cancel := context.WithTimeout(ctx, requestWithin)
	defer cancel()
	said := o.Speech
	if o.Late != nil {
		said.Text = strings.TrimSpace(o.Late() + " " + said.Text)
	}
	return o.phone.Place(ctx, o.Number, said)
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
		asks := !s.Detected && (o.MayAsk || o.Speech.Keys != "")
		person := s.Person && !asks // a key is reported by itself (rule C2)
		if err == nil && (person || s.Final) {
			c.report.Ended(o.ID, End{Delivered: person, Outcome: s.State})
			return
		}
		if late {
			c.hangup(ctx, o) // it may ring yet, and the next is not to ring beside it
			c.report.Ended(o.ID, End{Outcome: "nothing was heard of its end"})
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
