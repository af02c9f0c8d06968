package sentinel

import (
	"slices"
	"time"

	"sentinel.home.arpa/shared/routing"
)

// Kinds of what is told, beside those of incidents.
const (
	KindPlan    = "plan"    // a run of the plan, and whether it is armed
	KindUPS     = "ups"     // what a UPS says of itself, with advice (rule U5)
	KindChannel = "channel" // a channel that fails, or works again
	KindPhone   = "phone"   // the way to call people, and its credit (rule C7)
	KindDigest  = "digest"  // how all was, now and then
	KindNotice  = "notice"  // anything else
)

// NoticeKinds are all kinds that a route may name.
func NoticeKinds() []string {
	return []string{string(PowerOutage), string(NodeFailure), string(InternetOutage), string(Unwatched), string(TailnetDown), KindPlan, KindUPS, KindChannel, KindPhone, KindDigest, KindNotice}
}

// Notice is one message to one channel, on its way.
type Notice struct {
	ID, Contact, Channel string
	Site, Incident, Kind string
	Severity             routing.Severity
	Over                 bool
	Subject, Text        string
	Requested            time.Time
}

// ChannelStands is how a channel stands.
type ChannelStands struct {
	Contact, Channel string
	Failing          time.Time            `json:",omitzero"` // since when; zero: it works, as far as is known
	Why              string               `json:",omitempty"`
	FailingTold      time.Time            `json:",omitzero"` // when the other channels were told of it last
	Last             time.Time            `json:",omitzero"` // when a notice ended last, and how
	Outcome          string               `json:",omitempty"`
	Sent             []SentNotice         `json:",omitempty"` // of the last hour, the newest last
	Counted          int                  `json:",omitempty"` // how many were only counted
	CountedAt        time.Time            `json:",omitzero"`  // the first of them
	Subjects         []string             `json:",omitempty"` // the last of them
	About            map[string]time.Time `json:",omitempty"` // when it was told last of an incident that goes on
}

// SentNotice is when a notice was requested, and whether it was one of those that others must
// leave room for.
type SentNotice struct {
	At       time.Time
	Critical bool `json:",omitempty"`
}

// limitedTo is the time in which so many notices or calls are the most.
const limitedTo = time.Hour

// subjectsKept is how many of the notices that were only counted are told by name.
const subjectsKept = 5

// OpenNotices are the outbox: notices requested and not ended, the oldest first.
func (s *State) OpenNotices() []*Notice { return slices.Clone(s.Notices) }

// channelKey is what a channel is known by in the state.
func channelKey(contact, channel string) string { return contact + "/" + channel }

// FailingChannels are those of the configuration that fail, in its order.
func (s *State) FailingChannels() []*ChannelStands {
	var failing []*ChannelStands
	for _, p := range s.cfg.People {
		for _, c := range p.Channels {
			if ch := s.Channels[channelKey(p.Name, c.Name)]; ch.fails() {
				failing = append(failing, ch)
			}
		}
	}
	return failing
}

func (ch *ChannelStands) fails() bool { return ch != nil && !ch.Failing.IsZero() }

// spellTold reports whether the others were told that it fails since it does.
func (ch *ChannelStands) spellTold() bool { return !ch.FailingTold.Before(ch.Failing) }

// channel is how a channel stands, made when it is first told of.
func (s *State) channel(contact, name string) *ChannelStands {
	key := channelKey(contact, name)
	ch := s.Channels[key]
	if ch == nil {
		ch = &ChannelStands{Contact: contact, Channel: name}
		if s.Channels == nil {
			s.Channels = map[string]*ChannelStands{}
		}
		s.Channels[key] = ch
	}
	return ch
}

func (s *State) notice(id string) *Notice {
	for _, n := range s.Notices {
		if n.ID == id {
			return n
		}
	}
	return nil
}

