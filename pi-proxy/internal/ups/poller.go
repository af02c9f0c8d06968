package ups

import (
	"context"
	"time"

	"sentinel.home.arpa/shared/power"
)

const (
	defaultInterval = time.Second
	// longestPoll is longer than any poll takes while the process runs.
	longestPoll = 10 * time.Second
)

// loud are the flags whose change is worth telling at once. Trim and Boost come and go
// with the line voltage.
const loud = power.Calibration | power.Online | power.OnBattery | power.Overload | power.LowBattery |
	power.ReplaceBattery | power.CommLost | power.Shutdown | power.OutageConfirmed | power.BatteryPresent

// Observation is what one poll found.
type Observation struct {
	At      time.Time // when the answer, or its failure, arrived; with a monotonic reading
	Reading power.Reading
	// Changed says that supply, flags or contact differ from the poll before. The
	// first observation is a change.
	Changed bool
	Err     error // why there was no answer; Reading then says for how long
}

// Poller asks a Client again and again, and keeps the time on battery by its own clock.
type Poller struct {
	client   *Client
	interval time.Duration
	report   func(Observation)
	poke     chan struct{}

	tracker power.Tracker
	last    *power.Reading
}

// NewPoller makes a poller that asks each interval (0 is 1 s) and calls report for
// each answer, from the goroutine of Run.
func NewPoller(client *Client, interval time.Duration, report func(Observation)) *Poller {
	if interval == 0 {
		interval = defaultInterval
	}
	return &Poller{client: client, interval: interval, report: report, poke: make(chan struct{}, 1)}
}

// Resume is for a poller that does not run yet: an earlier process saw that transfer to
// the battery at since, and if it lasts still, it counts from then.
func (p *Poller) Resume(since time.Time, of power.Transfer) { p.tracker.Resume(since, of) }

// Poke asks for a poll at once, or for one more right after the one that is under way:
// that one may have been answered before the change. It never blocks.
func (p *Poller) Poke() {
	select {
	case p.poke <- struct{}{}:
	default:
	}
}

// Run polls until ctx ends, and then returns nil. It may be called once.
func (p *Poller) Run(ctx context.Context) error {
	tick := time.NewTicker(p.interval)
	defer tick.Stop()
	for {
		p.poll(ctx)
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		case <-p.poke:
		}
	}
}

func (p *Poller) poll(ctx context.Context) {
	asked := time.Now()
	s, err := p.client.Status(ctx)
	if ctx.Err() != nil {
		return
	}
	o := Observation{At: time.Now(), Err: err}
	if err != nil {
		if o.At.Sub(asked) <= longestPoll { // else the process stood still, and nobody listened
			p.tracker.Silent(asked) // it has said nothing since, and what it said before is as old
		}
		o.Reading = p.tracker.Silent(o.At)
	} else {
		o.Reading = p.tracker.Observe(o.At, s)
	}
	o.Changed = p.last == nil || differ(*p.last, o.Reading)
	p.last = &o.Reading
	p.report(o)
}

func differ(a, b power.Reading) bool {
	return a.Supply != b.Supply || a.Flags&loud != b.Flags&loud || (a.LostFor == nil) != (b.LostFor == nil)
}
