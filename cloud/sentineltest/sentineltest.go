// Package sentineltest lets tests outside of the brain's tree drive its decision core:
// those in which it meets the Pi's. It adds nothing of its own.
package sentineltest

import (
	"cmp"

	"sentinel.home.arpa/cloud/internal/cause"
	"sentinel.home.arpa/cloud/internal/sentinel"
)

// The core's state and what it is told.
type (
	State      = sentinel.State
	Site       = sentinel.Site
	Config     = sentinel.Config
	SiteConfig = sentinel.SiteConfig
	Source     = cause.Source

	Input       = sentinel.Input
	Tick        = sentinel.Tick
	Started     = sentinel.Started
	Paused      = sentinel.Paused
	Heard       = sentinel.Heard
	Silent      = sentinel.Silent
	UPSReported = sentinel.UPSReported
	PiReported  = sentinel.PiReported
	Uplink      = sentinel.Uplink
	Configured  = sentinel.Configured
	Arm         = sentinel.Arm
	Disarm      = sentinel.Disarm
	Stop        = sentinel.Stop
	RunAnswered = sentinel.RunAnswered
	RunSeen     = sentinel.RunSeen
)

// The facts that a run leaves, those of whether one may, and what the brain takes for the supply.
type (
	Fact          = sentinel.Fact
	SupplyChanged = sentinel.SupplyChanged
	RunStepped    = sentinel.RunStepped
	PlanArmed     = sentinel.PlanArmed
	PlanDisarmed  = sentinel.PlanDisarmed
	PlanStopped   = sentinel.PlanStopped
	StopEnded     = sentinel.StopEnded
)

// Pi is the role of one.
const Pi = sentinel.Pi

// New makes the state of a brain that has seen nothing.
func New(cfg Config) *State { return sentinel.New(cfg) }

// Defaults puts the contract's times and limits of the battery in the place of cfg's, and a
// threshold of 1 where it has none. Contacts and how they are called stay as they are.
func Defaults(cfg Config) Config {
	cfg.Times = sentinel.DefaultTimes()
	cfg.WorseCharge, cfg.WorseRuntime = sentinel.DefaultWorseCharge, sentinel.DefaultWorseRuntime
	cfg.Threshold = cmp.Or(cfg.Threshold, 1)
	return cfg
}

// NewFact makes an empty fact by its name; nil if unknown.
func NewFact(name string) Fact { return sentinel.NewFact(name) }

// Sentence is what people are told of a fact.
func Sentence(f Fact) string { return sentinel.Sentence(f) }
