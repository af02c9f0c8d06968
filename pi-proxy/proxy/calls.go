package proxy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"sentinel.home.arpa/pi-proxy/internal/brainwatch"
	"sentinel.home.arpa/pi-proxy/internal/ledger"
	"sentinel.home.arpa/shared/calls"
	"sentinel.home.arpa/shared/speech"
	"sentinel.home.arpa/shared/wire"
)

// askWithin bounds how long a call waits for the word whether somebody has called already.
const askWithin = 12 * time.Second

var errNobodyToCall = errors.New("no brain has said whom to call, and by which account")

// report is how calls come back to the loop.
func (o *outside) report() calls.Report {
	return calls.Report{
		Placed: func(id, sid string) {
			o.send(func(now time.Time) []brainwatch.Event { return o.core.Placed(now, id, sid) })
		},
		Ended: func(id string, e calls.End) {
			o.send(func(now time.Time) []brainwatch.Event { return o.core.Ended(now, id, e.Delivered, e.Outcome) })
		},
	}
}

// line is the phone, and a person's number; only as of now.
func (o *outside) line(contact string) (phone calls.Phone, to wire.Contact, err error) {
	called := o.called.Load()
	if called == nil || called.Calls.Twilio == nil {
		return nil, wire.Contact{}, errNobodyToCall
	}
	i := slices.IndexFunc(called.Calls.Contacts, func(c wire.Contact) bool { return c.Name == contact })
	if i < 0 {
		return nil, wire.Contact{}, fmt.Errorf("%s is no contact any more", contact)
	}
	to = called.Calls.Contacts[i]
	t := called.Calls.Twilio
	client, err := account(t)
	if err != nil {
		return nil, to, err
	}
	if to.Language == "" {
		to.Language, to.Voice = t.Language, t.Voice
	}
	return calls.NewTwilio(client), to, nil
}

// askAndPlace places a call. The first of an alarm is not placed if the account has called that
// person since the trouble began: another Pi of the site about the same, or the brain itself,
// which then lives.
func (o *outside) askAndPlace(ctx context.Context, e brainwatch.Event) {
	c := e.Call
	phone, to, err := o.line(c.Contact)
	if err != nil || !e.First {
		o.place(ctx, c, false)
		return
	}
	troubled := o.p.clock.Now().Sub(e.Since)
	o.wg.Go(func() {
		asked, cancel := context.WithTimeout(ctx, askWithin)
		defer cancel()
		recent, err := phone.Recent(asked, to.Phone)
		if err != nil && ctx.Err() == nil {
			o.p.log.Warn("whether somebody has called already is not known", "err", err)
		}
		told := slices.ContainsFunc(recent, func(s calls.Status) bool { return s.Outbound && s.Age < troubled })
		select {
		case o.inputs <- func(now time.Time) []brainwatch.Event {
			switch {
			case told:
				return o.core.Ended(now, c.ID, true, "another call was placed meanwhile, so this one is not")
			case o.core.State().Gone == nil:
				return o.core.Ended(now, c.ID, false, "the sentinel answered before it was placed")
			}
			o.place(ctx, c, false)
			return nil
		}:
		case <-ctx.Done():
		}
	})
}

// place has a call placed, without waiting for it. Only the loop calls it.
func (o *outside) place(ctx context.Context, c brainwatch.Call, doubtful bool) {
	phone, to, err := o.line(c.Contact)
	said := ""
	if err == nil {
		said, err = o.text(c.Contact, to.Language)
	}
	if err != nil {
		o.p.log.Error("call not placed", "contact", c.Contact, "err", err)
		o.wg.Go(func() { // the loop must not wait for itself
			o.send(func(now time.Time) []brainwatch.Event { return o.core.Ended(now, c.ID, false, err.Error()) })
		})
		return
	}
	o.caller.Use(phone)
	o.caller.Call(ctx, calls.Order{ID: c.ID, Number: to.Phone, Speech: calls.Speech{Text: said, Language: to.Language, Voice: to.Voice}, Age: func() time.Duration { return o.p.clock.Now().Sub(c.At) },
		SID: c.SID, Doubtful: doubtful})
}

