package guardian_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"sentinel.home.arpa/pi-proxy/internal/guardian"
	"sentinel.home.arpa/shared/power"
	"sentinel.home.arpa/shared/shutdown"
)

// offlinePlan has a guest on pve1 too, in a stage of its own, and begins after 2 min without internet.
func offlinePlan() guardian.Orders {
	o := orders()
	o.InternetAfter = 2 * time.Minute
	o.Plan.Stages = append([]shutdown.Stage{{AllGuests: true, Deadline: time.Minute}}, o.Plan.Stages...)
	return o
}

// offline lets seconds pass on mains in which the internet is out, online in which it is not.
func (h *house) offline(seconds int) { h.internet(seconds, guardian.Outside{Out: true}) }
func (h *house) online(seconds int)  { h.internet(seconds, guardian.Outside{Up: true}) }

func (h *house) internet(seconds int, o guardian.Outside) {
	for range seconds {
		h.now = h.now.Add(time.Second)
		if o.Out {
			o.Silent = h.now.Sub(h.out)
		}
		h.note(h.g.Outside(h.now, o))
		h.report(mains())
	}
}

// offlineOnBattery is the same with the power out since a moment.
func (h *house) offlineOnBattery(since time.Time, seconds int, o guardian.Outside) {
	for range seconds {
		h.now = h.now.Add(time.Second)
		h.note(h.g.Outside(h.now, o))
		h.report(battery(h.now.Sub(since)))
	}
}

// unplug is the internet going out now, on mains.
func (h *house) unplug() { h.online(1); h.out = h.now }

// sent are the targets that were told to shut down, or asked which guests run on them.
func (h *house) sent() (ids []string) {
	for _, e := range h.all(shutdown.Sent) {
		ids = append(ids, e.Event.Target)
	}
	return ids
}

// aborted is why a run ended before its end.
func (h *house) aborted() string {
	for _, e := range h.all(shutdown.Aborted) {
		return e.Event.Why
	}
	return ""
}

// guestDown has the plan's only guest go down.
func (h *house) guestDown() {
	guest := shutdown.Target{Kind: shutdown.Guest, Node: "pve1", VMID: 100, Type: "qemu"}
	h.note(h.g.Answered(h.now, "listing/pve1", []shutdown.Target{guest}, nil))
	h.note(h.g.Answered(h.now, "guest/100", nil, nil))
	h.note(h.g.Seen(h.now, "guest/100", shutdown.Sight{}))
}

func TestS0_ThePiBeginsOnceTheInternetWasOutForItsDelay(t *testing.T) {
	h := newHouse(t, offlinePlan())
	h.unplug()
	h.offline(120)
	h.beganAt()
	h.offline(1) // the first word that it was out came after a second
	h.beganAt(121 * time.Second)
	run := h.all(shutdown.Began)[0].Event.Run
	if run.On != shutdown.ForInternet || run.Reason != "the internet has been out for 2 min and plan_on names internet_outage" {
		t.Errorf("it began %q for %q", run.Reason, run.On)
	}
	if got := h.sent(); !slices.Equal(got, []string{"listing/pve1", "listing/pve2"}) {
		t.Errorf("told %v", got)
	}
	if on := h.g.Run.Status(h.now, h.g.Epoch).On; on != shutdown.ForInternet {
		t.Errorf("its status says that it is for %q", on)
	}
}

func TestS0_NothingBeginsUnlessItIsNamedAndArmed(t *testing.T) {
	for name, change := range map[string]func(*guardian.Orders){
		"not named": func(o *guardian.Orders) { o.InternetAfter = 0 },
		"not armed": func(o *guardian.Orders) { o.Armed = false },
		"no plan":   func(o *guardian.Orders) { o.Plan.Stages = nil },
	} {
		o := offlinePlan()
		change(&o)
		h := newHouse(t, o)
		h.unplug()
		h.offline(3600)
		if o.InternetAfter == 0 { // another Pi's run is of the power then
			h.note(h.g.PeerSaid(h.now, "pi0", guardian.PeerWord{State: shutdown.Advancing, Run: "r"}))
		}
		if es := h.did(); len(es) > 0 {
			t.Errorf("%s: %v", name, es)
		}
	}
}

