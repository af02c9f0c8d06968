// Package outbox carries notices to their channels: each channel's in order, one at a time, again after a failure that
// may pass, and for 6 h at most (rules C5 and C7). A channel that fails or hangs holds no other up.
//
// What is on its way is kept by the core, whose facts outlive the process; after a restart it is handed in again. So a
// notice may come twice, and is never lost. It must not import the core.
package outbox

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"sentinel.home.arpa/shared/channel"
)

// Key is a channel of a person.
type Key struct{ Contact, Channel string }

// Order is a notice that was decided.
type Order struct {
	To      Key
	Message channel.Message
	// Age is how long ago it was decided, whatever the wall clock says.
	Age func() time.Duration
	// From is when that was, as a person says it, such as 19:02.
	From string
}

// Report tells how an order fares.
type Report struct {
	// Failing is that its first try failed, and there will be others.
	Failing func(o Order, why string)
	Ended   func(o Order, delivered bool, outcome string)
}

// Times of a notice.
const (
	retryFirst = 10 * time.Second
	retryMost  = 10 * time.Minute
	// lateAfter is from when a notice says that it is late: what it tells may be over.
	lateAfter = 2 * time.Minute
	// giveUpAfter is when nobody needs to be told any more.
	giveUpAfter = 6 * time.Hour
	// waitMost is how many notices wait for one channel; past it the oldest ends.
	waitMost = 300
)

// Outbox carries orders out.
type Outbox struct {
	report Report
	log    *slog.Logger

	wg      sync.WaitGroup
	mu      sync.Mutex
	senders map[Key]channel.Sender
	changed chan struct{} // closed when the senders are others
	lines   map[Key]*line
}

// line is a channel that has something to send.
type line struct {
	orders []Order       // the first is under way
	more   chan struct{} // has a value once there is one more
}

// New makes an outbox without channels.
func New(report Report, log *slog.Logger) *Outbox {
	return &Outbox{report: report, log: log, changed: make(chan struct{}), lines: map[Key]*line{}}
}

// Use has other channels from now on. What waits for its next try is tried at once: perhaps it was this that was wrong.
func (o *Outbox) Use(senders map[Key]channel.Sender) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.senders = senders
	close(o.changed)
	o.changed = make(chan struct{})
}

// Wait waits for all tries to end; their context must have.
func (o *Outbox) Wait() { o.wg.Wait() }

// Send carries an order out, without waiting for it.
func (o *Outbox) Send(ctx context.Context, order Order) {
	o.mu.Lock()
	defer o.mu.Unlock()
	l := o.lines[order.To]
	if l == nil {
		l = &line{more: make(chan struct{}, 1)}
		o.lines[order.To] = l
		o.wg.Go(func() { o.run(ctx, order.To, l) })
	}
	l.orders = append(l.orders, order)
	select {
	case l.more <- struct{}{}:
	default:
	}
	if len(l.orders) > waitMost {
		over := l.orders[1]
		l.orders = append(l.orders[:1:1], l.orders[2:]...)
		o.wg.Go(func() { o.report.Ended(over, false, "too many notices wait for this channel") })
	}
}

// run is one channel's, until nothing is left to send.
func (o *Outbox) run(ctx context.Context, key Key, l *line) {
	wait := retryFirst
	for {
		o.mu.Lock()
		if len(l.orders) == 0 {
			delete(o.lines, key)
			o.mu.Unlock()
			return
		}
		order := l.orders[0]
		o.mu.Unlock()
		if !o.deliver(ctx, order, l.more, &wait) {
			return
		}
		o.mu.Lock()
		l.orders = l.orders[1:]
		o.mu.Unlock()
	}
}

// deliver tries until the order has ended, or the context; then it reports false.
func (o *Outbox) deliver(ctx context.Context, order Order, more <-chan struct{}, wait *time.Duration) bool {
	id, told := order.Message.ID, false
	log := o.log.With("notice", id, "contact", order.To.Contact, "channel", order.To.Channel)
	for {
		o.mu.Lock()
		sender, changed := o.senders[order.To], o.changed
		o.mu.Unlock()
		if sender == nil {
			o.report.Ended(order, false, "this channel is no longer configured")
			return true
		}
		select {
		case <-more:
		default:
		}
		err := o.try(ctx, sender, order)
		switch {
		case err == nil:
			*wait = retryFirst
			o.report.Ended(order, true, "delivered")
			return true
		case ctx.Err() != nil:
			return false
		case !errors.Is(err, channel.ErrTemporary):
			log.Warn("notice not delivered", "err", err)
			o.report.Ended(order, false, err.Error())
			return true
		}
		left := giveUpAfter - order.Age()
		if left <= 0 {
			log.Warn("notice given up", "err", err)
			o.report.Ended(order, false, fmt.Sprintf("given up after %d h: %s", int(giveUpAfter.Hours()), err))
			return true
		}
		log.Warn("notice not delivered, it is tried again", "after", *wait, "err", err)
		if !told {
			told = true
			o.report.Failing(order, err.Error())
		}
		if !rest(ctx, min(*wait, left), changed, more) {
			return false
		}
		*wait = min(2**wait, retryMost)
	}
}

func (o *Outbox) try(ctx context.Context, sender channel.Sender, order Order) error {
	ctx, cancel := context.WithTimeout(ctx, channel.Within)
	defer cancel()
	m := order.Message
	if order.Age() >= lateAfter {
		m.Text = fmt.Sprintf("%s\n(from %s, delivered late)", m.Text, order.From)
	}
	return sender.Send(ctx, m)
}

// rest waits for the next try. It comes 10 s after the last one if there is more to tell: what is new waits for no
// channel that may be there again.
func rest(ctx context.Context, d time.Duration, changed, more <-chan struct{}) bool {
	return sleep(ctx, min(d, retryFirst), changed, nil) && (d <= retryFirst || sleep(ctx, d-retryFirst, changed, more))
}

// sleep reports whether the time passed, or one of the others came, before the context ended.
func sleep(ctx context.Context, d time.Duration, changed, more <-chan struct{}) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-changed:
		return true
	case <-more:
		return true
	case <-ctx.Done():
		return false
	}
}
