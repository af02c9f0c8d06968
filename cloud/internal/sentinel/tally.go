package sentinel

import (
	"maps"
	"strings"
	"time"

	"sentinel.home.arpa/shared/power"
)

// Tally is what a digest tells of, counted as the facts come, since the last one or the first
// start. It is as large as what it counts, and never grows with the time.
type Tally struct {
	From      time.Time                         `json:",omitzero"`
	Starts    int                               `json:",omitempty"` // of the brain
	Unwatched time.Duration                     `json:",omitempty"` // it stood still or was offline for so long
	Sources   map[string]Uptime                 `json:",omitempty"` // by site and name: those of which there is anything to tell
	Batteries map[string]Spent                  `json:",omitempty"` // when UPSes were on battery, by site and name
	Outages   map[string]map[IncidentKind]Spent `json:",omitempty"` // that are over, by site
	Lost      map[string]int                    `json:",omitempty"` // notices that were not delivered, by channel
	Before    map[string]BatteryNoted           `json:",omitempty"` // the batteries as the last digest told of them
	Armed     map[string]time.Time              `json:",omitempty"` // since when plans are armed, or are not, by site; a digest ends nothing of it
}

// Uptime is how a source was. Its Down counts what nothing planned.
type Uptime struct {
	Since   time.Time     `json:",omitzero"` // when it was first heard, if that was after the tally began
	Down    Spent         `json:",omitzero"`
	Planned Spent         `json:",omitzero"`
	Unheard time.Duration `json:",omitempty"` // its site or the tailnet was out of reach, so nobody knows
}

// Spent is how often something was so, for how long in all, and when it was so last.
type Spent struct {
	Times int           `json:",omitempty"`
	For   time.Duration `json:",omitempty"`
	Last  Gap           `json:",omitzero"`
}

// add counts one more time, of which a part may be counted already: two may tell of it.
func (s Spent) add(from, to time.Time) Spent {
	if !to.After(from) || !to.After(s.Last.To) {
		return s
	}
	if from.Before(s.Last.To) {
		s.For, s.Last.To = s.For+to.Sub(s.Last.To), to
		return s
	}
	return Spent{s.Times + 1, s.For + to.Sub(from), Gap{from, to}}
}

// keyIn is what a source or UPS of a site is counted by.
func keyIn(site, name string) string { return site + "/" + name }

// count takes a fact into the tally, before it is part of the state.
func (s *State) count(at time.Time, f Fact) {
	t := &s.Tally
	if t.From.IsZero() {
		t.From = at
	}
	switch f := f.(type) {
	case *BrainStarted:
		if at.After(t.From) {
			t.Starts++
		}
	case *BrainPaused:
		t.Unwatched += f.For
	case *BlindEnded:
		t.Unwatched += f.For
	case *SourceAppeared:
		put(&t.Sources, keyIn(f.Site, f.Name), Uptime{Since: at})
	case *SourceBack:
		s.countSource(f.Site, f.Name, at)
	case *SourceFailed:
		s.countSource(f.Site, f.Name, f.Last)
	case *SourceLeft:
		s.countSource(f.Site, f.Name, f.Last)
	case *SourceDeleted:
		drop(&t.Sources, func(key string) bool { return key == keyIn(f.Site, f.Name) })
	case *SourceForgotten:
		drop(&t.Sources, func(key string) bool { return key == keyIn(f.Site, f.Name) })
	case *SiteForgotten:
		t.forget(f.Site)
	case *SupplyChanged:
		u := s.ups(f.Site, f.UPS)
		if goesOn := f.Supply == power.Battery && f.Since.Equal(u.Since); u.Supply == power.Battery && !goesOn {
			t.onBattery(f.Site, f.UPS, u.Since, f.Since)
		}
	case *RecordTaken:
		s.countRecord(f)
	case *IncidentResolved:
		if i := s.Incidents[f.ID]; i != nil && i.Open() {
			kinds := t.Outages[i.Site]
			put(&kinds, i.Kind, kinds[i.Kind].add(later(i.began(), t.From), s.endOf(i, at)))
			put(&t.Outages, i.Site, kinds)
		}
	case *NoticeEnded:
		if n := s.notice(f.Notice); n != nil && !f.Delivered {
			key := channelKey(n.Contact, n.Channel)
			put(&t.Lost, key, t.Lost[key]+1)
		}
	case *PlanArmed:
		put(&t.Armed, f.Site, at)
	case *PlanDisarmed:
		put(&t.Armed, f.Site, at)
	case *DigestMade:
		s.Tally = Tally{From: at, Armed: t.Armed}
		for _, b := range f.Batteries {
			put(&s.Tally.Before, keyIn(b.Site, b.UPS), b)
		}
	}
}

