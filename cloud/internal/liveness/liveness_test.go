package liveness_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sentinel.home.arpa/cloud/internal/cause"
	"sentinel.home.arpa/cloud/internal/liveness"
)

const silence = 20 * time.Second

var begin = time.Date(2026, 11, 21, 19, 2, 0, 0, time.UTC)

func at(seconds float64) time.Time {
	return begin.Add(time.Duration(seconds * float64(time.Second)))
}

func key(name string) liveness.Key { return liveness.Key{Site: "home", Name: name} }

func beat(name string) liveness.Beat {
	return liveness.Beat{Key: key(name), Boot: "a", State: "running"}
}

func TestH2_SilenceIsDueToTheMillisecond(t *testing.T) {
	table := liveness.New(silence)
	if !table.Next().IsZero() {
		t.Error("an empty table waits for somebody")
	}
	table.Beat(at(0), beat("pve1"))
	table.Beat(at(1.5), beat("pve2"))
	table.Beat(at(2), beat("pve1"))
	if got := table.Next(); !got.Equal(at(21.5)) {
		t.Errorf("Next = %s, want pve2's 21.5 s", got.Sub(begin))
	}
	if got := table.Expire(at(21.5).Add(-time.Millisecond)); len(got) != 0 {
		t.Errorf("silent too early: %v", got)
	}
	want := []liveness.Silence{{Key: key("pve2"), Last: at(1.5)}}
	if diff := cmp.Diff(want, table.Expire(at(21.5))); diff != "" {
		t.Errorf("Expire (-want +got):\n%s", diff)
	}
	if got := table.Expire(at(21.9)); len(got) != 0 {
		t.Errorf("told twice: %v", got)
	}
	if got := table.Next(); !got.Equal(at(22)) {
		t.Errorf("Next = %s, want pve1's 22 s", got.Sub(begin))
	}
}

func TestExpireGoesByTheLastWord(t *testing.T) {
	table := liveness.New(silence)
	rng := rand.New(rand.NewPCG(1, 2))
	last := map[string]time.Time{}
	for i := range 2000 {
		name := fmt.Sprintf("n%d", rng.IntN(50))
		now := at(float64(i) / 100)
		b := beat(name)
		if rng.IntN(2) == 0 {
			b.Via, b.Age = "pi1", time.Duration(rng.IntN(5000))*time.Millisecond
		}
		table.Beat(now, b)
		if word := now.Add(-b.Age); word.After(last[name]) {
			last[name] = word
		}
	}
	got := table.Expire(at(3600))
	if len(got) != len(last) {
		t.Fatalf("%d of %d fell silent", len(got), len(last))
	}
	for i, s := range got {
		if !s.Last.Equal(last[s.Name]) {
			t.Errorf("%s: last word %s, want %s", s.Name, s.Last.Sub(begin), last[s.Name].Sub(begin))
		}
		if i > 0 && s.Last.Before(got[i-1].Last) {
			t.Errorf("%s is told after %s, which spoke later", s.Name, got[i-1].Name)
		}
	}
}

// TestNextIsTheEarliest against a plain list of last words, over late words, gaps and
// restarts.
func TestNextIsTheEarliest(t *testing.T) {
	table := liveness.New(silence)
	rng := rand.New(rand.NewPCG(3, 4))
	last, boots := map[string]time.Time{}, map[string]string{}
	now := begin
	for i := range 20_000 {
		now = now.Add(time.Duration(rng.IntN(30)) * time.Millisecond)
		b := beat(fmt.Sprintf("n%d", rng.IntN(40)))
		switch rng.IntN(200) {
		case 0:
			now = now.Add(time.Duration(rng.IntN(19)) * time.Second)
		case 1:
			now = now.Add(time.Hour)
		case 2:
			table.Restart(now, nil)
			for name := range last {
				last[name] = now
			}
		case 3, 4, 5:
			b.Boot = fmt.Sprint(i) // whose first word may be older than the last of another
			fallthrough
		default:
			b.Age = time.Duration(rng.IntN(int(silence)))
		}
		table.Beat(now, b)
		if word := now.Add(-b.Age); word.After(last[b.Name]) || b.Boot != boots[b.Name] {
			last[b.Name], boots[b.Name] = word, b.Boot
		}
		want := time.Time{}
		for _, word := range last {
			if want.IsZero() || word.Before(want) {
				want = word
			}
		}
		if got := table.Next(); !got.Equal(want.Add(silence)) {
			t.Fatalf("after %d beats: Next = %s, want %s", i, got.Sub(begin), want.Add(silence).Sub(begin))
		}
		if rng.IntN(5) > 0 {
			continue
		}
		for _, s := range table.Expire(now) {
			if now.Sub(s.Last) < silence || !last[s.Name].Equal(s.Last) {
				t.Fatalf("after %d beats: %s is silent since %s, want %s", i, s.Name, s.Last.Sub(begin), last[s.Name].Sub(begin))
			}
			delete(last, s.Name)
		}
		for name, word := range last {
			if now.Sub(word) >= silence {
				t.Fatalf("after %d beats: %s is not told", i, name)
			}
		}
	}
}

