package twilio

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/twilio/twilio-go/client"
)

// Class says what a failure means for the next step. The zero Class is none.
type Class int

// The classes. For requests that only read, Ambiguous and NotSent both mean
// "ask again".
const (
	// Configuration was refused and will be refused again until a person
	// changes something: credentials, funds, permissions.
	Configuration Class = iota + 1
	// Target was refused because of the number called; another may work.
	Target
	// Throttled was refused for now; [Error.RetryAfter] may say for how long.
	Throttled
	// Ambiguous may have happened: look into the call list before repeating it.
	Ambiguous
	// NotSent surely did not happen: no connection came about.
	NotSent
)

// String returns the class as a word for logs and metrics.
func (c Class) String() string {
	switch c {
	case Configuration:
		return "configuration"
	case Target:
		return "target"
	case Throttled:
		return "throttled"
	case Ambiguous:
		return "ambiguous"
	case NotSent:
		return "not sent"
	}
	return fmt.Sprintf("class %d", int(c))
}

// Error is every failure of a [Client]; find it with [errors.As]. It never
// contains the API key's secret.
type Error struct {
	Code       int           // Twilio's code, 0 if Twilio gave none
	HTTPStatus int           // 0 if no answer came
	Message    string        // Twilio's or the network's words
	Class      Class         // what it means for the next step
	RetryAfter time.Duration // 0 if Twilio named none
	Advice     string        // one sentence for the user

	cause error
}

// Error implements error.
func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "twilio: %v: %s", e.Class, e.Message)
	if e.Code != 0 {
		fmt.Fprintf(&b, " (code %d)", e.Code)
	}
	if e.HTTPStatus != 0 {
		fmt.Fprintf(&b, " (HTTP %d)", e.HTTPStatus)
	}
	return b.String()
}

// Said is Twilio's no, or that there was no answer, for people.
func (e *Error) Said() string {
	switch {
	case e.Code != 0:
		return fmt.Sprintf("Twilio answers %.200q (code %d)", e.Message, e.Code)
	case e.HTTPStatus != 0:
		return fmt.Sprintf("Twilio gives an %s (HTTP %d)", e.Message, e.HTTPStatus)
	}
	return fmt.Sprintf("Twilio does not answer: %.200s", e.Message)
}

// Unwrap returns the network's error where there was one.
func (e *Error) Unwrap() error { return e.cause }

const (
	adviceAmbiguous = "Twilio did not answer clearly, so it may have been done or not; see https://status.twilio.com"
	adviceNotSent   = "Twilio could not be reached; check this machine's internet connection and name resolution"
)

// classify turns what became of one request into an *Error, or nil.
func (c *Client) classify(p *perCall, err error) error {
	if err == nil && p.err == nil && p.status/100 == 2 {
		return nil
	}
	if p.err != nil {
		return c.lost(p)
	}
	if p.status == 0 { // twilio-go refused before it asked its transport
		return &Error{Message: c.redact.Replace(err.Error()), Class: NotSent, Advice: adviceNotSent}
	}
	e := &Error{HTTPStatus: p.status, RetryAfter: p.retryAfter, Class: Ambiguous, Advice: adviceAmbiguous}
	var rest *client.TwilioRestError
	if errors.As(err, &rest) && rest.Code != 0 {
		e.Code, e.Message = rest.Code, c.redact.Replace(rest.Message)
	} else {
		e.Message = "unreadable answer"
	}
	switch {
	case p.status == http.StatusTooManyRequests:
		e.Class, e.Advice = Throttled, adviceThrottled
	case p.status < 400 || p.status >= 500 || p.status == http.StatusRequestTimeout:
		// Not Twilio's last word, whatever code it carries.
	case e.Code != 0: // without a code a proxy or portal spoke, not Twilio
		e.Class, e.Advice = meaning(e.Code)
	}
	return e
}

// lost describes a request whose answer never came, or only in part.
func (c *Client) lost(p *perCall) *Error {
	e := &Error{
		HTTPStatus: p.status, RetryAfter: p.retryAfter, Message: p.err.Error(), cause: p.err,
		Class: Ambiguous, Advice: adviceAmbiguous,
	}
	if p.unsent {
		e.Class, e.Advice = NotSent, adviceNotSent
	}
	if clean := c.redact.Replace(e.Message); clean != e.Message {
		e.Message, e.cause = clean, nil // a transport that prints headers
	}
	return e
}

// refuse is an error found before anything was sent.
func refuse(class Class, message, advice string) *Error {
	return &Error{Class: class, Message: message, Advice: advice}
}
