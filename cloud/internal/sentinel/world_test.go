package sentinel_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"sentinel.home.arpa/cloud/internal/liveness"
	"sentinel.home.arpa/cloud/internal/sentinel"
	"sentinel.home.arpa/shared/escalation"
	"sentinel.home.arpa/shared/power"
	"sentinel.home.arpa/shared/shutdown"
)

// world is everything around one State: sources that beat each second into a real
// liveness table, UPSes that Pis read with a real tracker, the brain's own uplink, and
// the loop that asks NextDeadline. Its time moves only by pass.
type world struct {
	t     failer
	cfg   sentinel.Config
	state *sentinel.State
	table *liveness.Table
	kept  []kept

	begun, now time.Time
	zero       time.Time // what times are printed from
	sources    []*beater
	units      []*unit

	online, hangs bool      // the brain's uplink, and whether a check of it never ends
	tailnetGone   bool      // neither control server nor relay answers
	answerAt      time.Time // of the check under way
	askAfter      time.Time

	printed []string
	check   func(at time.Time, f sentinel.Fact) // sees each fact before the next
}

// failer is a test, or a check of one.
type failer interface {
	Helper()
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
}

// kept is a fact as the journal has it.
type kept struct {
	at   time.Time
	name string
	body []byte
}

type beater struct {
	site, name, boot, via, state string
	role                         sentinel.Role
	beats                        bool
	last                         time.Time
	notes                        []note // a Pi's record
	withholds                    bool   // its record does not come by itself
}

type unit struct {
	site, name, pi string
	status         power.Status
	tracker        power.Tracker
	dead           bool // apcupsd does not answer its Pi
	changed        bool
	cutting        bool // its Pi is about to have its output cut
	sent           time.Time
}

const (
	maxTurnsAtOnce = 100
	half           = 500 * time.Millisecond
)

func newWorld(t failer, cfg sentinel.Config) *world {
	at := time.Date(2026, 11, 21, 19, 2, 0, 0, time.UTC)
	return &world{t: t, cfg: cfg, state: sentinel.New(cfg), table: liveness.New(cfg.Times.Silence),
		begun: at, now: at, zero: at, online: true}
}

// home is the site that most stories are about: two nodes, a storage node, a Pi that
// reads a UPS, and a plan of guests, nodes, storage that needs 4 min.
func home() sentinel.Config {
	node := func(name string) shutdown.Node {
		return shutdown.Node{Name: name, API: "https://" + name + ".example:8006"}
	}
	return sentinel.Config{
		Brain: "cloud", Contacts: []string{"alice", "bob"}, Threshold: 1,
		Escalation: escalation.DefaultPolicy(), Times: sentinel.DefaultTimes(),
		WorseCharge: sentinel.DefaultWorseCharge, WorseRuntime: sentinel.DefaultWorseRuntime,
		Sites: []sentinel.SiteConfig{{
			Name: "home", Nodes: []string{"pve1", "pve2", "nas"}, Pis: []string{"pi1"}, Policy: power.DefaultPolicy(),
			Plan: &shutdown.Plan{Site: "home", Nodes: []shutdown.Node{node("pve1"), node("pve2"), node("nas")},
				Stages: []shutdown.Stage{
					{AllGuests: true, Deadline: 2 * time.Minute},
					{Nodes: []string{"pve1", "pve2"}, Deadline: time.Minute},
					{Nodes: []string{"nas"}, Deadline: time.Minute},
				}},
		}},
	}
}

func (w *world) source(name string) *beater {
	for _, b := range w.sources {
		if b.name == name {
			return b
		}
	}
	return nil
}

// pass lets time go by, with everything that happens meanwhile at its own moment.
func (w *world) pass(d time.Duration) {
	end := w.now.Add(d)
	for turns := 0; ; turns++ {
		at := w.next()
		if at.After(end) {
			break
		}
		if at.After(w.now) {
			w.now, turns = at, 0
		}
		if turns > maxTurnsAtOnce {
			w.t.Fatalf("at %s NextDeadline stands still at %s", w.now, w.state.NextDeadline())
		}
		w.turn()
	}
	w.now = end
}

