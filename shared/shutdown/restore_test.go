package shutdown_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"sentinel.home.arpa/shared/shutdown"
)

var (
	running = shutdown.Sight{Running: true}
	stopped = shutdown.Sight{}
)

// midway is a run whose power comes back at 20 s: guest 100 is stopped, 101 said yes and still
// runs, 102 refuses, 103 was told and has not answered; 104 would be on a node without guests.
func midway(t failer) *rig {
	g := start(t, plan(), false)
	g.next(0)
	g.answer(1, "listing/pve1", nil, 100, 101)
	g.answer(1, "listing/pve2", nil, 102, 103)
	g.next(1)
	g.answer(2, "guest/100", nil)
	g.answer(2, "guest/101", nil)
	g.answer(2, "guest/102", errors.New("VM is locked (backup)"))
	g.see(10, "guest/100", stopped)
	return g
}

func (g *rig) powerBack(seconds float64) string {
	return g.take(g.run.PowerBack(at(seconds), "the power is back", nil))
}

func (g *rig) back(seconds float64, mains bool) string { return g.backAt(at(seconds), mains) }

func (g *rig) backAt(now time.Time, mains bool) string {
	var all []string
	for range 100 {
		es := g.run.NextPutBack(now, mains)
		if len(es) == 0 {
			return strings.Join(all, ", ")
		}
		all = append(all, g.take(es))
	}
	g.t.Fatalf("NextPutBack does not come to rest at %s", now)
	return ""
}

func (g *rig) started(seconds float64, id string, err error) string {
	return g.take(g.run.StartAnswered(at(seconds), id, err))
}

func ids(ts []shutdown.Target) string {
	var all []string
	for _, t := range ts {
		all = append(all, t.ID())
	}
	return strings.Join(all, ", ")
}

func TestS5_GuestsArePutBack(t *testing.T) {
	g := midway(t)
	g.want(g.powerBack(20), "aborted, put_back_began")
	g.want(ids(g.run.Looks()), "guest/100, guest/101, guest/102, guest/103")
	g.want(g.back(20, true), "start_sent guest/100")
	if cs := g.run.Due(at(20)); len(cs) != 1 || !cs[0].Start || cs[0].Target.VMID != 100 {
		t.Errorf("due: %v", cs)
	}
	g.want(g.take(g.run.Answered(at(21), "guest/100", nil, nil)), "") // of its shutdown, which was under way
	g.want(g.started(21, "guest/100", nil), "start_accepted guest/100")
	g.want(g.see(22, "guest/100", stopped), "")
	g.want(g.see(23, "guest/100", running), "put_back guest/100")
	g.want(g.see(23, "guest/101", running), "") // it may still stop
	g.want(g.see(30, "guest/101", stopped), "stop_seen guest/101")
	g.want(g.back(30, true), "start_sent guest/101")
	g.want(g.see(31, "guest/101", running), "put_back guest/101") // whoever answered
	g.want(g.started(32, "guest/101", nil), "")
	g.want(g.see(239, "guest/102", running), "")
	g.want(g.see(240, "guest/102", running), "put_back guest/102") // its stage's 2 min, and 2 more
	g.want(g.back(240, true), "")
	g.want(g.see(240, "guest/103", running), "put_back guest/103")
	g.want(g.back(240, true), "put_back_ended")
	g.want(g.back(1000, true), "")
	if got := g.run.State(at(300)); got != shutdown.Stopped || g.run.PutsBack() || len(g.run.StillOwed()) > 0 {
		t.Errorf("it is %s, and owes %v", got, g.run.StillOwed())
	}
	if s := g.run.Status(at(300), shutdown.Epoch{}); s.Targets[0].State != shutdown.Back {
		t.Errorf("guest 100 is %s", s.Targets[0].State)
	}
	g.checkReplay(at(300))
}

func TestS5_OnlyThePowerPutsBack(t *testing.T) {
	g := midway(t)
	g.want(g.take(g.run.Abort(at(20), "the plan was disarmed")), "aborted")
	g.want(g.powerBack(21), "")
	dry := start(t, plan(), true)
	dry.next(0)
	dry.answer(1, "listing/pve1", nil, 100)
	dry.next(1)
	dry.want(dry.powerBack(20), "aborted") // a dry run puts nothing back
	none := start(t, plan(), false)
	none.next(0)
	none.want(none.powerBack(20), "aborted") // nothing was told
	none.want(none.powerBack(21), "")
}

