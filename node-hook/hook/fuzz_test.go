package hook

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// FuzzLoad: whatever stands in the file, it is read or refused with the file's name.
func FuzzLoad(f *testing.F) {
	f.Add([]byte("name: pve1\ninterval: 1s\nlogind: off\nbrains: [{address: \"10.0.0.1:80\", key: \"ed25519:x\"}]\n"))
	f.Add([]byte("pi_proxies:\n  - {name: ../x, address: \":\"}\n"))
	f.Add([]byte("# nothing\n"))
	f.Add([]byte("log: {level: WARN, format: xml}\nstate_dir: relative\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		path := filepath.Join(t.TempDir(), "node.yaml")
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := Build{}.Load(path)
		if err != nil {
			for line := range strings.Lines(err.Error()) {
				if !strings.HasPrefix(line, path) {
					t.Errorf("does not begin with the file: %q", line)
				}
			}
			return
		}
		if c.Name == "" || c.Interval <= 0 || !filepath.IsAbs(c.StateDir) {
			t.Errorf("%+v", c)
		}
		c.brains()
		c.pis()
	})
}
