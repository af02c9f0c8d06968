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

// withGuests is a house whose Pi has told two guests to shut down, of which the first has.
func withGuests(t *testing.T) *house {
	o := orders()
	o.Plan.Stages = append([]shutdown.Stage{{AllGuests: true, Deadline: time.Minute}}, o.Plan.Stages...)
	h := newHouse(t, o)
	h.report(mains())
	h.cut()
	h.pass(25)
	found := []shutdown.Target{{Kind: shutdown.Guest, Node: "pve1", VMID: 100}, {Kind: shutdown.Guest, Node: "pve1", VMID: 101}}
	h.note(h.g.Answered(h.now, "listing/pve1", found, nil))
	h.note(h.g.Answered(h.now, "guest/100", nil, nil))
	h.note(h.g.Answered(h.now, "guest/101", nil, nil))
	h.note(h.g.Seen(h.now, "guest/100", shutdown.Sight{}))
	return h
}

// steps are the events of putting back that were written since a moment, as words.
func (h *house) returns(from int) string {
	var words []string
	for _, e := range h.disk[from:] {
		switch e.Event.Type {
		case guardian.OnBattery, guardian.OnMains, guardian.OutageOver:
		default:
			words = append(words, strings.TrimSpace(string(e.Event.Type)+" "+e.Event.Target))
		}
	}
	return strings.Join(words, ", ")
}

func (h *house) wantReturns(from int, want string) {
	h.t.Helper()
	if got := h.returns(from); got != want {
		h.t.Errorf("came to pass:\n  %s\nwant:\n  %s", got, want)
	}
}

func TestS5_ThePiStartsAgainWhatItStopped(t *testing.T) {
	h := withGuests(t)
	n := len(h.disk)
	h.now = h.now.Add(time.Second)
	h.report(mains())
	h.wantReturns(n, "aborted, put_back_began, start_sent guest/100")
	h.note(h.g.StartAnswered(h.now, "guest/100", nil))
	h.note(h.g.Seen(h.now, "guest/100", shutdown.Sight{Running: true}))
	n = len(h.disk)
	h.note(h.g.Seen(h.now, "guest/101", shutdown.Sight{}))
	h.wantReturns(n, "stop_seen guest/101, start_sent guest/101")
	h.note(h.g.Seen(h.now, "guest/101", shutdown.Sight{Running: true}))
	h.wantReturns(len(h.disk)-2, "put_back guest/101, put_back_ended")
	h.report(mains())
	if h.g.Run.PutsBack() {
		t.Error("it begins again")
	}
}

// TestS5_ARestartedPiGoesOnOnceTheMainsAreHeard: what was under way is sent again.
func TestS5_ARestartedPiGoesOnOnceTheMainsAreHeard(t *testing.T) {
	for _, start := range []func(h *house){(*house).boot, (*house).reboot} {
		h := withGuests(t)
		h.report(mains())
		n := len(h.disk)
		h.now = h.now.Add(20 * time.Second)
		start(h)
		h.note(h.g.Tick(h.now.Add(10 * time.Second)))
		h.report(power.Reading{Supply: power.Unknown})
		h.wantReturns(n, "start_refused guest/100")
		h.now = h.now.Add(10 * time.Second)
		h.report(mains())
		h.wantReturns(n, "start_refused guest/100, start_sent guest/100")
	}
}

func TestS5_NothingIsStartedOnBattery(t *testing.T) {
	h := withGuests(t)
	h.report(mains())
	h.note(h.g.Seen(h.now, "guest/101", shutdown.Sight{Running: true}))
	n := len(h.disk)
	h.cut()
	h.wantReturns(n, "put_back_ended")
	h.note(h.g.Seen(h.now, "guest/101", shutdown.Sight{}))
	h.pass(3)
	h.wantReturns(n, "put_back_ended")
	h.report(mains()) // the same run goes on
	h.wantReturns(n, "put_back_ended, put_back_began, start_sent guest/100")
	h.cut()
	h.pass(21) // or the next does
	if h.g.Run.PutsBack() || len(h.g.Run.Owed) != 2 {
		t.Fatalf("the next run owes %v", h.g.Run.Owed)
	}
	n = len(h.disk)
	h.report(mains())
	h.note(h.g.Seen(h.now, "guest/101", shutdown.Sight{}))
	h.wantReturns(n, "aborted, put_back_began, stop_seen guest/101, start_sent guest/101")
	n = len(h.disk)
	h.report(power.Reading{Supply: power.Mains, LostFor: new(power.Seconds)}) // the UPS is lost: nobody knows
	h.note(h.g.Seen(h.now, "guest/100", shutdown.Sight{}))
	h.wantReturns(n, "stop_seen guest/100")
}

