package systemd

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"
)

// bus is a private dbus-daemon.
type bus struct {
	t       *testing.T
	dir     string
	address string
	stop    func()
}

func startBus(t *testing.T) *bus {
	t.Helper()
	if _, err := exec.LookPath("dbus-daemon"); err != nil {
		t.Skip("dbus-daemon is not installed: what logind and systemd say is NOT TESTED")
	}
	b := &bus{t: t, dir: t.TempDir()}
	b.address = "unix:path=" + filepath.Join(b.dir, "bus")
	b.start()
	t.Cleanup(func() { b.stop() })
	return b
}

func (b *bus) start() {
	b.t.Helper()
	conf := filepath.Join(b.dir, "bus.conf")
	text := `<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><type>session</type><listen>` + b.address + `</listen><auth>EXTERNAL</auth>
<policy context="default"><allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/><allow own="*"/></policy>
</busconfig>`
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		b.t.Fatal(err)
	}
	os.Remove(strings.TrimPrefix(b.address, "unix:path="))
	cmd := exec.Command("dbus-daemon", "--nofork", "--nopidfile", "--print-address", "--config-file="+conf)
	var stderr lines
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.t.Fatal(err)
	}
	b.stop = sync.OnceFunc(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil { // it listens now
		b.t.Fatal(err, stderr.String())
	}
}

// lines is a log.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// machine is a logind and systemd on a bus.
type machine struct {
	t    *testing.T
	conn *dbus.Conn
	log  lines // of the watcher

	mu        sync.Mutex
	preparing bool
	scheduled string
	jobs      []job
	locks     []*os.File // our ends: they read EOF when the lock is let go
	ours      []int      // copies of the locks' other ends
	subscribe int
	asked     chan<- struct{} // hears of the next question for jobs
	terse     bool            // logind answers no question
	broken    bool            // systemd answers nothing sensible
}

func startMachine(t *testing.T, b *bus) *machine {
	t.Helper()
	m := &machine{t: t}
	m.attach(b)
	return m
}

func (m *machine) attach(b *bus) {
	m.t.Helper()
	conn, err := dbus.Connect(b.address)
	if err != nil {
		m.t.Fatal(err)
	}
	m.conn = conn
	m.t.Cleanup(func() { conn.Close() })
	for path, table := range map[dbus.ObjectPath]map[string]map[string]any{
		logindPath: {
			logindManager:                     {"Inhibit": m.inhibit},
			"org.freedesktop.DBus.Properties": {"Get": m.logindGet},
		},
		systemdPath: {
			systemdManager:                    {"Subscribe": m.onSubscribe, "ListJobs": m.listJobs},
			"org.freedesktop.DBus.Properties": {"Get": m.systemdGet},
		},
	} {
		for iface, methods := range table {
			if err := conn.ExportMethodTable(methods, path, iface); err != nil {
				m.t.Fatal(err)
			}
		}
	}
	for _, name := range []string{systemdName, logindName} {
		if r, err := conn.RequestName(name, dbus.NameFlagDoNotQueue); err != nil || r != dbus.RequestNameReplyPrimaryOwner {
			m.t.Fatal(r, err)
		}
	}
}

func (m *machine) inhibit(what, who, why, mode string) (dbus.UnixFD, *dbus.Error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if what != "shutdown" || who != "sentinel-node" || why == "" || mode != "delay" {
		m.t.Errorf("Inhibit(%q, %q, %q, %q)", what, who, why, mode)
	}
	if m.preparing {
		return 0, dbus.NewError("org.freedesktop.login1.OperationInProgress", nil)
	}
	var fds [2]int
	if err := syscall.Pipe2(fds[:], syscall.O_CLOEXEC); err != nil {
		return 0, dbus.MakeFailedError(err)
	}
	m.locks = append(m.locks, os.NewFile(uintptr(fds[0]), "lock"))
	// godbus sends a copy; ours is closed in held, when the copy has arrived.
	m.ours = append(m.ours, fds[1])
	return dbus.UnixFD(fds[1]), nil
}

func (m *machine) logindGet(_, name string) (dbus.Variant, *dbus.Error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.terse:
	case name == "PreparingForShutdown":
		return dbus.MakeVariant(m.preparing), nil
	case name == "ScheduledShutdown":
		return dbus.MakeVariant(struct {
			Kind string
			At   uint64
		}{m.scheduled, 1}), nil
	}
	return dbus.Variant{}, dbus.MakeFailedError(errors.New("no such property"))
}

