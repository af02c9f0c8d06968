//go:build apcupsd

package ups

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"sentinel.home.arpa/shared/power"
	"sentinel.home.arpa/shared/sim/smartups"
)

// rig is a unit, the real apcupsd on it, and a Poller that its events poke.
type rig struct {
	t      *testing.T
	unit   *smartups.UPS
	daemon *smartups.Apcupsd
	config smartups.Daemon
	seen   chan Observation

	mu     sync.Mutex
	events []string
}

func newRig(t *testing.T) *rig {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := ln.Addr().(*net.TCPAddr).Port
	unit, err := smartups.Open()
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{t: t, unit: unit, seen: make(chan Observation, 10_000)}
	client := &Client{Addr: ln.Addr().String()}
	if err := ln.Close(); err != nil {
		t.Fatal(err)
	}
	p := NewPoller(client, 100*time.Millisecond, func(o Observation) { r.seen <- o })
	r.config = smartups.Daemon{Dir: t.TempDir(), Device: unit.Device(), Port: port, OnEvent: func(e string) {
		r.mu.Lock()
		r.events = append(r.events, e)
		r.mu.Unlock()
		p.Poke()
	}}
	ctx, cancel := context.WithCancel(context.Background())
	var tasks sync.WaitGroup
	tasks.Go(func() {
		if err := unit.Run(ctx); err != nil {
			t.Errorf("unit: %v", err)
		}
	})
	t.Cleanup(func() {
		cancel()
		tasks.Wait()
	})
	r.start()
	t.Cleanup(func() {
		r.t = t // not that of a part, which has ended
		r.stop()
	})
	tasks.Go(func() {
		if err := p.Run(ctx); err != nil {
			t.Errorf("poller: %v", err)
		}
	})
	return r
}

func (r *rig) start() {
	r.t.Helper()
	d, err := smartups.StartApcupsd(context.Background(), r.config)
	if err != nil {
		log, _ := os.ReadFile(filepath.Join(r.config.Dir, "log"))
		r.t.Fatalf("%v\n%s", err, log)
	}
	r.daemon = d
}

func (r *rig) stop() {
	if r.daemon == nil {
		return
	}
	if err := r.daemon.Stop(); err != nil {
		r.t.Errorf("stop apcupsd: %v", err)
	}
	r.daemon = nil
}

// until waits for an observation, prints how long it took, and fails at one that may
// not come before it.
func (r *rig) until(what string, within time.Duration, want, never func(power.Reading) bool) power.Reading {
	r.t.Helper()
	begin := time.Now()
	late := time.NewTimer(within)
	defer late.Stop()
	var last Observation
	for {
		select {
		case o := <-r.seen:
			if o.At.Before(begin) {
				continue
			}
			last = o
			if never != nil && never(o.Reading) {
				r.t.Fatalf("%s: saw %+v after %v", what, o.Reading, o.At.Sub(begin))
			}
			if want(o.Reading) {
				r.t.Logf("%-45s %8.3f s  %s", what, o.At.Sub(begin).Seconds(), o.Reading.Supply)
				return o.Reading
			}
		case <-late.C:
			r.t.Fatalf("%s: not within %v; last %+v", what, within, last)
		}
	}
}

// happened waits for an event of apccontrol's and forgets those before it.
func (r *rig) happened(event string, within time.Duration) {
	r.t.Helper()
	late := time.NewTimer(within)
	defer late.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		r.mu.Lock()
		i := slices.Index(r.events, event)
		if i >= 0 {
			r.events = r.events[i+1:]
		}
		events := slices.Clone(r.events)
		r.mu.Unlock()
		if i >= 0 {
			return
		}
		select {
		case <-tick.C:
		case <-late.C:
			r.t.Fatalf("no %s within %v, only %v", event, within, events)
		}
	}
}

func supply(s power.Supply) func(power.Reading) bool {
	return func(r power.Reading) bool { return r.Supply == s && r.LostFor == nil }
}

func is(s power.Supply) func(power.Reading) bool {
	return func(r power.Reading) bool { return r.Supply == s }
}

func lost(r power.Reading) bool { return r.LostFor != nil }

func TestU1_Apcupsd(t *testing.T) {
	r := newRig(t)
	s := r.until("apcupsd is up: on mains", 20*time.Second, supply(power.Mains), is(power.Battery))
	if s.Charge == nil || *s.Charge != 1 || s.Runtime == nil || *s.Runtime != 42*60 || s.Model != "FAKE Smart-UPS 1500" {
		t.Errorf("on mains: %+v", s.Status)
	}
	t.Run("U2 outage", r.outage)
	t.Run("U3 self-test", r.selfTest)
	t.Run("U5 low battery", r.lowBattery)
	t.Run("U5 restart of apcupsd", r.restart)
	t.Run("U5 contact lost", r.contactLost)
}

