package sentinel_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"sentinel.home.arpa/cloud/internal/sentinel"
	"sentinel.home.arpa/shared/power"
	"sentinel.home.arpa/shared/shutdown"
)

var tell = flag.Bool("tell", false, "print random histories as scripts")

// TestHistories lives through random histories and proves after each line what must hold
// in all of them, and at their end that a calm world leaves nothing open. A history is a
// script: the shortest that breaks something is printed, ready to be put into testdata.
func TestHistories(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		h := newHistory(rt)
		for range steps(rt) {
			h.act()
			h.checkState()
		}
		h.calm()
		if *tell {
			t.Logf("\n%s", h.text())
		}
	})
}

// TestR3_AHistoryIsAScript demands that what is printed of a history plays again as it was.
func TestR3_AHistoryIsAScript(t *testing.T) {
	var story string
	rapid.Check(t, func(rt *rapid.T) {
		h := newHistory(rt)
		for range rapid.IntRange(5, 40).Draw(rt, "lines") {
			h.act()
		}
		story = h.text()
	})
	if again := play(t, story); strings.TrimSpace(again) != strings.TrimSpace(story) {
		t.Errorf("played again it goes otherwise:\n%s\n\nand before:\n%s", again, story)
	}
}

// steps is how long a history is: now and then thousands of lines.
func steps(rt *rapid.T) int {
	switch n := rapid.IntRange(0, 59).Draw(rt, "length"); {
	case n == 59 && !testing.Short():
		return rapid.IntRange(1000, 3000).Draw(rt, "steps")
	case n > 50:
		return rapid.IntRange(100, 400).Draw(rt, "steps")
	default:
		return rapid.IntRange(10, 100).Draw(rt, "steps")
	}
}

// history is a world with a random past, and a mirror that is told nothing but the facts.
type history struct {
	*world
	rt     *rapid.T
	mirror *sentinel.State
	calls  map[string]bool
	told   toldSoFar
	said   []string // the announcements so far
	sites  []string
	story  []string
	gap    time.Time // when the brain last had not watched for a moment
}

// storyteller fails with the story so far.
type storyteller struct {
	*rapid.T
	h *history
}

func (s storyteller) Fatalf(format string, args ...any) { s.h.fail(format, args...) }
func (s storyteller) Errorf(format string, args ...any) { s.h.fail(format, args...) }

// fail ends the history with the script that shows what is wrong.
func (h *history) fail(format string, args ...any) {
	h.rt.Helper()
	h.tellFacts()
	h.rt.Fatalf("%s. A script that shows it:\n%s", fmt.Sprintf(format, args...), h.text())
}

func (h *history) text() string { return strings.Join(h.story, "\n") + "\n" }

// line lets one line of a script happen.
func (h *history) line(format string, args ...any) {
	h.rt.Helper()
	text := fmt.Sprintf(format, args...)
	h.story = append(h.story, text)
	words := strings.Fields(text)
	if err := h.do(words[0], parseWords(words[1:])); err != nil {
		h.fail("%q: %v", text, err)
	}
	h.tellFacts()
}

func (h *history) tellFacts() {
	for _, p := range h.printed {
		h.story = append(h.story, strings.TrimRight("    "+p, " "))
	}
	h.printed = nil
}

// newHistory begins one as play begins a script, with what is configured beside.
func newHistory(rt *rapid.T, config ...string) *history {
	h := &history{rt: rt, calls: map[string]bool{}, sites: []string{"home"}}
	h.world = newWorld(storyteller{rt, h}, home())
	h.units = []*unit{{site: "home", name: "apc1", pi: "pi1", changed: true, status: power.Status{Flags: power.Online}}}
	h.story = []string{"# A random history."}
	h.line("config threshold=%d", rapid.IntRange(1, 3).Draw(rt, "threshold"))
	if rapid.Bool().Draw(rt, "two sites") {
		h.line("config two-sites two-plans")
		h.sites = append(h.sites, "office")
	} else if rapid.Bool().Draw(rt, "two UPSes") {
		h.line("config feeds=ups1:pve1+pve2,ups2:pve2+nas any=%s", draw(h, "any", "", "pve2"))
	}
	h.somePeople()
	for _, line := range config {
		h.line("%s", line)
	}
	h.mirror = sentinel.New(h.cfg)
	h.check = h.checkFact
	h.step(sentinel.Started{Version: "test"})
	h.printed, h.gap = nil, h.now
	h.line("beat all boot=1")
	if rapid.Bool().Draw(rt, "armed") {
		h.line("arm home")
	}
	h.line("+60s")
	return h
}

