package config

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// maxSecret is the largest secret that is read, in bytes.
const maxSecret = 16 << 10

// secretForm reports whether a text has the form of a key or token that people paste where a file's name belongs:
// Tailscale's, Twilio's SIDs, hexadecimal ones, and Proxmox's, also with the token's name before it.
func secretForm(s string) bool {
	return strings.HasPrefix(s, "tskey-") ||
		len(s) == 34 && only(s[:2], capitals) && only(s[2:], hexadecimal) ||
		len(s) >= 32 && only(s, hexadecimal) ||
		isUUID(s[strings.LastIndexByte(s, '=')+1:])
}

func isUUID(s string) bool {
	parts := strings.Split(s, "-")
	return slices.EqualFunc(parts, []int{8, 4, 4, 4, 12}, func(p string, n int) bool { return len(p) == n && only(p, hexadecimal) })
}

// twilioSecret reports the form of an API key's secret, which has no separators.
func twilioSecret(s string) bool {
	return len(s) == 32 && only(s, digits+letters+capitals) && strings.ContainsAny(s, digits)
}

// only reports whether a text consists of the given characters. Regular expressions would make the agent 0.2 MB
// larger.
func only(s, chars string) bool { return strings.Trim(s, chars) == "" }

const (
	// randomLength is from how many letters and digits in a row they may be random.
	randomLength = 16
	// randomChanges is how many of those there are to each change between them, at most. Words have fewer.
	randomChanges = 4
)

func looksSecret(name string) bool {
	if secretForm(name) || twilioSecret(name) {
		return true
	}
	return slices.ContainsFunc(strings.FieldsFunc(name, func(r rune) bool { return r == '_' || r == '-' || r == '.' }), looksRandom)
}

const (
	digits      = "0123456789"
	letters     = "abcdefghijklmnopqrstuvwxyz"
	capitals    = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	hexadecimal = digits + "abcdefABCDEF"
)

// looksRandom reports whether letters and digits change as they do in no word. A small letter after a capital is
// no change: that is how words begin.
func looksRandom(word string) bool {
	if len(word) < randomLength || !strings.ContainsAny(word, digits) {
		return false
	}
	kind := func(c byte) rune {
		switch {
		case c >= 'a' && c <= 'z':
			return 'a'
		case c >= 'A' && c <= 'Z':
			return 'A'
		case c >= '0' && c <= '9':
			return '0'
		}
		return '+'
	}
	changes := 0
	for i := 1; i < len(word); i++ {
		if before, now := kind(word[i-1]), kind(word[i]); before != now && (before != 'A' || now != 'a') {
			changes++
		}
	}
	return changes*randomChanges >= len(word)
}

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

// byUnit is a variable that our units set, also those that are given no credential, for which systemd sets no
// $CREDENTIALS_DIRECTORY.
const byUnit = "SENTINEL_BOOT_ID"

// NewCredential names a credential that another machine's configuration speaks of. A path there says nothing of
// the files here, and must not open any: under a unit it stands for the one that is called as its last part.
// Only without a unit, as in development, it is taken as it is.
func NewCredential(name string) (Secret, error) {
	if filepath.IsAbs(name) && (os.Getenv("CREDENTIALS_DIRECTORY") != "" || os.Getenv(byUnit) != "") {
		name = filepath.Base(name)
	}
	return NewSecret(name)
}

// UnmarshalText takes the file's name.
func (s *Secret) UnmarshalText(text []byte) error {
	name := string(text)
	switch {
	case name == "":
		return errors.New("must name a file")
	case filepath.IsAbs(name):
	case looksSecret(name):
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
