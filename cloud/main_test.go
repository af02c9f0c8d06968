package main

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// asProgram makes the test binary the program itself.
const asProgram = "SENTINEL_CLOUD_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
	}
	os.Exit(m.Run())
}

func program(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, os.Args[0], args...)
	cmd.Env = append(os.Environ(), asProgram+"=1", "STATE_DIRECTORY=", "NOTIFY_SOCKET=")
	return cmd
}

// does runs the program to its end.
func does(t *testing.T, args ...string) (code int, out, errs string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 120*time.Second)
	defer cancel()
	cmd := program(ctx, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()
}

func written(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "cloud.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestCommands(t *testing.T) {
	good, bad := written(t, "sites: [{name: home}]\n"), written(t, "sites: [{name: home}]\nlisten: 0.0.0.0:80\nlog: {level: loud}\n")
	secret := written(t, "sites: [{name: home}]\ntwilio:\n  account_sid: AC00000000000000000000000000000001\n  api_key_sid: SK00000000000000000000000000000002\n  api_key_secret_file: /none/twilio\n  from: \"+14155550199\"\n")
	nobody := filepath.Join(t.TempDir(), "none")
	for _, tt := range []struct {
		name      string
		args      []string
		code      int
		out, errs string // parts of it
	}{
		{"version", []string{"version"}, 0, "sentinel-cloud ", ""},
		{"help", []string{"--help"}, 0, "Usage: sentinel-cloud", ""},
		{"a good file", []string{"check-config", "--config", good}, 0, good + ": fine\n", "contacts: there are none, so nobody is called\n"},
		{"a bad file", []string{"check-config", "--config", bad}, 1, "", bad + `:2:1: listen: "0.0.0.0:80" is not on loopback; write 127.0.0.1:<port>, or leave it out and use the tailnet` + "\n" + bad + `:3:7: log.level: "loud" is no level; write debug, info, warn or error`},
		{"no file", []string{"check-config", "--config", nobody}, 1, "", "read the configuration: open " + nobody},
		{"running on a bad file", []string{"run", "--config", bad}, 1, "", ":2:1: listen: "},
		{"a secret that is missing", []string{"check-config", "--config", secret}, 1, "", secret + ":5:3: twilio.api_key_secret_file: read the secret /none/twilio: open /none/twilio: no such file"},
		{"its key before its first start", []string{"key", "--config", good}, 1, "", "it is made at the first start"},
		{"nothing to do", nil, 2, "", `expected one of "run", "check-config", "plan", "init", "doctor"`},
		{"no such flag", []string{"--verbose"}, 2, "", "unknown flag --verbose"},
		{"no such command", []string{"dance"}, 2, "", "unexpected argument dance"},
		{"half a command", []string{"plan"}, 2, "", `expected one of "show", "check", "simulate", "arm", "disarm"`},
		{"no incident", []string{"ack"}, 2, "", `expected "<id>"`},
		{"no brain", []string{"plan", "arm", "--socket", nobody}, 1, "", "the brain cannot be reached; does it run, and are you root?"},
		{"no brain to stop", []string{"plan", "disarm", "--socket", nobody}, 1, "", "the brain cannot be reached"},
		{"no brain to stop a run", []string{"plan", "stop", "--socket", nobody}, 1, "", "the brain cannot be reached"},
		{"no brain to show", []string{"plan", "show", "--socket", nobody}, 1, "", "the brain cannot be reached"},
		{"no brain to check", []string{"plan", "check", "--network-on-ups", "yes", "--socket", nobody}, 1, "", "the brain cannot be reached"},
		{"no brain to simulate", []string{"plan", "simulate", "--runtime", "9m", "--charge", "40%", "--ups", "ups", "--socket", nobody}, 1, "", "the brain cannot be reached"},
		{"neither yes nor no", []string{"plan", "check", "--network-on-ups", "perhaps"}, 2, "", `must be one of "","yes","no"`},
		{"no brain to ask", []string{"approve", "--socket", nobody}, 1, "", "the brain cannot be reached"},
		{"no brain to approve", []string{"approve", "pve9", "--key", "ed25519:x", "--site", "home", "--socket", nobody}, 1, "", "the brain cannot be reached"},
		{"no node", []string{"mute"}, 2, "", `expected "<node>"`},
		{"for how long, and its end", []string{"maintain", "pve1", "--for", "2h", "--end"}, 2, "", "--for and --end can't be used together"},
		{"again and again, in JSON", []string{"status", "--watch", "--json"}, 2, "", "--watch and --json can't be used together"},
		{"no brain to look at", []string{"status", "--socket", nobody}, 1, "", "the brain cannot be reached"},
		{"no brain to list", []string{"incidents", "--json", "--socket", nobody}, 1, "", "the brain cannot be reached"},
		{"no brain that remembers", []string{"timeline", "x", "--socket", nobody}, 1, "", "the brain cannot be reached"},
		{"no brain to sum up", []string{"digest", "--json", "--socket", nobody}, 1, "", "the brain cannot be reached"},
		{"no brain to mute", []string{"mute", "pve1", "--socket", nobody}, 1, "", "the brain cannot be reached"},
		{"no brain to unmute", []string{"unmute", "pve1", "--socket", nobody}, 1, "", "the brain cannot be reached"},
		{"no brain to maintain", []string{"maintain", "home", "--site", "--socket", nobody}, 1, "", "the brain cannot be reached"},
		{"no brain to forget", []string{"delete", "pve1", "--socket", nobody}, 1, "", "the brain cannot be reached"},
		{"no brain to tell", []string{"ack", "home-power-x", "--socket", nobody}, 1, "", "the brain cannot be reached"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			code, out, errs := does(t, tt.args...)
			if code != tt.code || !strings.Contains(out, tt.out) || !strings.Contains(errs, tt.errs) {
				t.Errorf("exit %d\nstdout %q\nstderr %q", code, out, errs)
			}
			if tt.code == 0 && errs != "" && tt.errs == "" || tt.code == 1 && out != "" {
				t.Errorf("stdout %q, stderr %q", out, errs)
			}
		})
	}
}

