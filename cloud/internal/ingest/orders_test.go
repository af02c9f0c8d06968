package ingest

import (
	"bytes"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sentinel.home.arpa/shared/courier"
	"sentinel.home.arpa/shared/wire"
)

// desk orders everybody, and notes what it was told.
type desk struct{ told []string }

func (d *desk) Heard(name, boot, state string, age time.Duration) {
	d.told = append(d.told, strings.Join([]string{name, boot[:2], state, age.String()}, " "))
}

func (d *desk) Announced(name, boot string, kind wire.ShutdownKind) {
	d.told = append(d.told, strings.Join([]string{name, boot[:2], "announced", string(kind)}, " "))
}

func (d *desk) For(h wire.Header) []byte { return []byte("for " + h.Node) }

// ordered is the order beside the answer to a post that must be taken.
func (b *bench) ordered(path string, envelope []byte) string {
	b.Helper()
	w := b.post(path, bytes.NewReader(envelope))
	if w.Code != http.StatusOK {
		b.Fatalf("%d: %s", w.Code, w.Body)
	}
	return w.Header().Get("Sentinel-Order")
}

// TestH10_OrdersGoWithAnswersToNewHeartbeatsAlone: not to a repeated one, a Pi's, or an
// announcement, and the desk hears of what each node says, by whichever way.
func TestH10_OrdersGoWithAnswersToNewHeartbeatsAlone(t *testing.T) {
	b := newBench(t)
	d := &desk{}
	b.h.Orders = d
	beat := b.heartbeat("pve1")
	for _, c := range []struct {
		path     string
		envelope []byte
		want     string
	}{
		{courier.PathHeartbeat, beat, "for pve1"},
		{courier.PathHeartbeat, beat, ""},
		{courier.PathAnnounce, b.announcement("pve1", wire.Poweroff), ""},
		{courier.PathHeartbeat, b.seal(wire.KindHeartbeat, wire.Heartbeat{Header: b.header("pi"), State: "running", Pi: &wire.PiStatus{
			Heard: []wire.Heard{{Node: "pve2", Boot: boot2, Seq: 7, AgeMS: 400, State: "stopping"}}}}, "pi"), ""},
		{courier.PathRelay, b.relayed("pi", b.announcement("pve2", wire.Reboot)), ""},
	} {
		if got := b.ordered(c.path, c.envelope); got != c.want {
			t.Errorf("%s is answered with the order %q, want %q", c.path, got, c.want)
		}
	}
	want := []string{"pve1 " + boot1[:2] + " running 0s", "pve1 " + boot1[:2] + " announced poweroff", "pve2 " + boot2[:2] + " stopping 400ms",
		"pve2 " + boot1[:2] + " announced reboot"}
	if diff := cmp.Diff(want, d.told); diff != "" {
		t.Error(diff)
	}
}
