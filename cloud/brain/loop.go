package brain

import (
	"context"
	"errors"
	"maps"
	"time"

	"sentinel.home.arpa/cloud/internal/cause"
	"sentinel.home.arpa/cloud/internal/journal"
	"sentinel.home.arpa/cloud/internal/liveness"
	"sentinel.home.arpa/cloud/internal/sentinel"
)

const (
	// tick is how often the loop turns when nothing happens.
	tick = time.Second
	// appendWithin bounds the journal: past it the brain acts from memory (rule R3).
	appendWithin = 2 * time.Second
	// hangsAfter is how much longer the loop waits for a write than that has for itself:
	// one that fails says why.
	hangsAfter = 500 * time.Millisecond
	batch      = 256
	// writtenAtOnce is how many facts one write may take, within appendWithin.
	writtenAtOnce = 2000
	// unwrittenMost is how many facts wait in memory for a disk; past it the oldest go.
	unwrittenMost = 20_000
	timelineKept  = 300
)

// submission is an input on its way to the loop; done is closed once what follows from it
// is on disk. A nil done means that nobody waits.
type submission struct {
	in   sentinel.Input
	done chan struct{}
}

var errStopping = errors.New("the brain is stopping")

// submit hands an input to the loop and waits until what follows is on disk.
func (b *Brain) submit(ctx context.Context, in sentinel.Input) error {
	s := submission{in, make(chan struct{})}
	select {
	case b.inputs <- s:
	case <-b.stopped:
		return errStopping
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case <-s.done:
		return nil
	case <-b.stopped:
		return errStopping
	case <-ctx.Done():
		return ctx.Err()
	}
}

// loop owns the state. Everything that is decided is decided here, written down, and only
// then done.
func (b *Brain) loop(ctx context.Context) error {
	defer close(b.stopped)
	now := b.clock.Now()
	b.pulse.begin(now)
	b.wg.Go(func() { b.pulse.run(ctx, b.clock.Now) })
	b.table.Restart(now, b.wereUp())
	b.deletedLately(now)
	resume := b.leftovers()
	b.turn(ctx, []submission{{in: sentinel.Started{Version: b.version, Notices: b.notices}}})
	b.ran()
	resume(ctx)
	close(b.resumed)
	b.notifier.Ready()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		var subs []submission
		taken := false
		select {
		case <-ctx.Done():
			b.lastSnapshot(ctx)
			return nil
		case r := <-b.reread:
			subs = b.take(r)
			taken = r.err == nil
		case s := <-b.inputs:
			subs = b.drain(s)
		case g := <-b.counted:
			b.guests[g.site] = &g.n
		case s := <-b.sighted:
			b.takeSighting(s, b.clock.Now())
		case s := <-b.planSeen:
			subs = b.takeLook(s, b.clock.Now())
		case answer := <-b.digests:
			answer <- b.digest(b.clock.Now())
		case <-b.renew:
			b.renewBundles()
		case <-timer.C:
			subs = []submission{{in: sentinel.Tick{}}}
		}
		now := b.clock.Now()
		for { // before anything that waited meanwhile is judged
			stood := b.pulse.take(now)
			if stood == 0 {
				break
			}
			b.log.Warn("the process stood still", "for", stood)
			for _, p := range b.performers {
				p.hold()
			}
			b.table.Resume(now, stood, b.wereUp())
			b.turnAt(ctx, now, []submission{{in: sentinel.Paused{For: stood}}})
			now = b.clock.Now()
		}
		b.turnAt(ctx, now, append(subs, b.silences(now)...))
		if taken {
			b.renewBundles()
		}
		b.seekLeft(ctx, now)
		b.lookAtPlans(ctx, now)
		b.archives(ctx)
		b.health.Turned()
		b.notifier.Feed()
		timer.Reset(b.untilNext())
	}
}

// drain takes what else is waiting, so that one write to disk serves many.
func (b *Brain) drain(first submission) []submission {
	subs := []submission{first}
	for len(subs) < batch {
		select {
		case s := <-b.inputs:
			subs = append(subs, s)
		default:
			return subs
		}
	}
	return subs
}

func (b *Brain) silences(now time.Time) []submission {
	silent := b.table.Expire(now)
	if len(silent) == 0 {
		return nil
	}
	var subs []submission
	up, elsewhere := map[string][]cause.Source{}, map[string]map[string][]cause.Source{}
	for name := range b.state.Sites {
		up[name] = b.table.Site(name)
	}
	for _, s := range silent {
		if up[s.Site] == nil {
			up[s.Site] = b.table.Site(s.Site)
		}
		if elsewhere[s.Site] == nil {
			elsewhere[s.Site] = maps.Clone(up)
			delete(elsewhere[s.Site], s.Site)
		}
		subs = append(subs, submission{in: sentinel.Silent{Site: s.Site, Name: s.Name, Last: s.Last, Up: up[s.Site], Elsewhere: elsewhere[s.Site]}})
	}
	return subs
}

func (b *Brain) untilNext() time.Duration {
	d := tick
	now := b.clock.Now()
	for _, at := range []time.Time{b.state.NextDeadline(), b.table.Next()} {
		if !at.IsZero() {
			d = min(d, at.Sub(now))
		}
	}
	return max(d, 0)
}

// turn decides a batch of inputs, writes the facts down and lets the effects happen.
func (b *Brain) turn(ctx context.Context, subs []submission) { b.turnAt(ctx, b.clock.Now(), subs) }

