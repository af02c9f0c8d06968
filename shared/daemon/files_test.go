package daemon

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestWriteFileReplacesWhole(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "state")
	for _, text := range []string{"a long first version", "short", ""} {
		if err := WriteFile(path, []byte(text), 0o640); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(path); err != nil || string(got) != text {
			t.Errorf("read %q, %v", got, err)
		}
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if left, _ := os.ReadDir(dir); len(left) != 1 {
		t.Errorf("left behind: %v", left)
	}
}

func TestWriteFileKeepsTheOldOnFailure(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "state") // a directory: the rename fails
	if err := os.MkdirAll(filepath.Join(path, "kept"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := WriteFile(path, []byte("x"), 0o600); err == nil || !strings.HasPrefix(err.Error(), "write "+path) {
		t.Errorf("got %v", err)
	}
	if left, _ := os.ReadDir(dir); len(left) != 1 {
		t.Errorf("left behind: %v", left)
	}
	if err := WriteFile(filepath.Join(dir, "none", "state"), nil, 0o600); err == nil {
		t.Error("wrote into a directory that is missing")
	}
}

func TestControlSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "run", "control.sock")
	ln, err := ControlSocket(path, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("socket %v, %v", info, err)
	}
	if _, err := ControlSocket(path, 0o600); err == nil || !strings.Contains(err.Error(), "another process listens there") {
		t.Errorf("taken over from a live process: %v", err)
	}
	ln.(*net.UnixListener).SetUnlinkOnClose(false) // as a killed process leaves it
	ln.Close()
	again, err := ControlSocket(path, 0o600)
	if err != nil {
		t.Fatalf("stale socket: %v", err)
	}
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	again.Close()
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("socket left behind: %v", err)
	}
}

func TestControlSocketLeavesOtherFilesAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "precious")
	if err := os.WriteFile(path, []byte("data"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ControlSocket(path, 0o600); err == nil {
		t.Error("listened over a file")
	}
	if got, _ := os.ReadFile(path); string(got) != "data" {
		t.Error("the file is gone")
	}
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ControlSocket(fifo, 0o600); err == nil {
		t.Error("listened over a fifo")
	}
}

func TestBootID(t *testing.T) {
	kernel, err := BootID("")
	if err != nil || len(kernel) != 36 {
		t.Errorf("kernel's: %q, %v", kernel, err)
	}
	for text, want := range map[string]string{
		"9A3F0C12-0000-4000-8000-00000000abcd\n": "9a3f0c12-0000-4000-8000-00000000abcd",
		"":                                       "",
		"not a uuid":                             "",
		"9a3f0c12-0000-4000-8000-00000000abcd x": "",
		strings.Repeat("a", 1<<20):               "",
	} {
		path := filepath.Join(t.TempDir(), "boot_id")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := BootID(path); got != want || (err == nil) != (want != "") {
			t.Errorf("%.50q: %q, %v", text, got, err)
		}
	}
	if _, err := BootID(filepath.Join(t.TempDir(), "none")); !os.IsNotExist(err) && err == nil {
		t.Errorf("missing: %v", err)
	}
}

func TestBootTimeRises(t *testing.T) {
	a := BootTime()
	b := BootTime()
	if a <= 0 || b < a {
		t.Errorf("%v then %v", a, b)
	}
}

// TestA7_TheUnitSaysWhichBootItIs: a sandbox may hide a container's own boot id.
func TestA7_TheUnitSaysWhichBootItIs(t *testing.T) {
	const id = "0123abcd-4567-89ef-0123-456789abcdef"
	for said, want := range map[string]string{strings.ReplaceAll(id, "-", ""): id, id: id, strings.ToUpper(id): id, "0123": "", "%b": ""} {
		t.Setenv("SENTINEL_BOOT_ID", said)
		for _, path := range []string{"", "/proc/sys/kernel/random/boot_id"} {
			if got, err := BootID(path); got != want || (err == nil) != (want != "") {
				t.Errorf("%q is said: %q, %v", said, got, err)
			}
		}
		other := filepath.Join(t.TempDir(), "boot")
		if err := os.WriteFile(other, []byte(strings.ReplaceAll(id, "0", "1")), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := BootID(other); got != strings.ReplaceAll(id, "0", "1") || err != nil {
			t.Errorf("a file of its own counts for more: %q, %v", got, err)
		}
	}
}
