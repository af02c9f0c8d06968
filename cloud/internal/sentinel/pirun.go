package sentinel

import (
	"maps"
	"slices"
	"time"

	"sentinel.home.arpa/shared/shutdown"
)

// KnownRun is the last run that a Pi told of, and when its first word came.
type KnownRun struct {
	Run shutdown.Status
	At  time.Time
}

// lastOf is the last run of a Pi; nil: it told of none. From before they were kept by Pi only
// one is known, by its holder.
func (s *Site) lastOf(pi string) *KnownRun {
	if k, ok := s.PiRuns[pi]; ok {
		return &k
	}
	if r := s.PiRun; s.PiRuns == nil && r != nil && (r.Epoch.Holder == pi || r.Epoch.Holder == "") {
		return &KnownRun{*r, s.PiRunAt}
	}
	return nil
}

func (d *decider) piReported(in PiReported) {
	site := d.site(in.Site)
	if last := site.piSaid[in.Pi]; in.Seq != 0 && in.Boot == last.boot && in.Seq < last.seq {
		return
	}
	if site.piSaid == nil {
		site.piSaid = map[string]claim{}
	}
	site.piSaid[in.Pi] = claim{boot: in.Boot, seq: in.Seq, at: d.now}
	if in.Run.State == shutdown.Advancing {
		site.piAdvanced = d.now
	}
	var before *shutdown.Status
	if known := site.lastOf(in.Pi); known != nil {
		before = &known.Run
	}
	if before != nil && before.ID == in.Run.ID && sameProgress(before, &in.Run) {
		return
	}
	seen := &PiRunSeen{Site: in.Site, Pi: in.Pi, Run: in.Run, Incident: d.storyOf(site, in.Pi, d.now)}
	seen.New = before == nil || before.ID != in.Run.ID
	seen.Ended = !in.Run.State.Open() && (seen.New || before.State.Open())
	seen.TakesUp = seen.New && d.takesUp(site, in)
	d.emit(seen)
	d.tellNotBack(before, in, seen.Incident)
}

func sameProgress(a, b *shutdown.Status) bool {
	return a.Epoch == b.Epoch && a.On == b.On && a.State == b.State && a.Stage == b.Stage && slices.Equal(a.Targets, b.Targets) && slices.Equal(a.Owed, b.Owed)
}

// evolvePiRun keeps a Pi's run. That of the site is the one whose first word came last, whichever
// Pi has spoken since: a Pi says its last run again and again. Of two Pis that tell of one outage
// the later epoch's is (rule G5).
func (s *State) evolvePiRun(at time.Time, f *PiRunSeen) {
	site, run := s.site(f.Site), f.Run
	known := site.lastOf(f.Pi)
	last := site.PiRun == nil || known != nil && known.Run.ID == site.PiRun.ID
	s.toldByPi(site, known, run)
	if known != nil && known.Run.ID == run.ID {
		at = known.At
	}
	if r := site.PiRun; site.PiRuns == nil {
		site.PiRuns = map[string]KnownRun{}
		if r != nil && r.Epoch.Holder != "" {
			site.PiRuns[r.Epoch.Holder] = KnownRun{*r, site.PiRunAt}
		}
	}
	site.PiRuns[f.Pi] = KnownRun{run, at}
	if last || !at.Before(site.PiRunAt) && !site.overtaken(run, at) {
		site.PiRun, site.PiRunAt = &run, at
	}
	if f.TakesUp {
		site.TakenBy = run.ID
	}
}

// toldTogether is how long after one Pi another may tell of its run of the same outage, when a brain
// hears them again.
const toldTogether = 10 * time.Minute

// overtaken reports whether a run that a Pi tells of since a moment was begun before that of another
// Pi which the brain has heard of shortly before.
func (s *Site) overtaken(run shutdown.Status, at time.Time) bool {
	return run.ID != s.PiRun.ID && run.Epoch.Compare(s.PiRun.Epoch) < 0 && at.Sub(s.PiRunAt) < toldTogether
}

// openPiRun is a run that a Pi holds, the last that began if it goes on; nil: none does.
func (s *Site) openPiRun() *KnownRun {
	if s.PiRun != nil && s.PiRun.State.Open() {
		return &KnownRun{*s.PiRun, s.PiRunAt}
	}
	for _, pi := range slices.Sorted(maps.Keys(s.PiRuns)) {
		if k := s.PiRuns[pi]; k.Run.State.Open() {
			return &k
		}
	}
	return nil
}

// piCounter is the highest of the epochs under which the site's Pis began their runs.
func (s *Site) piCounter() (c uint64) {
	if s.PiRun != nil {
		c = s.PiRun.Epoch.Counter
	}
	for _, k := range s.PiRuns {
		c = max(c, k.Run.Epoch.Counter)
	}
	return c
}

// piLostAfter is for how long a Pi must be silent for the run that it held to be taken for over. By then no
// battery lasts.
const piLostAfter = 24 * time.Hour

// livePiRun is the same, but for that of a Pi of which nothing was heard for so long.
func (d *decider) livePiRun(site *Site) *KnownRun {
	r := site.openPiRun()
	if r == nil {
		return nil
	}
	src := site.Sources[r.Run.Epoch.Holder]
	if src != nil && src.Condition != Up && d.due(d.heardBy(d.silentSince(site, src), piLostAfter)) {
		return nil
	}
	return r
}
