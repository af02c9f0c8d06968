package smartups

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Daemon says how the real apcupsd is to be run on a unit.
type Daemon struct {
	Dir    string // for its configuration, locks, logs and scripts; a test's t.TempDir()
	Device string // of a UPS
	Port   int    // of its network server, on 127.0.0.1

	PollTime time.Duration // whole seconds; 0 is 1 s
	// OnBatteryDelay is the time from powerout to onbattery in whole seconds. 0 is
	// apcupsd's own 6 s.
	OnBatteryDelay time.Duration
	// Timeout is how long after the transfer apcupsd shuts down, in whole seconds; 0 is never.
	Timeout time.Duration
	// DoShutdown is the text of a script for that event. With it the distribution's own
	// apccontrol runs, as it does after the script; what would shut this machine down leaves a
	// file instead (ShutDown).
	DoShutdown string
	// OnEvent is called for each event, in order, from one goroutine, with the name
	// that apccontrol was given. It may be nil.
	OnEvent func(event string)
}

// ShutDown reports whether apcupsd has shut the machine down, as far as that goes here.
func (d Daemon) ShutDown() bool { return exists(filepath.Join(d.Dir, "shut-down")) }

// Powerfail reports whether the machine's next end would have the UPS cut its output.
func (d Daemon) Powerfail() bool { return exists(filepath.Join(d.Dir, "powerfail")) }

func exists(path string) bool { _, err := os.Stat(path); return err == nil }

// Apcupsd is a running apcupsd.
type Apcupsd struct {
	Addr   string // of its network server
	cmd    *exec.Cmd
	fifo   *os.File
	events sync.WaitGroup
	done   chan struct{} // closed when the process has ended
	err    error         // how; read after done
}

// errMissing says what to do about it; the tests that need apcupsd fail with it.
var errMissing = errors.New("apcupsd is not installed; install it with `apt-get install apcupsd`")

// The default actions of Debian's apccontrol shut this machine down: ours only tells.
// Opening the pipe for reading as well keeps a script from waiting for a reader.
const apccontrol = `#!/bin/sh
printf '%%s\n' "$1" 1<>'%s'
[ ! -x '%[2]s' ] || exec '%[2]s' "$@"
exit 0
`

// theirs is where the distribution has its apccontrol.
const theirs = "/etc/apcupsd/apccontrol"

// errTheirs is why the distribution's apccontrol is not run: it could shut this machine down.
var errTheirs = errors.New(theirs + " is not as expected, so it is not safe to run")

// harmless is the distribution's apccontrol with scripts of its own, for which a shutdown is a
// file that is made.
func harmless(text, scripts, shutDown string) (string, error) {
	for was, is := range map[string]string{"SCRIPTDIR=/etc/apcupsd\n": "SCRIPTDIR='" + scripts + "'\n", "SHUTDOWN=/sbin/shutdown\n": "SHUTDOWN='" + shutDown + "'\n",
		"APCUPSD=/sbin/apcupsd\n": "APCUPSD=true\n", "WALL=wall\n": "WALL=true\n"} {
		if strings.Count(text, was) != 1 {
			return "", errTheirs
		}
		text = strings.Replace(text, was, is, 1)
	}
	if strings.Contains(text, "/sbin/") {
		return "", errTheirs
	}
	return text, nil
}

const configuration = `## apcupsd.conf v1.1 ##
UPSNAME sim
UPSCABLE smart
UPSTYPE apcsmart
DEVICE %s
LOCKFILE %[2]s
SCRIPTDIR %[2]s/scripts
PWRFAILDIR %[2]s
NOLOGINDIR %[2]s
EVENTSFILE %[2]s/events
STATFILE %[2]s/status
POLLTIME %d
ONBATTERYDELAY %d
BATTERYLEVEL 5
MINUTES 3
TIMEOUT %d
ANNOY 300
ANNOYDELAY 60
NOLOGON disable
KILLDELAY 0
NETSERVER on
NISIP 127.0.0.1
NISPORT %d
UPSCLASS standalone
UPSMODE disable
STATTIME 0
LOGSTATS off
DATATIME 0
`

