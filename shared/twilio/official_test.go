package twilio_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sentinel.home.arpa/shared/sim/twiliosim"
	"sentinel.home.arpa/shared/twilio"
)

// Every request of the adapter, and every answer of the simulator, is held
// against Twilio's own document.
func TestRequestsAndAnswersMatchTheOfficialDocument(t *testing.T) {
	doc := loadOpenAPI(t)
	var all []twiliosim.Exchange
	statuses := map[string]bool{}
	synctest.Test(t, func(t *testing.T) {
		cfg := simConfig()
		cfg.Edge = func(e twiliosim.Exchange) { all = append(all, e) }
		cfg.Verified = []string{"+15005550007"}
		r := newRig(t, cfg)
		script := []twiliosim.Behaviour{
			twiliosim.Answer{By: "human"}, twiliosim.Answer{By: "unknown"}, twiliosim.Answer{By: "fax"}, twiliosim.Answer{By: "machine_start"},
			twiliosim.Answer{By: "machine_end_beep"}, twiliosim.Answer{By: "machine_end_silence"}, twiliosim.Answer{By: "machine_end_other"}, twiliosim.NoAnswer{}, twiliosim.Busy{},
			twiliosim.Fail{}, twiliosim.QueuedForever{}, twiliosim.RingsForever{}, twiliosim.Canceled{}, twiliosim.Refuse{Code: 21214},
		}
		for _, b := range script {
			r.sim.Behave(alice, b)
			call, err := r.c.Place(t.Context(), twilio.CallRequest{
				To: alice, TwiML: hello(t), Ring: 20 * time.Second, TimeLimit: time.Minute, DetectMachine: true,
			})
			if err != nil {
				twilioError(t, err)
				continue
			}
			for i := range 60 {
				time.Sleep(100 * time.Millisecond)
				if i > 30 {
					time.Sleep(time.Second)
				}
				statuses[string(fetch(t, r.c, call.SID).Status)] = true
			}
			if err := r.c.Cancel(t.Context(), call.SID); err != nil {
				t.Error(err)
			}
			if err := r.c.Hangup(t.Context(), call.SID); err != nil {
				t.Error(err)
			}
			statuses[string(fetch(t, r.c, call.SID).Status)] = true
			if _, err := r.c.Recent(t.Context(), alice); err != nil {
				t.Error(err)
			}
		}
		r.sim.Behave(alice)
		if _, err := r.c.SendSMS(t.Context(), alice, "Power lost"); err != nil {
			t.Error(err)
		}
		verified := clientConfig()
		verified.From, verified.Transport = "+15005550007", r.sim.Transport()
		for _, c := range []*twilio.Client{r.c, newClient(t, verified)} {
			if a, err := c.Account(t.Context()); err != nil || a.Foreign {
				t.Error(a, err)
			}
		}
		time.Sleep(time.Second)
		for _, path := range []string{
			".json", "/Balance.json", "/IncomingPhoneNumbers.json?PhoneNumber=%2B15005550006", "/OutgoingCallerIds.json?PageSize=20",
			"/Messages.json?PageSize=1", "/Messages/" + r.sim.Messages()[0].SID + ".json",
			"/Calls.json?PageSize=2&Page=1", "/Calls.json?StartTime%3E=2000-01-01T00:00:00Z", "/Nothing.json",
		} {
			get(t, r.sim, path)
		}
	})
	for i, e := range all {
		var bad []string
		if e.Path != "/2010-04-01/Accounts/"+account+"/Nothing.json" {
			bad = doc.checkRequest(e.Method, e.Path, e.Query, e.Form)
		}
		if e.Status >= 400 {
			bad = append(bad, checkError(e.Status, e.Answer)...)
		} else {
			bad = append(bad, doc.checkAnswer(e.Method, e.Path, e.Status, e.Answer)...)
		}
		if len(bad) > 0 {
			t.Fatalf("exchange %d, %s %s: %s", i, e.Method, e.Path, strings.Join(bad, "\n"))
		}
	}
	for _, s := range []twilio.Status{
		twilio.StatusQueued, twilio.StatusInitiated, twilio.StatusRinging, twilio.StatusInProgress, twilio.StatusCompleted,
		twilio.StatusBusy, twilio.StatusFailed, twilio.StatusNoAnswer, twilio.StatusCanceled,
	} {
		if !statuses[string(s)] {
			t.Errorf("no call was seen %s", s)
		}
	}
}

