package ingest

import (
	"bytes"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sentinel.home.arpa/cloud/internal/liveness"
	"sentinel.home.arpa/cloud/internal/sentinel"
	"sentinel.home.arpa/shared/courier"
	"sentinel.home.arpa/shared/wire"
)

// beatOf is a heartbeat of pve1's boot, whose own clock is ahead of the brain's.
func (b *bench) beatOf(boot string, ahead time.Duration) []byte {
	h := b.header("pve1")
	h.Boot = boot
	h.Seq += ahead.Microseconds()
	return b.seal(wire.KindHeartbeat, wire.Heartbeat{Header: h, State: "running"}, "pve1")
}

// hears is the Pi's word that it hears nodes.
func (b *bench) hears(heard ...wire.Heard) {
	b.Helper()
	b.send(courier.PathHeartbeat, b.seal(wire.KindHeartbeat, wire.Heartbeat{Header: b.header("pi"), Pi: &wire.PiStatus{Heard: heard}}, "pi"))
}

// of are the inputs of some types, since the last time.
func (b *bench) only(want func(sentinel.Input) bool) []sentinel.Input {
	return slices.DeleteFunc(b.taken(), func(in sentinel.Input) bool { return !want(in) })
}

func aboutPi(in sentinel.Input) bool {
	h, ok := in.(sentinel.Heard)
	return ok && h.Name == "pi"
}

func heardAs(name, boot string) sentinel.Heard {
	return sentinel.Heard{Site: "home", Name: name, Role: sentinel.Node, Boot: boot}
}

// TestH11_Clones: two boots that come in turn are two machines, whichever way their words
// come, and the silence of each is its own.
func TestH11_Clones(t *testing.T) {
	for name, second := range map[string]func(b *bench){
		"both directly": func(b *bench) { b.send(courier.PathHeartbeat, b.beatOf(boot2, time.Hour)) },
		"one through the Pi": func(b *bench) {
			b.hears(wire.Heard{Node: "pve1", Boot: boot2, Seq: (b.sinceBoot() + time.Hour).Microseconds(), AgeMS: 20, State: "running"})
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.hears()
			b.send(courier.PathHeartbeat, b.beatOf(boot1, 0))
			b.pass(time.Second)
			b.taken()
			var got []sentinel.Input
			for range 5 {
				second(b)
				b.pass(500 * time.Millisecond)
				b.send(courier.PathHeartbeat, b.beatOf(boot1, 0))
				b.pass(500 * time.Millisecond)
				for _, in := range b.only(func(in sentinel.Input) bool { return !aboutPi(in) }) {
					if h, ok := in.(sentinel.Heard); ok {
						h.Via = "" // or the Pi
						in = h
					}
					got = append(got, in)
				}
			}
			want := []sentinel.Input{
				heardAs("pve1", boot2), // it may as well have booted
				sentinel.Cloned{Site: "home", Name: "pve1", As: "pve1 (2)", Boot: boot2}, heardAs("pve1", boot1),
				sentinel.SystemState{Site: "home", Name: "pve1 (2)", Boot: boot2, State: "running"},
				sentinel.SystemState{Site: "home", Name: "pve1", Boot: boot1, State: "running"},
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			for range 25 {
				b.pass(time.Second)
				b.send(courier.PathHeartbeat, b.beatOf(boot1, 0))
			}
			if s := b.table.Expire(b.time()); !slices.ContainsFunc(s, func(x liveness.Silence) bool { return x.Name == "pve1 (2)" }) || slices.ContainsFunc(s, func(x liveness.Silence) bool { return x.Name == "pve1" }) {
				t.Errorf("silent are %v", s)
			}
			b.pass(25 * time.Second)
			second(b)
			if s := b.table.Expire(b.time()); !slices.ContainsFunc(s, func(x liveness.Silence) bool { return x.Name == "pve1" }) {
				t.Errorf("silent are %v", s)
			}
		})
	}
}

