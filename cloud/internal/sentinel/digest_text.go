package sentinel

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"sentinel.home.arpa/shared/power"
)

// remark is one sentence of a digest.
type remark struct {
	text string
	look bool // somebody should see to it
	past bool // it was not well, and is
}

// Digest is what would be told at now of some of the sites, since the last digest.
func (s *State) Digest(now time.Time, sites []string) (subject, text string) {
	var parts []string
	looks, past := 0, false
	part := func(head string, remarks []remark) {
		if len(remarks) == 0 {
			return
		}
		slices.SortStableFunc(remarks, func(a, b remark) int { // what is to be seen to comes first
			return cmp.Compare(rank(a.look), rank(b.look))
		})
		lines := []string{head}
		for _, r := range remarks {
			lines = append(lines, r.text+".")
			if r.look {
				looks++
			}
			past = past || r.past
		}
		parts = append(parts, strings.Join(lines, "\n"))
	}
	for _, name := range sites {
		if site := s.Sites[name]; site != nil {
			since := s.Tally.From
			if since.IsZero() {
				since = now
			}
			part(fmt.Sprintf("At %s, since %s:", name, s.saidWhen(since, now, name)), s.ofSite(site, now))
		}
	}
	part("Beside that:", s.ofAll(now))
	return fmt.Sprintf("Digest of %s: %s", few(sites, 3), saidWell(looks, past)), strings.Join(parts, "\n\n")
}

// rank has what is so come before what is not.
func rank(is bool) int {
	if is {
		return 0
	}
	return 1
}

func saidWell(looks int, past bool) string {
	switch {
	case looks == 1:
		return "one thing needs a look"
	case looks > 1:
		return fmt.Sprintf("%d things need a look", looks)
	case past:
		return "all is well now"
	}
	return "all is well"
}

// saidWhen is a moment as people say it: by the weekday if that is enough.
func (s *State) saidWhen(at, now time.Time, site string) string {
	local := s.cfg.local(at, site)
	switch ago := now.Sub(at); {
	case ago < 6*day:
		return local.Format("Mon 15:04")
	case ago < 300*day:
		return local.Format("Mon 2 Jan 15:04")
	}
	return local.Format("2 January 2006")
}

func (s *State) ofSite(site *Site, now time.Time) []remark {
	all := s.ofSources(site, now)
	all = append(all, s.ofOutages(site.Name, now)...)
	for _, name := range slices.Sorted(maps.Keys(site.UPSes)) {
		all = append(all, s.ofUPS(site, site.UPSes[name], now))
	}
	all = append(all, s.ofPlan(site, now)...)
	return append(all, s.ofKeys(site.Name)...)
}

// ofSources tells how nodes and Pis were: of those that were not always up each by itself, as far
// as there is room, those that are not now first.
func (s *State) ofSources(site *Site, now time.Time) []remark {
	var all []remark
	var fine, others []string
	unheard := false
	for _, src := range site.inOrder() {
		u := s.uptime(src, site.Name, now)
		r, ok := s.ofSource(site, src, u, now)
		switch {
		case !ok:
			fine, unheard = append(fine, src.Name), unheard || u.Unheard > 0
		case len(all) < namedAtMost:
			all = append(all, r)
		default:
			others = append(others, src.Name)
		}
	}
	if n := len(others); n > 0 {
		all = append(all, remark{text: fmt.Sprintf("%d more were not up all the time", n), past: true})
	}
	if len(fine) == 0 {
		return all
	}
	were, they := " were", "they"
	if len(fine) == 1 {
		were, they = " was", "it"
	}
	text := few(fine, namedAtMost) + were + " up all the time"
	if unheard {
		text += " that " + they + " could be heard"
	}
	return append(all, remark{text: text})
}

// inOrder are a site's sources, those that are not up first, then by name.
func (s *Site) inOrder() []*Source {
	return slices.SortedFunc(maps.Values(s.Sources), func(a, b *Source) int {
		return cmp.Or(cmp.Compare(rank(a.Condition != Up), rank(b.Condition != Up)), cmp.Compare(a.Name, b.Name))
	})
}

