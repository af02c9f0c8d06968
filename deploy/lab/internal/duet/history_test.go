package duet_test

import (
	"flag"
	"math/rand/v2"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

var (
	histories = flag.Int("histories", 10_000, "how many random histories TestHistories lives through; a twentieth with -short")
	seed      = flag.Uint64("seed", 1, "the first of them; 0: another one each time, which is printed")
)

// TestHistories lives through random histories of brain and Pi together. The first that breaks
// something is printed with its seed, and as the shortest script that still shows it.
//
// They are not drawn by rapid: its numbers favour small ones, which makes the first lines of
// a list most of a history, and it takes half a minute to shorten one.
func TestHistories(t *testing.T) {
	first, count := *seed, *histories
	if testing.Short() {
		count /= 20
	}
	if first == 0 {
		first = rand.Uint64N(1 << 40)
	}
	t.Logf("-seed=%d", first)
	defer debug.SetGCPercent(debug.SetGCPercent(800)) // a history leaves little behind
	all, waits := weighted(lines()), waits()
	begun := time.Now()
	if wrong := firstBroken(uint64(count), func(i uint64) bool {
		s, deeds := draw(rand.New(rand.NewPCG(first+i, 0)), all, waits)
		return live(s, deeds, false).wrong != ""
	}); wrong < uint64(count) {
		s, deeds := draw(rand.New(rand.NewPCG(first+wrong, 0)), all, waits)
		deeds = shorten(s, deeds, live(s, deeds, false).wrong)
		d := live(s, deeds, true)
		t.Fatalf("-seed=%d: %s. A script that shows it:\n%s\n%s", first+wrong, d.wrong, script(s, deeds), d.text())
	}
	took := time.Since(begun)
	t.Logf("%d histories in %s, %.0f a second, of %d processors", count, took.Round(time.Millisecond), float64(count)/took.Seconds(), runtime.GOMAXPROCS(0))
}

// firstBroken is the lowest number under count that breaks, or count. All processors look.
func firstBroken(count uint64, breaks func(uint64) bool) uint64 {
	var next, lowest atomic.Uint64
	lowest.Store(count)
	var all sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		all.Go(func() {
			for i := next.Add(1) - 1; i < lowest.Load(); i = next.Add(1) - 1 {
				if !breaks(i) {
					continue
				}
				for was := lowest.Load(); i < was && !lowest.CompareAndSwap(was, i); was = lowest.Load() {
				}
			}
		})
	}
	all.Wait()
	return lowest.Load()
}

// weighted has each line as often as it is to come.
func weighted(all []line) []line {
	var out []line
	for _, l := range all {
		for range l.weight {
			out = append(out, l)
		}
	}
	return out
}

// draw makes a history. Most begin with an armed plan.
func draw(r *rand.Rand, all []line, waits []time.Duration) (setting, []deed) {
	pick := func(of []time.Duration) time.Duration { return of[r.IntN(len(of))] }
	s := setting{ride: pick([]time.Duration{10 * time.Second, 10 * time.Second, 3 * time.Second, 0}), direct: r.IntN(2) == 0, slow: r.IntN(2) == 0, plan: r.IntN(3)}
	var deeds []deed
	if r.IntN(8) > 0 {
		for _, l := range all {
			if l.text == "arm" {
				deeds = append(deeds, deed{0, l})
				break
			}
		}
	}
	for range 3 + r.IntN(28) {
		deeds = append(deeds, deed{pick(waits), all[r.IntN(len(all))]})
	}
	return s, deeds
}

// shorten leaves out all that is not needed for the same to go wrong.
func shorten(s setting, deeds []deed, wrong string) []deed {
	rule, _, _ := strings.Cut(wrong, ":")
	breaks := func(ds []deed) bool {
		again, _, _ := strings.Cut(live(s, ds, false).wrong, ":")
		return again == rule
	}
	for before := -1; before != len(deeds); {
		before = len(deeds)
		for n := max(len(deeds)/2, 1); n >= 1; n /= 2 {
			for i := 0; i+n <= len(deeds); {
				if less := without(deeds, i, n, false); breaks(less) {
					deeds = less
				} else if less = without(deeds, i, n, true); breaks(less) {
					deeds = less
				} else {
					i++
				}
			}
		}
	}
	for i := range deeds {
		for _, w := range waits() {
			if w >= deeds[i].wait {
				break
			}
			less := append([]deed{}, deeds...)
			if less[i].wait = w; breaks(less) {
				deeds = less
				break
			}
		}
	}
	return deeds
}

// without leaves n deeds out, and their time too or not.
func without(deeds []deed, i, n int, keepTime bool) []deed {
	less := append(append([]deed{}, deeds[:i]...), deeds[i+n:]...)
	if keepTime && i < len(less) {
		for _, d := range deeds[i : i+n] {
			less[i].wait += d.wait
		}
	}
	return less
}