// StartApcupsd starts apcupsd and waits until its network server accepts connections,
// which takes it about 8 s; it may then still say that it knows nothing of the unit.
// It runs until Stop, which must be called once in any case, or until ctx ends.
func StartApcupsd(ctx context.Context, d Daemon) (*Apcupsd, error) {
	path, err := find()
	if err != nil {
		return nil, err
	}
	a := &Apcupsd{Addr: net.JoinHostPort("127.0.0.1", strconv.Itoa(d.Port)), done: make(chan struct{})}
	conf, err := d.write()
	if err != nil {
		return nil, fmt.Errorf("set up apcupsd in %s: %w", d.Dir, err)
	}
	if a.fifo, err = os.OpenFile(d.pipe(), os.O_RDWR, 0); err != nil {
		return nil, fmt.Errorf("open apcupsd's events: %w", err)
	}
	log, err := os.OpenFile(filepath.Join(d.Dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open apcupsd's log: %w", err), a.fifo.Close())
	}
	defer log.Close()
	a.cmd = exec.CommandContext(ctx, path, "-b", "-f", conf, "-P", filepath.Join(d.Dir, "pid"))
	a.cmd.Stdout, a.cmd.Stderr = log, log
	a.cmd.Cancel = func() error { return a.cmd.Process.Signal(syscall.SIGTERM) }
	a.cmd.WaitDelay = 10 * time.Second
	if err := a.cmd.Start(); err != nil {
		return nil, errors.Join(fmt.Errorf("start apcupsd: %w", err), a.fifo.Close())
	}
	go func() {
		a.err = a.cmd.Wait()
		close(a.done)
	}()
	a.events.Go(func() { tell(a.fifo, d.OnEvent) })
	if err := a.listening(ctx); err != nil {
		return nil, errors.Join(err, a.Stop())
	}
	return a, nil
}

// Stop ends apcupsd, as systemd would, and waits for it and the last event.
func (a *Apcupsd) Stop() error {
	err := a.cmd.Process.Signal(syscall.SIGTERM)
	if errors.Is(err, os.ErrProcessDone) {
		err = nil
	}
	select {
	case <-a.done:
	case <-time.After(10 * time.Second):
		err = errors.Join(err, a.cmd.Process.Kill())
		<-a.done
	}
	closed := a.fifo.Close()
	a.events.Wait()
	return errors.Join(err, closed)
}

func (a *Apcupsd) listening(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if c, err := (&net.Dialer{}).DialContext(ctx, "tcp", a.Addr); err == nil {
			return c.Close()
		}
		select {
		case <-tick.C:
		case <-a.done:
			return fmt.Errorf("start apcupsd: it ended by itself: %w", a.err)
		case <-ctx.Done():
			return fmt.Errorf("wait for apcupsd on %s: %w", a.Addr, ctx.Err())
		}
	}
}

func find() (string, error) {
	for _, name := range []string{"apcupsd", "/usr/sbin/apcupsd", "/sbin/apcupsd"} {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", errMissing
}

func (d Daemon) pipe() string { return filepath.Join(d.Dir, "scripts", "pipe") }

// write fills the directory and returns the path of the configuration. A second
// start in the same directory finds the pipe there already.
func (d Daemon) write() (string, error) {
	poll, delay := d.PollTime, d.OnBatteryDelay
	if poll == 0 {
		poll = time.Second
	}
	if delay == 0 {
		delay = 6 * time.Second
	}
	scripts := filepath.Dir(d.pipe())
	if err := os.MkdirAll(scripts, 0o700); err != nil {
		return "", err
	}
	if err := syscall.Mkfifo(d.pipe(), 0o600); err != nil && !errors.Is(err, os.ErrExist) {
		return "", fmt.Errorf("make %s: %w", d.pipe(), err)
	}
	script := fmt.Sprintf(apccontrol, strings.ReplaceAll(d.pipe(), "'", `'\''`), filepath.Join(scripts, "theirs"))
	if d.DoShutdown != "" {
		if err := d.writeTheirs(scripts); err != nil {
			return "", err
		}
	}
	if err := os.WriteFile(filepath.Join(scripts, "apccontrol"), []byte(script), 0o700); err != nil {
		return "", err
	}
	conf := filepath.Join(d.Dir, "apcupsd.conf")
	text := fmt.Sprintf(configuration, d.Device, d.Dir, int(poll.Seconds()), int(delay.Seconds()), int(d.Timeout.Seconds()), d.Port)
	return conf, os.WriteFile(conf, []byte(text), 0o600)
}

// writeTheirs puts the distribution's apccontrol and the script for its shutdown in their place.
func (d Daemon) writeTheirs(scripts string) error {
	text, err := os.ReadFile(theirs)
	if err != nil {
		return err
	}
	shutDown := filepath.Join(scripts, "shutdown")
	script, err := harmless(string(text), scripts, shutDown)
	if err != nil {
		return err
	}
	return errors.Join(os.WriteFile(filepath.Join(scripts, "theirs"), []byte(script), 0o700),
		os.WriteFile(shutDown, []byte("#!/bin/sh\ntouch '"+filepath.Join(d.Dir, "shut-down")+"'\n"), 0o700),
		os.WriteFile(filepath.Join(scripts, "doshutdown"), []byte(d.DoShutdown), 0o700))
}

func tell(r io.Reader, onEvent func(string)) {
	for lines := bufio.NewScanner(r); lines.Scan(); {
		if onEvent != nil {
			onEvent(lines.Text())
		}
	}
}
