package wire_test

import (
	"fmt"
	"strings"
	"testing"

	"sentinel.home.arpa/shared/power"
	"sentinel.home.arpa/shared/shutdown"
	"sentinel.home.arpa/shared/wire"
)

// piReport is a word of pi1 to pi2 that says all that one can.
func piReport() wire.PiReport {
	h := header()
	h.Site, h.Node = "home", "pi1"
	r := wire.PiReport{Header: h, To: "pi2", ToBoot: boot, ToSeq: 900,
		Run:   wire.PiRun{State: shutdown.Advancing, ID: "home-pi1-5", Epoch: shutdown.Epoch{Counter: 5, Holder: "pi1"}, AgeMS: 7000, Scope: []string{"pve1"}},
		Took:  []string{"node/pve1"},
		Known: shutdown.Epoch{Counter: 5, Holder: "pi1"},
		Brain: &wire.PiRun{State: shutdown.None, Epoch: shutdown.Epoch{Holder: "cloud"}},
	}
	for i := range wire.MaxPiUPSes {
		charge := 0.5
		r.UPSes = append(r.UPSes, wire.PiUPS{Name: fmt.Sprint("ups-", i), Reading: power.Reading{Supply: power.Battery, For: 5, Status: power.Status{Charge: &charge}}})
	}
	return r
}

// TestG6_APisWordIsRefusedUnlessItMakesSense.
func TestG6_APisWordIsRefusedUnlessItMakesSense(t *testing.T) {
	long := strings.Repeat("x", 300)
	charge := 2.5
	for name, c := range map[string]struct {
		change func(r *wire.PiReport)
		ok     bool
	}{
		"as it should be": {func(*wire.PiReport) {}, true},
		"a greeting":      {func(r *wire.PiReport) { r.ToBoot, r.ToSeq = "", 0 }, true},
		"nothing but a greeting": {func(r *wire.PiReport) {
			*r = wire.PiReport{Header: r.Header, To: "pi2", Run: wire.PiRun{State: shutdown.None}}
		}, true},
		"of no site":              {func(r *wire.PiReport) { r.Site = "" }, false},
		"to nobody":               {func(r *wire.PiReport) { r.To = "" }, false},
		"to a boot without a seq": {func(r *wire.PiReport) { r.ToSeq = 0 }, false},
		"to a seq without a boot": {func(r *wire.PiReport) { r.ToBoot = "" }, false},
		"of a later version":      {func(r *wire.PiReport) { r.V++ }, false},
		"a UPS too many": {func(r *wire.PiReport) {
			r.UPSes = append(r.UPSes, wire.PiUPS{Name: "another", Reading: r.UPSes[0].Reading})
		}, false},
		"a UPS twice":            {func(r *wire.PiReport) { r.UPSes[1].Name = r.UPSes[0].Name }, false},
		"a UPS without a name":   {func(r *wire.PiReport) { r.UPSes[1].Name = "" }, false},
		"a charge of 250 %":      {func(r *wire.PiReport) { r.UPSes[1].Reading.Charge = &charge }, false},
		"a run in no state":      {func(r *wire.PiReport) { r.Run.State = "" }, false},
		"a brain's in no state":  {func(r *wire.PiReport) { r.Brain.State = "runs" }, false},
		"a run's endless name":   {func(r *wire.PiReport) { r.Run.ID = long }, false},
		"a negative age":         {func(r *wire.PiReport) { r.Run.AgeMS = -1 }, false},
		"an age of a year":       {func(r *wire.PiReport) { r.Run.AgeMS = 365 * 24 * 3600 * 1000 }, false},
		"a holder that is none":  {func(r *wire.PiReport) { r.Run.Epoch.Holder = "../x" }, false},
		"an endless counter":     {func(r *wire.PiReport) { r.Known.Counter = 1 << 60 }, false},
		"a machine without name": {func(r *wire.PiReport) { r.Took = []string{""} }, false},
		"a machine's long name":  {func(r *wire.PiReport) { r.Run.Scope = []string{long} }, false},
		"too many machines":      {func(r *wire.PiReport) { r.Took = strings.Split(strings.Repeat("x ", wire.MaxTook), " ") }, false},
		"too wide a scope":       {func(r *wire.PiReport) { r.Brain.Scope = strings.Split(strings.Repeat("x ", wire.MaxTook)+"x", " ") }, false},
	} {
		r := piReport()
		c.change(&r)
		if err := r.Validate(); (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestG6_TheLongestWordOfAPiIsShortEnough.
func TestG6_TheLongestWordOfAPiIsShortEnough(t *testing.T) {
	r, volts, one := piReport(), 230.5, 0.123456789
	for range wire.MaxTook - 1 {
		r.Took = append(r.Took, "node/"+strings.Repeat("n", 63))
		r.Run.Scope, r.Brain.Scope = append(r.Run.Scope, strings.Repeat("n", 63)), append(r.Brain.Scope, strings.Repeat("n", 63))
	}
	for i := range r.UPSes {
		s := power.Seconds(12345.678)
		r.UPSes[i].Name = fmt.Sprint(strings.Repeat("u", 62), i)
		r.UPSes[i].Reading = power.Reading{Supply: power.Battery, For: s, LowFor: &s, LostFor: &s, Course: &power.Course{Charge: &one, Runtime: &s, Seen: &s},
			Status: power.Status{Charge: &one, Load: &one, LineVolts: &volts, Runtime: &s, OnBatteryAt: "2026-11-21 19:02:11 +0000"}}
	}
	if err := r.Validate(); err != nil {
		t.Fatal(err)
	}
	if n := len(seal(t, wire.KindPi, r, newKey(t))); n > wire.MaxPiReport {
		t.Errorf("%d bytes are over the limit of %d", n, wire.MaxPiReport)
	}
}
