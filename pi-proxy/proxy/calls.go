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
	"sentinel.home.arpa/shared/config"
	"sentinel.home.arpa/shared/twilio"
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
		Ended: func(id string, delivered bool, outcome string) {
			o.send(func(now time.Time) []brainwatch.Event { return o.core.Ended(now, id, delivered, outcome) })
		},
	}
}

// line is the phone, and a person's number; only as of now.
func (o *outside) line(contact string) (phone calls.Phone, number string, err error) {
	called := o.called.Load()
	if called == nil || called.Calls.Twilio == nil {
		return nil, "", errNobodyToCall
	}
	i := slices.IndexFunc(called.Calls.Contacts, func(c wire.Contact) bool { return c.Name == contact })
	if i < 0 {
		return nil, "", fmt.Errorf("%s is no contact any more", contact)
	}
	t := called.Calls.Twilio
	secret, err := config.NewSecret(t.Secret)
	if err != nil {
		return nil, "", err
	}
	text, err := secret.Read()
	if err != nil {
		return nil, "", fmt.Errorf("read Twilio's secret: %w", err)
	}
	client, err := twilio.New(twilio.Config{AccountSID: t.AccountSID, APIKeySID: t.KeySID, APIKeySecret: text, From: t.From, BaseURL: t.APIURL})
	if err != nil {
		return nil, "", err
	}
	return calls.NewTwilio(client, t.Voice, t.Language), called.Calls.Contacts[i].Phone, nil
}

// askAndPlace places a call. The first of an alarm is not placed if the account has called that
// person since the trouble began: another Pi of the site about the same, or the brain itself,
// which then lives.
func (o *outside) askAndPlace(ctx context.Context, e brainwatch.Event) {
	c := e.Call
	phone, number, err := o.line(c.Contact)
	if err != nil || !e.First {
		o.place(ctx, c, false)
		return
	}
	troubled := o.p.clock.Now().Sub(e.Since)
	o.wg.Go(func() {
		asked, cancel := context.WithTimeout(ctx, askWithin)
		defer cancel()
		recent, err := phone.Recent(asked, number)
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
	phone, number, err := o.line(c.Contact)
	if err != nil {
		o.p.log.Error("call not placed", "contact", c.Contact, "err", err)
		o.wg.Go(func() { // the loop must not wait for itself
			o.send(func(now time.Time) []brainwatch.Event { return o.core.Ended(now, c.ID, false, err.Error()) })
		})
		return
	}
	o.caller.Use(phone)
	o.caller.Call(ctx, calls.Order{ID: c.ID, Number: number, Text: o.text(c.Contact), Age: func() time.Duration { return o.p.clock.Now().Sub(c.At) },
		SID: c.SID, Doubtful: doubtful})
}

// text is what a call says, as of now.
func (o *outside) text(contact string) string {
	state, now := o.core.State(), o.p.clock.Now()
	s := story{contact: contact, site: o.p.cfg.Site, since: o.p.clock.Shown(now).In(o.zone())}
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
	return s.text()
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
	name := called.Calls.Twilio.Secret
	secret, err := config.NewSecret(name)
	if err == nil {
		_, err = secret.Read()
	}
	if err != nil {
		return name
	}
	return ""
}
