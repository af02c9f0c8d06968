// Package systemd_test reads the units as systemd would: what is easy to lose in them, and
// what systemd itself says. It starts none.
package systemd_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coreos/go-systemd/v22/unit"
)

// file is a unit's lines: values by "Section.Key", in their order.
type file map[string][]string

func read(t *testing.T, name string) file {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	options, err := unit.DeserializeOptions(f)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	lines := file{}
	for _, o := range options {
		lines[o.Section+"."+o.Name] = append(lines[o.Section+"."+o.Name], o.Value)
	}
	return lines
}

// words are those of a list, which may stand on several lines.
func (f file) words(key string) []string { return strings.Fields(strings.Join(f[key], " ")) }

func (f file) wants(t *testing.T, key string, want ...string) {
	t.Helper()
	if !slices.Equal(f[key], want) {
		t.Errorf("%s is %q, want %q", key, f[key], want)
	}
}

// has wants words among a list's.
func (f file) has(t *testing.T, key string, want ...string) {
	t.Helper()
	for _, w := range want {
		if !slices.Contains(f.words(key), w) {
			t.Errorf("%s lacks %s: %q", key, w, f[key])
		}
	}
}

func (f file) seconds(t *testing.T, key string) time.Duration {
	t.Helper()
	var n int
	if _, err := fmt.Sscanf(strings.Join(f[key], " "), "%d", &n); err != nil {
		t.Errorf("%s is %q", key, f[key])
	}
	return time.Duration(n) * time.Second
}

func units(t *testing.T) []string {
	t.Helper()
	names, err := filepath.Glob("*.service")
	if err != nil || len(names) != 5 {
		t.Fatalf("the services are %q, %v", names, err)
	}
	return names
}

// TestTheWayOutIsStillThere: what stops before the network and the bus can tell of the
// shutdown. network.target is what holds on every network setup.
func TestTheWayOutIsStillThere(t *testing.T) {
	for name, after := range map[string][]string{
		"sentinel-node.service":     {"dbus.service", "systemd-logind.service", "tailscaled.service"},
		"sentinel-announce.service": {"dbus.service", "systemd-logind.service", "tailscaled.service"},
		"sentinel-pi.service":       {"dbus.service", "apcupsd.service", "sentinel-pi-root.socket"},
		"sentinel-cloud.service":    nil,
	} {
		t.Run(name, func(t *testing.T) {
			f := read(t, name)
			f.has(t, "Unit.After", append(after, "network.target", "network-online.target")...)
			f.has(t, "Unit.Wants", "network-online.target")
			f.wants(t, "Install.WantedBy", "multi-user.target")
			for _, key := range []string{"Unit.Requires", "Unit.BindsTo", "Unit.PartOf", "Unit.Requisite"} {
				f.wants(t, key) // what may be missing or restart must not take it along
			}
			f.wants(t, "Unit.DefaultDependencies")
		})
	}
	guests := []string{"pve-guests.service", "libvirt-guests.service", "docker.service"}
	read(t, "sentinel-node.service").has(t, "Unit.Before", guests...)
	read(t, "sentinel-pi.service").has(t, "Unit.Before", append(guests, "sentinel-node.service", "sentinel-announce.service")...)
}

// TestTheyComeBack whatever ends them, and a loop that hangs is ended.
func TestTheyComeBack(t *testing.T) {
	for name, loop := range map[string]time.Duration{
		"sentinel-node.service":  time.Second,
		"sentinel-pi.service":    3 * time.Second,
		"sentinel-cloud.service": 3 * time.Second,
	} {
		t.Run(name, func(t *testing.T) {
			f := read(t, name)
			f.wants(t, "Unit.StartLimitIntervalSec", "0")
			f.wants(t, "Service.Type", "notify")
			f.wants(t, "Service.Restart", "always")
			f.wants(t, "Service.RestartSec", "1")
			// It is fed after a turn, at most once in a third of it. Silence is a failure after 20 s.
			if w := f.seconds(t, "Service.WatchdogSec"); w < w/3+2*loop || w > 20*time.Second {
				t.Errorf("WatchdogSec is %v, and a turn takes %v at worst", w, loop)
			}
			if s := f.seconds(t, "Service.TimeoutStopSec"); s < 5*time.Second || s > 15*time.Second {
				t.Errorf("TimeoutStopSec is %v", s)
			}
		})
	}
}

// TestR5_TheBrainReloads: a changed cloud.yaml needs no restart.
func TestR5_TheBrainReloads(t *testing.T) {
	read(t, "sentinel-cloud.service").wants(t, "Service.ExecReload", "/bin/kill -HUP $MAINPID")
}

// TestABrainWithoutConfigurationWaits: there is none until somebody has written it, while Pi
// and agent run without one.
func TestABrainWithoutConfigurationWaits(t *testing.T) {
	for _, name := range units(t) {
		var want []string
		if name == "sentinel-cloud.service" {
			want = []string{"/etc/sentinel/cloud.yaml"}
		}
		read(t, name).wants(t, "Unit.ConditionPathExists", want...)
	}
}

func TestAnnounceSpeaksOnlyAtTheEnd(t *testing.T) {
	f := read(t, "sentinel-announce.service")
	f.wants(t, "Service.Type", "oneshot")
	f.wants(t, "Service.RemainAfterExit", "yes")
	f.wants(t, "Service.ExecStart", "/bin/true")
	f.wants(t, "Service.ExecStop", "-/usr/bin/sentinel-node announce")
	f.wants(t, "Service.TimeoutStopSec", "5")
	read(t, "sentinel-node.service").wants(t, "Service.TimeoutStopSec", "5")
}

