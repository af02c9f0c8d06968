package shutdown_test

import (
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sentinel.home.arpa/shared/shutdown"
)

// TestG5_HandOverNamesWhatItStopped: whoever goes on with the plan is to put back what the one
// before has stopped; until then that one owes it.
func TestG5_HandOverNamesWhatItStopped(t *testing.T) {
	g := midway(t)
	es := g.run.HandOver(at(20), "the Pi carries it out")
	g.want(g.take(es), "aborted")
	if e := es[0]; !e.Taken || e.Why != "the Pi carries it out" || ids(e.Targets) != "guest/100, guest/101, guest/102, guest/103" {
		t.Errorf("it hands over %+v", e)
	}
	if !g.run.Taken || g.run.State(at(20)) != shutdown.Stopped {
		t.Error("it is not handed over")
	}
	g.want(g.take(g.run.HandOver(at(21), "once more")), "")
	g.want(g.powerBack(30), "put_back_began")
	g.checkReplay(at(30))
}

// TestS4_AnAnnouncedNodeIsDownOnceItIsSilent: whether it was heard since the process began or not.
func TestS4_AnAnnouncedNodeIsDownOnceItIsSilent(t *testing.T) {
	p := plan()
	p.Stages = p.Stages[1:2]
	g := start(t, p, false)
	g.next(0)
	said := func(d time.Duration) shutdown.Sight {
		return shutdown.Sight{Announced: true, SilentFor: silent(d)}
	}
	never := shutdown.Sight{Announced: true}
	g.want(g.see(1, "node/pve1", said(5*time.Second-time.Millisecond)), "")
	g.want(g.see(1, "node/pve1", said(5*time.Second)), "down node/pve1")
	g.want(g.see(2, "node/pve2", never), "")
	g.want(g.see(6.9, "node/pve2", never), "")
	g.want(g.see(7, "node/pve2", never), "down node/pve2")
	var why []string
	for _, o := range g.run.Status(at(7), shutdown.Epoch{}).Targets {
		why = append(why, o.Why)
	}
	if diff := cmp.Diff([]string{"it said that it powers off, and is silent", "it said that it powers off, and is silent"}, why); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	h := midway(t)
	h.want(h.see(11, "guest/101", said(5*time.Second)), "down guest/101")
	if e := h.events[len(h.events)-1]; e.Why != "its node said that it powers off, and is silent" {
		t.Errorf("a guest is down because %s", e.Why)
	}
}

func TestS10_AStatusSaysHowEachTargetStands(t *testing.T) {
	g := midway(t)
	states := func(seconds float64) (all []string) {
		for _, o := range g.run.Status(at(seconds), shutdown.Epoch{}).Targets {
			all = append(all, o.Name+" "+o.State)
		}
		return all
	}
	if diff := cmp.Diff([]string{"guest 100 down", "guest 101 told", "guest 102 pending", "guest 103 pending"}, states(10)); diff != "" {
		t.Errorf("midway (-want +got):\n%s", diff)
	}
	g.next(120)
	if diff := cmp.Diff([]string{"guest 100 down", "guest 101 late", "guest 102 late", "guest 103 late", "pve1 pending", "pve2 pending"}, states(120)); diff != "" {
		t.Errorf("after the stage (-want +got):\n%s", diff)
	}
	g = midway(t)
	g.powerBack(20)
	g.back(20, true)
	g.see(21, "guest/100", running)
	g.see(21, "guest/101", shutdown.Sight{Moved: true})
	if diff := cmp.Diff([]string{"guest 100 back", "guest 101 not back", "guest 102 pending", "guest 103 pending"}, states(21)); diff != "" {
		t.Errorf("put back (-want +got):\n%s", diff)
	}
	g = start(t, plan(), true)
	g.next(0)
	g.answer(1, "listing/pve1", nil, 100)
	g.next(1)
	if diff := cmp.Diff([]string{"guest 100 skipped"}, states(1)); diff != "" {
		t.Errorf("dry (-want +got):\n%s", diff)
	}
}

// TestS5_WhatIsSeenOfOneThatIsPutBack: a node that is out of reach says nothing of its guests, but
// of one that was told it says that it went down; one that went elsewhere is a person's.
func TestS5_WhatIsSeenOfOneThatIsPutBack(t *testing.T) {
	g := midway(t)
	g.powerBack(20)
	g.want(g.see(21, "guest/100", down), "")
	g.want(g.see(21, "guest/101", shutdown.Sight{Moved: true}), "put_back_failed guest/101")
	g.want(g.see(22, "guest/101", running), "") // it is done with
	g.want(g.see(22, "guest/102", shutdown.Sight{Failed: "its task failed"}), "stop_seen guest/102")
	g.want(g.see(23, "guest/102", shutdown.Sight{Failed: "its task failed"}), "") // no start was accepted
	g.want(g.see(259.9, "guest/103", running), "put_back guest/103")
	g.want(g.back(24, true), "start_sent guest/100, start_sent guest/102")
	g.want(g.take(g.run.Answered(at(25), "guest/102", nil, errors.New("no"))), "")
}

