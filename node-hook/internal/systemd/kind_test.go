package systemd

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"sentinel.home.arpa/shared/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestKindOfCmdline(t *testing.T) {
	for text, want := range map[string]wire.ShutdownKind{
		"/usr/lib/systemd/systemd-shutdown\x00poweroff\x00--log-level\x006\x00--log-target\x00kmsg\x00": wire.Poweroff,
		"/lib/systemd/systemd-shutdown\x00reboot\x00":                                                   wire.Reboot,
		"systemd-shutdown\x00--timeout\x00halt\x00":                                                     wire.Halt,
		"/usr/lib/systemd/systemd-shutdown\x00kexec":                                                    wire.Kexec,
		"/usr/lib/systemd/systemd-shutdown\x00exit\x00":                                                 "",
		"/usr/lib/systemd/systemd-shutdown":                                                             "",
		"/sbin/init\x00poweroff\x00":                                                                    "",
		"/usr/lib/systemd/systemd\x00--switched-root\x00--system\x00":                                   "",
		"": "",
	} {
		if got, ok := kindOfCmdline([]byte(text)); got != want || ok != (want != "") {
			t.Errorf("%q: %q, %v", text, got, ok)
		}
	}
}

func TestKindOfJobs(t *testing.T) {
	for name, c := range map[string]struct {
		jobs []job
		want wire.ShutdownKind
	}{
		"none":        {nil, ""},
		"usual":       {[]job{jobOf("systemd-poweroff.service", "start"), jobOf("pve-guests.service", "stop"), jobOf("poweroff.target", "start")}, wire.Poweroff},
		"soft":        {[]job{jobOf("soft-reboot.target", "start")}, wire.SoftReboot},
		"stop job":    {[]job{jobOf("reboot.target", "stop"), jobOf("halt.target", "start")}, wire.Halt},
		"other":       {[]job{jobOf("shutdown.target", "start"), jobOf("rescue.target", "start"), jobOf("sentinel-node.service", "restart")}, ""},
		"no target":   {[]job{jobOf("reboot.service", "start"), jobOf("reboot", "start")}, ""},
		"user's unit": {[]job{jobOf("my-poweroff.target", "start"), jobOf("cancelled.target", "start")}, ""},
	} {
		if got, ok := kindOfJobs(c.jobs); got != c.want || ok != (c.want != "") {
			t.Errorf("%s: %q, %v", name, got, ok)
		}
	}
}

func FuzzKindOfCmdline(f *testing.F) {
	f.Add([]byte("/usr/lib/systemd/systemd-shutdown\x00poweroff\x00"))
	f.Add([]byte("\x00\x00"))
	f.Fuzz(func(t *testing.T, data []byte) {
		kind, ok := kindOfCmdline(data)
		if ok && !(strings.Contains(string(data), "systemd-shutdown") && strings.Contains(string(data), string(kind))) || ok == (kind == "") {
			t.Errorf("%q: %q, %v", data, kind, ok)
		}
	})
}

func FuzzKindOfJobs(f *testing.F) {
	f.Add("poweroff.target", "start", "x.service", "stop")
	f.Fuzz(func(t *testing.T, unit, kind, unit2, kind2 string) {
		got, ok := kindOfJobs([]job{{Unit: unit, Type: kind}, {Unit: unit2, Type: kind2}})
		want := kind == "start" && unit == string(got)+".target" || kind2 == "start" && unit2 == string(got)+".target"
		if ok && !want || ok == (got == "") {
			t.Errorf("%q, %v", got, ok)
		}
	})
}

func cmdline(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "cmdline")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

const (
	initCmdline = "/sbin/init\x00"
	noBus       = "unix:path=/nonexistent/bus"
)

// TestDetectLooksAtProcess1First: it needs no bus.
func TestDetectLooksAtProcess1First(t *testing.T) {
	d := Detector{Cmdline: cmdline(t, "/usr/lib/systemd/systemd-shutdown\x00reboot\x00"), Bus: noBus}
	if kind, ok, err := d.Kind(t.Context()); kind != wire.Reboot || !ok || err != nil {
		t.Errorf("%q, %v, %v", kind, ok, err)
	}
}

// TestA8_NoSourceIsNoShutdown: where nothing can be asked nothing is announced.
func TestA8_NoSourceIsNoShutdown(t *testing.T) {
	for name, d := range map[string]Detector{
		"no bus":   {Cmdline: cmdline(t, initCmdline), Bus: noBus},
		"nothing":  {Cmdline: "/nonexistent/cmdline", Bus: noBus, Private: noBus},
		"no proc1": {Cmdline: t.TempDir(), Bus: noBus, Private: noBus},
	} {
		if kind, ok, err := d.Kind(t.Context()); ok || err == nil {
			t.Errorf("%s: %q, %v, %v", name, kind, ok, err)
		}
	}
	if _, _, err := (Detector{Cmdline: "/nonexistent/cmdline", Bus: noBus}).Kind(t.Context()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no reason: %v", err)
	}
}

func TestDetectAsksTheBus(t *testing.T) {
	b := startBus(t)
	m := startMachine(t, b)
	d := Detector{Cmdline: cmdline(t, initCmdline), Bus: b.address}
	if kind, ok, err := d.Kind(t.Context()); ok || err != nil {
		t.Errorf("TestA8 restart of the agent: %q, %v, %v", kind, ok, err)
	}
	m.set(func() { m.jobs = []job{jobOf("ssh.service", "stop"), jobOf("kexec.target", "start")} })
	if kind, ok, err := d.Kind(t.Context()); kind != wire.Kexec || !ok || err != nil {
		t.Errorf("%q, %v, %v", kind, ok, err)
	}
}

// TestDetectAsksSystemdItself where the bus is gone already.
func TestDetectAsksSystemdItself(t *testing.T) {
	d := Detector{Cmdline: cmdline(t, initCmdline), Bus: noBus, Private: servePrivate(t, []job{jobOf("poweroff.target", "start")})}
	if kind, ok, err := d.Kind(t.Context()); kind != wire.Poweroff || !ok || err != nil {
		t.Errorf("%q, %v, %v", kind, ok, err)
	}
	d.Private = servePrivate(t, nil)
	if kind, ok, err := d.Kind(t.Context()); ok || err != nil {
		t.Errorf("%q, %v, %v", kind, ok, err)
	}
}