// Twilio sends every property of a call and a message, null or not: so must the
// simulator.
func TestSimulatedResourcesAreComplete(t *testing.T) {
	doc := loadOpenAPI(t)
	answers := map[string][]byte{}
	cfg := simConfig()
	cfg.Edge = func(e twiliosim.Exchange) { answers[e.Path[strings.LastIndex(e.Path, "/"):]] = e.Answer }
	r := newRig(t, cfg)
	if _, err := r.c.Place(t.Context(), twilio.CallRequest{To: alice, TwiML: hello(t)}); err != nil {
		t.Fatal(err)
	}
	if _, err := r.c.SendSMS(t.Context(), alice, "hi"); err != nil {
		t.Fatal(err)
	}
	for path, name := range map[string]string{
		"/Calls.json": "api.v2010.account.call", "/Messages.json": "api.v2010.account.message",
	} {
		var got map[string]any
		if err := json.Unmarshal(answers[path], &got); err != nil {
			t.Fatal(err)
		}
		for property := range doc.Components.Schemas[name].Properties {
			if _, there := got[property]; !there {
				t.Errorf("%s lacks %s", name, property)
			}
		}
	}
}

// The validator itself must be able to fail.
func TestValidatorFindsWhatIsWrong(t *testing.T) {
	doc := loadOpenAPI(t)
	calls := "/2010-04-01/Accounts/" + account + "/Calls.json"
	good := url.Values{"To": {alice}, "From": {from}, "Timeout": {"25"}}
	if bad := doc.checkRequest("POST", calls, nil, good); bad != nil {
		t.Errorf("good request: %q", bad)
	}
	for name, form := range map[string]url.Values{
		"unknown":  {"To": {alice}, "From": {from}, "TwiML": {"x"}},
		"required": {"To": {alice}},
		"type":     {"To": {alice}, "From": {from}, "Timeout": {"25s"}},
		"enum":     {"To": {alice}, "From": {from}, "Method": {"PUT"}},
		"twice":    {"To": {alice, alice}, "From": {from}},
		"pattern":  {"To": {alice}, "From": {from}, "ApplicationSid": {"x"}},
	} {
		if doc.checkRequest("POST", calls, nil, form) == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if doc.checkRequest("GET", calls, url.Values{"Size": {"1"}}, nil) == nil {
		t.Error("unknown query accepted")
	}
	if doc.checkRequest("PATCH", calls, nil, good) == nil || doc.checkRequest("GET", "/2010-04-01/Nothing", nil, nil) == nil {
		t.Error("unknown operation accepted")
	}
	for _, body := range []string{
		`{"sid":"CA1"}`, `{"status":"done"}`, `{"status":null}`, `{"duration":7}`, `{"sidd":null}`, `[]`, `{`,
		`{"date_created":"2026-01-01T00:00:00Z"}`, `{"subresource_uris":"x"}`,
	} {
		if doc.checkAnswer("POST", calls, 201, []byte(body)) == nil {
			t.Errorf("answer %s accepted", body)
		}
	}
	if doc.checkAnswer("POST", calls, 200, []byte(`{}`)) == nil {
		t.Error("undocumented status accepted")
	}
}

// get asks for what the adapter has no use for.
func get(t *testing.T, sim *twiliosim.Server, path string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://twilio.sim/2010-04-01/Accounts/"+account+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.SetBasicAuth(key, secret)
	resp, err := sim.Transport().RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(resp.Body); err != nil {
		t.Error(err)
	}
	_ = resp.Body.Close()
}
