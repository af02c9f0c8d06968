package notify

import "time"

// Kinds are what calls are about, each with a text of its own.
func Kinds() []string {
	return []string{"node_failure", "power_outage", "internet_outage", "power_unwatched", "tailnet_down"}
}

// Story is what a call is about, as far as it is known when the call is placed.
type Story struct {
	Kind    string    // node_failure, power_outage, internet_outage, power_unwatched or tailnet_down
	Contact string    // who is called
	Site    string    // the home or office; empty for tailnet_down
	Since   time.Time // in the site's time zone
	Nodes   []string  // that are part of it
	Others  int       // nodes at the site that are fine
	Off     int       // others that are off, or about to be, as planned
	PiHeard bool      // so its internet is up
	OnMains bool      // as last heard; neither this nor OnBattery: not known
	Cause   *Cause    // what took them all; nil: not known
	Worse   *Worse    // what has become worse since the last call; nil: nothing
	Again   bool      // it is a reminder

	// Of a power outage, and of an internet outage that may be one.

	OnBattery bool           // as last heard
	Heard     time.Duration  // how long ago the battery's state was last heard
	Charge    *float64       // 0 to 1
	Runtime   *time.Duration // that the UPS expects to last
	Plan      PlanStory      // what is being done
}

// Cause is a UPS, or several, of which everything is silent.
type Cause struct {
	UPSes  []string // their names
	Broken bool     // they were switched off or are broken; else they lost power
}

// Worse is what has become worse.
type Worse struct {
	Kind   string   // all_nodes, charge, runtime, late, plan, rehearsal, lost_power or another_ups
	Names  []string // late: that did not go down in time
	UPSes  []string // lost_power, another_ups
	Broken bool     // lost_power: as of Cause
	Known  string   // somebody else who is called and knew of it before; empty: nobody
}

// PlanStory is what is being done about a power outage.
type PlanStory struct {
	Exists    bool          // there is one
	Armed     bool          // so that it is in earnest
	Begun     bool          // in earnest, as are the following
	Through   bool          // it was carried out
	Stopped   bool          // before its end
	Rehearsed bool          // begun without being armed
	Offline   time.Duration // without internet for so long, and the Pi begins it by itself; 0: never
	ByPi      bool          // the Pi does it by itself
	Guests    *int          // how many run; nil: not known
	Nodes     int           // how many machines are shut down
	StayOn    int           // how many of the plan are not, since no UPS that is out calls for them
	Spared    bool          // the UPS that is out calls for none of them
	Late      int           // how many were not down in time
}
