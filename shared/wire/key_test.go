package wire_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"sentinel.home.arpa/shared/wire"
)

func loadKey(t *testing.T, dir string) wire.Key {
	t.Helper()
	k, err := wire.LoadKey(dir)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestKeyFileIsMadeOnce(t *testing.T) {
	dir := t.TempDir()
	k := loadKey(t, dir)
	if again := loadKey(t, dir); again.PublicKey() != k.PublicKey() {
		t.Error("the second start has another key")
	}
	info, err := os.Stat(filepath.Join(dir, wire.KeyFile))
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("mode %o", info.Mode().Perm())
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != 1 {
		t.Errorf("left behind: %v", entries)
	}
	if loadKey(t, t.TempDir()).PublicKey() == k.PublicKey() {
		t.Error("two machines have one key")
	}
}

// TestWhoOnlyLooksMakesNoKey: a key that root made would not be the program's own.
func TestWhoOnlyLooksMakesNoKey(t *testing.T) {
	dir := t.TempDir()
	var out strings.Builder
	if err := wire.PrintKey(&out, dir); err == nil || out.Len() > 0 {
		t.Errorf("before the first start: %v, %q", err, out.String())
	}
	if _, err := os.Stat(filepath.Join(dir, wire.KeyFile)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a key was made: %v", err)
	}
	k, err := wire.LoadKey(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := wire.PrintKey(&out, dir); err != nil || out.String() != string(k.PublicKey())+"\n" {
		t.Errorf("after it: %v, %q, want %q", err, out.String(), k.PublicKey())
	}
}

func TestConcurrentStartsAgreeOnTheKey(t *testing.T) {
	for range 20 {
		dir := t.TempDir()
		keys := make([]wire.PublicKey, 8)
		var wg sync.WaitGroup
		for i := range keys {
			wg.Go(func() {
				k, err := wire.LoadKey(dir)
				if err != nil {
					t.Error(err)
					return
				}
				keys[i] = k.PublicKey()
			})
		}
		wg.Wait()
		for _, k := range keys {
			if k != keys[0] {
				t.Fatalf("%s and %s", k, keys[0])
			}
		}
	}
}

func TestKeyFileFromElsewhere(t *testing.T) {
	dir := t.TempDir()
	seed := base64.StdEncoding.EncodeToString([]byte(strings.Repeat("s", 32)))
	if err := os.WriteFile(filepath.Join(dir, wire.KeyFile), []byte("  "+seed+"\n\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	k := loadKey(t, dir)
	e, err := wire.Read(seal(t, wire.KindHeartbeat, wire.Heartbeat{Header: header()}, k))
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Verify(k.PublicKey()); err != nil {
		t.Error(err)
	}
}

// TestBrokenKeyFile: a new key would be another identity; nobody makes it silently.
func TestBrokenKeyFile(t *testing.T) {
	for name, text := range map[string]string{"empty": "", "no base64": "***", "short": "AAAA", "cut": base64.StdEncoding.EncodeToString(make([]byte, 31))} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, wire.KeyFile)
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := wire.LoadKey(dir)
			if err == nil || !strings.Contains(err.Error(), path) {
				t.Fatalf("LoadKey: %v", err)
			}
			if text != "" && strings.Contains(err.Error(), text) {
				t.Errorf("the error shows the file: %v", err)
			}
			if after, err := os.ReadFile(path); err != nil || string(after) != text {
				t.Errorf("the file was changed: %q, %v", after, err)
			}
		})
	}
	if _, err := wire.LoadKey(filepath.Join(t.TempDir(), "missing")); err == nil {
		t.Error("no directory is no error")
	}
}

// TestR4_KeyNeverPrints: however it gets into a log, the private half stays out.
func TestR4_KeyNeverPrints(t *testing.T) {
	dir := t.TempDir()
	k := loadKey(t, dir)
	text, err := os.ReadFile(filepath.Join(dir, wire.KeyFile))
	if err != nil {
		t.Fatal(err)
	}
	seed, err := base64.StdEncoding.DecodeString(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	var logged strings.Builder
	slog.New(slog.NewTextHandler(&logged, nil)).Info("key", "key", k)
	slog.New(slog.NewJSONHandler(&logged, nil)).Info("key", "key", k)
	marshalled, err := json.Marshal(map[string]any{"key": k})
	if err != nil {
		t.Fatal(err)
	}
	secrets := []string{strings.TrimSpace(string(text)), fmt.Sprint(seed), fmt.Sprint(seed[:4]), fmt.Sprintf("%x", seed), fmt.Sprintf("%X", seed[:8]), fmt.Sprintf("%#v", seed[:4])}
	shown := []string{logged.String(), string(marshalled)}
	wrapped := struct {
		Name string
		Key  wire.Key
		Ptr  *wire.Key
		own  wire.Key // of which fmt asks no String
	}{"pve1", k, &k, k}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%t"} {
		for _, v := range []any{k, &k, wrapped, []wire.Key{k}, map[string]wire.Key{"k": k}} {
			shown = append(shown, fmt.Sprintf(verb, v))
		}
	}
	for _, s := range shown {
		for _, secret := range secrets {
			if strings.Contains(s, strings.Trim(secret, "[]")) {
				t.Fatalf("the key shows as %q", s)
			}
		}
	}
}

func TestPublicKeys(t *testing.T) {
	k := newKey(t).PublicKey()
	if err := k.Validate(); err != nil {
		t.Error(err)
	}
	for _, bad := range []wire.PublicKey{"", "ed25519:", k + "=", k[:len(k)-4], "rsa:" + k[8:], k[8:], k + "\n"} {
		if bad.Validate() == nil {
			t.Errorf("%q passes for a key", bad)
		}
		if bad.Public() != nil {
			t.Errorf("%q has a public half", bad)
		}
	}
}