// next is when something happens next, never before now.
func (w *world) next() time.Time {
	next := w.now.Truncate(half).Add(half)
	for _, at := range []time.Time{w.state.NextDeadline(), w.table.Next(), w.answerAt} {
		if !at.IsZero() && at.Before(next) {
			next = at
		}
	}
	if next.Before(w.now) {
		return w.now
	}
	return next
}

// turn is one turn of the brain's loop.
func (w *world) turn() {
	switch w.now {
	case w.now.Truncate(time.Second):
		for _, b := range w.sources {
			if b.beats {
				w.beat(b)
			}
		}
	case w.now.Truncate(half): // Pis poll between the beats, and nothing happens on their stroke
		for _, u := range w.units {
			w.report(u)
		}
	}
	if !w.answerAt.IsZero() && !w.now.Before(w.answerAt) {
		w.answerAt, w.askAfter = time.Time{}, w.now.Add(3*time.Second)
		w.step(sentinel.Uplink{Online: w.online, TailnetGone: w.tailnetGone})
	}
	for _, s := range w.table.Expire(w.now) {
		w.step(sentinel.Silent{Site: s.Site, Name: s.Name, Last: s.Last, Up: w.table.Site(s.Site), Elsewhere: w.elsewhere(s.Site)})
	}
	if at := w.state.NextDeadline(); !at.IsZero() && !w.now.Before(at) {
		w.step(sentinel.Tick{})
	}
	w.ask()
}

func (w *world) beat(b *beater) {
	b.last = w.now
	news := w.table.Beat(w.now, liveness.Beat{Key: liveness.Key{Site: b.site, Name: b.name}, Pi: b.role == sentinel.Pi,
		Boot: b.boot, Via: b.via, State: b.state})
	if news.Heard {
		w.step(sentinel.Heard{Site: b.site, Name: b.name, Role: b.role, Boot: b.boot, Via: b.via})
		if b.role == sentinel.Pi && !b.withholds {
			w.deliver(b, 0)
		}
	}
	if news.State {
		w.step(sentinel.SystemState{Site: b.site, Name: b.name, Boot: b.boot, State: b.state})
	}
}

// report is what a Pi tells of its UPS: each second on battery, each 5 s on mains, and
// at once when it changes (rule U1).
func (w *world) report(u *unit) {
	var r power.Reading
	if u.dead {
		r = u.tracker.Silent(w.now)
	} else {
		r = u.tracker.Observe(w.now, u.status)
	}
	pi := w.source(u.pi)
	calm := r.Supply == power.Mains && r.LostFor == nil && !u.changed
	if pi == nil || !pi.beats || calm && w.now.Sub(u.sent) < 5*time.Second {
		return
	}
	u.sent, u.changed = w.now, false
	w.step(sentinel.UPSReported{Site: u.site, Pi: u.pi, UPS: u.name, Reading: r, Cutting: u.cutting})
}

// ask begins a check of the brain's uplink as the brain does: at once when wished for,
// again 3 s after the last. No for an answer takes as long as the anchors are given.
func (w *world) ask() {
	if !w.state.WantsUplink() || !w.answerAt.IsZero() || w.now.Before(w.askAfter) || w.hangs {
		return
	}
	w.answerAt = w.now.Add(100 * time.Millisecond)
	if !w.online {
		w.answerAt = w.now.Add(2500 * time.Millisecond)
	}
}

