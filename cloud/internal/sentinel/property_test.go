package sentinel_test

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"sentinel.home.arpa/cloud/internal/sentinel"
	"sentinel.home.arpa/shared/power"
	"sentinel.home.arpa/shared/shutdown"
)

// TestHistories lives through random histories and proves after each step what must hold
// in all of them, and at their end that a calm world leaves nothing open.
func TestHistories(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		h := newHistory(rt)
		for range rapid.IntRange(10, 120).Draw(rt, "steps") {
			h.act()
			h.checkState()
		}
		h.calm()
	})
}

// history is a world with a random past, and a mirror that is told nothing but the facts.
type history struct {
	*world
	rt     *rapid.T
	mirror *sentinel.State
	calls  map[string]bool
	said   []sentinel.Announced
	sites  []string
}

func newHistory(rt *rapid.T) *history {
	cfg := home()
	cfg.Threshold = rapid.IntRange(1, 3).Draw(rt, "threshold")
	h := &history{rt: rt, calls: map[string]bool{}, sites: []string{"home"}}
	if rapid.Bool().Draw(rt, "two sites") {
		office := cfg.Sites[0]
		office.Name, office.Nodes, office.Pis = "office", []string{"srv1", "srv2"}, []string{"pi2"}
		office.Plan = &shutdown.Plan{Site: "office", Nodes: []shutdown.Node{{Name: "srv1"}, {Name: "srv2"}},
			Stages: []shutdown.Stage{{AllGuests: true, Deadline: time.Minute}, {Nodes: []string{"srv1", "srv2"}, Deadline: time.Minute}}}
		cfg.Sites = append(cfg.Sites, office)
		h.sites = append(h.sites, "office")
	}
	h.world = newWorld(rt, cfg)
	h.mirror = sentinel.New(cfg)
	for _, s := range cfg.Sites {
		for _, n := range s.Nodes {
			h.sources = append(h.sources, &beater{site: s.Name, name: n, role: sentinel.Node, boot: "1", state: "running", beats: true})
		}
		for _, p := range s.Pis {
			h.sources = append(h.sources, &beater{site: s.Name, name: p, role: sentinel.Pi, boot: "1", state: "running", beats: true})
		}
		h.units = append(h.units, &unit{site: s.Name, name: s.Name + "-ups", pi: s.Pis[0], changed: true, status: power.Status{Flags: power.Online}})
	}
	h.check = h.checkFact
	h.step(sentinel.Started{Version: "test"})
	if rapid.Bool().Draw(rt, "armed") {
		h.step(sentinel.Arm{Site: "home", By: "alice"})
	}
	h.pass(time.Minute)
	return h
}

func draw[T any](h *history, label string, of ...T) T { return rapid.SampledFrom(of).Draw(h.rt, label) }

func (h *history) someSource() *beater { return draw(h, "source", h.sources...) }

// act lets one thing happen.
func (h *history) act() {
	site := draw(h, "site", h.sites...)
	switch draw(h, "act", "pass", "pass", "pass", "silent", "back", "dark", "light", "announce", "repeat", "state", "ups", "ups", "uplink", "person",
		"call", "call", "run", "run", "run", "restart", "pause", "pi") {
	case "pass":
		h.pass(draw(h, "for", 500*time.Millisecond, time.Second, 4*time.Second, 7*time.Second, 11*time.Second, 19*time.Second,
			21*time.Second, 35*time.Second, 65*time.Second, 130*time.Second, 11*time.Minute))
	case "silent":
		h.someSource().beats = false
	case "back":
		h.revive(h.someSource(), draw(h, "reboots", false, true))
	case "dark":
		h.eachOf(site, func(b *beater) { b.beats = false })
	case "light":
		h.eachOf(site, func(b *beater) { h.revive(b, false) })
	case "announce":
		h.announce(h.someSource())
	case "repeat":
		h.repeat()
	case "state":
		h.someSource().state = draw(h, "state", "running", "degraded", "stopping", "starting", "")
	case "ups":
		h.changeUPS(draw(h, "ups", h.units...))
	case "uplink":
		h.online, h.hangs = draw(h, "online", true, true, false), draw(h, "hangs", false, false, true)
	case "person":
		h.person(site)
	case "call":
		if calls := h.state.OpenCalls(); len(calls) > 0 {
			c := draw(h, "of", calls...)
			h.step(sentinel.CallHasEnded{Call: c.ID, Delivered: draw(h, "taken", false, false, true), Outcome: "completed"})
		}
	case "run":
		h.machines(site)
	case "restart":
		h.restart(draw(h, "away", time.Second, 5*time.Second, time.Minute))
	case "pause":
		h.pause(draw(h, "for", 5*time.Second, 2*time.Minute))
	case "pi":
		h.step(sentinel.PiReported{Site: site, Pi: "pi1", Run: shutdown.Status{ID: draw(h, "id", "r1", "r2"), Epoch: shutdown.Epoch{Counter: 3, Holder: "pi1"},
			State: draw(h, "state", shutdown.Begun, shutdown.Advancing, shutdown.HasEnded, shutdown.Stopped)}})
	}
}

