package guardian_test

import (
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"sentinel.home.arpa/pi-proxy/internal/guardian"
	"sentinel.home.arpa/shared/shutdown"
)

// TestProperty_NeededEventsRestoreTheSame guardian as all of them, and are few.
func TestProperty_NeededEventsRestoreTheSame(t *testing.T) {
	kinds := []shutdown.EventType{guardian.OnBattery, guardian.OnMains, guardian.Gone, guardian.ContactLost, guardian.Rebooted, guardian.EpochSeen, guardian.BrainDone, guardian.StopHeard, guardian.StopElsewhere, guardian.StopElsewhereOver, guardian.PeerTold, guardian.PeerStopped,
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
			case guardian.PeerTold: // a machine each
				runs++
				e.Event.Targets = []shutdown.Target{{Kind: shutdown.ProxmoxNode, Node: e.Event.Target}}
			case guardian.PeerStopped:
				e.Event.Targets = []shutdown.Target{{Kind: rapid.SampledFrom([]shutdown.Kind{shutdown.Guest, shutdown.ProxmoxNode}).Draw(t, "what"), Node: e.Event.Target}}
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
		if others := len(needed) - runs; others > 17 { // two UPSes and when contact with them was lost, what another's run stopped, the internet, the last boot, whether it is over and when it last was, a stop, one elsewhere, the epochs of brains and Pis and those of then, apcupsd's word and the Pi's end
			t.Fatalf("%d are needed beside the %d of runs", others, runs)
		}
	})
}

// TestS9_ARecordKeepsTheLastWordAlone of each thing: what a later event has overtaken is dropped.
func TestS9_ARecordKeepsTheLastWordAlone(t *testing.T) {
	at := func(kind shutdown.EventType, counter uint64) guardian.Event {
		return guardian.Event{Epoch: shutdown.Epoch{Counter: counter, Holder: "brain"}, Event: shutdown.Event{Type: kind}}
	}
	of := func(kinds ...shutdown.EventType) (es []guardian.Event) {
		for _, k := range kinds {
			es = append(es, at(k, 0))
		}
		return es
	}
	for name, c := range map[string]struct {
		es   []guardian.Event
		want []int
	}{
		"apcupsd's word":                    {of(guardian.Tripped, guardian.Tripped, guardian.Tripped), []int{2}},
		"a run begun after an outage":       {of(guardian.OutageOver, guardian.Tripped, shutdown.Began, guardian.Tripped), []int{2, 3}},
		"stopped by another's run, twice":   {of(guardian.PeerStopped, guardian.PeerStopped), []int{1}},
		"stopped, and a run of its own":     {of(guardian.PeerStopped, shutdown.Began), []int{1}},
		"contact lost, and heard again":     {of(guardian.OnBattery, guardian.ContactLost, guardian.OnBattery), []int{2}},
		"contact lost, twice":               {of(guardian.OnBattery, guardian.ContactLost, guardian.ContactLost), []int{0, 2}},
		"a stop, then the next outage":      {of(guardian.StopHeard, guardian.OutageOver), []int{1}},
		"a stop, then the brain's run":      {of(guardian.StopHeard, guardian.Yielded), []int{1}},
		"a stop of what is done with":       {of(guardian.StopHeard, guardian.BrainDone), []int{0, 1}},
		"a stop of another Pi's":            {of(guardian.StopHeard, guardian.PeerDone), []int{0, 1}},
		"a stop, twice":                     {of(guardian.StopHeard, guardian.StopHeard), []int{1}},
		"a stop, a run, and its end":        {of(guardian.StopHeard, guardian.Yielded, guardian.BrainDone), []int{1, 2}},
		"an outage over, twice, and a stop": {of(guardian.OutageOver, guardian.OutageOver, guardian.StopHeard), []int{1, 2}},
		"epochs that fall":                  {[]guardian.Event{at(guardian.EpochSeen, 5), at(guardian.EpochSeen, 3)}, []int{0}},
		"epochs that rise":                  {[]guardian.Event{at(guardian.EpochSeen, 3), at(guardian.EpochSeen, 5)}, []int{1}},
		"an epoch named again":              {[]guardian.Event{at(guardian.PeerEpoch, 5), at(guardian.PeerEpoch, 5)}, []int{0}},
	} {
		if got := guardian.Needed(c.es); !slices.Equal(got, c.want) {
			t.Errorf("%s: kept %v, want %v", name, got, c.want)
		}
	}
}
