package shutdown_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"sentinel.home.arpa/shared/shutdown"
)

var begin = time.Date(2026, 11, 21, 19, 2, 0, 0, time.UTC)

func at(seconds float64) time.Time {
	return begin.Add(time.Duration(seconds * float64(time.Second)))
}

// plan has guests, then two nodes, then the storage.
func plan() shutdown.Plan {
	return shutdown.Plan{Site: "home", Nodes: []shutdown.Node{{Name: "pve1"}, {Name: "pve2"}, {Name: "nas"}},
		Stages: []shutdown.Stage{
			{AllGuests: true, Deadline: 2 * time.Minute},
			{Nodes: []string{"pve1", "pve2"}, Deadline: time.Minute},
			{Nodes: []string{"nas"}, Deadline: 30 * time.Second},
		}}
}

// rig owns a run as brain and Pi do, and keeps its events as their disks do.
type rig struct {
	t      failer
	run    *shutdown.Run
	events []shutdown.Event
}

type failer interface {
	Helper()
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
}

func start(t failer, p shutdown.Plan, dry bool) *rig {
	g := &rig{t: t}
	g.take([]shutdown.Event{{Type: shutdown.Began, At: begin, Run: &shutdown.Header{ID: "run/1", Plan: p, Reason: "the power has been out for 10 s", DryRun: dry}}})
	return g
}

// take puts events on disk and applies them; it returns them as words.
func (g *rig) take(es []shutdown.Event) string {
	var words []string
	for _, e := range es {
		if g.run == nil {
			g.run = shutdown.Start(e)
		} else {
			g.run.Apply(e)
		}
		g.events = append(g.events, e)
		words = append(words, strings.TrimSpace(fmt.Sprintf("%s %s", e.Type, e.Target)))
	}
	return strings.Join(words, ", ")
}

// next is all that time alone brings.
func (g *rig) next(seconds float64) string { return g.nextAt(at(seconds)) }

func (g *rig) nextAt(now time.Time) string {
	var all []string
	for range 100 {
		es := g.run.Next(now)
		if len(es) == 0 {
			return strings.Join(all, ", ")
		}
		all = append(all, g.take(es))
	}
	g.t.Fatalf("Next does not come to rest at %s", now)
	return ""
}

func (g *rig) answer(seconds float64, target string, err error, guests ...int) string {
	return g.answerAt(at(seconds), target, err, guests...)
}

func (g *rig) answerAt(now time.Time, target string, err error, guests ...int) string {
	var found []shutdown.Target
	for _, id := range guests {
		found = append(found, shutdown.Target{Kind: shutdown.Guest, Node: strings.TrimPrefix(target, "listing/"), VMID: id, Type: "qemu"})
	}
	return g.take(g.run.Answered(now, target, found, err))
}

func (g *rig) see(seconds float64, target string, s shutdown.Sight) string {
	return g.take(g.run.Seen(at(seconds), target, s))
}

func (g *rig) want(got, want string) {
	g.t.Helper()
	if got != want {
		g.t.Errorf("came to pass:\n  %s\nwant:\n  %s", got, want)
	}
}

func silent(d time.Duration) *time.Duration { return &d }

var (
	down = shutdown.Sight{Closed: true, SilentFor: silent(5 * time.Second)}
	off  = shutdown.Sight{Closed: true, SilentFor: silent(5 * time.Second), Leaving: true}
)

func TestS3_StagesInOrder(t *testing.T) {
	g := start(t, plan(), false)
	g.want(g.next(0), "stage_began, sent listing/pve1, sent listing/pve2, sent listing/nas")
	g.want(g.answer(1, "listing/pve1", nil, 100, 101), "found listing/pve1")
	g.want(g.answer(1, "listing/pve2", nil), "found listing/pve2")
	g.want(g.answer(1, "listing/nas", nil, 102), "found listing/nas")
	g.want(g.next(1), "sent guest/100, sent guest/101, sent guest/102")
	for _, id := range []string{"guest/100", "guest/101", "guest/102"} {
		g.want(g.answer(2, id, nil), "accepted "+id)
	}
	g.see(20, "guest/100", shutdown.Sight{})
	g.see(20, "guest/102", shutdown.Sight{})
	g.want(g.next(20), "") // guest/101 still runs
	g.want(g.see(21, "guest/101", shutdown.Sight{Running: true}), "")
	g.want(g.see(30, "guest/101", shutdown.Sight{}), "down guest/101")
	g.want(g.next(30), "stage_ended, stage_began, sent node/pve1, sent node/pve2")
	g.answer(31, "node/pve1", nil)
	g.answer(31, "node/pve2", nil)
	g.see(40, "node/pve1", down)
	g.want(g.next(40), "")
	g.see(41, "node/pve2", down)
	g.want(g.next(41), "stage_ended, stage_began, sent node/nas")
	g.answer(42, "node/nas", nil)
	g.see(50, "node/nas", down)
	g.want(g.next(50), "stage_ended, ended")
	if !g.run.Finished || g.run.State(at(50)) != shutdown.HasEnded {
		t.Errorf("the run is %s", g.run.State(at(50)))
	}
	g.want(g.next(1000), "")
}

