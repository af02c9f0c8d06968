package ingest

import (
	"bytes"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sentinel.home.arpa/cloud/internal/sentinel"
	"sentinel.home.arpa/shared/courier"
	"sentinel.home.arpa/shared/power"
	"sentinel.home.arpa/shared/wire"
)

func (b *bench) record(by string, left int, entries ...wire.Noted) []byte {
	return b.seal(wire.KindRecord, wire.Record{Header: b.header(by), Entries: entries, Left: left, Bundle: "0123"}, by)
}

// trusts has a Pi be heard for long enough to be believed how old its record is.
func (b *bench) trusts(pi string) {
	b.Helper()
	for range 2 {
		b.send(courier.PathHeartbeat, b.seal(wire.KindHeartbeat, wire.Heartbeat{Header: b.header(pi), State: "running", Pi: &wire.PiStatus{}}, pi))
		b.pass(heardBefore)
	}
}

func lowOnBattery() *power.Reading {
	low := power.Seconds(3)
	return &power.Reading{Status: power.Status{Flags: power.OnBattery | power.LowBattery}, Supply: power.Battery, For: 30, LowFor: &low}
}

// TestN7_ARecordReachesTheLoopAsHistory: with its ages, and as nothing but a record.
func TestN7_ARecordReachesTheLoopAsHistory(t *testing.T) {
	b := newBench(t)
	b.trusts("pi")
	envelope := b.record("pi", 7, wire.Noted{AgeMS: 90_000, AtLeast: true, UPS: "ups", Reading: lowOnBattery()}, wire.Noted{AgeMS: 80_000, AtLeast: true, Node: "pve1"},
		wire.Noted{AgeMS: 60_000, Node: "pi", Heard: true},
		wire.Noted{AgeMS: 50_000, Node: "pi", Heard: true, Call: &wire.NotedCall{Contact: "Alex", Why: "the sentinel is down"}},
		wire.Noted{AgeMS: 40_000, Node: "pve1", Heard: true, Call: &wire.NotedCall{Contact: "Alex", Why: "of another"}})
	b.taken()
	b.bundles = nil
	b.pass(3 * time.Second)
	b.send(courier.PathRecord, envelope)
	in := b.taken()
	if len(in) != 1 {
		t.Fatalf("inputs %+v", in)
	}
	got := in[0].(sentinel.Recorded)
	for i := range got.Entries {
		got.Entries[i].Ago = got.Entries[i].Ago.Round(10 * time.Millisecond)
	}
	want := sentinel.Recorded{Site: "home", Pi: "pi", Left: 7, Entries: []sentinel.Record{
		{Ago: 93 * time.Second, AtLeast: true, UPS: "ups", Reading: *lowOnBattery()}, {Ago: 83 * time.Second, AtLeast: true, Node: "pve1"}, {Ago: 63 * time.Second, Node: "pi", Heard: true},
		{Ago: 53 * time.Second, Node: "pi", Heard: true, Called: "Alex", Why: "the sentinel is down"}, {Ago: 43 * time.Second, Node: "pve1", Heard: true}}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"0123"}, b.bundles); diff != "" {
		t.Errorf("bundles %s", diff)
	}
	b.send(courier.PathRecord, b.record("pi", 0)) // that nothing was noted is said too
	b.wants(sentinel.Recorded{Site: "home", Pi: "pi"})
}

// TestN7_StrangersInARecordAreLeftOut: what is not of the site has no story there, and
// holds up nothing.
func TestN7_StrangersInARecordAreLeftOut(t *testing.T) {
	b := newBench(t)
	b.trusts("pi")
	b.taken()
	b.counted()
	b.send(courier.PathRecord, b.record("pi", 0, wire.Noted{Node: "nas"}, wire.Noted{Node: "gone", Heard: true}, wire.Noted{Node: "pve2"}))
	if in := b.taken(); len(in) != 1 || len(in[0].(sentinel.Recorded).Entries) != 1 {
		t.Errorf("inputs %+v", in)
	}
	if diff := cmp.Diff(map[string]int{"recorded": 1}, b.counted()); diff != "" {
		t.Errorf("counted (-want +got):\n%s", diff)
	}
}

// TestN7_ARecordIsAnsweredOnceItIsOnDisk: else the Pi keeps it, and sends it anew.
func TestN7_ARecordIsAnsweredOnceItIsOnDisk(t *testing.T) {
	b := newBench(t)
	b.trusts("pi")
	b.busy(anything)
	entry := wire.Noted{AgeMS: 5, Node: "pve1"}
	envelope := b.record("pi", 0, entry)
	b.refusedWith(b.post(courier.PathRecord, bytes.NewReader(envelope)), http.StatusServiceUnavailable)
	b.busy(nil)
	b.refusedWith(b.post(courier.PathRecord, bytes.NewReader(envelope)), http.StatusConflict)
	b.send(courier.PathRecord, b.record("pi", 0, entry))
}