// A word that the internet is there, an unknown moment, a brain's answer by whatever way, a pause, and a
// restart or reboot, since no clock is trusted.
func TestS0_TheDelayBeginsAnew(t *testing.T) {
	for name, happens := range map[string]func(h *house){
		"the internet": func(h *house) { h.online(1) },
		"not known":    func(h *house) { h.internet(1, guardian.Outside{}) },
		"another Pi hears brain": func(h *house) {
			h.note(h.g.Mandated(h.now, shutdown.Epoch{Counter: 4, Holder: "brain"}, shutdown.None))
		},
		"a restart": (*house).boot,
		"a reboot":  (*house).reboot,
		"a pause":   func(h *house) { h.note(h.g.Resumed(h.now)) },
	} {
		h := newHouse(t, offlinePlan())
		h.unplug()
		h.offline(115)
		happens(h)
		h.out = h.now
		h.offline(120)
		if len(h.began()) > 0 {
			t.Errorf("%s: it began after %v", name, h.began())
		}
		h.offline(1)
		if len(h.began()) != 1 {
			t.Errorf("%s: it has not begun", name)
		}
	}
}

func TestS0_TheBrainMustHaveBeenSilentForAsLong(t *testing.T) {
	h := newHouse(t, offlinePlan())
	h.unplug()
	for range 200 {
		h.now = h.now.Add(time.Second)
		h.note(h.g.Outside(h.now, guardian.Outside{Out: true, Silent: 30 * time.Second}))
		h.report(mains())
	}
	h.beganAt()
}

func TestS0_TheInternetIsBackMidway(t *testing.T) {
	h := newHouse(t, offlinePlan())
	h.unplug()
	h.offline(122)
	h.guestDown()
	told := len(h.sent())
	h.online(1)
	if h.aborted() != "the internet is back" {
		t.Errorf("it ended because %q", h.aborted())
	}
	if got := h.all(shutdown.StartSent); len(got) != 1 || got[0].Event.Target != "guest/100" {
		t.Errorf("started %v", got)
	}
	h.note(h.g.StartAnswered(h.now, "guest/100", nil))
	h.note(h.g.Seen(h.now, "guest/100", shutdown.Sight{Running: true}))
	if got := h.all(shutdown.PutBack); len(got) != 1 || got[0].Event.On != shutdown.ForInternet {
		t.Errorf("put back %v", got)
	}
	h.online(60)
	if got := h.sent(); len(got) != told {
		t.Errorf("told %v after the internet was back", got[told:])
	}
	h.out = h.now
	h.offline(121) // its next outage may begin it again
	if len(h.began()) != 2 {
		t.Errorf("began %v", h.began())
	}
}

func TestS0_OneRunForEachInternetOutage(t *testing.T) {
	for name, restart := range map[string]func(h *house){"goes on": func(*house) {}, "restart": (*house).boot, "reboot": (*house).reboot} {
		h := newHouse(t, offlinePlan())
		h.unplug()
		h.offline(122 + 3*60 + 10)
		if len(h.all(shutdown.Ended)) != 1 {
			t.Fatalf("%s: the run has not ended", name)
		}
		restart(h)
		h.offline(600)
		if len(h.began()) != 1 {
			t.Errorf("%s: began %v", name, h.began())
		}
	}
}

// Killed in its run the Pi goes on once it has found the internet out again, and not before (rule S9).
func TestS0_GoesOnAfterARestart(t *testing.T) {
	for name, restart := range map[string]func(h *house){"restart": (*house).boot, "reboot": (*house).reboot} {
		h := newHouse(t, offlinePlan())
		h.unplug()
		h.offline(122)
		told := len(h.sent())
		restart(h)
		h.internet(20, guardian.Outside{})
		if got := h.sent(); len(got) != told {
			t.Errorf("%s: told %v before it knew", name, got[told:])
		}
		h.offline(1)
		if got := h.sent(); len(got) == told || len(h.began()) != 1 {
			t.Errorf("%s: it does not go on: %v", name, got)
		}
	}
}

// The last word that the internet is out is good for 10 s (rule S5).
func TestS0_NothingIsToldOnAnOldWord(t *testing.T) {
	h := newHouse(t, offlinePlan())
	h.unplug()
	h.offline(122)
	unheard := func(seconds int) {
		for range seconds {
			h.now = h.now.Add(time.Second)
			h.report(mains())
			h.note(h.g.Tick(h.now))
		}
	}
	unheard(10)
	told := len(h.sent())
	unheard(60)
	if got := h.sent(); len(got) != told || told == 2 {
		t.Errorf("told %v", got)
	}
	if h.g.ActsOffline(h.now) {
		t.Error("a command may leave")
	}
}

