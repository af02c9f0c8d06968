package brain

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"sentinel.home.arpa/cloud/internal/sentinel"
	"sentinel.home.arpa/cloud/internal/web"
	"sentinel.home.arpa/shared/twilio"
)

// selfTestWithin bounds a self-test, which is a few requests one after the other.
const selfTestWithin = 45 * time.Second

// phoneID tells one way to call people from another, without giving the secret away.
func phoneID(t *Twilio, secret string) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%q", []string{t.AccountSID, t.APIKeySID, secret, t.From, t.APIURL}))
	return fmt.Sprintf("%x", sum[:8])
}

// selfTest has Twilio asked, where that is due, whether it would place a call (rule C7): one
// test at a time, beside the loop.
func (b *Brain) selfTest(ctx context.Context) {
	s := b.set.Load()
	if !b.state.WantsSelfTest() || s.client == nil || !b.testing.CompareAndSwap(false, true) {
		return
	}
	b.wg.Go(func() {
		defer b.testing.Store(false) // its outcome is known by then
		in := tested(ctx, s)
		if ctx.Err() != nil {
			return
		}
		if err := b.submit(ctx, in); err != nil && ctx.Err() == nil {
			b.log.Error("input lost", "input", "PhoneTested", "err", err)
		}
	})
}

// tested is what a self-test by some settings found out.
func tested(ctx context.Context, s *settings) sentinel.PhoneTested {
	ctx, cancel := context.WithTimeout(ctx, selfTestWithin)
	defer cancel()
	in := sentinel.PhoneTested{Phone: s.core.Phone}
	a, err := s.client.Account(ctx)
	if err != nil {
		in.Why, in.Unclear = err.Error(), true
		var e *twilio.Error
		if errors.As(err, &e) {
			in.Why, in.Advice, in.Unclear = e.Said(), e.Advice, e.Class != twilio.Configuration
		}
		return in
	}
	in.Trial = a.Trial
	in.Why, in.Advice = a.Trouble()
	if a.Balance != nil {
		n := int(max(*a.Balance, 0) / s.cfg.Calls.Price)
		in.Calls, in.Credit = &n, fmt.Sprintf("%.2f %s", *a.Balance, a.Currency)
	}
	return in
}

// phoneSaid is the page's line about the last self-test; empty: there was none yet.
func (b *Brain) phoneSaid() string {
	p := &b.state.Phone
	if b.core().SelfTestEach == 0 || p.Tested.IsZero() {
		return ""
	}
	text := "last self-test " + web.Until(b.clock.Shown(p.Tested).In(b.zone("")), b.machine.wall()) + ": "
	switch {
	case !p.Fine && p.Unclear:
		return text + "nothing was found out: " + p.Why
	case !p.Fine:
		return text + "nobody can be called: " + p.Why
	}
	text += "fine"
	if p.Calls != nil {
		text += fmt.Sprintf(", about %d calls left (%s)", *p.Calls, p.Credit)
	}
	if p.Trial {
		text += "; a trial account reaches verified numbers only"
	}
	return text
}

// phoneTrouble are the page's warnings about the way to call people.
func (b *Brain) phoneTrouble() (warnings []string) {
	p := &b.state.Phone
	if b.core().SelfTestEach > 0 && !p.Tested.IsZero() {
		few := b.core().FewCalls
		switch {
		case !p.Fine && p.Unclear:
			warnings = append(warnings, fmt.Sprintf("Whether anybody can be called is not known since %s: %s. %s.",
				b.clock.Shown(p.Since).In(b.zone("")).Format("15:04"), p.Why, p.Advice))
		case !p.Fine:
			warnings = append(warnings, fmt.Sprintf("Nobody can be called: %s. %s.", p.Why, p.Advice))
		case p.Calls != nil && *p.Calls < few:
			warnings = append(warnings, fmt.Sprintf("The credit lasts for about %d calls only (%s). Add funds in Twilio's console.", *p.Calls, p.Credit))
		}
	}
	for _, c := range b.state.OpenCalls() {
		if l := c.Late; l != nil && c.SID == "" && !c.Dropped {
			warnings = append(warnings, fmt.Sprintf("%s cannot be called since %s, and it is tried again: %s. %s.",
				c.Contact, b.clock.Shown(c.Requested).In(b.zone("")).Format("15:04"), l.Why, l.Advice))
		}
	}
	for _, c := range b.cfg().Contacts {
		if r, is := p.Refused[c.Name]; is {
			warnings = append(warnings, fmt.Sprintf("%s could not be called at %s: %s. %s.",
				c.Name, b.clock.Shown(r.At).In(b.zone("")).Format("Mon 15:04"), r.Why, r.Advice))
		}
	}
	return warnings
}