// TestS4_OneThatFailsHoldsNobodyUp: it is retried until the deadline, then named.
func TestS4_OneThatFailsHoldsNobodyUp(t *testing.T) {
	p := plan()
	p.Stages = p.Stages[1:]
	g := start(t, p, false)
	g.want(g.next(0), "stage_began, sent node/pve1, sent node/pve2")
	g.answer(1, "node/pve2", nil)
	g.see(9, "node/pve2", down)
	g.want(g.answer(1, "node/pve1", errors.New("no route to host")), "refused node/pve1")
	sent := 0
	for s := 1.0; s < 60; s += 0.5 {
		switch got := g.next(s); got {
		case "":
		case "sent node/pve1":
			sent++
			g.answer(s, "node/pve1", errors.New("no route to host"))
		default:
			t.Fatalf("at %v s: %s", s, got)
		}
	}
	if sent < 25 {
		t.Errorf("retried %d times in 59 s", sent)
	}
	g.want(g.next(60), "late node/pve1, stage_ended, stage_began, sent node/nas")
	status := g.run.Status(at(60), shutdown.Epoch{Counter: 1, Holder: "cloud"})
	want := []shutdown.Outcome{
		{Kind: shutdown.ProxmoxNode, Name: "pve1", State: "late", Why: "no route to host"},
		{Kind: shutdown.ProxmoxNode, Name: "pve2", State: "down", Why: "its API is closed and its agent silent"},
		{Kind: shutdown.ProxmoxNode, Name: "nas", State: "pending"},
	}
	if diff := cmp.Diff(want, status.Targets); diff != "" {
		t.Errorf("the outcome does not name it (-want +got):\n%s", diff)
	}
}

func TestCommandsAreRepeated(t *testing.T) {
	p := plan()
	p.Stages = p.Stages[2:]
	g := start(t, p, false)
	g.want(g.next(0), "stage_began, sent node/nas")
	g.want(g.next(7.9), "")
	g.want(g.next(8), "refused node/nas") // no answer for 8 s
	g.want(g.next(9.9), "")
	g.want(g.next(10), "sent node/nas")
	g.want(g.answer(11, "node/nas", errors.New("500")), "refused node/nas")
	g.want(g.next(12.9), "")
	g.want(g.next(13), "sent node/nas")
	g.want(g.answer(13, "node/nas", nil), "accepted node/nas")
	g.want(g.answer(13, "node/nas", nil), "") // an answer to nothing
	g.want(g.answer(13, "node/pve9", nil), "")
	g.want(g.next(29.9), "")
	g.want(g.next(30), "late node/nas, stage_ended, ended")
}

func TestS4_Evidence(t *testing.T) {
	type sight struct {
		at float64
		shutdown.Sight
	}
	closed := func(s float64, silentFor *time.Duration) sight {
		return sight{s, shutdown.Sight{Closed: true, SilentFor: silentFor}}
	}
	open := func(s float64, silentFor *time.Duration) sight {
		return sight{s, shutdown.Sight{SilentFor: silentFor}}
	}
	for name, c := range map[string]struct {
		sights []sight
		down   bool
	}{
		"API closed, agent silent for 5 s":           {[]sight{closed(1, silent(5*time.Second))}, true},
		"API closed, agent heard 4.9 s ago":          {[]sight{closed(1, silent(4900*time.Millisecond))}, false},
		"agent silent, API open":                     {[]sight{open(1, silent(time.Minute))}, false},
		"agent that still beats, API long closed":    {[]sight{closed(1, silent(0)), closed(50, silent(time.Second))}, false},
		"no agent, API closed for 30 s":              {[]sight{closed(1, nil), closed(31, nil)}, true},
		"no agent, API closed for 29 s":              {[]sight{closed(1, nil), closed(30, nil)}, false},
		"no agent, API closed once":                  {[]sight{closed(40, nil)}, false},
		"no agent, API opened in between":            {[]sight{closed(1, nil), open(20, nil), closed(21, nil), closed(50, nil)}, false},
		"no agent, API opened in between, and is cl": {[]sight{closed(1, nil), open(20, nil), closed(21, nil), closed(51, nil)}, true},
	} {
		t.Run(name, func(t *testing.T) {
			p := plan()
			p.Stages = p.Stages[1:]
			g := start(t, p, false)
			g.next(0)
			g.answer(0, "node/pve1", nil)
			got := ""
			for _, s := range c.sights {
				got += g.see(s.at, "node/pve1", s.Sight)
			}
			if (got == "down node/pve1") != c.down {
				t.Errorf("seen: %q, want down %v", got, c.down)
			}
		})
	}
}

