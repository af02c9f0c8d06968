package systemd

import (
	"context"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"sentinel.home.arpa/shared/sim/logindsim"
	"sentinel.home.arpa/shared/wire"
)

// TestA1_APoweroffThatWasOrderedIsAnnouncedLikeAnyOther: logind is asked to power off, waits
// for the announcement, and only then goes on.
func TestA1_APoweroffThatWasOrderedIsAnnouncedLikeAnyOther(t *testing.T) {
	off := make(chan time.Time, 1)
	machine, err := logindsim.Start(logindsim.Config{Path: filepath.Join(t.TempDir(), "bus"), Off: func(kind string) {
		if kind != "poweroff" {
			t.Errorf("kind %s", kind)
		}
		off <- time.Now()
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(machine.Close)
	var mu sync.Mutex
	var said []wire.ShutdownKind
	var done time.Time
	var log lines
	w := NewWatcher(machine.Address(), func(_ context.Context, kind wire.ShutdownKind) {
		time.Sleep(100 * time.Millisecond) // the announcement takes a moment
		mu.Lock()
		defer mu.Unlock()
		said = append(said, kind)
		if len(said) == 1 {
			done = time.Now()
		}
	}, slog.New(slog.NewTextHandler(&log, nil)))
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-ended })
	eventually(t, "its state", func() bool { return w.State() == "running" })
	eventually(t, "the lock", func() bool { return log.String() != "" })
	d := Detector{Bus: machine.Address()}
	if err := d.PowerOff(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := d.PowerOff(t.Context()); err == nil {
		t.Error("a second shutdown begins")
	}
	select {
	case at := <-off:
		mu.Lock()
		defer mu.Unlock()
		if len(said) == 0 || slices.ContainsFunc(said, func(k wire.ShutdownKind) bool { return k != wire.Poweroff }) || at.Before(done) {
			t.Errorf("said %v at %v, off at %v", said, done, at)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("never off; it says: ", log.String())
	}
}

// TestPowerOffWithoutABus: nothing happens, and the error says why.
func TestPowerOffWithoutABus(t *testing.T) {
	if err := (Detector{Bus: "unix:path=/nonexistent/bus"}).PowerOff(t.Context()); err == nil {
		t.Error("powered off by nobody")
	}
}