func (s *State) evolveNotice(at time.Time, f Fact) {
	switch f := f.(type) {
	case *NoticeRequested:
		s.Noticed++
		s.Notices = append(s.Notices, &Notice{ID: f.Notice, Contact: f.Contact, Channel: f.Channel, Site: f.Site, Incident: f.Incident, Kind: f.Kind,
			Severity: f.Severity, Over: f.Over, Subject: f.Subject, Text: f.Text, Requested: at})
		ch := s.channel(f.Contact, f.Channel)
		ch.Sent = slices.DeleteFunc(slices.Clone(ch.Sent), func(n SentNotice) bool { return at.Sub(n.At) >= limitedTo })
		ch.Sent = append(ch.Sent, SentNotice{at, f.Severity == routing.Critical})
		if f.Counted {
			ch.Counted, ch.CountedAt, ch.Subjects = 0, time.Time{}, nil
		}
		s.said(f.Incident, f.Joined)
		if i := s.Incidents[f.Incident]; i != nil && i.Open() {
			if ch.About == nil {
				ch.About = map[string]time.Time{}
			}
			ch.About[f.Incident] = at
		}
	case *NoticesCounted:
		ch := s.channel(f.Contact, f.Channel)
		if ch.Counted == 0 {
			ch.CountedAt = at
		}
		ch.Counted += len(f.Subjects)
		ch.Subjects = append(slices.Clone(ch.Subjects), f.Subjects...)
		ch.Subjects = ch.Subjects[max(0, len(ch.Subjects)-subjectsKept):]
		s.said(f.Incident, f.Joined)
	case *NoticeEnded:
		n := s.notice(f.Notice)
		if n == nil {
			return
		}
		if s.Notices = slices.DeleteFunc(slices.Clone(s.Notices), func(o *Notice) bool { return o == n }); len(s.Notices) == 0 {
			s.Notices = nil // as in a snapshot
		}
		ch := s.channel(n.Contact, n.Channel)
		ch.Last, ch.Outcome = at, f.Outcome
	case *ChannelTried:
		ch := s.channel(f.Contact, f.Channel)
		ch.Last, ch.Outcome = at, f.Outcome
	case *ChannelFailing:
		ch := s.channel(f.Contact, f.Channel)
		if ch.Why = f.Why; ch.Failing.IsZero() {
			ch.Failing = at
		}
		if !f.Untold {
			ch.FailingTold = at
		}
	case *ChannelWorks:
		ch := s.channel(f.Contact, f.Channel)
		ch.Failing, ch.Why = time.Time{}, ""
	}
}

// said notes that nodes were told to be part of an incident.
func (s *State) said(incident string, nodes []string) {
	if i := s.Incidents[incident]; i != nil && len(nodes) > 0 {
		if i.Unsaid = slices.DeleteFunc(slices.Clone(i.Unsaid), func(n string) bool { return slices.Contains(nodes, n) }); len(i.Unsaid) == 0 {
			i.Unsaid = nil
		}
	}
}

// noticeEnded takes what became of a notice. What could not be delivered says that its channel
// fails, as a try that failed does (rule C7).
func (d *decider) noticeEnded(in NoticeHasEnded) {
	n := d.notice(in.Notice)
	if n == nil {
		return
	}
	d.emit(&NoticeEnded{Notice: in.Notice, Delivered: in.Delivered, Outcome: in.Outcome})
	if !in.Delivered {
		d.channelFails(n, in.Outcome)
		return
	}
	if ch := d.Channels[channelKey(n.Contact, n.Channel)]; ch.fails() {
		d.emit(&ChannelWorks{Contact: n.Contact, Channel: n.Channel, For: d.now.Sub(ch.Failing)})
	}
}

func (d *decider) noticeFailing(in NoticeFailing) {
	if n := d.notice(in.Notice); n != nil {
		d.channelFails(n, in.Why)
	}
}

// channelFails notes it once in a spell, and once more when the others are told of it only then. They
// are told once in an hour: where two of them fail now and then each would tell of the other for ever.
func (d *decider) channelFails(n *Notice, why string) {
	ch := d.Channels[channelKey(n.Contact, n.Channel)]
	told := ch != nil && !ch.FailingTold.IsZero() && d.now.Sub(ch.FailingTold) < limitedTo
	untold := told || !d.Blind.IsZero() // being offline is why
	if ch.fails() && (untold || ch.spellTold()) {
		return
	}
	d.emit(&ChannelFailing{Contact: n.Contact, Channel: n.Channel, Why: why, Untold: untold})
}

// joins notes a node that joins an incident, to be told of. What nobody was told of for long is
// told to nobody any more.
func (i *Incident) joins(at time.Time, node string) {
	if len(i.Unsaid) == 0 || at.Sub(i.UnsaidAt) > limitedTo {
		i.Unsaid, i.UnsaidAt = nil, at
	}
	i.Unsaid = append(i.Unsaid, node)
}

// settled forgets what was of an incident that is over, answered or begins anew: who is not called
// about it now, and with its end also who was told of it when.
func (s *State) settled(i *Incident) {
	i.Held = nil
	if i.Open() {
		return
	}
	i.Unsaid, i.UnsaidAt = nil, time.Time{}
	for _, ch := range s.Channels {
		if delete(ch.About, i.ID); len(ch.About) == 0 {
			ch.About = nil
		}
	}
}
