// Package guardiantest lets tests outside of the Pi's tree drive its decision core: those
// in which it meets the brain's. It adds nothing of its own.
package guardiantest

import "sentinel.home.arpa/pi-proxy/internal/guardian"

// The guardian, what it is given and what it leaves.
type (
	Guardian = guardian.Guardian
	Orders   = guardian.Orders
	Event    = guardian.Event
	Outage   = guardian.Outage
)

// Yielded is the event of a run that was given up to the brain's, BrainDone that of one of the brain's that is over.
const (
	Yielded   = guardian.Yielded
	BrainDone = guardian.BrainDone
)

// New makes a guardian that holds no plan and does nothing.
func New(self string) *Guardian { return guardian.New(self) }