// TestRun starts the brain, talks to it, kills it hard, starts it again, and ends it.
func TestRun(t *testing.T) {
	dir := t.TempDir()
	socket := filepath.Join(dir, "s")
	path := written(t, "sites: [{name: home}]\nlisten: 127.0.0.1:0\nstate_dir: "+filepath.Join(dir, "state")+"\ncontrol_socket: "+socket+"\n")
	if code, out, errs := does(t, "check-config", "--config", path); code != 0 {
		t.Fatalf("exit %d %s %s", code, out, errs)
	}
	for _, end := range []os.Signal{syscall.SIGKILL, syscall.SIGTERM} {
		ctx, cancel := context.WithTimeout(t.Context(), 120*time.Second)
		cmd := program(ctx, "run", "--config", path)
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		awaitReady(t, socket)
		if code, _, errs := does(t, "plan", "arm", "--socket", socket); code != 1 || errs != "there is no plan; add plan: to cloud.yaml\n" {
			t.Errorf("plan arm: exit %d %q", code, errs)
		}
		if code, _, errs := does(t, "ack", "home/../x y", "--socket", socket); code != 1 || errs != "no incident \"home/../x y\" is open; none is; `sentinel-cloud incidents` lists those of the last 24 h\n" {
			t.Errorf("ack: exit %d %q", code, errs)
		}
		if code, out, errs := does(t, "approve", "--socket", socket); code != 0 || out != "Nobody waits to be approved.\n" {
			t.Errorf("approve: exit %d %q %q", code, out, errs)
		}
		if code, _, errs := does(t, "approve", "pve9", "--socket", socket); code != 1 || !strings.HasPrefix(errs, `no machine "pve9" waits to be approved; `) {
			t.Errorf("approve: exit %d %q", code, errs)
		}
		if err := cmd.Process.Signal(end); err != nil {
			t.Fatal(err)
		}
		err := cmd.Wait()
		cancel()
		if end == syscall.SIGTERM && err != nil {
			t.Errorf("ended with %v: %s", err, stderr.String())
		}
	}
	if _, err := os.Stat(socket); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket is left behind: %v", err)
	}
}

// awaitReady waits until the brain behind a socket says that it is ready.
func awaitReady(t *testing.T, socket string) {
	t.Helper()
	client := &http.Client{Timeout: time.Second, Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}}}
	deadline := time.After(90 * time.Second)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		resp, err := client.Get("http://brain/readyz")
		if err == nil {
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return
			}
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("never ready: %v", err)
		}
	}
}
