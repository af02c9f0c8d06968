package brain

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"sentinel.home.arpa/cloud/internal/journal"
	"sentinel.home.arpa/cloud/internal/sentinel"
	"sentinel.home.arpa/cloud/internal/web"
	"sentinel.home.arpa/shared/power"
)

// lateAfter is the age of a last word from which on a source that is up is late.
const lateAfter = 3 * time.Second

// note adds to a condition what explains it.
func (b *Brain) note(w web.Source, src *sentinel.Source) string {
	switch {
	case src.Condition == sentinel.Failed && src.Incident != "":
		return "behind " + src.Incident
	case src.Condition == sentinel.Off && !w.BackBy.IsZero():
		return "planned, back by " + w.BackBy.Format("15:04")
	case src.Condition == sentinel.Off:
		return "planned"
	case src.Condition == sentinel.Up && src.Announced != nil:
		return "announced its " + src.Announced.Kind
	}
	return ""
}

// inWords says how a source stands, and what else one must know of it.
func (b *Brain) inWords(w web.Source, src *sentinel.Source) string {
	said := b.condition(w, src)
	if src.Condition == sentinel.Up && w.Note != "" {
		said += ", " + w.Note
	}
	if w.OnlyBy != "" && src.Condition == sentinel.Up {
		said += ", heard through " + w.OnlyBy + " alone"
	}
	if !w.MutedUntil.IsZero() {
		said += ", muted until " + web.Until(w.MutedUntil, b.machine.wall())
	}
	if !w.MaintenanceUntil.IsZero() {
		said += ", maintenance until " + web.Until(w.MaintenanceUntil, b.machine.wall())
	}
	return said
}

func (b *Brain) condition(w web.Source, src *sentinel.Source) string {
	switch {
	case !b.state.Blind.IsZero():
		return "unknown"
	case src.Condition == sentinel.Failed:
		if i := b.state.Incidents[src.Incident]; i != nil {
			return "hidden behind: " + kindWords(i.Kind)
		}
		return "down"
	case src.Condition == sentinel.Off && !w.BackBy.IsZero():
		return "rebooting (" + w.Note + ")"
	case src.Condition == sentinel.Off:
		return "off (planned)"
	case src.Condition == sentinel.Up && !w.Heard:
		return "unknown"
	case src.Condition == sentinel.Up && w.Age > lateAfter:
		return "late"
	}
	return string(src.Condition)
}

func kindWords(k sentinel.IncidentKind) string {
	switch k {
	case sentinel.PowerOutage:
		return "power outage"
	case sentinel.InternetOutage:
		return "internet outage"
	case sentinel.Unwatched:
		return "power unwatched"
	case sentinel.TailnetDown:
		return "Tailscale out of reach"
	default:
		return "failure"
	}
}

// verdict is the one sentence that the page begins with, and whether all is well.
func (b *Brain) verdict(now time.Time) (text string, well bool) {
	if !b.state.Blind.IsZero() {
		return "The sentinel itself is offline; nothing is known.", false
	}
	open := b.state.OpenIncidents()
	if len(open) == 0 {
		return "All well.", true
	}
	i := slices.MinFunc(open, func(x, y *sentinel.Incident) int { return weight(x.Kind) - weight(y.Kind) })
	lasts := power.Spell(now.Sub(i.Since))
	switch i.Kind {
	case sentinel.PowerOutage:
		text = fmt.Sprintf("On battery at %s for %s.", i.Site, lasts)
	case sentinel.InternetOutage:
		text = fmt.Sprintf("%s has been out of reach for %s.", i.Site, lasts)
	case sentinel.TailnetDown:
		text = fmt.Sprintf("Tailscale has been out of reach for %s; the houses may be fine.", lasts)
	case sentinel.Unwatched:
		text = fmt.Sprintf("Nobody watches the power at %s: its Pi has not been heard for %s.", i.Site, lasts)
	default:
		text = fmt.Sprintf("%s at %s failed %s ago.", cmp.Or(strings.Join(i.Nodes, ", "), "Something"), i.Site, lasts)
	}
	switch {
	case i.Answered != "":
		text += " " + i.Answered + " knows."
	case len(i.Calls) > 0:
		text += " You were called, not yet answered."
	}
	if len(open) > 1 {
		text += fmt.Sprintf(" And %d more.", len(open)-1)
	}
	return text, false
}

// weight orders incidents: what the page tells first has the least.
func weight(k sentinel.IncidentKind) int {
	return slices.Index([]sentinel.IncidentKind{sentinel.PowerOutage, sentinel.InternetOutage, sentinel.TailnetDown, sentinel.Unwatched, sentinel.NodeFailure}, k)
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
		w.Node, w.UPS = f.Node, f.UPS
	default:
		w.Incident = incidentOf(e.Fact)
	}
	return w
}

// alarmed is why an incident calls anew: what got worse, or that nobody has answered yet.
func (b *Brain) alarmed(id string) (worse string, again bool) {
	for _, e := range slices.Backward(b.timeline) {
		switch f := e.Fact.(type) {
		case *sentinel.IncidentWorse:
			if f.ID == id {
				return f.Why, false
			}
		case *sentinel.IncidentReminded:
			if f.ID == id {
				return "", true
			}
		case *sentinel.IncidentReopened:
			if f.ID == id {
				return "", false
			}
		}
	}
	return "", false
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
	case *sentinel.CallPlaced:
		return call(f.Call)
	case *sentinel.CallEnded:
		return call(f.Call)
	case *sentinel.CallDropped:
		return call(f.Call)
	case *sentinel.RunStepped:
		return f.Incident
	}
	return ""
}
