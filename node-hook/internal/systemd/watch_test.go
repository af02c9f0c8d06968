package systemd

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"github.com/godbus/dbus/v5"

	"sentinel.home.arpa/shared/wire"
)

// watch runs a Watcher and gives the machine its log.
type watch struct {
	w    *Watcher
	t    *testing.T
	stop func()

	mu   sync.Mutex
	said []wire.ShutdownKind
	hold chan struct{} // announcing waits for it, if not nil
}

func (m *machine) watch(b *bus) *watch {
	m.t.Helper()
	s := &watch{t: m.t}
	s.w = NewWatcher(b.address, s.say, slog.New(slog.NewTextHandler(&m.log, nil)))
	ctx, cancel := context.WithCancel(m.t.Context())
	done := make(chan error, 1)
	go func() { done <- s.w.Run(ctx) }()
	s.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			m.t.Error(err)
		}
	})
	m.t.Cleanup(s.stop)
	return s
}

func (s *watch) say(ctx context.Context, kind wire.ShutdownKind) {
	s.mu.Lock()
	s.said = append(s.said, kind)
	hold := s.hold
	s.mu.Unlock()
	if hold != nil {
		select {
		case <-hold:
		case <-ctx.Done():
		}
	}
}

// await waits until exactly these kinds were said; repetitions in a row count once, since
// the announcer folds them.
func (s *watch) await(want ...wire.ShutdownKind) {
	s.t.Helper()
	eventually(s.t, fmt.Sprint(want), func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		var said []wire.ShutdownKind
		for _, k := range s.said {
			if len(said) == 0 || said[len(said)-1] != k {
				said = append(said, k)
			}
		}
		return fmt.Sprint(said) == fmt.Sprint(want)
	})
}

// settle returns once all signals before were handled: they come in order, and the second
// of two more makes the watcher ask for the jobs when it is done with the first.
func (m *machine) settle() {
	m.t.Helper()
	for range 2 {
		asked := make(chan struct{}, 1)
		m.set(func() { m.asked = asked })
		m.emit(systemdPath, systemdManager+".JobNew", uint32(9), dbus.ObjectPath("/x"), "halt.target")
		select {
		case <-asked:
		case <-m.t.Context().Done():
			m.t.Fatal("the watcher does not look")
		}
	}
}

// TestA1_LockIsHeldUntilAnnounced: the shutdown waits for the announcement, whose kind is
// what logind has scheduled, and goes on after it.
func TestA1_LockIsHeldUntilAnnounced(t *testing.T) {
	for _, kind := range kinds() {
		t.Run(string(kind), func(t *testing.T) {
			b := startBus(t)
			m := startMachine(t, b)
			s := m.watch(b)
			s.hold = make(chan struct{})
			lock := m.held(1)
			gone := make(chan struct{})
			go func() { defer close(gone); released(t, lock) }()
			m.set(func() { m.scheduled = string(kind) })
			m.prepare(true)
			s.await(kind)
			select {
			case <-gone:
				t.Error("the lock was let go before the announcement ended")
			default:
			}
			close(s.hold)
			<-gone
		})
	}
}

// TestA1_MetadataOf257: the newer signal comes first and names the kind too.
func TestA1_MetadataOf257(t *testing.T) {
	b := startBus(t)
	m := startMachine(t, b)
	s := m.watch(b)
	lock := m.held(1)
	m.set(func() { m.preparing = true }) // and ScheduledShutdown stays empty
	m.emit(logindPath, logindManager+".PrepareForShutdownWithMetadata", true, map[string]dbus.Variant{"type": dbus.MakeVariant("reboot")})
	s.await(wire.Reboot)
	released(t, lock)
	m.prepare(true)
	m.settle()
	s.await(wire.Reboot)
}

// TestA1_LogindThatAnswersNothing: then its signals have to do, and the lock is let go
// also where they do not tell the kind; the job does.
func TestA1_LogindThatAnswersNothing(t *testing.T) {
	b := startBus(t)
	m := startMachine(t, b)
	s := m.watch(b)
	lock := m.held(1)
	m.set(func() { m.terse = true })
	m.prepare(true)
	released(t, lock)
	s.await()
	m.job("kexec.target")
	s.await(wire.Kexec)
}

// TestScheduledIsAnnouncedWhenDue: "shutdown -h +60" announces nothing yet.
func TestScheduledIsAnnouncedWhenDue(t *testing.T) {
	b := startBus(t)
	m := startMachine(t, b)
	s := m.watch(b)
	lock := m.held(1)
	m.set(func() { m.scheduled = "poweroff" })
	m.settle()
	s.await()
	m.prepare(true)
	s.await(wire.Poweroff)
	released(t, lock)
}

// TestA5_CancelledTakesItBackAndLocksAgain.
func TestA5_CancelledTakesItBackAndLocksAgain(t *testing.T) {
	b := startBus(t)
	m := startMachine(t, b)
	s := m.watch(b)
	first := m.held(1)
	m.set(func() { m.scheduled = "poweroff" })
	m.prepare(true)
	released(t, first)
	m.set(func() { m.scheduled = "" })
	m.prepare(false)
	second := m.held(2)
	s.await(wire.Poweroff, wire.Cancelled)
	m.set(func() { m.scheduled = "reboot" })
	m.prepare(true)
	s.await(wire.Poweroff, wire.Cancelled, wire.Reboot)
	released(t, second)
}

