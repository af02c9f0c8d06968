package ledger_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sentinel.home.arpa/pi-proxy/internal/brainwatch"
	"sentinel.home.arpa/pi-proxy/internal/ledger"
	"sentinel.home.arpa/shared/daemon"
	"sentinel.home.arpa/shared/wire"
)

// TestG3_HowTheBrainIsWatchedIsOnDisk, and whom to call; a broken file is said.
func TestG3_HowTheBrainIsWatchedIsOnDisk(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir)
	if w, err := l.Watched(); w != nil || err != nil {
		t.Errorf("of nothing: %+v, %v", w, err)
	}
	if c, err := l.Called(); c != nil || err != nil {
		t.Errorf("of nothing: %+v, %v", c, err)
	}
	w := &ledger.Watched{Moment: daemon.Moment{At: at, Wall: at, Boot: "b"}, State: brainwatch.State{
		Gone:    &brainwatch.Absence{Since: at, Cause: brainwatch.Down},
		Alarm:   &brainwatch.Alarm{At: at, Cause: brainwatch.Tailnet, Calls: []brainwatch.Call{{ID: "1/1", Contact: "Alex", At: at, SID: "CA1", Ended: true, EndedAt: at, Delivered: true}, {ID: "1/2", Contact: "Sam", At: at}}},
		Leaving: map[string]time.Time{"brain": at}}}
	c := &ledger.Called{Hash: "h", Calls: wire.Calls{Contacts: []wire.Contact{{Name: "Alex", Phone: "+15550100100"}}, Zone: "Asia/Taipei", Twilio: &wire.Twilio{AccountSID: "AC", Secret: "s"}}}
	if err := l.SetWatched(*w); err != nil {
		t.Fatal(err)
	}
	if err := l.SetCalled(*c); err != nil {
		t.Fatal(err)
	}
	again := open(t, dir)
	if got, err := again.Watched(); err != nil || !cmp.Equal(got, w) {
		t.Errorf("%v\n%s", err, cmp.Diff(w, got))
	}
	if got, err := again.Called(); err != nil || !cmp.Equal(got, c) {
		t.Errorf("%v\n%s", err, cmp.Diff(c, got))
	}
	for name, text := range map[string]string{"watch.json": "{}", "calls.json": "{"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := again.Watched(); err == nil {
		t.Error("a watch without its moment is taken")
	}
	if _, err := again.Called(); err == nil {
		t.Error("a broken list is taken")
	}
}
