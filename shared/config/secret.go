package config

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// maxSecret is the largest secret that is read, in bytes.
const maxSecret = 16 << 10

// looksSecret are the forms of keys and tokens that people paste where a file's name belongs.
var looksSecret = regexp.MustCompile(`^([0-9A-Za-z+=_]{24,}|[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12})$`)

// Secret names a file that holds a secret. A relative name is a systemd credential, found under
// $CREDENTIALS_DIRECTORY; an absolute path is taken as it is. The type never holds the secret itself, so that
// nothing can print it.
type Secret struct{ name string }

// NewSecret names a file as UnmarshalText does, for programs without a configuration file.
func NewSecret(name string) (Secret, error) {
	var s Secret
	err := s.UnmarshalText([]byte(name))
	return s, err
}

// UnmarshalText takes the file's name.
func (s *Secret) UnmarshalText(text []byte) error {
	name := string(text)
	switch {
	case name == "":
		return errors.New("must name a file")
	case filepath.IsAbs(name):
	case looksSecret.MatchString(name) && strings.ContainsAny(name, "0123456789") || strings.HasPrefix(name, "tskey-"):
		return errors.New("this looks like the secret itself, which must not stand here; write it to a file, and the file's path here")
	case strings.ContainsRune(name, '/') || name == "." || name == "..": // which may be a secret too, and is not repeated
		return errors.New("must be the bare name of a systemd credential, or an absolute path")
	}
	s.name = name
	return nil
}

// IsZero reports whether no file is named.
func (s Secret) IsZero() bool { return s.name == "" }

// Name is the file's name as configured.
func (s Secret) Name() string { return s.name }

// Read reads the secret without the newline at its end. It reads anew at each call, so that a rotated secret
// counts without a restart.
func (s Secret) Read() (string, error) {
	path := s.name
	if path == "" {
		return "", errors.New("read a secret: no file is named")
	}
	if !filepath.IsAbs(path) {
		dir := os.Getenv("CREDENTIALS_DIRECTORY")
		if dir == "" {
			return "", fmt.Errorf("read the secret %s: %w", s.name, errNoCredentials)
		}
		path = filepath.Join(dir, path)
	}
	f, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("read the secret %s: %w", s.name, err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxSecret+1))
	if err != nil {
		return "", fmt.Errorf("read the secret %s: %w", s.name, err)
	}
	if len(data) > maxSecret {
		return "", fmt.Errorf("read the secret %s: larger than %d KiB", s.name, maxSecret>>10)
	}
	secret := strings.TrimRight(string(data), "\r\n")
	if secret == "" {
		return "", fmt.Errorf("read the secret %s: the file is empty", s.name)
	}
	return secret, nil
}

// String names the file, never what is in it.
func (s Secret) String() string { return "secret file " + s.name }

// GoString is String for %#v.
func (s Secret) GoString() string { return s.String() }

// LogValue is String for slog.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText is the inverse of UnmarshalText: the file's name.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.name), nil }