func (h *history) eachOf(site string, do func(*beater)) {
	for _, b := range h.sources {
		if b.site == site {
			do(b)
		}
	}
}

func (h *history) revive(b *beater, reboots bool) {
	if reboots {
		b.boot += "1"
		b.state = "running"
	}
	b.beats = true
}

func (h *history) announce(b *beater) {
	kind := draw(h, "kind", "poweroff", "reboot", "halt", "soft-reboot", "cancelled")
	boot := b.boot
	if draw(h, "of an old boot", false, false, true) && len(boot) > 1 {
		boot = boot[1:]
	}
	in := sentinel.Announced{Site: b.site, Name: b.name, Boot: boot, ID: kind + boot, Kind: kind, Returns: kind == "reboot" || kind == "soft-reboot",
		Via: draw(h, "via", "", "pi1"), Age: draw(h, "age", 0, time.Second, 25*time.Second, 10*time.Minute), Seq: int64(len(h.said) + 1)}
	h.said = append(h.said, in)
	h.step(in)
}

// repeat plays an announcement that was heard before again: it changes nothing (rule A7).
func (h *history) repeat() {
	if len(h.said) == 0 {
		return
	}
	in := draw(h, "again", h.said...)
	for _, f := range h.step(in) {
		switch f := f.(type) {
		case *sentinel.ShutdownAnnounced:
			h.rt.Fatalf("%s announced its %s again", f.Name, f.Kind)
		case *sentinel.ShutdownCancelled:
			if f.Seq != 0 {
				h.rt.Fatalf("%s took its shutdown back again", f.Name)
			}
		}
	}
}

func (h *history) changeUPS(u *unit) {
	u.changed, u.dead = true, draw(h, "dead", false, false, false, true)
	u.status.Flags = draw(h, "flags", power.Online, power.OnBattery, power.OnBattery, power.OnBattery|power.LowBattery, power.CommLost,
		power.OnBattery|power.CommLost, power.OnBattery|power.Calibration)
	charge := draw(h, "charge", 1, 0.5, 0.1)
	u.status.Charge = &charge
	u.status.LastTransfer = draw(h, "why", "Unacceptable line voltage changes", "Automatic or explicit self test")
	transfers := rapid.IntRange(0, 3).Draw(h.rt, "transfers")
	u.status.Transfers = &transfers
}

func (h *history) person(site string) {
	switch draw(h, "button", "arm", "disarm", "acknowledge") {
	case "arm":
		h.step(sentinel.Arm{Site: site, By: "alice"})
	case "disarm":
		h.step(sentinel.Disarm{Site: site, By: "alice"})
	case "acknowledge":
		if open := h.state.OpenIncidents(); len(open) > 0 {
			h.step(sentinel.Acknowledge{Incident: draw(h, "of", open...).ID, By: "bob"})
		}
	}
}

// machines answer the run's commands, or are seen to go down.
func (h *history) machines(site string) {
	run := h.state.Sites[site].Run
	if run == nil || len(run.Targets) == 0 {
		return
	}
	target := draw(h, "target", run.Targets...).Target
	if draw(h, "answers", true, false) {
		in := sentinel.RunAnswered{Site: site, Run: run.ID, Target: target.ID()}
		switch {
		case draw(h, "refuses", false, false, true):
			in.Err = errors.New("no quorum")
		case target.Kind == shutdown.Listing:
			in.Found = []shutdown.Target{{Kind: shutdown.Guest, Node: target.Node, VMID: 100 + len(target.Node), Type: "qemu"}}
		}
		h.step(in)
		return
	}
	sight := shutdown.Sight{Closed: true}
	if draw(h, "agent", true, false) {
		silent := draw(h, "silent", time.Second, 6*time.Second)
		sight.SilentFor = &silent
	}
	h.step(sentinel.RunSeen{Site: site, Run: run.ID, Target: target.ID(), Sight: sight})
}

// checkFact proves what must hold of each fact, given the state before it: the mirror.
func (h *history) checkFact(at time.Time, f sentinel.Fact) {
	switch f := f.(type) {
	case *sentinel.CallRequested:
		h.checkCall(f)
	case *sentinel.RunStepped:
		h.checkRun(f)
	case *sentinel.SourceFailed:
		h.checkFailed(at, f)
	case *sentinel.IncidentOpened:
		for _, i := range h.mirror.OpenIncidents() {
			if i.Site == f.Site && i.Kind == f.Kind {
				h.rt.Fatalf("%s opened beside %s", f.ID, i.ID)
			}
		}
		if f.Why == "" {
			h.rt.Fatalf("%s opened without a reason", f.ID)
		}
	}
	k := h.kept[len(h.kept)-1]
	again := sentinel.NewFact(k.name)
	if err := json.Unmarshal(k.body, again); err != nil {
		h.rt.Fatalf("decode %s: %v", k.name, err)
	}
	h.mirror.Evolve(at, again)
}

