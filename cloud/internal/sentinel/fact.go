package sentinel

import (
	"time"

	"sentinel.home.arpa/shared/power"
	"sentinel.home.arpa/shared/routing"
	"sentinel.home.arpa/shared/shutdown"
)

// Fact is something that was decided or seen, and stays so. Facts are kept for ever:
// their names and fields change only by new ones. Every fact's Why is a sentence's end
// that follows "because"; it may be empty where the fact explains itself.
type Fact interface{ FactName() string }

// Role is what a source is.
type Role string

// The roles.
const (
	Node Role = "node"
	Pi   Role = "pi"
)

// IncidentKind is what an incident is about.
type IncidentKind string

// The kinds of incidents.
const (
	NodeFailure    IncidentKind = "node_failure"
	PowerOutage    IncidentKind = "power_outage"
	InternetOutage IncidentKind = "internet_outage"
	// Unwatched: no Pi of the site is heard, so nobody watches the power (rule N5).
	Unwatched IncidentKind = "power_unwatched"
	// TailnetDown: the tailnet itself is out of reach, and the houses may be fine (rule N10).
	// It is of no site.
	TailnetDown IncidentKind = "tailnet_down"
)

// The facts about the brain itself.
type (
	// BrainStarted is written at each start; silence clocks start over (rule H8).
	BrainStarted struct{ Version string }
	// BrainPaused is written when the process was stopped for a while.
	BrainPaused struct{ For time.Duration }
	// BlindBegan: the brain has no uplink of its own and blames nobody (rule N3).
	BlindBegan struct{ Site, Why string }
	// BlindEnded closes it.
	BlindEnded struct {
		For    time.Duration
		Before time.Duration // for how long before it nobody may have been heard; 0: from before it was kept
	}
	// KeyBound ties a name to a key and tailnet identity: those of its first contact, or
	// those that a person approved, which replace what was bound before.
	KeyBound struct {
		Name, Site string
		Role       Role
		Key        string
		StableID   string
		By         string // who approved it; empty: it was the first contact
	}
)

// The facts about nodes and Pis.
type (
	SourceAppeared struct {
		Site, Name string
		Role       Role
		Boot, Via  string
	}
	SourceBack struct {
		Site, Name, Boot, Via string
		Away                  time.Duration
	}
	SourceFailed struct {
		Site, Name string
		Last       time.Time
		Incident   string // the one that explains it; empty: it counts by itself
		Why        string
		Window     time.Duration // failures before it are too old to count; 0: from before it was kept
	}
	// SourceLeft is a planned silence.
	SourceLeft struct {
		Site, Name string
		Last       time.Time
		BackBy     time.Time // zero: not expected back by itself
		Why        string
		// Maintenance: it must be back by the end of its maintenance (rule H9).
		Maintenance bool
	}
	ShutdownAnnounced struct {
		Site, Name, Boot, ID, Kind string
		Returns                    bool
		Via                        string
		Age                        time.Duration
		Seq                        int64 // of the announcement; 0: from before it was kept
		Ahead                      bool  // no heartbeat of that boot was heard yet
	}
	ShutdownCancelled struct {
		Site, Name, Boot, Why string
		Seq                   int64         // of the node's own word; 0: it was not the node that said so
		Silence               time.Duration // a node that is off has so long to be heard; 0: from before it was kept
	}
	// AnnouncementSeen is an announcement that changed nothing but what is a repetition
	// from now on (rule A7).
	AnnouncementSeen struct {
		Site, Name, Boot string
		Seq              int64
	}
)

