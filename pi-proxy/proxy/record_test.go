package proxy_test

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"sentinel.home.arpa/pi-proxy/proxy"
	"sentinel.home.arpa/shared/power"
	"sentinel.home.arpa/shared/wire"
)

// story is what records have told so far, the oldest first.
func story(records []arrival[wire.Record]) (all []string) {
	for _, r := range records {
		for _, e := range r.m.Entries {
			text := fmt.Sprintf("%s heard=%v", e.Node, e.Heard)
			if e.UPS != "" {
				text = e.UPS + " " + string(e.Reading.Supply)
			}
			all = append(all, text)
		}
	}
	return all
}

// complete waits for the word that there is no more, and gives all records.
func (b *brain) complete(within time.Duration) []arrival[wire.Record] {
	b.t.Helper()
	b.await("a complete record", within, func() bool { return len(b.records) > 0 && b.records[len(b.records)-1].m.Left == 0 })
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.records)
}

// settled waits until the Pi has told the brain that it starts with nothing to tell, and
// forgets that.
func (h *house) settled() {
	h.t.Helper()
	h.brain.complete(10 * time.Second)
	h.brain.set(func() { h.brain.records = nil })
}

func (h *house) recorded(what string) bool {
	text, err := os.ReadFile(filepath.Join(h.cfg.StateDir, "record.jsonl"))
	return err == nil && strings.Contains(string(text), what)
}

// TestN7_WhatHappenedMeanwhileIsDelivered: in its order, with its ages, after the live
// words, once.
func TestN7_WhatHappenedMeanwhileIsDelivered(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	b := h.brain
	h.start()
	h.settled()
	h.silence(true)
	b.set(func() { b.reports, b.beats = nil, nil })
	h.ups.Plug(false)
	out := time.Now()
	eventually(t, "the Pi notes it", func() bool { return h.recorded(`"supply":"battery"`) })
	h.ups.Low(true)
	eventually(t, "and that the battery is low", func() bool { return strings.Count(h.log.String(), "supply=battery") > 1 })
	h.ups.Low(false)
	h.ups.Plug(true)
	eventually(t, "and that it is over", func() bool { return strings.Count(h.log.String(), "supply=mains") > 1 })
	over := time.Now()
	eventually(t, "it is over for a while", func() bool { return time.Since(over) > 6*time.Second })
	back := time.Now()
	h.silence(false)
	records := b.complete(10 * time.Second)
	got := story(records)
	if len(got) < 3 || got[0] != "rack battery" || got[1] != "rack battery" || got[len(got)-1] != "rack mains" {
		t.Fatalf("the story is %q", got)
	}
	first := records[0]
	within(t, "the outage's age", time.Duration(first.m.Entries[0].AgeMS)*time.Millisecond, first.at.Sub(out)-1600*time.Millisecond, first.at.Sub(out))
	if e := first.m.Entries[1]; !e.Reading.Flags.Has(power.LowBattery) || e.Reading.Charge == nil || e.Reading.Runtime == nil {
		t.Errorf("the battery was %+v", e.Reading)
	}
	_, reports := b.seen()
	if len(reports) == 0 || !reports[0].at.Before(first.at) || reports[0].m.Reading.Supply != power.Mains {
		t.Error("how the power stands now came later than what it was")
	}
	within(t, "from the return to the record", first.at.Sub(back), time.Second, 8*time.Second)
	b.awaitBeats(4)
	b.mu.Lock()
	defer b.mu.Unlock()
	if n := len(b.records); n != len(records) {
		t.Errorf("%d more records came", n-len(records))
	}
}

// TestN7_TheRecordSurvivesAReplacedProcess: what an earlier one noted is delivered by the
// next, and not again by the one after.
func TestN7_TheRecordSurvivesAReplacedProcess(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	b := h.brain
	h.start()
	h.settled()
	h.silence(true)
	h.ups.Plug(false)
	eventually(t, "the Pi notes it", func() bool { return h.recorded(`"supply":"battery"`) })
	h.restart()
	started := time.Now()
	eventually(t, "it runs for a while", func() bool { return time.Since(started) > 6*time.Second })
	h.silence(false)
	b.await("the whole story", 15*time.Second, func() bool {
		got := story(b.records)
		return slices.Contains(got, "rack battery") && slices.Contains(got, "pi heard=true") && b.records[len(b.records)-1].m.Left == 0
	})
	eventually(t, "the Pi knows that it is delivered", func() bool { return strings.Contains(h.log.String(), "record delivered") })
	h.stop()
	b.set(func() { b.records = nil })
	h.start()
	if got := story(b.complete(10 * time.Second)); len(got) > 1 { // its start may be
		t.Errorf("it is told again: %q", got)
	}
}

// TestN9_ABrainThatWasAwayIsToldThatNothingWasNoted, for it waits for that; after a hiccup
// it waits for nothing.
func TestN9_ABrainThatWasAwayIsToldThatNothingWasNoted(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	b := h.brain
	h.start()
	h.settled()
	h.silence(true)
	gone := time.Now()
	eventually(t, "a while passes", func() bool { return time.Since(gone) > 2*time.Second })
	h.silence(false)
	b.awaitBeats(5)
	b.set(func() {
		if len(b.records) > 0 {
			t.Errorf("after a hiccup: %+v", b.records)
		}
	})
	h.silence(true)
	gone = time.Now()
	eventually(t, "a while passes", func() bool { return time.Since(gone) > 7*time.Second })
	h.silence(false)
	if got := b.complete(10 * time.Second); len(got) != 1 || len(got[0].m.Entries) > 0 {
		t.Errorf("the record is %+v", got)
	}
}

