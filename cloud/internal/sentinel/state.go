package sentinel

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"sentinel.home.arpa/shared/power"
	"sentinel.home.arpa/shared/shutdown"
)

// State is all that the brain knows. It is not safe for concurrent use.
type State struct {
	cfg       Config
	Sites     map[string]*Site
	Incidents map[string]*Incident
	Keys      map[string]KeyBound  // by name
	Told      map[string]string    // how what was noticed stood, by what it is about
	ToldAt    map[string]time.Time // and when it was told
	Blind     time.Time            // since when the brain has had no uplink; zero: it has
	Deaf      []Gap                // when nobody was heard here, the newest last
	Phone     Phone
	Tests     []*Call   `json:",omitempty"` // to see that calling works, the newest last
	Drilled   time.Time `json:",omitzero"`

	Notices  []*Notice                 `json:",omitempty"` // those on their way, the oldest first
	Noticed  uint64                    `json:",omitempty"` // how many there were
	Channels map[string]*ChannelStands `json:",omitempty"` // by contact and name
	Tally    Tally                     `json:",omitzero"`  // for the next digest

	wake time.Time // the next deadline, as of the last Step
	last time.Time // when the last fact was written

	watching  time.Time // since when time has been watched without a gap
	attending time.Time // the same, but for stops that follow one another
	hearing   time.Time // since when who is there could be heard: such stops begin that once
	stopped   time.Time // when the last stop was over; zero: none was since the last start
	tested    bool      // the phone that is configured, in this process
	expiring  []KeyExpiring
	testDue   bool
}

// Site is one home or office as it stands.
type Site struct {
	Name    string
	Sources map[string]*Source
	UPSes   map[string]*UPS
	Armed   bool
	Epoch   shutdown.Epoch // of the brain's own last run

	MaintainedUntil time.Time // the whole site; zero: it is not in maintenance
	MaintainedFor   time.Duration

	StoppedAt    time.Time      `json:",omitzero"`  // since when a person's stop holds; zero: none does
	StoppedBy    string         `json:",omitempty"` // who
	StoppedOn    shutdown.Cause `json:",omitempty"` // what the run was for that is stopped; empty: the power
	NetworkOnUPS string         `json:",omitempty"` // NetworkYes or NetworkNo; empty: nobody has said

	Cut cutUPSes `json:",omitempty"` // the UPSes whose output a Pi has had cut

	Run         *shutdown.Run // the last one
	RunIncident string
	RunCause    string           `json:",omitempty"` // the incident that the run was begun for, if not for the power
	TakenBy     string           `json:",omitempty"` // the Pi's run that took this one over, under a later epoch
	PiRun       *shutdown.Status // the last one that a Pi told of
	PiRunAt     time.Time
	PiRuns      map[string]KnownRun  `json:",omitempty"` // the last one of each Pi
	Taken       []Taken              // of its Pis' records, the newest last
	LeftOff     map[string]time.Time `json:",omitempty"` // when a person left something off that the plan told to shut down

	Gone    map[string][]Said    // what deleted sources said: it is a repetition when it comes again
	GoneAt  map[string]time.Time // when sources were deleted: what they said before brings none back
	Deleted map[string]bool      // listed all the same: they are not expected until they are heard

	watched map[string]bool // sources of which something may come due
	doubt   *doubt
	lostAt  time.Time // since when some are heard by a Pi alone of which nobody was told
	apart   bool      // something other than the Pi explained its silence, as of the last Step
	joined  time.Time // when that ended
	away    bool      // it was behind the tailnet's outage, as of the last Step
	reached time.Time // when that ended
	look    time.Time // when to look for what is missing; zero: there is no need

	piAdvanced time.Time        // when a Pi last said that its run advances
	piSaid     map[string]claim // the last word of each on its run, by Pi
	news       time.Time        // of the oldest entry about a UPS in a record that is not complete yet
	unsaid     time.Time        // until when a UPS is listened for whose Pi was restarted; zero: for none
}

// Condition is how a source stands.
type Condition string

