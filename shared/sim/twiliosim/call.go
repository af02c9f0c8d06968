package twiliosim

import (
	"crypto/rand"
	"encoding/hex"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Call is a simulated call as it stands.
type Call struct {
	SID, To, From string
	Status        string
	AnsweredBy    string // empty if detection was not asked for, or has not ended
	Text          string // what its TwiML says; empty for a call by Url
	TwiML         string
	Heard         []string // what was said so far, of a call that asks for keys
	Errors        []int    // by which Twilio ended it, such as 11200
	Created       time.Time
	Dialled       *time.Time    // nil while queued
	Answered      *time.Time    // nil if it was not
	Ended         *time.Time    // nil until it is over
	Duration      time.Duration // of the talk, when over
	Statuses      []string      // all it has been through, in order
}

// call is a Call with what moves it; guarded by the server's lock.
type call struct {
	Call
	updated   time.Time
	ring      time.Duration
	limit     time.Duration // 0: none
	detect    bool
	behaviour Behaviour
	over      chan struct{} // closed with the final status
}

// Calls returns all calls, oldest first.
func (s *Server) Calls() []Call {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]Call, 0, len(s.calls))
	for _, c := range s.calls {
		out = append(out, c.snapshot())
	}
	return out
}

func (c *call) snapshot() Call {
	out := c.Call
	out.Statuses = slices.Clone(c.Statuses)
	out.Heard, out.Errors = slices.Clone(c.Heard), slices.Clone(c.Errors)
	return out
}

func final(status string) bool {
	switch status {
	case "completed", "busy", "failed", "no-answer", "canceled":
		return true
	}
	return false
}

func (s *Server) createCall(r request) answer {
	c, problem := s.parseCall(r)
	if problem != nil {
		return *problem
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return refusal(20503, "Service is temporarily unavailable")
	}
	c.behaviour = s.next(c.To)
	if no, ok := c.behaviour.(Refuse); ok {
		return refusal(no.Code, "Refused by the simulation")
	}
	c.SID, c.Created = newSID("CA"), time.Now()
	s.calls = append(s.calls, c)
	s.change(c, "queued")
	s.busy.Go(func() { s.live(c) })
	return jsonAnswer(http.StatusCreated, s.callJSON(c))
}

func (s *Server) getCall(r request) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.find(r)
	if c == nil {
		return notFound(r)
	}
	return jsonAnswer(http.StatusOK, s.callJSON(c))
}

// updateCall ends calls. "canceled" leaves a call alone that is in progress;
// "completed" ends it in any state.
func (s *Server) updateCall(r request) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.find(r)
	if c == nil {
		return notFound(r)
	}
	status := r.form.Get("Status")
	switch {
	case status != "canceled" && status != "completed":
		return refusal(20001, "Status must be canceled or completed")
	case final(c.Status):
		return refusal(21220, "Call is not in-progress. Cannot redirect.")
	case c.Status == "in-progress" && status == "canceled":
		return jsonAnswer(http.StatusOK, s.callJSON(c))
	case c.Status != "in-progress":
		status = "canceled" // nobody has talked
	}
	s.change(c, status)
	return jsonAnswer(http.StatusOK, s.callJSON(c))
}

// find returns the call that the path names, or nil; s.mu must be held.
func (s *Server) find(r request) *call {
	sid, ok := strings.CutSuffix(r.PathValue("file"), ".json")
	for _, c := range s.calls {
		if ok && c.SID == sid {
			return c
		}
	}
	return nil
}

func (s *Server) listCalls(r request) answer {
	within, problem := startFilter(r)
	if problem != nil {
		return *problem
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	items := []any{}
	for i := len(s.calls) - 1; i >= 0; i-- {
		c := s.calls[i]
		if wanted(r, "To", c.To) && wanted(r, "From", c.From) && wanted(r, "Status", c.Status) &&
			wanted(r, "ParentCallSid", "") && within(c.Dialled) && time.Since(c.Created) >= s.cfg.Timing.ListLag {
			items = append(items, s.callJSON(c))
		}
	}
	return list(r, "calls", items)
}

func wanted(r request, key, value string) bool {
	v := r.query.Get(key)
	return v == "" || v == value
}

// startFilter reads the StartTime parameters. As with Twilio a call that was not
// dialled yet has no start and passes none of them.
func startFilter(r request) (func(*time.Time) bool, *answer) {
	var tests []func(time.Time) bool
	for key, keep := range map[string]func(start, limit time.Time) bool{
		"StartTime":  func(a, b time.Time) bool { return a.Truncate(24 * time.Hour).Equal(b.Truncate(24 * time.Hour)) },
		"StartTime<": func(a, b time.Time) bool { return a.Before(b) },
		"StartTime>": func(a, b time.Time) bool { return a.After(b) },
	} {
		v := r.query.Get(key)
		if v == "" {
			continue
		}
		limit, err := time.Parse(time.RFC3339, v)
		if err != nil {
			limit, err = time.Parse(time.DateOnly, v)
		}
		if err != nil {
			bad := refusal(20001, "Invalid "+key)
			return nil, &bad
		}
		tests = append(tests, func(start time.Time) bool { return keep(start.UTC(), limit.UTC()) })
	}
	return func(start *time.Time) bool {
		for _, test := range tests {
			if start == nil || !test(*start) {
				return false
			}
		}
		return true
	}, nil
}

// callJSON is the Call resource; s.mu must be held.
func (s *Server) callJSON(c *call) map[string]any {
	uri := "/2010-04-01/Accounts/" + s.cfg.AccountSID + "/Calls/" + c.SID
	subresources := map[string]any{}
	for _, name := range []string{"Notifications", "Recordings", "Payments", "Events", "Siprec", "Streams"} {
		subresources[strings.ToLower(name)] = uri + "/" + name + ".json"
	}
	var duration, answeredBy any
	if c.Status == "completed" {
		duration = strconv.Itoa(int(c.Duration.Round(time.Second) / time.Second))
	}
	if c.AnsweredBy != "" {
		answeredBy = c.AnsweredBy
	}
	return map[string]any{
		"sid": c.SID, "account_sid": s.cfg.AccountSID, "parent_call_sid": nil, "api_version": "2010-04-01",
		"date_created": rfc2822(&c.Created), "date_updated": rfc2822(&c.updated),
		"to": c.To, "to_formatted": c.To, "from": c.From, "from_formatted": c.From,
		"phone_number_sid": numberSID(c.From), "status": c.Status, "direction": "outbound-api",
		"start_time": rfc2822(c.Dialled), "end_time": rfc2822(c.Ended), "duration": duration,
		"answered_by": answeredBy, "price": nil, "price_unit": "USD", "queue_time": "0",
		"forwarded_from": nil, "group_sid": nil, "caller_name": nil, "trunk_sid": nil,
		"uri": uri + ".json", "subresource_uris": subresources,
	}
}

func rfc2822(t *time.Time) any {
	if t == nil {
		return nil
	}
	return t.UTC().Format(time.RFC1123Z)
}

func newSID(prefix string) string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails since Go 1.24
	return prefix + hex.EncodeToString(b[:])
}
