package brain

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"sentinel.home.arpa/cloud/internal/ingest"
	"sentinel.home.arpa/cloud/internal/journal"
	"sentinel.home.arpa/cloud/internal/sentinel"
	"sentinel.home.arpa/shared/daemon"
	"sentinel.home.arpa/shared/wire"
)

// journalFile is the journal's name in the state directory.
const journalFile = "journal.db"

// replay gives the state back that the facts made, and goes on with their time. A journal
// that cannot be written, or not be read, stops nothing: the brain acts on what it knows,
// and says so (rule R3).
func (b *Brain) replay(ctx context.Context, ranBefore bool) error {
	boot, err := daemon.BootID(b.cfg.BootIDFile)
	if err != nil {
		return err
	}
	r, err := journal.Restore(ctx, filepath.Join(b.cfg.StateDir, journalFile), b.machine.wall(), b.armingLost)
	if err != nil {
		return err
	}
	b.journal = r.Journal
	b.state = sentinel.New(b.core)
	var last *daemon.Moment
	for _, e := range r.Facts {
		b.state.Evolve(e.At, e.Fact)
		if sentinel.Sentence(e.Fact) != "" {
			b.timeline = append(b.timeline, e)
		}
		last = &daemon.Moment{At: e.At, Wall: e.Wall, Boot: e.Boot, SinceBoot: e.SinceBoot}
	}
	if over := len(b.timeline) - timelineKept; over > 0 {
		b.timeline = append(b.timeline[:0:0], b.timeline[over:]...)
	}
	for _, k := range b.state.Keys {
		b.learn(k)
	}
	b.boot, b.clock = boot, daemon.NewClock(boot, b.machine.sinceBoot, b.machine.wall, last)
	b.judge(&r, ranBefore)
	return nil
}

// judge says what is wrong with a journal, and what that means: the first turn has it in
// the timeline, and what was forgotten stands on the page until somebody restarts the brain.
func (b *Brain) judge(r *journal.Restored, ranBefore bool) {
	path := filepath.Join(b.cfg.StateDir, journalFile)
	if r.Lost || len(r.Facts) == 0 && ranBefore {
		b.armingLost()
	}
	text := ""
	switch {
	case r.Aside != "":
		text = fmt.Sprintf("the journal was damaged, so that a new one was begun; the old one lies at %s. %s", r.Aside, b.forgotten(r))
	case r.Lost:
		text = fmt.Sprintf("the journal at %s cannot be read, or not the whole of it. %s", path, b.forgotten(r))
	case r.Trouble != nil:
		b.log.Error("the journal cannot be opened for writing, acting from memory", "facts", len(r.Facts), "err", r.Trouble)
		return
	case len(r.Facts) == 0 && ranBefore:
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
	what := "All that was decided before is forgotten"
	if n := len(r.Facts); n > 0 {
		what = "What was decided after " + r.Facts[n-1].Wall.In(b.zone("")).Format("2 January 2006 at 15:04:05 MST") + " is forgotten"
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
	if b.broken || ranBefore(b.cfg.StateDir) {
		return // or with the next start
	}
	if err := daemon.WriteFile(filepath.Join(b.cfg.StateDir, ranFile), nil, 0o600); err != nil {
		b.log.Error("a journal that is lost later will not be missed", "err", err)
	}
}

// learn takes a key that the journal knows, unless the configuration has another for the
// name, or has made a Pi of a node or the other way round since it was bound.
func (b *Brain) learn(k sentinel.KeyBound) {
	site, isPi := b.identities.Pis[k.Name]
	if isPi != (k.Role == sentinel.Pi) || isPi && site != k.Site || !slices.Contains(b.identities.Sites, k.Site) {
		return
	}
	if key := b.identities.Configured[k.Name]; key == "" || key == wire.PublicKey(k.Key) {
		b.identities.Learn(ingest.Known{Name: k.Name, Site: k.Site, Role: k.Role, Key: wire.PublicKey(k.Key), StableID: k.StableID})
	}
}
