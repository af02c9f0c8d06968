package brain

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

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
	case src.Condition == sentinel.Off && src.Maintained: // nobody planned that it is off
		return "down, awaited until " + web.Until(w.BackBy, b.machine.wall())
	case src.Condition == sentinel.Off && !w.BackBy.IsZero() && src.Announced != nil && src.Announced.Kind == sentinel.Restart:
		return "restarting (" + w.Note + ")"
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
func (b *Brain) verdict(sites []web.Site, warnings int, now time.Time) (text string, well bool) {
	if !b.state.Blind.IsZero() {
		return "The sentinel itself is offline; nothing is known.", false
	}
	open := b.state.OpenIncidents()
	if len(open) == 0 {
		if text := leftSaid(sites); text != "" {
			return text, false
		}
		if text := b.unheardSaid(now); text != "" {
			return text, false
		}
		return b.allWell(warnings), true
	}
	i := slices.MinFunc(open, func(x, y *sentinel.Incident) int { return weight(x.Kind) - weight(y.Kind) })
	lasts := power.Spell(now.Sub(i.Since))
	switch i.Kind {
	case sentinel.PowerOutage:
		text = fmt.Sprintf("On battery at %s for %s.", i.Site, lasts)
	case sentinel.InternetOutage, sentinel.TailnetDown:
		text = b.unreachedNow(i, now)
	case sentinel.Unwatched:
		text = fmt.Sprintf("Nobody watches the power at %s: its Pi has not been heard for %s.", i.Site, lasts)
	default:
		text = b.failedNow(i, now)
	}
	switch {
	case i.Answered != "":
		text += " " + sentence(i.Answered) + " knows."
	case slices.ContainsFunc(i.Calls, func(c *sentinel.Call) bool { return c.SID != "" }):
		text += " You were called, not yet answered."
	case len(i.Calls) > 0:
		text += " Nobody could be called yet."
	}
	if len(open) > 1 {
		text += fmt.Sprintf(" In all %d incidents are open.", len(open))
	}
	return text, false
}

// allWell says so, and what stands against it: plans that are not armed would shut nothing down, and of warnings
// there may be one that nobody can be called. Plans of which it is not known have a warning.
func (b *Brain) allWell(warnings int) string {
	var plans, idle, but []string
	for _, s := range b.core().Sites {
		if s.Plan == nil {
			continue
		}
		plans = append(plans, s.Name)
		if site := b.state.Sites[s.Name]; site == nil || !site.Armed {
			idle = append(idle, s.Name)
		}
	}
	switch {
	case len(idle) == 0, b.armingUnknown():
	case len(plans) == 1:
		but = append(but, "the plan is not armed")
	case len(idle) == 1:
		but = append(but, "the plan of "+idle[0]+" is not armed")
	default:
		but = append(but, "the plans of "+strings.Join(idle, ", ")+" are not armed")
	}
	switch {
	case warnings == 1:
		but = append(but, "there is a warning")
	case warnings > 1:
		but = append(but, fmt.Sprintf("there are %d warnings", warnings))
	}
	if len(but) == 0 {
		return "All well."
	}
	return "All well, but " + strings.Join(but, ", and ") + "."
}

// unreachedNow says for how long nothing has been heard of a site or through the tailnet; once
// something is heard again, since when, and when its outage began.
func (b *Brain) unreachedNow(i *sentinel.Incident, now time.Time) string {
	var back, last time.Time // heard again first, of what is; heard last, of what is not
	for _, site := range b.state.Sites {
		for _, n := range i.Nodes {
			src := site.Sources[n]
			switch {
			case src == nil, i.Site != "" && i.Site != site.Name:
			case src.Condition == sentinel.Failed && src.Incident == i.ID && src.Last.After(last):
				last = src.Last
			case src.Condition == sentinel.Up && !src.Since.Before(i.Since) && (back.IsZero() || src.Since.Before(back)):
				back = src.Since
			}
		}
	}
	if last.IsZero() {
		last = i.Since
	}
	began := power.Spell(now.Sub(i.Since))
	switch tailnet := i.Kind == sentinel.TailnetDown; {
	case !back.IsZero() && tailnet:
		return fmt.Sprintf("Tailscale has been in reach again for %s; its outage began %s ago.", power.Spell(now.Sub(back)), began)
	case !back.IsZero():
		return fmt.Sprintf("%s has been heard again for %s; its outage began %s ago.", i.Site, power.Spell(now.Sub(back)), began)
	case tailnet:
		return fmt.Sprintf("Tailscale has been out of reach for %s; the houses may be fine.", power.Spell(now.Sub(last)))
	}
	return fmt.Sprintf("%s has been out of reach for %s.", i.Site, power.Spell(now.Sub(last)))
}

// failedNow says which nodes of a failure are away, and since when; once none is, which were.
func (b *Brain) failedNow(i *sentinel.Incident, now time.Time) string {
	var away []string
	since := now
	if site := b.state.Sites[i.Site]; site != nil { // or it is no longer configured
		for _, n := range i.Nodes {
			if src := site.Sources[n]; src != nil && src.Condition == sentinel.Failed {
				away = append(away, n)
				since = slices.MinFunc([]time.Time{since, src.Last}, time.Time.Compare)
			}
		}
	}
	if len(away) == 0 {
		return fmt.Sprintf("%s at %s had failed; none of it is down any more.", cmp.Or(strings.Join(i.Nodes, ", "), "Something"), i.Site)
	}
	return fmt.Sprintf("%s at %s failed %s ago.", strings.Join(away, ", "), i.Site, power.Spell(now.Sub(since)))
}

// sentence has a text begin as a sentence does.
func sentence(text string) string {
	r, n := utf8.DecodeRuneInString(text)
	return string(unicode.ToUpper(r)) + text[n:]
}

// weight orders incidents: what the page tells first has the least.
func weight(k sentinel.IncidentKind) int {
	return slices.Index([]sentinel.IncidentKind{sentinel.PowerOutage, sentinel.InternetOutage, sentinel.TailnetDown, sentinel.Unwatched, sentinel.NodeFailure}, k)
}