// checkFact proves what must hold of each fact, given the state before it: the mirror.
func (h *history) checkFact(at time.Time, f sentinel.Fact) {
	h.checkWatched(f)
	h.checkTold(at, f)
	h.checkCause(f)
	switch f := f.(type) {
	case *sentinel.BrainStarted, *sentinel.BrainPaused, *sentinel.BlindBegan, *sentinel.BlindEnded:
		h.gap = at
	case *sentinel.CallRequested:
		h.checkCall(f)
	case *sentinel.RunStepped:
		h.checkRun(f)
	case *sentinel.SourceFailed:
		h.checkFailed(at, f)
	case *sentinel.IncidentOpened:
		for _, i := range h.mirror.OpenIncidents() {
			if i.Site == f.Site && i.Kind == f.Kind {
				h.fail("%s opened beside %s", f.ID, i.ID)
			}
		}
		if f.Why == "" {
			h.fail("%s opened without a reason", f.ID)
		}
	}
	if _, isStep := f.(*sentinel.RunStepped); !isStep && sentinel.Sentence(f) == "" && !bookkeeping(f) {
		h.fail("%s has no sentence", f.FactName())
	}
	k := h.kept[len(h.kept)-1]
	again := sentinel.NewFact(k.name)
	if err := json.Unmarshal(k.body, again); err != nil {
		h.fail("decode %s: %v", k.name, err)
	}
	h.mirror.Evolve(at, again)
}

// bookkeeping are facts that tell nobody anything.
func bookkeeping(f sentinel.Fact) bool {
	switch f := f.(type) {
	case *sentinel.AnnouncementSeen, *sentinel.RecordComplete, *sentinel.CallPlaced:
		return true
	case *sentinel.NoticeEnded:
		return f.Delivered
	}
	return false
}

func (h *history) checkCall(f *sentinel.CallRequested) {
	i := h.mirror.Incidents[f.Incident]
	switch {
	case h.calls[f.Call]:
		h.fail("%s was requested twice", f.Call)
	case i == nil || !i.Open():
		h.fail("%s without an open incident", f.Call)
	case i.Answered != "":
		h.fail("%s although %s has answered", f.Call, i.Answered)
	case f.Why == "":
		h.fail("%s without a reason", f.Call)
	case slices.ContainsFunc(i.Calls, (*sentinel.Call).Open):
		h.fail("%s while another call is under way", f.Call)
	}
	h.calls[f.Call] = true
}

func (h *history) checkRun(f *sentinel.RunStepped) {
	site := h.mirror.Sites[f.Site]
	e := f.Event
	switch e.Type {
	case shutdown.Began:
		if e.Run.Reason == "" || e.Run.DryRun == site.Armed {
			h.fail("a run began for %q, armed %v, dry %v", e.Run.Reason, site.Armed, e.Run.DryRun)
		}
		if site.Run != nil && !site.Run.Over() {
			h.fail("a run began while %s goes on", site.Run.ID)
		}
	case shutdown.StartSent:
		h.checkStart(f)
	case shutdown.Sent:
		mains := true
		for _, u := range site.UPSes {
			mains = mains && u.Supply == power.Mains
		}
		if mains {
			h.fail("%s was told although the mains are there", e.Target)
		}
		h.checkFed(site, e.Target)
		if !strings.HasPrefix(e.Target, "listing/") && (!site.Armed || site.Run.DryRun) {
			h.fail("%s was told although the plan is not armed", e.Target)
		}
	}
}

// checkStart proves that a guest is started only with the mains there, and only one that a run
// of the site has told, as long as nobody disarmed it (rule S5).
func (h *history) checkStart(f *sentinel.RunStepped) {
	site := h.mirror.Sites[f.Site]
	mains := false
	for _, u := range site.UPSes {
		switch {
		case u.Supply == power.Mains:
			mains = true
		case u.Supply == power.Battery && !u.Lost:
			h.fail("%s was started although %s is on battery", f.Event.Target, u.Name)
		}
	}
	told := slices.ContainsFunc(site.Run.Targets, func(p *shutdown.Progress) bool { return p.Target.ID() == f.Event.Target && p.Tries > 0 }) ||
		slices.ContainsFunc(site.Run.Owed, func(t shutdown.Target) bool { return t.ID() == f.Event.Target })
	switch {
	case !mains:
		h.fail("%s was started, and no UPS is known to be on mains", f.Event.Target)
	case !told, !site.Armed, site.Run.DryRun, !site.Run.Over():
		h.fail("%s was started: told %v, armed %v, dry %v, over %v", f.Event.Target, told, site.Armed, site.Run.DryRun, site.Run.Over())
	}
}

