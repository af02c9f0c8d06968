package brain

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"sentinel.home.arpa/cloud/internal/journal"
	"sentinel.home.arpa/cloud/internal/sentinel"
	"sentinel.home.arpa/shared/power"
)

// year writes down what a home of 20 nodes with four incidents, a reboot and a self-test of
// its UPS a day is like, for a year.
type year struct {
	now   time.Time
	facts []journal.Entry
	boots map[string]int
}

func (y *year) say(after time.Duration, f sentinel.Fact) {
	y.now = y.now.Add(after)
	y.facts = append(y.facts, journal.Entry{At: y.now, Wall: y.now, Boot: "a boot", SinceBoot: time.Duration(len(y.facts)) * time.Minute, Fact: f})
}

func (y *year) boot(node string) string { return fmt.Sprintf("%s-%04d", node, y.boots[node]) }

func aYear() []journal.Entry {
	y := &year{now: time.Date(2025, 11, 21, 0, 0, 0, 0, time.UTC), boots: map[string]int{}}
	y.say(0, &sentinel.BrainStarted{Version: "1"})
	y.say(time.Second, &sentinel.SourceAppeared{Site: "home", Name: "pi", Role: sentinel.Pi, Boot: "pi-1"})
	for i := range 20 {
		n := fmt.Sprintf("pve%d", i+1)
		y.say(time.Second, &sentinel.KeyBound{Name: n, Site: "home", Role: sentinel.Node, Key: someKey})
		y.say(0, &sentinel.SourceAppeared{Site: "home", Name: n, Role: sentinel.Node, Boot: y.boot(n)})
	}
	y.say(time.Second, &sentinel.PlanArmed{Site: "home", By: "the operator"})
	for day := range 365 {
		y.now = time.Date(2025, 11, 22, 0, 0, 0, 0, time.UTC).AddDate(0, 0, day)
		for i := range 4 {
			y.incident(fmt.Sprintf("pve%d", (4*day+i)%20+1), 5*time.Hour)
		}
		y.reboot(fmt.Sprintf("pve%d", day%20+1))
		y.selfTest(int64(day))
	}
	return y.facts
}

func (y *year) incident(node string, after time.Duration) {
	const why = "it sent nothing for 20 s and announced nothing"
	last := y.now.Add(after - 20*time.Second)
	id := "home-node-" + last.Format("20060102T150405Z")
	y.say(after, &sentinel.SourceFailed{Site: "home", Name: node, Last: last, Why: why})
	y.say(0, &sentinel.IncidentOpened{ID: id, Site: "home", Kind: sentinel.NodeFailure, Since: last, Nodes: []string{node}, Why: node + " " + why})
	y.say(0, &sentinel.CallRequested{Call: id + "/1", Incident: id, Contact: "Alex", Attempt: 1, Why: node + " " + why})
	y.say(time.Second, &sentinel.CallPlaced{Call: id + "/1", SID: "CA00000000000000000000000000000001"})
	y.say(20*time.Second, &sentinel.CallEnded{Call: id + "/1", Delivered: true, Outcome: "completed"})
	y.say(0, &sentinel.IncidentAnswered{ID: id, By: "Alex", Why: "Alex took the call"})
	y.boots[node]++
	y.say(10*time.Minute, &sentinel.SourceBack{Site: "home", Name: node, Boot: y.boot(node), Away: 10 * time.Minute})
	y.say(time.Minute, &sentinel.IncidentResolved{ID: id, Why: "all of its nodes have been back for 60 s; it lasted 11 min"})
}

func (y *year) reboot(node string) {
	y.say(time.Minute, &sentinel.ShutdownAnnounced{Site: "home", Name: node, Boot: y.boot(node), ID: "announced", Kind: "reboot", Returns: true, Age: 20 * time.Millisecond, Seq: 1000})
	y.say(24*time.Second, &sentinel.SourceLeft{Site: "home", Name: node, Last: y.now, BackBy: y.now.Add(10 * time.Minute), Why: "it had announced its reboot"})
	y.boots[node]++
	y.say(time.Minute, &sentinel.SourceBack{Site: "home", Name: node, Boot: y.boot(node), Away: time.Minute})
}

func (y *year) selfTest(day int64) {
	charge := 1.0
	for i, s := range []power.Supply{power.SelfTest, power.Mains} {
		y.say(10*time.Second, &sentinel.SupplyChanged{Site: "home", UPS: "apc1", Supply: s, Since: y.now, Pi: "pi", Boot: "pi-1", Seq: 10*day + int64(i) + 1,
			Reading: power.Reading{Status: power.Status{Charge: &charge, Model: "Smart-UPS 1500"}, Supply: s, For: 1}})
	}
}

// BenchmarkStartAfterAYear is a brain's start, all of it but the network: with the snapshot
// that the last stop left, with one that a kill left 4,999 facts ago, and with none.
func BenchmarkStartAfterAYear(b *testing.B) {
	facts := aYear()
	for _, tt := range []struct {
		name string
		ago  int64 // facts before the end at which the snapshot was taken; negative: none
	}{{"after a stop", 0}, {"after a kill", snapshotEach - 1}, {"without snapshot", -1}} {
		b.Run(tt.name, func(b *testing.B) {
			cfg := DefaultConfig()
			cfg.StateDir, cfg.Listen = b.TempDir(), "127.0.0.1:0"
			cfg.Sites = []Site{{Name: "home", Pis: []Peer{{Name: "pi"}}}}
			lived(b, cfg, facts, tt.ago)
			for b.Loop() {
				br, err := newBrain(b.Context(), cfg, slog.New(slog.DiscardHandler), thisMachine())
				if err != nil {
					b.Fatal(err)
				}
				b.StopTimer()
				if len(br.state.Keys) != 20 || len(br.timeline) != timelineKept || br.journal.Last() != int64(len(facts)) {
					b.Errorf("it knows %d keys and %d entries", len(br.state.Keys), len(br.timeline))
				}
				if err := br.Close(); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
			}
			b.ReportMetric(float64(len(facts)), "facts")
		})
	}
}

// lived fills a journal with facts, and a snapshot of so many before the last.
func lived(b *testing.B, cfg Config, facts []journal.Entry, ago int64) {
	b.Helper()
	j := openJournal(b, cfg)
	defer j.Close()
	ctx, cancel := context.WithTimeout(b.Context(), time.Minute)
	defer cancel()
	if err := j.Append(ctx, facts); err != nil {
		b.Fatal(err)
	}
	if ago < 0 {
		return
	}
	s := sentinel.New(coreConfig(&cfg))
	n := int64(len(facts)) - ago
	for _, e := range facts[:n] {
		s.Evolve(e.At, e.Fact)
	}
	body, err := s.Snapshot()
	if err != nil {
		b.Fatal(err)
	}
	last := facts[n-1]
	if err := j.Save(ctx, journal.Snapshot{N: n, At: last.At, Wall: last.Wall, Boot: last.Boot, SinceBoot: last.SinceBoot, Body: body}); err != nil {
		b.Fatal(err)
	}
	b.Logf("the snapshot takes %d bytes", len(body))
}
