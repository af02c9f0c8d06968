package systemd

import (
	"bytes"
	"path"
	"slices"
	"strings"

	"sentinel.home.arpa/shared/wire"
)

// kinds are the shutdowns that have a target.
func kinds() []wire.ShutdownKind {
	return []wire.ShutdownKind{wire.Poweroff, wire.Reboot, wire.Halt, wire.Kexec, wire.SoftReboot}
}

// kindOfWord reads a kind as systemd writes it: "poweroff", "soft-reboot".
func kindOfWord(word string) (wire.ShutdownKind, bool) {
	k := wire.ShutdownKind(word)
	return k, slices.Contains(kinds(), k)
}

// kindOfUnit reads a target's name: "poweroff.target".
func kindOfUnit(unit string) (wire.ShutdownKind, bool) {
	word, ok := strings.CutSuffix(unit, ".target")
	if !ok {
		return "", false
	}
	return kindOfWord(word)
}

// kindOfCmdline reads /proc/1/cmdline. At the end of a shutdown, and at once with --force,
// process 1 is "systemd-shutdown poweroff ...", and no bus answers any more.
func kindOfCmdline(cmdline []byte) (wire.ShutdownKind, bool) {
	args := bytes.Split(cmdline, []byte{0})
	if path.Base(string(args[0])) != "systemd-shutdown" {
		return "", false
	}
	for _, arg := range args[1:] {
		if k, ok := kindOfWord(string(arg)); ok {
			return k, true
		}
	}
	return "", false
}

// kindOfJobs finds the start job of a shutdown's target.
func kindOfJobs(jobs []job) (wire.ShutdownKind, bool) {
	for _, j := range jobs {
		if j.Type != "start" {
			continue
		}
		if k, ok := kindOfUnit(j.Unit); ok {
			return k, true
		}
	}
	return "", false
}
