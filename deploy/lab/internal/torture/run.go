package torture

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"sentinel.home.arpa/deploy/lab/internal/edge"
	"sentinel.home.arpa/deploy/lab/internal/home"
)

// Options are what is tortured, and for how long.
type Options struct {
	Kills   int // no episode begins once there were so many
	Homes   int // at once
	Seed    uint64
	For     time.Duration // no episode begins that would end later
	Home    int           // from 0; with Episode: only this one is played
	Episode int           // negative: all
	Dir     string        // where records and logs of episodes that broke something are kept
	Story   string        // only stories whose name contains this
	Steps   bool          // play one story for each step of a call, and no others
	Keep    bool          // keep those of sound episodes too
}

// longest is what an episode is expected to take at most.
const longest = 100 * time.Second

// Report is what came of it all.
type Report struct {
	Options
	Episodes int
	Tally
	Verdict
	Broken map[string]int // breaches by invariant
	Failed int            // episodes that could not be played
	Took   time.Duration
}

// Run tortures. out is told of each episode as it ends, and of each breach with what the
// edges saw. The error says that episodes could not be played; breaches are in the report.
func Run(ctx context.Context, o Options, out io.Writer) (*Report, error) {
	programs, err := os.MkdirTemp("", "sentinel-torture-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(programs)
	if err := home.Build(ctx, programs); err != nil {
		return nil, err
	}
	if err := home.Traceable(ctx); err != nil {
		fmt.Fprintf(out, "kills at the disk come a moment late, by inotify, because %v\n", err)
	}
	if !o.Steps && !told(o) {
		return nil, fmt.Errorf("there is no story whose name contains %q", o.Story)
	}
	r := &runner{o: o, programs: programs, out: out, begin: time.Now(),
		report: Report{Options: o, Tally: newTally(), Verdict: *newVerdict(), Broken: map[string]int{}}}
	if o.Episode >= 0 {
		r.episode(ctx, o.Home, o.Episode)
	} else {
		var wg sync.WaitGroup
		for lane := range o.Homes {
			wg.Go(func() { r.lane(ctx, lane) })
		}
		wg.Wait()
	}
	r.report.Took = time.Since(r.begin)
	return &r.report, errors.Join(append(r.failed, ctx.Err())...)
}

// told reports whether the story that is asked for exists.
func told(o Options) bool {
	for episode := range 2 * len(stories()) {
		if strings.Contains(Draw(o.Seed, 0, episode).Name, o.Story) {
			return true
		}
	}
	return false
}

type runner struct {
	o        Options
	programs string
	begin    time.Time

	mu     sync.Mutex
	out    io.Writer
	report Report
	failed []error
}

// lane plays one home's episodes.
func (r *runner) lane(ctx context.Context, lane int) {
	if r.o.Steps {
		for episode := lane; episode < len(Calling()) && ctx.Err() == nil; episode += r.o.Homes {
			r.episode(ctx, 0, episode)
		}
		return
	}
	for episode := 0; ctx.Err() == nil && r.more(); episode++ {
		if strings.Contains(Draw(r.o.Seed, lane, episode).Name, r.o.Story) {
			r.episode(ctx, lane, episode)
		}
	}
}

func (r *runner) more() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.report.Tally.Total() < r.o.Kills && time.Since(r.begin)+longest < r.o.For && len(r.failed) < 5
}

