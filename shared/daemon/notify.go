package daemon

import (
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	systemd "github.com/coreos/go-systemd/v22/daemon"
)

// Notifier tells systemd how the program is (sd_notify(3)). Outside systemd it does nothing. Its methods may
// be called by several goroutines; failures are logged once, since a program works without its supervisor.
type Notifier struct {
	send     func(state string) error
	log      *slog.Logger
	interval time.Duration // WatchdogSec=; 0 without one

	mu     sync.Mutex
	ready  bool
	failed bool
	fed    time.Time
}

// NewNotifier reads what systemd put into the environment.
func NewNotifier(log *slog.Logger) *Notifier {
	n := &Notifier{log: log, send: func(state string) error {
		_, err := systemd.SdNotify(false, state)
		return err
	}}
	interval, err := systemd.SdWatchdogEnabled(false)
	if err != nil {
		log.Warn("systemd's watchdog is not fed", "err", err)
		return n
	}
	n.interval = interval
	return n
}

// Ready says, the first time it is called, that the program has started.
func (n *Notifier) Ready() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.ready {
		n.ready = true
		n.tell(systemd.SdNotifyReady)
	}
}

// Reloading says that a reload begins; Reloaded must follow.
func (n *Notifier) Reloading() {
	n.mu.Lock()
	defer n.mu.Unlock()
	// Type=notify-reload wants the time at which the reload began.
	n.tell(fmt.Sprintf("%s\nMONOTONIC_USEC=%d", systemd.SdNotifyReloading, Monotonic().Microseconds()))
}

// Reloaded says that the program works again, with the new configuration or the old one.
func (n *Notifier) Reloaded() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.tell(systemd.SdNotifyReady)
}

// Stopping says that the program ends on purpose.
func (n *Notifier) Stopping() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.tell(systemd.SdNotifyStopping)
}

// Status is the sentence that systemctl status shows.
func (n *Notifier) Status(text string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.tell("STATUS=" + strings.ReplaceAll(text, "\n", " ")) // a newline would begin another message
}

// Interval is the time after which systemd kills a program that was not fed; 0 without a watchdog.
func (n *Notifier) Interval() time.Duration { return n.interval }

// Feed tells the watchdog that the caller's loop turns. It may be called as often as the loop likes: systemd is
// told at most once in a third of the interval. Only the loop that must not hang may call it.
func (n *Notifier) Feed() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.interval == 0 || !n.fed.IsZero() && time.Since(n.fed) < n.interval/3 {
		return
	}
	n.fed = time.Now()
	n.tell(systemd.SdNotifyWatchdog)
}

func (n *Notifier) tell(state string) {
	err := n.send(state)
	if err != nil && !n.failed {
		n.log.Warn("systemd was not told", "err", err)
	}
	n.failed = err != nil
}
