package twilio

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	api "github.com/twilio/twilio-go/rest/api/v2010"
)

const (
	defaultRing = 25 * time.Second
	maxRing     = 600 * time.Second // Twilio's limit for Timeout
	recentPage  = 50
)

// CallRequest is one call to place.
type CallRequest struct {
	To            string        // E.164
	TwiML         string        // what is said, see [SayTwice]; at most 4,000 characters
	Ring          time.Duration // 25 s if zero, 600 s at most; rounded up to seconds, and Twilio may add 5 s
	TimeLimit     time.Duration // of the talk, rounded up to seconds; Twilio's own if zero
	DetectMachine bool          // fills [Call.AnsweredBy]; the text starts some seconds later
}

// Status is the state of a call as Twilio names it.
type Status string

// The statuses. StatusCompleted includes voicemail. StatusInitiated (dialled,
// does not ring yet) is in Twilio's guides, but not in its OpenAPI document.
const (
	StatusQueued     Status = "queued"
	StatusInitiated  Status = "initiated"
	StatusRinging    Status = "ringing"
	StatusInProgress Status = "in-progress"
	StatusCompleted  Status = "completed"
	StatusBusy       Status = "busy"
	StatusFailed     Status = "failed"
	StatusNoAnswer   Status = "no-answer"
	StatusCanceled   Status = "canceled"
)

// Final reports whether the call is over. An unknown status is not.
func (s Status) Final() bool {
	switch s {
	case StatusCompleted, StatusBusy, StatusFailed, StatusNoAnswer, StatusCanceled:
		return true
	}
	return false
}

// Call is a call as Twilio describes it.
type Call struct {
	SID        string
	To, From   string
	Direction  string // "outbound-api" for ours, "inbound"
	Status     Status
	AnsweredBy string        // "human", "machine_start", "unknown"...; empty if not (yet) known
	Created    time.Time     // to the second, by Twilio's clock; zero if Twilio gave none
	Age        time.Duration // since Created, by Twilio's clock too; from [Client.Recent] alone
	Start, End *time.Time    // nil if not (yet) known
	Duration   time.Duration
}

// Place asks Twilio for a call. After an [Ambiguous] error it may ring all the
// same: [Client.Recent] tells.
func (c *Client) Place(ctx context.Context, r CallRequest) (Call, error) {
	params, err := c.createParams(r)
	if err != nil {
		return Call{}, fmt.Errorf("place call to %s: %w", r.To, err)
	}
	call, err := c.one(ctx, func(s *api.ApiService) (*api.ApiV2010Call, error) { return s.CreateCall(params) })
	if err != nil {
		return Call{}, fmt.Errorf("place call to %s: %w", r.To, err)
	}
	return call, nil
}

func (c *Client) createParams(r CallRequest) (*api.CreateCallParams, error) {
	if !e164Form.MatchString(r.To) {
		return nil, refuse(Target, "the number to call is not in E.164 form", targetAdvice(21211))
	}
	if err := checkTwiML(r.TwiML); err != nil {
		return nil, refuse(Configuration, err.Error(), configurationAdvice(12100))
	}
	if r.Ring == 0 {
		r.Ring = defaultRing
	}
	if r.Ring < 0 || r.Ring > maxRing || r.TimeLimit < 0 {
		return nil, refuse(Configuration, fmt.Sprintf("ring %v or time limit %v is out of range", r.Ring, r.TimeLimit),
			"Let calls ring for 1 to 600 seconds")
	}
	p := new(api.CreateCallParams).SetTo(r.To).SetFrom(c.from).SetTwiml(r.TwiML).SetTimeout(seconds(r.Ring))
	if r.TimeLimit > 0 {
		p.SetTimeLimit(seconds(r.TimeLimit))
	}
	if r.DetectMachine {
		p.SetMachineDetection("Enable")
	}
	return p, nil
}

// Fetch returns the call's present state.
func (c *Client) Fetch(ctx context.Context, sid string) (Call, error) {
	if err := checkSID(sid); err != nil {
		return Call{}, fmt.Errorf("fetch call %q: %w", sid, err)
	}
	call, err := c.one(ctx, func(s *api.ApiService) (*api.ApiV2010Call, error) { return s.FetchCall(sid, nil) })
	if err != nil {
		return Call{}, fmt.Errorf("fetch call %s: %w", sid, err)
	}
	return call, nil
}