func TestS5_OnlyThePowerHasGuestsStarted(t *testing.T) {
	for name, end := range map[string]func(h *house){
		"disarmed": func(h *house) { h.orders.Armed = false; h.note(h.g.Order(h.now, h.orders)) },
		"disarmed by word": func(h *house) {
			h.note(h.g.Mandated(h.now, shutdown.Epoch{Counter: 9, Holder: "brain"}, shutdown.Disarmed))
		},
		"stopped": func(h *house) { h.note(h.g.Stopped(h.now, shutdown.Stopped, h.g.Run.ID)) },
		"taken over": func(h *house) {
			h.note(h.g.Mandated(h.now, shutdown.Epoch{Counter: 9, Holder: "brain"}, shutdown.Advancing))
		},
	} {
		h := withGuests(t)
		end(h)
		h.report(mains())
		if all := append(h.all(shutdown.PutBackBegan), h.all(shutdown.StartSent)...); len(all) > 0 {
			t.Errorf("%s: %v", name, all)
		}
	}
	h := withGuests(t)
	h.report(mains())
	h.orders.Armed = false
	n := len(h.disk)
	h.note(h.g.Order(h.now, h.orders))
	h.note(h.g.Seen(h.now, "guest/101", shutdown.Sight{}))
	h.wantReturns(n, "put_back_ended")
}

// TestS5_ARunOfBeforeIsOver: a run that came to its end long ago puts nothing back in an outage
// of which it was no part.
func TestS5_ARunOfBeforeIsOver(t *testing.T) {
	o := orders()
	o.Plan.Stages = []shutdown.Stage{{AllGuests: true, Deadline: time.Minute}}
	h := newHouse(t, o)
	h.report(mains())
	h.cut()
	h.pass(25)
	h.note(h.g.Answered(h.now, "listing/pve1", []shutdown.Target{{Kind: shutdown.Guest, Node: "pve1", VMID: 100}}, nil))
	h.note(h.g.Answered(h.now, "listing/pve2", nil, nil))
	h.note(h.g.Seen(h.now, "guest/100", shutdown.Sight{}))
	if !h.g.Run.Finished {
		t.Fatal("the run goes on")
	}
	old := h.g.Run
	n := len(h.disk)
	h.report(mains())
	h.wantReturns(n, "put_back_began, start_sent guest/100") // its plan leaves the nodes up
	old.Back = nil                                           // as of a version that put nothing back
	h.cut()
	h.pass(3)
	n = len(h.disk)
	h.report(mains())
	h.wantReturns(n, "")
}

// TestS5_AReturnOfTheMainsThatCameToDiskInPart, since the power failed in the middle of the write,
// has the guests started all the same; not if the plan was disarmed since.
func TestS5_AReturnOfTheMainsThatCameToDiskInPart(t *testing.T) {
	h := withGuests(t)
	n := len(h.disk)
	h.now = h.now.Add(time.Second)
	h.report(mains())
	if len(h.all(shutdown.PutBackBegan)) != 1 {
		t.Fatalf("the mains' return is %s", h.returns(n))
	}
	for whole := n; whole <= len(h.disk); whole++ {
		c := &house{t: t, now: h.now, orders: h.orders, disk: slices.Clone(h.disk[:whole]), out: h.out}
		c.boot()
		for range 30 {
			c.now = c.now.Add(time.Second)
			c.report(mains())
		}
		if began, started := len(c.all(shutdown.PutBackBegan)), len(c.all(shutdown.StartSent)); began != 1 || started == 0 || !c.g.Run.PutsBack() {
			t.Errorf("with %d steps of it on disk the putting back began %d times and started %d", whole-n, began, started)
		}
		if !slices.ContainsFunc(h.disk[:whole], func(e guardian.Event) bool { return e.Event.Type == shutdown.Aborted }) {
			continue // a run that is open waits for the plan's word
		}
		c = &house{t: t, now: h.now, orders: h.orders, disk: slices.Clone(h.disk[:whole]), out: h.out}
		c.orders.Armed = false
		started := len(c.all(shutdown.StartSent))
		c.boot()
		c.now = c.now.Add(time.Minute)
		c.report(mains())
		if more := len(c.all(shutdown.StartSent)) - started; more > 0 {
			t.Errorf("with %d steps of it on disk a disarmed plan started %d", whole-n, more)
		}
	}
}
