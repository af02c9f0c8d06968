package main

import (
	"bufio"
	"context"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestR5_HangupReloads the running program: a right file is taken, line by line in the log,
// a wrong one is not, and the next right one is again.
func TestR5_HangupReloads(t *testing.T) {
	dir := t.TempDir()
	socket := filepath.Join(dir, "s")
	base := "sites: [{name: home}]\nlisten: 127.0.0.1:0\nstate_dir: " + filepath.Join(dir, "state") + "\ncontrol_socket: " + socket + "\n"
	path := written(t, base)
	ctx, cancel := context.WithTimeout(t.Context(), 120*time.Second)
	defer cancel()
	cmd := program(ctx, "run", "--config", path)
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(stderr)
	says := func(want string) {
		t.Helper()
		for lines.Scan() {
			if _, msg, ok := strings.Cut(lines.Text(), " level="); ok && strings.Contains(msg, "onfiguration") {
				t.Log(msg)
				if msg != want {
					t.Errorf("it says %s\nnot     %s", msg, want)
				}
				return
			}
		}
		t.Fatalf("it ends and has not said %s", want)
	}
	awaitReady(t, socket)
	for _, step := range []struct {
		text string
		want []string
	}{
		{base + "failure: {threshold: 2}\nlog: {format: json}\n", []string{
			`WARN msg="configuration change needs a restart" key=log.format from=text to=json`,
			`INFO msg="configuration changed" key=failure.threshold from=1 to=2`,
			`INFO msg="configuration reloaded" changed=1 need_restart=1`}},
		{base + "failure: {treshold: 3}\n", []string{
			`ERROR msg="the configuration is wrong and was not taken" err="` + path + `:5:11: failure: unknown key ` + "`treshold`; did you mean `threshold`?" + `"`}},
		{base + "failure: {threshold: 3}\nlog: {level: debug}\n", []string{
			`INFO msg="configuration changed" key=log.level from=info to=debug`,
			`INFO msg="configuration changed" key=failure.threshold from=2 to=3`,
			`INFO msg="configuration reloaded" changed=2 need_restart=0`}},
	} {
		if err := os.WriteFile(path, []byte(step.text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		for _, want := range step.want {
			says(want)
		}
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	for lines.Scan() { // or Wait would close what is still read
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("it ended with %v", err)
	}
}
