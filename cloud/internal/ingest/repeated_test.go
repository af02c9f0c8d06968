package ingest

import (
	"fmt"
	"testing"
	"time"

	"sentinel.home.arpa/cloud/internal/sentinel"
	"sentinel.home.arpa/shared/courier"
	"sentinel.home.arpa/shared/wire"
)

// TestS10_ARepeatedMessageConfirmsNoBundle: without a tailnet anybody on the way may send a
// Pi's message again; the answer to it says nothing, and nobody counts as told.
func TestS10_ARepeatedMessageConfirmsNoBundle(t *testing.T) {
	b := newBench(t)
	old := b.seal(wire.KindHeartbeat, wire.Heartbeat{Header: b.header("pi"), State: "running", Pi: &wire.PiStatus{Bundle: "0123"}}, "pi")
	report := b.seal(wire.KindUPS, wire.UPSReport{Header: b.header("pi"), UPS: "ups", Reading: onMains(), Bundle: "0123"}, "pi")
	leave := b.announcement("pi", wire.SoftReboot)
	for path, envelope := range map[string][]byte{courier.PathHeartbeat: old, courier.PathUPS: report, courier.PathAnnounce: leave} {
		t.Run(path[4:], func(t *testing.T) {
			b.send(path, envelope)
			if b.bundles = nil; b.send(path, envelope).BrainKey != "" || len(b.bundles) > 0 {
				t.Errorf("it named bundles %q", b.bundles)
			}
		})
	}
	again := b.heartbeat("pve1") // a node may have lost the answer, and is told again what it must know
	b.send(courier.PathHeartbeat, again)
	if b.send(courier.PathHeartbeat, again).BrainKey == "" {
		t.Error("a node is not told the brain's key")
	}
}

// TestH2_AWordThatIsRefusedIsNotHeard: what was not told before is told again with the next
// word that counts, and not with one that the table refuses.
func TestH2_AWordThatIsRefusedIsNotHeard(t *testing.T) {
	b := newBench(t)
	b.send(courier.PathHeartbeat, b.heartbeat("pve1"))
	b.pass(time.Second)
	late := b.heartbeat("pve1")
	b.pass(25 * time.Second)
	b.table.Expire(b.time())
	b.taken()
	b.busy(anything)
	h := b.header("pve1")
	h.Boot = boot2
	b.send(courier.PathHeartbeat, b.seal(wire.KindHeartbeat, wire.Heartbeat{Header: h, State: "running"}, "pve1"))
	b.busy(nil)
	b.send(courier.PathHeartbeat, late) // of the boot before
	b.wants()
	b.pass(time.Second)
	h = b.header("pve1")
	h.Boot = boot2
	b.send(courier.PathHeartbeat, b.seal(wire.KindHeartbeat, wire.Heartbeat{Header: h, State: "running"}, "pve1"))
	b.wants(sentinel.Heard{Site: "home", Name: "pve1", Role: sentinel.Node, Boot: boot2},
		sentinel.SystemState{Site: "home", Name: "pve1", Boot: boot2, State: "running"})
}

// TestA7_ADeadNodeIsNotKeptAliveByItsOldWords: also after a word each of more boots than are
// remembered, its last ones that come again change nothing.
func TestA7_ADeadNodeIsNotKeptAliveByItsOldWords(t *testing.T) {
	b := newBench(t)
	var words [][]byte
	for range 30 {
		words = append(words, b.beatOf(boot1, 0))
		b.send(courier.PathHeartbeat, words[len(words)-1])
		b.pass(time.Second)
	}
	for n := range 20 {
		b.send(courier.PathHeartbeat, b.beatOf(fmt.Sprintf("33333333-3333-4333-8333-3333333333%02d", n), 0))
		b.pass(time.Second)
	}
	b.counted()
	before := b.world()
	for _, w := range words {
		b.send(courier.PathHeartbeat, w)
	}
	if got := b.counted()["repeated"]; got != len(words) || b.world() != before {
		t.Errorf("%d of %d old words were refused, the world is\n%s\nand was\n%s", got, len(words), b.world(), before)
	}
	b.pass(21 * time.Second)
	if gone := b.table.Expire(b.time()); len(gone) != 1 || gone[0].Name != "pve1" {
		t.Errorf("silent are %v", gone)
	}
}
