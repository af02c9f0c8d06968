package sentinel_test

import (
	"testing"
	"time"

	"sentinel.home.arpa/cloud/internal/sentinel"
)

// TestG3_ThePisOwnCallStandsInTheTimeline, once, with when it was made.
func TestG3_ThePisOwnCallStandsInTheTimeline(t *testing.T) {
	w := newWorld(t, home())
	w.step(sentinel.Started{})
	w.step(sentinel.Heard{Site: "home", Name: "pi1", Role: sentinel.Pi, Boot: "1"})
	w.restart(10 * time.Minute)
	record := func() []sentinel.Fact {
		return w.step(sentinel.Recorded{Site: "home", Pi: "pi1", Left: 1, Entries: []sentinel.Record{
			{Ago: 5 * time.Minute, Node: "pi1", Heard: true, Called: "Alex", Why: "the sentinel is down"}}})
	}
	facts := record()
	if len(facts) != 1 {
		t.Fatalf("%+v", facts)
	}
	if got := sentinel.Sentence(facts[0]); got != "pi1 called Alex: the sentinel is down (as pi1 noted while the brain could not hear it)" {
		t.Error(got)
	}
	if got := sentinel.When(facts[0], w.now); !got.Equal(w.now.Add(-5 * time.Minute)) {
		t.Errorf("told as of %s", got)
	}
	if again := record(); len(again) != 0 {
		t.Errorf("told again: %+v", again)
	}
	w.checkReplay()
}
