//go:build stages

package main

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"sentinel.home.arpa/deploy/lab/internal/edge"
	"sentinel.home.arpa/deploy/lab/internal/home"
	"sentinel.home.arpa/deploy/lab/internal/scenario"
	"sentinel.home.arpa/deploy/lab/internal/stages"
)

const (
	// inFlight is what a command that left before the mains were known may still take to
	// arrive, on a machine that others load.
	inFlight = 500 * time.Millisecond
	// downWithin is what the plan may take with a program killed on its way.
	downWithin = 150 * time.Second
	// never is longer than any story.
	never = time.Hour
)

// The moments of a plan at which something happens to it.
const (
	before  = "before the first command"
	guests  = "guests' stage"
	between = "between the stages"
	nodes   = "first nodes' stage"
	last    = "last node's stage"
)

// tables are what the stories measured, printed at the end.
type tables struct {
	mu   sync.Mutex
	rows map[string][]string
	open sync.Mutex // one home after the other chooses its ports and takes them
}

func (t *tables) add(table, format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.rows == nil {
		t.rows = map[string][]string{}
	}
	t.rows[table] = append(t.rows[table], fmt.Sprintf(format, args...))
}

func (t *tables) print(to *testing.T) {
	for table, rows := range t.rows {
		to.Logf("%s\n  %s", table, strings.Join(rows, "\n  "))
	}
}

// staged is a home in which a plan runs, and what its edges saw.
type staged struct {
	*testing.T
	*home.Home
	rec  *edge.Recorder
	plan stages.Plan
	own  bool          // the brain has its own way to Proxmox, and its commands look like the Pi's
	from time.Duration // when the mains went
	out  *tables
}

// TestStages plays what can happen to a plan at each of its stages with the real programs, and
// judges it by the edges. One test is short enough for every day: the power comes back while
// the guests go down.
func TestStages(t *testing.T) {
	programs, out := t.TempDir(), &tables{}
	if err := home.Build(t.Context(), programs); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { out.print(t) })
	play := func(t *testing.T, name string, change func(o *home.Options), story func(s *staged)) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			story(openStage(t, programs, out, change))
		})
	}
	usual := func(*home.Options) {}
	direct := func(o *home.Options) { o.Direct = true }
	short := func(o *home.Options) { o.GuestsWithin, o.NodesWithin = 40*time.Second, 30*time.Second }
	t.Run("power back", func(t *testing.T) {
		for _, at := range []string{before, guests, between, nodes, last} {
			play(t, at, usual, func(s *staged) { s.powerBack(at) })
		}
	})
	t.Run("kill", func(t *testing.T) {
		for _, at := range []string{before, guests, nodes, last} {
			play(t, at+"/brain/for 3 s", usual, func(s *staged) { s.killed(at, "brain", 3*time.Second) })
			play(t, at+"/brain/for ever", usual, func(s *staged) { s.killed(at, "brain", never) })
			play(t, at+"/pi/for 3 s", usual, func(s *staged) { s.killed(at, "pi", 3*time.Second) })
			play(t, at+"/pi/for ever, and the brain has its own way", direct, func(s *staged) { s.killed(at, "pi", never) })
			play(t, at+"/pi/for ever, and with it the way", short, func(s *staged) { s.cutOff(at) })
		}
	})
	play(t, "a node hangs", func(o *home.Options) { o.GuestsWithin, o.NodesWithin = 60*time.Second, 45*time.Second }, (*staged).hangs)
	play(t, "revoked", func(o *home.Options) { o.Revocable = true }, (*staged).revoked)
	for _, w := range []string{"power back first", "still on battery", "internet back before the call"} {
		play(t, "internet and mains/"+w, usual, func(s *staged) { s.dark(w) })
	}
	bin := buildLab(t)
	for _, name := range scenario.Names() {
		if !scenario.Long(name[0]) {
			continue
		}
		t.Run("story/"+name[0], func(t *testing.T) {
			t.Parallel()
			for _, line := range playStory(t, bin, programs, name[0]) {
				out.add("the story "+name[0], "%s", line)
			}
		})
	}
	play(t, "times", func(o *home.Options) {
		o.Nodes, o.Guests = []string{"pve1", "pve2", "pve3", "pve4", "pve5"}, 12
	}, (*staged).times)
}

// openStage starts a home whose programs are started again when they are killed.
func openStage(t *testing.T, programs string, out *tables, change func(o *home.Options)) *staged {
	t.Helper()
	s := &staged{T: t, rec: edge.NewRecorder(nil), out: out}
	o := home.DefaultOptions()
	var said bytes.Buffer
	o.Page, o.Speak, o.Programs, o.Gated, o.Log = "127.0.0.1:0", false, programs, true, &locked{w: &said}
	change(&o)
	s.own = o.Direct
	s.plan = stages.Plan{Guests: o.Guests, GuestsWithin: o.GuestsWithin, Stages: [][]string{o.Nodes[1:], o.Nodes[:1]}, NodesWithin: o.NodesWithin}
	out.open.Lock()
	defer out.open.Unlock()
	var err error
	if s.Home, err = home.Open(t.Context(), o, s.rec, func(who, what string) { t.Logf("%7.2f %s %s", s.rec.Now().Seconds(), who, what) }); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Home.Close(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			log := said.Bytes()
			t.Logf("the programs said:\n%s", log[max(0, len(log)-30_000):])
		}
	})
	s.Keep()
	return s
}

func (s *staged) do(line string) {
	s.Helper()
	if err := s.Do(line); err != nil {
		s.Fatal(err)
	}
}

// unplugged has the mains go.
func (s *staged) unplugged() {
	s.Helper()
	s.from = s.rec.Now()
	s.do("unplug")
}

func (s *staged) record() *stages.Record {
	es, _ := s.rec.Since(0)
	return stages.Read(es, s.from)
}

// until waits until the record satisfies a condition; false if it does not in time.
func (s *staged) until(within time.Duration, ok func(r *stages.Record) bool) bool {
	limit := time.After(within)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !ok(s.record()) {
		select {
		case <-tick.C:
		case <-limit:
			return false
		case <-s.Context().Done():
			return false
		}
	}
	return true
}

// reach waits for a moment of the plan.
func (s *staged) reach(at string) {
	s.Helper()
	told := func(targets ...string) func(r *stages.Record) bool {
		return func(r *stages.Record) bool {
			for _, c := range r.Downs() {
				for _, t := range targets {
					if c.Target == t || t == "" {
						return true
					}
				}
			}
			return false
		}
	}
	reached := map[string]func(r *stages.Record) bool{
		before:  func(r *stages.Record) bool { return r.Battery > 0 && s.rec.Now() > r.Battery+6*time.Second },
		guests:  told(""),
		between: func(*stages.Record) bool { return s.GuestsRun() == 0 },
		nodes:   told(s.plan.Stages[0]...),
		last:    told(s.plan.Stages[1]...),
	}[at]
	if !s.until(90*time.Second, reached) {
		s.Fatalf("never reached: %s", at)
	}
}

// demand fails for each breach.
func (s *staged) demand(what string, broken []string) {
	s.Helper()
	for _, b := range broken {
		s.Errorf("%s: %s", what, b)
	}
}

// rest waits for what may still come.
func (s *staged) rest(d time.Duration) {
	ctx, cancel := context.WithTimeout(s.Context(), d)
	defer cancel()
	<-ctx.Done()
}

// allDown reports whether each node was off at once.
func (s *staged) allDown(*stages.Record) bool {
	for _, n := range s.plan.Nodes() {
		if s.Up(n) {
			return false
		}
	}
	return true
}