func TestS0_OnBatteryThePowersRulesCount(t *testing.T) {
	o := offlinePlan()
	o.Policy.RideThrough = 30 * time.Minute
	h := newHouse(t, o)
	h.unplug()
	h.offline(60)
	h.offlineOnBattery(h.now, 300, guardian.Outside{Out: true, Silent: time.Hour})
	h.beganAt()
}

// The power goes out in the run: it stays one run, for the power too, and ends only once both are back.
func TestS0_ThePowerGoesOutInTheRun(t *testing.T) {
	h := newHouse(t, offlinePlan())
	h.unplug()
	h.offline(122)
	out := h.now
	h.offlineOnBattery(out, 12, guardian.Outside{Out: true, Silent: time.Hour})
	if got := h.all(shutdown.PowerJoined); len(got) != 1 || got[0].Event.Why != "the power has been out for 10 s" {
		t.Fatalf("joined %v", got)
	}
	if on := h.g.Run.Status(h.now, h.g.Epoch).On; on != shutdown.ForPower {
		t.Errorf("its status says that it is for %q alone", on)
	}
	h.offlineOnBattery(out, 5, guardian.Outside{Up: true, Silent: time.Second})
	if h.aborted() != "" {
		t.Fatalf("it ended because %s, and the power is out", h.aborted())
	}
	h.online(1)
	if h.aborted() != "the power is back" || len(h.began()) != 1 {
		t.Errorf("it ended because %q; runs %v", h.aborted(), h.began())
	}
}

// Where the power alone would be reason for some machines only, it begins its own run once the internet is back.
func TestS0_ThePowerOfSomeGoesOutInTheRun(t *testing.T) {
	o := offlinePlan()
	o.Plan.Wiring = power.Wire(map[string][]string{"ups": {"pve1"}, "other": {"pve2"}}, nil)
	h := newHouse(t, o)
	h.unplug()
	h.offline(122)
	h.guestDown()
	out := h.now
	h.offlineOnBattery(out, 12, guardian.Outside{Out: true, Silent: time.Hour})
	if got := h.all(shutdown.PowerJoined); len(got) != 1 {
		t.Fatalf("joined %v", got)
	}
	h.offlineOnBattery(out, 20, guardian.Outside{Up: true, Silent: time.Second})
	runs := h.all(shutdown.Began)
	if h.aborted() != "the internet is back" || len(runs) != 2 || runs[1].Event.Run.On != shutdown.ForPower {
		t.Fatalf("it ended because %q; runs %v", h.aborted(), runs)
	}
	if owed := runs[1].Event.Run.Owed; len(owed) != 1 || len(h.all(shutdown.StartSent)) > 0 {
		t.Errorf("it owes %v", owed)
	}
	if called := h.g.Run.Called; !slices.Equal(called, []string{"pve1"}) {
		t.Errorf("it is for %v", called)
	}
}

// The power is back and the internet is not: the run goes on, and an outage later is joined anew.
func TestS0_ThePowerIsBackBeforeTheInternet(t *testing.T) {
	h := newHouse(t, offlinePlan())
	h.unplug()
	h.offline(122)
	h.offlineOnBattery(h.now, 12, guardian.Outside{Out: true, Silent: time.Hour})
	h.offline(5)
	if h.aborted() != "" || len(h.all(shutdown.PowerLeft)) != 1 || !h.g.ActsOffline(h.now) {
		t.Fatalf("it ended because %q", h.aborted())
	}
	h.boot()
	h.offline(1)
	h.offlineOnBattery(h.now, 12, guardian.Outside{Out: true, Silent: time.Hour})
	if got := h.all(shutdown.PowerJoined); len(got) != 2 {
		t.Errorf("joined %v", got)
	}
	h.offline(1)
	h.online(1)
	if h.aborted() != "the internet is back" {
		t.Errorf("it ended because %q", h.aborted())
	}
}

