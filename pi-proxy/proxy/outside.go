package proxy

import (
	"context"
	"errors"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"sentinel.home.arpa/pi-proxy/internal/brainwatch"
	"sentinel.home.arpa/pi-proxy/internal/ledger"
	"sentinel.home.arpa/shared/calls"
	"sentinel.home.arpa/shared/channel"
	"sentinel.home.arpa/shared/courier"
	"sentinel.home.arpa/shared/outbox"
	"sentinel.home.arpa/shared/uplink"
	"sentinel.home.arpa/shared/wire"
)

const (
	watchTick = time.Second
	// lookAfter is how long no brain must have answered for the Pi to look at its own way out,
	// and lookOutEach is how often it does until one answers.
	lookAfter   = 5 * time.Second
	lookOutEach = 5 * time.Second
	// checkEach is how often it looks while one answers, and checkAgain while no anchor does.
	checkEach  = 10 * time.Minute
	checkAgain = time.Minute
)

// outside is the loop that owns the watch over the brain (rule G3).
type outside struct {
	p        *Proxy
	core     *brainwatch.Watch
	inputs   chan func(now time.Time) []brainwatch.Event
	ended    chan struct{} // closed when the loop has ended
	now      atomic.Pointer[brainwatch.Outside]
	gone     atomic.Bool
	called   atomic.Pointer[ledger.Called] // whom to call; nil: no brain has said
	kept     atomic.Pointer[string]        // hash of that which is on disk
	unstored chan struct{}                 // has a value when called is new
	look     uplink.Uplink
	reach    *uplink.Tailnet // nil without a tailnet
	caller   *calls.Caller
	outbox   *outbox.Outbox
	disk     slowDisk

	// What follows is the loop's alone.
	looked  time.Time
	looking bool
	failed  bool // the last look found no anchor, though a brain answered
	owes    bool // the disk has not taken all
	ways    []brainwatch.Channel
	waysOf  *ledger.Called // of which ways are
	wg      sync.WaitGroup
}

func newOutside(p *Proxy) *outside {
	o := &outside{p: p, inputs: make(chan func(time.Time) []brainwatch.Event, 64), ended: make(chan struct{}),
		disk: newSlowDisk(), unstored: make(chan struct{}, 1)}
	o.now.Store(&brainwatch.Outside{})
	o.look = uplink.Uplink{Anchors: func() []string { return p.cfg.Anchors }, Dial: (&net.Dialer{}).DialContext}
	if p.tailnet != nil {
		o.reach = uplink.OfTailnet(p.tailnet, o.look.Dial, p.log)
		o.look.Gone = func(ctx context.Context) bool { return !p.tailnet.Status().Running() || o.reach.Gone(ctx) }
	}
	o.caller = calls.NewCaller(nil, o.report(), p.log)
	o.outbox = outbox.New(o.noticesEnd(), p.log)
	return o
}

// stands is how things stand beyond the house, as of the last turn.
func (o *outside) stands() brainwatch.Outside { return *o.now.Load() }

func (o *outside) send(f func(now time.Time) []brainwatch.Event) {
	select {
	case o.inputs <- f:
	case <-o.ended:
	}
}

// answered takes the word of a brain that is there. The guardian's mandate comes behind it, so it
// waits for nothing: while the loop stands still a word is lost, and the next one comes soon.
func (o *outside) answered(brain string, leaving bool) {
	select {
	case o.inputs <- func(now time.Time) []brainwatch.Event { return o.core.Answered(now, brain, leaving) }:
	default:
	}
}

// refused takes a brain's no: it lives. Only on the tailnet it is certain who said it.
func (o *outside) refused(err error) {
	var no *courier.Refusal
	if o.p.tailnet != nil && errors.As(err, &no) {
		o.answered("", false)
	}
}

// takeUp restores what an earlier process left.
func (o *outside) takeUp(w *ledger.Watched) {
	state := brainwatch.State{}
	if w != nil {
		state = w.State
	}
	o.core = brainwatch.New(brainwatch.DefaultTimes(), state, o.p.clock.Now())
	called, err := o.p.ledger.Called()
	if err != nil {
		o.p.log.Error("whom to call is unreadable, waiting for the brain's word", "err", err)
	}
	if called != nil {
		if hash, err := called.Calls.Hash(); err != nil || hash != called.Hash {
			called.Hash = wire.NoCalls // the brain sends its own
		}
		o.called.Store(called)
		o.kept.Store(&called.Hash)
	}
}

// orders are what the Pi goes by now.
func (o *outside) orders() (orders brainwatch.Orders) {
	stored := o.p.stored.Load()
	if stored == nil {
		return orders
	}
	orders.Guards = true
	pis := pisOf(stored.Bundle)
	if orders.Place = slices.Index(pis, o.p.cfg.Name); orders.Place < 0 { // the others go first
		orders.Place = len(pis)
	}
	if called := o.called.Load(); called != nil && called.Calls.Twilio != nil {
		for _, c := range called.Calls.Contacts {
			if c.Phone != "" {
				orders.Contacts = append(orders.Contacts, c.Name)
			}
		}
	}
	return orders
}

