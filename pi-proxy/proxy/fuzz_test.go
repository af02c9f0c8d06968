package proxy_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sentinel.home.arpa/pi-proxy/proxy"
)

// FuzzLoadConfig: whatever stands in the file, it is read or refused with the file's name.
func FuzzLoadConfig(f *testing.F) {
	if data, err := os.ReadFile("reference.yaml"); err == nil {
		f.Add(data)
	}
	f.Add([]byte("name: pi\nlan: {listen: \":7777\"}\nups: [{name: ups, nis: \"127.0.0.1:3551\", poll: 1s}]\n"))
	f.Add([]byte("ups: []\nbrains: [{address: \"::1\"}]\n"))
	f.Add([]byte("ups: [{}, {name: ups}]\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		path := filepath.Join(t.TempDir(), "pi.yaml")
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := proxy.LoadConfig(path, false)
		if err != nil {
			for line := range strings.Lines(err.Error()) {
				if !strings.HasPrefix(line, path) {
					t.Errorf("does not begin with the file: %q", line)
				}
			}
			return
		}
		if c.Name == "" || len(c.UPS) == 0 {
			t.Errorf("%+v", c)
		}
		for _, u := range c.UPS {
			if u.Poll <= 0 || u.NIS == "" {
				t.Errorf("%+v", u)
			}
		}
	})
}
