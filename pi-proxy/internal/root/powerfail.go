package root

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"sentinel.home.arpa/shared/daemon"
)

// Where Debian's apcupsd keeps both.
const (
	apcupsdConfig = "/etc/apcupsd/apcupsd.conf"
	apcupsdDir    = "/etc/apcupsd"
)

// maxConfig bounds what is read of apcupsd's configuration; Debian's has 14 KB.
const maxConfig = 1 << 20

// Powerfail is the file by which apcupsd's hook, at the very end of every shutdown, knows
// that it must have the UPS cut its output (/lib/systemd/system-shutdown/apcupsd_shutdown).
// apcupsd writes it when it trips, and its unit removes it when it starts.
type Powerfail struct {
	Config string // apcupsd's configuration, which may name another directory
	Dir    string // where the file is otherwise
}

// Write puts the file on disk.
func (p Powerfail) Write() error {
	path, err := p.path()
	if err != nil {
		return err
	}
	return daemon.WriteFile(path, []byte("sentinel\n"), 0o644)
}

// Remove sees to it that the file is not on disk.
func (p Powerfail) Remove() error {
	path, err := p.path()
	if err != nil {
		return err
	}
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		return nil // asked first: in a directory that is read-only here, removing fails either way
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("take back the word to cut the output: %w", err)
	}
	if err := daemon.SyncDir(filepath.Dir(path)); err != nil {
		return fmt.Errorf("take back the word to cut the output: %w", err)
	}
	return nil
}

func (p Powerfail) path() (string, error) {
	f, err := os.Open(p.Config)
	if errors.Is(err, fs.ErrNotExist) {
		return filepath.Join(p.Dir, "powerfail"), nil
	}
	if err != nil {
		return "", fmt.Errorf("read apcupsd's configuration: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxConfig))
	if err != nil {
		return "", fmt.Errorf("read apcupsd's configuration: %w", err)
	}
	dir, err := powerfailDir(string(text), p.Dir)
	if err != nil {
		return "", fmt.Errorf("read %s: %w", p.Config, err)
	}
	return filepath.Join(dir, "powerfail"), nil
}

var errPowerfailDir = errors.New(`PWRFAILDIR must stand once, as "PWRFAILDIR /directory", or apcupsd's shutdown hook does not find it`)

// powerfailDir reads what the hook reads, as it does: lines that begin with the word, whose
// value follows after one space. What would lead it astray is an error.
func powerfailDir(config, otherwise string) (string, error) {
	dir := ""
	for line := range strings.Lines(config) {
		if !strings.HasPrefix(line, "PWRFAILDIR") {
			continue
		}
		value, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "PWRFAILDIR ")
		if !ok || dir != "" || !filepath.IsAbs(value) || filepath.Clean(value) != value || strings.ContainsAny(value, " \t\r\x00") {
			return "", errPowerfailDir
		}
		dir = value
	}
	if dir == "" {
		return otherwise, nil
	}
	return dir, nil
}