// Recent lists the 50 newest calls from our number to to, whoever placed them.
// There is no time filter on purpose: Twilio's goes by the start, which a queued
// call does not have.
func (c *Client) Recent(ctx context.Context, to string) ([]Call, error) {
	if !e164Form.MatchString(to) {
		return nil, fmt.Errorf("list calls to %q: %w", to,
			refuse(Target, "the number called is not in E.164 form", targetAdvice(21211)))
	}
	params := new(api.ListCallParams).SetTo(to).SetFrom(c.from).SetPageSize(recentPage)
	var page *api.ListCallResponse
	now, err := c.do(ctx, func(s *api.ApiService) (err error) {
		page, err = s.PageCall(params, "", "")
		return err
	})
	if err == nil && page.Calls == nil {
		err = unreadable("answer without a list of calls")
	}
	if err != nil {
		return nil, fmt.Errorf("list calls to %s: %w", to, err)
	}
	calls := make([]Call, 0, len(page.Calls))
	for i := range page.Calls {
		call := callOf(&page.Calls[i])
		call.Age = now.Sub(call.Created)
		calls = append(calls, call)
	}
	return calls, nil
}

// Cancel withdraws a call that is queued or ringing. One that is talking goes
// on; one that is over is no error.
func (c *Client) Cancel(ctx context.Context, sid string) error {
	return c.end(ctx, "cancel call", sid, "canceled")
}

// Hangup ends a call in whatever state it is. One that is over is no error.
func (c *Client) Hangup(ctx context.Context, sid string) error {
	return c.end(ctx, "hang up call", sid, "completed")
}

func (c *Client) end(ctx context.Context, what, sid, status string) error {
	if err := checkSID(sid); err != nil {
		return fmt.Errorf("%s %q: %w", what, sid, err)
	}
	params := new(api.UpdateCallParams).SetStatus(status)
	_, err := c.one(ctx, func(s *api.ApiService) (*api.ApiV2010Call, error) { return s.UpdateCall(sid, params) })
	var refused *Error
	if errors.As(err, &refused) && refused.Code == codeNotInProgress && refused.Class == Configuration {
		return nil
	}
	if err != nil {
		return fmt.Errorf("%s %s: %w", what, sid, err)
	}
	return nil
}

// one runs a request that is answered with one call.
func (c *Client) one(ctx context.Context, request func(*api.ApiService) (*api.ApiV2010Call, error)) (Call, error) {
	var raw *api.ApiV2010Call
	_, err := c.do(ctx, func(s *api.ApiService) (err error) {
		raw, err = request(s)
		return err
	})
	if err != nil {
		return Call{}, err
	}
	call := callOf(raw)
	if !callForm.MatchString(call.SID) {
		return Call{}, unreadable("answer without a call SID")
	}
	return call, nil
}

func callOf(raw *api.ApiV2010Call) Call {
	c := Call{
		SID: text(raw.Sid), To: text(raw.To), From: text(raw.From), Direction: text(raw.Direction),
		Status: Status(text(raw.Status)), AnsweredBy: text(raw.AnsweredBy),
		Start: instant(raw.StartTime), End: instant(raw.EndTime),
	}
	if t := instant(raw.DateCreated); t != nil {
		c.Created = *t
	}
	if s, err := strconv.Atoi(text(raw.Duration)); err == nil && s > 0 {
		c.Duration = time.Duration(s) * time.Second
	}
	return c
}

func checkSID(sid string) error {
	if !callForm.MatchString(sid) {
		return refuse(Configuration, "not a call SID", "Report this: a call was noted under an impossible name")
	}
	return nil
}

func unreadable(message string) *Error {
	return &Error{Message: message, Class: Ambiguous, Advice: adviceAmbiguous}
}

func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// instant reads Twilio's RFC 2822 times; what cannot be read is unknown.
func instant(s *string) *time.Time {
	t, err := time.Parse(time.RFC1123Z, text(s))
	if err != nil {
		return nil
	}
	return &t
}

func seconds(d time.Duration) int { return int((d + time.Second - 1) / time.Second) }
