package web

import (
	"slices"
	"time"
)

// View is everything that the page shows, as of one moment. It is never changed once made.
type View struct {
	At        time.Time      `json:"at"`
	Verdict   string         `json:"verdict"`
	Well      bool           `json:"well"`               // no incident is open, everybody is heard who should be, and the brain sees
	Warnings  []string       `json:"warnings,omitempty"` // about the brain itself
	Phone     string         `json:"phone,omitempty"`    // what its last self-test found out
	Tests     []Test         `json:"tests,omitempty"`    // calls to see that it works, the newest last
	Sites     []Site         `json:"sites"`
	Incidents []Incident     `json:"incidents"` // open ones first, the newest first, those of the last day
	Timeline  []Entry        `json:"timeline"`  // the newest first
	Waiting   []Stranger     `json:"waiting"`   // by name
	Calls     map[string]int `json:"calls"`
}

// Test is a call to see that calling works.
type Test struct {
	ID        string    `json:"id"`
	Contact   string    `json:"contact"`
	By        string    `json:"by"`
	At        time.Time `json:"at"`
	Over      bool      `json:"over"`
	Delivered bool      `json:"delivered"` // a person took it
	Outcome   string    `json:"outcome"`
	Advice    string    `json:"advice,omitempty"` // what is to be mended
}

// Stranger is a machine that was refused, and waits to be approved.
type Stranger struct {
	Name     string    `json:"name"` // that it claims
	Site     string    `json:"site,omitempty"`
	Role     string    `json:"role"`
	Key      string    `json:"key"`
	StableID string    `json:"stable_id,omitempty"` // on the tailnet
	From     string    `json:"from"`
	Why      string    `json:"why"`               // it was refused
	Hold     string    `json:"hold,omitempty"`    // why approving it does not help
	Command  string    `json:"command,omitempty"` // that approves it
	First    time.Time `json:"first_seen"`
	Last     time.Time `json:"last_seen"`
}

// Idle reports whether a plan is not armed, as far as is known: it would shut nothing down.
func (v *View) Idle() bool {
	return slices.ContainsFunc(v.Sites, func(s Site) bool { return s.HasPlan && !s.Armed && !s.ArmingUnknown })
}

// Site is one home or office.
type Site struct {
	Name          string   `json:"name"`
	Armed         bool     `json:"armed"`
	HasPlan       bool     `json:"has_plan"`
	OpenIncidents int      `json:"open_incidents"`
	Sources       []Source `json:"sources"`
	UPSes         []UPS    `json:"upses"`
	Runs          []Run    `json:"runs,omitempty"` // the brain's last, and a Pi's
	Off           []Off    `json:"off,omitempty"`  // what the plan shut down, once what it ran for is over

	MaintenanceUntil time.Time `json:"maintenance_until,omitzero"` // of the whole site
	// ArmingUnknown: the brain has lost facts, and Armed may be wrong.
	ArmingUnknown bool `json:"arming_unknown,omitempty"`
	// NetworkOnUPS is what a person said of the network between Pi and nodes: yes, no, or nothing.
	NetworkOnUPS string `json:"network_on_ups,omitempty"`
	// Stoppable: a run of the plan is under way, an outage in which one may begin, or guests are
	// being started again.
	Stoppable bool `json:"stoppable,omitempty"`
	// StoppedBy is who stopped the plan in the outage that goes on, StopSays what that leaves, and
	// StopUnconfirmed the Pis that have not said that they know of it (rule S10).
	StoppedBy       string   `json:"stopped_by,omitempty"`
	StopSays        string   `json:"stop_says,omitempty"`
	StopUnconfirmed []string `json:"stop_unconfirmed_by,omitempty"`
	// StoppedFor is what the run was begun for that is stopped, node_failure or internet_outage; empty: the power.
	StoppedFor string `json:"stopped_for,omitempty"`
	// Unconfirmed are the Pis that have not said that the plan as it stands, armed or not,
	// is on their disk (rule S10).
	Unconfirmed []string `json:"unconfirmed_by,omitempty"`
}

