package systemd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/godbus/dbus/v5"

	"sentinel.home.arpa/shared/wire"
)

const (
	retryFirst = 200 * time.Millisecond // after the bus was lost
	retryMost  = 30 * time.Second
	stateEvery = time.Second
	stateStale = 5 * time.Second
)

var errBusLost = errors.New("the connection to the system bus was lost")

// Watcher holds shutdowns up until they are announced, and knows systemd's state. Run must
// be called once.
type Watcher struct {
	bus string
	// say announces a kind and returns when the shutdown may go on; Cancelled after it
	// turned out not to happen.
	say func(ctx context.Context, kind wire.ShutdownKind)
	log *slog.Logger

	lock     *os.File // logind waits while it is open; nil if not held
	down     bool     // a shutdown was seen, and not its end
	complain string   // what was complained of last
	state    atomic.Pointer[reading]
}

// reading is a state with its time.
type reading struct {
	state string
	at    time.Time
}

// NewWatcher watches the machine's system bus, or the one at address if it is not empty.
func NewWatcher(address string, say func(ctx context.Context, kind wire.ShutdownKind), log *slog.Logger) *Watcher {
	if address == "" {
		address = systemBus()
	}
	return &Watcher{bus: address, say: say, log: log}
}

// State is systemd's state (running, degraded, stopping...), "" if it is not known for the
// last 5 s.
func (w *Watcher) State() string {
	r := w.state.Load()
	if r == nil || time.Since(r.at) > stateStale {
		return ""
	}
	return r.state
}

// Run watches until ctx ends. Without a bus it says so once and keeps looking for one.
func (w *Watcher) Run(ctx context.Context) error {
	defer w.release()
	wait := retryFirst
	for {
		began := time.Now()
		err := w.session(ctx)
		if ctx.Err() != nil {
			return nil
		}
		w.warn("shutdowns of this machine can't be seen coming; it is tried again", err)
		if time.Since(began) > retryMost {
			wait = retryFirst
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
		wait = min(2*wait, retryMost)
	}
}

// warn logs each trouble once, until another one comes or all is well.
func (w *Watcher) warn(msg string, err error) {
	if text := msg + err.Error(); text != w.complain {
		w.complain = text
		w.log.Warn(msg, "err", err)
	}
}

// hint is what signals said since the last look, in case logind itself says less.
type hint struct {
	preparing bool
	kind      wire.ShutdownKind
}

// session watches over one connection, and returns when it ends.
func (w *Watcher) session(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	conn, err := connect(ctx, w.bus, false)
	if err != nil {
		return err
	}
	defer conn.Close()
	signals := make(chan *dbus.Signal, 16)
	conn.Signal(signals)
	if err := subscribe(ctx, conn); err != nil {
		return err
	}
	var wg sync.WaitGroup
	wg.Go(func() { w.pollState(ctx, conn) })
	defer wg.Wait()
	defer cancel()
	var h hint
	w.look(ctx, conn, h, true) // a shutdown may have begun, or ended, before
	retake := time.NewTicker(retryMost)
	defer retake.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case s, ok := <-signals:
			if !ok {
				return errBusLost
			}
			if h.take(s) {
				w.look(ctx, conn, h, false)
			}
		case <-retake.C:
			if w.lock == nil && !w.down {
				w.take(ctx, conn)
			}
		}
	}
}

// subscribe asks for the signals that may mean a shutdown.
func subscribe(ctx context.Context, conn *dbus.Conn) error {
	if err := call(ctx, conn.Object(systemdName, systemdPath), systemdManager+".Subscribe", nil); err != nil {
		return fmt.Errorf("hear of systemd's jobs: %w", err)
	}
	match := func(options ...dbus.MatchOption) error {
		ctx, cancel := context.WithTimeout(ctx, callTimeout)
		defer cancel()
		if err := conn.AddMatchSignalContext(ctx, options...); err != nil {
			return fmt.Errorf("match signals: %w", err)
		}
		return nil
	}
	var errs []error
	for _, member := range []string{"PrepareForShutdown", "PrepareForShutdownWithMetadata"} {
		errs = append(errs, match(dbus.WithMatchSender(logindName), dbus.WithMatchObjectPath(logindPath),
			dbus.WithMatchInterface(logindManager), dbus.WithMatchMember(member)))
	}
	for _, member := range []string{"JobNew", "JobRemoved"} {
		for _, k := range kinds() {
			errs = append(errs, match(dbus.WithMatchSender(systemdName), dbus.WithMatchObjectPath(systemdPath),
				dbus.WithMatchInterface(systemdManager), dbus.WithMatchMember(member), dbus.WithMatchArg(2, string(k)+".target")))
		}
	}
	return errors.Join(errs...)
}

