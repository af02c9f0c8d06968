package record

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"sentinel.home.arpa/shared/wire"
)

const boot3 = "33333333-3333-4333-8333-333333333333"

// reboot is the machine's: off for a while, and with a wall clock that went on by less.
func (m *machine) reboot(boot string, wallWentOn time.Duration) {
	m.boot, m.up, m.set, m.wall = boot, 30*time.Second, false, m.wall.Add(wallWentOn)
}

// unsure are those of a batch whose age may be more.
func unsure(b Batch) (n int) {
	for _, e := range b.Entries {
		if e.AtLeast {
			n++
		}
	}
	return n
}

// TestN7_AClockThatWasNeverSetIsNotTrusted, however long that lasts: entries of an earlier boot
// are as old as is certain, and say so.
func TestN7_AClockThatWasNeverSetIsNotTrusted(t *testing.T) {
	for name, wall := range map[string]time.Duration{"went on": time.Minute, "stood still": 0, "went back": -50 * time.Hour, "leapt": 20 * 365 * 24 * time.Hour} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t)
			m.set = false
			r := m.open()
			r.Note(node("pve1", false))
			m.pass(20 * time.Second)
			r.Note(node("pve1", true))
			m.write(r)
			m.reboot(boot2, wall)
			r = m.open()
			if b := m.owes(r); !b.Unsure {
				t.Error("it waits for no clock")
			}
			m.pass(clockSetBy - 30*time.Second)
			if b := m.owes(r, "pve1 false 5m20s", "pve1 true 5m0s"); unsure(b) != 2 {
				t.Errorf("%d are unsure", unsure(b))
			}
			m.set = true // it tells of this boot alone
			if b := m.owes(r, "pve1 false 5m20s", "pve1 true 5m0s"); unsure(b) != 2 || r.Pending() != 2 {
				t.Errorf("%d of %d are unsure", unsure(b), r.Pending())
			}
		})
	}
}

// TestN7_NothingIsThrownAwayForANegativeAge: of a clock that was set once and cannot be right
// now, what is certain counts.
func TestN7_NothingIsThrownAwayForANegativeAge(t *testing.T) {
	m := newMachine(t)
	r := m.open()
	r.Note(node("pve1", false))
	m.write(r)
	m.reboot(boot2, -time.Hour)
	m.set = true
	r = m.open()
	if b := m.owes(r, "pve1 false 30s"); unsure(b) != 1 || m.log.Len() > 0 {
		t.Errorf("%d are unsure; it says %s", unsure(b), m.log.String())
	}
}

// TestN7_AgesKeepTheirOrder over boots of which some knew the time: nothing is younger than
// what came after it, and what is certain adds up.
func TestN7_AgesKeepTheirOrder(t *testing.T) {
	m := newMachine(t)
	m.set = false
	r := m.open()
	r.Note(node("first", true))
	m.pass(time.Minute)
	r.Note(node("second", true))
	m.write(r)
	m.reboot(boot2, 0)
	m.set = true
	r = m.open()
	m.wall = m.wall.Add(24 * time.Hour) // as a time server says
	r.Note(node("third", true))
	m.pass(2 * time.Minute)
	r.Note(node("fourth", true))
	m.write(r)
	m.reboot(boot3, time.Hour)
	m.pass(clockSetBy)
	r = m.open() // by the clock of boot 2, which was set, and another that is behind
	b := m.owes(r, "first true 1h8m30s", "second true 1h7m30s", "third true 1h7m0s", "fourth true 1h5m0s")
	if unsure(b) != 4 {
		t.Errorf("%d are unsure", unsure(b))
	}
	m.set = true
	b = m.owes(r, "first true 1h8m30s", "second true 1h7m30s", "third true 1h7m0s", "fourth true 1h5m0s")
	if unsure(b) != 2 {
		t.Errorf("%d are unsure", unsure(b))
	}
}

// TestN7_ABootOfWhichNothingIsOwedPassedAllTheSame.
func TestN7_ABootOfWhichNothingIsOwedPassedAllTheSame(t *testing.T) {
	m := newMachine(t)
	m.set = false
	r := m.open()
	r.Note(node("pve1", true))
	m.write(r)
	m.reboot(boot2, 0)
	m.pass(time.Hour)
	r = m.open()
	r.Remark("told to stop")
	m.write(r)
	m.reboot(boot3, 0)
	m.pass(clockSetBy)
	m.owes(m.open(), "pve1 true 1h6m0s")
}