// TestNews is what a beat brings, after those before it.
func TestNews(t *testing.T) {
	b := func(change func(*liveness.Beat)) liveness.Beat {
		x := beat("pve1")
		change(&x)
		return x
	}
	same := b(func(*liveness.Beat) {})
	type said struct {
		at   float64
		beat liveness.Beat
		want liveness.News
	}
	both, heard, none := liveness.News{Heard: true, State: true}, liveness.News{Heard: true}, liveness.News{}
	for name, story := range map[string][]said{
		"the first word, with its state":          {{0, same, both}, {1, same, none}},
		"a state that was not said":               {{0, b(func(x *liveness.Beat) { x.State = "" }), heard}, {1, same, liveness.News{State: true}}},
		"another state":                           {{0, same, both}, {1, b(func(x *liveness.Beat) { x.State = "stopping" }), liveness.News{State: true}}},
		"no state says nothing":                   {{0, same, both}, {1, b(func(x *liveness.Beat) { x.State = "" }), none}, {2, same, none}},
		"another boot":                            {{0, same, both}, {1, b(func(x *liveness.Beat) { x.Boot = "b" }), heard}},
		"a gap that is no silence":                {{0, same, both}, {14.9, same, none}},
		"a gap in which it may have been doubted": {{0, same, both}, {15, same, heard}},
		"a Pi's word about what is known":         {{0, same, both}, {1, b(func(x *liveness.Beat) { x.Via, x.Age = "pi1", time.Second }), none}},
		"a Pi's late word about a boot that is over": {{0, same, both}, {5, b(func(x *liveness.Beat) { x.Boot = "b" }), heard},
			{6, b(func(x *liveness.Beat) { x.Via, x.Age = "pi1", 2*time.Second }), none}, {7, b(func(x *liveness.Beat) { x.Boot = "b" }), none}},
		"a word that is older than a silence": {{0, b(func(x *liveness.Beat) { x.Via, x.Age = "pi1", silence }), none}, {1, same, both}},
	} {
		t.Run(name, func(t *testing.T) {
			table := liveness.New(silence)
			for i, s := range story {
				if got := table.Beat(at(s.at), s.beat); got != s.want {
					t.Errorf("beat %d: %+v, want %+v", i, got, s.want)
				}
			}
		})
	}
}

func TestBackAfterSilenceIsNews(t *testing.T) {
	table := liveness.New(silence)
	table.Beat(at(0), beat("pve1"))
	table.Expire(at(20))
	if got := table.Beat(at(25), beat("pve1")); !got.Heard || got.State {
		t.Errorf("back: %+v", got)
	}
	if got := table.Next(); !got.Equal(at(45)) {
		t.Errorf("Next = %s after it is back", got.Sub(begin))
	}
}

