package brain

import (
	"database/sql"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sentinel.home.arpa/cloud/internal/sentinel"
	"sentinel.home.arpa/shared/config"
)

// still is a brain whose loop does not run: its turns are the test's, and so is its time.
type still struct {
	*Brain
	t     *testing.T
	since *time.Duration
	log   *strings.Builder
}

func stillBrain(t *testing.T, cfg Config, since *time.Duration) *still {
	t.Helper()
	m := thisMachine()
	begun := time.Now()
	m.sinceBoot = func() time.Duration { return time.Hour + *since }
	m.wall = func() time.Time { return begun.Add(*since) }
	said := new(strings.Builder)
	b, err := newBrain(t.Context(), cfg, slog.New(slog.NewTextHandler(said, nil)), m)
	if err != nil {
		t.Fatal(err)
	}
	return &still{b, t, since, said}
}

func stillConfig(t *testing.T) Config {
	cfg := DefaultConfig()
	cfg.StateDir, cfg.Listen = t.TempDir(), "127.0.0.1:0"
	cfg.Sites = []Site{{Name: "home"}}
	return cfg
}

// facts lets so many be written, each a notice.
func (s *still) facts(n int) {
	s.t.Helper()
	var subs []submission
	for i := range n {
		subs = append(subs, submission{in: sentinel.Bound{KeyBound: sentinel.KeyBound{Name: fmt.Sprintf("n%d", i%7), Site: "home", Role: sentinel.Node, Key: fmt.Sprintf("%d/%d", s.journal.Last(), i)}}})
	}
	before := s.journal.Last()
	s.turn(s.t.Context(), subs)
	if wrote := s.journal.Last() - before; wrote != int64(n) {
		s.t.Fatalf("%d facts were written, not %d", wrote, n)
	}
}

// archived does what is due, to its end, and gives the place of the newest snapshot.
func (s *still) archived() int64 {
	s.archives(s.t.Context())
	s.wg.Wait()
	s.archives(s.t.Context())
	s.wg.Wait()
	return s.archive.n
}

// counted is a counter of the metrics.
func (s *still) counted(name string) float64 {
	s.t.Helper()
	all, err := s.metrics.registry.Gather()
	if err != nil {
		s.t.Fatal(err)
	}
	for _, m := range all {
		if m.GetName() == name {
			return m.GetMetric()[0].GetCounter().GetValue()
		}
	}
	s.t.Fatalf("no %s", name)
	return 0
}