// TestN7_ABootKnowsLaterThatItsClockWasRight: it is set after all was noted, and a line says so.
func TestN7_ABootKnowsLaterThatItsClockWasRight(t *testing.T) {
	m := newMachine(t)
	m.set = false
	synctest.Test(t, func(t *testing.T) {
		r := m.open()
		set := false
		r.clockSet = func() bool { return set }
		r.Note(node("pve1", false))
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); _ = r.Run(ctx) }()
		time.Sleep(time.Minute)
		r.mu.Lock()
		set = true
		m.wall = m.wall.Add(3 * time.Hour)
		r.mu.Unlock()
		time.Sleep(time.Minute)
		cancel()
		<-done
		if r.last != 2 {
			t.Errorf("%d lines were written", r.last)
		}
		r.Close()
	})
	m.reboot(boot2, time.Hour)
	m.set = true
	if b := m.owes(m.open(), "pve1 false 1h0m0s"); unsure(b) != 0 {
		t.Error("it is unsure")
	}
}

// TestN7_AWallClockThatLeapsEndsNoFile: only what is certain does.
func TestN7_AWallClockThatLeapsEndsNoFile(t *testing.T) {
	m := newMachine(t)
	m.set = false
	r := m.open()
	r.Note(node("pve1", false))
	m.write(r)
	m.reboot(boot2, 30*365*24*time.Hour)
	r = m.open()
	r.Note(node("pve1", true))
	m.write(r)
	if _, err := os.Stat(m.path(oldFile)); err == nil {
		t.Error("a file ended with the leap")
	}
	m.pass(wire.RecordKept)
	r.Note(node("pve1", false))
	m.write(r)
	if _, err := os.Stat(m.path(oldFile)); err != nil {
		t.Errorf("no file ended after a week: %v", err)
	}
}

// TestN7_HowTheClockTellsThatItIsSet: by timesyncd's file, else by the kernel, else nobody knows.
func TestN7_HowTheClockTellsThatItIsSet(t *testing.T) {
	file := filepath.Join(t.TempDir(), "synchronized")
	for _, c := range []struct {
		name   string
		state  int
		status int32
		err    error
		want   bool
	}{
		{"a kernel that has heard nothing", unix.TIME_ERROR, unix.STA_UNSYNC, nil, false},
		{"one that says so by its status alone", 0, unix.STA_UNSYNC, nil, false},
		{"one that was set", 0, unix.STA_PLL, nil, true},
		{"a sandbox", 0, 0, unix.EPERM, false},
	} {
		ask := func(t *unix.Timex) (int, error) { t.Status = c.status; return c.state, c.err }
		if got := setBy(file, ask); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if !setBy(file, func(*unix.Timex) (int, error) { return 0, errors.New("asked in vain") }) {
		t.Error("timesyncd's word does not count")
	}
}

// TestR3_NothingIsLoggedWithTheLockHeld: a log that hangs holds up nobody who notes.
func TestR3_NothingIsLoggedWithTheLockHeld(t *testing.T) {
	m := newMachine(t)
	r := m.open()
	said := 0
	r.log = slog.New(logFunc(func(text string) {
		said++
		if !r.mu.TryLock() {
			t.Errorf("locked while it says %q", text)
			return
		}
		r.mu.Unlock()
	}))
	r.Note(node("pve1", false))
	m.pass(wire.RecordKept + time.Minute)
	r.Owed()
	for i := range 22_000 {
		r.Note(onBattery(i))
	}
	if said != 2 {
		t.Errorf("it says %d things", said)
	}
}

// logFunc is a log's handler.
type logFunc func(text string)

func (logFunc) Enabled(context.Context, slog.Level) bool { return true }
func (f logFunc) Handle(_ context.Context, r slog.Record) error {
	f(r.Message)
	return nil
}
func (f logFunc) WithAttrs([]slog.Attr) slog.Handler { return f }
func (f logFunc) WithGroup(string) slog.Handler      { return f }
