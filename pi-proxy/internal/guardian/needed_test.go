package guardian_test

import (
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"sentinel.home.arpa/pi-proxy/internal/guardian"
	"sentinel.home.arpa/shared/shutdown"
)

// TestProperty_NeededEventsRestoreTheSame guardian as all of them, and are few.
func TestProperty_NeededEventsRestoreTheSame(t *testing.T) {
	kinds := []shutdown.EventType{guardian.OnBattery, guardian.OnMains, guardian.Gone, guardian.Rebooted, guardian.EpochSeen, guardian.BrainDone, guardian.StopHeard,
		guardian.InternetBack, guardian.InternetRan, shutdown.PowerJoined, shutdown.PowerLeft, guardian.Yielded, guardian.PeerEpoch, guardian.PeerDone, guardian.OutageOver, guardian.Tripped, guardian.Halting, guardian.Cutting, guardian.Clearing, shutdown.Began, shutdown.Sent, shutdown.Aborted}
	rapid.Check(t, func(t *rapid.T) {
		var es []guardian.Event
		runs := 0
		for i := range rapid.IntRange(0, 60).Draw(t, "events") {
			e := guardian.Event{Epoch: shutdown.Epoch{Counter: uint64(rapid.IntRange(0, 9).Draw(t, "epoch")), Holder: "brain"}}
			e.Event = shutdown.Event{Type: rapid.SampledFrom(kinds).Draw(t, "kind"), At: start.Add(time.Duration(i)), Target: rapid.SampledFrom([]string{"a", "b"}).Draw(t, "ups")}
			switch e.Event.Type {
			case guardian.BrainDone, guardian.PeerDone:
				e.Event.Why = rapid.SampledFrom([]string{"the brain's run: ended", "the brain's run: stopped"}).Draw(t, "why")
			case shutdown.Began:
				runs++
				e.Event.Target, e.Event.Run = "", &shutdown.Header{ID: fmt.Sprint(i), Plan: orders().Plan, On: rapid.SampledFrom([]shutdown.Cause{shutdown.ForPower, shutdown.ForInternet}).Draw(t, "on")}
			case shutdown.Sent, shutdown.Aborted, shutdown.PowerJoined, shutdown.PowerLeft:
				runs++
				e.Event.Target = "node/pve1"
			}
			es = append(es, e)
		}
		all, few := guardian.New("pi"), guardian.New("pi")
		for _, e := range es {
			all.Restore(e)
		}
		needed := guardian.Needed(es)
		for _, i := range needed {
			few.Restore(es[i])
		}
		if diff := cmp.Diff(all, few, cmp.Exporter(func(reflect.Type) bool { return true })); diff != "" {
			t.Fatalf("S9: another guardian:\n%s", diff)
		}
		if others := len(needed) - runs; others > 13 { // two UPSes, the internet, the last boot, whether it is over and when it last was, a stop, the epochs of brains and Pis and those of then, apcupsd's word and the Pi's end
			t.Fatalf("%d are needed beside the %d of runs", others, runs)
		}
	})
}
