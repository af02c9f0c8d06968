package brain

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"sentinel.home.arpa/cloud/internal/journal"
	"sentinel.home.arpa/cloud/internal/sentinel"
	"sentinel.home.arpa/shared/daemon"
)

// journalFile is the journal's name in the state directory.
const journalFile = "journal.db"

// lookWithin is how much longer a start may take to find damage in what it does not read.
const lookWithin = 250 * time.Millisecond

// replay gives the state back that the facts made, and goes on with their time. A journal
// that cannot be written, or not be read, stops nothing: the brain acts on what it knows,
// and says so (rule R3).
func (b *Brain) replay(ctx context.Context, ranBefore bool) error {
	boot, err := daemon.BootID(b.cfg().BootIDFile)
	if err != nil {
		return err
	}
	dropCopies(b.cfg().StateDir)
	read := func(body []byte) (*sentinel.State, error) { return sentinel.FromSnapshot(*b.core(), body) }
	r, err := journal.Restore(ctx, filepath.Join(b.cfg().StateDir, journalFile), b.machine.wall(), journal.Want{
		Readable: func(body []byte) error { _, err := read(body); return err },
		Shown:    told, Most: timelineKept, Look: lookWithin, Losing: b.armingLost})
	if err != nil {
		return err
	}
	b.journal = r.Journal
	b.state = sentinel.New(*b.core())
	if r.Snapshot != nil {
		if b.state, err = read(r.Snapshot.Body); err != nil {
			return err
		}
	}
	b.timeline = r.Before
	for _, e := range r.Facts {
		b.state.Evolve(e.At, e.Fact)
		if told(e.Fact) {
			b.timeline = append(b.timeline, e)
		}
	}
	if over := len(b.timeline) - timelineKept; over > 0 {
		b.timeline = append(b.timeline[:0:0], b.timeline[over:]...)
	}
	for _, k := range b.state.Keys {
		b.learn(k)
	}
	b.boot, b.clock = boot, daemon.NewClock(boot, b.machine.sinceBoot, b.machine.wall, r.Last)
	b.archive = newArchive(&r, b.clock.Now())
	b.judge(&r, ranBefore)
	return nil
}

// told reports whether a fact stands in the timeline.
func told(f sentinel.Fact) bool { return sentinel.Sentence(f) != "" }

// judge says what is wrong with a journal, and what that means: the first turn has it in
// the timeline, and what was forgotten stands on the page until somebody restarts the brain.
func (b *Brain) judge(r *journal.Restored, ranBefore bool) {
	path := filepath.Join(b.cfg().StateDir, journalFile)
	empty := r.Last == nil && ranBefore
	if r.Lost || empty {
		b.armingLost()
	}
	if r.Passed != nil {
		b.log.Warn("a snapshot cannot be read, going back further", "err", r.Passed)
	}
	if r.Unrestored {
		text := "a restore was interrupted, so that the journal is the one from before it; restore the copy again, or arm or disarm the plan"
		b.log.Warn("a restore was interrupted", "path", path, "notice", text)
		b.notices = append(b.notices, text)
	}
	text := ""
	switch {
	case r.Aside != "" && r.Lost:
		text = fmt.Sprintf("the journal was damaged, so that a new one was begun; the old one lies at %s. %s", r.Aside, b.forgotten(r))
	case r.Aside != "":
		text = fmt.Sprintf("the journal was damaged, so that a new one was begun; the old one lies at %s. How everything stands is known all the same, but entries of its history may be missing", r.Aside)
	case r.Lost:
		text = fmt.Sprintf("the journal at %s cannot be read, or not the whole of it. %s", path, b.forgotten(r))
	case r.Trouble != nil:
		b.log.Error("the journal cannot be opened for writing, acting from memory", "facts", len(r.Facts), "err", r.Trouble)
		return
	case empty:
		text = "the journal is empty though this brain has run before: all that was decided is forgotten, also whether the plan is armed"
		b.log.Warn("the journal is empty", "path", path, "notice", text)
		b.notices = append(b.notices, text)
		return
	default:
		return
	}
	b.log.Error("the journal is not whole", "path", path, "facts", len(r.Facts), "notice", text, "err", r.Trouble)
	b.notices = append(b.notices, text)
	b.warnings = append(b.warnings, strings.ToUpper(text[:1])+text[1:]+".")
}

// forgotten says what a journal that is not whole means.
func (b *Brain) forgotten(r *journal.Restored) string {
	shown := func(wall time.Time) string {
		return wall.In(b.zone("")).Format("2 January 2006 at 15:04:05 MST")
	}
	what := "All that was decided before is forgotten"
	switch {
	case errors.Is(r.Trouble, journal.ErrCut) && len(r.Facts) > 0:
		what = "What was decided before " + shown(r.Facts[0].Wall) + " is forgotten"
	case r.Last != nil:
		what = "What was decided after " + shown(r.Last.Wall) + " is forgotten"
	}
	return what + "; check whether the plan is armed"
}

// ranFile lies in the state directory of a brain that has run. The signing key says less:
// it may have been put there for the first start.
const ranFile = "has-run"

func ranBefore(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, ranFile))
	return err == nil
}

// ran notes it, once there are facts in the journal, so that a journal that is missing is
// missed.
func (b *Brain) ran() {
	if b.broken || ranBefore(b.cfg().StateDir) {
		return // or with the next start
	}
	if err := daemon.WriteFile(filepath.Join(b.cfg().StateDir, ranFile), nil, 0o600); err != nil {
		b.log.Error("a journal that is lost later will not be missed", "err", err)
	}
}
