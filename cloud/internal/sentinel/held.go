package sentinel

import (
	"fmt"
	"slices"
	"time"

	"sentinel.home.arpa/shared/escalation"
	"sentinel.home.arpa/shared/routing"
)

// Call is one call, from the wish to its end.
type Call struct {
	ID, Incident, Contact string
	Attempt               int
	Requested             time.Time
	SID                   string
	Keys                  string    `json:",omitempty"` // that were pressed, in their order
	Placed                time.Time `json:",omitzero"`
	Late                  *Refusal  `json:",omitempty"` // why it could not be placed for a while
	Ended                 time.Time
	Delivered             bool
	OfNumber              bool `json:",omitempty"` // it was refused because of the number, as the next would be
	Outcome               string
	Dropped               bool
	Stale                 bool   // requested before it got worse, of which it does not tell
	Other                 bool   `json:",omitempty"` // it is not about the power
	Test                  string `json:",omitempty"` // who wanted to see that it works; empty: it is about an incident
}

// Open reports whether the call is still to be placed or under way.
func (c *Call) Open() bool { return c.Ended.IsZero() }

// person is what a contact wants to be told; nil: nothing was said of it.
func (c *Config) person(name string) *Person {
	if n := slices.IndexFunc(c.People, func(p Person) bool { return p.Name == name }); n >= 0 {
		return &c.People[n]
	}
	return nil
}

// local is what a clock on the wall of a site says; of none, that of the first.
func (c *Config) local(at time.Time, site string) time.Time {
	if c.Shown != nil {
		at = c.Shown(at)
	}
	sc := c.site(site)
	if sc == nil && len(c.Sites) > 0 {
		sc = &c.Sites[0]
	}
	if sc == nil || sc.Zone == nil {
		return at.UTC()
	}
	return at.In(sc.Zone)
}

// ringsFor are the contacts whose phones ring for an incident of that kind (rule C6).
func (d *decider) ringsFor(i *Incident) []string {
	return slices.DeleteFunc(slices.Clone(d.cfg.Contacts), func(name string) bool {
		p := d.cfg.person(name)
		return p != nil && !p.Phone.Wants(routing.Event{Kind: string(i.Kind), Severity: routing.Critical, Site: i.Site})
	})
}

// callable are those of them who may be called now, or of whom it is not known yet that they
// may not.
func (d *decider) callable(i *Incident) []string {
	return slices.DeleteFunc(d.ringsFor(i), func(name string) bool {
		if _, held := i.Held[name]; !held {
			return false
		}
		until, why := d.holdsBack(i, name)
		return why != "" && !d.due(until)
	})
}

// callsTo are the calls without those to contacts who are not called now: the rounds go on with
// the others.
func (d *decider) callsTo(calls []escalation.Call, callable []string) []escalation.Call {
	return slices.DeleteFunc(slices.Clone(calls), func(c escalation.Call) bool {
		return slices.Contains(d.cfg.Contacts, c.Contact) && !slices.Contains(callable, c.Contact)
	})
}

// dueCall is the call that comes next about an incident: to who was held back and may be called
// by now, then as the rounds have it.
func (d *decider) dueCall(i *Incident, calls []escalation.Call, begin time.Time) (escalation.Next, bool) {
	if slices.ContainsFunc(calls, func(c escalation.Call) bool { return c.Delivered || !c.Ended }) {
		return escalation.Next{}, false
	}
	callable := d.callable(i)
	for _, name := range callable {
		if _, held := i.Held[name]; held {
			return escalation.Next{Contact: name, At: d.now}, true
		}
	}
	return escalation.Due(d.cfg.Escalation, callable, d.callsTo(calls, callable), begin)
}

// holdsBack is until when a contact is not called about an incident, and why; an empty reason:
// the call may come now. A call about the power does not wait for the morning (rule C6), nor for
// others that were not (rule C8).
func (d *decider) holdsBack(i *Incident, contact string) (until time.Time, why string) {
	other := !d.aboutPower(i)
	local := d.cfg.local(d.now, i.Site)
	if p := d.cfg.person(contact); p != nil && other {
		if morning, quiet := p.Quiet.Until(local); quiet {
			until, why = d.now.Add(morning.Sub(local)), fmt.Sprintf("%s wants quiet until %s", contact, morning.Format("15:04"))
		}
	}
	hold := func(at []time.Time, most int, what string) {
		if most <= 0 || len(at) < most {
			return
		}
		slices.SortFunc(at, time.Time.Compare)
		if free := at[len(at)-most].Add(limitedTo); free.After(until) {
			until = free
			why = fmt.Sprintf("%s was called %s%s within the hour; the next call may come at %s", contact, saidTimes(len(at)), what, d.cfg.local(free, i.Site).Format("15:04"))
		}
	}
	all, others := d.calledWithin(contact)
	hold(all, d.cfg.Limits.Calls, "")
	if other {
		hold(others, d.cfg.Limits.OtherCalls, " about other things than the power")
	}
	return until, why
}

// calledWithin is when a contact was called within the hour, at all and not about the power. One
// that is on its way counts as of now, and one that was never placed reached nobody.
func (d *decider) calledWithin(contact string) (all, others []time.Time) {
	count := func(calls []*Call) {
		for _, c := range calls {
			at, counts := c.reachedAt(d.now)
			if c.Contact != contact || !counts || d.now.Sub(at) >= limitedTo {
				continue
			}
			all = append(all, at)
			if c.Other {
				others = append(others, at)
			}
		}
	}
	count(d.Tests)
	for _, i := range d.Incidents {
		count(i.Calls)
	}
	return all, others
}

// reachedAt is when a call reached its phone, as far as is known; false: it did not.
func (c *Call) reachedAt(now time.Time) (time.Time, bool) {
	switch {
	case !c.Placed.IsZero():
		return c.Placed, true
	case c.Open():
		return now, true
	default:
		return c.Requested, c.SID != "" || c.Delivered
	}
}

// aboutPower reports whether a call about an incident is of those that the others leave room for:
// the power is out or nobody watches it, the site went dark on battery, or the plan runs for it.
func (d *decider) aboutPower(i *Incident) bool {
	site := d.site(i.Site)
	switch i.Kind {
	case PowerOutage, Unwatched:
		return true
	case InternetOutage:
		if _, on := site.OnBattery(); on {
			return true
		}
	}
	r := site.Run
	return r != nil && !r.DryRun && !r.Over() && (site.RunIncident == i.ID || site.RunCause == i.ID)
}

// hold notes that a contact is not called now, and reports whether it is so.
func (d *decider) hold(i *Incident, contact string) bool {
	until, why := d.holdsBack(i, contact)
	if why != "" {
		d.emit(&CallHeld{Incident: i.ID, Contact: contact, Why: why, Until: until})
	}
	return why != ""
}

func saidTimes(n int) string {
	switch n {
	case 1:
		return "once"
	case 2:
		return "twice"
	}
	return fmt.Sprintf("%d times", n)
}
