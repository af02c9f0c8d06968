package torture

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sentinel.home.arpa/deploy/lab/internal/home"
)

func TestTheSameSeedDrawsTheSameStories(t *testing.T) {
	different := 0
	for lane := range 4 {
		for episode := range 40 {
			a, b := Draw(7, lane, episode), Draw(7, lane, episode)
			if diff := cmp.Diff(a, b); diff != "" {
				t.Fatalf("home %d, episode %d: %s", lane, episode, diff)
			}
			if !cmp.Equal(a, Draw(8, lane, episode)) {
				different++
			}
		}
	}
	if different < 140 {
		t.Errorf("another seed changes only %d of 160 stories", different)
	}
}

func TestEveryStoryAndPhaseComes(t *testing.T) {
	names, phases := map[string]int{}, map[home.Phase]int{}
	for lane := range 4 {
		for episode := range 40 {
			s := Draw(1, lane, episode)
			names[s.Name]++
			for _, k := range s.Kills {
				phases[k.Phase]++
			}
		}
	}
	if len(names) != 15 { // planned ones are two
		t.Errorf("%d kinds of stories: %v", len(names), names)
	}
	for _, p := range home.Phases() {
		if phases[p] < 2 {
			t.Errorf("%d kills %s", phases[p], p)
		}
	}
}

func TestStoriesCanBePlayed(t *testing.T) {
	for episode := range 400 {
		s := Draw(3, 0, episode)
		for i := 1; i < len(s.Steps); i++ {
			if s.Steps[i].At < s.Steps[i-1].At {
				t.Fatalf("%s: step %q comes before the one above it", s.Name, s.Steps[i].Do)
			}
		}
		if !slices.IsSortedFunc(s.Kills, func(a, b Planned) int { return int(a.At - b.At) }) {
			t.Fatalf("%s: kills out of order", s.Name)
		}
		for _, k := range s.Kills {
			if k.For <= 0 || k.At > 2*time.Minute || k.Victim == "" {
				t.Fatalf("%s: %+v", s.Name, k)
			}
			if k.Victim == home.Agent && k.Phase != home.Announcing {
				t.Fatalf("%s: nobody knows whose agent is meant: %+v", s.Name, k)
			}
		}
	}
}
