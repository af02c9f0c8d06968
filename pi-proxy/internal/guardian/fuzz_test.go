package guardian_test

import (
	"bytes"
	"encoding/json"
	"testing"
	"time"

	"sentinel.home.arpa/pi-proxy/internal/guardian"
	"sentinel.home.arpa/shared/power"
	"sentinel.home.arpa/shared/shutdown"
)

// FuzzRestore: whatever steps lie on the disk, a guardian that took them up still turns,
// reports and stops, and on mains it begins and goes on with nothing (invariant 3).
func FuzzRestore(f *testing.F) {
	const began = `{"epoch":{"counter":1,"holder":"pi"},"event":{"type":"began","at":"2026-11-21T19:00:00Z","run":{"id":"r","reason":"x","plan":{"site":"home","nodes":[{"name":"pve1","api":"x"},{"name":"pve2","api":"y"}],"stages":[{"all_guests":true,"deadline":60000000000},{"nodes":["pve1","pve2"],"deadline":60000000000}]}}}}` + "\n"
	f.Add([]byte(began))
	f.Add([]byte(began + `{"event":{"type":"stage_began","stage":0,"at":"2026-11-21T19:00:01Z","targets":[{"kind":"listing","name":"pve1"}]}}` + "\n" + `{"event":{"type":"sent","target":"listing/pve1"}}` + "\n"))
	f.Add([]byte(began + `{"event":{"type":"stage_began","stage":99}}` + "\n"))
	f.Add([]byte(began + `{"event":{"type":"stage_ended","stage":-1}}` + "\n" + `{"event":{"type":"ended"}}` + "\n"))
	f.Add([]byte(`{"event":{"type":"sent","target":"x"}}`))
	f.Fuzz(func(t *testing.T, lines []byte) {
		g := guardian.New("pi")
		for line := range bytes.Lines(lines) {
			var e guardian.Event
			if json.Unmarshal(line, &e) != nil || e.Event.Type == shutdown.Began && e.Event.Run == nil {
				continue // the ledger cuts these off
			}
			g.Restore(e)
		}
		now := time.Date(2026, 11, 21, 19, 0, 30, 0, time.UTC)
		g.Resumed(now)
		turn(g, now)
		battery := power.Reading{Supply: power.Battery, For: 60, Status: power.Status{Flags: power.OnBattery}}
		for range 4 {
			now = now.Add(20 * time.Second)
			g.Reported(now, "ups", battery)
			turn(g, now)
		}
		g.Answered(now, "x", nil, nil)
		g.Seen(now, "x", shutdown.Sight{})
		for _, e := range g.Reported(now, "ups", power.Reading{Supply: power.Mains, Status: power.Status{Flags: power.Online}}) {
			if e.Event.Type == shutdown.Sent || e.Event.Type == shutdown.Began {
				t.Errorf("%s on mains", e.Event.Type)
			}
		}
		if g.Run != nil && !g.Run.Over() {
			t.Error("the run goes on, and the power is back")
		}
	})
}

// turn is what the Pi's loop asks of a guardian.
func turn(g *guardian.Guardian, now time.Time) {
	g.Tick(now)
	g.NextDeadline()
	if g.Run != nil {
		g.Run.Status(now, g.Epoch)
		g.Run.Looks()
		g.Run.Due(now)
	}
}