// step gives the state an input, keeps the facts and prints them.
func (w *world) step(in sentinel.Input) []sentinel.Fact {
	facts := w.state.Step(w.now, in)
	for _, f := range facts {
		body, err := json.Marshal(f)
		if err != nil {
			w.t.Fatalf("encode %s: %v", f.FactName(), err)
		}
		w.kept = append(w.kept, kept{w.now, f.FactName(), body})
		if w.check != nil {
			w.check(w.now, f)
		}
		w.printed = append(w.printed, fmt.Sprintf("%+7.1fs  %-18s  %s", w.now.Sub(w.zero).Seconds(), f.FactName(), told(f)))
		w.follow(f)
		if _, ok := f.(*sentinel.BlindEnded); ok {
			w.table.Restart(w.now, w.wereUp())
		}
	}
	w.ask()
	return facts
}

// told is a fact's sentence; of a run's bookkeeping, which has none, its type.
func told(f sentinel.Fact) string {
	text := sentinel.Sentence(f)
	if n, ok := f.(*sentinel.NoticeRequested); ok {
		over := ""
		if n.Over {
			over = ", over"
		}
		return fmt.Sprintf("%s (%s, %s%s): %s", text, n.Kind, n.Severity, over, strings.ReplaceAll(strings.ReplaceAll(n.Text, "\n\n", "\n"), "\n", "\n"+strings.Repeat(" ", 33)))
	}
	if step, ok := f.(*sentinel.RunStepped); ok && text == "" {
		return "(" + strings.TrimSpace(string(step.Event.Type)+" "+step.Event.Target) + ")"
	}
	return text
}

func (w *world) wereUp() []liveness.Beat {
	var beats []liveness.Beat
	for _, site := range w.state.Sites {
		for _, src := range site.Sources {
			if src.Condition == sentinel.Up {
				beats = append(beats, liveness.Beat{Key: liveness.Key{Site: site.Name, Name: src.Name}, Pi: src.Role == sentinel.Pi, Boot: src.Boot, Silent: !w.state.Blind.IsZero()})
			}
		}
	}
	slices.SortFunc(beats, func(a, b liveness.Beat) int { return strings.Compare(a.Name, b.Name) })
	return beats
}

// restart kills the brain and starts another one, away later, from the journal alone.
func (w *world) restart(away time.Duration) {
	w.now = w.now.Add(away)
	w.state, w.table = w.replayed(), liveness.New(w.cfg.Times.Silence)
	w.answerAt, w.askAfter = time.Time{}, time.Time{}
	w.table.Restart(w.now, w.wereUp())
	w.step(sentinel.Started{Version: "test"})
}

// pause stops the brain for a while, as a live migration does.
func (w *world) pause(d time.Duration) {
	w.now = w.now.Add(d)
	w.table.Resume(w.now, d, w.wereUp())
	w.step(sentinel.Paused{For: d})
}

// replayed is the state that the journal gives back.
func (w *world) replayed() *sentinel.State {
	s := sentinel.New(w.cfg)
	w.replayOnto(s)
	return s
}

func (w *world) replayOnto(s *sentinel.State) {
	for _, k := range w.kept {
		f := sentinel.NewFact(k.name)
		if f == nil {
			w.t.Fatalf("NewFact does not know %q", k.name)
		}
		if err := json.Unmarshal(k.body, f); err != nil {
			w.t.Fatalf("decode %s: %v", k.name, err)
		}
		s.Evolve(k.at, f)
	}
}

// checkReplay proves that the facts alone give the durable state back.
func (w *world) checkReplay() {
	w.t.Helper()
	volatile := cmpopts.IgnoreUnexported(sentinel.State{}, sentinel.Site{}, sentinel.Source{}, sentinel.UPS{}, sentinel.Incident{}, shutdown.Progress{})
	if diff := cmp.Diff(w.state, w.replayed(), volatile, cmpopts.EquateEmpty()); diff != "" {
		w.t.Errorf("the facts do not give the state back (-state +replayed):\n%s", diff)
	}
	otherwise := w.cfg
	otherwise.Times = sentinel.Times{}
	s := sentinel.New(otherwise)
	w.replayOnto(s)
	if diff := cmp.Diff(w.state, s, volatile, cmpopts.EquateEmpty()); diff != "" {
		w.t.Errorf("the facts give another state with other times (-state +replayed):\n%s", diff)
	}
}