// TestS7_DryRun does everything but the commands.
func TestS7_DryRun(t *testing.T) {
	g := start(t, plan(), true)
	g.want(g.next(0), "stage_began, sent listing/pve1, sent listing/pve2, sent listing/nas")
	g.answer(1, "listing/pve1", nil, 100)
	g.answer(1, "listing/pve2", nil)
	g.answer(1, "listing/nas", nil)
	g.want(g.next(1), "skipped guest/100, stage_ended, stage_began, skipped node/pve1, skipped node/pve2, stage_ended, stage_began, skipped node/nas, stage_ended, ended")
	for _, e := range g.events {
		if e.Type == shutdown.Sent && !strings.HasPrefix(e.Target, "listing/") {
			t.Errorf("%s was told", e.Target)
		}
	}
}

// TestS5_Abort: no further command, whatever still comes in.
func TestS5_Abort(t *testing.T) {
	g := start(t, plan(), false)
	g.next(0)
	g.want(g.take(g.run.Abort(at(3), "the power is back")), "aborted")
	g.want(g.answer(4, "listing/pve1", nil, 100), "")
	g.want(g.see(4, "node/nas", down), "")
	g.want(g.next(500), "")
	g.want(g.take(g.run.Abort(at(5), "again")), "")
	if g.run.State(at(5)) != shutdown.Stopped || len(g.run.Due(at(5))) != 0 || len(g.run.Looks()) != 0 || !g.run.NextDeadline().IsZero() {
		t.Errorf("an aborted run still wants something: %s, %v, %v", g.run.State(at(5)), g.run.Due(at(5)), g.run.Looks())
	}
}

// TestG1_Advancing is what keeps the other from taking over.
func TestG1_Advancing(t *testing.T) {
	state := func(g *rig, s float64, want shutdown.State) {
		t.Helper()
		if got := g.run.State(at(s)); got != want {
			t.Errorf("at %v s the run is %s, want %s", s, got, want)
		}
	}
	p := plan()
	p.Stages = p.Stages[1:]
	g := start(t, p, false)
	g.next(0)
	state(g, 0, shutdown.Begun) // commands are out and nothing accepted
	state(g, 30, shutdown.Begun)
	g.answer(1, "node/pve1", errors.New("refused"))
	state(g, 1, shutdown.Begun)
	g.answer(2, "node/pve2", nil)
	state(g, 2, shutdown.Advancing)
	state(g, 12, shutdown.Advancing)
	state(g, 12.1, shutdown.Begun) // pve1 has not accepted, and nothing moves
	g.next(13)
	g.answer(13, "node/pve1", nil)
	state(g, 59, shutdown.Advancing) // all have accepted and have their deadline
}

// TestG1_WhoMayOnlyAskMakesNoHeadway: neither an answer nor the next stage is a command that
// was accepted.
func TestG1_WhoMayOnlyAskMakesNoHeadway(t *testing.T) {
	g := start(t, plan(), false)
	g.next(0)
	for _, n := range []string{"pve1", "pve2", "nas"} {
		g.answer(1, "listing/"+n, nil)
	}
	g.next(1)
	g.answer(2, "node/pve1", errors.New("403"))
	if got := g.run.State(at(2)); g.run.Stage != 1 || got != shutdown.Begun {
		t.Errorf("in stage %d it is %s, want 1 and begun", g.run.Stage, got)
	}
	g.answer(2, "node/pve2", nil)
	if got := g.run.State(at(2)); got != shutdown.Advancing {
		t.Errorf("once a command is accepted it is %s", got)
	}
}

