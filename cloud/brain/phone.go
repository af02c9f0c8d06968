package brain

import (
	"context"
	"errors"
	"fmt"
	"time"

	"sentinel.home.arpa/cloud/internal/notify"
	"sentinel.home.arpa/shared/twilio"
)

const (
	ring      = 25 * time.Second
	talkMost  = 2 * time.Minute
	heldFor   = 15 * time.Second // what "unknown" must have listened to count as a person (rule C2)
	byPerson  = "human"
	bySomeone = "unknown"
)

// phone places calls through Twilio.
type phone struct {
	client          *twilio.Client
	voice, language string
}

// Place implements notify.Phone.
func (p *phone) Place(ctx context.Context, number, text string) (notify.Status, error) {
	twiml, err := twilio.SayTwice(text, p.voice, p.language)
	if err != nil {
		return notify.Status{}, fmt.Errorf("%w: %w", notify.ErrWillNot, err)
	}
	c, err := p.client.Place(ctx, twilio.CallRequest{To: number, TwiML: twiml, Ring: ring, TimeLimit: talkMost, DetectMachine: true})
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
	calls, err := p.client.Recent(ctx, number)
	var out []notify.Status
	for _, c := range calls {
		out = append(out, status(c))
	}
	return out, err
}

// Fetch implements notify.Line.
func (p *phone) Fetch(ctx context.Context, sid string) (notify.Status, error) {
	c, err := p.client.Fetch(ctx, sid)
	return status(c), err
}

// Hangup implements notify.Line: a call that nobody has taken is cancelled, one that is
// being listened to is left to its end.
func (p *phone) Hangup(ctx context.Context, sid string) error { return p.client.Cancel(ctx, sid) }

func status(c twilio.Call) notify.Status {
	s := notify.Status{SID: c.SID, State: string(c.Status), Created: c.Created, Final: c.Status.Final(),
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
