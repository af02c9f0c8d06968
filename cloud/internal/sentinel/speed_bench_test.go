package sentinel_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"sentinel.home.arpa/cloud/internal/cause"
	"sentinel.home.arpa/cloud/internal/sentinel"
	"sentinel.home.arpa/shared/power"
	"sentinel.home.arpa/shared/shutdown"
)

// freshEach is how many facts or inputs one state takes in a benchmark before another
// replaces it: some keep lists, which must not grow with the run.
const freshEach = 256

// written is one fact as the journal holds it.
type written struct {
	name string
	body []byte
}

func (w written) fact(b *testing.B) sentinel.Fact {
	f := sentinel.NewFact(w.name)
	if err := json.Unmarshal(w.body, f); err != nil {
		b.Fatal(err)
	}
	return f
}

// journal is one fact of each kind, all about the same site, node, incident and call.
func journal(b *testing.B) []written {
	data, err := os.ReadFile("testdata/facts.jsonl")
	if err != nil {
		b.Fatal(err)
	}
	var all []written
	for line := range bytes.Lines(bytes.ReplaceAll(data, []byte(`"s1"`), []byte(`"home"`))) {
		name, body, _ := bytes.Cut(line, []byte(" "))
		all = append(all, written{string(name), body})
	}
	return all
}

// turns runs something and its baseline in turns, so that what else the machine does hits
// both, and reports the medians of their times. fresh comes before each turn, untimed.
func turns(b *testing.B, fresh func(), base, do func(i int)) {
	var took, of []float64
	each := func(n int, f func(i int)) float64 {
		from := time.Now()
		for i := range n {
			f(i)
		}
		return float64(time.Since(from).Nanoseconds()) / float64(n)
	}
	b.ReportAllocs()
	b.ResetTimer()
	for left := b.N; left > 0; left -= freshEach {
		n := min(left, freshEach)
		b.StopTimer()
		fresh()
		of = append(of, each(n, base))
		b.StartTimer()
		took = append(took, each(n, do))
	}
	slices.Sort(took)
	slices.Sort(of)
	b.ReportMetric(took[len(took)/2], "took-ns")
	b.ReportMetric(of[len(of)/2], "decode-ns")
}

// BenchmarkReplay is a fact read from the journal and taken in, against its JSON alone.
func BenchmarkReplay(b *testing.B) {
	facts := journal(b)
	at := time.Date(2026, 11, 21, 19, 0, 0, 0, time.UTC)
	fresh := func(b *testing.B) *sentinel.State {
		s := sentinel.New(home())
		for _, w := range facts {
			s.Evolve(at, w.fact(b))
		}
		return s
	}
	for _, w := range facts {
		b.Run(w.name, func(b *testing.B) {
			var s *sentinel.State
			turns(b, func() { s = fresh(b) }, func(int) { w.fact(b) },
				func(i int) { s.Evolve(at.Add(time.Duration(i)*time.Millisecond), w.fact(b)) })
		})
	}
}

// inputs are one of each kind that something follows from, the i-th of a run.
func inputs(up []cause.Source) map[string]func(i int) sentinel.Input {
	boot := func(i int) string { return fmt.Sprintf("11111111-1111-4111-8111-%012d", i) }
	either := func(i int, a, b string) string {
		if i%2 == 0 {
			return a
		}
		return b
	}
	full := 1.0
	return map[string]func(i int) sentinel.Input{
		"Tick":   func(int) sentinel.Input { return sentinel.Tick{} },
		"Paused": func(int) sentinel.Input { return sentinel.Paused{For: time.Minute} },
		"Heard": func(i int) sentinel.Input {
			return sentinel.Heard{Site: "home", Name: "pve1", Role: sentinel.Node, Boot: boot(i)}
		},
		"Silent": func(i int) sentinel.Input {
			return sentinel.Silent{Site: "home", Name: up[i%len(up)].Name, Last: up[i%len(up)].Last, Up: up}
		},
		"SystemState": func(i int) sentinel.Input {
			return sentinel.SystemState{Site: "home", Name: "pve1", Boot: boot(0), State: either(i, "running", "degraded")}
		},
		"Announced": func(i int) sentinel.Input {
			return sentinel.Announced{Site: "home", Name: "pve1", Boot: boot(0), ID: fmt.Sprint(i), Kind: either(i, "reboot", "cancelled"), Returns: true, Seq: int64(i + 1)}
		},
		"Bound": func(i int) sentinel.Input {
			return sentinel.Bound{KeyBound: sentinel.KeyBound{Name: "pve1", Site: "home", Role: sentinel.Node, Key: boot(i)}}
		},
		"UPSReported": func(i int) sentinel.Input {
			r := power.Reading{Status: power.Status{Flags: power.Online, Charge: &full}, Supply: power.Mains}
			return sentinel.UPSReported{Site: "home", Pi: "pi1", UPS: "ups1", Reading: r, Boot: boot(0), Seq: int64(i + 1)}
		},
		"PiReported": func(i int) sentinel.Input {
			return sentinel.PiReported{Site: "home", Pi: "pi1", Run: shutdown.Status{ID: fmt.Sprint(i), State: shutdown.Begun}}
		},
		"Uplink":     func(i int) sentinel.Input { return sentinel.Uplink{Online: i%2 == 0} },
		"Arm+Disarm": func(i int) sentinel.Input { return armed(i) },
		"Forged": func(int) sentinel.Input {
			return sentinel.Forged{Site: "home", Name: "pve1", From: "192.168.1.9", Times: 3}
		},
		"KeyExpiring": func(i int) sentinel.Input {
			return sentinel.KeyExpiring{Site: "home", Name: "pve1", Left: time.Duration(i) * time.Hour}
		},
	}
}

func armed(i int) sentinel.Input {
	if i%2 == 0 {
		return sentinel.Arm{Site: "home", By: "alex"}
	}
	return sentinel.Disarm{Site: "home", By: "alex"}
}

// BenchmarkStep is an input decided upon, all that follows included, against the reading
// of one fact of a source that is back.
func BenchmarkStep(b *testing.B) {
	var back written
	for _, w := range journal(b) {
		if w.name == "source_back" {
			back = w
		}
	}
	begin := time.Date(2026, 11, 21, 19, 0, 0, 0, time.UTC)
	var up []cause.Source
	for _, name := range strings.Fields("pve1 pve2 nas pi1") {
		up = append(up, cause.Source{Name: name, Pi: name == "pi1", Last: begin})
	}
	for name, input := range inputs(up) {
		b.Run(name, func(b *testing.B) {
			var s *sentinel.State
			fresh := func() {
				s = sentinel.New(home())
				for _, o := range up {
					role := map[bool]sentinel.Role{false: sentinel.Node, true: sentinel.Pi}[o.Pi]
					s.Step(begin, sentinel.Heard{Site: "home", Name: o.Name, Role: role, Boot: "11111111-1111-4111-8111-000000000000"})
				}
			}
			turns(b, fresh, func(int) { back.fact(b) },
				func(i int) { s.Step(begin.Add(20*time.Second+time.Duration(i)*time.Millisecond), input(i)) })
		})
	}
}