// TestS5_WhoOwesNothing: a run that is under way, was stopped by a person, or was dry.
func TestS5_WhoOwesNothing(t *testing.T) {
	var none *shutdown.Run
	end := func(r *shutdown.Run, held bool) int { return len(r.EndPutBack(at(30), "the plan was disarmed", held)) }
	open, aborted, told := midway(t), midway(t), midway(t)
	aborted.take(aborted.run.Abort(at(20), "the plan was stopped"))
	told.take(told.run.HandOver(at(20), "the Pi carries it out"))
	dry := start(t, plan(), true)
	dry.nextAt(at(0))
	dry.take(dry.run.HandOver(at(20), "the Pi carries it out"))
	for name, c := range map[string]struct {
		run  *shutdown.Run
		held bool
		want int
	}{
		"no run":              {none, false, 0},
		"under way":           {open.run, false, 0},
		"stopped by a person": {aborted.run, false, 0},
		"handed over":         {told.run, false, 1},
		"for the time being":  {told.run, true, 0},
		"dry":                 {dry.run, false, 0},
	} {
		if got := end(c.run, c.held); got != c.want {
			t.Errorf("%s: %d events, want %d", name, got, c.want)
		}
	}
	if none.StillOwed() != nil || none.StartsUnderWay(at(0)) != nil {
		t.Error("no run owes something")
	}
	told.take(told.run.EndPutBack(at(30), "the plan was disarmed", false))
	told.want(told.powerBack(40), "")
}

// TestS3_AStartIsNamedOnce: also one that two runs sent.
func TestS3_AStartIsNamedOnce(t *testing.T) {
	g := midway(t)
	g.powerBack(20)
	g.back(20, true)
	g.take(g.run.EndPutBack(at(21), "the power is out again", true))
	early := g.run.StartsUnderWay(at(34.9))
	if len(early) != 1 || !early[0].Until.Equal(at(35)) {
		t.Fatalf("under way: %v", early)
	}
	if late := g.run.StartsUnderWay(at(35)); len(late) > 0 {
		t.Errorf("under way at its end: %v", late)
	}
	next := &rig{t: t}
	next.take([]shutdown.Event{{Type: shutdown.Began, At: at(22), Run: &shutdown.Header{ID: "run/2", Plan: plan(), Owed: g.run.StillOwed(), Starting: early}}})
	next.powerBack(23)
	next.see(24, "guest/100", stopped)
	next.want(next.back(24, true), "start_sent guest/100")
	if got := next.run.StartsUnderWay(at(25)); len(got) != 1 || !got[0].Until.Equal(at(39)) {
		t.Errorf("under way: %v", got)
	}
	next.see(26, "guest/100", running)
	if got := next.run.StartsUnderWay(at(26)); len(got) != 1 || !got[0].Until.Equal(at(35)) {
		t.Errorf("the earlier run's: %v", got)
	}
}

func TestS5_WhenToAskAgain(t *testing.T) {
	g := midway(t)
	if d := g.run.PutBackDeadline(true); !d.IsZero() {
		t.Errorf("of a run that puts nothing back: %s", d)
	}
	g.powerBack(20)
	end := at(540) // its stage's 2 min, 2 min in which a guest may stop, and 5
	for _, c := range []struct {
		do    func()
		mains bool
		want  time.Time
	}{
		{func() {}, false, end},
		{func() {}, true, time.Time{}}, // guest 100 is due since ever
		{func() { g.back(20, true) }, true, at(28)},
		{func() { g.started(21, "guest/100", nil) }, true, at(50)},
		{func() { g.back(50, true) }, true, at(60)},
		{func() { g.see(51, "guest/100", running) }, true, end},
	} {
		c.do()
		if got := g.run.PutBackDeadline(c.mains); !got.Equal(c.want) {
			t.Errorf("it is asked again at %s, want %s", got.Sub(begin), c.want.Sub(begin))
		}
	}
}

