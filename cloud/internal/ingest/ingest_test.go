package ingest

import (
	"bytes"
	"context"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sentinel.home.arpa/cloud/internal/cause"
	"sentinel.home.arpa/cloud/internal/sentinel"
	"sentinel.home.arpa/shared/courier"
	"sentinel.home.arpa/shared/power"
	"sentinel.home.arpa/shared/shutdown"
	"sentinel.home.arpa/shared/wire"
)

func (b *bench) wants(want ...sentinel.Input) {
	b.Helper()
	if diff := cmp.Diff(want, b.taken()); diff != "" {
		b.Errorf("inputs (-want +got):\n%s", diff)
	}
}

// TestHeartbeats_OnlyTransitionsReachTheLoop: a heartbeat a second is no input.
func TestHeartbeats_OnlyTransitionsReachTheLoop(t *testing.T) {
	b := newBench(t)
	b.send(courier.PathHeartbeat, b.heartbeat("pve1"))
	b.wants(sentinel.Heard{Site: "home", Name: "pve1", Role: sentinel.Node, Boot: boot1},
		sentinel.SystemState{Site: "home", Name: "pve1", Boot: boot1, State: "running"})
	for range 30 {
		b.pass(time.Second)
		b.send(courier.PathHeartbeat, b.heartbeat("pve1"))
	}
	b.wants()
	h := b.header("pve1")
	h.Boot = boot2
	b.send(courier.PathHeartbeat, b.seal(wire.KindHeartbeat, wire.Heartbeat{Header: h, State: "stopping"}, "pve1"))
	b.wants(sentinel.Heard{Site: "home", Name: "pve1", Role: sentinel.Node, Boot: boot2},
		sentinel.SystemState{Site: "home", Name: "pve1", Boot: boot2, State: "stopping"})
}

// TestH10_HeardByThePi: a Pi's word counts for the nodes of its own site, and only those.
func TestH10_HeardByThePi(t *testing.T) {
	b := newBench(t)
	heard := func(node string) wire.Heard {
		return wire.Heard{Node: node, Boot: boot1, Seq: 7, AgeMS: 400, State: "running"}
	}
	run := shutdown.Status{ID: "run", State: shutdown.Begun}
	of := b.header("pi")
	b.send(courier.PathHeartbeat, b.seal(wire.KindHeartbeat, wire.Heartbeat{Header: of, Pi: &wire.PiStatus{
		Heard: []wire.Heard{heard("pve2"), heard("nas"), heard("pi"), heard("stranger")}, Bundle: "0123", Run: &run}}, "pi"))
	b.wants(sentinel.Heard{Site: "home", Name: "pi", Role: sentinel.Pi, Boot: boot1},
		sentinel.Heard{Site: "home", Name: "pve2", Role: sentinel.Node, Boot: boot1, Via: "pi"},
		sentinel.SystemState{Site: "home", Name: "pve2", Boot: boot1, State: "running"},
		sentinel.PiReported{Site: "home", Pi: "pi", Run: run, Boot: of.Boot, Seq: of.Seq})
	if !slices.Equal(b.bundles, []string{"0123"}) {
		t.Errorf("bundles %q", b.bundles)
	}
	last := b.table.Site("home")
	if i := slices.IndexFunc(last, func(s cause.Source) bool { return s.Name == "pve2" }); i < 0 || b.time().Sub(last[i].Last) != 400*time.Millisecond {
		t.Errorf("the table has %+v", last)
	}
}

// TestH2_LateHeartbeatsAreNoSigns: one that lay in a buffer for 20 s proves nothing.
func TestH2_LateHeartbeatsAreNoSigns(t *testing.T) {
	b := newBench(t)
	b.send(courier.PathHeartbeat, b.heartbeat("pve1"))
	late := b.heartbeat("pve1")
	b.pass(30 * time.Second)
	if n := len(b.table.Expire(b.time())); n != 1 {
		t.Fatalf("%d sources are silent", n)
	}
	b.taken()
	b.send(courier.PathHeartbeat, late)
	b.wants()
}

// TestH2_LostTransitionsAreToldAgain: a node that the loop holds for down while its
// heartbeats arrive would not be missed when it really fails.
func TestH2_LostTransitionsAreToldAgain(t *testing.T) {
	b := newBench(t)
	b.busy(anything)
	b.send(courier.PathHeartbeat, b.heartbeat("pve1"))
	b.wants()
	b.busy(nil)
	b.pass(time.Second)
	b.send(courier.PathHeartbeat, b.heartbeat("pve1"))
	b.wants(sentinel.Heard{Site: "home", Name: "pve1", Role: sentinel.Node, Boot: boot1},
		sentinel.SystemState{Site: "home", Name: "pve1", Boot: boot1, State: "running"})
	b.pass(time.Second)
	b.send(courier.PathHeartbeat, b.heartbeat("pve1"))
	b.wants()
}