func (r *rig) outage(t *testing.T) {
	r.t = t
	r.unit.SetCharge(71)
	r.unit.Plug(false)
	s := r.until("plug pulled: on battery", 2*time.Second, supply(power.Battery), nil)
	if s.For > 1 {
		t.Errorf("on battery for %v s at once", s.For)
	}
	r.happened("powerout", time.Second)
	s = r.until("... confirmed by apcupsd", 10*time.Second, func(s power.Reading) bool {
		return s.Flags.Has(power.OutageConfirmed)
	}, is(power.Mains))
	if s.For < 5 || *s.Charge != 0.71 {
		t.Errorf("on battery for %v s, charge %v", s.For, *s.Charge)
	}
	r.happened("onbattery", time.Second)
	r.unit.Plug(true)
	r.until("plug back: on mains", 2*time.Second, supply(power.Mains), lost)
	r.happened("mainsback", time.Second)
}

func (r *rig) selfTest(t *testing.T) {
	r.t = t
	r.unit.SelfTest(true)
	r.until("self-test", 2*time.Second, supply(power.SelfTest), is(power.Battery))
	r.happened("startselftest", time.Second)
	r.until("... for 8 s, past apcupsd's delay", 10*time.Second, func(s power.Reading) bool { return s.For > 8 }, is(power.Battery))
	r.unit.SelfTest(false)
	r.until("... over: on mains", 2*time.Second, supply(power.Mains), is(power.Battery))
	r.happened("endselftest", time.Second)
	r.unit.Plug(false)
	r.until("an outage after it", 2*time.Second, supply(power.Battery), is(power.SelfTest))
	r.unit.Plug(true)
	r.until("... over: on mains", 2*time.Second, supply(power.Mains), nil)
}

func (r *rig) lowBattery(t *testing.T) {
	r.t = t
	r.unit.Plug(false)
	r.until("plug pulled: on battery", 2*time.Second, supply(power.Battery), nil)
	r.unit.LowBattery(true)
	r.until("battery low", 2*time.Second, func(s power.Reading) bool { return s.LowFor != nil }, is(power.Mains))
	r.happened("doshutdown", 10*time.Second)
	r.until("apcupsd would shut the Pi down", time.Second, func(s power.Reading) bool {
		return s.Flags.Has(power.Shutdown)
	}, is(power.Mains))
	r.unit.LowBattery(false)
	r.unit.Plug(true)
	s := r.until("plug back: on mains, though SHUTTING DOWN", 2*time.Second, supply(power.Mains), nil)
	if !s.Flags.Has(power.Shutdown) || s.LowFor != nil {
		t.Errorf("mains back: %+v", s)
	}
}

// On a serial line at its real speed a starting apcupsd says ONLINE for a second or
// two, also on battery.
func (r *rig) restart(t *testing.T) {
	r.t = t
	r.unit.SetCharge(71)
	r.unit.Plug(false)
	r.until("plug pulled: on battery", 4*time.Second, func(s power.Reading) bool {
		return s.Supply == power.Battery && s.Charge != nil && *s.Charge == 0.71
	}, nil)
	r.unit.Pace(4200 * time.Microsecond)
	r.stop()
	r.start()
	begin := time.Now()
	s := r.until("restarted on battery, at 2400 baud", 20*time.Second, supply(power.Battery), func(s power.Reading) bool {
		return s.Supply != power.Battery || s.Charge == nil || *s.Charge != 0.71
	})
	if s.For.Duration() < time.Since(begin) {
		t.Errorf("the time on battery began anew: %v s", s.For)
	}
	r.unit.Pace(0)
}

func (r *rig) contactLost(t *testing.T) {
	r.t = t
	r.unit.Mute(true)
	s := r.until("cable pulled on battery: contact lost", 60*time.Second, func(s power.Reading) bool {
		return s.Flags.Has(power.CommLost)
	}, is(power.Mains))
	if s.Supply != power.Battery || s.LostFor == nil {
		t.Errorf("contact lost: %+v", s)
	}
	r.happened("commfailure", 2*time.Second)
	r.unit.Mute(false)
	r.until("cable back: on battery still", 20*time.Second, supply(power.Battery), is(power.Mains))
	r.happened("commok", 2*time.Second)
	r.unit.Plug(true)
	r.until("plug back: on mains", 2*time.Second, supply(power.Mains), nil)
}
