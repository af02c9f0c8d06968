package guardian_test

import (
	"encoding/json"
	"errors"
	"flag"
	"go/parser"
	"go/token"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"sentinel.home.arpa/pi-proxy/internal/guardian"
	"sentinel.home.arpa/shared/power"
	"sentinel.home.arpa/shared/shutdown"
)

// TestMain gives the property longer and more histories than rapid's defaults, unless the
// command line asks for others.
func TestMain(m *testing.M) {
	flag.Parse()
	for name, value := range map[string]string{"rapid.checks": "400", "rapid.steps": "60"} {
		if f := flag.Lookup(name); f.Value.String() == f.DefValue {
			if err := flag.Set(name, value); err != nil {
				panic(err)
			}
		}
	}
	os.Exit(m.Run())
}

// history drives a guardian at random and knows what it must never do.
type history struct {
	t      *rapid.T
	g      *guardian.Guardian
	now    time.Time
	orders guardian.Orders
	disk   []guardian.Event

	reading *power.Reading // the last since the process began or resumed; nil: none that says a supply
	at      time.Time      // when it came
	runs    int            // begun since the mains were last seen, or the last was yielded
	word    time.Time      // the brain's last, within this reason, that it acts
	over    bool           // the brain's run of this outage is over
	stop    uint64         // a later counter than the lowest of a stop that was heard in it; zero: none was
	highest uint64         // epoch counter, of all that was begun
	named   uint64         // by the brain
	fresh   uint64         // the lowest counter that was not known when the mains were last heard of, or the Pi's run was begun
	held    bool           // a reason held before the process began or resumed, in an outage that may go on
	out     bool           // the UPS was on battery when last heard, by whatever process
	lost    time.Time      // when its silence is danger; zero: it must be heard
}

func TestProperty_RandomHistories(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := &history{t: t, now: start, orders: orders(), fresh: 1}
		h.orders.Policy.RideThrough = 2 * time.Second
		h.orders.Plan.Stages = append([]shutdown.Stage{{AllGuests: true, Deadline: time.Minute}}, h.orders.Plan.Stages...)
		h.restart()
		t.Repeat(map[string]func(*rapid.T){
			"":        func(*rapid.T) { h.replay() },
			"pass":    h.pass,
			"battery": h.battery,
			"outage":  h.outage,
			"other":   h.other,
			"mains":   func(*rapid.T) { h.report(mains()) },
			"mandate": h.mandate,
			"answer":  h.answer,
			"see":     h.see,
			"arm":     func(t *rapid.T) { h.arm(rapid.Bool().Draw(t, "armed")) },
			"reboot":  func(*rapid.T) { h.restart() },
			"restart": h.crash,
			"pause":   func(*rapid.T) { h.pause() },
		})
	})
}

func (h *history) pass(t *rapid.T) {
	h.now = h.now.Add(time.Duration(rapid.IntRange(1, 15_000).Draw(t, "ms")) * time.Millisecond)
	h.check(h.g.Tick(h.now))
}

func (h *history) battery(t *rapid.T) {
	r := battery(time.Duration(rapid.IntRange(0, 60).Draw(t, "for")) * time.Second)
	some := func(name string, most int) *power.Seconds {
		if !rapid.Bool().Draw(t, "has "+name) {
			return nil
		}
		s := power.Seconds(rapid.IntRange(0, most).Draw(t, name))
		return &s
	}
	r.LowFor, r.LostFor, r.Runtime = some("low for", 20), some("lost for", 60), some("runtime", 600)
	h.report(r)
}

// outage is a while on battery with the Pi's polls, as most of an outage is.
func (h *history) outage(t *rapid.T) {
	for i := range rapid.IntRange(2, 25).Draw(t, "polls") {
		h.now = h.now.Add(time.Second)
		h.report(battery(time.Duration(i) * time.Second))
	}
}

func (h *history) other(t *rapid.T) {
	h.report(power.Reading{Supply: rapid.SampledFrom([]power.Supply{power.SelfTest, power.Calibrates, power.Unknown}).Draw(t, "supply")})
}

func (h *history) report(r power.Reading) {
	if r.Supply != power.Unknown {
		h.at, h.held = h.now, h.held && r.OnBattery()
	}
	switch r.Supply {
	case power.Unknown:
	case power.Mains:
		h.reading, h.runs, h.over, h.word, h.out, h.stop = &r, 0, false, time.Time{}, false, 0
		h.fresh = max(h.named+1, h.highest)
	default:
		h.reading, h.out = &r, h.out || r.OnBattery() || r.LowFor != nil
	}
	h.check(h.g.Reported(h.now, "ups", r))
}