// episode plays one story on a fresh home, so that it can be played again alone.
func (r *runner) episode(ctx context.Context, lane, episode int) {
	s := Draw(r.o.Seed, lane, episode)
	if r.o.Steps {
		s = Calling()[episode%len(Calling())]
	}
	name := fmt.Sprintf("seed-%d-home-%d-episode-%d", r.o.Seed, lane, episode)
	dir, err := os.MkdirTemp(r.o.Dir, name+"-")
	if err != nil {
		r.fail(fmt.Errorf("%s: %w", name, err))
		return
	}
	begin := time.Now()
	tally, es, err := r.play(ctx, dir, s)
	v := Judge(es)
	for p, n := range tally.Planned {
		if r.o.Steps && err == nil && tally.Kills[p] < n {
			err = fmt.Errorf("the kill did not come %s", p)
		}
	}
	if err != nil {
		r.fail(fmt.Errorf("%s (%s), kept in %s: %w", name, s.Name, dir, err))
	} else if len(v.Breaches) == 0 && !r.o.Keep {
		_ = os.RemoveAll(dir) // a directory too many harms nobody
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.report.take(tally, v)
	fmt.Fprintf(r.out, "home %d  episode %2d  %-31s %3.0f s  %d kills, %d commands, %d calls%s\n", lane, episode, s.Name,
		time.Since(begin).Seconds(), tally.Total(), v.Commands, v.Calls, map[bool]string{true: "  BROKEN"}[len(v.Breaches) > 0])
	if len(v.Breaches) == 0 {
		return
	}
	fmt.Fprintf(r.out, "  play it again with %s-seed %d -home %d -episode %d; record and logs are in %s\n", map[bool]string{true: "-calls "}[r.o.Steps], r.o.Seed, lane, episode, dir)
	for _, b := range v.Breaches {
		fmt.Fprintf(r.out, "  %s\n", b)
	}
	fmt.Fprint(r.out, excerpt(es))
}

// play opens a home, plays the story and closes it.
func (r *runner) play(ctx context.Context, dir string, s Story) (t Tally, es []edge.Entry, err error) {
	edges, err := os.Create(filepath.Join(dir, "edges.jsonl"))
	if err != nil {
		return newTally(), nil, err
	}
	defer edges.Close()
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		return newTally(), nil, err
	}
	defer log.Close()
	l := &locked{w: log}
	rec := edge.NewRecorder(edges)
	o := home.DefaultOptions()
	o.Page, o.Programs, o.Gated, o.Log, o.Speak = "127.0.0.1:0", r.programs, true, l, false
	h, err := home.Open(ctx, o, rec, func(who, what string) {
		fmt.Fprintf(l, "%8.3f lab %s: %s\n", rec.Now().Seconds(), who, what)
	})
	if err != nil {
		return newTally(), nil, err
	}
	h.Keep()
	t, err = play(ctx, h, rec, s)
	es, _ = rec.Since(0)
	return t, es, errors.Join(err, h.Close(), rec.Err())
}

// locked lets several programs share a log.
type locked struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *locked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}

func (r *runner) fail(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failed = append(r.failed, err)
	r.report.Failed++
	fmt.Fprintln(r.out, err)
}

func (r *Report) take(t Tally, v *Verdict) {
	r.Episodes++
	r.Tally.add(t)
	for i, n := range v.Checked {
		r.Checked[i] += n
	}
	for _, b := range v.Breaches {
		r.Broken[b.Invariant]++
	}
	for p, n := range v.Doubled {
		r.Doubled[p] += n
	}
	for p, n := range v.Lost {
		r.Lost[p] += n
	}
	r.Calls += v.Calls
	r.Commands += v.Commands
	r.Unheard += v.Unheard
}

// Print prints the tables.
func (r *Report) Print(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	fmt.Fprintf(w, "\nphase\tplanned\tkilled in it\tcommands doubled after it\tlost\n")
	doubled, lost := 0, 0
	for _, p := range append(home.Phases(), "") {
		name := string(p)
		if p == "" {
			name = "before any kill"
		}
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\n", name, r.Planned[p], r.Tally.Kills[p], r.Doubled[p], r.Lost[p])
		doubled, lost = doubled+r.Doubled[p], lost+r.Lost[p]
	}
	fmt.Fprintf(w, "all\t\t%d\t%d\t%d\n", r.Total(), doubled, lost)
	fmt.Fprintf(w, "\ninvariant\tchecked\tbroken\n")
	for _, i := range Invariants() {
		fmt.Fprintf(w, "%s  %s\t%d\t%d\n", i[0], i[1], r.Checked[i[0]], r.Broken[i[0]])
	}
	fmt.Fprintf(w, "\n%d episodes in %.1f min, seed %d: %d commands accepted, %d of them again (allowed: they are idempotent), %d targets lost; %d calls; %d announcements got through to nobody\n",
		r.Episodes, r.Took.Minutes(), r.Seed, r.Commands, doubled, lost, r.Calls, r.Unheard)
	return w.Flush()
}

// Sound reports whether nothing was broken.
func (r *Report) Sound() bool { return len(r.Broken) == 0 && r.Failed == 0 }
