package sentinel

import (
	"iter"
	"slices"
	"time"

	"sentinel.home.arpa/shared/escalation"
	"sentinel.home.arpa/shared/power"
	"sentinel.home.arpa/shared/routing"
	"sentinel.home.arpa/shared/shutdown"
)

// Config is what the core must know. It is not part of the durable state.
type Config struct {
	Brain string // this brain's name, the holder of its epochs
	Sites []SiteConfig
	// Contacts are called in this order.
	Contacts []string
	// People are who is told by other means, and what they want to be told. A contact that is
	// none of them is called about everything.
	People []Person
	Limits Limits
	// Shown is what a clock on the wall says at a moment of Step's time; nil: the same.
	Shown func(time.Time) time.Time

	Escalation escalation.Policy
	Times      Times
	Threshold  int // distinct failed nodes within the window that make an incident
	// WorseCharge and WorseRuntime are the battery's ratio and time under which an outage
	// has become worse (rule H5).
	WorseCharge  float64
	WorseRuntime time.Duration
	// Phone tells one way to call people from another; SelfTestEach is how often it is asked
	// whether it would (0: never), and FewCalls how many its credit must last for (rule C7).
	Phone        string
	SelfTestEach time.Duration
	FewCalls     int
	Drill        *Weekly // when everybody is called to see that it works; nil: never
	Digest       *Digest // when people are told how all was; nil: never
}

// Person is who is told what.
type Person struct {
	Name     string
	Phone    routing.Route // the incidents that it rings for
	Quiet    routing.Quiet // when it does not, but for the power
	Channels []Channel
}

// Channel is one way to tell a person. Its name is what it is known by, over a reload as well,
// and carries no secret.
type Channel struct {
	Name  string
	Route routing.Route
}

// Limits are how much a person or channel is told at most in an hour; 0: there is no limit.
type Limits struct {
	Calls      int // to a contact (rule C8)
	OtherCalls int // of them, that are not about the power
	Notices    int // to a channel
}

// DefaultLimits are those of the contract.
func DefaultLimits() Limits { return Limits{Calls: 6, OtherCalls: 3, Notices: 30} }

// The contract's defaults of a battery that runs low.
const (
	DefaultWorseCharge  = 0.3
	DefaultWorseRuntime = 5 * time.Minute
)

// SiteConfig is one home or office.
type SiteConfig struct {
	Name   string
	Zone   *time.Location // nil: UTC
	Nodes  []string       // expected; those that appear by themselves are not listed
	Pis    []string
	Plan   *shutdown.Plan // nil: there is none
	Policy power.Policy
	// OnFailure has the plan begin for failed nodes too, and InternetAfter has a Pi begin it once the
	// internet has been out for so long; 0: never (rule S0).
	OnFailure     bool
	InternetAfter time.Duration
	// Feeds are the nodes that each UPS feeds; nil: it is not known, and each may feed all.
	Feeds map[string][]string
}

// Times are the contract's durations.
type Times struct {
	Silence      time.Duration // H2, applied by the liveness table; here for the reason
	Window       time.Duration // H3
	Calm         time.Duration // H6, N9: heard again for this long
	CalmFlapping time.Duration // H6: the same, where a node failed twice within Window
	Return       time.Duration // A4
	OutageNotice time.Duration // U2
	PowerCall    time.Duration // U2, at the latest
	InternetCall time.Duration // N8
	ReportFresh  time.Duration // S5
	Cancel       time.Duration // A5: heartbeats that say running for this long
	Continue     time.Duration // H6, N9: the same again within this is the same incident
	DoubtAtMost  time.Duration // N6
	KeyNotice    time.Duration // N10: how long before a node key expires it is said

	Reminder       time.Duration // H5: from one round of calls that nobody answered to the next
	RemindFor      time.Duration // H5: no reminder after that long
	PendingNotice  time.Duration // H7
	StoppingNotice time.Duration // A5
	PiNotice       time.Duration // N5: a Pi silent while nodes live
	PiCall         time.Duration // N5: the site's last Pi silent
	SwitchedOff    time.Duration // U8: nodes on no UPS, from the switch to battery
	RecordWithin   time.Duration // N9: how long the Pi's record is waited for
}

// DefaultTimes are those of the contract.
func DefaultTimes() Times {
	return Times{
		Silence:      20 * time.Second,
		Window:       time.Hour,
		Calm:         60 * time.Second,
		CalmFlapping: 15 * time.Minute,
		Return:       10 * time.Minute,
		OutageNotice: 5 * time.Second,
		PowerCall:    15 * time.Second,
		InternetCall: 60 * time.Second,
		ReportFresh:  3 * time.Second,
		Cancel:       30 * time.Second,
		Continue:     time.Hour,
		DoubtAtMost:  3 * time.Second,
		KeyNotice:    14 * 24 * time.Hour,

		Reminder:       30 * time.Minute,
		RemindFor:      6 * time.Hour,
		PendingNotice:  10 * time.Minute,
		StoppingNotice: 30 * time.Minute,
		PiNotice:       time.Minute,
		PiCall:         5 * time.Minute,
		SwitchedOff:    time.Minute,
		RecordWithin:   5 * time.Minute,
	}
}

// unheardAtMost is for how long nobody may have been heard before the brain knows that it is
// blind: a silence, and the doubt about it (rules H2, N6).
func (t Times) unheardAtMost() time.Duration { return t.Silence + t.DoubtAtMost }

// sources are those that are expected at the site, and what they are.
func (sc *SiteConfig) sources() iter.Seq2[string, Role] {
	return func(yield func(string, Role) bool) {
		for _, n := range sc.Nodes {
			if !yield(n, Node) {
				return
			}
		}
		for _, p := range sc.Pis {
			if !yield(p, Pi) {
				return
			}
		}
	}
}

// lists reports whether a source of a site is expected.
func (sc *SiteConfig) lists(name string) bool {
	return slices.Contains(sc.Nodes, name) || slices.Contains(sc.Pis, name)
}

// listsUPS reports whether it is said what a UPS of the site feeds.
func (sc *SiteConfig) listsUPS(ups string) bool {
	_, is := sc.Feeds[ups]
	return is
}

func (c *Config) site(name string) *SiteConfig {
	for i := range c.Sites {
		if c.Sites[i].Name == name {
			return &c.Sites[i]
		}
	}
	return nil
}