// ofSource tells how one was that was not up all the time; false: it was.
func (s *State) ofSource(site *Site, src *Source, u Uptime, now time.Time) (remark, bool) {
	switch {
	case src.Condition == Pending:
		return remark{text: src.Name + " has never been heard", look: true}, true
	case src.silent() && s.outOfReach(src):
		return remark{text: fmt.Sprintf("%s has not been heard since %s", src.Name, s.saidWhen(src.Last, now, site.Name)), look: true}, true
	}
	var parts []string
	if u.Down.Times > 0 {
		parts = append(parts, fmt.Sprintf("up %s: down %s", saidShare(u, now.Sub(later(u.Since, s.Tally.From))), s.saidSpent(u.Down, now, site.Name)))
	}
	if u.Planned.Times > 0 {
		parts = append(parts, "off as planned "+s.saidSpent(u.Planned, now, site.Name))
	}
	was := strings.Join(parts, ", and ")
	switch {
	case !src.silent():
		return remark{text: src.Name + " was " + was, past: u.Down.Times > 0}, was != ""
	case u.Down.Times+u.Planned.Times > 1:
		was = "; it was " + was
	default: // that is what goes on
		was = ""
	}
	stands := "down"
	if src.Condition == Off {
		stands = "off as planned"
	}
	return remark{text: fmt.Sprintf("%s has been %s since %s%s", src.Name, stands, s.saidWhen(src.Last, now, site.Name), was), look: src.Condition == Failed}, true
}

// saidShare is which part of the time a source was up in that it was meant to be and could be
// heard. It is 100 % only for one that was never down.
func saidShare(u Uptime, span time.Duration) string {
	meant := span - u.Planned.For - u.Unheard
	if meant <= 0 {
		return "0 %"
	}
	share := math.Floor(1000*float64(meant-u.Down.For)/float64(meant)) / 10
	return strings.TrimSuffix(fmt.Sprintf("%.1f", min(max(share, 0), 99.9)), ".0") + " %"
}

// saidSpent is how often and how long something was so, and when it was last.
func (s *State) saidSpent(x Spent, now time.Time, site string) string {
	when, span := s.saidWhen(x.Last.From, now, site), power.Spell(x.Last.To.Sub(x.Last.From))
	if x.Times == 1 {
		return fmt.Sprintf("once, %s for %s", when, span)
	}
	return fmt.Sprintf("%s, %s in all, last %s for %s", saidTimes(x.Times), power.Spell(x.For), when, span)
}

// ofOutages tells of what was out of reach, and of the power that nobody watched.
func (s *State) ofOutages(site string, now time.Time) []remark {
	var all []remark
	for _, k := range []struct {
		kind      IncidentKind
		what, was string
	}{{InternetOutage, "The internet", "out"}, {Unwatched, "The power", "watched by nobody"}, {TailnetDown, "Tailscale", "out of reach"}} {
		spent := s.Tally.Outages[site][k.kind]
		r := remark{text: fmt.Sprintf("%s was %s %s", k.what, k.was, s.saidSpent(spent, now, site)), past: true}
		if i := (&decider{State: s}).open(site, k.kind); i != nil {
			r = remark{text: fmt.Sprintf("%s has been %s since %s", k.what, k.was, s.saidWhen(i.began(), now, site)), look: true}
			if spent.Times > 0 {
				r.text += ", and was before " + s.saidSpent(spent, now, site)
			}
		} else if spent.Times == 0 {
			if k.kind != InternetOutage || site == "" {
				continue
			}
			r = remark{text: k.what + " was never " + k.was}
		}
		all = append(all, r)
	}
	return all
}

// ofUPS tells how a UPS was and is.
func (s *State) ofUPS(site *Site, u *UPS, now time.Time) remark {
	spent := s.Tally.Batteries[keyIn(site.Name, u.Name)]
	r := remark{text: u.Name + " was never on battery", past: spent.Times > 0}
	add := func(look bool, text string) { r.text, r.look = r.text+"; "+text, r.look || look }
	switch {
	case u.Supply == power.Battery && !u.Stale:
		r.text, r.look = fmt.Sprintf("%s has been on battery since %s", u.Name, s.saidWhen(u.Since, now, site.Name)), true
		if spent.Times > 0 {
			r.text += ", and was before " + s.saidSpent(spent, now, site.Name)
		}
	case spent.Times > 0:
		r.text = u.Name + " was on battery " + s.saidSpent(spent, now, site.Name)
	}
	if u.Lost {
		add(true, "it has not been heard since "+s.saidWhen(u.LostAt, now, site.Name))
	}
	reading, ok := s.batteryNow(u, now)
	if ok {
		add(false, s.saidCharge(site.Name, u.Name, reading))
	}
	told := func(about string) bool { return s.Told[about+" of "+u.Name+" at "+site.Name] != "" }
	if told("battery") {
		add(true, "it wants its battery replaced")
	}
	switch {
	case told("self-test"):
		add(true, "its last self-test failed")
	case reading.SelfTest == "OK":
		add(false, "its last self-test passed")
	}
	return r
}

// saidCharge is how a battery is, and how long it would have lasted at the last digest if that is
// another time.
func (s *State) saidCharge(site, ups string, r power.Reading) string {
	text := "its battery"
	if r.Charge != nil {
		text += fmt.Sprintf(" is at %.0f %%", *r.Charge*100)
	}
	if r.Runtime == nil {
		return text
	}
	if lasts := power.Spell(r.Runtime.Duration()); r.Charge != nil {
		text += ", enough for " + lasts
	} else {
		text += " is enough for " + lasts
	}
	before := s.Tally.Before[keyIn(site, ups)].Runtime
	if before == nil || power.Spell(before.Duration()) == power.Spell(r.Runtime.Duration()) {
		return text
	}
	return text + " (" + power.Spell(before.Duration()) + " at the last digest)"
}

