package brain

import (
	"context"
	"sync"
	"time"
)

const (
	// pausedAfter is how late a beat of the pulse must be for the process to have been
	// stopped.
	pausedAfter = tick + 3*time.Second
	// shortAfter is how late a beat must be to count at all. Stops that follow each other
	// are one pause if they add up to one: what was sent meanwhile may be lost.
	shortAfter = 2 * tick
	shortFor   = 20 * time.Second
)

// pulse tells that the process stood still. It beats beside the loop, which a slow disk
// may hold up: that is no pause. It is safe for concurrent use.
type pulse struct {
	mu    sync.Mutex
	last  time.Time
	short []stop
	stood time.Duration
	stops int // so far
}

// stop is a while that the process stood still for.
type stop struct {
	end time.Time
	d   time.Duration
}

// begin is the first beat.
func (p *pulse) begin(now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.last = now
}

// beat notes that the process runs, and returns for how long it stood still since it was
// last taken; 0: it did not.
func (p *pulse) beat(now time.Time) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	late := now.Sub(p.last)
	if late <= 0 {
		return p.stood // another has felt a later one
	}
	p.last = now
	switch {
	case late > pausedAfter:
		p.stood += late
		p.stops++
	case late >= shortAfter:
		p.short = append(p.short, stop{now, late})
	}
	for len(p.short) > 0 && now.Sub(p.short[0].end) > shortFor {
		p.short = p.short[1:]
	}
	sum := time.Duration(0)
	for _, s := range p.short {
		sum += s.d
	}
	if sum > pausedAfter {
		p.stood += sum
		p.stops++
		p.short = nil
	}
	return p.stood
}

// take is beat, and what it returns is not returned again.
func (p *pulse) take(now time.Time) time.Duration {
	stood := p.beat(now)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stood -= stood
	return stood
}

// run beats each tick.
func (p *pulse) run(ctx context.Context, now func() time.Time) {
	t := time.NewTicker(tick)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			p.beat(now())
		}
	}
}

// stops is how often the process has stood still.
func (b *Brain) stops() int {
	b.pulse.beat(b.clock.Now())
	b.pulse.mu.Lock()
	defer b.pulse.mu.Unlock()
	return b.pulse.stops
}