// common is what all services have.
const common = `NoNewPrivileges PrivateTmp PrivateDevices ProtectHome ProtectClock ProtectHostname
	ProtectKernelTunables ProtectKernelModules ProtectKernelLogs ProtectControlGroups RestrictNamespaces
	RestrictRealtime RestrictSUIDSGID LockPersonality MemoryDenyWriteExecute RemoveIPC`

// TestR4_NobodyMayMore than its work needs, and no unit holds a secret.
func TestR4_NobodyMayMore(t *testing.T) {
	users := map[string]string{"sentinel-cloud.service": "sentinel-cloud", "sentinel-pi.service": "sentinel-pi"}
	for _, name := range units(t) {
		t.Run(name, func(t *testing.T) {
			f := read(t, name)
			for _, key := range strings.Fields(common) {
				f.wants(t, "Service."+key, "yes")
			}
			f.wants(t, "Service.ProtectSystem", "strict")
			f.wants(t, "Service.UMask", "0077")
			f.wants(t, "Service.SystemCallArchitectures", "native")
			f.wants(t, "Service.SystemCallFilter", "@system-service", "~@privileged @resources")
			f.wants(t, "Service.SystemCallErrorNumber", "EPERM")
			f.wants(t, "Service.CapabilityBoundingSet", "")
			for key, values := range f {
				if _, name, _ := strings.Cut(key, "."); slices.Contains([]string{"AmbientCapabilities", "LoadCredential", "SetCredential",
					"EnvironmentFile", "DynamicUser", "Group", "SupplementaryGroups"}, name) {
					t.Errorf("it has %s=%q", name, values)
				}
			}
			if name != "sentinel-pi-root@.service" { // a sandbox in a container shows the host's boot id
				f.wants(t, "Service.Environment", "SENTINEL_BOOT_ID=%b")
			}
			if user, ok := users[name]; ok {
				f.wants(t, "Service.User", user)
				f.wants(t, "Service.PrivateUsers", "yes")
				f.wants(t, "Service.ProcSubset") // pid would hide the boot id
				f.wants(t, "Service.StateDirectory", user)
				f.wants(t, "Service.StateDirectoryMode", "0700")
				f.wants(t, "Service.RuntimeDirectory", user)
				return
			}
			f.wants(t, "Service.User") // logind lets root alone delay a shutdown where polkit is missing
			f.wants(t, "Service.PrivateUsers")
		})
	}
}

// TestR4_OnlyThePiAsksRoot, one question at a time, and root has no network.
func TestR4_OnlyThePiAsksRoot(t *testing.T) {
	s := read(t, "sentinel-pi-root.socket")
	s.wants(t, "Socket.ListenStream", "/run/sentinel-pi-root.sock")
	s.wants(t, "Socket.SocketUser", "sentinel-pi")
	s.wants(t, "Socket.SocketMode", "0600")
	s.wants(t, "Socket.Accept", "yes")
	s.wants(t, "Socket.MaxConnections", "1")
	s.wants(t, "Socket.TriggerLimitIntervalSec", "0")
	s.wants(t, "Install.WantedBy", "sockets.target")
	f := read(t, "sentinel-pi-root@.service")
	f.wants(t, "Service.ExecStart", "/usr/bin/sentinel-pi root")
	f.wants(t, "Service.StandardInput", "socket")
	f.wants(t, "Service.StandardError", "journal")
	f.wants(t, "Service.RestrictAddressFamilies", "AF_UNIX")
	f.wants(t, "Service.PrivateNetwork", "yes")
	f.wants(t, "Service.ReadWritePaths", "-/etc/apcupsd")
	f.wants(t, "Install.WantedBy")
}

func TestUsers(t *testing.T) {
	for _, name := range []string{"sentinel-cloud", "sentinel-pi"} {
		data, err := os.ReadFile(filepath.Join("sysusers.d", name+".conf"))
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(string(data), "u "+name+" - ") || strings.Count(string(data), "\n") != 1 {
			t.Errorf("%s: %q", name, data)
		}
	}
}

// TestSystemdReadsThem in a root with stubs for the programs.
func TestSystemdReadsThem(t *testing.T) {
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("systemd-analyze is not installed: what systemd says of the units is NOT TESTED")
	}
	root := t.TempDir()
	put := func(path, text string, mode os.FileMode) {
		t.Helper()
		path = filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
	}
	for _, program := range []string{"usr/bin/sentinel-cloud", "usr/bin/sentinel-pi", "usr/bin/sentinel-node", "bin/true", "bin/kill"} {
		put(program, "", 0o755)
	}
	const dir = "usr/lib/systemd/system"
	for _, target := range []string{"basic", "sysinit", "shutdown", "sockets", "network", "network-online", "multi-user"} {
		put(dir+"/"+target+".target", "[Unit]\nDescription=x\nDefaultDependencies=no\n", 0o644)
	}
	for _, slice := range []string{"-", "system"} {
		put(dir+"/"+slice+".slice", "[Unit]\nDescription=x\nDefaultDependencies=no\n", 0o644)
	}
	names := append(units(t), "sentinel-pi-root.socket")
	args := []string{"verify", "--root=" + root, "--man=no"}
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		put(dir+"/"+name, string(text), 0o644)
		args = append(args, filepath.Join(root, dir, name))
	}
	if out, err := exec.CommandContext(t.Context(), analyze, args...).CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("%v\n%s", err, out)
	}
	for _, name := range names {
		if strings.HasSuffix(name, ".socket") {
			continue
		}
		// Out of 100; 18 and 11 were measured while they work.
		cmd := exec.CommandContext(t.Context(), analyze, "security", "--offline=true", "--threshold=20", "--no-pager", name)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", name, err, out)
		} else {
			lines := strings.Split(strings.TrimSpace(string(out)), "\n")
			t.Log(lines[len(lines)-1])
		}
	}
}