// The facts about how nodes are watched.
type (
	Muted struct {
		Site, Name, By string
		Until          time.Time
		For            time.Duration
		Cut            bool // it was asked for longer than there is
	}
	Unmuted struct {
		Site, Name, Why string
		Waits           bool // it ends once it is known whose fault the silence is
	}
	// MaintenanceBegan is of a node, or with an empty Name of the whole site.
	MaintenanceBegan struct {
		Site, Name, By string
		Until          time.Time
		For            time.Duration
		Cut            bool // it was asked for longer than there is
	}
	MaintenanceEnded struct{ Site, Name, Why string }
	SourceDeleted    struct {
		Site, Name, By string
		Unlisted       bool // the configuration does not name it
	}
	// SourceExpected is a source that the configuration names from now on.
	SourceExpected struct {
		Site, Name string
		Role       Role
	}
	// SourceForgotten was never heard, or was deleted, and is no longer expected.
	SourceForgotten struct{ Site, Name string }
	// SiteForgotten is no longer configured.
	SiteForgotten struct{ Site string }
	// DirectLost is a node that only a Pi hears (rule H10).
	DirectLost struct {
		Site, Name, Via string
		Since           time.Time
	}
	DirectBack struct{ Site, Name string }
	// CloneSeen is a second machine under one name; it is watched as As (rule H11).
	CloneSeen struct{ Site, Name, As string }
)

// The facts about power.
type (
	SupplyChanged struct {
		Site, UPS string
		Supply    power.Supply
		Since     time.Time
		Reading   power.Reading
		Pi, Boot  string
		Seq       int64 // of the Pi's report; 0: from before it was kept
		Listed    bool  // the configuration names the UPS
		// From is the Pi whose word counted until now, and Why it does no longer; empty: Pi's did.
		From string `json:",omitempty"`
		Why  string `json:",omitempty"`
	}
	ContactLost struct {
		Site, UPS, Why string
		Elsewhere      bool `json:",omitempty"` // its Pi is not heard, which is told by itself
	}
	ContactBack struct {
		Site, UPS string
		Elsewhere bool `json:",omitempty"` // as it was lost
	}
	// OutputCut is a Pi's last word (rule G4); OutputKept takes it back, since the Pi is still on.
	OutputCut  struct{ Site, UPS, Pi, Incident string }
	OutputKept struct{ Site, UPS, Pi string }
	// RecordTaken is what a Pi saw while the brain could not be reached (rule N7).
	RecordTaken struct {
		Site, Pi string
		At       time.Time // when the Pi saw it, by the brain's time
		AtLatest bool      // it may have been earlier
		UPS      string    // empty: it is about a node
		Reading  power.Reading
		Node     string
		Heard    bool
		Incident string // of whose story it is a part; empty: none is known
		// Called is whom the Pi called by itself, and Why its reason (rule G3); empty: nobody.
		Called string `json:",omitempty"`
		Why    string `json:",omitempty"`
	}
	// RecordComplete is the end of what a Pi noted in a time in which it was not heard (rule N9).
	RecordComplete struct{ Site, Pi string }
)

// The facts about incidents.
type (
	IncidentOpened struct {
		ID, Site string
		Kind     IncidentKind
		Since    time.Time
		Nodes    []string
		UPS      string
		Why      string
		Worse    []string // what of IncidentWorse it is from the beginning
		UPSes    []string `json:",omitempty"` // of which everything is silent (rule U9)
		Broken   bool     `json:",omitempty"` // those were switched off or are broken
	}
	IncidentReopened struct {
		ID, Why string
		Worse   []string  // what it is again of what it got worse by before
		Nodes   []string  // what it is about now; empty: what it was about before
		Since   time.Time // when it began again; zero: it counts from where it did before
	}
	IncidentJoined struct {
		ID, Node, Why string
		Planned       bool `json:",omitempty"` // the plan told it to go down
	}
	IncidentLeft      struct{ ID, Node, Why string }
	IncidentAnswered  struct{ ID, By, Why string } // acknowledged
	IncidentResolved  struct{ ID, Why string }
	IncidentWithdrawn struct{ ID, Why string }
	// IncidentWorse calls once more, whoever has answered (rule H5). What is each kind of
	// worsening, which happens once. UPSes and Broken are as of IncidentOpened, or one that is on
	// battery too.
	IncidentWorse struct {
		ID, What, Why string
		UPSes         []string `json:",omitempty"`
		Broken        bool     `json:",omitempty"`
	}
	// IncidentReminded calls once more, since nobody has answered (rule H5).
	IncidentReminded struct{ ID, Why string }
	// IncidentBecame is another kind than it was taken for (rule N11); with Calls it calls anew.
	IncidentBecame struct {
		ID    string
		Kind  IncidentKind
		UPS   string
		Since time.Time
		Calls bool
		Why   string
	}
	// Noticed is told on the quiet channels and stands in the timeline. What it is About is
	// told again only when it stands differently.
	Noticed struct {
		Site, Incident, Text string
		About, As            string // empty: it is told each time

		Kind     string           `json:",omitempty"` // one of NoticeKinds; empty: its incident's, or KindNotice
		Severity routing.Severity `json:",omitempty"`
		Over     bool             `json:",omitempty"` // what it is about has ended
	}
)

