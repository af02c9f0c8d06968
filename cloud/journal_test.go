package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestR3_BackupAndRestore: the journal of a running brain is read and copied, and a copy put
// in its place once it has ended, by the program itself.
func TestR3_BackupAndRestore(t *testing.T) {
	dir := t.TempDir()
	socket, copied := filepath.Join(dir, "s"), filepath.Join(dir, "copy.db")
	path := written(t, "sites: [{name: home}]\nlisten: 127.0.0.1:0\nstate_dir: "+filepath.Join(dir, "state")+"\ncontrol_socket: "+socket+"\n")
	ctx, cancel := context.WithTimeout(t.Context(), 120*time.Second)
	defer cancel()
	cmd := program(ctx, "run", "--config", path)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	awaitReady(t, socket)
	for _, tt := range []struct {
		args      []string
		code      int
		out, errs string
	}{
		{[]string{"journal"}, 0, "  the brain started; every silence is counted anew\n", ""},
		{[]string{"journal", "--json", "--since", "1h", "--limit", "5"}, 0, `"fact":"brain_started"`, ""},
		{[]string{"journal", "--since", "yesterday"}, 2, "", `since: "yesterday" is no time`},
		{[]string{"journal", "--limit", "-3"}, 2, "", "limit: "},
		{[]string{"journal", "--limit", "x"}, 2, "", "limit"},
		{[]string{"backup", copied}, 0, copied + ": 1 facts until ", ""},
		{[]string{"backup"}, 2, "", `expected "<file>"`},
		{[]string{"restore", copied, "--config", path}, 1, "", "another brain runs on the state directory"},
	} {
		code, out, errs := does(t, append(tt.args, "--socket", socket)...)
		if code != tt.code || !strings.Contains(out, tt.out) || !strings.Contains(errs, tt.errs) || code == 0 && errs != "" {
			t.Errorf("%q: exit %d\nstdout %q\nstderr %q", tt.args, code, out, errs)
		}
	}
	if info, err := os.Stat(copied); err != nil || info.Mode() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	if code, out, errs := does(t, "restore", copied, "--config", path); code != 0 || !strings.Contains(out, "The brain's journal is the copy "+copied) || strings.Count(out, "\n") != 1 {
		t.Errorf("exit %d %q %q", code, out, errs)
	}
	if code, _, errs := does(t, "restore", path, "--config", path); code != 1 || !strings.Contains(errs, path) {
		t.Errorf("a text: exit %d %q", code, errs)
	}
	if code, _, errs := does(t, "backup", copied, "--socket", socket); code != 1 || !strings.Contains(errs, "the brain cannot be reached") {
		t.Errorf("no brain: exit %d %q", code, errs)
	}
}