// reaches adds what only the loop knows: the channels, and whether a Pi whose turn is before this one's is there.
func (o *outside) reaches(orders brainwatch.Orders) brainwatch.Orders {
	if called := o.called.Load(); called != o.waysOf {
		var senders map[outbox.Key]channel.Sender
		o.ways, senders = channels(called.Calls)
		o.waysOf = called
		o.outbox.Use(senders)
	}
	orders.Channels = o.ways
	if stored := o.p.stored.Load(); stored != nil && orders.Place > 0 {
		pis := pisOf(stored.Bundle)
		orders.Before = slices.ContainsFunc(pis[:min(orders.Place, len(pis))], o.p.exchange.hears)
	}
	return orders
}

// loop turns until the context ends.
func (o *outside) loop(ctx context.Context) error {
	defer o.caller.Wait()
	defer o.outbox.Wait()
	defer o.wg.Wait()
	defer close(o.ended)
	left := o.core.State()
	o.reaches(brainwatch.Orders{})
	o.sendNotices(ctx, left.Notices)
	for _, c := range left.Open() { // an earlier process may have placed them
		o.place(ctx, c, true)
		if left.Gone == nil || o.core.TooLate(o.p.clock.Now(), c) {
			o.caller.Drop(c.ID)
		}
	}
	tick := time.NewTicker(watchTick)
	defer tick.Stop()
	for last := o.p.clock.Now(); ; {
		var es []brainwatch.Event
		var input func(time.Time) []brainwatch.Event
		select {
		case <-ctx.Done():
			return nil
		case input = <-o.inputs:
		case <-tick.C:
		}
		now := o.p.clock.Now()
		if now.Sub(last) > pausedAfter {
			o.core.Resumed(now)
		}
		if input != nil {
			es = input(now)
		}
		o.core.Order(o.reaches(o.orders()))
		o.core.Supplied(now, o.p.onBattery())
		o.done(ctx, append(es, o.core.Tick(now)...))
		stands := o.core.Outside(now)
		o.now.Store(&stands)
		o.gone.Store(o.core.State().Gone != nil)
		o.lookOut(ctx, now, stands)
		last = o.p.clock.Now() // what the disk took is no pause
	}
}

// lookOut looks at the Pi's own way out while no brain answers, and now and then while one does.
func (o *outside) lookOut(ctx context.Context, now time.Time, stands brainwatch.Outside) {
	each := lookOutEach
	if stands.Silent < lookAfter {
		each = checkEach
		if o.failed {
			each = checkAgain
		}
	}
	if o.looking || now.Sub(o.looked) < each || o.p.stored.Load() == nil {
		return
	}
	o.looking, o.looked = true, now
	o.wg.Go(func() {
		found := o.look.Look(ctx)
		select {
		case o.inputs <- func(at time.Time) []brainwatch.Event {
			o.looking = false
			switch silent := o.core.Outside(at).Silent; {
			case silent >= lookAfter:
				return o.core.Looked(at, found.Online, found.TailnetGone)
			case silent < at.Sub(now): // a brain has answered since
				o.failed = !found.Online
				return o.core.Checked(at, found.Online)
			}
			return nil
		}:
		case <-ctx.Done():
		}
	})
}

// done puts events on disk and does what they ask for.
func (o *outside) done(ctx context.Context, es []brainwatch.Event) {
	if len(es) > 0 || o.owes {
		o.save(len(es) > 0)
	}
	for _, e := range es {
		switch e.Type {
		case brainwatch.Gone:
			o.p.log.Warn("no brain answers", "because", e.Why)
			o.p.record.Remark(e.Why)
			if len(o.orders().Contacts) == 0 {
				o.p.log.Error("nobody can be called about that: no brain has said whom, and by which account")
			}
		case brainwatch.Back:
			o.p.log.Info("a brain answers again", "because", e.Why)
			o.p.record.Remark(e.Why)
		case brainwatch.Blocked, brainwatch.Unblocked:
			o.p.log.Warn("anchors", "event", e.Type, "because", e.Why)
			o.p.record.Remark(e.Why)
		case brainwatch.Telling:
			o.sendNotices(ctx, e.Notices)
		case brainwatch.NoticeEnded:
			n := e.Notices[0]
			o.p.log.Info("notice ended", "contact", n.Contact, "channel", n.Channel, "delivered", e.Delivered, "outcome", e.Why)
		case brainwatch.Calling:
			o.p.log.Warn("calling", "contact", e.Call.Contact, "because", e.Why)
			o.askAndPlace(ctx, e)
		case brainwatch.Placed:
			o.p.log.Info("call placed", "contact", e.Call.Contact)
			o.notePlaced(e.Call)
		case brainwatch.CallEnded:
			o.p.log.Info("call ended", "contact", e.Call.Contact, "delivered", e.Call.Delivered, "outcome", e.Why)
		case brainwatch.Dropped:
			o.caller.Drop(e.Call.ID)
		}
	}
}

// save puts the state on disk, within 2 s: a disk that hangs keeps nobody from being called.
func (o *outside) save(said bool) {
	w := ledger.Watched{Moment: o.p.clock.Moment(), State: o.core.State()}
	begun, err := o.disk.write(func() error { return o.p.ledger.SetWatched(w) })
	o.owes = err != nil
	if begun && err != nil && said {
		o.p.log.Error("how the brain is watched is not written, going on from memory", "err", err)
	}
}
