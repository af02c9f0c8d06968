package sentinel

import (
	"cmp"
	"slices"
	"time"

	"sentinel.home.arpa/shared/power"
	"sentinel.home.arpa/shared/shutdown"
)

// incidentsKept is how long an incident that is over stays in the state; the journal
// keeps it longer.
const incidentsKept = 24 * time.Hour

// bootsKept is how many boots of a source are remembered with what they announced. An
// announcement of an older one explains nothing any more.
const bootsKept = 16

// aheadAtMost is how long an announcement waits for the first heartbeat of its boot. A Pi
// tells of one within a second or two; what is older was not overtaken but held back.
const aheadAtMost = time.Minute

// rememberedFor is for how long nobody may have watched for a remembered outage to be
// taken as still going on.
const rememberedFor = 5 * time.Minute

// Evolve is the only writer of durable state. It decides nothing, and reads no configuration:
// what a fact needs of it the fact carries, so that facts give the same state for ever. Those
// from before they carried it are of the contract's times.
func (s *State) Evolve(at time.Time, f Fact) {
	s.count(at, f)
	switch f := f.(type) {
	case *BrainStarted:
		s.unwatched(at.Sub(s.last))
		s.deaf(s.last, at)
	case *BrainPaused:
		s.unwatched(f.For)
		s.deaf(at.Add(-f.For), at)
	case *BlindBegan:
		s.Blind = at
	case *BlindEnded:
		s.unwatched(f.For)
		s.deaf(s.Blind.Add(-cmp.Or(f.Before, DefaultTimes().unheardAtMost())), at)
		s.Blind = time.Time{}
	case *KeyBound:
		s.Keys[f.Name] = *f
	case *SourceAppeared, *SourceBack, *SourceFailed, *SourceLeft, *ShutdownAnnounced, *ShutdownCancelled, *AnnouncementSeen:
		s.evolveSource(at, f)
	case *Muted, *Unmuted, *MaintenanceBegan, *MaintenanceEnded, *SourceDeleted, *SourceExpected, *SourceForgotten, *SiteForgotten, *DirectLost, *DirectBack, *CloneSeen:
		s.evolveWatch(at, f)
	case *SupplyChanged:
		s.evolveCut(f)
		u := s.ups(f.Site, f.UPS)
		u.Supply, u.Since, u.Stale, u.Listed = f.Supply, f.Since, false, f.Listed
		u.Pi, u.Transfers = cmp.Or(f.Pi, u.Pi), transfers(f.Reading)
		if f.Supply == power.Mains {
			u.Mains = at
		}
		if f.Seq != 0 {
			u.Shown[f.Pi] = said(u.Shown[f.Pi], f.Boot, f.Seq, f.Boot)
		}
	case *RecordTaken:
		s.evolveRecord(f)
	case *RecordComplete:
		if src := s.site(f.Site).Sources[f.Pi]; src != nil {
			src.RecordedAt = at
		}
	case *ContactLost:
		u := s.ups(f.Site, f.UPS)
		u.Lost, u.LostAt, u.LostElsewhere = true, at, f.Elsewhere
	case *ContactBack:
		u := s.ups(f.Site, f.UPS)
		u.Lost, u.LostAt, u.LostElsewhere = false, time.Time{}, false
	case *CallRequested, *CallPlaced, *CallLate, *KeyPressed, *CallEnded, *CallDropped, *CallHeld:
		s.evolveCall(at, f)
	case *NoticeRequested, *NoticeEnded, *NoticesCounted, *ChannelFailing, *ChannelWorks, *ChannelTried:
		s.evolveNotice(at, f)
	case *SelfTested:
		s.evolvePhone(at, f)
	case *PlanArmed:
		s.site(f.Site).Armed = true
	case *PlanDisarmed:
		s.site(f.Site).Armed = false
	case *PlanStopped, *StopEnded, *NetworkSaid, *LeftOff:
		s.evolveStop(at, f)
	case *OutputCut, *OutputKept:
		s.evolveCut(f)
	case *RunStepped:
		s.evolveRun(f)
	case *PiRunSeen:
		s.evolvePiRun(at, f)
	default:
		s.evolveIncident(at, f)
	}
	s.last = at
}

// unwatched notes that nobody watched for so long, at most.
func (s *State) unwatched(away time.Duration) {
	if away <= rememberedFor {
		return
	}
	for _, site := range s.Sites {
		for _, u := range site.UPSes {
			u.Stale = true
		}
	}
}

