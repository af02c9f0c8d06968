package daemon

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// FuzzBootID: a boot id is a UUID in lower case, or the error names the file.
func FuzzBootID(f *testing.F) {
	for _, s := range []string{"9a3f0c12-0000-4000-8000-00000000abcd\n", "", "9A3F0C12-0000-4000-8000-00000000ABCD", "\u00a09a3f0c12-0000-4000-8000-00000000abcd", "9a3f0c1200004000800000000000abcd", strings.Repeat(" ", 128)} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		path := filepath.Join(t.TempDir(), "boot_id")
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		id, err := BootID(path)
		switch {
		case err != nil && (id != "" || !strings.Contains(err.Error(), path)):
			t.Errorf("%q, %v", id, err)
		case err == nil && (len(id) != 36 || strings.Trim(id, "0123456789abcdef-") != "" || !strings.Contains(strings.ToLower(string(data)), id)):
			t.Errorf("%q of %q", id, data)
		}
	})
}