// take reads a signal and tells whether to look.
func (h *hint) take(s *dbus.Signal) bool {
	switch s.Name {
	case logindManager + ".PrepareForShutdown", logindManager + ".PrepareForShutdownWithMetadata":
		if len(s.Body) == 0 {
			return false
		}
		h.preparing, _ = s.Body[0].(bool)
		if !h.preparing {
			h.kind = ""
		}
		if len(s.Body) > 1 {
			metadata, _ := s.Body[1].(map[string]dbus.Variant)
			word, _ := metadata["type"].Value().(string)
			h.kind, _ = kindOfWord(word)
		}
		return true
	case systemdManager + ".JobNew", systemdManager + ".JobRemoved":
		if len(s.Body) < 3 {
			return false
		}
		unit, _ := s.Body[2].(string)
		_, ok := kindOfUnit(unit)
		// A target that was reached is the end of the shutdown, not of the danger.
		reached := len(s.Body) > 3 && s.Body[3] == any("done")
		return ok && !reached
	}
	return false
}

// look asks logind and systemd whether the machine goes down, and acts on it. renew takes
// the lock anew where the old one may have been lost.
func (w *Watcher) look(ctx context.Context, conn *dbus.Conn, h hint, renew bool) {
	preparing, kind := prepared(ctx, conn, h)
	jobKind, job, err := jobKind(ctx, conn)
	switch {
	case kind == "" && job:
		kind = jobKind
	case err != nil && !preparing:
		// The bus fails, as it does late in a shutdown: nothing is taken back for that.
		w.warn("systemd does not say whether a shutdown is under way", err)
		return
	}
	switch {
	case kind != "":
		w.down = true
		w.say(ctx, kind)
		w.release()
	case preparing:
		// Its job will tell the kind, and that comes when the lock is gone.
		w.down = true
		w.log.Warn("a shutdown is under way whose kind logind does not tell")
		w.release()
	default:
		if w.down {
			w.down = false
			w.say(ctx, wire.Cancelled)
		}
		if w.lock == nil || renew {
			w.take(ctx, conn)
		}
	}
}

// prepared asks logind whether it prepares a shutdown, and which. What is scheduled for
// later is none yet.
func prepared(ctx context.Context, conn *dbus.Conn, h hint) (bool, wire.ShutdownKind) {
	logind := conn.Object(logindName, logindPath)
	var preparing bool
	if err := property(ctx, logind, logindManager, "PreparingForShutdown", &preparing); err != nil {
		preparing = h.preparing
	}
	if !preparing {
		return false, ""
	}
	var scheduled struct {
		Kind string
		At   uint64
	}
	if err := property(ctx, logind, logindManager, "ScheduledShutdown", &scheduled); err == nil {
		if kind, ok := kindOfWord(scheduled.Kind); ok {
			return true, kind
		}
	}
	return true, h.kind
}

// take has logind wait for this program before each shutdown, as long as its
// InhibitDelayMaxSec grants. A lock that is held is replaced, so that there is always one.
func (w *Watcher) take(ctx context.Context, conn *dbus.Conn) {
	var fd dbus.UnixFD
	err := call(ctx, conn.Object(logindName, logindPath), logindManager+".Inhibit", &fd,
		"shutdown", Holder, "Tells the sentinel that this machine goes down on purpose", "delay")
	if err != nil {
		w.warn("logind does not wait for the announcement of a shutdown", err)
		return
	}
	w.release()
	w.lock = os.NewFile(uintptr(fd), "inhibitor lock")
	w.complain = ""
	w.log.Info("watching for shutdowns of this machine")
}

// release lets a shutdown go on.
func (w *Watcher) release() {
	if w.lock == nil {
		return
	}
	if err := w.lock.Close(); err != nil {
		w.log.Error("the lock on shutdowns could not be released", "err", err)
	}
	w.lock = nil
}

// pollState keeps State fresh.
func (w *Watcher) pollState(ctx context.Context, conn *dbus.Conn) {
	manager := conn.Object(systemdName, systemdPath)
	tick := time.NewTicker(stateEvery)
	defer tick.Stop()
	for {
		var state string
		if property(ctx, manager, systemdManager, "SystemState", &state) == nil {
			w.state.Store(&reading{state, time.Now()})
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