// turnAt is turn as of now: a stop of the process since then must be known of before
// anything is judged by it.
func (b *Brain) turnAt(ctx context.Context, now time.Time, subs []submission) {
	var entries []journal.Entry
	for _, s := range subs {
		for _, f := range b.state.Step(now, s.in) {
			entries = append(entries, journal.Entry{At: now, Wall: b.machine.wall(), Boot: b.boot, SinceBoot: b.machine.sinceBoot(), Fact: f})
		}
	}
	b.append(ctx, entries)
	b.keep(entries)
	if later := b.clock.Now(); b.pulse.beat(later) == 0 { // it may have waited for the disk
		now = later
	}
	b.publish(now)
	for _, e := range entries {
		b.effect(ctx, e) // which waits for nothing
	}
	for _, s := range subs { // now: the next answer to a Pi has the bundle that follows from it
		if s.done != nil {
			close(s.done)
		}
	}
	b.selfTest(ctx)
	if b.state.WantsUplink() {
		b.uplink.Ask(b.state.Blind.IsZero())
	}
}

// writing is a batch that is on its way to the disk.
type writing struct {
	batch []journal.Entry
	done  chan error
}

var errDiskHangs = errors.New("the disk hangs")

// append writes facts to the journal. A journal that cannot be written, or a disk that
// hangs in the middle, must never stop a shutdown or a call: the brain goes on from
// memory, says so, and tries again.
func (b *Brain) append(ctx context.Context, entries []journal.Entry) {
	b.unwritten = append(b.unwritten, entries...)
	defer b.bound()
	for b.writing != nil || len(b.unwritten) > 0 {
		if b.writing == nil {
			b.write(ctx)
		}
		known, err := b.written()
		if !known {
			return // a later turn sees what came of it
		}
		if err != nil {
			b.unwritten = append(b.writing.batch, b.unwritten...)
		}
		b.writing, b.broken = nil, err != nil
		b.health.Set("journal", err)
		if err != nil {
			b.notWritten(err)
			b.write(ctx) // again, while the loop goes on
			return
		}
		if b.dropped > 0 {
			b.log.Error("the journal is written again, and lacks facts", "facts", b.dropped)
			b.dropped, b.archive.due = 0, true // the state does not
		}
	}
}

// written waits for what came of the write under way. A journal that is broken was waited
// for once; after that the loop only looks.
func (b *Brain) written() (known bool, err error) {
	select {
	case err := <-b.writing.done:
		return true, err
	default:
	}
	if b.broken {
		return false, nil
	}
	limit := time.NewTimer(appendWithin + hangsAfter)
	defer limit.Stop()
	select {
	case err := <-b.writing.done:
		return true, err
	case <-limit.C:
		b.broken = true
		b.health.Set("journal", errDiskHangs)
		b.notWritten(errDiskHangs)
		return false, nil
	}
}

// write begins to write what is unwritten.
func (b *Brain) write(ctx context.Context) {
	n := min(len(b.unwritten), writtenAtOnce)
	w := &writing{batch: b.unwritten[:n:n], done: make(chan error, 1)}
	b.unwritten, b.writing = b.unwritten[n:], w
	b.wg.Go(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), appendWithin)
		defer cancel()
		w.done <- b.journal.Append(ctx, w.batch)
	})
}

// bound keeps what waits for the disk from filling the memory.
func (b *Brain) bound() {
	over := len(b.unwritten) - unwrittenMost
	if over <= 0 {
		return
	}
	if b.dropped == 0 {
		b.log.Error("too many facts wait for the journal, the oldest are dropped", "most", unwrittenMost)
	}
	b.dropped += over
	b.unwritten = append(b.unwritten[:0:0], b.unwritten[over:]...)
}

func (b *Brain) notWritten(err error) {
	b.metrics.journalErrors.Inc()
	b.log.Error("journal not written, acting from memory", "facts", len(b.unwritten), "err", err)
}

// keep logs the entries and holds the newest for the page.
func (b *Brain) keep(entries []journal.Entry) {
	for _, e := range entries {
		text := sentinel.Sentence(e.Fact)
		if text == "" {
			continue
		}
		b.log.Info("timeline", "fact", e.Fact.FactName(), "text", text)
		b.timeline = append(b.timeline, e)
	}
	if over := len(b.timeline) - timelineKept; over > 0 {
		b.timeline = append(b.timeline[:0:0], b.timeline[over:]...)
	}
}

// deletedLately tells the table of the sources that were deleted before this process began: a Pi goes
// on telling of their words of before for as long as those are no silence (rule H9).
func (b *Brain) deletedLately(now time.Time) {
	for _, site := range b.state.Sites {
		for name, at := range site.GoneAt {
			if site.Sources[name] == nil && now.Sub(at) < b.core().Times.Silence {
				b.table.Delete(at, liveness.Key{Site: site.Name, Name: name})
			}
		}
	}
}

// wereUp are the sources that are up as far as was decided; their silence counts from now.
// Of two machines under one name both are among them, as they stand. Whoever is heard by a brain
// that was offline is news, or it would never know that it no longer is (rule N3).
func (b *Brain) wereUp() []liveness.Beat {
	blind := !b.state.Blind.IsZero()
	var beats []liveness.Beat
	for _, site := range b.state.Sites {
		two := map[string]bool{}
		for _, src := range site.Sources {
			if src.CloneOf != "" {
				two[src.Name], two[src.CloneOf] = true, true
			}
		}
		for _, src := range site.Sources {
			if src.Condition == sentinel.Up || two[src.Name] {
				beats = append(beats, liveness.Beat{Key: liveness.Key{Site: site.Name, Name: src.Name}, Pi: src.Role == sentinel.Pi, Boot: src.Boot,
					WasDirect: src.Via == "" && src.OnlyBy == "", Indirect: src.OnlyBy != "", Silent: src.Condition != sentinel.Up || blind, CloneOf: src.CloneOf})
			}
		}
	}
	return beats
}