// endOf is when an incident ended that is known to be over: the first of who is back was heard.
func (s *State) endOf(i *Incident, at time.Time) time.Time {
	if site := s.Sites[i.Site]; site != nil {
		for _, n := range i.Nodes {
			if src := site.Sources[n]; src != nil && src.Condition == Up && src.Since.After(i.began()) && src.Since.Before(at) {
				at = src.Since
			}
		}
	}
	return at
}

// put writes to a map that may not be there yet.
func put[K comparable, V any](m *map[K]V, key K, value V) {
	if *m == nil {
		*m = map[K]V{}
	}
	(*m)[key] = value
}

// countSource counts a silence that ends, or is known as another one now, at a moment.
func (s *State) countSource(site, name string, until time.Time) {
	if st := s.Sites[site]; st != nil && st.Sources[name].silent() {
		put(&s.Tally.Sources, keyIn(site, name), s.uptime(st.Sources[name], site, until))
	}
}

func (src *Source) silent() bool {
	return src != nil && (src.Condition == Failed || src.Condition == Off)
}

// uptime is how a source was until a moment, with what goes on.
func (s *State) uptime(src *Source, site string, until time.Time) Uptime {
	u := s.Tally.Sources[keyIn(site, src.Name)]
	from := later(src.Last, s.Tally.From)
	switch {
	case !src.silent() || !until.After(from):
	case src.Condition == Off:
		u.Planned = u.Planned.add(from, until)
	case s.outOfReach(src):
		u.Unheard += until.Sub(from)
	default:
		u.Down = u.Down.add(from, until)
	}
	return u
}

// outOfReach reports whether a silence says nothing of the source itself.
func (s *State) outOfReach(src *Source) bool {
	i := s.Incidents[src.Incident]
	return i != nil && (i.Kind == InternetOutage || i.Kind == TailnetDown)
}

func (t *Tally) onBattery(site, ups string, from, to time.Time) {
	key := keyIn(site, ups)
	put(&t.Batteries, key, t.Batteries[key].add(later(from, t.From), to))
}

// countRecord counts a time on battery at its end as a Pi saw it.
func (s *State) countRecord(f *RecordTaken) {
	site := s.Sites[f.Site]
	if f.UPS == "" || site == nil || f.Reading.Supply == power.Battery || f.Reading.Supply == power.Unknown {
		return
	}
	if last := site.lastTaken(f.UPS, time.Time{}); last != nil && last.Supply == power.Battery {
		s.Tally.onBattery(f.Site, f.UPS, last.At, f.At)
	}
}

// forget lets go of a site that is no longer configured.
func (t *Tally) forget(site string) {
	is := func(key string) bool { return key == site }
	of := func(key string) bool { return strings.HasPrefix(key, keyIn(site, "")) }
	drop(&t.Outages, is)
	drop(&t.Armed, is)
	drop(&t.Sources, of)
	drop(&t.Batteries, of)
	drop(&t.Before, of)
}

// drop takes entries out of a map, which is not there once it is empty: as in a snapshot.
func drop[V any](m *map[string]V, goes func(key string) bool) {
	if maps.DeleteFunc(*m, func(key string, _ V) bool { return goes(key) }); len(*m) == 0 {
		*m = nil
	}
}