func (h *history) mandate(t *rapid.T) {
	epoch := shutdown.Epoch{Counter: uint64(rapid.IntRange(0, 6).Draw(t, "counter")), Holder: "brain"}
	state := rapid.SampledFrom([]shutdown.State{shutdown.None, shutdown.Begun, shutdown.Advancing, shutdown.HasEnded,
		shutdown.Stopped, shutdown.Disarmed}).Draw(t, "state")
	h.named = max(h.named, epoch.Counter)
	h.over = h.over || epoch.Counter >= h.fresh && (h.reason() || h.held) && (state == shutdown.HasEnded || state == shutdown.Stopped)
	if state == shutdown.Stopped && (h.out || h.over) && (h.stop == 0 || epoch.Counter+1 < h.stop) {
		h.stop = epoch.Counter + 1
	}
	if state == shutdown.Advancing && h.reason() {
		h.word = h.now
	}
	takenBack := h.stop != 0 && epoch.Counter >= h.stop // it was of the outage before
	if h.g.Run != nil && rapid.Bool().Draw(t, "names the run") {
		sent := h.g.Stopped(h.now, state, h.g.Run.ID)
		if state == shutdown.Stopped && !h.g.Run.Over() {
			h.t.Fatal("S10: the run that a person stopped goes on")
		}
		h.check(sent)
	}
	es := h.g.Mandated(h.now, epoch, state)
	for _, e := range es {
		if e.Event.Type == guardian.Yielded {
			if state != shutdown.Advancing && !(state == shutdown.Begun && takenBack) || epoch.Counter < h.highest {
				h.t.Fatalf("G2: yielded to %v, %s", epoch, state)
			}
			h.runs, h.over, h.word, h.stop = 0, false, h.now, 0 // it runs anew
		}
	}
	h.check(es)
}

// reason reports whether S2's holds now, by what was last heard and how old that is.
func (h *history) reason() bool {
	if h.reading == nil {
		return h.silence()
	}
	old := h.now.Sub(h.at)
	r := h.reading.Aged(old)
	if old > power.Fresh {
		r = h.reading.Lost(old)
	}
	return h.orders.Policy.Decide(r, h.orders.Plan.Need()).Start
}

// silence reports whether a UPS that was on battery is lost, as far as that may count.
func (h *history) silence() bool {
	return h.out && !h.lost.IsZero() && !h.now.Before(h.lost)
}

func (h *history) target(t *rapid.T) string {
	return rapid.SampledFrom([]string{"node/pve1", "node/pve2", "guest/100", "listing/pve1", ""}).Draw(t, "target")
}

func (h *history) answer(t *rapid.T) {
	var err error
	if rapid.Bool().Draw(t, "refused") {
		err = errors.New("not now")
	}
	if rapid.Bool().Draw(t, "of a start") {
		h.check(h.g.StartAnswered(h.now, h.target(t), err))
		return
	}
	var found []shutdown.Target
	if rapid.Bool().Draw(t, "finds a guest") {
		found = []shutdown.Target{{Kind: shutdown.Guest, Node: "pve1", VMID: 100}}
	}
	h.check(h.g.Answered(h.now, h.target(t), found, err))
}

func (h *history) see(t *rapid.T) {
	silent := time.Duration(rapid.IntRange(0, 10).Draw(t, "silent")) * time.Second
	h.check(h.g.Seen(h.now, h.target(t), shutdown.Sight{Closed: rapid.Bool().Draw(t, "closed"), Running: rapid.Bool().Draw(t, "running"), SilentFor: &silent}))
}

func (h *history) arm(armed bool) {
	h.orders.Armed = armed
	h.check(h.g.Order(h.now, h.orders))
}

// forget is what a pause does: the UPS must be heard, or be silent for 10 s more.
func (h *history) forget() {
	h.reading, h.word = nil, time.Time{}
	if at := h.now.Add(10 * time.Second); !h.lost.IsZero() && h.lost.Before(at) {
		h.lost = at
	}
}

func (h *history) pause() {
	h.held = h.held || h.reason()
	h.forget()
	h.check(h.g.Resumed(h.now))
}

func (h *history) restart() {
	h.lost = time.Time{}
	h.forget()
	h.begin(time.Time{})
}

// crash is a restart in the same boot, after a while in which nobody listened.
func (h *history) crash(t *rapid.T) {
	lived := h.now
	h.now = h.now.Add(time.Duration(rapid.IntRange(0, 600).Draw(t, "away")) * time.Second)
	h.lost = time.Time{}
	if h.now.Sub(lived) <= 5*time.Minute {
		h.lost = lived.Add(30 * time.Second)
	}
	h.forget()
	h.begin(lived)
}