// ofPlan tells whether the plan would do anything.
func (s *State) ofPlan(site *Site, now time.Time) []remark {
	sc := s.cfg.site(site.Name)
	if sc == nil || sc.Plan == nil {
		return nil
	}
	is, since := "is", ""
	if at := s.Tally.Armed[site.Name]; !at.IsZero() {
		is, since = "has been", " since "+s.saidWhen(at, now, site.Name)
	}
	switch {
	case site.stopHolds():
		return []remark{{text: fmt.Sprintf("The plan was stopped by %s, %s, and begins no more until that is over", site.StoppedBy, s.saidWhen(site.StoppedAt, now, site.Name)), look: true}}
	case site.Armed:
		return []remark{{text: "The plan " + is + " armed" + since}}
	case since != "":
		is += " disarmed"
	default:
		is += " not armed"
	}
	return []remark{{text: "The plan " + is + since + ": a power cut is a dry run, and shuts nothing down", look: true}}
}

// ofAll tells of what is of no site: Tailscale, calls, notices, and the sentinel itself.
func (s *State) ofAll(now time.Time) []remark {
	all := append(s.ofOutages("", now), s.ofPhone()...)
	all = append(all, s.ofChannels(now)...)
	all = append(all, s.ofKeys("")...)
	if t := s.Tally; t.Starts > 0 || t.Unwatched > 0 {
		var parts []string
		if t.Starts > 0 {
			parts = append(parts, "was started "+saidTimes(t.Starts))
		}
		if t.Unwatched > 0 {
			parts = append(parts, "stood still or was offline for "+power.Spell(t.Unwatched))
		}
		all = append(all, remark{text: "The sentinel itself " + strings.Join(parts, ", and ")})
	}
	return all
}

// ofPhone tells what the last self-test found out, and who cannot be called.
func (s *State) ofPhone() []remark {
	p := &s.Phone
	if len(s.cfg.Contacts) == 0 || s.cfg.SelfTestEach <= 0 {
		return nil
	}
	var r remark
	switch {
	case p.Tested.IsZero():
		r = remark{text: "Whether calls would be placed is not known yet", look: true}
	case !p.Fine:
		r = remark{text: "Calls would not be placed: " + withAdvice(p.Why, p.Advice), look: true}
	case p.Calls == nil:
		r = remark{text: "Calls would be placed"}
	default:
		r = remark{text: fmt.Sprintf("Calls would be placed, and there is credit for about %s (%s)", saidCalls(*p.Calls), p.Credit), look: p.few(s.cfg)}
	}
	all := []remark{r}
	for _, name := range s.cfg.Contacts {
		if no, is := p.Refused[name]; is {
			all = append(all, remark{text: name + " cannot be called: " + withAdvice(no.Why, no.Advice), look: true})
		}
	}
	return all
}

// ofChannels tells what was not delivered.
func (s *State) ofChannels(now time.Time) []remark {
	var all []remark
	some := false
	for _, p := range s.cfg.People {
		for _, c := range p.Channels {
			some = true
			key := channelKey(p.Name, c.Name)
			ch, lost := s.Channels[key], s.Tally.Lost[key]
			missed := "one notice was not delivered"
			if lost > 1 {
				missed = fmt.Sprintf("%d notices were not delivered", lost)
			}
			switch {
			case ch.fails():
				r := remark{text: fmt.Sprintf("%s of %s has failed since %s: %s", c.Name, p.Name, s.saidWhen(ch.Failing, now, ""), ch.Why), look: true}
				if lost > 0 {
					r.text += "; " + missed
				}
				all = append(all, r)
			case lost > 0:
				all = append(all, remark{text: fmt.Sprintf("%s of %s works again; %s", c.Name, p.Name, missed), past: true})
			}
		}
	}
	if some && len(all) == 0 {
		all = append(all, remark{text: "All notices were delivered"})
	}
	return all
}

// ofKeys tells which keys of the tailnet expire soon.
func (s *State) ofKeys(site string) []remark {
	var all []remark
	for _, k := range s.expiring {
		if k.Site != site || site != "" && s.Sites[site].Sources[k.Name] == nil {
			continue
		}
		all = append(all, remark{text: fmt.Sprintf("The Tailscale key of %s %s", k.Name, saidExpiry(k)), look: true})
	}
	slices.SortFunc(all, func(a, b remark) int { return cmp.Compare(a.text, b.text) })
	return all
}
