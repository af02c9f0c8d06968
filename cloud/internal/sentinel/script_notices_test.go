package sentinel_test

import (
	"cmp"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"sentinel.home.arpa/cloud/internal/sentinel"
	"sentinel.home.arpa/shared/routing"
)

// configurePeople lets a story have people with channels: person=alice channels=ntfy,email of
// which each has the kinds=, least=, sites=, on= and repeat= of the line, rings=power_outage for
// what its phone is for, and quiet=22h-7h; calls=6 other-calls=3 notices=30 are the limits.
func (w *world) configurePeople(a args) error {
	for key, n := range map[string]*int{"calls": &w.cfg.Limits.Calls, "other-calls": &w.cfg.Limits.OtherCalls, "notices": &w.cfg.Limits.Notices} {
		if a.set[key] == "" {
			continue
		}
		var err error
		if *n, err = strconv.Atoi(a.set[key]); err != nil {
			return err
		}
	}
	if zone := a.set["zone"]; zone != "" {
		loc, err := time.LoadLocation(zone)
		if err != nil {
			return err
		}
		w.cfg.Sites = slices.Clone(w.cfg.Sites)
		for n := range w.cfg.Sites {
			w.cfg.Sites[n].Zone = loc
		}
	}
	if a.set["person"] == "" {
		return nil
	}
	w.cfg.People = slices.Clone(w.cfg.People)
	n := slices.IndexFunc(w.cfg.People, func(p sentinel.Person) bool { return p.Name == a.set["person"] })
	if n < 0 {
		n = len(w.cfg.People)
		w.cfg.People = append(w.cfg.People, sentinel.Person{Name: a.set["person"]})
	}
	p := &w.cfg.People[n]
	if rings := a.set["rings"]; rings != "" {
		p.Phone.Kinds = strings.Split(rings, ",")
	}
	if from, to, ok := strings.Cut(a.set["quiet"], "-"); ok {
		var err error
		if p.Quiet.From, err = time.ParseDuration(from); err != nil {
			return err
		}
		if p.Quiet.To, err = time.ParseDuration(to); err != nil {
			return err
		}
	}
	route, err := routeOf(a)
	if err != nil {
		return err
	}
	if a.has("no-channels") {
		p.Channels = nil
	}
	for _, name := range strings.FieldsFunc(a.set["channels"], func(r rune) bool { return r == ',' }) {
		p.Channels = append(slices.Clone(p.Channels), sentinel.Channel{Name: name, Route: route})
	}
	return nil
}

func routeOf(a args) (r routing.Route, err error) {
	split := func(r rune) bool { return r == ',' }
	r.Kinds, r.Sites = strings.FieldsFunc(a.set["kinds"], split), strings.FieldsFunc(a.set["sites"], split)
	if r.Least, err = routing.ParseSeverity(cmp.Or(a.set["least"], "info")); err != nil {
		return r, err
	}
	if r.On, err = routing.ParseOn(cmp.Or(a.set["on"], "both")); err != nil {
		return r, err
	}
	r.Repeat, err = a.duration("repeat")
	return r, err
}

// doNotices is what becomes of notices, all of them or those to channels as alice/ntfy: sent,
// failing why=no-answer, or unsent why=refused; tried alice/ntfy why=refused is a notice to see
// that it works, which it does without a why.
func (w *world) doNotices(verb string, a args) error {
	if verb == "tried" {
		contact, channel, _ := strings.Cut(a.name(), "/")
		why := strings.ReplaceAll(a.set["why"], "-", " ")
		w.step(sentinel.Tried{ChannelTried: sentinel.ChannelTried{Contact: contact, Channel: channel, By: "alice", Delivered: why == "", Outcome: cmp.Or(why, "delivered")}})
		return nil
	}
	if !slices.Contains([]string{"sent", "failing", "unsent"}, verb) {
		return errUnknown
	}
	why, some := strings.ReplaceAll(a.set["why"], "-", " "), false
	for _, n := range w.state.OpenNotices() {
		if len(a.names) > 0 && !slices.Contains(a.names, n.Contact+"/"+n.Channel) {
			continue
		}
		some = true
		switch verb {
		case "failing":
			w.step(sentinel.NoticeFailing{Notice: n.ID, Why: why})
		default:
			w.step(sentinel.NoticeHasEnded{Notice: n.ID, Delivered: verb == "sent", Outcome: why})
		}
	}
	if !some {
		return errors.New("there is no such notice")
	}
	return nil
}
