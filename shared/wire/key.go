package wire

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
)

// PublicKey is a program's Ed25519 public key as it is written down:
// "ed25519:" and standard base64.
type PublicKey string

const keyPrefix = "ed25519:"

// Validate tells whether the key is well formed.
func (k PublicKey) Validate() error {
	var raw rawKey
	return k.read(&raw)
}

func (k PublicKey) raw() (ed25519.PublicKey, error) {
	var raw rawKey
	if err := k.read(&raw); err != nil {
		return nil, err
	}
	return raw[:ed25519.PublicKeySize], nil
}

// rawKey has room for what base64 may write of a key that is one byte too long.
type rawKey [ed25519.PublicKeySize + 1]byte

func (k PublicKey) read(raw *rawKey) error {
	text, ok := strings.CutPrefix(string(k), keyPrefix)
	if !ok {
		return fmt.Errorf("a public key starts with %q", keyPrefix)
	}
	var spelt, again [(ed25519.PublicKeySize + 2) / 3 * 4]byte
	n, err := 0, error(nil)
	if len(text) == len(spelt) {
		copy(spelt[:], text)
		n, err = base64.StdEncoding.Decode(raw[:], spelt[:])
		base64.StdEncoding.Encode(again[:], raw[:ed25519.PublicKeySize])
	}
	// Only one spelling is a key: base64 skips line ends and stray bits.
	if err != nil || n != ed25519.PublicKeySize || again != spelt {
		return fmt.Errorf("a public key is %q and %d bytes in base64", keyPrefix, ed25519.PublicKeySize)
	}
	return nil
}

// Verify implements dsse.Verifier.
func (k PublicKey) Verify(_ context.Context, data, sig []byte) error {
	raw, err := k.raw()
	if err != nil {
		return err
	}
	if !ed25519.Verify(raw, data, sig) {
		return ErrSignature
	}
	return nil
}

// KeyID implements dsse.Verifier: the key names itself.
func (k PublicKey) KeyID() (string, error) { return string(k), nil }

// Public implements dsse.Verifier.
func (k PublicKey) Public() crypto.PublicKey {
	raw, err := k.raw()
	if err != nil {
		return nil
	}
	return raw
}

// Key is a program's own signing key. It never prints, not even from an unexported field,
// of which fmt asks no String but whose pointers and bytes it shows: a func it cannot.
type Key struct {
	private func() ed25519.PrivateKey
	public  PublicKey
}

func keyOf(private ed25519.PrivateKey) Key {
	public := private.Public().(ed25519.PublicKey)
	return Key{func() ed25519.PrivateKey { return private }, PublicKey(keyPrefix + base64.StdEncoding.EncodeToString(public))}
}

// NewKey makes a key.
func NewKey() (Key, error) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return Key{}, err
	}
	return keyOf(private), nil
}

// PublicKey is what others verify with.
func (k Key) PublicKey() PublicKey { return k.public }

// Sign implements dsse.Signer.
func (k Key) Sign(_ context.Context, data []byte) ([]byte, error) {
	return ed25519.Sign(k.private(), data), nil
}

// KeyID implements dsse.Signer.
func (k Key) KeyID() (string, error) { return string(k.PublicKey()), nil }

// String keeps the key out of logs.
func (k Key) String() string { return "key(" + string(k.PublicKey()) + ")" }

// GoString keeps the key out of %#v.
func (k Key) GoString() string { return k.String() }

// KeyFile is the name of the key in a program's state directory.
const KeyFile = "key"

// LoadKey reads the key of a state directory and makes one at the first start. The file
// holds the 32-byte seed in base64, mode 0600; one that others can read is taken, with a
// warning to the default logger.
func LoadKey(dir string) (Key, error) {
	k, err := ReadKey(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return makeKey(filepath.Join(dir, KeyFile))
	}
	return k, err
}

// ReadKey is LoadKey for who only looks: where there is no key yet it makes none, which
// would not be the program's own, and the error is fs.ErrNotExist.
func ReadKey(dir string) (Key, error) {
	path := filepath.Join(dir, KeyFile)
	info, err := os.Stat(path)
	if err == nil && info.IsDir() {
		return Key{}, fmt.Errorf("read the signing key: %s is a directory: remove it and a new key is made, which must then be written into cloud.yaml", path)
	}
	var text []byte
	if err == nil {
		text, err = os.ReadFile(path)
	}
	if err != nil {
		return Key{}, fmt.Errorf("read the signing key: %w", err)
	}
	if exposed(path, info) { // and yet a watchman must run
		slog.Warn("the signing key can be read by others; make it the program's alone with chmod 600", "file", path, "mode", info.Mode().Perm())
	}
	seed, err := base64.StdEncoding.DecodeString(strings.TrimSpace(string(text)))
	if err != nil || len(seed) != ed25519.SeedSize {
		return Key{}, fmt.Errorf("read the signing key: %s is no key: remove it and a new one is made, which must then be written into cloud.yaml", path)
	}
	return keyOf(ed25519.NewKeyFromSeed(seed)), nil
}

// PrintKey writes down the public key of a program that keeps its key in a directory, for a
// person or an installer to give to others.
func PrintKey(out io.Writer, dir string) error {
	k, err := ReadKey(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("there is no key in %s yet: it is made at the first start", dir)
	}
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("%w: only root may ask for the key", err)
	}
	if err == nil {
		_, err = fmt.Fprintln(out, k.PublicKey())
	}
	return err
}

// exposed reports whether others may read or write a key. A credential's mode is systemd's,
// and its directory is the unit's alone.
func exposed(path string, info fs.FileInfo) bool {
	if info.Mode().Perm()&0o077 == 0 {
		return false
	}
	real, err := filepath.EvalSymlinks(path)
	dir := os.Getenv("CREDENTIALS_DIRECTORY")
	return err != nil || dir == "" || filepath.Dir(real) != filepath.Clean(dir)
}

// makeKey writes a key so that two programs that start at once end with the same one:
// the file appears whole or not at all, and the first to link it wins.
func makeKey(path string) (Key, error) {
	k, err := NewKey()
	if err != nil {
		return Key{}, fmt.Errorf("make a signing key: %w", err)
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".key-*")
	if err != nil {
		return Key{}, fmt.Errorf("make a signing key: %w", err)
	}
	defer os.Remove(f.Name())
	text := base64.StdEncoding.EncodeToString(k.private().Seed()) + "\n"
	_, err = f.WriteString(text)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return Key{}, fmt.Errorf("make a signing key: %w", err)
	}
	switch err := os.Link(f.Name(), path); {
	case errors.Is(err, fs.ErrExist):
		return LoadKey(filepath.Dir(path))
	case err != nil:
		return Key{}, fmt.Errorf("make a signing key: %w", err)
	}
	if err := syncDir(filepath.Dir(path)); err != nil {
		return Key{}, fmt.Errorf("make a signing key: %w", err)
	}
	return k, nil
}

// syncDir puts a directory's entries on disk: a key that others have learnt must not be
// gone after a power cut.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
