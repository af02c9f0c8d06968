package systemctl

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestShow(t *testing.T) {
	dir := t.TempDir()
	script := `#!/bin/sh
case "$1" in
show) printf 'Id=a.service\nLoadState=loaded\nActiveState=active\nUnitFileState=enabled\nAfter=x.target y.service\nBefore=z.target\n\nId=b.socket\nLoadState=not-found\nActiveState=inactive\nUnitFileState=\nAfter=\nBefore=\n' ;;
cat) printf '# /a\n[Service]\nLoadCredential=old:/x\n# /b\n[Service]\nLoadCredential=\nLoadCredential=twilio-secret:/etc/sentinel/twilio-secret\n LoadCredentialEncrypted = c:/c\nSetCredential=s:text\n# LoadCredential=no:/no\n' ;;
esac
`
	if err := os.WriteFile(filepath.Join(dir, "systemctl"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	units, err := Show(t.Context(), "a.service", "b.socket")
	want := map[string]Unit{
		"a.service": {Load: "loaded", Active: "active", File: "enabled", After: []string{"x.target", "y.service"}, Before: []string{"z.target"}},
		"b.socket":  {Load: "not-found", Active: "inactive", After: []string{}, Before: []string{}},
	}
	if diff := cmp.Diff(want, units); err != nil || diff != "" {
		t.Error(err, diff)
	}
	given, err := Credentials(t.Context(), "a.service")
	if diff := cmp.Diff(map[string]string{"twilio-secret": "/etc/sentinel/twilio-secret", "c": "/c", "s": ""}, given); err != nil || diff != "" {
		t.Error(err, diff)
	}
}

func TestWithoutSystemd(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("PATH", dir)
	if _, err := Show(t.Context(), "a.service"); err == nil || !strings.HasPrefix(err.Error(), "ask systemd: ") {
		t.Errorf("got %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "systemctl"), []byte("#!/bin/sh\necho 'not booted with systemd' >&2\nexit 1\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := Credentials(t.Context(), "a.service"); err == nil || err.Error() != "ask systemd: not booted with systemd" {
		t.Errorf("got %v", err)
	}
}
