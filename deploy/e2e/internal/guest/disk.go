package guest

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// common is what every machine's disk holds.
func common(name string) []File {
	id := sha256.Sum256([]byte(name))
	files := []File{
		{Path: "/etc/hostname", Text: name + "\n"},
		{Path: "/etc/hosts", Text: "127.0.0.1 localhost\n127.0.1.1 " + name + "\n"},
		{Path: "/etc/machine-id", Text: hex.EncodeToString(id[:16]) + "\n"},
		// Kept across boots, for who wants to know why.
		{Path: "/etc/systemd/journald.conf.d/keep.conf", Text: "[Journal]\nStorage=persistent\nRateLimitIntervalSec=0\n"},
	}
	for _, unit := range []string{"console-getty.service", "getty@.service", "apt-daily.timer", "apt-daily-upgrade.timer",
		"dpkg-db-backup.timer", "e2scrub_all.timer", "e2scrub_reap.service", "fstrim.timer", "systemd-firstboot.service"} {
		files = append(files, Mask(unit))
	}
	return files
}

// Mask keeps a unit from ever starting.
func Mask(unit string) File {
	return File{Path: "/etc/systemd/system/" + unit, Link: "/dev/null"}
}

// Enable has a target or unit want another unit.
func Enable(unit, by string) File {
	return File{Path: "/etc/systemd/system/" + by + ".wants/" + unit, Link: "/usr/lib/systemd/system/" + unit}
}

// leader finds the first process of the machine that was booted by this process: its child
// is systemd-nspawn, whose child it is.
func leader(booter int) (int, error) {
	nspawn, err := child(booter)
	if err != nil {
		return 0, err
	}
	return child(nspawn)
}

// child finds the child that is the first process of its namespace.
func child(parent int) (int, error) {
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return 0, err
	}
	for _, dir := range dirs {
		text, err := os.ReadFile(filepath.Join(dir, "status"))
		if err == nil && isFirst(string(text), parent) {
			return strconv.Atoi(filepath.Base(dir))
		}
	}
	return 0, fmt.Errorf("%w, or has not begun to boot", ErrOff)
}

// isFirst reads /proc/PID/status: a child of the parent's that is number 1 of its own
// process namespace.
func isFirst(status string, parent int) bool {
	ours, first := false, false
	for line := range strings.Lines(status) {
		key, value, _ := strings.Cut(line, ":")
		f := strings.Fields(value)
		switch key {
		case "PPid":
			ours = len(f) == 1 && f[0] == strconv.Itoa(parent)
		case "NSpid":
			first = len(f) > 1 && f[len(f)-1] == "1"
		}
	}
	return ours && first
}