// Source is a node or Pi.
type Source struct {
	Name      string        `json:"name"`
	Role      string        `json:"role"`
	Condition string        `json:"condition"` // pending, up, failed, off
	State     string        `json:"state"`     // the same in words, with what else counts
	Note      string        `json:"note,omitempty"`
	Heard     bool          `json:"heard"` // in this process
	Age       time.Duration `json:"age_ns"`

	Incident         string    `json:"incident,omitempty"` // that explains its silence
	BackBy           time.Time `json:"back_by,omitzero"`
	MutedUntil       time.Time `json:"muted_until,omitzero"`
	MaintenanceUntil time.Time `json:"maintenance_until,omitzero"`
	OnlyBy           string    `json:"only_by,omitempty"`  // the Pi that alone hears it
	CloneOf          string    `json:"clone_of,omitempty"` // the name that another machine has too
	Key              string    `json:"key,omitempty"`      // by which it is known
}

// UPS is a UPS as last reported.
type UPS struct {
	Name      string         `json:"name"`
	Supply    string         `json:"supply"`
	OnBattery bool           `json:"on_battery"`
	For       time.Duration  `json:"for_ns"`
	Charge    *float64       `json:"charge_ratio,omitempty"`
	Runtime   *time.Duration `json:"runtime_ns,omitempty"`
	Load      *float64       `json:"load_ratio,omitempty"`
	Age       time.Duration  `json:"age_ns"`
	Stale     bool           `json:"stale"`
}

// Run is a run of the plan.
type Run struct {
	ID      string   `json:"id"`
	Title   string   `json:"title"`
	State   string   `json:"state"`
	Reason  string   `json:"reason"`
	DryRun  bool     `json:"dry_run"`
	Past    bool     `json:"past,omitempty"` // it is over, as is what it was about; Title says when it was
	Stage   int      `json:"stage"`          // counts from 1
	Now     string   `json:"now,omitempty"`  // while it is under way: its stage and what it waits for
	Next    string   `json:"next,omitempty"` // what comes after it, and when at the latest
	Targets []Target `json:"targets"`
}

// Off is a machine or guest that the plan shut down and that is not known to run again.
type Off struct {
	Name  string `json:"name"`
	Node  string `json:"node,omitempty"` // of a guest
	State string `json:"state"`          // off, starting, unknown
	Text  string `json:"text"`           // when it was told, and how to start it
}

// Target is one machine or guest of a run.
type Target struct {
	Name  string `json:"name"`
	State string `json:"state"`
	Why   string `json:"why,omitempty"`
}

// Incident is something that is or was wrong.
type Incident struct {
	ID       string    `json:"id"`
	Kind     string    `json:"kind"`
	Title    string    `json:"title"` // kind and site in words
	Site     string    `json:"site"`  // empty: it is of no site
	Since    time.Time `json:"since"`
	Ended    time.Time `json:"ended,omitzero"`
	Earlier  []Spell   `json:"earlier,omitempty"` // it went on before, and again within the hour
	Open     bool      `json:"open"`
	Why      string    `json:"why"`
	Outcome  string    `json:"outcome,omitempty"`
	Nodes    []string  `json:"nodes"`
	Answered string    `json:"answered,omitempty"`
	Calls    []Call    `json:"calls"`
}

// Spell is from when to when something went on.
type Spell struct {
	Since time.Time `json:"since"`
	Ended time.Time `json:"ended"`
}

// Call is one call about an incident.
type Call struct {
	Contact string    `json:"contact"`
	At      time.Time `json:"at"`
	Outcome string    `json:"outcome"`
}

// Entry is one line of the timeline.
type Entry struct {
	At   time.Time `json:"at"`
	Text string    `json:"text"`
	// What it is about, as far as it says so.
	Incident string `json:"incident,omitempty"`
	Site     string `json:"site,omitempty"`
	Node     string `json:"node,omitempty"`
	UPS      string `json:"ups,omitempty"`
}