// TestN7_WhoFellSilentMeanwhileIsDelivered: a node, 20 s after its last word on the LAN.
func TestN7_WhoFellSilentMeanwhileIsDelivered(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	b := h.brain
	n := h.node("pve1")
	b.storedHash(h.begin(wire.Bundle{Site: "home", Keys: map[string]wire.PublicKey{"pve1": n.key.PublicKey()}}))
	eventually(t, "pve1 is heard", func() bool { _, err := n.beat(); return err == nil })
	last := time.Now()
	b.awaitBeats(3) // of which the last tells of it
	h.settled()
	h.silence(true)
	b.set(func() { b.records = nil })
	eventually(t, "20 s pass", func() bool { return time.Since(last) > 19*time.Second })
	eventually(t, "the Pi misses it", func() bool { return h.recorded(`"node":"pve1"}`) })
	eventually(t, "and hears it again", func() bool {
		_, err := n.beat()
		return err == nil && time.Since(last) > 22*time.Second
	})
	heard := time.Now()
	eventually(t, "a while passes", func() bool { return time.Since(heard) > 6*time.Second })
	h.silence(false)
	b.await("the story", 12*time.Second, func() bool { return slices.Contains(story(b.records), "pve1 heard=true") })
	b.set(func() {
		if got := story(b.records); !slices.Equal(got, []string{"pve1 heard=false", "pve1 heard=true"}) {
			t.Errorf("the story is %q", got)
		}
	})
}

// TestN5_ThePiAnnouncesItsRestart when it is told to stop, as itself; the next one says that
// it runs.
func TestN5_ThePiAnnouncesItsRestart(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	b := h.brain
	h.start()
	b.awaitBeats(2)
	began := time.Now()
	h.stop()
	within(t, "the end", time.Since(began), 0, 5*time.Second)
	b.set(func() {
		if len(b.farewells) != 1 || b.farewells[0].m.Node != "pi" || b.farewells[0].m.Kind != wire.SoftReboot || b.farewells[0].m.Boot != b.beats[0].m.Boot {
			t.Errorf("it announced %+v", b.farewells)
		}
	})
	h.start()
	b.awaitBeats(2)
	if beats, _ := b.seen(); beats[len(beats)-1].m.State != "running" {
		t.Errorf("it says %q", beats[len(beats)-1].m.State)
	}
}

// TestN5_AnEndWaitsNotLongForABrainThatIsAway.
func TestN5_AnEndWaitsNotLongForABrainThatIsAway(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.start()
	h.brain.awaitBeats(2)
	h.silence(true)
	began := time.Now()
	h.stop()
	within(t, "the end", time.Since(began), 0, 6*time.Second)
}

// TestN5_EachBrainLeavesForItself: the word of one says nothing of another.
func TestN5_EachBrainLeavesForItself(t *testing.T) {
	var l proxy.Leaves
	for i, c := range []struct {
		brain string // that says so; empty: none
		now   time.Duration
		news  bool
		away  int // brains
	}{
		{"a", time.Minute, true, 1},
		{"a", 2 * time.Minute, false, 1}, // in each of its answers
		{"b", 9 * time.Minute, true, 2},
		{"", 13 * time.Minute, false, 1},
		{"a", 18 * time.Minute, true, 2}, // once more
		{"", 19 * time.Minute, false, 1},
		{"", 28 * time.Minute, false, 0},
	} {
		if c.brain != "" && l.Say(c.brain, c.now) != c.news {
			t.Errorf("%d: news is %v", i, !c.news)
		}
		if n := l.Lately(c.now); n != c.away {
			t.Errorf("%d: %d brains are away, want %d", i, n, c.away)
		}
	}
}

// TestN5_ThePiNotesThatTheBrainIsRestarted.
func TestN5_ThePiNotesThatTheBrainIsRestarted(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.start()
	h.brain.awaitBeats(1)
	leaving := func() string {
		resp, err := overSocket(h.cfg.ControlSocket).Get("http://pi/metrics")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			if strings.HasPrefix(line, "sentinel_brain_leaving") {
				return strings.TrimSpace(line)
			}
		}
		return ""
	}
	if got := leaving(); got != "sentinel_brain_leaving 0" {
		t.Errorf("before: %q", got)
	}
	h.brain.set(func() { h.brain.leaving = true })
	h.brain.awaitBeats(3)
	if got := leaving(); got != "sentinel_brain_leaving 1" {
		t.Errorf("after: %q", got)
	}
	if n := strings.Count(h.log.String(), "the brain is about to be restarted"); n != 1 {
		t.Errorf("it says so %d times", n)
	}
	eventually(t, "the record says so", func() bool { return h.recorded("about to be restarted") })
	s := h.status()
	s.BrainSilentSeconds = 180
	if want := "brain     has not answered for 3 min; it said that it is being restarted, so it may be silent for 10 min\n"; !s.Leaving || !strings.Contains(s.String(), "\n"+want) {
		t.Errorf("%+v says %q", s, s.String())
	}
}