func TestS5_WhoseNodeWasToldIsNotPutBack(t *testing.T) {
	g := start(t, plan(), false)
	g.next(0)
	g.answer(1, "listing/pve1", nil, 100)
	g.answer(1, "listing/pve2", nil)
	g.answer(1, "listing/nas", nil, 102)
	g.next(1)
	g.see(10, "guest/100", stopped)
	g.see(10, "guest/102", stopped)
	g.want(g.next(10), "stage_ended, stage_began, sent node/pve1, sent node/pve2")
	g.answer(11, "node/pve1", nil)
	g.answer(11, "node/pve2", nil)
	g.want(g.powerBack(20), "aborted, put_back_began")
	g.want(ids(g.run.Looks()), "guest/102") // nas stays up
	elsewhere := midway(t)
	elsewhere.take(elsewhere.run.PowerBack(at(20), "the power is back", func(t shutdown.Target) bool { return t.Node == "pve1" }))
	elsewhere.want(ids(elsewhere.run.Looks()), "guest/102, guest/103") // the other told pve1
}

// TestS5_ANodeThatHasNotSaidYesMayStayUp: its guests are started once it has had the time to go
// down, and has not.
func TestS5_ANodeThatHasNotSaidYesMayStayUp(t *testing.T) {
	g := start(t, plan(), false)
	g.next(0)
	g.answer(1, "listing/pve1", nil, 100)
	g.answer(1, "listing/pve2", nil, 101)
	g.answer(1, "listing/nas", nil)
	g.next(1)
	g.see(10, "guest/100", stopped)
	g.see(10, "guest/101", stopped)
	g.want(g.next(10), "stage_ended, stage_began, sent node/pve1, sent node/pve2")
	g.answer(11, "node/pve1", errors.New("403"))
	g.powerBack(20)
	g.want(g.see(30, "guest/101", down), "put_back_failed guest/101")
	g.want(g.back(139, true), "")
	g.want(g.back(140, true), "start_sent guest/100")
}

func TestS5_APlanThatLeavesNodesUpIsPutBackFromItsEnd(t *testing.T) {
	p := plan()
	p.Stages = p.Stages[:1]
	g := start(t, p, false)
	g.next(0)
	g.answer(1, "listing/pve1", nil, 100)
	g.answer(1, "listing/pve2", nil)
	g.answer(1, "listing/nas", nil)
	g.next(1)
	g.see(10, "guest/100", stopped)
	g.want(g.next(10), "stage_ended, ended")
	g.want(g.powerBack(100), "put_back_began")
	g.want(g.powerBack(101), "") // once
	g.want(g.back(101, true), "start_sent guest/100")
}

// TestS5_NoStartOnBattery: a new outage ends it, and what is left is put back when the power is
// back once more, by this run or the next.
func TestS5_NoStartOnBattery(t *testing.T) {
	g := midway(t)
	g.powerBack(20)
	g.want(g.back(20, false), "") // not known yet to be there
	g.want(g.back(21, true), "start_sent guest/100")
	g.see(22, "guest/100", running)
	g.want(g.take(g.run.EndPutBack(at(23), "the power is out again", true)), "put_back_ended")
	g.want(g.back(24, true), "")
	g.want(g.see(24, "guest/101", stopped), "")
	g.want(g.take(g.run.EndPutBack(at(24), "the power is out again", true)), "")
	g.want(ids(g.run.StillOwed()), "guest/101, guest/102, guest/103")
	next := &rig{t: t}
	next.take([]shutdown.Event{{Type: shutdown.Began, At: at(40), Run: &shutdown.Header{ID: "run/2", Plan: plan(), Owed: g.run.StillOwed()}}})
	next.want(next.powerBack(41), "aborted, put_back_began")
	next.want(next.see(42, "guest/101", stopped), "stop_seen guest/101")
	next.want(next.back(42, true), "start_sent guest/101")

	g.want(g.powerBack(50), "put_back_began")
	g.want(ids(g.run.Looks()), "guest/101, guest/102, guest/103")
	g.want(g.see(51, "guest/101", stopped), "stop_seen guest/101")
	g.take(g.run.EndPutBack(at(52), "the power is out again", true))
	g.want(g.take(g.run.EndPutBack(at(53), "the plan was disarmed", false)), "put_back_ended")
	g.want(g.powerBack(60), "")
	if len(g.run.StillOwed()) > 0 {
		t.Errorf("a disarmed run owes %v", g.run.StillOwed())
	}
	g.checkReplay(at(60))
}