// TestU1_ReportsCarryTheirLag: what was on its way for longer than usual is told with it.
func TestU1_ReportsCarryTheirLag(t *testing.T) {
	b := newBench(t)
	b.send(courier.PathUPS, b.report("pi", onMains()))
	b.pass(5 * time.Second)
	run := shutdown.Status{ID: "run", State: shutdown.Advancing}
	m := wire.UPSReport{Header: b.header("pi"), UPS: "ups", Reading: power.Reading{Supply: power.Battery, For: 2}, Bundle: "0123", Run: &run, Cutting: true}
	b.pass(4 * time.Second)
	b.taken()
	b.send(courier.PathUPS, b.seal(wire.KindUPS, m, "pi"))
	in := b.taken()
	if len(in) != 2 || !cmp.Equal(in[0], sentinel.Input(sentinel.PiReported{Site: "home", Pi: "pi", Run: run, Boot: m.Boot, Seq: m.Seq})) {
		t.Fatalf("the Pi's run comes first, since it may keep the brain from beginning; got %+v", in)
	}
	r, ok := in[1].(sentinel.UPSReported)
	if !ok || r.Site != "home" || r.Pi != "pi" || r.UPS != "ups" || r.Reading.Supply != power.Battery || !r.Cutting {
		t.Errorf("got %+v", in[1])
	}
	if off := r.Lag - 4*time.Second; off.Abs() > 20*time.Millisecond {
		t.Errorf("the lag is %s, not 4 s", r.Lag)
	}
}

// TestU1_UnsavedReportsAreRefused: the Pi hears that the brain is busy.
func TestU1_UnsavedReportsAreRefused(t *testing.T) {
	b := newBench(t)
	b.busy(anything)
	b.refusedWith(b.post(courier.PathUPS, bytes.NewReader(b.report("pi", onMains()))), http.StatusServiceUnavailable)
	m := wire.UPSReport{Header: b.header("pi"), UPS: "ups", Reading: onMains(), Run: &shutdown.Status{ID: "run"}}
	b.refusedWith(b.post(courier.PathUPS, bytes.NewReader(b.seal(wire.KindUPS, m, "pi"))), http.StatusServiceUnavailable)
}

// announced is what the loop is told of an announcement.
func (b *bench) announced(envelope []byte, via string, age time.Duration) sentinel.Announced {
	b.Helper()
	e, err := wire.Read(envelope)
	if err != nil {
		b.Fatal(err)
	}
	var m wire.Announcement
	if err := e.Decode(wire.KindAnnouncement, &m); err != nil {
		b.Fatal(err)
	}
	return sentinel.Announced{Site: "home", Name: m.Node, Boot: boot1, ID: "id-" + string(m.Kind), Kind: string(m.Kind),
		Returns: m.Kind.Returns(), Via: via, Age: age, Seq: m.Seq}
}

// TestA3_UnsavedAnnouncementsAreNotLost: the node posts the same envelope again until it
// is acknowledged, and the first that the loop takes counts, once.
func TestA3_UnsavedAnnouncementsAreNotLost(t *testing.T) {
	b := newBench(t)
	envelope := b.announcement("pve1", wire.Poweroff)
	b.busy(anything)
	for range 2 {
		b.refusedWith(b.post(courier.PathAnnounce, bytes.NewReader(envelope)), http.StatusServiceUnavailable)
	}
	b.busy(nil)
	b.send(courier.PathAnnounce, envelope)
	b.wants(b.announced(envelope, "", 0))
	b.send(courier.PathAnnounce, envelope)
	b.wants()
}

// TestA3_UnsavedAnnouncementsKeepTheirOrder: one that was overtaken comes to nothing.
func TestA3_UnsavedAnnouncementsKeepTheirOrder(t *testing.T) {
	b := newBench(t)
	first := b.announcement("pve1", wire.Poweroff)
	b.busy(anything)
	b.refusedWith(b.post(courier.PathAnnounce, bytes.NewReader(first)), http.StatusServiceUnavailable)
	b.busy(nil)
	second := b.announcement("pve1", wire.Cancelled)
	b.send(courier.PathAnnounce, second)
	b.wants(b.announced(second, "", 0))
	b.send(courier.PathAnnounce, first)
	b.wants()
	if len(b.h.unsaved.seqs) > 0 {
		t.Errorf("still remembered: %v", b.h.unsaved.seqs)
	}
}

