package sentinel_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"sentinel.home.arpa/cloud/internal/sentinel"
	"sentinel.home.arpa/shared/power"
)

// storm lets 40 nodes come and go for an hour, each in its own time, with a power outage in the middle
// of it, and gives back what alice's ntfy was told, and when.
func storm(t *testing.T, threshold int) (told []*sentinel.NoticeRequested, at []time.Duration, counted int) {
	w := newWorld(t, home())
	w.units = []*unit{{site: "home", name: "apc1", pi: "pi1", changed: true, status: power.Status{Flags: power.Online}}}
	do := func(format string, a ...any) {
		t.Helper()
		words := strings.Fields(fmt.Sprintf(format, a...))
		if err := w.do(words[0], parseWords(words[1:])); err != nil {
			t.Fatalf("%q: %v", words, err)
		}
	}
	var names []string
	for n := range 40 {
		names = append(names, fmt.Sprintf("n%d", n+1))
	}
	do("config no-plan threshold=%d nodes=%s", threshold, strings.Join(names, ","))
	do("config person=alice channels=ntfy notices=30")
	w.step(sentinel.Started{Version: "test"})
	do("beat all")
	do("+60s")
	w.zero = w.now
	w.check = func(now time.Time, f sentinel.Fact) {
		switch f := f.(type) {
		case *sentinel.NoticeRequested:
			told, at = append(told, f), append(at, now.Sub(w.zero))
		case *sentinel.NoticesCounted:
			counted += len(f.Subjects)
		}
	}
	for second := range 3600 {
		for n, name := range names {
			switch cycle := 120 + 13*(n%20); second % cycle {
			case cycle - 40:
				do("silent %s", name)
			case cycle - 1:
				do("beat %s", name)
			}
		}
		switch second {
		case 1800:
			do("ups ONBATT charge=90")
		case 1860:
			do("ups ONLINE")
		}
		do("+1s")
	}
	w.checkReplay()
	return told, at, counted
}

// TestC5_AStormIsFewNotices: 40 nodes that come and go for an hour are told of at once and in few
// notices, and a power outage in the midst of it is told at once.
func TestC5_AStormIsFewNotices(t *testing.T) {
	for _, threshold := range []int{1, 41} { // they are an incident, or each failure is a notice
		told, at, counted := storm(t, threshold)
		first, outage, over := "", time.Duration(0), time.Duration(0)
		for i, n := range told {
			switch {
			case i == 0:
				first = n.Subject
			case n.Subject == "Power outage at home":
				outage = at[i]
			case n.Subject == "Power outage at home: over":
				over = at[i]
			}
		}
		if len(told) < 4 || len(told) > 30 {
			t.Errorf("threshold %d: %d notices in the hour", threshold, len(told))
		}
		if at[0] != 100*time.Second || threshold == 1 && first != "Failure at home: n1 and n21" {
			t.Errorf("threshold %d: the first notice is %q after %s", threshold, first, at[0])
		}
		if outage != 1805*time.Second || over != 1860*time.Second {
			t.Errorf("threshold %d: the outage was told after %s, its end after %s", threshold, outage, over)
		}
		if (counted > 0) != (threshold > 1) {
			t.Errorf("threshold %d: %d notices were only counted", threshold, counted)
		}
		t.Logf("threshold %d: %d notices, %d more counted", threshold, len(told), counted)
		if threshold == 1 {
			everyNodeIsTold(t, told)
		}
	}
}

// everyNodeIsTold: nobody is missing among those that are said to be part of the incident.
func everyNodeIsTold(t *testing.T, told []*sentinel.NoticeRequested) {
	t.Helper()
	named := map[string]bool{"n1": true, "n21": true} // when it was opened
	for _, n := range told {
		if n.Kind != string(sentinel.NodeFailure) { // some were told to be part of the power outage as well
			continue
		}
		for _, node := range n.Joined {
			if named[node] {
				t.Errorf("%s is told of a second time", node)
			}
			named[node] = true
		}
	}
	if len(named) != 40 {
		t.Errorf("%d of 40 nodes were told of", len(named))
	}
}

// TestC8_TheHoursCalls lives through hours of failures and outages that nobody or somebody answers, with
// restarts. Nobody is called more often than the hour allows, and each incident that calls has its
// call or is held back: checkLimits and checkCalled prove it after each line.
func TestC8_TheHoursCalls(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		h := newHistory(rt, rapid.SampledFrom([]string{"config calls=2 other-calls=1 contacts=alice", "config calls=6 other-calls=3 contacts=alice",
			"config calls=3 other-calls=3 contacts=alice,bob", "config calls=6 other-calls=2 contacts=alice,bob"}).Draw(rt, "limits"))
		for range rapid.IntRange(20, 80).Draw(rt, "lines") {
			switch draw(h, "act", "pass", "pass", "pass", "call", "call", "call", "silent", "back", "ups", "restart", "acknowledge") {
			case "pass":
				h.line("+%s", draw(h, "for", "1s", "21s", "65s", "6m", "31m"))
			case "call":
				for _, c := range h.state.OpenCalls() {
					h.line("call-placed call=%s", c.ID)
					h.line("call-ended %s call=%s", draw(h, "taken", "no-answer", "no-answer", "no-answer", "completed answered"), c.ID)
				}
			case "silent":
				h.line("silent %s", oneWord(h.someNode().name))
			case "back":
				h.line("beat %s", oneWord(h.someNode().name))
			case "ups":
				h.line("ups %s charge=90", draw(h, "supply", "ONLINE", "ONBATT"))
			case "restart":
				h.line("restart for=%s", draw(h, "away", "1s", "1m"))
			case "acknowledge":
				h.person("home")
			}
			h.checkState()
		}
	})
}

