package brain

import (
	"context"
	"errors"
	"fmt"

	"sentinel.home.arpa/cloud/internal/sentinel"
	"sentinel.home.arpa/shared/calls"
)

// phone places calls through one account of Twilio's.
type phone struct {
	*calls.Twilio
	account string
}

// useTwilio makes the calls from now on go by the settings. Those under way go on: by the
// same account, or else by the one that knows them.
func (b *Brain) useTwilio(s *settings) {
	t := s.cfg.Twilio
	if t == nil {
		b.phone = nil
		return
	}
	if b.phone == nil || b.phone.account != t.AccountSID {
		b.phone = &phone{Twilio: calls.NewTwilio(s.client), account: t.AccountSID}
	}
	b.phone.Use(s.client)
	b.caller.Use(b.phone)
}

// callReport is how calls come back to the loop.
func (b *Brain) callReport() calls.Report {
	report := func(in sentinel.Input) {
		if err := b.submit(context.Background(), in); err != nil && !errors.Is(err, errStopping) {
			b.log.Error("input lost", "input", fmt.Sprintf("%T", in), "err", err)
		}
	}
	return calls.Report{
		Placed: func(id, sid string) { report(sentinel.CallWasPlaced{Call: id, SID: sid}) },
		Late:   func(id, why, advice string) { report(sentinel.CallIsLate{Call: id, Why: why, Advice: advice}) },
		Ended: func(id string, e calls.End) {
			report(sentinel.CallHasEnded{Call: id, Delivered: e.Delivered, Outcome: e.Outcome, Refused: e.Refused, Advice: e.Advice, OfNumber: e.OfNumber})
		},
	}
}
