package liveness_test

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
	"unsafe"

	"sentinel.home.arpa/cloud/internal/liveness"
	"sentinel.home.arpa/cloud/internal/sentinel"
	"sentinel.home.arpa/shared/escalation"
)

const (
	perSite = 100
	// quiet are those that fall silent, at random moments.
	quiet = 100
)

// realistic are sources of many sites with names and boot ids as they come from JSON, each
// a string of its own.
func realistic(n int) []liveness.Beat {
	rng := rand.New(rand.NewPCG(7, 8))
	beats := make([]liveness.Beat, n)
	site := ""
	for i := range beats {
		if i%perSite == 0 {
			site = fmt.Sprintf("site-%04d", i/perSite)
		}
		boot := fmt.Sprintf("%08x-%04x-4%03x-8%03x-%012x", rng.Uint32(), rng.Uint32()>>16, rng.Uint32()>>20, rng.Uint32()>>20, rng.Uint64()>>16)
		beats[i] = liveness.Beat{Key: liveness.Key{Site: site, Name: fmt.Sprintf("proxmox-node-%06d", i)}, Boot: boot, State: strings.Clone("running")}
	}
	return beats
}

// appeared is the core's state with all of them up.
func appeared(at time.Time, beats []liveness.Beat) *sentinel.State {
	s := sentinel.New(sentinel.Config{Brain: "brain", Threshold: 2, Times: sentinel.DefaultTimes(), Escalation: escalation.DefaultPolicy()})
	for _, b := range beats {
		s.Evolve(at, &sentinel.SourceAppeared{Site: b.Site, Name: b.Name, Role: sentinel.Node, Boot: b.Boot})
	}
	return s
}

// BenchmarkLateness is how long after its deadline a silence is decided, in real time:
// the sources beat once a second, spread over it, and a loop as the brain's decides.
// Silence is 10 s in place of the usual 20, so that there is time for all to fall silent.
func BenchmarkLateness(b *testing.B) {
	for _, n := range []int{10_000, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			within := 32 * time.Second
			if testing.Short() {
				within, n = 2*time.Second, n/10
			}
			late := lateness(b, n, within)
			slices.Sort(late)
			ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
			b.ReportMetric(ms(late[len(late)/2]), "p50-ms")
			b.ReportMetric(ms(late[(len(late)*99+99)/100-1]), "p99-ms")
			b.ReportMetric(ms(late[len(late)-1]), "max-ms")
			b.ReportMetric(float64(len(late)), "silences")
		})
	}
}

// lateness lets some of n sources fall silent within a time, and returns how late each
// silence was decided.
func lateness(b *testing.B, n int, within time.Duration) []time.Duration {
	after := min(10*time.Second, within/2)
	table, beats := liveness.New(after), realistic(n)
	state := appeared(time.Now(), beats)
	rng := rand.New(rand.NewPCG(5, 6))
	until := make([]time.Duration, n) // when each falls silent; 0: never
	for _, i := range rng.Perm(n)[:quiet] {
		until[i] = time.Second + time.Duration(rng.Int64N(int64(within-after)))
	}
	begin := time.Now()
	end := begin.Add(within + after + time.Second)
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		pace := time.NewTicker(time.Millisecond)
		defer pace.Stop()
		for sent := 0; ; {
			select {
			case <-stop:
				return
			case <-pace.C:
			}
			for due := int(time.Since(begin) * time.Duration(n) / time.Second); sent < due; sent++ {
				i := sent % n
				if now := time.Now(); until[i] == 0 || now.Sub(begin) < until[i] {
					table.Beat(now, beats[i])
				}
			}
		}
	}()
	defer func() { close(stop); <-stopped }()
	var late []time.Duration
	timer := time.NewTimer(0)
	defer timer.Stop()
	for len(late) < quiet && time.Now().Before(end) {
		<-timer.C
		silent := table.Expire(time.Now())
		for _, s := range silent {
			state.Step(time.Now(), sentinel.Silent{Site: s.Site, Name: s.Name, Last: s.Last, Up: table.Site(s.Site)})
		}
		for decided, i := time.Now(), 0; i < len(silent); i++ {
			late = append(late, decided.Sub(silent[i].Last.Add(after)))
		}
		if len(silent) == 0 {
			state.Step(time.Now(), sentinel.Tick{})
		}
		wait := time.Second
		for _, at := range []time.Time{state.NextDeadline(), table.Next()} {
			if !at.IsZero() {
				wait = min(wait, time.Until(at))
			}
		}
		timer.Reset(max(wait, 0))
	}
	if len(late) < quiet { // more are those that the machine was too slow to beat for
		b.Fatalf("%d fell silent, want %d", len(late), quiet)
	}
	return late
}

// BenchmarkMemory is what one of 100,000 sources takes in the table and in the core, with
// the strings that both keep.
func BenchmarkMemory(b *testing.B) {
	n := int64(100_000)
	if testing.Short() {
		n = 10_000
	}
	for range b.N {
		before := heap()
		beats := realistic(int(n))
		table := liveness.New(silence)
		for i, x := range beats {
			table.Beat(begin.Add(time.Duration(i)*10*time.Microsecond), x)
		}
		list := n * int64(unsafe.Sizeof(beats[0]))
		ofTable := heap() - before - list
		state := appeared(begin, beats)
		ofBoth := heap() - before - list
		runtime.KeepAlive(beats)
		runtime.KeepAlive(table)
		runtime.KeepAlive(state)
		b.ReportMetric(float64(ofTable)/float64(n), "B/table")
		b.ReportMetric(float64(ofBoth)/float64(n), "B/source")
	}
}

// heap is what lives on it.
func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
