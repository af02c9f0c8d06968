package sentinel_test

import (
	"slices"
	"time"

	"sentinel.home.arpa/cloud/internal/sentinel"
	"sentinel.home.arpa/shared/routing"
)

// told is what a history knows by itself of calls and notices: from the facts, not from the state.
type toldSoFar struct {
	calls   map[string]*callSoFar
	notices map[string]*sentinel.NoticeRequested // that are on their way
	asked   map[string]bool                      // all notices' ids
	sent    map[string][]time.Time               // by channel
	failing map[string]bool                      // by channel; whether the others were told
	heard   map[string]bool                      // the incidents of which alice's ntfy was told
}

type callSoFar struct {
	contact       string
	other, ended  bool
	asked, placed time.Time
}

func (h *history) somePeople() {
	h.told = toldSoFar{calls: map[string]*callSoFar{}, notices: map[string]*sentinel.NoticeRequested{}, asked: map[string]bool{},
		sent: map[string][]time.Time{}, failing: map[string]bool{}, heard: map[string]bool{}}
	if !draw(h, "people", true, false) {
		return
	}
	h.line("config person=alice channels=ntfy notices=%d", draw(h, "notices", 0, 3, 10, 30))
	h.line("config person=alice channels=email repeat=%s least=warning", draw(h, "repeat", "0s", "15m"))
	h.line("config person=bob channels=ntfy kinds=%s on=%s", draw(h, "kinds", "", "power_outage,plan", "channel"), draw(h, "on", "both", "offline", "online"))
	h.line("config calls=%d other-calls=%d", draw(h, "calls", 0, 2, 6), draw(h, "others", 0, 1, 3))
	if draw(h, "quiet", false, true) {
		h.line("config person=%s quiet=%s", draw(h, "quiet for", "alice", "bob"), draw(h, "hours", "20h-21h", "19h-18h"))
	}
}

// notices lets something become of them.
func (h *history) notices() {
	if len(h.cfg.People) > 0 && draw(h, "reload", false, false, false, true) {
		h.line("reload person=bob no-channels %s", draw(h, "bob has", "", "channels=ntfy", "channels=ntfy,sms least=critical"))
		return
	}
	open := h.state.OpenNotices()
	if len(open) == 0 {
		return
	}
	n := draw(h, "notice", open...)
	h.line("%s %s/%s why=%s", draw(h, "becomes", "sent", "failing", "unsent"), n.Contact, n.Channel, draw(h, "why", "no-answer", "refused"))
}

// checkTold proves of the facts about calls and notices that they keep to the limits and the routes.
func (h *history) checkTold(at time.Time, f sentinel.Fact) {
	t := &h.told
	switch f := f.(type) {
	case *sentinel.CallRequested:
		h.checkLimits(at, f)
		t.calls[f.Call] = &callSoFar{contact: f.Contact, other: f.Other, asked: at}
	case *sentinel.CallPlaced:
		t.calls[f.Call].placed = at
	case *sentinel.CallEnded:
		c := t.calls[f.Call]
		c.ended = true
		if f.Delivered && c.placed.IsZero() {
			c.placed = c.asked
		}
	case *sentinel.CallHeld:
		all, others := h.calledWithin(at, f.Contact)
		if !h.quiet(at, f.Contact) && !(h.cfg.Limits.Calls > 0 && all >= h.cfg.Limits.Calls) && !(h.cfg.Limits.OtherCalls > 0 && others >= h.cfg.Limits.OtherCalls) {
			h.fail("%s is not called, because %s, and there were %d calls, %d others", f.Contact, f.Why, all, others)
		}
		if !f.Until.After(at) {
			h.fail("%s is not called until %s, which is over", f.Contact, f.Until)
		}
	case *sentinel.NoticeRequested:
		h.checkNotice(at, f)
	case *sentinel.NoticesCounted:
		t.heard[f.Incident] = t.heard[f.Incident] || f.Contact+"/"+f.Channel == "alice/ntfy"
	case *sentinel.NoticeEnded:
		if t.notices[f.Notice] == nil {
			h.fail("%s ended, and was not on its way", f.Notice)
		}
		delete(t.notices, f.Notice)
	case *sentinel.ChannelFailing:
		if told, fails := t.failing[f.Contact+"/"+f.Channel]; fails && (told || f.Untold) {
			h.fail("%s of %s is said to fail a second time", f.Channel, f.Contact)
		}
		t.failing[f.Contact+"/"+f.Channel] = !f.Untold
	case *sentinel.ChannelWorks:
		delete(t.failing, f.Contact+"/"+f.Channel)
	}
}

