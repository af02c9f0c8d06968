package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestDoctor looks a brain over that runs, and one that does not; systemd is simulated.
func TestDoctor(t *testing.T) {
	dir := t.TempDir()
	script := "#!/bin/sh\ncase \"$1\" in\nshow) printf 'Id=sentinel-cloud.service\\nLoadState=loaded\\nActiveState=active\\nUnitFileState=enabled\\n' ;;\ncat) printf '[Service]\\nLoadCredential=x:/nowhere/x\\n' ;;\nesac\n"
	if err := os.WriteFile(filepath.Join(dir, "systemctl"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	h := newHouse(t)
	h.live("pi", "pve1")
	h.await("pve1  up", "status")
	examine := func(socket string, wants ...string) {
		t.Helper()
		code, out, errs := does(t, "doctor", "--config", h.config, "--socket", socket)
		lines := strings.Split(strings.TrimSuffix(out, "\n"), "\n")
		for _, l := range lines {
			if len(lines) > 23 || len([]rune(l)) > 80 {
				t.Errorf("no screen:\n%s", out)
			}
		}
		for _, want := range wants {
			if code != 1 || errs != "" || !strings.Contains(strings.Join(strings.Fields(out), " "), want) {
				t.Errorf("exit %d, %s, no %q in\n%s", code, errs, want, out)
			}
		}
	}
	examine(h.socket, "wrong pve2 at home: it was never heard -> there: `sudo sentinel-node doctor`", "wrong plan: pve1: pve1 at 127.0.0.1:1 is not reached",
		"none has a phone, so nobody is called", "ok ")
	code, out, errs := does(t, "doctor", "--json", "--config", h.config, "--socket", h.socket)
	var all []struct{ What, State, Say, Do string }
	if err := json.Unmarshal([]byte(out), &all); err != nil || code != 1 || len(all) < 8 {
		t.Errorf("exit %d, %v of %s\n%s", code, err, out, errs)
	}
	examine(filepath.Join(dir, "none"), "wrong brain: the brain cannot be reached; does it run, and are you root?", "what only the running brain sees was not looked at", "ok unit:")
}
