package power

import (
	"fmt"
	"math"
	"time"
)

// Flags are the bits of apcupsd's STATFLAG. They keep what STATUS, the text,
// hides: COMMLOST and SHUTTING DOWN replace the whole text while the bits stay.
type Flags uint32

// The bits of STATFLAG that matter here, as apcupsd 3.14 defines them.
const (
	Calibration    Flags = 1 << 0
	Trim           Flags = 1 << 1
	Boost          Flags = 1 << 2
	Online         Flags = 1 << 3
	OnBattery      Flags = 1 << 4
	Overload       Flags = 1 << 5
	LowBattery     Flags = 1 << 6
	ReplaceBattery Flags = 1 << 7
	CommLost       Flags = 1 << 8
	Shutdown       Flags = 1 << 9
	// OutageConfirmed appears once apcupsd's ONBATTERYDELAY has passed, and
	// never during a self-test.
	OutageConfirmed Flags = 1 << 17
	BatteryPresent  Flags = 1 << 26
)

// Has reports whether all bits of want are set.
func (f Flags) Has(want Flags) bool { return f&want == want }

// Seconds is a duration as it crosses machines: a plain number of seconds.
type Seconds float64

// Duration converts to a time.Duration.
func (s Seconds) Duration() time.Duration {
	return time.Duration(math.Round(float64(s) * float64(time.Second)))
}

// InSeconds converts a time.Duration for the wire.
func InSeconds(d time.Duration) Seconds { return Seconds(d.Seconds()) }

// Status is one answer of apcupsd. A nil field was not reported, which is never
// the same as zero: an unknown runtime is not "no minutes left".
type Status struct {
	Flags        Flags    `json:"flags"`
	Charge       *float64 `json:"charge_ratio,omitempty"` // 0 to 1
	Runtime      *Seconds `json:"runtime_s,omitempty"`
	Load         *float64 `json:"load_ratio,omitempty"` // of the nominal power; over 1 is overload
	LineVolts    *float64 `json:"line_volts,omitempty"`
	LastTransfer string   `json:"last_transfer,omitempty"` // LASTXFER, apcupsd's words
	Transfers    *int     `json:"transfers,omitempty"`     // NUMXFERS; starts over with apcupsd
	OnBatteryAt  string   `json:"on_battery_at,omitempty"` // XONBATT, apcupsd's clock: compared, never computed with
	SelfTest     string   `json:"self_test,omitempty"`     // OK, NG, BT, NO
	Model        string   `json:"model,omitempty"`
	// Stale is END APC minus DATE of the same answer: how old apcupsd's own
	// data was when it answered. Up to its POLLTIME (60 s by default) is normal.
	Stale *Seconds `json:"stale_s,omitempty"`
	// The limits at which apcupsd itself would shut down the machine it runs on.
	LimitCharge  *float64 `json:"limit_charge_ratio,omitempty"`
	LimitRuntime *Seconds `json:"limit_runtime_s,omitempty"`
	LimitBattery *Seconds `json:"limit_on_battery_s,omitempty"` // MAXTIME; 0 is no limit
}

// Transfer names one transfer to the battery, as apcupsd counts and dates them.
type Transfer struct {
	Number *int   `json:"number,omitempty"` // NUMXFERS
	At     string `json:"at,omitempty"`     // XONBATT
}

// Transfer is the last one that the answer tells of.
func (s Status) Transfer() Transfer { return Transfer{s.Transfers, s.OnBatteryAt} }

// Same reports whether both are known to be the same transfer.
func (t Transfer) Same(o Transfer) bool {
	return t.At != "" && t.At == o.At && (t.Number == nil || o.Number == nil || *t.Number == *o.Number)
}

// Bounds past which a number is a fault of the UPS or a forgery. Charge may read a
// little over full on some units; no UPS for a home runs for a week.
const (
	maxCharge  = 1.05
	maxLoad    = 3.0
	maxRuntime = Seconds(7 * 24 * 3600)
	maxVolts   = 1000
)

// Validate refuses values that cannot be: NaN, infinities, negative times, a charge
// of 250 %.
func (s Status) Validate() error {
	checks := []struct {
		name string
		v    *float64
		max  float64
	}{
		{"charge_ratio", s.Charge, maxCharge},
		{"load_ratio", s.Load, maxLoad},
		{"line_volts", s.LineVolts, maxVolts},
		{"runtime_s", (*float64)(s.Runtime), float64(maxRuntime)},
		{"limit_charge_ratio", s.LimitCharge, maxCharge},
		{"limit_runtime_s", (*float64)(s.LimitRuntime), float64(maxRuntime)},
		{"limit_on_battery_s", (*float64)(s.LimitBattery), float64(maxRuntime)},
		{"stale_s", (*float64)(s.Stale), float64(maxRuntime)},
	}
	for _, c := range checks {
		if c.v == nil {
			continue
		}
		if math.IsNaN(*c.v) || *c.v < 0 || *c.v > c.max {
			return fmt.Errorf("%s: %g cannot be; it lies between 0 and %g", c.name, *c.v, c.max)
		}
	}
	if s.Transfers != nil && *s.Transfers < 0 {
		return fmt.Errorf("transfers: %d cannot be negative", *s.Transfers)
	}
	return nil
}

// Possible is the status without the numbers that cannot be. Garbage from the unit passes
// apcupsd unchanged, and one bad number must not cost the others.
func (s Status) Possible() Status {
	keep(&s.Charge, func(v *float64) Status { return Status{Charge: v} })
	keep(&s.Runtime, func(v *Seconds) Status { return Status{Runtime: v} })
	keep(&s.Load, func(v *float64) Status { return Status{Load: v} })
	keep(&s.LineVolts, func(v *float64) Status { return Status{LineVolts: v} })
	keep(&s.Transfers, func(v *int) Status { return Status{Transfers: v} })
	keep(&s.Stale, func(v *Seconds) Status { return Status{Stale: v} })
	keep(&s.LimitCharge, func(v *float64) Status { return Status{LimitCharge: v} })
	keep(&s.LimitRuntime, func(v *Seconds) Status { return Status{LimitRuntime: v} })
	keep(&s.LimitBattery, func(v *Seconds) Status { return Status{LimitBattery: v} })
	return s
}

func keep[T any](v **T, in func(*T) Status) {
	if in(*v).Validate() != nil {
		*v = nil
	}
}