func (s *State) evolveSource(at time.Time, f Fact) {
	become := func(src *Source, c Condition) {
		src.Condition, src.Since, src.Incident, src.BackBy, src.Maintained = c, at, "", time.Time{}, false
	}
	switch f := f.(type) {
	case *SourceAppeared:
		src := s.site(f.Site).source(f.Name)
		src.boots(at, f.Boot)
		src.Role, src.Via = f.Role, f.Via
		become(src, Up)
		s.untell(aboutPending+f.Site, f.Name)
		s.note(f.Site, f.Name)
	case *SourceBack:
		site := s.site(f.Site)
		src := site.source(f.Name)
		src.boots(at, f.Boot)
		if f.Away > 0 {
			src.unheard(at.Add(-f.Away), at)
		}
		src.Via = f.Via
		become(src, Up)
		if f.Via == "" {
			src.OnlyBy = ""
			s.untell(aboutDirect+f.Site, f.Name)
		}
		s.note(f.Site, f.Name)
	case *SourceFailed:
		src := s.site(f.Site).source(f.Name)
		become(src, Failed)
		src.Last, src.Incident, src.OnlyBy = f.Last, f.Incident, ""
		s.note(f.Site, f.Name)
		if f.Incident == "" && src.Role == Node {
			src.Failures = append(keepRecent(src.Failures, at, cmp.Or(f.Window, DefaultTimes().Window)), Failure{At: at, Boot: src.Boot})
		}
	case *SourceLeft:
		src := s.site(f.Site).source(f.Name)
		become(src, Off)
		src.Last, src.BackBy, src.Maintained, src.OnlyBy = f.Last, f.BackBy, f.Maintenance, ""
		if f.Maintenance { // what failed before it began was planned as well
			src.Failures = slices.DeleteFunc(src.Failures, func(x Failure) bool { return !x.Told })
		}
		s.note(f.Site, f.Name)
	case *ShutdownAnnounced:
		site := s.site(f.Site)
		src := site.source(f.Name)
		src.Said = said(src.Said, f.Boot, f.Seq, src.Boot)
		src.Failures = slices.DeleteFunc(src.Failures, func(x Failure) bool { return x.explainedBy(f.Boot, at.Add(-f.Age)) })
		if src.Boot == "" {
			src.Boot = f.Boot
		}
		said := &Announcement{ID: f.ID, Boot: f.Boot, Kind: f.Kind, Via: f.Via, Returns: f.Returns, At: at.Add(-f.Age)}
		switch {
		case f.Ahead:
			src.Ahead = said
		case src.Boot == f.Boot:
			src.Announced = said
			src.running = time.Time{}
			s.note(f.Site, f.Name)
		}
	case *ShutdownCancelled:
		src := s.site(f.Site).source(f.Name)
		src.Said = said(src.Said, f.Boot, f.Seq, src.Boot)
		if src.Ahead != nil && src.Ahead.Boot == f.Boot {
			src.Ahead = nil
			return
		}
		src.Announced = nil
		if src.Condition == Off && !src.Maintained { // it went silent without a reason
			src.BackBy = at.Add(cmp.Or(f.Silence, DefaultTimes().Silence))
		}
		s.note(f.Site, f.Name)
	case *AnnouncementSeen:
		site := s.site(f.Site)
		if site.Sources[f.Name] == nil && !site.GoneAt[f.Name].IsZero() { // it brings none back
			if site.Gone == nil {
				site.Gone = map[string][]Said{}
			}
			site.Gone[f.Name] = said(site.Gone[f.Name], f.Boot, f.Seq, "")
			return
		}
		src := site.source(f.Name)
		src.Said = said(src.Said, f.Boot, f.Seq, src.Boot)
	}
}

// boots lets a source be of a boot. With another boot begins what was announced of it
// shortly before, and ends what was announced of the last.
func (src *Source) boots(at time.Time, boot string) {
	if src.Boot == boot {
		return
	}
	if src.Boot != "" {
		src.Left = append(slices.Clone(src.Left[max(len(src.Left)+1-bootsKept, 0):]), src.Boot)
	}
	src.Boot, src.Booted, src.Announced = boot, at, nil
	if a := src.Ahead; a != nil && a.Boot == boot && at.Sub(a.At) <= aheadAtMost {
		src.Announced = a
	}
	src.Ahead = nil
}

