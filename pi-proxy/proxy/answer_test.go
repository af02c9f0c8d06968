package proxy_test

import (
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"sentinel.home.arpa/pi-proxy/proxy"
	"sentinel.home.arpa/shared/config"
	"sentinel.home.arpa/shared/power"
	"sentinel.home.arpa/shared/sim/upssim"
	"sentinel.home.arpa/shared/wire"
)

func TestS10_AnAnswerThatWasOvertakenIsIgnored(t *testing.T) {
	const other = "9a3f0c12-0000-4000-8000-0000000000b2"
	at := func(node, boot string, seq int64) wire.Header { return wire.Header{Node: node, Boot: boot, Seq: seq} }
	var a proxy.Answers
	for i, c := range []struct {
		h    wire.Header
		now  time.Duration
		want bool
	}{
		{at("brain", brainBoot, 10), 0, false},
		{at("brain", brainBoot, 12), time.Second, false},
		{at("brain", brainBoot, 11), 2 * time.Second, true},
		{at("brain-2", brainBoot, 1), 2 * time.Second, false}, // each brain for itself
		{at("brain", brainBoot, 13), 3 * time.Second, false},
		{at("brain", other, 1), 4 * time.Second, false}, // it was started anew
		{at("brain", other, 2), 5 * time.Second, false},
		{at("brain", other, 1), 10 * time.Second, true},
		{at("brain", other, 1), 12 * time.Second, false}, // put back to an older state: nothing is that late
	} {
		if got := a.Overtaken(c.h, c.now); got != c.want {
			t.Errorf("%d: %+v at %v: overtaken is %v", i, c.h, c.now, got)
		}
	}
}

func TestS10_ALateAnswerBringsNoOlderBundleBack(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	b := h.brain
	h.start()
	h.ups.Plug(false) // a report each second
	b.await("it reports on battery", 8*time.Second, func() bool {
		return len(b.reports) > 0 && b.reports[len(b.reports)-1].m.Reading.Supply == power.Battery
	})
	held, release := make(chan struct{}), make(chan struct{})
	b.set(func() { b.held, b.release = held, release })
	older := b.hand(wire.Bundle{Site: "home", Armed: true, Keys: map[string]wire.PublicKey{}})
	<-held
	newer := b.hand(wire.Bundle{Site: "home", Keys: map[string]wire.PublicKey{}})
	b.await("the newer one is named", 10*time.Second, func() bool { return b.reports[len(b.reports)-1].m.Bundle == newer })
	close(release)
	b.awaitBeats(3)
	log := h.log.String()
	if n := strings.Count(log, "hash="+newer); n != 1 || strings.LastIndex(log, "hash="+older) > strings.Index(log, "hash="+newer) {
		t.Errorf("the older bundle %s came back after %s, which was stored %d times", older, newer, n)
	}
}

// Two UPSes share one sequence at the brain, where a report that is overtaken is refused.
func TestU6_ReportsOfTwoUPSesDoNotOvertakeEachOther(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	b := h.brain
	second := upssim.New(upssim.Config{})
	h.cfg.UPS = append(h.cfg.UPS, proxy.UPS{Name: "shed", NIS: serveUPS(t, second), Poll: config.Duration(time.Second)})
	var under, most atomic.Int32
	b.set(func() {
		b.posted = func() {
			most.Store(max(most.Load(), under.Add(1)))
			<-time.After(150 * time.Millisecond) // the brain is slow
			under.Add(-1)
		}
	})
	h.start()
	h.ups.Plug(false)
	second.Plug(false)
	b.await("reports of both", 15*time.Second, func() bool {
		n := map[string]int{}
		for _, r := range b.reports {
			n[r.m.UPS]++
		}
		return n["rack"] > 3 && n["shed"] > 3
	})
	if n := most.Load(); n != 1 {
		t.Errorf("%d reports were under way at once", n)
	}
	_, reports := b.seen()
	for i := range reports[1:] {
		if reports[i].m.Seq >= reports[i+1].m.Seq {
			t.Errorf("report %d of %s was overtaken", i, reports[i].m.UPS)
		}
	}
}
