package ground

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"

	"sentinel.home.arpa/deploy/internal/forge"
)

// TestTwoThatBeginTogetherSweepOnce: what a dead run left is gone afterwards, and neither has
// stumbled over the other. A namespace needs root.
func TestTwoThatBeginTogetherSweepOnce(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	dead := exec.Command("true")
	if err := dead.Run(); err != nil {
		t.Fatal(err)
	}
	name := prefix + strconv.Itoa(dead.Process.Pid)
	if err := os.MkdirAll(filepath.Join(os.TempDir(), name, "layers", "deep"), 0o755); err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() == 0 {
		if out, err := exec.Command("ip", "netns", "add", name).CombinedOutput(); err != nil {
			t.Logf("without a namespace: %v: %s", err, out)
		}
	}
	f := forge.New()
	t.Cleanup(f.Close)
	var both sync.WaitGroup
	for range 8 {
		both.Go(func() {
			if err := (&Ground{Name: prefix + "0", forge: f}).sweep(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	both.Wait()
	for _, path := range []string{filepath.Join(os.TempDir(), name), filepath.Join("/run/netns", name)} {
		if _, err := os.Stat(path); !os.IsNotExist(err) {
			t.Errorf("%s: %v", path, err)
		}
	}
}
