package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"sentinel.home.arpa/pi-proxy/proxy"
	"sentinel.home.arpa/shared/wire"
)

// binary names the variable that holds the program's path.
const binary = "SENTINEL_TEST_PI"

// withProgram makes the program as it is shipped, once, and runs the tests on it.
func withProgram(m *testing.M) int {
	dir, err := os.MkdirTemp("", "sentinel-pi")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "sentinel-pi")
	cmd := exec.Command("go", "build", "-o", path, ".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "%v: %s", err, out)
		return 1
	}
	os.Setenv(binary, path)
	return m.Run()
}

func TestMain(m *testing.M) { os.Exit(withProgram(m)) }

// program is the program, outside systemd.
func program(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Getenv(binary), args...)
	cmd.Env = append(os.Environ(), "NOTIFY_SOCKET=", "JOURNAL_STREAM=", "STATE_DIRECTORY=", "CREDENTIALS_DIRECTORY=")
	return cmd
}

// said wants an exit code and a text somewhere in what is said on each stream.
func said(t *testing.T, code int, stdout, stderr string, args ...string) {
	t.Helper()
	cmd := program(t, args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	if got := cmd.ProcessState.ExitCode(); got != code || !strings.Contains(out.String(), stdout) || !strings.Contains(errs.String(), stderr) {
		t.Errorf("%q: exit %d, want %d\nstdout %q, want %q\nstderr %q, want %q", args, got, code, out.String(), stdout, errs.String(), stderr)
	}
}

// pi is a configuration without a tailnet, whose brain and apcupsd are not there.
func pi(t *testing.T) (path, socket string) {
	t.Helper()
	dir := t.TempDir()
	key, err := wire.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	free := ln.Addr()
	if err := ln.Close(); err != nil {
		t.Fatal(err)
	}
	path, socket = filepath.Join(dir, "pi.yaml"), filepath.Join(dir, "control.sock")
	text := fmt.Sprintf("name: pi\nstate_dir: %s\ncontrol_socket: %s\nlan: {listen: %q}\nbrains: [{address: \"127.0.0.1:9\", key: %q}]\nups: [{name: ups, nis: \"127.0.0.1:9\"}]\nroot_socket: /nowhere\n",
		dir, socket, free, key.PublicKey())
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path, socket
}

func TestCommands(t *testing.T) {
	good, socket := pi(t)
	bad := filepath.Join(t.TempDir(), "bad.yaml")
	if err := os.WriteFile(bad, []byte("name: pi\nlan: {listen: x}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Run("version", func(t *testing.T) { said(t, 0, "sentinel-pi", "", "version") })
	t.Run("help", func(t *testing.T) { said(t, 0, "apcupsd's", "", "event", "--help") })
	t.Run("check a good configuration", func(t *testing.T) { said(t, 0, good+": fine", "", "check-config", "--config", good) })
	t.Run("check a bad configuration", func(t *testing.T) {
		said(t, 1, "", bad+`:2:7: lan.listen: "x" is no address; write <host>:<port>`, "check-config", "--config", bad)
	})
	t.Run("run a bad configuration", func(t *testing.T) {
		said(t, 1, "", bad+`:2:7: lan.listen: "x" is no address`, "run", "--config", bad)
	})
	t.Run("no configuration", func(t *testing.T) {
		said(t, 1, "", "no such file", "check-config", "--config", good+".none")
	})
	t.Run("not even the default one", func(t *testing.T) {
		if _, err := os.Stat(defaultConfig); err == nil {
			t.Skip("this machine has a configuration: what is said without one is NOT TESTED")
		}
		said(t, 0, defaultConfig+": there is none, so all is as by default: fine", "", "check-config")
	})
	t.Run("its key before its first start", func(t *testing.T) {
		said(t, 1, "", "made at the first start", "key", "--config", good)
	})
	t.Run("its key", func(t *testing.T) {
		key, err := wire.LoadKey(filepath.Dir(good))
		if err != nil {
			t.Fatal(err)
		}
		said(t, 0, string(key.PublicKey())+"\n", "", "key", "--config", good)
	})
	t.Run("no command", func(t *testing.T) { said(t, 2, "check-config", `expected one of "run"`) })
	t.Run("an unknown command", func(t *testing.T) { said(t, 2, "", "unexpected argument", "explode") })
	t.Run("an unknown flag", func(t *testing.T) { said(t, 2, "", "unknown flag", "--explode") })
	t.Run("an event without a name", func(t *testing.T) { said(t, 2, "", "<name>", "event") })
	t.Run("an event that apcupsd has not", func(t *testing.T) {
		said(t, 2, "", `"onbattery","mainsback"`, "--socket", socket, "event", "bogus")
	})
	t.Run("a doctor without a Pi", func(t *testing.T) { said(t, 1, "wrong  Pi: the Pi cannot be reached", "", "--config", good, "doctor") })
	t.Run("a doctor in JSON", func(t *testing.T) {
		said(t, 1, `{"what":"configuration","state":"ok","say":`, "", "--config", good, "doctor", "--json")
	})
	t.Run("a doctor of a bad configuration", func(t *testing.T) {
		said(t, 1, "wrong  configuration: "+bad+":2:7:", "", "--config", bad, "doctor")
	})
	t.Run("root without systemd's socket", func(t *testing.T) { said(t, 1, "", "only systemd starts this", "root") })
	t.Run("an event without a Pi", func(t *testing.T) {
		said(t, 1, "", "tell the Pi of onbattery; does it run?", "--socket", socket, "event", "onbattery")
	})
}

// TestR3_TheProgramEndsWellAndIsSafeToKill: a stop is exit 0, and a socket that a killed
// one left is taken over.
func TestR3_TheProgramEndsWellAndIsSafeToKill(t *testing.T) {
	path, socket := pi(t)
	start := func() (*exec.Cmd, *bytes.Buffer) {
		cmd, log := program(t, "run", "--config", path), &bytes.Buffer{}
		cmd.Stdout, cmd.Stderr = log, log
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for deadline := time.After(60 * time.Second); proxy.TellEvent(socket, "onbattery") != nil; {
			select {
			case <-tick.C:
			case <-deadline:
				_ = cmd.Process.Kill()
				_ = cmd.Wait()
				t.Fatalf("it does not come up:\n%s", log)
			}
		}
		return cmd, log
	}
	cmd, _ := start()
	for name := range strings.SplitSeq(events, ",") { // rule U1: none of them ever fails apcupsd's script
		if name == "doshutdown" { // rule G7: but this, if nobody sees to the Pi's end
			said(t, 1, "", "no plan is armed here", "--socket", socket, "event", name)
			continue
		}
		said(t, 0, "", "", "--socket", socket, "event", name)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	said(t, 1, "", "does it run?", "--socket", socket, "event", "mainsback")

	cmd, log := start()
	said(t, 0, "", "", "--socket", socket, "event", "mainsback")
	for _, signal := range []os.Signal{syscall.SIGHUP, syscall.SIGTERM} { // rule R5: it reads the file again, and goes on
		if err := cmd.Process.Signal(signal); err != nil {
			t.Fatal(err)
		}
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("after SIGTERM: %v\n%s", err, log)
	}
	if !strings.Contains(log.String(), "the configuration is right and takes effect with the next restart") {
		t.Errorf("after SIGHUP it says\n%s", log)
	}
	if _, err := os.Stat(socket); err == nil {
		t.Error("the socket is still there")
	}
}

// TestR2_RootAnswersOnTheSocketThatItIsGiven: as systemd starts it, with no verb that does
// anything.
func TestR2_RootAnswersOnTheSocketThatItIsGiven(t *testing.T) {
	pair, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	theirs, ours := os.NewFile(uintptr(pair[0]), "theirs"), os.NewFile(uintptr(pair[1]), "ours")
	defer theirs.Close()
	defer ours.Close()
	if _, err := ours.WriteString("explode\n"); err != nil {
		t.Fatal(err)
	}
	cmd, log := program(t, "root"), &bytes.Buffer{}
	cmd.Stdin, cmd.Stderr = theirs, log
	if err := cmd.Run(); err == nil || !strings.Contains(log.String(), `\"explode\" is no verb`) {
		t.Errorf("%v, logged %q", err, log)
	}
	theirs.Close()
	answer, err := io.ReadAll(ours)
	if want := "error: \"explode\" is no verb\n"; err != nil || string(answer) != want {
		t.Errorf("answered %q, %v; want %q", answer, err, want)
	}
}