func TestDueIsWhatIsUnanswered(t *testing.T) {
	g := start(t, plan(), false)
	if due := g.run.Due(at(0)); len(due) != 0 {
		t.Errorf("due before the first stage: %v", due)
	}
	g.next(0)
	g.answer(1, "listing/pve1", nil, 100)
	g.next(1)
	var got []string
	for _, c := range g.run.Due(at(20)) {
		got = append(got, fmt.Sprintf("%s %s", c.Target.ID(), c.Left))
	}
	if diff := cmp.Diff([]string{"listing/pve2 1m40s", "listing/nas 1m40s", "guest/100 1m40s"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if c := g.run.Due(at(500)); c[0].Left != 0 {
		t.Errorf("past its deadline a stage has %s left", c[0].Left)
	}
	got = nil
	for _, target := range g.run.Looks() {
		got = append(got, target.ID())
	}
	if diff := cmp.Diff([]string{"listing/pve2", "listing/nas", "guest/100"}, got); diff != "" {
		t.Errorf("Looks (-want +got):\n%s", diff)
	}
	g.answer(21, "listing/nas", errors.New("no route to host"))
	g.answer(21, "guest/100", nil)
	if due := g.run.Due(at(21)); len(due) != 1 || due[0].Target.ID() != "listing/pve2" {
		t.Errorf("what was answered is still due: %v", due)
	}
}

// TestNothingIsToldBeforeItIsSent: a stage that has begun has asked and told nobody yet, and
// to ask a node for its guests is not to tell it anything.
func TestNothingIsToldBeforeItIsSent(t *testing.T) {
	g := start(t, plan(), false)
	g.take(g.run.Next(at(0)))
	if looks := g.run.Looks(); len(looks) != 0 {
		t.Errorf("nothing was asked, and it looks at %v", looks)
	}
	g.take(g.run.Next(at(0)))
	g.answer(1, "listing/pve1", nil, 100)
	if g.run.Told() {
		t.Error("told, though only asked")
	}
	g.next(1)
	if !g.run.Told() {
		t.Error("not told, though a guest was")
	}
}

func TestG1_ARunThatIsOverDoesNotAdvance(t *testing.T) {
	p := plan()
	p.Stages = p.Stages[2:]
	for name, over := range map[string]func(*rig){
		"aborted": func(g *rig) { g.take(g.run.Abort(at(2), "the power is back")) },
		"ended":   func(g *rig) { g.see(2, "node/nas", down); g.next(2) },
	} {
		g := start(t, p, false)
		g.next(0)
		g.answer(1, "node/nas", nil)
		if !g.run.Advancing(at(2)) {
			t.Fatalf("%s: it does not advance before", name)
		}
		over(g)
		if !g.run.Over() || g.run.Advancing(at(2)) {
			t.Errorf("%s: over %v, advancing %v", name, g.run.Over(), g.run.Advancing(at(2)))
		}
	}
}

func TestOpenStates(t *testing.T) {
	for s, want := range map[shutdown.State]bool{shutdown.None: false, shutdown.Begun: true, shutdown.Advancing: true,
		shutdown.HasEnded: false, shutdown.Stopped: false, shutdown.Disarmed: false} {
		if s.Open() != want {
			t.Errorf("%s is open: %v", s, s.Open())
		}
	}
}

// TestS4_GuestsOfANodeThatIsOff are not waited for: nothing runs there.
func TestS4_GuestsOfANodeThatIsOff(t *testing.T) {
	g := start(t, plan(), false)
	g.next(0)
	g.answer(1, "listing/pve1", nil)
	g.answer(1, "listing/nas", nil)
	g.want(g.see(2, "listing/pve2", off), "down listing/pve2")
	g.want(g.next(2), "stage_ended, stage_began, sent node/pve1, sent node/pve2")
}

// TestARefusalIsSaidOnce: what is refused for the same reason again is marked so.
func TestARefusalIsSaidOnce(t *testing.T) {
	p := plan()
	p.Stages = p.Stages[2:]
	g := start(t, p, false)
	g.next(0)
	g.next(8)
	g.next(10)
	g.next(18)
	g.next(20)
	g.answer(21, "node/nas", errors.New("500"))
	var again []bool
	for _, e := range g.events {
		if e.Type == shutdown.Refused {
			again = append(again, e.Again)
		}
	}
	if diff := cmp.Diff([]bool{false, true, false}, again); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestEmptyPlans(t *testing.T) {
	g := start(t, shutdown.Plan{Site: "home"}, false)
	g.want(g.next(0), "ended")
	p := shutdown.Plan{Stages: []shutdown.Stage{{Deadline: time.Minute}, {AllGuests: true, Deadline: time.Minute}}}
	g = start(t, p, false)
	g.want(g.next(0), "stage_began, stage_ended, stage_began, stage_ended, ended")
	if p.Need() != 2*time.Minute {
		t.Errorf("Need = %s", p.Need())
	}
}

func TestG5_EpochsOrder(t *testing.T) {
	for _, c := range []struct {
		a, b shutdown.Epoch
		want int
	}{
		{shutdown.Epoch{Counter: 1, Holder: "pi1"}, shutdown.Epoch{Counter: 2, Holder: "cloud"}, -1},
		{shutdown.Epoch{Counter: 2, Holder: "cloud"}, shutdown.Epoch{Counter: 2, Holder: "pi1"}, -1},
		{shutdown.Epoch{Counter: 2, Holder: "pi1"}, shutdown.Epoch{Counter: 2, Holder: "pi1"}, 0},
		{shutdown.Epoch{Counter: 10, Holder: "a"}, shutdown.Epoch{Counter: 9, Holder: "z"}, 1},
	} {
		if got := c.a.Compare(c.b); got != c.want {
			t.Errorf("%v, %v: %d, want %d", c.a, c.b, got, c.want)
		}
		if got := c.b.Compare(c.a); got != -c.want {
			t.Errorf("%v, %v: %d, want %d", c.b, c.a, got, -c.want)
		}
	}
}

// replay gives the run back from its events as they lie on disk.
func (g *rig) replay() *shutdown.Run {
	var r *shutdown.Run
	for _, e := range g.events {
		data, err := json.Marshal(e)
		if err != nil {
			g.t.Fatalf("encode: %v", err)
		}
		var again shutdown.Event
		if err := json.Unmarshal(data, &again); err != nil {
			g.t.Fatalf("decode: %v", err)
		}
		if r == nil {
			r = shutdown.Start(again)
		} else {
			r.Apply(again)
		}
	}
	return r
}

func (g *rig) checkReplay(now time.Time) {
	g.t.Helper()
	again := g.replay()
	if diff := cmp.Diff(g.run, again, cmpopts.IgnoreUnexported(shutdown.Progress{}), cmpopts.EquateEmpty()); diff != "" {
		g.t.Fatalf("the events do not give the run back (-run +replayed):\n%s", diff)
	}
	if a, b := g.run.NextDeadline(), again.NextDeadline(); !a.Equal(b) {
		g.t.Fatalf("replayed it waits until %s instead of %s", b, a)
	}
	if diff := cmp.Diff(g.run.Due(now), again.Due(now)); diff != "" {
		g.t.Fatalf("replayed it wants something else (-run +replayed):\n%s", diff)
	}
}

// A guest whose shutdown came to nothing after it was accepted is told again.
func TestS4_AFailedShutdownIsToldAgain(t *testing.T) {
	now := time.Date(2026, 11, 21, 19, 0, 0, 0, time.UTC)
	plan := shutdown.Plan{Nodes: []shutdown.Node{{Name: "pve1"}}, Stages: []shutdown.Stage{{AllGuests: true, Deadline: time.Minute}}}
	r := shutdown.Start(shutdown.Event{Type: shutdown.Began, At: now, Run: &shutdown.Header{ID: "r", Plan: plan}})
	apply := func(es []shutdown.Event) (types []shutdown.EventType) {
		for _, e := range es {
			r.Apply(e)
			types = append(types, e.Type)
		}
		return types
	}
	apply(r.Next(now))
	apply(r.Next(now))
	apply(r.Answered(now, "listing/pve1", []shutdown.Target{{Kind: shutdown.Guest, Node: "pve1", VMID: 100, Type: "qemu"}}, nil))
	apply(r.Next(now))
	apply(r.Answered(now, "guest/100", nil, nil))
	if es := r.Seen(now, "guest/100", shutdown.Sight{Running: true}); es != nil {
		t.Fatalf("while its task runs: %+v", es)
	}
	locked := shutdown.Sight{Running: true, Failed: "its shutdown failed: VM is locked (backup)"}
	es := r.Seen(now.Add(time.Second), "guest/100", locked)
	if got := apply(es); len(got) != 1 || got[0] != shutdown.Refused || es[0].Again {
		t.Fatalf("after its task failed: %+v", es)
	}
	if es := r.Seen(now.Add(time.Second), "guest/100", locked); es != nil {
		t.Fatalf("the same failure again: %+v", es)
	}
	if got := apply(r.Next(now.Add(3 * time.Second))); len(got) != 1 || got[0] != shutdown.Sent {
		t.Fatalf("2 s later: %v", got)
	}
	es = r.Answered(now.Add(3*time.Second), "guest/100", nil, nil)
	if got := apply(es); len(got) != 1 || got[0] != shutdown.Accepted || es[0].Again {
		t.Fatalf("a yes that came to nothing before is told as news: %+v", es)
	}
	es = r.Seen(now.Add(4*time.Second), "guest/100", locked)
	if got := apply(es); len(got) != 1 || got[0] != shutdown.Refused || !es[0].Again || !es[0].Undone {
		t.Fatalf("the same failure of the second try is told as another: %+v", es)
	}
}
