package setup

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// showing is a server that shows a certificate with a name in it.
func showing(t *testing.T, name string) (addr string, der []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err = x509.CreateCertificate(rand.Reader, &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}},
		&x509.Certificate{SerialNumber: big.NewInt(1)}, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return // closed
			}
			_ = conn.(*tls.Conn).Handshake()
			conn.Close()
		}
	}()
	return ln.Addr().String(), der
}

// TestTheFingerprintIsTheOnlyOneThatIsShown: who stands in between and knows the true node's
// fingerprint may write it into the name of a certificate.
func TestTheFingerprintIsTheOnlyOneThatIsShown(t *testing.T) {
	const true32 = "5C:1E:00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD"
	for _, name := range []string{
		"pve1.home.arpa, with the fingerprint " + true32,
		"pve1, with the fingerprint\n  " + true32 + "\n  Compare it.\nIs it the same there [no]: \x1b[8m",
		"pve1\x1b[1B\r  " + true32 + "\x1b[1A\x1b[30C",
		"\x1b[2J", "",
	} {
		addr, der := showing(t, name)
		var out strings.Builder
		q := &asker{ctx: t.Context(), in: bufio.NewScanner(strings.NewReader("no\n")), out: &out}
		if n, err := (Setup{}).node(t.Context(), q, addr); err != nil || n.Name != "" {
			t.Fatal(n, err)
		}
		sum := sha256.Sum256(der)
		own := strings.ReplaceAll(fmt.Sprintf("% X", sum[:]), " ", ":")
		if strings.Contains(out.String(), true32) || strings.Contains(out.String(), "\x1b") || !strings.Contains(out.String(), "\n  "+own+"\n") || strings.Count(out.String(), "\n  ") != 3 {
			t.Errorf("of %q it says\n%q", name, out.String())
		}
	}
	for _, name := range []string{"pve1", "pve1.home.arpa"} {
		if shown(name) != name {
			t.Errorf("%s is %s", name, shown(name))
		}
	}
}

// TestAnInterruptEnds an interview also while it waits for a line.
func TestAnInterruptEnds(t *testing.T) {
	in, typing := io.Pipe() // nobody types
	defer typing.Close()
	ctx, interrupt := context.WithCancel(t.Context())
	path := filepath.Join(t.TempDir(), "cloud.yaml")
	ended := make(chan error, 1)
	go func() { ended <- Setup{In: in, Out: io.Discard, Terminal: true}.Run(ctx, path) }()
	interrupt()
	select {
	case err := <-ended:
		if !errors.Is(err, errEnded) {
			t.Error(err)
		}
	case <-time.After(5 * time.Second):
		t.Fatal("it goes on waiting")
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("it wrote a configuration")
	}
}

// TestEachOldOneIsKept: force may be used again and again.
func TestEachOldOneIsKept(t *testing.T) {
	path := filepath.Join(t.TempDir(), "cloud.yaml")
	s := Setup{Force: true, Check: func(string) error { return nil }}
	for _, text := range []string{"a", "b", "c", "d"} {
		if err := s.write(path, text); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]string{"": "d", ".old": "a", ".old2": "b", ".old3": "c"} {
		if data, err := os.ReadFile(path + name); err != nil || string(data) != want {
			t.Errorf("%s holds %q, %v", name, data, err)
		}
	}
	s.Force = false
	if err := s.write(path, "e"); !errors.Is(err, os.ErrExist) {
		t.Error(err)
	}
	if left, err := os.ReadDir(filepath.Dir(path)); err != nil || len(left) != 4 {
		t.Errorf("left are %v, %v", left, err)
	}
}

// TestASecretThatIsThereIsNotEmptied by who does what is left once more.
func TestASecretThatIsThereIsNotEmptied(t *testing.T) {
	dir := t.TempDir()
	a := answers{Phone: "+14155550100"}
	there, empty := filepath.Join(dir, twilioSecret), filepath.Join(dir, authKey)
	for path, text := range map[string]string{there: "shown once", empty: ""} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got := a.next(filepath.Join(dir, "cloud.yaml"))
	if strings.Contains(got, "/dev/null "+there) || !strings.Contains(got, there+" is there already") || !strings.Contains(got, "/dev/null "+empty+" ") {
		t.Errorf("it says\n%s", got)
	}
}