func (h *history) checkCall(f *sentinel.CallRequested) {
	i := h.mirror.Incidents[f.Incident]
	switch {
	case h.calls[f.Call]:
		h.rt.Fatalf("%s was requested twice", f.Call)
	case i == nil || !i.Open():
		h.rt.Fatalf("%s without an open incident", f.Call)
	case i.Answered != "":
		h.rt.Fatalf("%s although %s has answered", f.Call, i.Answered)
	case f.Why == "":
		h.rt.Fatalf("%s without a reason", f.Call)
	case slices.ContainsFunc(i.Calls, (*sentinel.Call).Open):
		h.rt.Fatalf("%s while another call is under way", f.Call)
	}
	h.calls[f.Call] = true
}

func (h *history) checkRun(f *sentinel.RunStepped) {
	site := h.mirror.Sites[f.Site]
	e := f.Event
	switch e.Type {
	case shutdown.Began:
		if e.Run.Reason == "" || e.Run.DryRun == site.Armed {
			h.rt.Fatalf("a run began for %q, armed %v, dry %v", e.Run.Reason, site.Armed, e.Run.DryRun)
		}
		if site.Run != nil && !site.Run.Over() {
			h.rt.Fatalf("a run began while %s goes on", site.Run.ID)
		}
	case shutdown.Sent:
		mains := true
		for _, u := range site.UPSes {
			mains = mains && u.Supply == power.Mains
		}
		if mains {
			h.rt.Fatalf("%s was told although the mains are there", e.Target)
		}
		if !strings.HasPrefix(e.Target, "listing/") && (!site.Armed || site.Run.DryRun) {
			h.rt.Fatalf("%s was told although the plan is not armed", e.Target)
		}
	}
}

// checkFailed proves that nothing alive is declared failed, and nothing announced but
// what did not return.
func (h *history) checkFailed(at time.Time, f *sentinel.SourceFailed) {
	src := h.mirror.Sites[f.Site].Sources[f.Name]
	if heard := at.Sub(h.source(f.Name).last); heard < h.cfg.Times.Silence-5*time.Second {
		h.rt.Fatalf("%s failed, and was heard %s ago: %s", f.Name, heard, f.Why)
	}
	a := src.Announced
	late := src.Condition == sentinel.Off && !src.BackBy.IsZero() && !at.Before(src.BackBy)
	if a != nil && a.Boot == src.Boot && !late && src.Condition != sentinel.Failed {
		h.rt.Fatalf("%s failed although it had announced its %s", f.Name, a.Kind)
	}
}

// checkState proves that the facts give the state, and that nobody who is long silent
// passes for up.
func (h *history) checkState() {
	got, want := h.encode(h.mirror), h.encode(h.state)
	if got != want {
		h.checkReplay()
		h.rt.Fatalf("the mirror differs:\n%s\n%s", got, want)
	}
}

func (h *history) encode(s *sentinel.State) string {
	text, err := json.Marshal(s)
	if err != nil {
		h.rt.Fatalf("encode the state: %v", err)
	}
	return string(text)
}

// calm brings everything back and proves that an hour later nothing is open, and then
// that a silence is still noticed.
func (h *history) calm() {
	h.online, h.hangs = true, false
	h.pass(time.Minute)
	if h.state.Blind.IsZero() {
		for _, b := range h.sources {
			if src := h.state.Sites[b.site].Sources[b.name]; !b.beats && h.now.Sub(b.last) > 2*time.Minute && src.Condition == sentinel.Up {
				h.rt.Fatalf("%s passes for up and was last heard %s ago", b.name, h.now.Sub(b.last))
			}
		}
	}
	for _, b := range h.sources {
		h.revive(b, false)
		b.state = "running"
	}
	for _, u := range h.units {
		u.dead, u.status.Flags, u.changed = false, power.Online, true
	}
	for range 4 {
		h.pass(15 * time.Minute)
		for _, c := range h.state.OpenCalls() {
			h.step(sentinel.CallHasEnded{Call: c.ID, Outcome: "no-answer"})
		}
	}
	for _, i := range h.state.OpenIncidents() {
		h.rt.Fatalf("all is calm, and %s goes on: %s", i.ID, i.Why)
	}
	for _, b := range h.sources {
		if src := h.state.Sites[b.site].Sources[b.name]; src.Condition != sentinel.Up || src.Announced != nil {
			h.rt.Fatalf("all is calm, and %s is %s, announced %v", b.name, src.Condition, src.Announced)
		}
	}
	h.checkState()
	last := h.someSource()
	last.beats = false
	h.pass(25 * time.Second)
	if src := h.state.Sites[last.site].Sources[last.name]; src.Condition != sentinel.Failed {
		h.rt.Fatalf("%s fell silent and is %s", last.name, src.Condition)
	}
}