func (h *history) begin(lived time.Time) {
	h.g, h.held = guardian.New("pi"), h.out
	h.check(h.g.Order(h.now, h.orders))
	for _, e := range h.disk {
		h.g.Restore(e)
	}
	h.check(h.g.Restarted(h.now, lived, []string{"ups"}))
}

// check judges what was decided, by what the world looked like.
func (h *history) check(es []guardian.Event) {
	for _, e := range es {
		h.disk = append(h.disk, e)
		switch e.Event.Type {
		case shutdown.Began:
			h.checkBegan(e)
		case shutdown.StartSent:
			switch {
			case h.reading == nil || h.reading.Supply != power.Mains || h.out:
				h.t.Fatalf("S5: %s was started, at %+v", e.Event.Target, h.reading)
			case !h.orders.Armed:
				h.t.Fatalf("S5: %s was started unarmed", e.Event.Target)
			}
		case shutdown.Sent:
			switch {
			case h.reading == nil && !h.silence():
				h.t.Fatalf("S5: %s was commanded before the UPS was heard", e.Event.Target)
			case h.reading != nil && h.reading.Supply == power.Mains:
				h.t.Fatalf("S5: %s was commanded on mains", e.Event.Target)
			case !h.orders.Armed:
				h.t.Fatalf("S7: %s was commanded unarmed", e.Event.Target)
			}
		}
	}
}

func (h *history) checkBegan(e guardian.Event) {
	h.runs++
	switch {
	case h.runs > 1:
		h.t.Fatalf("G2: run %d of one outage", h.runs)
	case h.over:
		h.t.Fatal("G2: a run after the brain's was over")
	case e.Epoch.Counter <= h.highest, e.Epoch.Counter <= h.named, e.Epoch.Holder != "pi":
		h.t.Fatalf("G5: epoch %v after %d of the Pi and %d of the brain", e.Epoch, h.highest, h.named)
	case !h.word.IsZero() && h.now.Sub(h.word) < 10*time.Second:
		h.t.Fatalf("G1: a run %v after the brain said that it acts", h.now.Sub(h.word))
	case !h.reason():
		h.t.Fatalf("S2: a run without a reason, at %+v", h.reading)
	}
	h.highest, h.fresh = e.Epoch.Counter, e.Epoch.Counter
}

// replay is what a process finds that starts now.
func (h *history) replay() {
	g := guardian.New("pi")
	for _, e := range h.disk {
		g.Restore(e)
	}
	if diff := cmp.Diff(shape(h.t, h.g), shape(h.t, g)); diff != "" {
		h.t.Fatalf("S9: the events give another run:\n%s", diff)
	}
	if diff := cmp.Diff(h.g, g, cmp.Exporter(func(reflect.Type) bool { return true }), cmp.FilterPath(passing, cmp.Ignore())); diff != "" {
		h.t.Fatalf("S9: the events give another guardian:\n%s", diff)
	}
}

// passing reports whether a path is to what of a guardian does not survive a restart, or is in
// its shape.
func passing(p cmp.Path) bool {
	if len(p) < 3 { // the guardian itself
		return false
	}
	f, ok := p.Index(2).(cmp.StructField)
	return !ok || !slices.Contains([]string{"seen", "fresh", "done", "out"}, f.Name())
}

// shape is what of a guardian must survive a restart.
func shape(t *rapid.T, g *guardian.Guardian) string {
	data, err := json.MarshalIndent(map[string]any{"epoch": g.Epoch, "run": g.Run}, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// The guardian is pure: no clock, network, disk, log or randomness.
func TestPurity(t *testing.T) {
	allowed := strings.Fields("errors fmt maps slices time sentinel.home.arpa/shared/power sentinel.home.arpa/shared/shutdown")
	entries, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), ".go") || strings.HasSuffix(e.Name(), "_test.go") {
			continue
		}
		text, err := os.ReadFile(e.Name())
		if err != nil {
			t.Fatal(err)
		}
		f, err := parser.ParseFile(token.NewFileSet(), e.Name(), text, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range f.Imports {
			if path, _ := strconv.Unquote(i.Path.Value); !slices.Contains(allowed, path) {
				t.Errorf("%s imports %s", e.Name(), path)
			}
		}
		for _, clock := range []string{"time.Now", "time.Since", "time.Sleep", "time.NewTimer", "time.After("} {
			if strings.Contains(string(text), clock) {
				t.Errorf("%s names %s", e.Name(), clock)
			}
		}
	}
}