// TestH10_RelayedAges: what a Pi heard counts from when the Pi heard it.
func TestH10_RelayedAges(t *testing.T) {
	table := liveness.New(silence)
	b := beat("pve1")
	b.Via, b.Age = "pi1", 3*time.Second
	table.Beat(at(10), b)
	table.Beat(at(11), beat("pve2"))
	if got := table.Next(); !got.Equal(at(27)) {
		t.Errorf("Next = %s, want 20 s after the Pi heard it", got.Sub(begin))
	}
	want := []cause.Source{{Name: "pve1", Last: at(7), Via: "pi1"}, {Name: "pve2", Last: at(11)}}
	if diff := cmp.Diff(want, table.Site("home")); diff != "" {
		t.Errorf("Site (-want +got):\n%s", diff)
	}
	last, state, ok := table.Last(key("pve1"))
	if !ok || state != "running" || !last.Equal(at(7)) {
		t.Errorf("Last = %s, %q, %v", last, state, ok)
	}
	if _, _, ok := table.Last(key("stranger")); ok {
		t.Error("a stranger is known")
	}
}

// TestH10_DirectWhileDirectlyHeard: a Pi that hears a node too does not make it relayed.
func TestH10_DirectWhileDirectlyHeard(t *testing.T) {
	table := liveness.New(silence)
	relayed := beat("pve1")
	relayed.Via = "pi1"
	for s := range 4 {
		table.Beat(at(float64(s)), beat("pve1"))
		table.Beat(at(float64(s)+0.5), relayed)
	}
	if got := table.Site("home")[0].Via; got != "" {
		t.Errorf("heard through %q, although directly half a second ago", got)
	}
	for s := range 6 {
		table.Beat(at(float64(s)+4.5), relayed)
	}
	if got := table.Site("home")[0].Via; got != "pi1" {
		t.Errorf("heard through %q, although only the Pi has for 6 s", got)
	}
}

// TestH8_Restart: every clock starts again, for those of before and those whose silence
// was told and not believed; nobody else is invented.
func TestH8_Restart(t *testing.T) {
	table := liveness.New(silence)
	table.Beat(at(0), beat("pve1"))
	table.Beat(at(0), beat("pve2"))
	table.Beat(at(0), beat("pve3"))
	table.Expire(at(20))
	table.Beat(at(21), beat("pve1"))
	table.Restart(at(30), []liveness.Beat{beat("pve1"), beat("pve2"), beat("pve4")})
	if got := table.Beat(at(31), beat("pve4")); got.Heard {
		t.Error("a source that was up is news after a restart")
	}
	var names []string
	for _, s := range table.Expire(at(51)) {
		names = append(names, s.Name)
		if want := at(30); s.Name != "pve4" && !s.Last.Equal(want) {
			t.Errorf("%s is silent since %s", s.Name, s.Last.Sub(begin))
		}
	}
	slices.Sort(names)
	if diff := cmp.Diff([]string{"pve1", "pve2", "pve4"}, names); diff != "" {
		t.Errorf("who fell silent (-want +got):\n%s", diff)
	}
}

func TestH8_NobodyIsSilentBeforeARestartIsOld(t *testing.T) {
	table := liveness.New(silence)
	table.Beat(at(0), beat("pve1"))
	table.Restart(at(19.9), nil)
	if got := table.Expire(at(39.8)); len(got) != 0 {
		t.Errorf("silent: %v", got)
	}
	if got := table.Expire(at(39.9)); len(got) != 1 {
		t.Errorf("not silent 20 s after the restart: %v", got)
	}
}