// TestU6_ARecordThatComesAgainChangesNothing, also in a brain that was started anew, and one
// that somebody held back.
func TestU6_ARecordThatComesAgainChangesNothing(t *testing.T) {
	b := newBench(t)
	once := b.record("pi", 0, wire.Noted{AgeMS: 5, UPS: "ups", Reading: lowOnBattery()})
	held := b.record("pi", 0, wire.Noted{AgeMS: 5, UPS: "ups", Reading: lowOnBattery()})
	again := func(reason string) {
		t.Helper()
		b.check(courier.PathRecord, refusal{"", 409, reason, bytes.NewReader(once)})
	}
	again("held-back") // nothing was heard of this Pi before
	again("held-back")
	b.send(courier.PathRelay, b.relayed("pi", b.announcement("pve1", wire.Reboot))) // nor does that do
	again("held-back")
	b.pass(time.Minute)
	b.trusts("pi")
	b.check(courier.PathRecord, refusal{"", 409, "held-back", bytes.NewReader(held)})
	fresh := b.record("pi", 0)
	b.send(courier.PathRecord, fresh)
	b.check(courier.PathRecord, refusal{"", 409, "answered", bytes.NewReader(fresh)})
	again("answered")
}

// TestU6_RecordsThatCannotBe are refused as a whole.
func TestU6_RecordsThatCannotBe(t *testing.T) {
	ups := func(change func(r *power.Reading)) wire.Noted {
		r := lowOnBattery()
		change(r)
		return wire.Noted{UPS: "ups", Reading: r}
	}
	good := wire.Noted{Node: "pve1"}
	for name, bad := range map[string]wire.Noted{
		"8 days old":          {AgeMS: 8 * 24 * 3600_000, Node: "pve1"},
		"from the future":     {AgeMS: -1, Node: "pve1"},
		"about nothing":       {},
		"about both":          {Node: "pve1", UPS: "ups", Reading: lowOnBattery()},
		"no reading":          {UPS: "ups"},
		"a node's reading":    {Node: "pve1", Reading: lowOnBattery()},
		"a UPS that is heard": {UPS: "ups", Reading: lowOnBattery(), Heard: true},
		"a UPS of no name":    {UPS: "../x", Reading: lowOnBattery()},
		"a node of no name":   {Node: "../x"},
		"charge 250 %":        ups(func(r *power.Reading) { v := 2.5; r.Charge = &v }),
		"an unknown supply":   ups(func(r *power.Reading) { r.Supply = "steam" }),
		"a UPS that calls":    {UPS: "ups", Reading: lowOnBattery(), Call: &wire.NotedCall{Contact: "Alex", Why: "x"}},
		"a call in silence":   {Node: "pi", Call: &wire.NotedCall{Contact: "Alex", Why: "x"}},
		"a call for nothing":  {Node: "pi", Heard: true, Call: &wire.NotedCall{Contact: "Alex"}},
		"a call for a novel":  {Node: "pi", Heard: true, Call: &wire.NotedCall{Contact: "Alex", Why: strings.Repeat("x", 201)}},
		"a call to a novel":   {Node: "pi", Heard: true, Call: &wire.NotedCall{Contact: strings.Repeat("x", 201), Why: "x"}},
		"on battery for -1 s": ups(func(r *power.Reading) { r.For = -1 }),
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.trusts("pi")
			b.check(courier.PathRecord, refusal{"", 400, "malformed", bytes.NewReader(b.record("pi", 0, good, bad))})
		})
	}
	b := newBench(t)
	for name, bad := range map[string][]byte{
		"101 entries": b.record("pi", 0, make([]wire.Noted, wire.MaxNoted+1)...),
		"left -1":     b.record("pi", -1, good),
		"left 2^40":   b.record("pi", 1<<40, good),
	} {
		t.Run(name, func(t *testing.T) {
			b.check(courier.PathRecord, refusal{"", 400, "malformed", bytes.NewReader(bad)})
		})
	}
}

// TestN5_APiAnnouncesItsOwnRestart: as itself, and for nobody else.
func TestN5_APiAnnouncesItsOwnRestart(t *testing.T) {
	b := newBench(t)
	b.trusts("pi")
	b.taken()
	envelope := b.announcement("pi", wire.SoftReboot)
	want := b.announced(envelope, "", 0)
	want.Kind = "restart" // of its program or its machine: systemd's soft-reboot it is not
	b.send(courier.PathAnnounce, envelope)
	b.wants(want)
	other := b.seal(wire.KindAnnouncement, wire.Announcement{Header: b.header("pve1"), ID: "x", Kind: wire.SoftReboot}, "pi")
	b.check(courier.PathAnnounce, refusal{"", 403, "forged", bytes.NewReader(other)})
}
