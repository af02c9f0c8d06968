package ledger_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"sentinel.home.arpa/pi-proxy/internal/guardian"
	"sentinel.home.arpa/shared/daemon"
	"sentinel.home.arpa/shared/shutdown"
)

// TestS9_FlickersWithoutARunFillNoDisk: the file is shortened to what is still needed, says
// when the last step was, and goes on; a run's steps stay.
func TestS9_FlickersWithoutARunFillNoDisk(t *testing.T) {
	for name, run := range map[string][]guardian.Event{"no run": nil, "after a run": steps(t)} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "run.jsonl")
			l := open(t, dir)
			now := time.Hour
			l.Clock = daemon.NewClock("a", func() time.Duration { return now }, func() time.Time { return at }, nil)
			if len(run) > 0 {
				appended(t, l, run...)
			}
			var es []guardian.Event
			for i := range 2000 {
				now += time.Second
				es = []guardian.Event{
					{Event: shutdown.Event{Type: guardian.OnBattery, Target: "ups", At: at.Add(time.Duration(i))}},
					{Event: shutdown.Event{Type: guardian.OnMains, Target: "ups", At: at.Add(time.Duration(i))}},
				}
				appended(t, l, es...)
				if info, err := os.Stat(path); err != nil || info.Size() > 300<<10 {
					t.Fatalf("after %d flickers the file is %v, %v", i, info, err)
				}
			}
			again := open(t, dir)
			got, log := read(t, again)
			if log != "" || len(got) < len(run)+1 || again.Last() == nil || again.Last().SinceBoot != now {
				t.Fatalf("%d steps, the last at %+v; it says %s", len(got), again.Last(), log)
			}
			all, few := guardian.New("pi"), guardian.New("pi")
			for _, e := range append(run, es...) {
				all.Restore(e)
			}
			for _, e := range got {
				few.Restore(e)
			}
			if len(few.Out()) > 0 || few.Epoch != all.Epoch || (few.Run == nil) != (all.Run == nil) {
				t.Errorf("restored are %+v and %v", few.Epoch, few.Out())
			}
			if few.Run != nil && few.Run.Stopped != all.Run.Stopped {
				t.Errorf("the run is %q, want %q", few.Run.Stopped, all.Run.Stopped)
			}
			appended(t, again, es[0]) // and it goes on from there
			if more, _ := read(t, open(t, dir)); len(more) != len(got)+1 {
				t.Errorf("%d steps, and with one more %d", len(got), len(more))
			}
		})
	}
}
