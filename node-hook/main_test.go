package main

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"sentinel.home.arpa/node-hook/internal/rig"
	"sentinel.home.arpa/shared/courier"
	"sentinel.home.arpa/shared/wire"
)

// maxSize is what the agent may weigh, in bytes.
const maxSize = 8_000_000

// binary names the variable that holds the program's path.
const binary = "SENTINEL_TEST_BINARY"

// withProgram makes the program as it is shipped, once, and runs the tests on it.
func withProgram(m *testing.M) int {
	dir, err := os.MkdirTemp("", "sentinel-node")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, program)
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", path, ".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "%v: %s", err, out)
		return 1
	}
	os.Setenv(binary, path)
	return m.Run()
}

func TestMain(m *testing.M) { os.Exit(withProgram(m)) }

// command is the program without a bus and without systemd.
func command(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Getenv(binary), args...)
	cmd.Env = append(os.Environ(), "DBUS_SYSTEM_BUS_ADDRESS=unix:path=/nonexistent/bus", "NOTIFY_SOCKET=", "JOURNAL_STREAM=")
	return cmd
}

func config(t *testing.T, pi *rig.Receiver) string {
	t.Helper()
	dir := t.TempDir()
	path := filepath.Join(dir, "node.yaml")
	text := fmt.Sprintf("name: pve1\nstate_dir: %s\ntailscaled_socket: %s/none\npi_proxies: [{name: pi, address: %q, key: %q}]\n",
		dir, dir, pi.Peer().Address, pi.Peer().Key)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestSize(t *testing.T) {
	info, err := os.Stat(os.Getenv(binary))
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d bytes", info.Size())
	if info.Size() > maxSize {
		t.Errorf("%d bytes are over %d", info.Size(), maxSize)
	}
}

func TestCommandLine(t *testing.T) {
	well, sick := rig.Loopback(t, "pi"), rig.Loopback(t, "pi")
	sick.SetMood(func(w http.ResponseWriter, _ *http.Request, _ *wire.Answer) bool {
		courier.Fail(w, &courier.Fault{Status: 403, Err: errors.New("unknown node")})
		return true
	})
	good, bad := config(t, well), config(t, sick)
	wrong := filepath.Join(t.TempDir(), "wrong.yaml")
	if err := os.WriteFile(wrong, []byte("interval: 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var plain []string // what is said of a wrong configuration
	for _, c := range []struct {
		args           string
		code           int
		stdout, stderr string // parts; "" is nothing at all
	}{
		{"--config GOOD announce poweroff", 0, "poweroff acknowledged by pi\n", ""},
		{"announce --config GOOD cancelled", 0, "cancelled acknowledged by pi\n", ""},
		{"announce --config=GOOD", 0, "", ""},
		{"announce reboot --config BAD", 1, "", "announce reboot: post to pi: refused with 403: unknown node"},
		{"announce sleep --config GOOD", 2, "", `"sleep" is no kind of shutdown`},
		{"announce reboot now --config GOOD", 2, "", `"now" is too much`},
		{"check-config --config GOOD", 0, ": fine\n", ""},
		{"check-config", 0, "/etc/sentinel/node.yaml: there is none, so all is as by default: fine\n", ""},
		{"check-config --config WRONG", 1, "", `wrong.yaml:1:1: interval: 1 has no unit`},
		{"--config WRONG", 1, "", `wrong.yaml:1:1: interval: 1 has no unit`},
		{"announce halt --config WRONG", 1, "", "wrong.yaml:1:1"},
		{"check-config --config /nonexistent/node.yaml", 1, "", "no such file"},
		{"version", 0, "sentinel-node ", ""},
		{"key --config GOOD", 0, "ed25519:", ""}, // the announcement made it
		{"key --config NONE", 1, "", "it is made at the first start"},
		{"--help", 0, "Usage: sentinel-node", ""},
		{"frobnicate", 2, "", `"frobnicate" is no command; see --help`},
		{"--frobnicate", 2, "", "flag provided but not defined"},
		{"--config", 2, "", "flag needs an argument"},
		{"version x", 2, "", `"x" is too much after version`},
	} {
		args := strings.Fields(strings.NewReplacer("GOOD", good, "BAD", bad, "WRONG", wrong, "NONE", config(t, well)).Replace(c.args))
		cmd := command(t, args...)
		var stdout, stderr strings.Builder
		cmd.Stdout, cmd.Stderr = &stdout, &stderr
		err := cmd.Run()
		var exit *exec.ExitError
		if err != nil && !errors.As(err, &exit) {
			t.Fatal(err)
		}
		if code := cmd.ProcessState.ExitCode(); code != c.code {
			t.Errorf("%s: exit status %d, want %d", c.args, code, c.code)
		}
		for stream, want := range map[*strings.Builder]string{&stdout: c.stdout, &stderr: c.stderr} {
			if got := stream.String(); !strings.Contains(got, want) || want == "" && got != "" {
				t.Errorf("%s: got %q, want %q", c.args, got, want)
			}
		}
		if strings.Contains(c.args, "WRONG") {
			plain = append(plain, stderr.String())
		}
	}
	// Rule R5: a start says what check-config says, and in the same way.
	for _, said := range plain {
		if said != plain[0] || !strings.HasPrefix(said, wrong+":1:1: ") {
			t.Errorf("a wrong configuration is told as %q and as %q", plain[0], said)
		}
	}
	var kinds []string
	for _, a := range well.Arrivals(courier.PathAnnounce) {
		kinds = append(kinds, string(a.Kind))
	}
	if got := strings.Join(kinds, " "); got != "poweroff cancelled" {
		t.Errorf("announced %s", got)
	}
}

// TestA8_RunUnderSystemd: ready before the first post, the watchdog fed, and a SIGTERM
// that announces nothing and ends well.
func TestA8_RunUnderSystemd(t *testing.T) {
	pi := rig.Loopback(t, "pi")
	path := filepath.Join(t.TempDir(), "notify")
	notify, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer notify.Close()
	if err := notify.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	expect := func(want string) {
		t.Helper()
		buf := make([]byte, 4096)
		for {
			n, err := notify.Read(buf)
			if err != nil {
				t.Fatalf("%s: %v", want, err)
			}
			if string(buf[:n]) == want {
				return
			}
		}
	}
	cmd := command(t, "run", "--config", config(t, pi))
	cmd.Env = append(cmd.Env, "NOTIFY_SOCKET="+path, "WATCHDOG_USEC=1500000")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	expect("READY=1")
	expect("WATCHDOG=1")
	pi.Await(courier.PathHeartbeat, 2)
	expect("WATCHDOG=1")
	for _, signal := range []os.Signal{syscall.SIGHUP, syscall.SIGTERM} { // rule R5: it reads the file again, and goes on
		if err := cmd.Process.Signal(signal); err != nil {
			t.Fatal(err)
		}
	}
	expect("STOPPING=1")
	if err := cmd.Wait(); err != nil {
		t.Errorf("%v: %s", err, stderr.String())
	}
	if !strings.Contains(stderr.String(), "the configuration is right and takes effect with the next restart") {
		t.Errorf("after SIGHUP it says\n%s", stderr.String())
	}
	if got := pi.Arrivals(courier.PathAnnounce); len(got) > 0 {
		t.Errorf("announced %+v", got)
	}
	for _, want := range []string{"agent started", "receiver is reachable", "agent stopping"} {
		if strings.Count(stderr.String(), want) != 1 {
			t.Errorf("%q not once in:\n%s", want, stderr.String())
		}
	}
}

// TestTsnetBuild makes the agent that is a machine of the tailnet by itself; the plain one
// refuses its configuration and says which takes it.
func TestTsnetBuild(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: the build with its own tailnet is NOT TESTED, it links the whole of tsnet")
	}
	path := filepath.Join(t.TempDir(), "sentinel-node-tsnet")
	build := exec.CommandContext(t.Context(), "go", "build", "-tags", "tsnet", "-trimpath", "-ldflags", "-s -w", "-o", path, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	text := "name: pve1\ntailnet: {auth_key_file: tailnet-auth-key}\n"
	node := filepath.Join(t.TempDir(), "node.yaml")
	if err := os.WriteFile(node, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		program, args, want string
		fails               bool
	}{
		{path, "version", "sentinel-node-tsnet ", false},
		{path, "--help", "Usage: sentinel-node-tsnet", false},
		{path, "check-config --config " + node, ": fine", false},
		{os.Getenv(binary), "check-config --config " + node, "node.yaml:2:1: tailnet: this build has no tailnet of its own and uses the host's; remove tailnet:, or install sentinel-node-tsnet", true},
	} {
		out, err := exec.CommandContext(t.Context(), c.program, strings.Fields(c.args)...).CombinedOutput()
		if (err != nil) != c.fails || !strings.Contains(string(out), c.want) {
			t.Errorf("%s: %v, %s", c.args, err, out)
		}
	}
}
