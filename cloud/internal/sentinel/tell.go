package sentinel

import (
	"fmt"
	"slices"
	"time"

	"sentinel.home.arpa/shared/power"
	"sentinel.home.arpa/shared/routing"
)

const (
	// noticesWaiting is how many notices wait for one channel at most: the oldest give way.
	noticesWaiting = 200
	// summedUpAfter is how long those that are only counted wait to be told together.
	summedUpAfter = 15 * time.Minute
	// joinedWithin is how long nodes that join an incident wait for one another.
	joinedWithin = 20 * time.Second
)

// telling is something that is worth telling, for whoever wants to hear it.
type telling struct {
	routing.Event
	incident, subject, text string
	joined                  []string // as of NoticeRequested
	but                     string   // the key of the channel that it is about
}

// tell has the facts of a Step told by every channel that wants to hear of them, at once and not
// after the calls (rule C5), and then what waited to be told.
func (d *decider) tell() {
	if !d.listens() {
		return
	}
	for _, t := range d.worthTelling(slices.Clone(d.facts)) {
		for _, p := range d.cfg.People {
			for _, c := range p.Channels {
				if c.Route.Wants(t.Event) && d.hears(p.Name, c.Name, t) {
					d.tellBy(p.Name, c.Name, t)
				}
			}
		}
	}
	if !d.Blind.IsZero() {
		return
	}
	for _, p := range d.cfg.People {
		for _, c := range p.Channels {
			d.sumUp(p.Name, c.Name)
			for _, i := range d.OpenIncidents() {
				d.repeat(p.Name, c, i)
			}
		}
	}
}

// listens reports whether there is anybody to tell.
func (d *decider) listens() bool {
	return slices.ContainsFunc(d.cfg.People, func(p Person) bool { return len(p.Channels) > 0 })
}

// hears reports whether a channel can be told of another one: not of itself, and not while it
// fails as well.
func (d *decider) hears(contact, channel string, t telling) bool {
	if t.Kind != KindChannel {
		return true
	}
	key := channelKey(contact, channel)
	return key != t.but && !d.Channels[key].fails()
}

// tellBy tells it by one channel. Where there was too much within the hour it is only counted, and
// told with others later.
func (d *decider) tellBy(contact, channel string, t telling) {
	ch := d.Channels[channelKey(contact, channel)]
	critical := t.Severity == routing.Critical
	if !d.room(ch, critical) || !critical && ch != nil && ch.Counted > 0 {
		d.emit(&NoticesCounted{Contact: contact, Channel: channel, Subjects: []string{t.subject}, Incident: t.incident, Joined: t.joined})
		return
	}
	d.request(contact, channel, t, false)
}

func (d *decider) request(contact, channel string, t telling, counted bool) {
	of := func(n *Notice) bool { return n.Contact == contact && n.Channel == channel }
	var waiting []*Notice
	for _, n := range d.Notices {
		if of(n) {
			waiting = append(waiting, n)
		}
	}
	if len(waiting) >= noticesWaiting {
		d.emit(&NoticeEnded{Notice: waiting[0].ID, Outcome: "too many others waited for " + channel})
	}
	d.emit(&NoticeRequested{Notice: fmt.Sprintf("%s-%d", d.now.UTC().Format("20060102T150405Z"), d.Noticed+1), Contact: contact, Channel: channel,
		Site: t.Site, Incident: t.incident, Kind: t.Kind, Severity: t.Severity, Over: t.Over, Subject: t.subject, Text: t.text, Joined: t.joined, Counted: counted})
}

// room reports whether a channel may be told one more. A third of the hour's is kept for what is
// critical: a storm of advice must not hide an outage.
func (d *decider) room(ch *ChannelStands, critical bool) bool {
	most := d.cfg.Limits.Notices
	if most <= 0 || ch == nil {
		return true
	}
	all, others := 0, 0
	for _, n := range ch.Sent {
		if d.now.Sub(n.At) >= limitedTo {
			continue
		}
		all++
		if !n.Critical {
			others++
		}
	}
	return all < most && (critical || others < most-most/3)
}

// sumUp tells, together, of what a channel was not told one by one.
func (d *decider) sumUp(contact, channel string) {
	ch := d.Channels[channelKey(contact, channel)]
	if ch == nil || ch.Counted == 0 || !d.due(ch.CountedAt.Add(summedUpAfter)) {
		return
	}
	if !d.room(ch, true) {
		d.due(ch.Sent[0].At.Add(limitedTo))
		return
	}
	t := telling{Event: routing.Event{Kind: KindNotice, Severity: routing.Warning}}
	t.subject = fmt.Sprintf("%d more notices", ch.Counted)
	t.text = fmt.Sprintf("so many notices came that %d of them are told together; the last of them: %s. The timeline has them all", ch.Counted, list(ch.Subjects))
	if ch.Counted == 1 {
		t.subject, t.text = ch.Subjects[0], "so many notices came that this one waited: "+ch.Subjects[0]+". The timeline tells more"
	}
	d.request(contact, channel, t, true)
}

// repeat tells again, by a channel that wants it, of an incident that goes on while nobody has
// answered (rule H5). As for a reminder, who is back after a stop is heard first.
func (d *decider) repeat(contact string, c Channel, i *Incident) {
	ch := d.Channels[channelKey(contact, c.Name)]
	if c.Route.Repeat <= 0 || ch == nil || i.Answered != "" || d.hushed(i) || d.darkAsPlanned(i) || !i.calmSince.IsZero() {
		return
	}
	told, ok := ch.About[i.ID]
	t := d.ofIncident(i, "still", "the "+d.nameOf(i)+" has gone on for "+power.Spell(d.now.Sub(i.Since)))
	if !ok || !c.Route.Wants(t.Event) || !d.due(later(told.Add(c.Route.Repeat), d.hearing.Add(d.cfg.Times.Silence))) {
		return
	}
	if !d.room(ch, true) {
		d.due(ch.Sent[0].At.Add(limitedTo))
		return
	}
	d.request(contact, c.Name, t, false)
}

// dropStrangers ends what is on its way to channels that are not configured any more.
func (d *decider) dropStrangers() {
	for _, n := range slices.Clone(d.Notices) {
		known := slices.ContainsFunc(d.cfg.People, func(p Person) bool {
			return p.Name == n.Contact && slices.ContainsFunc(p.Channels, func(c Channel) bool { return c.Name == n.Channel })
		})
		if !known {
			d.emit(&NoticeEnded{Notice: n.ID, Outcome: n.Channel + " of " + n.Contact + " is no longer configured"})
		}
	}
}