// The facts about calls. CallRequested without CallEnded is the outbox.
type (
	CallRequested struct {
		Call, Incident, Contact string
		Attempt                 int
		Why                     string
		Test                    string `json:",omitempty"` // who wants to see that calling works; it is of no incident
		Other                   bool   `json:",omitempty"` // it is not about the power, of which there may be fewer (rule C8)
	}
	CallPlaced struct{ Call, SID string }
	// KeyPressed is a key of the telephone during the call (rule C3).
	KeyPressed struct{ Call, Key string }
	CallEnded  struct {
		Call              string
		Delivered         bool
		Outcome           string // Twilio's status, or what kept it from being placed
		Refused, OfNumber bool   `json:",omitempty"` // until somebody mends something; another contact's may be placed
		Advice            string `json:",omitempty"` // what
	}
	// SelfTested is whether a call would be placed (rule C7). Unclear: that may pass by itself.
	SelfTested struct {
		Fine, Unclear bool
		Why, Advice   string
		Calls         *int   `json:",omitempty"` // about so many can be paid for; absent: not known
		Credit        string `json:",omitempty"`
		Trial         bool   `json:",omitempty"` // it reaches verified numbers only
	}
	// CallLate is a call that cannot be placed for now, and is tried again.
	CallLate struct{ Call, Contact, Why, Advice string }
	// CallDropped asks for a call to be taken back: what it is about is over.
	CallDropped struct{ Call, Why string }
	// CallHeld is a call that does not come now, and may come then (rules C6, C8).
	CallHeld struct {
		Incident, Contact, Why string
		Until                  time.Time
	}
)

// The facts about notices. NoticeRequested without NoticeEnded is the outbox.
type (
	NoticeRequested struct {
		Notice, Contact, Channel string
		Site, Incident           string // empty: it is of none
		Kind                     string // one of NoticeKinds
		Severity                 routing.Severity
		Over                     bool
		Subject, Text            string
		Joined                   []string `json:",omitempty"` // the nodes that it tells to be part of the incident
		Counted                  bool     `json:",omitempty"` // it tells of those that were only counted
	}
	NoticeEnded struct {
		Notice    string
		Delivered bool
		Outcome   string
	}
	// NoticesCounted are those that a channel is not told one by one: there are too many of them.
	NoticesCounted struct {
		Contact, Channel string
		Subjects         []string
		Incident         string   `json:",omitempty"`
		Joined           []string `json:",omitempty"` // as of NoticeRequested
	}
	// ChannelFailing is told once for each spell, which ends with ChannelWorks, as soon as it may be.
	ChannelFailing struct {
		Contact, Channel, Why string
		Untold                bool `json:",omitempty"` // the other channels were told within the hour before
	}
)