// TestA3_NoAcknowledgementBeforeTheDisk: the copy that comes through a Pi while the
// direct one waits for the disk is not taken off the Pi's hands either.
func TestA3_NoAcknowledgementBeforeTheDisk(t *testing.T) {
	b := newBench(t)
	waiting, disk := make(chan struct{}), make(chan error, 2)
	var once sync.Once
	b.submit = func(ctx context.Context, _ sentinel.Input) error {
		once.Do(func() { close(waiting) })
		return <-disk
	}
	envelope := b.announcement("pve1", wire.Poweroff)
	direct := make(chan int)
	go func() { direct <- b.post(courier.PathAnnounce, bytes.NewReader(envelope)).Code }()
	<-waiting
	disk <- errBusy // for the one or the other
	disk <- errBusy
	if a := b.send(courier.PathRelay, b.relayed("pi", envelope)); len(a.Taken) > 0 {
		t.Errorf("taken %v, and it is on no disk", a.Taken)
	}
	if code := <-direct; code != http.StatusServiceUnavailable {
		t.Errorf("the node got a %d", code)
	}
	b.busy(nil)
	if a := b.send(courier.PathRelay, b.relayed("pi", envelope)); !slices.Equal(a.Taken, []int{0}) {
		t.Errorf("taken %v", a.Taken)
	}
	if in := b.taken(); len(in) != 1 {
		t.Errorf("inputs %+v", in)
	}
}

// TestA2_Relay: every message is judged by its own signature; what can never be taken is
// taken off the Pi's hands and counted.
func TestA2_Relay(t *testing.T) {
	b := newBench(t)
	again := b.announcement("pve2", wire.Reboot)
	b.send(courier.PathAnnounce, again)
	b.taken()
	b.counted()
	good, bad := b.announcement("pve1", wire.Reboot), b.announcement("pve1", wire.Halt)
	forged := b.seal(wire.KindAnnouncement, wire.Announcement{Header: b.header("pve1"), ID: "x", Kind: wire.Poweroff}, "pi")
	a := b.send(courier.PathRelay, b.relayed("pi",
		good,                                  // taken
		b.announcement("stranger", wire.Halt), // dropped
		forged,                                // dropped
		[]byte("{"),                           // dropped
		bad[:len(bad)-9],                      // dropped
		b.announcement("nas", wire.Halt),      // another site's: dropped
		b.heartbeat("pve1"),                   // not to be relayed: dropped
		b.announcement("pi", wire.Halt),       // no node: dropped
		again,                                 // it came directly
	))
	if want := []int{0, 1, 2, 3, 4, 5, 6, 7, 8}; !slices.Equal(a.Taken, want) {
		t.Errorf("taken %v, not %v", a.Taken, want)
	}
	b.wants(b.announced(good, "pi", 1500*time.Millisecond))
	if diff := cmp.Diff(map[string]int{"relayed": 7}, b.counted()); diff != "" {
		t.Errorf("counted (-want +got):\n%s", diff)
	}
}

// TestA3_BusyLoopLeavesItWithThePi until it can be saved.
func TestA3_BusyLoopLeavesItWithThePi(t *testing.T) {
	b := newBench(t)
	one, two := b.announcement("pve1", wire.Reboot), b.announcement("pve2", wire.Reboot)
	b.busy(func(in sentinel.Input) bool { a, ok := in.(sentinel.Announced); return ok && a.Name == "pve1" })
	if a := b.send(courier.PathRelay, b.relayed("pi", one, two)); !slices.Equal(a.Taken, []int{1}) {
		t.Errorf("taken %v, not the second alone", a.Taken)
	}
	b.wants(b.announced(two, "pi", 1500*time.Millisecond))
	b.busy(nil)
	if a := b.send(courier.PathRelay, b.relayed("pi", one)); !slices.Equal(a.Taken, []int{0}) {
		t.Errorf("taken %v", a.Taken)
	}
	b.wants(b.announced(one, "pi", 1500*time.Millisecond))
}

// TestConcurrentPosts is for the race detector.
func TestConcurrentPosts(t *testing.T) {
	b := newBench(t)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 20 {
				b.post(courier.PathHeartbeat, bytes.NewReader(b.heartbeat("pve1")))
				b.post(courier.PathAnnounce, bytes.NewReader(b.announcement("pve2", wire.Reboot)))
				b.post(courier.PathRelay, bytes.NewReader(b.relayed("pi", b.announcement("pve1", wire.Halt))))
				b.post(courier.PathUPS, bytes.NewReader(b.report("pi", onMains())))
			}
		})
	}
	wg.Wait()
	if n := b.counted()["internal"]; n > 0 {
		t.Errorf("%d internal errors", n)
	}
}