// text is what a call says, as of now; in English if the brain has named a language of later versions.
func (o *outside) text(contact, language string) (string, error) {
	l, known := speech.Of(language)
	if !known {
		l = speech.English
	}
	s := o.story()
	s.contact = contact
	return s.text(l)
}

// story is how things stand here.
func (o *outside) story() story {
	state, now := o.core.State(), o.p.clock.Now()
	s := story{site: o.p.cfg.Site, since: o.p.clock.Shown(now).In(o.zone())}
	if stored := o.p.stored.Load(); stored != nil {
		s.site, s.armed = stored.Bundle.Site, stored.Bundle.Armed && len(stored.Bundle.Plan.Stages) > 0
	}
	if g := state.Gone; g != nil {
		s.since = o.p.clock.Shown(g.Since).In(o.zone())
		s.tailnet = g.Cause == brainwatch.Tailnet
	}
	if o.p.tailnet != nil {
		s.loggedOut = o.p.tailnet.Status().NeedsLogin()
	}
	s.mains = o.p.mains()
	for _, l := range o.p.latest {
		s.power(l)
	}
	if run := o.p.guard.status(); run != nil {
		s.shuttingDown = run.State.Open()
	}
	return s
}

// zone is the site's, or the Pi's own if it is not known here.
func (o *outside) zone() *time.Location {
	if called := o.called.Load(); called != nil && called.Calls.Zone != "" {
		if zone, err := time.LoadLocation(called.Calls.Zone); err == nil {
			return zone
		}
	}
	return time.Local
}

// notePlaced has the brain's timeline tell of a call (rule N7).
func (o *outside) notePlaced(c brainwatch.Call) {
	why := "the sentinel is down"
	if g := o.core.State().Gone; g != nil && g.Cause == brainwatch.Tailnet {
		why = "Tailscale is out of reach"
	}
	o.p.record.Note(wire.Noted{Node: o.p.cfg.Name, Heard: true, Call: &wire.NotedCall{Contact: c.Contact[:min(len(c.Contact), 100)], Why: why}})
}

// onBattery reports whether a UPS is, as far as is known.
func (p *Proxy) onBattery() bool {
	return slices.ContainsFunc(p.latest, func(l *latest) bool { return !l.calm() })
}

// callsHash is what the Pi tells brains of its list.
func (o *outside) callsHash() string {
	if hash := o.kept.Load(); hash != nil {
		return *hash
	}
	return wire.NoCalls
}

// take goes by a new list from now on. The brain is told of it once it is on disk.
func (o *outside) take(c wire.Calls) {
	hash, err := c.Hash()
	if err != nil {
		o.p.log.Error("whom to call is refused", "err", err)
		return
	}
	if old := o.called.Load(); old != nil && old.Hash == hash {
		if kept := o.kept.Load(); kept != nil && *kept == hash {
			return
		}
	}
	called := ledger.Called{Hash: hash, Calls: c}
	o.called.Store(&called)
	select {
	case o.unstored <- struct{}{}:
	default:
	}
}

// store puts each new list on disk.
func (o *outside) store(ctx context.Context) error {
	failed := ""
	for {
		var again <-chan time.Time
		if c := o.called.Load(); c != nil && c.Hash != o.callsHash() {
			switch err := o.p.ledger.SetCalled(*c); {
			case err == nil:
				o.kept.Store(&c.Hash)
				o.p.log.Info("whom to call is stored", "contacts", len(c.Calls.Contacts), "lacks", o.lacks())
				continue
			case failed != c.Hash:
				failed = c.Hash
				o.p.log.Error("whom to call is not stored, going by it from memory", "err", err)
			}
			again = time.After(retryStore)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-o.unstored:
		case <-again:
		}
	}
}

// lacks is the credential that the list names and the Pi does not have; empty: none. It keeps
// nobody from arming a plan: a house without a phone is shut down all the same.
func (o *outside) lacks() string {
	called := o.called.Load()
	if called == nil || called.Calls.Twilio == nil {
		return ""
	}
	if _, err := credential(called.Calls.Twilio.Secret); err != nil {
		return called.Calls.Twilio.Secret
	}
	return ""
}
