package brain

import (
	"context"
	"errors"
	"time"

	"sentinel.home.arpa/cloud/internal/journal"
	"sentinel.home.arpa/cloud/internal/sentinel"
	"sentinel.home.arpa/shared/config"
)

// Journal is how long the journal keeps what happened.
type Journal struct {
	Keep config.Duration `yaml:"keep"`
}

const (
	// snapshotEach is after how many facts a snapshot is taken, so that a start never has
	// to replay many more.
	snapshotEach = 5000
	// daily is how often one is taken if there is any new fact, and old facts are removed.
	daily = 24 * time.Hour
	// firstPrune is how long a brain runs before it removes old facts.
	firstPrune = time.Hour
	// saveWithin bounds the write of a snapshot, and lastSaveWithin that of the last one: a
	// stop waits for it.
	saveWithin     = 30 * time.Second
	lastSaveWithin = 3 * time.Second
	pruneWithin    = 10 * time.Minute
	// archiveAgain is when it is tried again after one that failed; each further failure
	// doubles it, up to archiveRarest.
	archiveAgain  = 5 * time.Minute
	archiveRarest = 2 * time.Hour
)

// archive is the work on the journal beside writing facts: snapshots, and the removal of
// what is too old. It happens in the background, when the disk has nothing better to do, and
// holds nothing up: without it a start only takes longer.
type archive struct {
	n      int64         // the place of the newest snapshot's last fact
	at     time.Time     // when that was taken, or when the brain started
	pruned time.Time     // when old facts were last removed
	due    bool          // the journal alone does not give the state
	off    bool          // the state lacks facts that the journal may have
	work   chan archived // nil: nothing is under way
	saves  tries
	prunes tries
}

// tries are those of one kind of work.
type tries struct {
	failed int       // so many in a row
	again  time.Time // not before
}

// fails counts a failure, and reports whether it is the first.
func (t *tries) fails(now time.Time) (first bool) {
	wait := archiveRarest
	if t.failed < 8 { // which is past it
		wait = min(wait, archiveAgain<<t.failed)
	}
	t.failed++
	t.again = now.Add(wait)
	return t.failed == 1
}

// archived is what came of it.
type archived struct {
	at      time.Time // when it was begun
	pruned  bool      // it was to remove old facts, not to take a snapshot
	n       int64     // of a snapshot
	removed int64     // facts
	err     error
}

func newArchive(r *journal.Restored, now time.Time) archive {
	cut := errors.Is(r.Trouble, journal.ErrCut)
	a := archive{at: now, pruned: now.Add(firstPrune - daily), due: r.Lost || r.Passed != nil, off: r.Lost && r.Aside == "" && !cut}
	if r.Snapshot != nil {
		a.n = r.Snapshot.N
	}
	return a
}

// archives does what is due, and waits for nothing. It comes after the turn's facts were
// written: what the state knows then and the newest fact on the disk belong together.
func (b *Brain) archives(ctx context.Context) {
	a := &b.archive
	if a.work != nil {
		select {
		case done := <-a.work:
			b.wasArchived(done)
		default:
			return
		}
	}
	now := b.clock.Now()
	if a.off || !b.allWritten() {
		return
	}
	fresh := b.journal.Last() - a.n
	switch {
	case fresh > 0 && !now.Before(a.saves.again) && (a.due || fresh >= snapshotEach || now.Sub(a.at) >= daily):
		b.inBackground(ctx, saveWithin, b.save())
	case now.Sub(a.pruned) >= daily && !now.Before(a.prunes.again):
		before, readable := now.Add(-b.cfg().Journal.Keep.Std()), b.readable()
		b.inBackground(ctx, pruneWithin, func(ctx context.Context) archived {
			n, err := b.journal.Prune(ctx, before, readable)
			return archived{at: now, pruned: true, removed: n, err: err}
		})
	}
}

// allWritten reports whether the disk has every fact and is free.
func (b *Brain) allWritten() bool { return b.writing == nil && len(b.unwritten) == 0 && !b.broken }

// readable tells which snapshots this program can read.
func (b *Brain) readable() func(body []byte) error { return readableBy(*b.core()) }

func readableBy(core sentinel.Config) func(body []byte) error {
	return func(body []byte) error { _, err := sentinel.FromSnapshot(core, body); return err }
}

// save takes a snapshot now, to be written later.
func (b *Brain) save() func(ctx context.Context) archived {
	s := journal.Snapshot{N: b.journal.Last(), At: b.clock.Now(), Wall: b.machine.wall(), Boot: b.boot, SinceBoot: b.machine.sinceBoot()}
	body, err := b.state.Snapshot()
	s.Body = body
	return func(ctx context.Context) archived {
		if err == nil {
			err = b.journal.Save(ctx, s)
		}
		return archived{at: s.At, n: s.N, err: err}
	}
}

func (b *Brain) inBackground(ctx context.Context, within time.Duration, do func(ctx context.Context) archived) {
	work := make(chan archived, 1)
	b.archive.work = work
	b.wg.Go(func() {
		ctx, cancel := context.WithTimeout(ctx, within)
		defer cancel()
		work <- do(ctx)
	})
}

// wasArchived takes what came of the work. A failure is said once, and counted each time.
func (b *Brain) wasArchived(done archived) {
	a, now := &b.archive, b.clock.Now()
	a.work = nil
	if done.removed > 0 {
		b.log.Info("old facts are removed from the journal", "facts", done.removed)
	}
	switch {
	case done.err == nil && done.pruned:
		a.pruned, a.prunes = done.at, tries{}
	case done.err == nil:
		a.n, a.at, a.due, a.saves = done.n, done.at, false, tries{}
	case done.pruned:
		b.metrics.archiveErrors.Inc()
		if a.prunes.fails(now) {
			b.log.Error("the journal lets no old facts go; it is tried again", "err", done.err)
		}
	default:
		b.metrics.archiveErrors.Inc()
		if a.saves.fails(now) {
			b.log.Error("the journal takes no snapshot; a start takes longer, and it is tried again", "err", done.err)
		}
	}
}

// lastSnapshot makes the next start quick.
func (b *Brain) lastSnapshot(ctx context.Context) {
	a := &b.archive
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastSaveWithin)
	defer cancel()
	if a.work != nil {
		select {
		case done := <-a.work:
			b.wasArchived(done)
		case <-ctx.Done():
			return
		}
	}
	if a.off || !b.allWritten() || b.journal.Last() == a.n {
		return
	}
	b.wasArchived(b.save()(ctx))
}
