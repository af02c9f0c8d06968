package twilio_test

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"sentinel.home.arpa/shared/twilio"
)

const fuzzSecret = "fuzzsecret0fuzzsecret0"

// answers is a Twilio that says one thing.
type answers struct {
	status int
	body   string
}

func (a answers) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Body != nil {
		_ = req.Body.Close()
	}
	return &http.Response{StatusCode: a.status, ProtoMajor: 1, ProtoMinor: 1, Header: http.Header{"Content-Type": {"application/json"}},
		Body: io.NopCloser(strings.NewReader(a.body)), Request: req}, nil
}

// FuzzAnswers: whatever Twilio says, a call is placed only if it names one, all errors
// tell what they mean, and none shows the secret (rule R4).
func FuzzAnswers(f *testing.F) {
	const secret, sid = fuzzSecret, "CA0123456789abcdef0123456789abcdef"
	f.Add(201, `{"sid":"`+sid+`","status":"queued","date_created":"Sat, 21 Nov 2026 19:00:00 +0000"}`)
	f.Add(200, `{"calls":[{"sid":"`+sid+`","status":"completed","duration":"7","answered_by":"human"}],"next_page_uri":null}`)
	f.Add(400, `{"code":21211,"message":"no","status":400}`)
	f.Add(429, `{"code":20429,"message":"`+secret+`"}`)
	f.Add(401, `{"code":"x"}`)
	f.Add(200, `{"calls":null,"next_page_uri":"/2010-04-01/x?Page=1"}`)
	f.Add(500, `<html>`)
	f.Add(204, ``)
	f.Fuzz(func(t *testing.T, status int, body string) {
		if status < 200 || status > 599 {
			return
		}
		c, err := twilio.New(twilio.Config{AccountSID: "AC0123456789abcdef0123456789abcdef", APIKeySID: "SK0123456789abcdef0123456789abcdef",
			APIKeySecret: secret, From: "+15005550006", Transport: answers{status, body}})
		if err != nil {
			t.Fatal(err)
		}
		twiml, err := twilio.SayTwice("hello", "", "en-US")
		if err != nil {
			t.Fatal(err)
		}
		placed, err := c.Place(t.Context(), twilio.CallRequest{To: "+15550100100", TwiML: twiml})
		told(t, err)
		if err == nil && (status/100 != 2 || !strings.HasPrefix(placed.SID, "CA")) {
			t.Errorf("placed %+v with %d", placed, status)
		}
		fetched, err := c.Fetch(t.Context(), sid)
		told(t, err)
		if err == nil && fetched.Duration < 0 {
			t.Errorf("fetched %+v", fetched)
		}
		recent, err := c.Recent(t.Context(), "+15550100100")
		told(t, err)
		for _, call := range recent {
			if call.Duration < 0 {
				t.Errorf("recent %+v", call)
			}
		}
	})
}

// told checks an error: it has a class and advice, and no secret.
func told(t *testing.T, err error) {
	t.Helper()
	if err == nil {
		return
	}
	var e *twilio.Error
	if !errors.As(err, &e) || e.Advice == "" || strings.HasPrefix(e.Class.String(), "class ") {
		t.Errorf("says nothing of what it means: %v", err)
	}
	if strings.Contains(err.Error(), fuzzSecret) {
		t.Errorf("shows the secret: %v", err)
	}
}
