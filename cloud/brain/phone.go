package brain

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"sentinel.home.arpa/cloud/internal/notify"
	"sentinel.home.arpa/cloud/internal/sentinel"
	"sentinel.home.arpa/shared/twilio"
)

const (
	ring      = 25 * time.Second
	talkMost  = 2 * time.Minute
	heldFor   = 15 * time.Second // what "unknown" must have listened to count as a person (rule C2)
	byPerson  = "human"
	bySomeone = "unknown"
)

// phone places calls through one account of Twilio's.
type phone struct {
	account string
	line    atomic.Pointer[line]
}

// line is how the account is used, until a reload says otherwise.
type line struct {
	*twilio.Client
	voice, language string
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
		b.phone = &phone{account: t.AccountSID}
	}
	b.phone.line.Store(&line{s.client, t.Voice, cmp.Or(t.Language, "en-US")})
	b.caller.Use(b.phone)
}

// callReport is how calls come back to the loop.
func (b *Brain) callReport() notify.Report {
	report := func(in sentinel.Input) {
		if err := b.submit(context.Background(), in); err != nil && !errors.Is(err, errStopping) {
			b.log.Error("input lost", "input", fmt.Sprintf("%T", in), "err", err)
		}
	}
	return notify.Report{
		Placed: func(id, sid string) { report(sentinel.CallWasPlaced{Call: id, SID: sid}) },
		Ended: func(id string, delivered bool, outcome string) {
			report(sentinel.CallHasEnded{Call: id, Delivered: delivered, Outcome: outcome})
		},
	}
}

// Place implements notify.Phone.
func (p *phone) Place(ctx context.Context, number, text string) (notify.Status, error) {
	l := p.line.Load()
	twiml, err := twilio.SayTwice(text, l.voice, l.language)
	if err != nil {
		return notify.Status{}, fmt.Errorf("%w: %w", notify.ErrWillNot, err)
	}
	c, err := l.Place(ctx, twilio.CallRequest{To: number, TwiML: twiml, Ring: ring, TimeLimit: talkMost, DetectMachine: true})
	var e *twilio.Error
	if errors.As(err, &e) {
		switch e.Class {
		case twilio.Configuration, twilio.Target:
			err = fmt.Errorf("%w: %w", notify.ErrWillNot, err)
		case twilio.Throttled, twilio.NotSent:
			err = fmt.Errorf("%w: %w", notify.ErrNotPlaced, err)
		}
	}
	return status(c), err
}

// Recent implements notify.Phone.
func (p *phone) Recent(ctx context.Context, number string) ([]notify.Status, error) {
	calls, err := p.line.Load().Recent(ctx, number)
	var out []notify.Status
	for _, c := range calls {
		out = append(out, status(c))
	}
	return out, err
}

// Fetch implements notify.Line.
func (p *phone) Fetch(ctx context.Context, sid string) (notify.Status, error) {
	c, err := p.line.Load().Fetch(ctx, sid)
	return status(c), err
}

// Hangup implements notify.Line: a call that nobody has taken is cancelled, one that is
// being listened to is left to its end.
func (p *phone) Hangup(ctx context.Context, sid string) error { return p.line.Load().Cancel(ctx, sid) }

func status(c twilio.Call) notify.Status {
	s := notify.Status{SID: c.SID, State: string(c.Status), Age: c.Age, Final: c.Status.Final(),
		Queued: c.Status == twilio.StatusQueued || c.Status == twilio.StatusInitiated, Outbound: c.Direction != "inbound"}
	if c.AnsweredBy != "" {
		s.State += ", taken by " + c.AnsweredBy
	}
	switch c.AnsweredBy {
	case byPerson:
		s.Person = c.Status == twilio.StatusInProgress || c.Status == twilio.StatusCompleted
	case bySomeone, "":
		s.Person = c.Status == twilio.StatusCompleted && c.Duration >= heldFor
	}
	return s
}