func (m *machine) systemdGet(_, name string) (dbus.Variant, *dbus.Error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case name != "SystemState":
		return dbus.Variant{}, dbus.MakeFailedError(errors.New("no such property"))
	case len(m.jobs) > 0:
		return dbus.MakeVariant("stopping"), nil
	}
	return dbus.MakeVariant("running"), nil
}

func (m *machine) onSubscribe() *dbus.Error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.subscribe++
	return nil
}

func (m *machine) listJobs() ([]job, *dbus.Error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.asked != nil {
		m.asked <- struct{}{}
		m.asked = nil
	}
	if m.broken {
		return nil, dbus.MakeFailedError(errors.New("broken"))
	}
	return append([]job{}, m.jobs...), nil
}

// set changes what the machine answers.
func (m *machine) set(change func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	change()
}

func (m *machine) emit(path dbus.ObjectPath, name string, values ...any) {
	m.t.Helper()
	if err := m.conn.Emit(path, name, values...); err != nil {
		m.t.Error(err)
	}
}

func (m *machine) prepare(on bool) {
	m.set(func() { m.preparing = on })
	m.emit(logindPath, logindManager+".PrepareForShutdown", on)
}

// job queues a start job of a unit, as systemd does.
func (m *machine) job(unit string) {
	j := jobOf(unit, "start")
	m.set(func() { m.jobs = append(m.jobs, j) })
	m.emit(systemdPath, systemdManager+".JobNew", j.ID, j.Path, unit)
}

func jobOf(unit, kind string) job {
	return job{ID: 7, Unit: unit, Type: kind, State: "waiting", Path: "/org/freedesktop/systemd1/job/7", UnitPath: "/org/freedesktop/systemd1/unit/x"}
}

// held waits until the watcher has the n-th lock (from 1), and returns the end that reads
// EOF on its release.
func (m *machine) held(n int) *os.File {
	m.t.Helper()
	eventually(m.t, fmt.Sprintf("lock %d", n), func() bool {
		return strings.Count(m.log.String(), "watching for shutdowns") >= n
	})
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, fd := range m.ours { // the watcher has its own by now
		syscall.Close(fd)
	}
	m.ours = nil
	return m.locks[n-1]
}

// released waits until a lock is let go.
func released(t *testing.T, lock *os.File) {
	t.Helper()
	done := make(chan error, 1)
	go func() {
		_, err := io.Copy(io.Discard, lock)
		done <- err
	}()
	select {
	case err := <-done:
		if err != nil {
			t.Fatal(err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("the lock is still held")
	}
}

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	deadline := time.After(60 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal("never came: " + what)
		}
	}
}

// servePrivate is systemd's own socket: D-Bus without a bus, so without Hello. It answers
// ListJobs with the given jobs.
func servePrivate(t *testing.T, list []job) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "private")
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			if err := speak(c, list); err != nil && !errors.Is(err, io.EOF) {
				t.Error(err)
			}
			c.Close()
		}
	}()
	t.Cleanup(func() { ln.Close(); <-done })
	return "unix:path=" + path
}

func speak(c net.Conn, list []job) error {
	r := bufio.NewReader(c)
	if _, err := r.ReadByte(); err != nil {
		return err
	}
	for begun := false; !begun; {
		line, err := r.ReadString('\n')
		if err != nil {
			return err
		}
		answer := ""
		switch word := strings.TrimSpace(line); {
		case word == "AUTH":
			answer = "REJECTED EXTERNAL\r\n"
		case strings.HasPrefix(word, "AUTH EXTERNAL"):
			answer = "OK 0123456789abcdef0123456789abcdef\r\n"
		case word == "BEGIN":
			begun = true
		default:
			answer = "ERROR\r\n"
		}
		if _, err := io.WriteString(c, answer); err != nil {
			return err
		}
	}
	for {
		m, err := dbus.DecodeMessage(r)
		if err != nil {
			return err
		}
		if member := m.Headers[dbus.FieldMember].Value(); member != "ListJobs" {
			return fmt.Errorf("asked for %v", member)
		}
		reply := &dbus.Message{Type: dbus.TypeMethodReply, Body: []any{list}, Headers: map[dbus.HeaderField]dbus.Variant{
			dbus.FieldReplySerial: dbus.MakeVariant(m.Serial()),
			dbus.FieldSignature:   dbus.MakeVariant(dbus.SignatureOf(list)),
		}}
		if err := reply.EncodeTo(c, binary.LittleEndian); err != nil {
			return err
		}
	}
}
