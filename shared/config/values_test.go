package config

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestDurationText(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"500ms": 500 * time.Millisecond, "20s": 20 * time.Second, "1h30m": 90 * time.Minute, "10m": 10 * time.Minute,
		"2h": 2 * time.Hour, "14d": 14 * 24 * time.Hour, "1h0m5s": time.Hour + 5*time.Second, "0s": 0, "36h": 36 * time.Hour,
	} {
		var d Duration
		if err := d.UnmarshalText([]byte(text)); err != nil || d.Std() != want {
			t.Errorf("%s: %v, %v", text, d.Std(), err)
		}
		var again Duration
		out, _ := d.MarshalText()
		if err := again.UnmarshalText(out); err != nil || again != d {
			t.Errorf("%s written as %s and read as %v, %v", text, out, again, err)
		}
		if text != "36h" && text != string(out) {
			t.Errorf("%s written as %s", text, out)
		}
	}
	var d Duration
	for _, text := range []string{"", "d", "1.5d", "-1d", "1d-2h", "65536d", "2562047h48m", "1dd", "NaN"} {
		if err := d.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q read as %v", text, d)
		}
	}
}

func TestPercentRatio(t *testing.T) {
	var p Percent
	if err := p.UnmarshalText([]byte("12.5%")); err != nil || p.Ratio() != 0.125 || p.String() != "12.5%" {
		t.Errorf("%v, %v", p, err)
	}
	for _, text := range []string{"", "%", "NaN%", "-1%", "Inf%", "50 %"} {
		if err := p.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q read as %v", text, p)
		}
	}
}

func TestBound(t *testing.T) {
	f, err := Parse("t.yaml", []byte("port: 1"), new(home))
	if err != nil {
		t.Fatal(err)
	}
	minute := Duration(time.Minute)
	for want, got := range map[string]error{
		"t.yaml:1:1: ride_through: 2h is too long; at most 30m":  Bound(f, "ride_through", 120*minute, minute, 30*minute),
		"t.yaml:1:1: ride_through: 1s is too short; at least 1m": Bound(f, "ride_through", minute/60, minute, 30*minute),
		"t.yaml:1:1: port: 0 is too small; at least 1":           Bound(f, "port", uint16(0), 1, 9),
		"t.yaml:1:1: charge: 90% is too large; at most 80%":      Bound(f, "charge", Percent(90), 5, 80),
	} {
		if got == nil || got.Error() != want {
			t.Errorf("got %v, want %s", got, want)
		}
	}
	if err := Bound(f, "ride_through", minute, minute, minute); err != nil {
		t.Error(err)
	}
}

// TestR4_SecretsComeFromFilesAndAreNotShown: read from files or systemd credentials only, never shown.
func TestR4_SecretsComeFromFilesAndAreNotShown(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("CREDENTIALS_DIRECTORY", dir)
	for name, content := range map[string]string{"good": "hunter2\r\n", "empty": "\n", "huge": strings.Repeat("x", maxSecret+1)} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"good", filepath.Join(dir, "good")} {
		s, err := NewSecret(name)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := s.Read(); err != nil || got != "hunter2" {
			t.Errorf("%s: %q, %v", name, got, err)
		}
		var b strings.Builder
		slog.New(slog.NewTextHandler(&b, nil)).Info("x", "secret", s)
		fmt.Fprintf(&b, "%v %+v %#v %s %q", s, s, s, s, s)
		if strings.Contains(b.String(), "hunter2") || !strings.Contains(b.String(), name) {
			t.Errorf("shown as %s", b.String())
		}
	}
	for _, name := range []string{"empty", "huge", "missing"} {
		s, _ := NewSecret(name)
		if got, err := s.Read(); err == nil || got != "" {
			t.Errorf("%s read as %d bytes", name, len(got))
		}
	}
	missing, _ := NewSecret("missing")
	if _, err := missing.Read(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing: %v", err)
	}
	t.Setenv("CREDENTIALS_DIRECTORY", "")
	if _, err := missing.Read(); !errors.Is(err, errNoCredentials) {
		t.Errorf("outside systemd: %v", err)
	}
	if !(Secret{}).IsZero() {
		t.Error("the zero Secret names a file")
	}
	if _, err := (Secret{}).Read(); err == nil {
		t.Error("the zero Secret could be read")
	}
}
