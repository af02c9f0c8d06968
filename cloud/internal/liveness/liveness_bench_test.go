package liveness_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"sentinel.home.arpa/cloud/internal/liveness"
)

func crowd(n int) []liveness.Beat {
	beats := make([]liveness.Beat, n)
	for i := range beats {
		beats[i] = beat(fmt.Sprintf("node-%06d", i))
	}
	return beats
}

// BenchmarkBeat is a heartbeat among 100,000 sources that beat once a second.
func BenchmarkBeat(b *testing.B) {
	for name, relay := range map[string]func(rng *rand.Rand, x *liveness.Beat){
		"direct":  func(*rand.Rand, *liveness.Beat) {},
		"relayed": func(rng *rand.Rand, x *liveness.Beat) { x.Via, x.Age = "pi", time.Duration(rng.IntN(int(time.Second))) },
	} {
		b.Run(name, func(b *testing.B) {
			table, beats, rng := liveness.New(silence), crowd(100_000), rand.New(rand.NewPCG(1, 2))
			for i, x := range beats {
				table.Beat(begin.Add(time.Duration(i)*10*time.Microsecond), x)
			}
			b.ReportAllocs()
			b.ResetTimer()
			now := at(1)
			for i := range b.N {
				now = now.Add(10 * time.Microsecond)
				x := beats[i%len(beats)]
				relay(rng, &x)
				table.Beat(now, x)
			}
		})
	}
}

// BenchmarkExpire is what the loop asks when nobody is silent, and when everybody is.
func BenchmarkExpire(b *testing.B) {
	beats := crowd(100_000)
	b.Run("nobody", func(b *testing.B) {
		table := liveness.New(silence)
		for i, x := range beats {
			table.Beat(begin.Add(time.Duration(i)*10*time.Microsecond), x)
		}
		b.ResetTimer()
		for range b.N {
			if len(table.Expire(at(19))) != 0 || table.Next().IsZero() {
				b.Fatal("somebody is silent")
			}
		}
	})
	b.Run("everybody", func(b *testing.B) {
		for range b.N {
			b.StopTimer()
			table := liveness.New(silence)
			for _, x := range beats {
				table.Beat(begin, x)
			}
			b.StartTimer()
			if got := len(table.Expire(at(20))); got != len(beats) {
				b.Fatalf("%d are silent", got)
			}
		}
	})
}