// The facts about plans.
type (
	PlanArmed    struct{ Site, By string }
	PlanDisarmed struct{ Site, By string }
	// PlanStopped ends what runs of the plan, and keeps it from beginning again while the
	// power is out (rule S10).
	PlanStopped struct {
		Site, By string
		Epoch    shutdown.Epoch // above all that were, so that it is known from what came before it
		On       shutdown.Cause `json:",omitempty"` // what the run was for that was stopped; empty: the power
		Above    string         `json:",omitempty"` // the Pi's run above whose epoch a stop that holds is raised; empty: this is a new one
	}
	// StopEnded is that a stop holds no longer: the power was back since.
	StopEnded struct{ Site, Why string }
	// LeftOff is that a person lets something stay off that the plan told to shut down, as people call it.
	LeftOff struct{ Site, Name, By string }
	// NetworkSaid is a person's word on whether the network between Pi and nodes lives on
	// when the power is out.
	NetworkSaid struct {
		Site, By string
		OnUPS    bool
	}
	// RunStepped is one event of a run. Its first, Began, carries the run's header.
	RunStepped struct {
		Site, Incident string
		Epoch          shutdown.Epoch
		Event          shutdown.Event
	}
	// PiRunSeen is a run that a Pi holds.
	PiRunSeen struct {
		Site, Pi string
		Run      shutdown.Status
		Incident string // as of RecordTaken
		New      bool   `json:",omitempty"` // it is the first word of that run
		TakesUp  bool   `json:",omitempty"` // the brain's run did not act, and this one does in its place
		Ended    bool   `json:",omitempty"` // it is the first word that it goes on no longer
	}
)

// NewFact makes an empty fact by its name, for a reader to fill; nil if unknown.
func NewFact(name string) Fact {
	for _, of := range []func(name string) Fact{
		named[BrainStarted], named[BrainPaused], named[BlindBegan], named[BlindEnded], named[KeyBound],
		named[SourceAppeared], named[SourceBack], named[SourceFailed], named[SourceLeft], named[ShutdownAnnounced], named[ShutdownCancelled], named[AnnouncementSeen],
		named[Muted], named[Unmuted], named[MaintenanceBegan], named[MaintenanceEnded], named[SourceDeleted], named[SourceExpected], named[SourceForgotten], named[SiteForgotten], named[DirectLost], named[DirectBack], named[CloneSeen],
		named[SupplyChanged], named[ContactLost], named[ContactBack], named[OutputCut], named[OutputKept], named[RecordTaken], named[RecordComplete],
		named[IncidentOpened], named[IncidentReopened], named[IncidentJoined], named[IncidentLeft], named[IncidentAnswered], named[IncidentResolved], named[IncidentWithdrawn], named[IncidentWorse], named[IncidentReminded], named[IncidentBecame], named[Noticed],
		named[CallRequested], named[CallPlaced], named[CallLate], named[KeyPressed], named[CallEnded], named[CallDropped], named[CallHeld], named[SelfTested],
		named[NoticeRequested], named[NoticeEnded], named[NoticesCounted], named[ChannelFailing], named[ChannelWorks], named[ChannelTried], named[DigestMade],
		named[PlanArmed], named[PlanDisarmed], named[PlanStopped], named[StopEnded], named[NetworkSaid], named[LeftOff], named[RunStepped], named[PiRunSeen],
	} {
		if f := of(name); f != nil {
			return f
		}
	}
	return nil
}