// TestH11_ARebootIsNoClone, with the last words of the old boot held back and copied.
func TestH11_ARebootIsNoClone(t *testing.T) {
	b := newBench(t)
	b.hears()
	b.send(courier.PathHeartbeat, b.beatOf(boot1, 0))
	b.pass(time.Second)
	copied, held := b.beatOf(boot1, 0), b.beatOf(boot1, 0)
	last := (b.sinceBoot() + 10*time.Millisecond).Microseconds()
	b.send(courier.PathHeartbeat, copied)
	b.pass(6 * time.Second)
	b.taken()
	for i := range 20 {
		b.send(courier.PathHeartbeat, b.beatOf(boot2, -b.sinceBoot()+time.Duration(i+1)*time.Second))
		b.pass(500 * time.Millisecond)
		b.hears(wire.Heard{Node: "pve1", Boot: boot1, Seq: last, AgeMS: int64(i), State: "running"}) // its clock stands still
		b.send(courier.PathHeartbeat, copied)
		if i == 2 {
			b.send(courier.PathHeartbeat, held)
		}
		b.pass(500 * time.Millisecond)
	}
	b.wants(heardAs("pve1", boot2))
}

// TestH11_ABusyLoopIsToldLater of the second machine.
func TestH11_ABusyLoopIsToldLater(t *testing.T) {
	b := newBench(t)
	b.busy(func(in sentinel.Input) bool { _, ok := in.(sentinel.Cloned); return ok })
	round := func() {
		b.send(courier.PathHeartbeat, b.beatOf(boot1, 0))
		b.pass(500 * time.Millisecond)
		b.send(courier.PathHeartbeat, b.beatOf(boot2, time.Hour))
		b.pass(500 * time.Millisecond)
	}
	for range 4 {
		round()
	}
	for _, in := range b.taken() {
		if h, ok := in.(sentinel.Heard); ok && h.Name != "pve1" {
			t.Errorf("told of %+v, whom nobody knows", h)
		}
	}
	b.busy(nil)
	for range 4 {
		round()
	}
	if got := b.only(func(in sentinel.Input) bool { _, ok := in.(sentinel.Cloned); return ok }); len(got) != 1 {
		t.Errorf("told of %v", got)
	}
}

// TestH11_NobodyCallsItselfSo: what a second machine is called is no name on the wire.
func TestH11_NobodyCallsItselfSo(t *testing.T) {
	name := liveness.CloneName("pve1")
	if wire.ValidName(name) == nil {
		t.Errorf("%q is a name", name)
	}
	b := newBench(t)
	h := b.header("pve1")
	h.Node = name
	data := b.seal(wire.KindHeartbeat, wire.Heartbeat{Header: h}, "pve1")
	b.refusedWith(b.post(courier.PathHeartbeat, bytes.NewReader(data)), http.StatusBadRequest)
	data = b.seal(wire.KindHeartbeat, wire.Heartbeat{Header: b.header("pi"), Pi: &wire.PiStatus{Heard: []wire.Heard{{Node: name, Boot: boot1, Seq: 1}}}}, "pi")
	if w := b.post(courier.PathHeartbeat, bytes.NewReader(data)); w.Code != http.StatusBadRequest && slices.ContainsFunc(b.taken(), func(in sentinel.Input) bool { return !aboutPi(in) }) {
		t.Errorf("the Pi's word about %q was taken: %d", name, w.Code)
	}
}

// TestH10_ThroughThePiAlone is told after a minute, and the next direct word too, also if
// the loop is busy at first.
func TestH10_ThroughThePiAlone(t *testing.T) {
	b := newBench(t)
	b.send(courier.PathHeartbeat, b.beatOf(boot1, 0))
	since := b.time()
	through := func(seconds int) {
		for range seconds {
			b.pass(time.Second)
			b.hears(wire.Heard{Node: "pve1", Boot: boot1, Seq: b.sinceBoot().Microseconds(), State: "running"})
		}
	}
	b.taken()
	through(60)
	if got := b.only(func(in sentinel.Input) bool { return !aboutPi(in) }); len(got) > 0 {
		t.Errorf("after a minute %+v", got)
	}
	b.busy(anything)
	through(1)
	b.busy(nil)
	through(30)
	b.wants(sentinel.Indirect{Site: "home", Name: "pve1", Via: "pi", Since: since})
	b.busy(anything)
	b.send(courier.PathHeartbeat, b.beatOf(boot1, time.Second))
	b.busy(nil)
	b.pass(time.Second)
	b.send(courier.PathHeartbeat, b.beatOf(boot1, time.Second))
	b.wants(sentinel.Direct{Site: "home", Name: "pve1"})
}
