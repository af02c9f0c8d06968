package torture

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"sentinel.home.arpa/deploy/lab/internal/edge"
	"sentinel.home.arpa/deploy/lab/internal/home"
	"sentinel.home.arpa/deploy/lab/internal/scenario"
)

const (
	// calmWithin is how long a home may take to be whole again after a story.
	calmWithin = 60 * time.Second
	// calmFor is how long it must then be.
	calmFor = 3 * time.Second
)

// Home is what a story is played on.
type Home interface {
	Do(line string) error
	Up(node string) bool
	GuestsRun() int
	// Answered is who the brain says has answered for what goes on.
	Answered(ctx context.Context) string
	// Kill waits for a phase and kills in it; false if the context ended first, or the
	// victim was dead already.
	Kill(ctx context.Context, k home.Kill) (bool, error)
}

// Tally counts kills by their phase.
type Tally struct {
	Planned map[home.Phase]int // that came to wait for their phase
	Kills   map[home.Phase]int // that happened in it
}

func newTally() Tally { return Tally{map[home.Phase]int{}, map[home.Phase]int{}} }

// Total is how many were killed.
func (t Tally) Total() int {
	n := 0
	for _, k := range t.Kills {
		n += k
	}
	return n
}

func (t Tally) add(o Tally) {
	for p, n := range o.Planned {
		t.Planned[p] += n
	}
	for p, n := range o.Kills {
		t.Kills[p] += n
	}
}

// play plays a story to its end, with its kills, and brings the home to rest. An error
// says that the story could not be played, not that it went badly.
func play(ctx context.Context, h Home, rec *edge.Recorder, s Story) (Tally, error) {
	killing, stop := context.WithCancel(ctx)
	defer stop()
	var wg sync.WaitGroup
	tally := newTally()
	var killed error
	wg.Go(func() { killed = kills(killing, h, s.Kills, tally) })
	err := scenario.Play(ctx, h, s.Steps)
	if err == nil {
		err = until(ctx, rec, s.Most, func(es []edge.Entry) bool {
			switch s.Until {
			case AllOff:
				return !slices.ContainsFunc(home.Nodes(), h.Up)
			case Called:
				return slices.ContainsFunc(es, func(e edge.Entry) bool { return isCall(e) })
			case Taken:
				return h.Answered(ctx) != ""
			}
			return true
		})
	}
	if err == nil {
		err = scenario.Play(ctx, h, s.After)
	}
	if err == nil {
		err = pause(ctx, s.Quiet)
	}
	if err == nil && s.Until == Taken {
		rec.Add(time.Now(), edge.Entry{Edge: edge.Lab, What: answeredBy + h.Answered(ctx)})
	}
	stop()
	wg.Wait()
	if err == nil {
		err = calm(ctx, h, rec)
	}
	return tally, errors.Join(err, killed)
}

// kills carries the kills out, one after the other.
func kills(ctx context.Context, h Home, ks []Planned, t Tally) error {
	begin := time.Now()
	for _, k := range ks {
		if pause(ctx, time.Until(begin.Add(k.At))) != nil {
			return nil // the story is over
		}
		t.Planned[k.Phase]++
		phase := k.Phase
		hit, err := inPhase(ctx, h, k)
		if err == nil && !hit && ctx.Err() == nil { // a phase that does not come saves nobody
			phase, k.For = home.Random, 5*time.Second
			k.Phase, k.Delay = home.Random, 0
			if k.Victim != "brain" {
				k.Victim = "pi" // the node may be off, and its agent with it
			}
			hit, err = inPhase(ctx, h, k)
		}
		if err != nil {
			return fmt.Errorf("kill %s, %s: %w", k.Victim, k.Phase, err)
		}
		if hit {
			t.Kills[phase]++
		}
	}
	return nil
}

// inPhase waits for one kill's phase for as long as it may take. Who is dead is waited
// for too.
func inPhase(ctx context.Context, h Home, k Planned) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, k.For)
	defer cancel()
	for {
		hit, err := h.Kill(ctx, k.Kill)
		if hit || err != nil || pause(ctx, 200*time.Millisecond) != nil {
			return hit, err
		}
	}
}

// calm puts everything back in order and waits until the edges see that it is.
func calm(ctx context.Context, h Home, rec *edge.Recorder) error {
	lines := []string{"thaw brain", "ups on", "internet on"}
	for _, n := range append(home.Nodes(), "pi") {
		lines = append(lines, "path "+n+" on")
	}
	for _, l := range append(lines, "plug") {
		_ = h.Do(l) // most of it is in order
	}
	start := func() {
		for _, n := range home.Nodes() {
			if !h.Up(n) {
				_ = h.Do("start " + n) // a reboot may be quicker
			}
		}
	}
	var since time.Duration
	var isCalm bool
	err := until(ctx, rec, calmWithin, func(es []edge.Entry) bool {
		start()
		isCalm = calmly(es) && !slices.ContainsFunc(home.Nodes(), func(n string) bool { return !h.Up(n) })
		if !isCalm {
			since = rec.Now()
		}
		return isCalm && rec.Now()-since >= calmFor
	})
	if err == nil && !isCalm {
		err = errors.New("the home does not come to rest")
	}
	if err != nil {
		return err
	}
	err = until(ctx, rec, asBefore, func([]edge.Entry) bool { return h.GuestsRun() == allGuests })
	rec.Add(time.Now(), edge.Entry{Edge: edge.Lab, What: fmt.Sprintf("%s%d", atRest, h.GuestsRun())})
	return err
}

// calmly reports whether the UPS was last read on mains, and nothing was told to Proxmox
// since.
func calmly(es []edge.Entry) bool {
	for _, e := range slices.Backward(es) {
		switch {
		case isCommand(e):
			return false
		case e.Edge == edge.UPS:
			return readMains(e)
		}
	}
	return false
}

// until waits until the edges satisfy a condition, or for at most so long.
func until(ctx context.Context, rec *edge.Recorder, most time.Duration, cond func([]edge.Entry) bool) error {
	limit := time.NewTimer(most)
	defer limit.Stop()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		if es, _ := rec.Since(0); cond(es) {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-limit.C:
			return nil
		case <-tick.C:
		}
	}
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(max(d, 0))
	defer t.Stop()
	select {
	case <-t.C:
		return ctx.Err()
	case <-ctx.Done():
		return ctx.Err()
	}
}

// excerpt is what an episode's edges saw, short enough to be read: of the UPS only what
// changed, of Proxmox and Twilio only what was told.
func excerpt(es []edge.Entry) string {
	var b strings.Builder
	last := ""
	for _, e := range es {
		text := e.What
		switch {
		case e.Edge == edge.UPS:
			if text == last {
				continue
			}
			last = text
		case e.Edge == edge.PVE && e.Method == "GET", e.Edge == edge.Way, e.Edge == edge.Phone:
			continue
		case e.Edge == edge.PVE:
			text = fmt.Sprintf("%s %s -> %d, while %s", e.Path, e.Body, e.Status, e.What)
		case e.Edge == edge.Twilio && isList(e):
			text = fmt.Sprintf("list of calls asked -> %d", e.Status)
		case e.Edge == edge.Twilio && e.Method == "GET":
			continue
		case e.Edge == edge.Twilio:
			text = fmt.Sprintf("%s %s -> %d %.220s", e.Method, e.Path[strings.LastIndex(e.Path, "/"):], e.Status, said(e))
		}
		fmt.Fprintf(&b, "    %8.3f  %-6s %-5s %s\n", e.At().Seconds(), e.Edge, e.Node, text)
	}
	return b.String()
}