// TestH8_PausedAgainAndAgain: after the first pause a silence is counted anew; after the next
// it goes on, but for the pause, and leaves 5 s to be heard in. A word, a restart or a long
// pause begins it anew.
func TestH8_PausedAgainAndAgain(t *testing.T) {
	const first, again = 15.0, 34.0
	for name, tt := range map[string]struct {
		then func(table *liveness.Table)
		want float64
	}{
		"not a word":            {func(table *liveness.Table) { table.Resume(at(again), 9*time.Second, nil) }, 44},
		"5 s at least":          {func(table *liveness.Table) { table.Resume(at(again), time.Second, nil) }, 39},
		"a long pause":          {func(table *liveness.Table) { table.Resume(at(again), silence, nil) }, 54},
		"a restart":             {func(table *liveness.Table) { table.Restart(at(again), nil) }, 54},
		"longer than there was": {func(table *liveness.Table) { table.Resume(at(again), 19500*time.Millisecond, nil) }, 54},
		"a word": {func(table *liveness.Table) {
			table.Beat(at(16), beat("pve1"))
			table.Resume(at(again), 9*time.Second, nil)
		}, 54},
	} {
		t.Run(name, func(t *testing.T) {
			table := liveness.New(silence)
			table.Beat(at(0), beat("pve1"))
			table.Resume(at(first), 4*time.Second, nil)
			if got := table.Next(); !got.Equal(at(first + 20)) {
				t.Errorf("after the first pause Next = %s", got.Sub(begin))
			}
			tt.then(table)
			if got := table.Next(); !got.Equal(at(tt.want)) {
				t.Errorf("Next = %s, want %v s", got.Sub(begin), tt.want)
			}
		})
	}
}

// TestH8_PausedFasterThanThat: the table is paused for 4 s after each 4 s, less than the 5 s that
// a silence is left. Who died is missed, once, and who beats is not.
func TestH8_PausedFasterThanThat(t *testing.T) {
	table := liveness.New(silence)
	var missed []string
	told := 0.0
	for begin := 0.0; begin < 120; begin += 8 {
		for s := begin; s < begin+4; s += 0.5 {
			table.Beat(at(s), beat("pve1"))
			if s == 0 {
				table.Beat(at(s), beat("pve2"))
			}
			for _, gone := range table.Expire(at(s)) {
				missed, told = append(missed, gone.Name), s
			}
		}
		table.Resume(at(begin+8), 4*time.Second, []liveness.Beat{beat("pve1")})
	}
	if diff := cmp.Diff([]string{"pve2"}, missed); diff != "" || told < 40 || told > 60 {
		t.Errorf("who fell silent, at %v s (-want +got):\n%s", told, diff)
	}
}

// TestH8_SilentInDoubt: whose silence was told and not believed has all of it anew after the first
// pause, and 5 s after the next.
func TestH8_SilentInDoubt(t *testing.T) {
	table := liveness.New(silence)
	table.Beat(at(0), beat("pve1"))
	for _, step := range []struct{ at, next float64 }{{24, 44}, {48, 53}, {57, 62}} {
		if gone := table.Expire(at(step.at - 4)); len(gone) != 1 {
			t.Fatalf("before %v s: %v", step.at, gone)
		}
		table.Resume(at(step.at), 4*time.Second, []liveness.Beat{beat("pve1")})
		if got := table.Next(); !got.Equal(at(step.next)) {
			t.Errorf("after %v s Next = %s", step.at, got.Sub(begin))
		}
	}
}

// TestN6_NewsAfterAPause: who counted as silent with another before a pause is news with its next
// word, or it would stay failed although it beats.
func TestN6_NewsAfterAPause(t *testing.T) {
	table := liveness.New(silence)
	table.Beat(at(0), beat("pve1"))
	table.Beat(at(1), beat("pve2"))
	if gone := table.Expire(at(20)); len(gone) != 1 {
		t.Fatalf("%d are silent, want pve1", len(gone))
	}
	table.Resume(at(25), 5*time.Second, nil) // neither is up: pve2 went with pve1
	if news := table.Beat(at(26), beat("pve2")); !news.Heard {
		t.Error("the word of who counted as silent is no news")
	}
	if news := table.Beat(at(27), beat("pve2")); news.Heard {
		t.Error("its next word is news too")
	}
}

func TestConcurrentUse(t *testing.T) {
	table := liveness.New(silence)
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for i := range 500 {
				now := at(float64(i) / 10)
				table.Beat(now, beat(fmt.Sprintf("n%d", (g*7+i)%20)))
				switch i % 50 {
				case 0:
					table.Expire(now)
				case 10:
					table.Site("home")
				case 20:
					table.Restart(now, []liveness.Beat{beat("n1")})
				case 30:
					table.Next()
				}
			}
		})
	}
	wg.Wait()
	if got := len(table.Site("home")); got != 20 {
		t.Errorf("%d sources, want 20", got)
	}
}
