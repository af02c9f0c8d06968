package daemon

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// bootIDFile is the kernel's name for this boot (random(4)): a UUID that changes with each boot.
const bootIDFile = "/proc/sys/kernel/random/boot_id"

// bootIDVariable is set by the units, from systemd's %b. In a container the kernel's file is the container's own, but a
// sandboxed service there (ProtectKernelTunables=) sees a fresh /proc, whose file is the host's: a reboot of the
// container would be none.
const bootIDVariable = "SENTINEL_BOOT_ID"

// isUUID reports whether a text is a UUID in lower case.
func isUUID(s string) bool {
	bare := strings.ReplaceAll(s, "-", "")
	return len(bare) == 32 && strings.Trim(bare, "0123456789abcdef") == "" && dashed(bare) == s
}

// dashed gives 32 digits the dashes of a UUID; systemd writes it without.
func dashed(s string) string {
	if len(s) != 32 {
		return s
	}
	return s[:8] + "-" + s[8:12] + "-" + s[12:16] + "-" + s[16:20] + "-" + s[20:]
}

// BootID reads the identity of this boot, a UUID in lower case, from path. "" and the kernel's file stand for the
// machine's own, which is what the unit says, or else what the kernel does.
func BootID(path string) (string, error) {
	if path == "" || path == bootIDFile {
		path = bootIDFile
		if id := os.Getenv(bootIDVariable); id != "" {
			id = dashed(strings.ToLower(id))
			if !isUUID(id) {
				return "", fmt.Errorf("read the boot id: $%s holds no UUID", bootIDVariable)
			}
			return id, nil
		}
	}
	f, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("read the boot id: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, 128))
	if err != nil {
		return "", fmt.Errorf("read the boot id: %w", err)
	}
	id := strings.ToLower(strings.TrimSpace(string(data)))
	if !isUUID(id) {
		return "", fmt.Errorf("read the boot id: %s holds no UUID", path)
	}
	return id, nil
}

// Monotonic is by which systemd tells when something happened (CLOCK_MONOTONIC).
func Monotonic() time.Duration { return clock(unix.CLOCK_MONOTONIC) }

// BootTime is the time since the machine booted, sleep included (CLOCK_BOOTTIME). It never goes back and is the
// same for all processes.
func BootTime() time.Duration { return clock(unix.CLOCK_BOOTTIME) }

func clock(id int32) time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(id, &ts); err != nil {
		panic(fmt.Sprintf("read kernel clock %d: %v", id, err)) // every Linux since 2.6.39 has it
	}
	return time.Duration(ts.Nano())
}