// The conditions.
const (
	Pending Condition = "pending" // expected, never seen
	Up      Condition = "up"
	Failed  Condition = "failed"
	Off     Condition = "off" // silent, as announced
)

// Source is a node's agent or a Pi.
type Source struct {
	Name      string
	Role      Role
	Condition Condition
	Boot      string
	Booted    time.Time `json:",omitzero"` // when the first was heard of its boot
	Since     time.Time // of the condition
	Last      time.Time // its last word, while it is not up
	Via       string    // the Pi that relayed its last transition; empty: directly
	Incident  string    // that explains its silence
	BackBy    time.Time // while off: when it must be back; zero: never
	Announced *Announcement
	Ahead     *Announcement // of a boot that no heartbeat has told of yet
	Left      []string      // the last boots that are over, the newest last
	ToldBoot  string        // the boot in which a plan last told it to go down; empty: in none that is known
	Said      []Said        // by its last boots, the newest last
	Failures  []Failure

	MutedUntil      time.Time // zero: it is not muted
	MutedFor        time.Duration
	MaintainedUntil time.Time // zero: it is not in maintenance
	MaintainedFor   time.Duration
	Maintained      bool      // it is off, and BackBy is the end of its maintenance
	Gaps            []Gap     // of a Pi: when it was not heard, the newest last
	RecordedAt      time.Time // of a Pi: when its record of such a time was complete
	OnlyBy          string    // the Pi that alone hears it; empty: the brain does, or nobody
	CloneOf         string    // the name that another machine has too

	system   string    // systemd's state
	running  time.Time // since when it has said running, after an announcement
	stopping time.Time // since when it has said stopping
	expected time.Time // since when it is waited for, while it is pending
}

// Announcement is a planned shutdown.
type Announcement struct {
	ID, Boot, Kind, Via string
	Returns             bool
	At                  time.Time
}

// Said is the highest seq of a boot's messages of one kind: one that is not higher is a
// repetition (rules A7, U6).
type Said struct {
	Boot string
	Seq  int64
}

// Failure is one unannounced silence that nothing else explains.
type Failure struct {
	At   time.Time
	Boot string
	Told bool // part of an incident
}

// UPS is a UPS as it was last reported.
type UPS struct {
	Name   string
	Supply power.Supply
	Since  time.Time
	Lost   bool
	LostAt time.Time // when contact was called lost

	LostElsewhere bool              `json:",omitempty"` // with its Pi
	Stale         bool              // nobody watched for so long that the supply may be another by now
	Shown         map[string][]Said // by Pi: its reports that changed the supply
	Listed        bool              // the configuration named it then
	Pi            string            // whose it is; empty: not known
	// Transfers is how often it had gone on battery when the supply last changed; 0: it did not say.
	Transfers int
	Mains     time.Time `json:",omitzero"` // when it was last told that it is on mains again

	reading power.Reading
	at      time.Time        // when the reading was true; zero: none ever
	mains   time.Time        // when its word of the mains last came, in this process
	boot    string           // of the Pi that last knew the supply, in this process
	assumed bool             // the reading is what the journal knew, not yet heard anew
	heard   time.Time        // since when it has been heard, after a start or pause; zero: not yet
	unheard time.Time        // while it is assumed: when the last was heard of it that is certain
	claims  map[string]claim // by Pi
	lone    *claim           // the first word of mains after a start or pause, until a newer one confirms it
	late    *lateReport      // one for a while, until a newer one comes

	advised map[string]time.Time // since when it has said otherwise than what was told of it
}

