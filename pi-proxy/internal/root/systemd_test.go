package root

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	systemd "github.com/coreos/go-systemd/v22/dbus"
	"github.com/godbus/dbus/v5"
)

const policy = `<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><type>session</type><listen>unix:path=%s</listen><auth>EXTERNAL</auth>
<policy context="default"><allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/><allow own="*"/></policy>
</busconfig>`

// startBus is a private dbus-daemon. Nothing here may reach the machine's own.
func startBus(t *testing.T) string {
	t.Helper()
	if _, err := exec.LookPath("dbus-daemon"); err != nil {
		t.Skip("dbus-daemon is not installed: what logind and systemd are told is NOT TESTED")
	}
	dir := t.TempDir()
	socket, conf := filepath.Join(dir, "bus"), filepath.Join(dir, "bus.conf")
	if err := os.WriteFile(conf, fmt.Appendf(nil, policy, socket), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("dbus-daemon", "--nofork", "--nopidfile", "--print-address", "--config-file="+conf)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil { // else it listens
		t.Fatal(err)
	}
	return "unix:path=" + socket
}

// peer plays logind and systemd.
type peer struct {
	conn *dbus.Conn

	mu      sync.Mutex
	refuses *dbus.Error // logind
	result  string      // of systemd's jobs; empty: they never end
	told    []string
}

func (p *peer) plays(refuses *dbus.Error, result string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refuses, p.result = refuses, result
}

// note gives what it plays.
func (p *peer) note(format string, args ...any) (*dbus.Error, string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.told = append(p.told, fmt.Sprintf(format, args...))
	return p.refuses, p.result
}

func (p *peer) heard() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.told)
}

type logind struct{ *peer }

func (l logind) PowerOff(interactive bool) *dbus.Error {
	refuses, _ := l.note("logind: power off, interactive %v", interactive)
	return refuses
}

type manager struct{ *peer }

func (m manager) StartUnit(unit, mode string) (dbus.ObjectPath, *dbus.Error) {
	m.note("systemd: start %s %s", unit, mode)
	return "/org/freedesktop/systemd1/job/7", nil
}

func (m manager) RestartUnit(unit, mode string) (dbus.ObjectPath, *dbus.Error) {
	_, result := m.note("systemd: restart %s %s", unit, mode)
	const job = dbus.ObjectPath("/org/freedesktop/systemd1/job/8")
	if result != "" {
		_ = m.conn.Emit("/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager.JobRemoved", uint32(8), job, unit, result)
	}
	return job, nil
}

// newPeer owns the names on the bus.
func newPeer(t *testing.T, address string, names ...string) *peer {
	t.Helper()
	conn, err := dbus.Connect(address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	p := &peer{conn: conn}
	for _, err := range []error{
		conn.Export(logind{p}, "/org/freedesktop/login1", "org.freedesktop.login1.Manager"),
		conn.Export(manager{p}, "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager"),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range names {
		if reply, err := conn.RequestName(name, dbus.NameFlagDoNotQueue); err != nil || reply != dbus.RequestNameReplyPrimaryOwner {
			t.Fatal(reply, err)
		}
	}
	return p
}

func on(address string) *Systemd {
	dial := func(ctx context.Context) (*dbus.Conn, error) { return dbus.Connect(address, dbus.WithContext(ctx)) }
	return &Systemd{bus: dial, manager: func(ctx context.Context) (*systemd.Conn, error) {
		return systemd.NewConnection(func() (*dbus.Conn, error) { return dial(ctx) })
	}}
}

const (
	login1   = "org.freedesktop.login1"
	systemd1 = "org.freedesktop.systemd1"
)

func TestPowerOff(t *testing.T) {
	blocked := dbus.NewError("org.freedesktop.login1.BlockedByInhibitorLock", nil)
	const asked, direct = "logind: power off, interactive false", "systemd: start poweroff.target replace-irreversibly"
	for name, tt := range map[string]struct {
		names   []string
		refuses *dbus.Error
		told    []string
	}{
		"logind":                {[]string{login1, systemd1}, nil, []string{asked}},
		"logind refuses":        {[]string{login1, systemd1}, blocked, []string{asked, direct}},
		"logind is not running": {[]string{systemd1}, nil, []string{direct}},
		"nobody is there":       {nil, nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			address := startBus(t)
			p := newPeer(t, address, tt.names...)
			p.plays(tt.refuses, "")
			err := on(address).PowerOff(t.Context())
			if told := p.heard(); !slices.Equal(told, tt.told) || (err == nil) != (len(tt.told) > 0) {
				t.Errorf("told %q, want %q; %v", told, tt.told, err)
			}
			if err != nil && (!strings.Contains(err.Error(), "ask logind: ") || !strings.Contains(err.Error(), "ask systemd: ")) {
				t.Errorf("the error names not both: %v", err)
			}
		})
	}
}

func TestRestart(t *testing.T) {
	address := startBus(t)
	p := newPeer(t, address, systemd1)
	for result, want := range map[string]string{"done": "", "failed": `"failed"`, "timeout": `"timeout"`} {
		p.plays(nil, result)
		if err := on(address).Restart(t.Context(), apcupsd); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", result, err)
		}
	}
	if want := "systemd: restart apcupsd.service replace"; !slices.Equal(p.heard(), []string{want, want, want}) {
		t.Errorf("told %q", p.heard())
	}
	p.plays(nil, "")
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := on(address).Restart(ctx, apcupsd); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a job without an end: %v", err)
	}
}

// TestABusThatHangsEnds: neither the greeting nor the question waits for ever.
func TestABusThatHangsEnds(t *testing.T) {
	path := filepath.Join(t.TempDir(), "bus")
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	s := on("unix:path=" + path)
	done := make(chan struct{})
	go func() {
		defer close(done)
		if s.PowerOff(ctx) == nil || s.Restart(ctx, apcupsd) == nil {
			t.Error("nobody answered, and it is done")
		}
	}()
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		t.Fatal("it waits")
	}
}
