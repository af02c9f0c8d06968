package sentinel

import (
	"maps"
	"slices"
	"time"

	"sentinel.home.arpa/shared/power"
	"sentinel.home.arpa/shared/routing"
)

// digestWithin is how late a digest may come: by a brain that was off or offline at its time.
const digestWithin = 6 * time.Hour

// digestHears is for how long a brain that was so listens first: nodes that fell silent meanwhile
// have failed by then, and UPSes have said how they are.
const digestHears = time.Minute

// Digest is when people are told how all was: each week, or each day, by the clock on the wall.
type Digest struct {
	Daily bool // whatever the day
	Weekly
}

// around are the last such moment that is not after local, and the next one.
func (g Digest) around(local time.Time) (last, next time.Time) {
	if g.Daily {
		return aroundOf(local, g.At, 0, 1)
	}
	return g.Weekly.around(local)
}

const day = 24 * time.Hour

// least is how much time lies between two at least: what the clock on the wall does, or another
// hour in the configuration, makes no two of one.
func (g Digest) least() time.Duration {
	if g.Daily {
		return day / 2
	}
	return 7 * day / 2
}

// DigestMade ends what was counted for a digest, and begins the next one.
type DigestMade struct {
	Batteries []BatteryNoted `json:",omitempty"`
}

// BatteryNoted is a battery as a digest told of it.
type BatteryNoted struct {
	Site, UPS string
	Charge    *float64       `json:",omitempty"`
	Runtime   *power.Seconds `json:",omitempty"`
}

// settleDigest tells how all was, once in each period (rule C7). Of several sites each channel is told of
// those that it is for, at one moment, by the first one's clock.
func (d *decider) settleDigest() {
	g := d.cfg.Digest
	if g == nil {
		return
	}
	local := d.cfg.local(d.now, "")
	last, next := g.around(local)
	d.due(d.now.Add(next.Sub(local)))
	due := d.now.Add(last.Sub(local))
	if d.now.Sub(due) >= digestWithin || due.Sub(d.Tally.From) < g.least() || !d.due(d.hearing.Add(digestHears)) {
		return
	}
	type letter struct {
		contact, channel string
		telling
	}
	var letters []letter
	for _, p := range d.cfg.People {
		for _, c := range p.Channels {
			if sites := d.digestFor(c.Route); len(sites) > 0 {
				subject, text := d.Digest(d.now, sites)
				l := letter{p.Name, c.Name, telling{Event: routing.Event{Kind: KindDigest}, subject: subject, text: text}}
				if len(d.cfg.Sites) == 1 {
					l.Site = sites[0]
				}
				letters = append(letters, l)
			}
		}
	}
	d.emit(&DigestMade{Batteries: d.batteriesNow()})
	for _, l := range letters { // also where there was too much within the hour: what it tells of is told once
		d.request(l.contact, l.channel, l.telling, false)
	}
}

// digestFor are the sites of which a channel wants a digest.
func (d *decider) digestFor(r routing.Route) []string {
	var sites []string
	for _, sc := range d.cfg.Sites {
		if r.Wants(routing.Event{Kind: KindDigest, Site: sc.Name}) {
			sites = append(sites, sc.Name)
		}
	}
	return sites
}

// batteriesNow are those of which the charge or the runtime is known.
func (d *decider) batteriesNow() []BatteryNoted {
	var all []BatteryNoted
	for _, name := range slices.Sorted(maps.Keys(d.Sites)) {
		site := d.Sites[name]
		for _, ups := range slices.Sorted(maps.Keys(site.UPSes)) {
			if r, ok := d.batteryNow(site.UPSes[ups], d.now); ok {
				all = append(all, BatteryNoted{Site: name, UPS: ups, Charge: r.Charge, Runtime: r.Runtime})
			}
		}
	}
	return all
}

// batteryFresh is how old a UPS's word may be for a digest: on mains it comes each 5 s.
const batteryFresh = time.Minute

// batteryNow is a UPS's last word, if it says how its battery is.
func (s *State) batteryNow(u *UPS, now time.Time) (power.Reading, bool) {
	r, ok := u.Reading(now, batteryFresh)
	return r, ok && r.LostFor == nil && (r.Charge != nil || r.Runtime != nil)
}