// TestS3_AGuestThatIsStartingGoesBeforeItsNode: one whose start was sent just before the power went
// out again is not found to run, and its node is asked until it is, or the start is long ago.
func TestS3_AGuestThatIsStartingGoesBeforeItsNode(t *testing.T) {
	g := midway(t)
	g.powerBack(20)
	g.want(g.back(21, true), "start_sent guest/100")
	g.take(g.run.EndPutBack(at(23), "the power is out again", true))
	again := func(at_ float64, of *shutdown.Run) *rig {
		n := &rig{t: t}
		n.take([]shutdown.Event{{Type: shutdown.Began, At: at(at_), Run: &shutdown.Header{ID: "run/2", Plan: plan(), Owed: of.StillOwed(), Starting: of.StartsUnderWay(at(at_))}}})
		n.next(at_)
		n.answer(at_, "listing/pve2", nil)
		n.answer(at_, "listing/nas", nil)
		n.answer(at_, "listing/pve1", nil)
		return n
	}
	n := again(24, g.run)
	n.want(n.next(25), "")
	n.want(n.next(26), "sent listing/pve1")
	n.answer(27, "listing/pve1", nil, 100)
	n.want(n.next(27), "sent guest/100")
	n.answer(28, "guest/100", nil)
	n.see(30, "guest/100", stopped)
	n.want(n.next(30), "stage_ended, stage_began, sent node/pve1, sent node/pve2")
	n.checkReplay(at(30))

	n = again(24, g.run) // it does not come to run
	for s := 26.0; s < 36; s += 2 {
		n.want(n.next(s), "sent listing/pve1")
		n.answer(s, "listing/pve1", nil)
	}
	n.want(n.next(36), "sent listing/pve1")
	n.answer(36, "listing/pve1", nil)
	n.want(n.next(36), "stage_ended, stage_began, sent node/pve1, sent node/pve2")

	n = again(24, g.run) // the power comes and goes once more
	n.powerBack(25)
	n.take(n.run.EndPutBack(at(25), "the power is out again", true))
	for s, want := range map[float64]int{26: 1, 35: 1, 36: 0, 60: 0} {
		if got := n.run.StartsUnderWay(at(s)); len(got) != want {
			t.Errorf("at %v s it knows of %v", s, got)
		}
	}
	n = again(40, g.run) // or it was long ago
	n.want(n.next(40), "stage_ended, stage_began, sent node/pve1, sent node/pve2")
}

// TestS5_HowLongAGuestMayStillStop: 2 min from when the power is back, or from the end of its own
// stage, not of one that followed.
func TestS5_HowLongAGuestMayStillStop(t *testing.T) {
	until := func(g *rig) (all []string) {
		for _, r := range g.run.Back.Guests {
			all = append(all, fmt.Sprintf("%s %s", r.Target.Said(), r.Until.Sub(begin)))
		}
		return all
	}
	g := midway(t)
	g.powerBack(20)
	if diff := cmp.Diff([]string{"guest 100 4m0s", "guest 101 4m0s", "guest 102 4m0s", "guest 103 4m0s"}, until(g)); diff != "" {
		t.Errorf("in its stage (-want +got):\n%s", diff)
	}
	g = midway(t)
	g.powerBack(130)
	if diff := cmp.Diff([]string{"guest 100 4m10s", "guest 101 4m10s", "guest 102 4m10s", "guest 103 4m10s"}, until(g)); diff != "" {
		t.Errorf("at its stage's end (-want +got):\n%s", diff)
	}
	g = start(t, plan(), false)
	g.next(0)
	g.answer(1, "listing/pve1", nil)
	g.answer(1, "listing/pve2", nil)
	g.answer(1, "listing/nas", nil, 102)
	g.next(1)
	g.see(10, "guest/102", stopped)
	g.next(10)
	g.powerBack(20)
	if diff := cmp.Diff([]string{"guest 102 2m20s"}, until(g)); diff != "" {
		t.Errorf("in a later stage (-want +got):\n%s", diff)
	}
}

// TestS5_OnlyWhatWasSeenLatelyIsStopped: 5 min after the run's last step somebody may have started
// it; and of one that is down because its node is, nobody knows.
func TestS5_OnlyWhatWasSeenLatelyIsStopped(t *testing.T) {
	for _, c := range []struct {
		seen shutdown.Sight
		back float64
		want string
	}{
		{stopped, 310, "start_sent guest/100"},
		{stopped, 311, ""},
		{shutdown.Sight{Running: true, Closed: true, SilentFor: silent(5 * time.Second)}, 20, ""},
	} {
		p := plan()
		p.Stages = []shutdown.Stage{{AllGuests: true, Deadline: time.Hour}}
		g := start(t, p, false)
		g.next(0)
		g.answer(1, "listing/pve1", nil, 100)
		g.next(1)
		g.see(10, "guest/100", c.seen)
		g.powerBack(c.back)
		g.want(g.back(c.back, true), c.want)
	}
}

