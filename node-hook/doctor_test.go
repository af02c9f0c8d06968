package main

import (
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"sentinel.home.arpa/node-hook/internal/rig"
	"sentinel.home.arpa/shared/courier"
	"sentinel.home.arpa/shared/daemon"
	"sentinel.home.arpa/shared/sim/logindsim"
	"sentinel.home.arpa/shared/wire"
)

// TestDoctor runs beside an agent, on a machine that is simulated: what is well, what a Pi
// refuses, and an agent that does not run. Who hears the agent hears nothing new of it.
func TestDoctor(t *testing.T) {
	order := logindsim.Unit{Active: "active", File: "enabled", Since: daemon.Monotonic(), After: []string{"network.target", "dbus.service", "tailscaled.service"}, Before: []string{"pve-guests.service"}}
	units := map[string]logindsim.Unit{"sentinel-node.service": order, "sentinel-announce.service": order}
	machine, err := logindsim.Start(logindsim.Config{Path: filepath.Join(t.TempDir(), "bus"), Units: units, Off: func(string) { t.Error("the machine went off") }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(machine.Close)
	pi := rig.Loopback(t, "pi")
	path := config(t, pi)
	key := filepath.Join(filepath.Dir(path), wire.KeyFile)
	edit := func(in time.Duration) { // before the agent's start, or after it
		at := time.Now().Add(in)
		if err := os.Chtimes(path, at, at); err != nil {
			t.Fatal(err)
		}
	}
	edit(-time.Hour)
	examine := func(args ...string) (string, int) {
		cmd := exec.CommandContext(t.Context(), os.Getenv(binary), append([]string{"doctor", "--config", path}, args...)...)
		cmd.Env = append(os.Environ(), "DBUS_SYSTEM_BUS_ADDRESS="+machine.Address())
		out, err := cmd.Output()
		var exit *exec.ExitError
		if err != nil && !errors.As(err, &exit) {
			t.Fatal(err)
		}
		lines := strings.Split(strings.TrimSuffix(string(out), "\n"), "\n")
		for _, l := range lines {
			if len(args) == 0 && (len(lines) > 23 || len([]rune(l)) > 80) {
				t.Errorf("no screen:\n%s", out)
			}
		}
		return string(out), cmd.ProcessState.ExitCode()
	}
	wants := func(what string, code int, wants ...string) {
		t.Helper()
		out, got := examine()
		for _, want := range wants {
			if got != code || !strings.Contains(strings.Join(strings.Fields(out), " "), want) {
				t.Errorf("%s: exit %d, no %q in\n%s", what, got, want, out)
			}
		}
	}

	wants("never run", 1, "wrong key: the agent has never run here")
	if _, err := os.Stat(key); err == nil {
		t.Error("the doctor made a key")
	}

	agent := exec.CommandContext(t.Context(), os.Getenv(binary), "run", "--config", path)
	agent.Env = append(os.Environ(), "DBUS_SYSTEM_BUS_ADDRESS="+machine.Address(), "NOTIFY_SOCKET=")
	if err := agent.Start(); err != nil {
		t.Fatal(err)
	}
	pi.Await(courier.PathHeartbeat, 2)
	before := pi.Arrivals(courier.PathHeartbeat)
	wants("beside an agent", 0, "ok brain: a Pi speaks for this machine", "ok heartbeats: acknowledged by 0 brains and 1 Pi",
		"ok shutdowns: they wait for 5s at most", "ok sentinel-node: it runs", "ok sentinel-announce: it runs")
	if !slices.ContainsFunc(pi.Arrivals(courier.PathHeartbeat)[len(before):], func(a rig.Arrival) bool { return a.Header.Seq == 1 }) {
		t.Error("the Pi was not asked, or by a heartbeat that is newer than the agent's")
	}
	out, code := examine("--json")
	var all []struct{ What, State, Say, Do string }
	if err := json.Unmarshal([]byte(out), &all); err != nil || code != 0 || len(all) < 6 {
		t.Errorf("%v, exit %d of\n%s", err, code, out)
	}

	edit(time.Hour)
	before = pi.Arrivals(courier.PathHeartbeat)
	wants("edited since", 0, "look brain and Pi: they were not asked, since "+path+" was changed")
	if slices.ContainsFunc(pi.Arrivals(courier.PathHeartbeat)[len(before):], func(a rig.Arrival) bool { return a.Header.Seq == 1 }) {
		t.Error("the Pi was asked, under a name that may not be the agent's")
	}
	edit(-time.Hour)

	pi.SetMood(func(w http.ResponseWriter, _ *http.Request, _ *wire.Answer) bool {
		courier.Fail(w, &courier.Fault{Status: 403, Err: errors.New("pve1 is not known here"), Hint: "on the brain: sentinel-cloud approve pve1"})
		return true
	})
	wants("refused", 1, "wrong Pi pi: it does not take this machine: pve1 is not known here -> on the brain: sentinel-cloud approve pve1; the key here is ed25519:")

	if err := agent.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = agent.Wait()
	wants("killed", 1, "wrong shutdowns: logind does not wait for the agent")
}