// bootsSoon reports whether a source announced something of a boot whose first heartbeat may
// be on its way.
func (src *Source) bootsSoon(now time.Time) bool {
	return src.Ahead != nil && now.Sub(src.Ahead.At) <= aheadAtMost
}

// said is the list with a message noted: the highest seq of each of the last boots, and always
// of the present one.
func said(list []Said, boot string, seq int64, present string) []Said {
	if seq == 0 {
		return list
	}
	for i := range list {
		if list[i].Boot == boot {
			list[i].Seq = max(list[i].Seq, seq)
			return list
		}
	}
	list = slices.Clone(list)
	if len(list) >= bootsKept {
		oldest := 0
		if list[0].Boot == present {
			oldest = 1
		}
		list = slices.Delete(list, oldest, oldest+1)
	}
	return append(list, Said{boot, seq})
}

// repeats reports whether an announcement is not newer than all before it of its boot.
func repeats(list []Said, boot string, seq int64) bool {
	return seq != 0 && slices.ContainsFunc(list, func(s Said) bool { return s.Boot == boot && seq <= s.Seq })
}

// explainedBy reports whether a shutdown of that boot, announced then, explains the
// failure (rule A6): what failed before it was announced did so for another reason.
func (f Failure) explainedBy(boot string, announced time.Time) bool {
	return f.Boot == boot && !f.At.Before(announced)
}

func keepRecent(fs []Failure, at time.Time, window time.Duration) []Failure {
	return slices.DeleteFunc(fs, func(f Failure) bool { return at.Sub(f.At) > window })
}

func (s *State) evolveCall(at time.Time, f Fact) {
	switch f := f.(type) {
	case *CallRequested:
		if f.Test != "" {
			s.evolveTest(at, f)
		} else if i := s.Incidents[f.Incident]; i != nil {
			i.Calls = append(i.Calls, &Call{ID: f.Call, Incident: f.Incident, Contact: f.Contact, Attempt: f.Attempt, Requested: at, Other: f.Other})
			if delete(i.Held, f.Contact); len(i.Held) == 0 {
				i.Held = nil
			}
		}
	case *CallPlaced:
		if c := s.call(f.Call); c != nil {
			c.SID, c.Placed = f.SID, at
			s.placed(c.Contact)
		}
	case *CallEnded:
		if c := s.call(f.Call); c != nil {
			c.Ended, c.Delivered, c.Outcome = at, f.Delivered, f.Outcome
			if c.OfNumber = f.OfNumber; f.Refused {
				s.Phone.refuse(c.Contact, Refusal{at, f.Outcome, f.Advice})
			}
		}
	case *CallLate:
		if c := s.call(f.Call); c != nil {
			c.Late = &Refusal{at, f.Why, f.Advice}
		}
	case *KeyPressed:
		if c := s.call(f.Call); c != nil {
			c.Keys += f.Key
		}
	case *CallDropped:
		if c := s.call(f.Call); c != nil {
			c.Dropped = true
		}
	case *CallHeld:
		if i := s.Incidents[f.Incident]; i != nil {
			if i.Held == nil {
				i.Held = map[string]time.Time{}
			}
			i.Held[f.Contact] = f.Until
		}
	}
}

func (s *State) evolveRun(f *RunStepped) {
	site := s.site(f.Site)
	if f.Event.Type == shutdown.Began {
		site.Run, site.RunIncident, site.Epoch, site.TakenBy = shutdown.Start(f.Event), f.Incident, f.Epoch, ""
		s.evolveCause(site, f)
		return
	}
	if site.Run == nil {
		return
	}
	site.Run.Apply(f.Event)
	s.evolveCause(site, f)
	if i := s.Incidents[site.RunIncident]; f.Event.Type == shutdown.PutBackEnded && i != nil && !i.Open() {
		i.Outcome = becameOf(i.Outcome, f.Event, site.Run.Back)
	}
	if f.Event.Type != shutdown.Accepted {
		return
	}
	for _, p := range site.Run.Current() {
		if p.Target.ID() == f.Event.Target && p.Target.Kind.Machine() {
			site.toldToGo(p.Target.Node)
		}
	}
}

func (s *State) ups(site, name string) *UPS {
	st := s.site(site)
	u := st.UPSes[name]
	if u == nil {
		u = &UPS{Name: name, Shown: map[string][]Said{}}
		st.UPSes[name] = u
	}
	return u
}
