package daemon

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// ClockSynced reports whether the kernel holds its clock for synchronised, which is what a
// daemon of NTP tells it (adjtimex(2)).
func ClockSynced() (bool, error) {
	state, err := unix.Adjtimex(&unix.Timex{})
	if err != nil {
		return false, fmt.Errorf("ask the kernel for its clock: %w", err)
	}
	return state != unix.TIME_ERROR, nil
}
