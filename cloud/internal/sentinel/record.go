package sentinel

import (
	"slices"
	"time"

	"sentinel.home.arpa/shared/power"
)

// Taken is an entry of a Pi's record that was taken in, to know it again and to tell what
// happened. Supply is of a UPS, For how long it had been so.
type Taken struct {
	Pi     string
	At     time.Time
	UPS    string
	Supply power.Supply
	For    time.Duration
	Node   string
	Heard  bool
}

// Gap is a time in which something could not be heard.
type Gap struct{ From, To time.Time }

const (
	// takenKept is how many entries are known again: several batches, of several Pis.
	takenKept = 512
	// gapsKept is how many gaps are remembered.
	gapsKept = 16
	// takenSlack is by how much the ways of two messages that tell of one entry may differ.
	takenSlack = 2 * time.Second
	// beforeGap is for how long before a gap an entry may not have got through.
	beforeGap = 30 * time.Second
	// wordWithin is how long a UPS is listened for whose Pi was restarted in a power outage.
	wordWithin = 30 * time.Second
)

// evolveRecord notes an entry that was taken in. The oldest makes room for it, but not while
// it begins a time on battery that goes on by the record: it tells why an outage is one.
func (s *State) evolveRecord(f *RecordTaken) {
	site := s.site(f.Site)
	kept := slices.Clone(site.Taken)
	if len(kept) >= takenKept {
		drop := slices.IndexFunc(kept, func(e Taken) bool { return !begins(kept, e) })
		kept = slices.Delete(kept, max(drop, 0), max(drop, 0)+1)
	}
	site.Taken = append(kept, taken(f))
}

// begins reports whether an entry is the first of a time on battery that goes on by the list.
func begins(list []Taken, e Taken) bool {
	if e.UPS == "" || e.Supply != power.Battery {
		return false
	}
	var ended time.Time
	for _, o := range list {
		if o.UPS == e.UPS && o.Supply != power.Battery && o.Supply != power.Unknown {
			ended = later(ended, o.At)
		}
	}
	return e.At.After(ended) && !slices.ContainsFunc(list, func(o Taken) bool {
		return o.UPS == e.UPS && o.Supply == power.Battery && o.At.After(ended) && o.At.Before(e.At)
	})
}

// lastTaken is the last entry since a moment that tells of a UPS's supply; nil: there is none.
func (s *Site) lastTaken(ups string, since time.Time) *Taken {
	var last *Taken
	for n := range s.Taken {
		e := &s.Taken[n]
		if e.UPS == ups && ups != "" && e.Supply != power.Unknown && !e.At.Before(since) && (last == nil || !e.At.Before(last.At)) {
			last = e
		}
	}
	return last
}

func taken(f *RecordTaken) Taken {
	return Taken{Pi: f.Pi, At: f.At, UPS: f.UPS, Supply: f.Reading.Supply, For: f.Reading.For.Duration(), Node: f.Node, Heard: f.Heard}
}

// deaf notes that nobody was heard for a while.
func (s *State) deaf(from, to time.Time) {
	s.Deaf = append(keepLast(s.Deaf, gapsKept-1), Gap{from, to})
}

// unheard notes that a Pi was not heard for a while.
func (src *Source) unheard(from, to time.Time) {
	if src.Role == Pi {
		src.Gaps = append(keepLast(src.Gaps, gapsKept-1), Gap{from, to})
	}
}

// keepLast are the last n of a list, in memory of its own.
func keepLast[T any](list []T, n int) []T { return slices.Clone(list[max(len(list)-n, 0):]) }

// recorded takes in what a Pi noted while it could not be heard (rules N7, N9, N11). What the
// brain saw itself, and what it was told before, is passed over.
func (d *decider) recorded(in Recorded) {
	site := d.Sites[in.Site]
	if site == nil {
		return
	}
	before := slices.Clone(site.Taken) // entries of one delivery repeat none of each other
	for _, r := range in.Entries {
		f := &RecordTaken{Site: in.Site, Pi: in.Pi, At: d.now.Add(-r.Ago), AtLatest: r.AtLeast, UPS: r.UPS, Reading: r.Reading, Node: r.Node, Heard: r.Heard, Called: r.Called, Why: r.Why}
		f.Incident = d.storyOf(site, in.Pi, f.At)
		if d.sawItself(site, in.Pi, f.At) {
			continue
		}
		if i := indexTaken(before, taken(f)); i >= 0 {
			before = slices.Delete(before, i, i+1) // it is repeated once
			continue
		}
		d.emit(f)
		if f.UPS != "" && (site.news.IsZero() || f.At.Before(site.news)) {
			site.news = f.At
		}
	}
	if in.Left > 0 {
		return
	}
	if src := site.Sources[in.Pi]; src != nil && src.owesRecord() {
		d.emit(&RecordComplete{Site: in.Site, Pi: in.Pi})
	}
	if i := d.open(in.Site, InternetOutage); i != nil {
		d.calledByRecord(i, wordWithin)
	} else if !site.news.IsZero() {
		d.tellOfRecord(site, site.news)
	}
	site.news = time.Time{}
}

// sawItself reports whether the brain heard a Pi at a moment, so that what happened then is
// no news (rule N7).
func (d *decider) sawItself(site *Site, pi string, at time.Time) bool {
	gaps := slices.Clone(d.Deaf)
	if !d.Blind.IsZero() {
		gaps = append(gaps, Gap{d.Blind.Add(-d.cfg.Times.unheardAtMost()), d.now})
	}
	if src := site.Sources[pi]; src != nil {
		gaps = append(gaps, src.Gaps...)
		if src.Condition == Failed || src.Condition == Off { // its record is here before its heartbeat
			gaps = append(gaps, Gap{src.Last, d.now})
		}
	}
	return !slices.ContainsFunc(gaps, func(g Gap) bool { return !at.Before(g.From.Add(-beforeGap)) && !at.After(g.To) })
}

// indexTaken finds the entry that another repeats, because its answer was lost or the brain
// was restarted; -1: there is none.
func indexTaken(before []Taken, t Taken) int {
	return slices.IndexFunc(before, func(o Taken) bool {
		near := o.At.Sub(t.At).Abs() <= takenSlack
		o.At, o.For = t.At, t.For
		return near && o == t
	})
}

// owesRecord reports whether this is a Pi that was not heard, or is not, and has not given all of
// its record since that began. Over a short restart of the brain it is remembered, since no Pi gives it again.
func (src *Source) owesRecord() bool {
	switch {
	case src.Role != Pi:
		return false
	case src.Condition == Failed || src.Condition == Off:
		return !src.RecordedAt.After(src.Last)
	default:
		return len(src.Gaps) > 0 && !src.RecordedAt.After(src.Gaps[len(src.Gaps)-1].From)
	}
}

// recordsMissing are the Pis that were silent and are back, and have not given all of their
// record since (rule N9).
func (d *decider) recordsMissing(i *Incident, back []*Source) []string {
	if i.Site == "" {
		return nil // the tailnet has no record
	}
	var missing []string
	for _, src := range back {
		if src.owesRecord() {
			missing = append(missing, src.Name)
		}
	}
	slices.Sort(missing)
	return missing
}
