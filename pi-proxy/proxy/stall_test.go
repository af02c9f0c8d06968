package proxy_test

import (
	"slices"
	"sync"
	"testing"
	"time"
)

// These tests live in real time, beside whatever else the machine does. What it does late is
// measured, so that an upper bound is one on the Pi and not on the machine.

const (
	// pulseEach is how often the pulse wants to be woken.
	pulseEach = 10 * time.Millisecond
	// stalled is from which lateness on that counts.
	stalled = 100 * time.Millisecond
)

// pulse notes by how much the machine was late, each time that it was.
type pulse struct {
	mu    sync.Mutex
	stall []stall
}

type stall struct {
	end time.Time
	by  time.Duration
}

// run ends with the process.
func (p *pulse) run() {
	last := time.Now()
	for now := range time.Tick(pulseEach) {
		now = later(now, time.Now())
		if by := now.Sub(last) - pulseEach; by > stalled {
			p.note(now, by)
		}
		last = now
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func (p *pulse) note(end time.Time, by time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stall = append(p.stall, stall{end, by})
}

// since is how late the machine was altogether after a moment.
func (p *pulse) since(begin time.Time) (late time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range slices.Backward(p.stall) {
		if !s.end.After(begin) {
			break
		}
		late += min(s.by, s.end.Sub(begin))
	}
	return late
}

// machine is the pulse of this process.
var machine pulse

// within wants a span that ended just now, or a while ago, to be so long. The machine's own lateness is no fault, up to
// half of the bound.
func within(t *testing.T, what string, got, low, high time.Duration) {
	t.Helper()
	late := min(machine.since(time.Now().Add(-got-high)), high/2)
	if got < low || got > high+late {
		t.Errorf("%s: %v, want %v to %v; the machine was late by %v", what, got, low, high, late)
	}
}

func TestAStallIsCountedOnceAndNoFurtherBackThanAsked(t *testing.T) {
	var p pulse
	at := time.Now()
	p.note(at, time.Second)
	p.note(at.Add(5*time.Second), 2*time.Second)
	for ago, want := range map[time.Duration]time.Duration{0: 2 * time.Second, 4 * time.Second: time.Second, 5 * time.Second: 0,
		-time.Second / 2: 2500 * time.Millisecond, -time.Minute: 3 * time.Second} {
		if got := p.since(at.Add(ago)); got != want {
			t.Errorf("since %v: %v, want %v", ago, got, want)
		}
	}
}