// checkFailed proves that nothing alive is declared failed, and nothing announced but
// what did not return.
func (h *history) checkFailed(at time.Time, f *sentinel.SourceFailed) {
	src := h.mirror.Sites[f.Site].Sources[f.Name]
	if heard := at.Sub(h.source(f.Name).last); heard < h.cfg.Times.Silence-5*time.Second {
		h.fail("%s failed, and was heard %s ago: %s", f.Name, heard, f.Why)
	}
	a := src.Announced
	late := src.Condition == sentinel.Off && !src.BackBy.IsZero() && !at.Before(src.BackBy)
	if a != nil && a.Boot == src.Boot && !late && src.Condition != sentinel.Failed {
		h.fail("%s failed although it had announced its %s", f.Name, a.Kind)
	}
}

// checkState proves that the facts give the state, and that nobody waits for a call.
func (h *history) checkState() {
	got, want := h.encode(h.mirror), h.encode(h.state)
	if got != want {
		h.checkReplay()
		h.fail("the mirror differs:\n%s\n%s", got, want)
	}
	h.checkTellings()
	for _, i := range h.state.OpenIncidents() {
		h.checkCalled(i)
	}
}

// checkCalled proves that an incident that calls has a call in time, unless somebody
// answered or nobody wants one (the fourth invariant). What the brain did not watch it may
// first listen for.
func (h *history) checkCalled(i *sentinel.Incident) {
	const slack = 5 * time.Second
	since := i.Opened
	for _, at := range []time.Time{i.Reopened, i.Alarmed} {
		if at.After(since) {
			since = at
		}
	}
	within := slack
	switch i.Kind {
	case sentinel.PowerOutage:
		within += h.cfg.Times.PowerCall
	case sentinel.InternetOutage, sentinel.TailnetDown:
		within += h.cfg.Times.InternetCall
	}
	called := slices.ContainsFunc(i.Calls, func(c *sentinel.Call) bool { return c.Open() || !c.Requested.Before(since) || !c.Ended.Before(since) })
	if called || h.heldBack(i) || i.Answered != "" || !h.state.Blind.IsZero() || h.now.Sub(since) < within || h.now.Sub(h.gap) < time.Minute {
		return
	}
	away := false
	for _, site := range h.state.Sites {
		for _, n := range i.Nodes {
			src := site.Sources[n]
			switch {
			case src == nil:
			case src.Condition == sentinel.Up && i.Kind != sentinel.NodeFailure && i.Kind != sentinel.PowerOutage:
				return // it is coming back
			case src.Condition == sentinel.Failed && !src.Muted():
				away = true
			}
		}
	}
	if away || i.Kind == sentinel.PowerOutage && h.state.Sites[i.Site] != nil && onBattery(h.state.Sites[i.Site]) {
		h.fail("%s has gone on for %s since it had to call, and nobody is called", i.ID, h.now.Sub(since))
	}
}

func onBattery(site *sentinel.Site) bool {
	_, on := site.OnBattery()
	return on
}

func (h *history) encode(s *sentinel.State) string {
	text, err := json.Marshal(s)
	if err != nil {
		h.fail("encode the state: %v", err)
	}
	return string(text)
}

// calm brings everything back and proves that an hour later nothing is open, and then
// that a silence is still noticed.
func (h *history) calm() {
	h.causeless()
	h.line("+60s")
	if h.state.Blind.IsZero() {
		for _, b := range h.sources {
			if src := h.state.Sites[b.site].Sources[b.name]; src != nil && !b.beats && h.now.Sub(b.last) > 2*time.Minute && src.Condition == sentinel.Up {
				h.fail("%s passes for up and was last heard %s ago", b.name, h.now.Sub(b.last))
			}
		}
	}
	for _, b := range h.sources {
		h.line("beat %s", oneWord(b.name))
	}
	for _, u := range h.units {
		h.line("ups %s ONLINE charge=100", u.name)
	}
	h.heardDirectly()
	for range 4 {
		h.line("+15m")
		for _, c := range h.state.OpenCalls() {
			h.line("call-ended no-answer call=%s", c.ID)
		}
	}
	for _, i := range h.state.OpenIncidents() {
		h.fail("all is calm, and %s goes on: %s", i.ID, i.Why)
	}
	for name, site := range h.state.Sites {
		if site.Run != nil && site.Run.PutsBack() {
			h.fail("all is calm, and guests of %s are still being started", name)
		}
	}
	for _, b := range h.sources {
		if src := h.state.Sites[b.site].Sources[b.name]; src.Condition != sentinel.Up || src.Announced != nil {
			h.fail("all is calm, and %s is %s, announced %v", b.name, src.Condition, src.Announced)
		}
	}
	h.checkState()
	last := h.someSource()
	h.line("silent %s", oneWord(last.name))
	h.line("+25s")
	if src := h.state.Sites[last.site].Sources[last.name]; src.Condition != sentinel.Failed {
		h.fail("%s fell silent and is %s", last.name, src.Condition)
	}
}

// oneWord is a name as scripts have it: in one word.
func oneWord(name string) string { return strings.ReplaceAll(name, " ", "") }