// Incident is something that is wrong, from its start to its end.
type Incident struct {
	ID, Site string
	Kind     IncidentKind
	Since    time.Time // when it began at the site
	Opened   time.Time // when it was noticed
	Reopened time.Time
	Nodes    []string
	UPS      string
	Why      string
	Calls    []*Call
	Answered string // by whom
	Known    string // who had answered before it became worse
	Worse    []string
	Alarmed  time.Time // since when people are to be called anew; zero: since it was opened
	Alarm    string    // why anew; empty: for Why
	Worsened bool      // Alarm is what got worse
	Worst    Worsening `json:",omitzero"` // what that is, while Worsened
	Resolved time.Time
	Outcome  string // why it is over
	Earlier  []Gap  `json:",omitempty"` // when it went on before, the newest last
	Ran      bool   `json:",omitempty"` // a run was begun for it that the power was no reason of
	// Held are who is not called before then, and Unsaid the nodes that have joined it and were
	// not told yet, since UnsaidAt.
	Held     map[string]time.Time `json:",omitempty"`
	Unsaid   []string             `json:",omitempty"`
	UnsaidAt time.Time            `json:",omitzero"`
	Lost     Worsening            `json:",omitzero"` // of which UPSes everything has been silent from the beginning

	calmSince time.Time
}

// New makes the state of a brain that has seen nothing.
func New(cfg Config) *State {
	s := &State{cfg: cfg, Sites: map[string]*Site{}, Incidents: map[string]*Incident{}, Keys: map[string]KeyBound{}, Told: map[string]string{}, ToldAt: map[string]time.Time{}}
	for _, sc := range cfg.Sites {
		site := s.site(sc.Name)
		for n, role := range sc.sources() {
			site.Sources[n] = &Source{Name: n, Role: role, Condition: Pending}
			site.note(n)
		}
	}
	return s
}

// NextDeadline is when Step should be called again if nothing happens; zero: never.
func (s *State) NextDeadline() time.Time { return s.wake }

// WantsUplink reports whether the brain must find out about its own internet, to blame
// neither itself nor a site unjustly.
func (s *State) WantsUplink() bool {
	if !s.Blind.IsZero() {
		return true
	}
	for _, site := range s.Sites {
		if site.doubted() {
			return true
		}
	}
	return false
}

// OpenIncidents are those that go on, in the order of their beginnings.
func (s *State) OpenIncidents() []*Incident {
	var open []*Incident
	for _, i := range s.Incidents {
		if i.Open() {
			open = append(open, i)
		}
	}
	slices.SortFunc(open, byOpening)
	return open
}

func byOpening(a, b *Incident) int {
	if c := a.Opened.Compare(b.Opened); c != 0 {
		return c
	}
	if a.ID < b.ID {
		return -1
	}
	return 1
}

// OpenCalls are the outbox: calls requested and not ended.
func (s *State) OpenCalls() []*Call {
	open := slices.DeleteFunc(slices.Clone(s.Tests), func(c *Call) bool { return !c.Open() })
	for _, i := range slices.SortedFunc(maps.Values(s.Incidents), byOpening) {
		for _, c := range i.Calls {
			if c.Open() {
				open = append(open, c)
			}
		}
	}
	return open
}

// Reading is the UPS's last report as it stands at now, and whether there is one: a
// report that has not been renewed for longer than fresh counts as lost contact.
func (u *UPS) Reading(now time.Time, fresh time.Duration) (power.Reading, bool) {
	if u.at.IsZero() {
		return power.Reading{}, false
	}
	old := now.Sub(u.at)
	if old > fresh {
		return u.reading.Lost(old), true
	}
	return u.reading.Aged(old), true
}

// OnBattery reports whether one of the site's UPSes is, and since when.
func (s *Site) OnBattery() (time.Time, bool) {
	var since time.Time
	for _, u := range s.UPSes {
		if u.Supply == power.Battery && (since.IsZero() || u.Since.Before(since)) {
			since = u.Since
		}
	}
	return since, !since.IsZero()
}

// OnBatteryNow are the readings, as they stand at now, of the site's UPSes that are on battery,
// the worst first: the least runtime, then the least charge, those not known last, then by name.
// One that was cut off says nothing of those that go on.
func (s *Site) OnBatteryNow(now time.Time, fresh time.Duration) []power.Reading {
	var on []power.Reading
	for _, name := range slices.Sorted(maps.Keys(s.UPSes)) {
		if slices.Contains(s.Cut, name) && !s.darkAsPlanned() {
			continue
		}
		if r, ok := s.UPSes[name].Reading(now, fresh); ok && r.OnBattery() {
			on = append(on, r)
		}
	}
	slices.SortStableFunc(on, func(a, b power.Reading) int {
		return cmp.Or(knownFirst(a.Runtime, b.Runtime), knownFirst(a.Charge, b.Charge))
	})
	return on
}