func TestWhatAPlanHas(t *testing.T) {
	with := func(s shutdown.Stage) shutdown.Plan { return shutdown.Plan{Stages: []shutdown.Stage{{}, s}} }
	if with(shutdown.Stage{Nodes: []string{"pve1"}}).Hosts() || !with(shutdown.Stage{Hosts: []string{"desktop"}}).Hosts() {
		t.Error("hosts")
	}
	pool := func(name string) shutdown.Plan { return with(some(shutdown.Choice{Pool: name})) }
	if with(all()).Pools() || pool("").Pools() || !pool("prod").Pools() {
		t.Error("pools")
	}
	if shutdown.Guest.Machine() || shutdown.Listing.Machine() || !shutdown.ProxmoxNode.Machine() || !shutdown.Host.Machine() {
		t.Error("machines")
	}
	words := shutdown.Choice{Tags: []string{"web", "db"}, IDs: []int{7, 8}, Pool: "prod"}.Words()
	want := []shutdown.Choice{{Tags: []string{"web"}}, {Tags: []string{"db"}}, {Pool: "prod"}, {IDs: []int{7}}, {IDs: []int{8}}}
	if diff := cmp.Diff(want, words); diff != "" {
		t.Errorf("words (-want +got):\n%s", diff)
	}
	if words := (shutdown.Choice{IDs: []int{7}}).Words(); len(words) != 1 {
		t.Errorf("words of a number: %v", words)
	}
	es := shutdown.WithoutCommands([]shutdown.Event{{Type: shutdown.StageBegan}, {Type: shutdown.Sent}, {Type: shutdown.WentDown}})
	if len(es) != 2 || es[0].Type != shutdown.StageBegan || es[1].Type != shutdown.WentDown {
		t.Errorf("without commands: %v", es)
	}
}

// TestS4_WhoWasNotSeenDown: of a node that is off nothing runs; a node that was not asked is no
// machine that stays up.
func TestS4_WhoWasNotSeenDown(t *testing.T) {
	p := plan()
	p.Nodes = p.Nodes[:2]
	p.Stages = p.Stages[:2]
	g := start(t, p, false)
	g.next(0)
	g.answer(1, "listing/pve1", nil, 100, 101)
	g.next(1)
	g.see(10, "guest/101", stopped)
	g.next(120) // pve2 never says which guests it has
	g.answer(121, "node/pve1", nil)
	g.answer(121, "node/pve2", nil)
	off, on := *g, *g
	missed := func(g rig) string {
		e := g.events[len(g.events)-1]
		if e.Type != shutdown.Ended {
			t.Fatalf("it is not over: %s", e.Type)
		}
		return ids(e.Targets)
	}
	copyOf := func(g *rig) {
		var r shutdown.Run
		if err := json.Unmarshal([]byte(words(g.run)), &r); err != nil {
			t.Fatal(err)
		}
		g.run = &r
	}
	copyOf(&off)
	copyOf(&on)
	off.see(130, "node/pve1", down)
	off.next(180)
	g.want(missed(off), "node/pve2")
	on.see(130, "node/pve2", down)
	on.next(180)
	g.want(missed(on), "guest/100, node/pve1")
}

// TestS5_OnlyWhoWasToldIsPutBack: and each once, also one that an earlier run had stopped before.
func TestS5_OnlyWhoWasToldIsPutBack(t *testing.T) {
	guest := func(id int) shutdown.Target {
		return shutdown.Target{Kind: shutdown.Guest, Node: "pve1", VMID: id, Type: "qemu"}
	}
	for want, owed := range map[string][]shutdown.Target{
		"":                     nil,
		"guest/100, guest/102": {guest(100), guest(102)},
	} {
		g := &rig{t: t}
		g.take([]shutdown.Event{{Type: shutdown.Began, At: begin, Run: &shutdown.Header{ID: "run/2", Plan: plan(), Owed: owed}}})
		g.next(0)
		g.answer(1, "listing/pve1", nil, 100, 101) // found, not told yet
		g.powerBack(2)
		g.want(ids(g.run.Looks()), want)
	}
	g := &rig{t: t}
	g.take([]shutdown.Event{{Type: shutdown.Began, At: begin, Run: &shutdown.Header{ID: "run/2", Plan: plan(), Owed: []shutdown.Target{guest(100), guest(102)}}}})
	g.next(0)
	g.answer(1, "listing/pve1", nil, 100, 101)
	g.next(1)
	g.powerBack(2)
	g.want(ids(g.run.Looks()), "guest/100, guest/101, guest/102")
}

// TestS5_ANodeThatTookTheCommandGoesDown: whatever it said to the next one. One that was not told
// stays up.
func TestS5_ANodeThatTookTheCommandGoesDown(t *testing.T) {
	nodes := func() *rig {
		g := start(t, plan(), false)
		g.next(0)
		g.answer(1, "listing/pve1", nil, 100)
		g.answer(1, "listing/pve2", nil)
		g.answer(1, "listing/nas", nil)
		g.next(1)
		g.see(10, "guest/100", stopped)
		g.take(g.run.Next(at(10)))
		return g
	}
	g := nodes()
	g.want(g.powerBack(10), "aborted, put_back_began")
	g.want(g.back(10, true), "start_sent guest/100")
	g = nodes()
	g.next(10)
	g.answer(11, "node/pve1", nil)
	g.see(40, "node/pve1", shutdown.Sight{})
	g.answer(41, "node/pve1", errors.New("500 no"))
	g.want(g.powerBack(42), "aborted")
	g = nodes()
	g.next(10)
	g.see(15, "node/pve1", off) // and has not answered
	g.want(g.powerBack(16), "aborted")
}
