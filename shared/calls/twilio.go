package calls

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"sentinel.home.arpa/shared/twilio"
)

const (
	ring      = 25 * time.Second
	talkMost  = 2 * time.Minute
	heldFor   = 15 * time.Second // what "unknown" must have listened to count as a person (rule C2)
	byPerson  = "human"
	bySomeone = "unknown"
)

// Twilio is the phone that one account of Twilio's is.
type Twilio struct {
	line atomic.Pointer[line]
}

// line is how the account is used, until Use says otherwise.
type line struct {
	*twilio.Client
	voice, language string
}

// NewTwilio makes a phone; an empty voice is Twilio's own, an empty language English.
func NewTwilio(client *twilio.Client, voice, language string) *Twilio {
	t := &Twilio{}
	t.Use(client, voice, language)
	return t
}

// Use has the account used otherwise from now on, also by calls under way.
func (p *Twilio) Use(client *twilio.Client, voice, language string) {
	p.line.Store(&line{client, voice, cmp.Or(language, "en-US")})
}

// Place implements [Phone].
func (p *Twilio) Place(ctx context.Context, number, text string) (Status, error) {
	l := p.line.Load()
	twiml, err := twilio.SayTwice(text, l.voice, l.language)
	if err != nil {
		return Status{}, fmt.Errorf("%w: %w", ErrWillNot, err)
	}
	c, err := l.Place(ctx, twilio.CallRequest{To: number, TwiML: twiml, Ring: ring, TimeLimit: talkMost, DetectMachine: true})
	var e *twilio.Error
	if errors.As(err, &e) {
		switch e.Class {
		case twilio.Configuration, twilio.Target:
			err = fmt.Errorf("%w: %w", ErrWillNot, err)
		case twilio.Throttled, twilio.NotSent:
			err = fmt.Errorf("%w: %w", ErrNotPlaced, err)
		}
	}
	return status(c), err
}

// Recent implements [Phone].
func (p *Twilio) Recent(ctx context.Context, number string) ([]Status, error) {
	calls, err := p.line.Load().Recent(ctx, number)
	var out []Status
	for _, c := range calls {
		out = append(out, status(c))
	}
	return out, err
}

// Fetch implements [Line].
func (p *Twilio) Fetch(ctx context.Context, sid string) (Status, error) {
	c, err := p.line.Load().Fetch(ctx, sid)
	return status(c), err
}

// Hangup implements [Line]: a call that nobody has taken is cancelled, one that is
// being listened to is left to its end.
func (p *Twilio) Hangup(ctx context.Context, sid string) error { return p.line.Load().Cancel(ctx, sid) }

func status(c twilio.Call) Status {
	s := Status{SID: c.SID, State: string(c.Status), Age: c.Age, Final: c.Status.Final(),
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