// FactName implements Fact, as do the following.
func (*BrainStarted) FactName() string      { return "brain_started" }
func (*BrainPaused) FactName() string       { return "brain_paused" }
func (*BlindBegan) FactName() string        { return "blind_began" }
func (*BlindEnded) FactName() string        { return "blind_ended" }
func (*KeyBound) FactName() string          { return "key_bound" }
func (*SourceAppeared) FactName() string    { return "source_appeared" }
func (*SourceBack) FactName() string        { return "source_back" }
func (*SourceFailed) FactName() string      { return "source_failed" }
func (*SourceLeft) FactName() string        { return "source_left" }
func (*ShutdownAnnounced) FactName() string { return "shutdown_announced" }
func (*ShutdownCancelled) FactName() string { return "shutdown_cancelled" }
func (*AnnouncementSeen) FactName() string  { return "announcement_seen" }
func (*Muted) FactName() string             { return "muted" }
func (*Unmuted) FactName() string           { return "unmuted" }
func (*MaintenanceBegan) FactName() string  { return "maintenance_began" }
func (*MaintenanceEnded) FactName() string  { return "maintenance_ended" }
func (*SourceDeleted) FactName() string     { return "source_deleted" }
func (*SourceExpected) FactName() string    { return "source_expected" }
func (*SourceForgotten) FactName() string   { return "source_forgotten" }
func (*SiteForgotten) FactName() string     { return "site_forgotten" }
func (*DirectLost) FactName() string        { return "direct_lost" }
func (*DirectBack) FactName() string        { return "direct_back" }
func (*CloneSeen) FactName() string         { return "clone_seen" }
func (*OutputCut) FactName() string         { return "output_cut" }
func (*OutputKept) FactName() string        { return "output_kept" }
func (*RecordTaken) FactName() string       { return "record_taken" }
func (*RecordComplete) FactName() string    { return "record_complete" }
func (*IncidentWorse) FactName() string     { return "incident_worse" }
func (*IncidentReminded) FactName() string  { return "incident_reminded" }
func (*IncidentBecame) FactName() string    { return "incident_became" }
func (*SupplyChanged) FactName() string     { return "supply_changed" }
func (*ContactLost) FactName() string       { return "contact_lost" }
func (*ContactBack) FactName() string       { return "contact_back" }
func (*IncidentOpened) FactName() string    { return "incident_opened" }
func (*IncidentReopened) FactName() string  { return "incident_reopened" }
func (*IncidentJoined) FactName() string    { return "incident_joined" }
func (*IncidentLeft) FactName() string      { return "incident_left" }
func (*IncidentAnswered) FactName() string  { return "incident_answered" }
func (*IncidentResolved) FactName() string  { return "incident_resolved" }
func (*IncidentWithdrawn) FactName() string { return "incident_withdrawn" }
func (*Noticed) FactName() string           { return "noticed" }
func (*CallRequested) FactName() string     { return "call_requested" }
func (*CallPlaced) FactName() string        { return "call_placed" }
func (*KeyPressed) FactName() string        { return "key_pressed" }
func (*CallLate) FactName() string          { return "call_late" }
func (*CallEnded) FactName() string         { return "call_ended" }
func (*CallDropped) FactName() string       { return "call_dropped" }
func (*CallHeld) FactName() string          { return "call_held" }
func (*NoticeRequested) FactName() string   { return "notice_requested" }
func (*NoticeEnded) FactName() string       { return "notice_ended" }
func (*NoticesCounted) FactName() string    { return "notices_counted" }
func (*ChannelFailing) FactName() string    { return "channel_failing" }
func (*ChannelWorks) FactName() string      { return "channel_works" }
func (*ChannelTried) FactName() string      { return "channel_tried" }
func (*DigestMade) FactName() string        { return "digest_made" }
func (*SelfTested) FactName() string        { return "self_tested" }
func (*PlanArmed) FactName() string         { return "plan_armed" }
func (*PlanDisarmed) FactName() string      { return "plan_disarmed" }
func (*PlanStopped) FactName() string       { return "plan_stopped" }
func (*StopEnded) FactName() string         { return "stop_ended" }
func (*NetworkSaid) FactName() string       { return "network_said" }
func (*LeftOff) FactName() string           { return "left_off" }
func (*RunStepped) FactName() string        { return "run_stepped" }
func (*PiRunSeen) FactName() string         { return "pi_run_seen" }