// TestC5_NoticesSurviveASnapshot: what is on its way, how channels stand and what was only counted is
// in a snapshot, and the next step goes on from it.
func TestC5_NoticesSurviveASnapshot(t *testing.T) {
	w := newWorld(t, home())
	w.cfg.People = []sentinel.Person{{Name: "alice", Channels: []sentinel.Channel{{Name: "ntfy"}, {Name: "email"}}}}
	w.cfg.Limits = sentinel.Limits{Notices: 3}
	w.state = sentinel.New(w.cfg)
	w.step(sentinel.Started{Version: "test"})
	for range 3 {
		w.step(sentinel.Arm{Site: "home", By: "alice"})
		w.step(sentinel.Disarm{Site: "home", By: "alice"})
	}
	w.step(sentinel.NoticeFailing{Notice: w.state.OpenNotices()[0].ID, Why: "no answer"})
	w.step(sentinel.CallHasEnded{})
	data, err := w.state.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	s, err := sentinel.FromSnapshot(w.cfg, data)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(w.state.OpenNotices(), s.OpenNotices()); diff != "" || len(s.OpenNotices()) < 4 {
		t.Errorf("%d notices are on their way (-before +after):\n%s", len(s.OpenNotices()), diff)
	}
	if diff := cmp.Diff(w.state.Channels, s.Channels); diff != "" || len(s.FailingChannels()) != 1 || s.FailingChannels()[0].Channel != "ntfy" {
		t.Errorf("%d channels fail (-before +after):\n%s", len(s.FailingChannels()), diff)
	}
	summed := false
	for _, f := range s.Step(w.now.Add(time.Hour), sentinel.Tick{}) {
		n, ok := f.(*sentinel.NoticeRequested)
		summed = summed || ok && n.Counted
	}
	if !summed {
		t.Error("what was only counted is told to nobody")
	}
}

// TestC5_TheOldestGiveWay where a channel takes nothing for so long that too many wait.
func TestC5_TheOldestGiveWay(t *testing.T) {
	w := newWorld(t, home())
	w.cfg.People = []sentinel.Person{{Name: "alice", Channels: []sentinel.Channel{{Name: "ntfy"}}}}
	w.state = sentinel.New(w.cfg)
	w.step(sentinel.Started{Version: "test"})
	w.step(sentinel.Arm{Site: "home", By: "alice"})
	first := w.state.OpenNotices()[0].ID
	for range 100 {
		w.step(sentinel.Disarm{Site: "home", By: "alice"})
		w.step(sentinel.Arm{Site: "home", By: "alice"})
	}
	open := w.state.OpenNotices()
	if len(open) != 200 || open[0].ID == first {
		t.Errorf("%d wait, the oldest of them %s", len(open), open[0].ID)
	}
	w.checkReplay()
}

// TestC5_ASubjectEndsWithAWord: what is too long for a subject is cut where a word ends, and in its midst
// only if it is one word. The text says all of it.
func TestC5_ASubjectEndsWithAWord(t *testing.T) {
	const words = "the configuration says nothing of what the second of the two UPSes in the cellar feeds"
	for text, subject := range map[string]string{
		words:                              "the configuration says nothing of what the second of the two UPSes in…",
		words + strings.Repeat("x", 70):    "the configuration says nothing of what the second of the two UPSes in…",
		strings.Repeat("x", 90):            strings.Repeat("x", 70) + "…",
		strings.Repeat("x", 70):            strings.Repeat("x", 70),
		"the disk is full; " + words:       "the disk is full",
		strings.Repeat("x", 69) + "é full": strings.Repeat("x", 69) + "…",
	} {
		w := newWorld(t, home())
		w.cfg.People = []sentinel.Person{{Name: "alice", Channels: []sentinel.Channel{{Name: "ntfy"}}}}
		w.state = sentinel.New(w.cfg)
		w.step(sentinel.Started{Version: "test", Notices: []string{text}})
		open := w.state.OpenNotices()
		if len(open) != 1 || open[0].Subject != subject || open[0].Text != text {
			t.Errorf("%q is told as %+v, not as %q", text, open, subject)
		}
	}
}

// TestC5_WhoJoinedIsToldOfForAnHour: nodes that nobody was told of wait for others to join for just an
// hour. Later it is told to nobody that they are part of the incident.
func TestC5_WhoJoinedIsToldOfForAnHour(t *testing.T) {
	at := time.Date(2026, 11, 21, 19, 2, 0, 0, time.UTC)
	for after, unsaid := range map[time.Duration][]string{time.Hour: {"pve1", "pve2"}, time.Hour + 1: {"pve2"}} {
		s := sentinel.New(home())
		s.Evolve(at, &sentinel.IncidentOpened{ID: "i", Site: "home", Kind: sentinel.NodeFailure, Since: at, Nodes: []string{"nas"}})
		s.Evolve(at, &sentinel.IncidentJoined{ID: "i", Node: "pve1"})
		s.Evolve(at.Add(after), &sentinel.IncidentJoined{ID: "i", Node: "pve2"})
		if diff := cmp.Diff(unsaid, s.Incidents["i"].Unsaid); diff != "" {
			t.Errorf("%s later there are to be told of (-want +got):\n%s", after, diff)
		}
	}
}