// TestR3_SnapshotsAreTaken after 5,000 facts, once a day if there is a new fact, and at a
// clean stop; and a start goes on from them.
func TestR3_SnapshotsAreTaken(t *testing.T) {
	cfg, since := stillConfig(t), new(time.Duration)
	s := stillBrain(t, cfg, since)
	s.facts(snapshotEach - 1)
	if n := s.archived(); n != 0 {
		t.Errorf("a snapshot of %d facts", n)
	}
	s.facts(1)
	if n := s.archived(); n != snapshotEach {
		t.Errorf("the snapshot is of %d facts", n)
	}
	*since += daily
	if n := s.archived(); n != snapshotEach {
		t.Errorf("a snapshot of %d facts though nothing is new", n)
	}
	s.facts(1)
	if n := s.archived(); n != snapshotEach+1 {
		t.Errorf("after a day the snapshot is of %d facts", n)
	}
	s.facts(3)
	want, err := s.state.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil { // which is no clean stop
		t.Fatal(err)
	}
	again := stillBrain(t, cfg, since)
	got, err := again.state.Snapshot()
	if err != nil || string(got) != string(want) || again.archive.n != snapshotEach+1 || len(again.timeline) != timelineKept {
		t.Errorf("from %d, with %d entries: %v\n%s\n%s", again.archive.n, len(again.timeline), err, want, got)
	}
	again.lastSnapshot(t.Context())
	if again.archive.n != snapshotEach+4 {
		t.Errorf("at the stop the snapshot is of %d facts", again.archive.n)
	}
	if err := again.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestR3_ASnapshotThatFailsHoldsUpNothing: it is said once, counted, and tried again later.
func TestR3_ASnapshotThatFailsHoldsUpNothing(t *testing.T) {
	cfg, since := stillConfig(t), new(time.Duration)
	s := stillBrain(t, cfg, since)
	defer s.Close()
	db, err := sql.Open("sqlite", "file:"+filepath.Join(cfg.StateDir, journalFile))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec(`CREATE TRIGGER no BEFORE INSERT ON snapshots BEGIN SELECT RAISE(ABORT, 'no room'); END`); err != nil {
		t.Fatal(err)
	}
	s.facts(snapshotEach)
	for i := range 3 {
		if n := s.archived(); n != 0 || s.counted("sentinel_journal_archive_errors_total") != float64(i+1) {
			t.Errorf("try %d: %d, %v errors", i, n, s.counted("sentinel_journal_archive_errors_total"))
		}
		s.facts(1)
		wait := archiveAgain << i
		*since += wait - time.Second
		if s.archived(); s.counted("sentinel_journal_archive_errors_total") != float64(i+1) {
			t.Errorf("it is tried again before %s", wait)
		}
		*since += time.Second
	}
	if said := strings.Count(s.log.String(), "the journal takes no snapshot"); said != 1 || s.broken || s.counted("sentinel_journal_errors_total") > 0 {
		t.Errorf("said %d times, broken %t", said, s.broken)
	}
	if _, err := db.Exec(`DROP TRIGGER no`); err != nil {
		t.Fatal(err)
	}
	if n := s.archived(); n != snapshotEach+3 {
		t.Errorf("then the snapshot is of %d facts", n)
	}
}

// TestR3_OldFactsAreRemoved once a day, when they are older than journal.keep.
func TestR3_OldFactsAreRemoved(t *testing.T) {
	cfg, since := stillConfig(t), new(time.Duration)
	cfg.Journal.Keep = config.Duration(7 * daily)
	s := stillBrain(t, cfg, since)
	defer s.Close()
	count := func() (n int) {
		db, err := sql.Open("sqlite", "file:"+filepath.Join(cfg.StateDir, journalFile)+"?mode=ro")
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		if err := db.QueryRow(`SELECT count(*) FROM facts`).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	for day := range 12 {
		s.facts(100)
		s.archived()
		if want := 100 * min(day+1, 8); count() > want+100 || day < 7 && count() != want {
			t.Errorf("on day %d there are %d facts", day, count())
		}
		*since += daily
	}
	if n := count(); n > 900 || !strings.Contains(s.log.String(), "old facts are removed") {
		t.Errorf("%d facts are left", n)
	}
}

// TestR3_OldFactsThatStayAreTriedAgain soon, then more rarely, and it is said once, whatever
// becomes of the snapshots meanwhile.
func TestR3_OldFactsThatStayAreTriedAgain(t *testing.T) {
	cfg, since := stillConfig(t), new(time.Duration)
	cfg.Journal.Keep = config.Duration(7 * daily)
	s := stillBrain(t, cfg, since)
	defer s.Close()
	db, err := sql.Open("sqlite", "file:"+filepath.Join(cfg.StateDir, journalFile))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec(`CREATE TRIGGER no BEFORE DELETE ON facts BEGIN SELECT RAISE(ABORT, 'no room'); END`); err != nil {
		t.Fatal(err)
	}
	failed := func() float64 { return s.counted("sentinel_journal_archive_errors_total") }
	for range 9 {
		s.facts(100)
		s.archived()
		*since += daily
	}
	s.archived()
	before := failed()
	if before == 0 {
		t.Fatal("nothing was to be removed")
	}
	for i := range 3 {
		wait := s.archive.prunes.again.Sub(s.clock.Now())
		if wait < archiveAgain || wait > archiveRarest {
			t.Errorf("it is tried again after %s", wait)
		}
		*since += wait - time.Second
		if s.archived(); failed() != before+float64(i) {
			t.Errorf("try %d is made before %s", i, wait)
		}
		*since += time.Second
		if s.archived(); failed() != before+float64(i+1) {
			t.Errorf("try %d is not made after %s", i, wait)
		}
	}
	if said := strings.Count(s.log.String(), "the journal lets no old facts go"); said != 1 {
		t.Errorf("said %d times", said)
	}
	if _, err := db.Exec(`DROP TRIGGER no`); err != nil {
		t.Fatal(err)
	}
	*since += archiveRarest
	s.archived()
	if !strings.Contains(s.log.String(), "old facts are removed") || failed() != before+3 {
		t.Errorf("after the disk is mended nothing is removed, %v failures", failed())
	}
}

// TestR3_TriesGrowRarer from minutes to hours.
func TestR3_TriesGrowRarer(t *testing.T) {
	var a tries
	now := time.Now()
	for i, want := range []time.Duration{5, 10, 20, 40, 80, 120, 120, 120, 120, 120} {
		if first := a.fails(now); first != (i == 0) || a.again.Sub(now) != want*time.Minute {
			t.Errorf("failure %d: first %t, again after %s", i, first, a.again.Sub(now))
		}
	}
}

// TestR3_NoSnapshotOfWhatWasNotRead: a state that lacks facts which the journal may have does
// not take their place.
func TestR3_NoSnapshotOfWhatWasNotRead(t *testing.T) {
	cfg, since := stillConfig(t), new(time.Duration)
	first := stillBrain(t, cfg, since)
	first.facts(20)
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", "file:"+filepath.Join(cfg.StateDir, journalFile)+"?_pragma=locking_mode(EXCLUSIVE)")
	if err != nil {
		t.Fatal(err)
	}
	db.SetMaxOpenConns(1)
	if _, err := db.Exec(`BEGIN EXCLUSIVE; UPDATE facts SET n = n; COMMIT`); err != nil {
		t.Fatal(err)
	}
	s := stillBrain(t, cfg, since)
	defer s.Close()
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if len(s.state.Keys) > 0 || !s.archive.off {
		t.Fatalf("it was read though another program holds it: %d keys", len(s.state.Keys))
	}
	s.turn(t.Context(), []submission{{in: sentinel.Arm{Site: "home", By: "x"}}})
	*since += 2 * daily
	s.archived()
	s.lastSnapshot(t.Context())
	if err := s.journal.Close(); err != nil {
		t.Fatal(err)
	}
	again := stillBrainAfter(t, s, cfg)
	if len(again.state.Keys) != 7 || !again.state.Sites["home"].Armed {
		t.Errorf("%d keys, armed %t", len(again.state.Keys), again.state.Sites["home"].Armed)
	}
}

// stillBrainAfter is the next one, on the same directory.
func stillBrainAfter(t *testing.T, s *still, cfg Config) *still {
	t.Helper()
	if err := s.lock.Close(); err != nil {
		t.Fatal(err)
	}
	again := stillBrain(t, cfg, s.since)
	t.Cleanup(func() { _ = again.Close() })
	return again
}