// knownFirst orders two values of which either may not be known.
func knownFirst[T cmp.Ordered](a, b *T) int {
	switch {
	case a != nil && b != nil:
		return cmp.Compare(*a, *b)
	case a != nil:
		return -1
	case b != nil:
		return 1
	default:
		return 0
	}
}

// Supply is the worst of the site's UPSes: on battery, then not known, then a test, and mains
// only if all are on mains. With none it is not known. One that was let go is as if it were not
// there, but for a run of which it may be the reason (rules S5, U5).
func (s *Site) Supply() power.Supply {
	supplies := map[power.Supply]bool{}
	for _, u := range s.UPSes {
		if u.Supply != power.Unknown || s.Run != nil && !s.Run.Over() && u.letGoIn(s.Run) {
			supplies[u.Supply] = true
		}
	}
	for _, worst := range []power.Supply{power.Battery, power.Unknown, "", power.SelfTest, power.Calibrates, power.Mains} {
		if supplies[worst] {
			return cmp.Or(worst, power.Unknown)
		}
	}
	return power.Unknown
}

// heardOnBattery is the same of those that are in reach: of one that is not, only its past is
// known. With none in reach it is of all.
func (s *Site) heardOnBattery() (time.Time, bool) {
	var since time.Time
	for _, u := range s.UPSes {
		if u.Supply == power.Battery && !u.Lost && (since.IsZero() || u.Since.Before(since)) {
			since = u.Since
		}
	}
	if since.IsZero() {
		return s.OnBattery()
	}
	return since, true
}

// Mandate is what one of the site's Pis is told: who acts, and how far the brain has come.
// A run of an earlier outage says nothing about this one, nor does a dry run once the plan is
// armed; but a UPS that is out of reach for long is no reason to begin, so there it holds back.
// The Pi that has carried the run out knows better of which outage that was.
func (s *State) Mandate(name, pi string, now time.Time) (shutdown.Epoch, shutdown.State, string) {
	site := s.Sites[name]
	if site == nil {
		return shutdown.Epoch{Holder: s.cfg.Brain}, shutdown.None, ""
	}
	epoch := site.Epoch
	if epoch.Holder == "" {
		epoch.Holder = s.cfg.Brain
	}
	if !site.Armed {
		return epoch, shutdown.Disarmed, ""
	}
	if site.stopHolds() {
		return s.tellsStop(site, epoch, now)
	}
	if r := site.Run; r == nil || r.DryRun && site.hearsBattery() || r.Over() && (!s.ranFor(site, r) || r.ForNobody() || site.takenInVain() || site.carriedOutBy(pi) || site.mayBeAnother(pi, r)) {
		return epoch, shutdown.None, ""
	}
	if len(site.carriedOut()) > 0 { // nobody has stopped the plan
		return epoch, shutdown.HasEnded, site.Run.ID
	}
	return epoch, site.Run.State(now), site.Run.ID
}

func (s *State) site(name string) *Site {
	site := s.Sites[name]
	if site == nil {
		site = &Site{Name: name, Sources: map[string]*Source{}, UPSes: map[string]*UPS{}, watched: map[string]bool{}}
		if name != "" { // what is of no site has none
			s.Sites[name] = site
		}
	}
	return site
}

func (s *Site) source(name string) *Source {
	src := s.Sources[name]
	if src == nil {
		src = &Source{Name: name, Role: Node, Condition: Pending, Said: s.Gone[name]}
		s.Sources[name] = src
		delete(s.Gone, name)
		delete(s.GoneAt, name)
		delete(s.Deleted, name)
		s.note(name)
	}
	return src
}

func (s *State) call(id string) *Call {
	for _, c := range s.Tests {
		if c.ID == id {
			return c
		}
	}
	for _, i := range s.Incidents {
		for _, c := range i.Calls {
			if c.ID == id {
				return c
			}
		}
	}
	return nil
}
