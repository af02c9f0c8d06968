package brain

import (
	"slices"
	"strings"
	"time"

	"sentinel.home.arpa/cloud/internal/journal"
	"sentinel.home.arpa/cloud/internal/sentinel"
	"sentinel.home.arpa/cloud/internal/web"
	"sentinel.home.arpa/shared/power"
)

// sameChange is by how much a UPS's report and its Pi's record may differ in when a supply began.
const sameChange = 2 * time.Second

// inOrder are facts in the order in which they happened, each change of a supply once: what a
// Pi recorded comes late, and may be what its UPS's report told as well.
func inOrder(entries []journal.Entry) []journal.Entry {
	ordered := slices.Clone(entries)
	slices.SortStableFunc(ordered, func(x, y journal.Entry) int {
		return sentinel.When(x.Fact, x.At).Compare(sentinel.When(y.Fact, y.At))
	})
	var told []supplyChange
	return slices.DeleteFunc(ordered, func(e journal.Entry) bool {
		c, ok := changeOf(e.Fact)
		if !ok {
			return false
		}
		again := slices.ContainsFunc(told, c.repeats)
		told = append(told, c)
		return again
	})
}

// supplyChange is what a report or a record says of a UPS.
type supplyChange struct {
	site, ups string
	supply    power.Supply
	began     time.Time
	recorded  bool
}

func changeOf(f sentinel.Fact) (c supplyChange, ok bool) {
	switch f := f.(type) {
	case *sentinel.SupplyChanged:
		return supplyChange{f.Site, f.UPS, f.Supply, f.Since, false}, f.From == "" // who tells it is news by itself
	case *sentinel.RecordTaken:
		return supplyChange{f.Site, f.UPS, f.Reading.Supply, f.At.Add(-f.Reading.For.Duration()), true}, f.UPS != ""
	}
	return supplyChange{}, false
}

// repeats reports whether one of two tells of the other's change, by the other way.
func (c supplyChange) repeats(o supplyChange) bool {
	near := c.began.Sub(o.began).Abs() <= sameChange
	c.began, c.recorded = o.began, !c.recorded
	return near && c == o
}

// entryView is a line of the timeline, with what it is about as far as the fact says so.
func (b *Brain) entryView(e journal.Entry) web.Entry {
	site := sentinel.SiteOf(e.Fact)
	at := e.Wall.Add(sentinel.When(e.Fact, e.At).Sub(e.At))
	w := web.Entry{At: at.In(b.zone(site)), Text: sentinel.Sentence(e.Fact), Site: site}
	switch f := e.Fact.(type) {
	case *sentinel.SourceAppeared:
		w.Node = f.Name
	case *sentinel.SourceBack:
		w.Node = f.Name
	case *sentinel.SourceFailed:
		w.Node, w.Incident = f.Name, f.Incident
	case *sentinel.SourceLeft:
		w.Node = f.Name
	case *sentinel.ShutdownAnnounced:
		w.Node = f.Name
	case *sentinel.ShutdownCancelled:
		w.Node = f.Name
	case *sentinel.Muted:
		w.Node = f.Name
	case *sentinel.Unmuted:
		w.Node = f.Name
	case *sentinel.MaintenanceBegan:
		w.Node = f.Name
	case *sentinel.MaintenanceEnded:
		w.Node = f.Name
	case *sentinel.SourceDeleted:
		w.Node = f.Name
	case *sentinel.DirectLost:
		w.Node = f.Name
	case *sentinel.DirectBack:
		w.Node = f.Name
	case *sentinel.SupplyChanged:
		w.UPS = f.UPS
	case *sentinel.ContactLost:
		w.UPS = f.UPS
	case *sentinel.ContactBack:
		w.UPS = f.UPS
	case *sentinel.RecordTaken:
		w.Node, w.UPS, w.Incident = f.Node, f.UPS, f.Incident
	default:
		w.Incident = incidentOf(e.Fact)
	}
	return w
}

// incidentOf is the incident that a fact names; empty: none.
func incidentOf(f sentinel.Fact) string {
	call := func(id string) string { return id[:max(strings.LastIndexByte(id, '/'), 0)] } // a call's id is its incident's and a number
	switch f := f.(type) {
	case *sentinel.IncidentOpened:
		return f.ID
	case *sentinel.IncidentReopened:
		return f.ID
	case *sentinel.IncidentJoined:
		return f.ID
	case *sentinel.IncidentLeft:
		return f.ID
	case *sentinel.IncidentAnswered:
		return f.ID
	case *sentinel.IncidentResolved:
		return f.ID
	case *sentinel.IncidentWithdrawn:
		return f.ID
	case *sentinel.IncidentWorse:
		return f.ID
	case *sentinel.IncidentReminded:
		return f.ID
	case *sentinel.IncidentBecame:
		return f.ID
	case *sentinel.Noticed:
		return f.Incident
	case *sentinel.CallRequested:
		return f.Incident
	case *sentinel.CallHeld:
		return f.Incident
	case *sentinel.NoticeRequested:
		return f.Incident
	case *sentinel.CallPlaced:
		return call(f.Call)
	case *sentinel.CallLate:
		return call(f.Call)
	case *sentinel.CallEnded:
		return call(f.Call)
	case *sentinel.CallDropped:
		return call(f.Call)
	case *sentinel.RunStepped:
		return f.Incident
	case *sentinel.PiRunSeen:
		return f.Incident
	}
	return ""
}