func TestS5_WhatDoesNotStartIsNamed(t *testing.T) {
	g := midway(t)
	g.powerBack(20)
	now := 20.0
	for range 100 {
		g.back(now, true)
		g.started(now, "guest/100", errors.New("no quorum"))
		now = g.run.PutBackDeadline(true).Sub(begin).Seconds()
		if !g.run.PutsBack() {
			break
		}
	}
	sent, refused, failed := 0, 0, map[string]string{}
	for _, e := range g.events {
		switch e.Type {
		case shutdown.StartSent:
			if sent++; e.Again != (sent > 1) {
				t.Errorf("start %d: again %v", sent, e.Again)
			}
		case shutdown.StartRefused:
			if refused++; e.Again != (refused > 1) {
				t.Errorf("refusal %d: again %v", refused, e.Again)
			}
		case shutdown.PutBackFailed:
			failed[e.Target] = e.Why
		}
	}
	if sent != 12 || failed["guest/100"] != "no quorum" || failed["guest/101"] != "it is not known whether it runs" {
		t.Errorf("after %d tries: %v", sent, failed)
	}
	last := g.events[len(g.events)-1]
	if last.Type != shutdown.PutBackEnded || last.At.After(at(600)) {
		t.Errorf("it ends with %s at %s", last.Type, last.At)
	}
	g.checkReplay(at(1000))
}

func TestS5_AnAcceptedStartIsNoEvidence(t *testing.T) {
	g := midway(t)
	g.powerBack(20)
	g.back(20, true)
	g.started(21, "guest/100", nil)
	g.want(g.back(49, true), "")
	g.want(g.back(50, true), "start_refused guest/100")
	g.want(g.back(59, true), "")
	g.want(g.back(60, true), "start_sent guest/100")
	g.started(61, "guest/100", nil)
	g.want(g.see(62, "guest/100", shutdown.Sight{Failed: "VM is locked (backup)"}), "start_refused guest/100")
}

func TestS5_WhomAPersonStartedIsLeftAlone(t *testing.T) {
	g := midway(t)
	g.powerBack(20)
	g.want(g.see(20.5, "guest/100", running), "put_back guest/100")
	g.want(g.back(21, true), "")
}

// TestS5_AnyPutBackReplays brings the power back at any moment of any run and puts back what it
// stopped, with everything that can come in between: no start without mains or after it is
// over, none of what the run did not tell, and it ends.
func TestS5_AnyPutBackReplays(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		g := start(rt, plan(), rapid.IntRange(0, 9).Draw(rt, "dry") == 0)
		now, mains, told := begin, true, map[string]bool{}
		act := func(of ...string) {
			target := rapid.SampledFrom([]string{"guest/100", "guest/101", "guest/102", "node/pve1", "listing/pve1", "listing/pve2"}).Draw(rt, "target")
			switch rapid.SampledFrom(of).Draw(rt, "act") {
			case "time":
				now = now.Add(time.Duration(rapid.IntRange(1, 400).Draw(rt, "tenths")) * 100 * time.Millisecond)
			case "answer":
				g.answerAt(now, target, nil, rapid.SliceOfN(rapid.IntRange(100, 102), 0, 2).Draw(rt, "guests")...)
			case "see":
				g.take(g.run.Seen(now, target, shutdown.Sight{Running: rapid.Bool().Draw(rt, "running")}))
			case "start":
				g.take(g.run.StartAnswered(now, target, nil))
			case "refuse":
				g.take(g.run.StartAnswered(now, target, errors.New("no")))
			case "mains":
				mains = !mains
			case "out":
				g.take(g.run.EndPutBack(now, "the power is out again", true))
			case "back":
				g.take(g.run.PowerBack(now, "the power is back", nil))
			}
		}
		for range rapid.IntRange(1, 40).Draw(rt, "before") {
			act("time", "answer", "answer", "see")
			g.nextAt(now)
		}
		for _, e := range g.events {
			told[e.Target] = told[e.Target] || e.Type == shutdown.Sent
		}
		g.take(g.run.PowerBack(now, "the power is back", nil))
		for range rapid.IntRange(1, 60).Draw(rt, "after") {
			act("time", "time", "answer", "see", "see", "start", "refuse", "mains", "out", "back")
			before := len(g.events)
			g.backAt(now, mains)
			for _, e := range g.events[before:] {
				if e.Type == shutdown.Sent || e.Type == shutdown.StartSent && (!mains || !told[e.Target] || g.run.DryRun || g.run.Back.Held) {
					rt.Fatalf("%s %s, mains %v, told %v", e.Type, e.Target, mains, told)
				}
			}
			g.checkReplay(now)
		}
		for range 400 {
			if !g.run.PutsBack() {
				return
			}
			if d := g.run.PutBackDeadline(true); d.After(now) {
				if es := g.run.NextPutBack(d.Add(-time.Millisecond), true); d.Sub(now) > time.Millisecond && len(es) > 0 && mains {
					rt.Fatalf("%v is due before PutBackDeadline", es)
				}
				now = d
			}
			mains = true
			g.backAt(now, mains)
		}
		rt.Fatalf("it does not end: %s", words(g.run.Back))
	})
}

func words(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(text)
}