// TestA1_JobsWithoutLogind: Ctrl-Alt-Del and "systemctl start poweroff.target" pass logind
// by. Stop jobs and other targets mean nothing; a cancelled job is taken back.
func TestA1_JobsWithoutLogind(t *testing.T) {
	b := startBus(t)
	m := startMachine(t, b)
	s := m.watch(b)
	first := m.held(1)
	m.job("multi-user.target")
	m.set(func() { m.jobs = []job{jobOf("poweroff.target", "stop")} })
	m.settle()
	s.await()
	m.job("poweroff.target")
	s.await(wire.Poweroff)
	released(t, first)
	m.set(func() { m.jobs = nil })
	j := jobOf("poweroff.target", "start")
	m.emit(systemdPath, systemdManager+".JobRemoved", j.ID, j.Path, j.Unit, "canceled")
	m.held(2)
	s.await(wire.Poweroff, wire.Cancelled)
}

// TestForgedSignalsMeanNothing: any local user can send them, so logind is asked.
func TestForgedSignalsMeanNothing(t *testing.T) {
	b := startBus(t)
	m := startMachine(t, b)
	s := m.watch(b)
	m.held(1)
	evil, err := dbus.Connect(b.address)
	if err != nil {
		t.Fatal(err)
	}
	defer evil.Close()
	m.set(func() { m.scheduled = "poweroff" })
	for name, values := range map[string][]any{
		"PrepareForShutdown":             {true},
		"PrepareForShutdownWithMetadata": {true, map[string]dbus.Variant{"type": dbus.MakeVariant("poweroff")}},
	} {
		if err := evil.Emit(logindPath, logindManager+"."+name, values...); err != nil {
			t.Fatal(err)
		}
		m.emit(logindPath, logindManager+"."+name, values...) // even under logind's name
	}
	m.emit(logindPath, logindManager+".PrepareForShutdown")
	m.emit(logindPath, logindManager+".PrepareForShutdown", "true")
	m.emit(systemdPath, systemdManager+".JobNew", "short")
	m.settle()
	s.await()
}

// TestBusRestart: the connection is made again, subscribed and locked again, and what
// happened meanwhile is found out.
func TestBusRestart(t *testing.T) {
	b := startBus(t)
	m := startMachine(t, b)
	s := m.watch(b)
	first := m.held(1)
	b.stop()
	eventually(t, "a word about the lost bus", func() bool { return strings.Contains(m.log.String(), "can't be seen coming") })
	b.start()
	m.attach(b)
	second := m.held(2)
	released(t, first)
	m.set(func() {
		if m.subscribe != 2 {
			t.Errorf("subscribed %d times", m.subscribe)
		}
	})
	m.set(func() { m.scheduled = "halt" })
	m.prepare(true)
	s.await(wire.Halt)
	released(t, second)
	b.stop() // and comes back when the shutdown is off: nobody said so
	m.set(func() { m.preparing = false })
	b.start()
	m.attach(b)
	m.held(3)
	s.await(wire.Halt, wire.Cancelled)
}

// TestBusFailingLateTakesNothingBack: in the last seconds systemd may not answer.
func TestBusFailingLateTakesNothingBack(t *testing.T) {
	b := startBus(t)
	m := startMachine(t, b)
	s := m.watch(b)
	lock := m.held(1)
	m.job("reboot.target")
	released(t, lock)
	m.set(func() { m.broken, m.jobs = true, nil })
	m.emit(systemdPath, systemdManager+".JobRemoved", uint32(7), dbus.ObjectPath("/x"), "reboot.target", "canceled")
	eventually(t, "a word about it", func() bool { return strings.Contains(m.log.String(), "does not say") })
	s.await(wire.Reboot)
}

func TestStartInTheMidstOfAShutdown(t *testing.T) {
	b := startBus(t)
	m := startMachine(t, b)
	m.set(func() { m.preparing, m.scheduled = true, "poweroff" })
	s := m.watch(b)
	s.await(wire.Poweroff)
}

func TestState(t *testing.T) {
	b := startBus(t)
	m := startMachine(t, b)
	s := m.watch(b)
	eventually(t, "running", func() bool { return s.w.State() == "running" })
	m.job("halt.target")
	eventually(t, "stopping", func() bool { return s.w.State() == "stopping" })
	b.stop()
	eventually(t, "unknown", func() bool { return s.w.State() == "" })
}

// TestWithoutABus it is said once.
func TestWithoutABus(t *testing.T) {
	m := &machine{t: t}
	s := m.watch(&bus{address: noBus})
	eventually(t, "a word about it", func() bool { return strings.Contains(m.log.String(), "can't be seen coming") })
	if s.w.State() != "" {
		t.Error("a state from nowhere")
	}
	s.stop()
	if strings.Count(m.log.String(), "\n") != 1 {
		t.Error(m.log.String())
	}
}

func TestRunEndsWithTheLockLetGo(t *testing.T) {
	b := startBus(t)
	m := startMachine(t, b)
	s := m.watch(b)
	lock := m.held(1)
	s.stop()
	released(t, lock)
	s.await()
}
