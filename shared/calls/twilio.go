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
	line atomic.Pointer[twilio.Client]
}

// NewTwilio makes a phone.
func NewTwilio(client *twilio.Client) *Twilio {
	t := &Twilio{}
	t.Use(client)
	return t
}

// Use has the account used through another client from now on, also by calls under way.
func (p *Twilio) Use(client *twilio.Client) { p.line.Store(client) }

// Place implements [Phone].
func (p *Twilio) Place(ctx context.Context, number string, s Speech) (Status, error) {
	language := cmp.Or(s.Language, "en-US")
	twiml, err := twilio.SayTwice(s.Text, s.Voice, language)
	if s.Keys != "" {
		twiml, err = twilio.AskTwice(s.Text, s.Voice, language, twilio.Keys{Action: s.Keys, Prompt: s.Prompt, Bye: s.Bye})
	}
	if err != nil {
		return Status{}, &Refusal{Advice: "Shorten what is said: the text of the call is too long", Cause: err}
	}
	c, err := p.line.Load().Place(ctx, twilio.CallRequest{To: number, TwiML: twiml, Ring: ring, TimeLimit: talkMost, DetectMachine: s.Keys == ""})
	var e *twilio.Error
	if errors.As(err, &e) {
		switch e.Class {
		case twilio.Configuration, twilio.Target:
			err = &Refusal{Advice: e.Advice, OfNumber: e.OfNumber(), Cause: err}
		case twilio.Throttled, twilio.NotSent:
			err = fmt.Errorf("%w: %w", ErrNotPlaced, err)
		}
	}
	return status(c), err
}

// said is an error for people, with what they may do.
func said(err error) (why, advice string) {
	var e *twilio.Error
	if errors.As(err, &e) {
		return e.Said(), e.Advice
	}
	return err.Error(), ""
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
		Queued: c.Status == twilio.StatusQueued || c.Status == twilio.StatusInitiated, Outbound: c.Direction != "inbound", Detected: c.AnsweredBy != ""}
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