func (h *history) quiet(at time.Time, contact string) bool {
	for _, p := range h.cfg.People {
		if _, quiet := p.Quiet.Until(at.UTC()); p.Name == contact && quiet {
			return true
		}
	}
	return false
}

// calledWithin counts the calls of the hour: those that were placed, and those on their way.
func (h *history) calledWithin(at time.Time, contact string) (all, others int) {
	for _, c := range h.told.calls {
		within := !c.placed.IsZero() && at.Sub(c.placed) < time.Hour || c.placed.IsZero() && !c.ended
		if c.contact != contact || !within {
			continue
		}
		all++
		if c.other {
			others++
		}
	}
	return all, others
}

func (h *history) checkLimits(at time.Time, f *sentinel.CallRequested) {
	all, others := h.calledWithin(at, f.Contact)
	limits, kind := h.cfg.Limits, h.mirror.Incidents[f.Incident].Kind
	switch {
	case limits.Calls > 0 && all >= limits.Calls, f.Other && limits.OtherCalls > 0 && others >= limits.OtherCalls:
		h.fail("%s is called again, after %d calls within the hour, %d of them about others than the power", f.Contact, all, others)
	case f.Other && (kind == sentinel.PowerOutage || kind == sentinel.Unwatched):
		h.fail("%s does not count as about the power", f.Call)
	case !f.Other && kind == sentinel.TailnetDown:
		h.fail("%s counts as about the power", f.Call)
	case f.Other && h.quiet(at, f.Contact):
		h.fail("%s is called in quiet hours about a %s", f.Contact, kind)
	}
}

func (h *history) checkNotice(at time.Time, f *sentinel.NoticeRequested) {
	t, key := &h.told, f.Contact+"/"+f.Channel
	var route *routing.Route
	for _, p := range h.cfg.People {
		for i, c := range p.Channels {
			if p.Name == f.Contact && c.Name == f.Channel {
				route = &p.Channels[i].Route
			}
		}
	}
	last := func(sent time.Time) bool { return at.Sub(sent) < time.Hour }
	_, fails := t.failing[key]
	t.sent[key] = append(slices.DeleteFunc(t.sent[key], func(s time.Time) bool { return !last(s) }), at)
	switch {
	case route == nil:
		h.fail("%s is no channel", key)
	case !f.Counted && !route.Wants(routing.Event{Kind: f.Kind, Severity: f.Severity, Site: f.Site, Over: f.Over}):
		h.fail("%s is told of a %s, which it does not want", key, f.Kind)
	case t.asked[f.Notice]:
		h.fail("%s is asked for twice", f.Notice)
	case h.cfg.Limits.Notices > 0 && len(t.sent[key]) > h.cfg.Limits.Notices:
		h.fail("%s is told %d times within the hour", key, len(t.sent[key]))
	case f.Kind == sentinel.KindChannel && fails:
		h.fail("%s fails, and is told of a channel that does: %s", key, f.Text)
	case f.Subject == "" || f.Text == "":
		h.fail("%s says nothing", f.Notice)
	}
	t.asked[f.Notice], t.notices[f.Notice] = true, f
	t.heard[f.Incident] = t.heard[f.Incident] || key == "alice/ntfy"
}

// checkTellings proves that no notice is lost, that of each incident somebody was told who wants to
// hear of all, and that nobody waits for a call who may be called.
func (h *history) checkTellings() {
	open := h.state.OpenNotices()
	if len(open) != len(h.told.notices) || slices.ContainsFunc(open, func(n *sentinel.Notice) bool { return h.told.notices[n.ID] == nil }) {
		h.fail("%d notices are on their way, and %d were asked for and did not end", len(open), len(h.told.notices))
	}
	if len(h.cfg.People) == 0 {
		return
	}
	for _, i := range h.state.OpenIncidents() {
		if !h.told.heard[i.ID] {
			h.fail("nobody was told of %s", i.ID)
		}
	}
}

// heldBack reports whether nobody may be called about an incident now.
func (h *history) heldBack(i *sentinel.Incident) bool {
	if len(i.Held) == 0 {
		return false
	}
	for _, c := range h.cfg.Contacts {
		all, others := h.calledWithin(h.now, c)
		limits := h.cfg.Limits
		if !h.quiet(h.now, c) && !(limits.Calls > 0 && all >= limits.Calls) && !(limits.OtherCalls > 0 && others >= limits.OtherCalls) {
			return false
		}
	}
	return true
}