// A power outage after the run is one of its own, with a run that owes what the first one stopped.
func TestS0_ThePowerGoesOutAfterTheRun(t *testing.T) {
	o := offlinePlan()
	o.Plan.Stages = o.Plan.Stages[:1] // its nodes stay on
	h := newHouse(t, o)
	h.unplug()
	h.offline(122)
	h.guestDown()
	h.offline(70)
	h.offlineOnBattery(h.now, 25, guardian.Outside{Out: true, Silent: time.Hour})
	runs := h.all(shutdown.Began)
	if len(runs) != 2 || runs[1].Event.Run.On != shutdown.ForPower || len(runs[1].Event.Run.Owed) != 1 {
		t.Fatalf("began %v", runs)
	}
	h.disk = h.disk[slices.IndexFunc(h.disk, func(e guardian.Event) bool { return e.Event.Run == runs[1].Event.Run }):] // as a new run begins a new file
	h.boot()
	h.offline(600)
	if len(h.began()) != 1 {
		t.Errorf("began %v", h.began())
	}
}

// A brain that is down while the internet is there begins nothing: that is rule G3's.
func TestS0_ABrainThatIsDownBeginsNothing(t *testing.T) {
	h := newHouse(t, offlinePlan())
	h.internet(3600, guardian.Outside{Up: true, Silent: time.Hour})
	h.beganAt()
}

func TestS0_ASelfTestIsWaitedFor(t *testing.T) {
	h := newHouse(t, offlinePlan())
	h.unplug()
	h.offline(115)
	for range 10 {
		h.now = h.now.Add(time.Second)
		h.note(h.g.Outside(h.now, guardian.Outside{Out: true, Silent: h.now.Sub(h.out)}))
		h.report(power.Reading{Supply: power.SelfTest, For: 1})
	}
	h.beganAt()
	h.offline(2)
	h.beganAt(127 * time.Second)
}

// Of two Pis the second begins 15 s later, and not at all once it has heard of the first's run (rule G6).
func TestS0_OfTwoPisOneBegins(t *testing.T) {
	for _, heard := range []bool{false, true} {
		o := offlinePlan()
		o.Pis = []string{"pi0", "pi"}
		h := newHouse(t, o)
		h.unplug()
		h.offline(122)
		if heard {
			h.note(h.g.PeerSaid(h.now, "pi0", guardian.PeerWord{State: shutdown.Advancing, Epoch: shutdown.Epoch{Counter: 5, Holder: "pi0"}, Run: "r"}))
		}
		h.offline(12)
		h.beganAt()
		h.offline(2)
		h.boot()
		h.offline(300)
		if began := len(h.began()) > 0; began == heard {
			t.Errorf("heard %v, began %v", heard, h.began())
		}
	}
}

// Once the first's run is for the power too, and through, the second begins no other in that outage, though it knew of
// the run on mains; also after a restart of the first.
func TestG2_ARunThatThePowerJoinedIsOfItsOutage(t *testing.T) {
	for name, restart := range map[string]func(h *house){"goes on": func(*house) {}, "restart": (*house).boot} {
		o := offlinePlan()
		o.Pis = []string{"pi", "second"}
		h, second := newHouse(t, o), guardian.New("second")
		second.Order(h.now, o)
		second.Restarted(h.now, time.Time{}, []string{"other"})
		told := 0
		hear := func(r power.Reading) {
			for ; told < len(h.sent()); told++ {
				h.note(h.g.Answered(h.now, h.sent()[told], nil, nil))
			}
			es := append(second.Outside(h.now, guardian.Outside{Out: true}), second.Reported(h.now, "other", r)...)
			for _, e := range append(es, second.PeerSaid(h.now, "pi", h.g.Says(h.now))...) {
				if e.Event.Type == shutdown.Began {
					t.Errorf("%s: the second begins too: %s", name, e.Event.Run.Reason)
				}
			}
		}
		h.unplug()
		for range 130 {
			h.offline(1)
			hear(mains())
		}
		out := h.now
		for i := range 6 * 60 {
			h.offlineOnBattery(out, 1, guardian.Outside{Out: true, Silent: time.Hour})
			hear(battery(h.now.Sub(out)))
			if i == 60 {
				restart(h)
			}
		}
		if len(h.all(shutdown.Ended)) != 1 || len(h.began()) != 1 {
			t.Errorf("%s: the first's run has not ended; began %v", name, h.began())
		}
	}
}

