package ingest

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sentinel.home.arpa/cloud/internal/sentinel"
	"sentinel.home.arpa/shared/courier"
	"sentinel.home.arpa/shared/wire"
)

// forge posts a heartbeat as one that another signed.
func (b *bench) forge(name string) {
	b.Helper()
	m := wire.Heartbeat{Header: b.header("pve1")}
	m.Node = name
	data := b.edit(b.seal(wire.KindHeartbeat, m, "pve1"), func(e map[string]any) { signature(e)["keyid"] = b.keys["pve2"].PublicKey() })
	b.refusedWith(b.post(courier.PathHeartbeat, bytes.NewReader(data)), http.StatusForbidden)
}

// TestA7_ThreeForgedMessagesAreTold: three of one name within an hour, whichever way they
// come, once in an hour; all that nobody knows are one name.
func TestA7_ThreeForgedMessagesAreTold(t *testing.T) {
	b := newBench(t)
	told := func(want ...sentinel.Forged) {
		t.Helper()
		var got []sentinel.Forged
		for _, in := range b.taken() {
			got = append(got, in.(sentinel.Forged))
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("told (-want +got):\n%s", diff)
		}
	}
	b.forge("pve2")
	b.pass(31 * time.Minute)
	b.forge("pve2")
	b.forge("pve1")
	b.pass(31 * time.Minute) // the first is out of the hour
	b.forge("pve2")
	told()
	b.send(courier.PathRelay, b.relayed("pi", b.edit(b.announcement("pve2", wire.Reboot), func(e map[string]any) { signature(e)["sig"] = "AAAA" })))
	told(sentinel.Forged{Site: "home", Name: "pve2", From: "the LAN of pi", Times: 3})
	for i := range 20 {
		b.forge("pve2")
		b.forge(fmt.Sprintf("name%d", i))
	}
	told(sentinel.Forged{From: "192.0.2.1", Times: 3})
	if n := len(b.h.forgeries.of); n != 3 {
		t.Errorf("%d names are remembered", n)
	}
	b.pass(time.Hour + time.Second)
	b.forge("pve2")
	b.forge("pve2")
	told()
	b.busy(func(sentinel.Input) bool { return true })
	b.forge("pve2") // the loop does not take it
	b.busy(nil)
	b.forge("pve2")
	told(sentinel.Forged{Site: "home", Name: "pve2", From: "192.0.2.1", Times: 3})
}

// TestA7_RepetitionsAreLogged, once in a minute for each sender, and counted each time.
func TestA7_RepetitionsAreLogged(t *testing.T) {
	b := newBench(t)
	var log bytes.Buffer
	b.h.Log = slog.New(slog.NewTextHandler(&log, nil))
	again := func(want int, data []byte) {
		t.Helper()
		for range 5 {
			b.send(courier.PathAnnounce, data)
		}
		if n := strings.Count(log.String(), "message repeated"); n != want {
			t.Errorf("logged %d times, not %d: %s", n, want, &log)
		}
	}
	one, two := b.announcement("pve1", wire.Reboot), b.announcement("pve2", wire.Reboot)
	again(1, one)
	again(2, two)
	b.pass(time.Minute)
	again(3, one)
	if c := b.counted(); c["repeated"] != 13 {
		t.Errorf("counted %v", c)
	}
	if !strings.Contains(log.String(), "node=pve1") || !strings.Contains(log.String(), "kind="+string(wire.KindAnnouncement)) {
		t.Errorf("logged %s", &log)
	}
}