func TestS0_DisarmedMidway(t *testing.T) {
	h := newHouse(t, offlinePlan())
	h.unplug()
	h.offline(122)
	o := offlinePlan()
	o.Armed = false
	h.note(h.g.Order(h.now, o))
	if !strings.Contains(h.aborted(), "disarmed") {
		t.Errorf("it ended because %q", h.aborted())
	}
}

// It is no run of an outage of the power, of which nothing is noted, and other Pis are told of none.
func TestS0_ItsRunIsOfNoPowerOutage(t *testing.T) {
	h := newHouse(t, offlinePlan())
	h.unplug()
	h.offline(122 + 3*60 + 10)
	if got := h.all(guardian.OutageOver); len(got) > 0 {
		t.Errorf("noted %v", got)
	}
	if w := h.g.Says(h.now); w.State != shutdown.None {
		t.Errorf("other Pis hear that it has %s", w.State)
	}
}

// Once it is for the power too, and through, the outage of the power needs no other.
func TestS0_ThroughInAPowerOutage(t *testing.T) {
	h := newHouse(t, offlinePlan())
	h.unplug()
	h.offline(122)
	h.offlineOnBattery(h.now, 4*60, guardian.Outside{Out: true, Silent: time.Hour})
	if len(h.all(shutdown.Ended)) != 1 || len(h.began()) != 1 {
		t.Fatalf("began %v", h.began())
	}
	h.boot()
	h.offlineOnBattery(h.now.Add(-4*time.Minute), 60, guardian.Outside{Out: true, Silent: time.Hour})
	if len(h.began()) != 1 {
		t.Errorf("began %v", h.began())
	}
}

// A Pi that starts without a plan that is armed tells nobody anything: what armed it may not have come to disk.
func TestS0_NothingIsToldUnlessItIsArmed(t *testing.T) {
	h := newHouse(t, offlinePlan())
	h.unplug()
	h.offline(122)
	told := len(h.sent())
	h.orders.Armed = false
	h.boot()
	h.offline(30)
	if got := h.sent(); len(got) != told || h.g.ActsOffline(h.now) {
		t.Errorf("told %v", got[told:])
	}
}

// In a power outage after the run the output is not cut before the power's own run is through (rule G4).
func TestS0_ItsRunLetsNoOutputBeCut(t *testing.T) {
	h := newHouse(t, offlinePlan())
	h.g.Hangs(guardian.Own{UPS: "ups", Halt: true, Cut: true})
	h.unplug()
	h.offline(122 + 3*60 + 10)
	h.offlineOnBattery(h.now, 5, guardian.Outside{Out: true, Silent: time.Hour})
	if ts := h.g.Watches(h.now); ts != nil {
		t.Errorf("it would cut the output once %v are down", ts)
	}
}

// TestS0_AnotherPisRunIsOfThisOutage of the internet only where it is out here too, on mains; and
// that is noted once.
func TestS0_AnotherPisRunIsOfThisOutage(t *testing.T) {
	o := offlinePlan()
	o.Pis = []string{"pi0", "pi"}
	says := func(h *house) { h.note(h.g.PeerSaid(h.now, "pi0", advancing(3, "pi0"))) }
	for name, c := range map[string]struct {
		happens func(h *house)
		want    int
	}{
		"out":        {func(h *house) { h.unplug(); h.offline(9); says(h) }, 1},
		"said twice": {func(h *house) { h.unplug(); h.offline(9); says(h); h.offline(1); says(h) }, 1},
		"not out":    {func(h *house) { h.online(9); says(h) }, 0},
		"on battery": {func(h *house) { h.unplug(); h.offline(9); h.report(battery(0)); says(h) }, 0},
	} {
		h := newHouse(t, o)
		c.happens(h)
		if got := len(h.all(guardian.InternetRan)); got != c.want {
			t.Errorf("%s: noted %d times, want %d", name, got, c.want)
		}
	}
}

// TestS0_TheLastWordThatItIsOutIsGoodFor10s, to the second: a command needs a fresh reason (rule S5).
func TestS0_TheLastWordThatItIsOutIsGoodFor10s(t *testing.T) {
	h := newHouse(t, offlinePlan())
	h.unplug()
	h.offline(121)
	for after, want := range map[time.Duration]bool{0: true, 10 * time.Second: true, 10*time.Second + 1: false} {
		if got := h.g.ActsOffline(h.now.Add(after)); got != want {
			t.Errorf("%s after the last word: %v, want %v", after, got, want)
		}
	}
}
