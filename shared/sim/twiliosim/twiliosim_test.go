package twiliosim_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"sentinel.home.arpa/shared/sim/twiliosim"
)

const (
	account = "AC00000000000000000000000000000001"
	key     = "SK00000000000000000000000000000002"
	secret  = "s3cretS3cretS3cretS3cretS3cret00"
	from    = "+15005550006"
	alice   = "+4915112345678"
	twiml   = `<Response><Say voice="alice">Power &amp; light</Say><Pause length="1"/><Say>again</Say></Response>`
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func config() twiliosim.Config {
	return twiliosim.Config{AccountSID: account, KeySID: key, KeySecret: secret, Numbers: []string{from}}
}

func start(t *testing.T, cfg twiliosim.Config) *twiliosim.Server {
	t.Helper()
	s := twiliosim.New(cfg)
	t.Cleanup(s.Close)
	return s
}

// ask sends one request below the account; a nil form is a GET.
func ask(ctx context.Context, rt http.RoundTripper, base, path string, form url.Values) (int, map[string]any, error) {
	method, body := http.MethodGet, io.Reader(nil)
	if form != nil {
		method, body = http.MethodPost, strings.NewReader(form.Encode())
	}
	req, err := http.NewRequestWithContext(ctx, method, base+"/2010-04-01/Accounts/"+account+path, body)
	if err != nil {
		return 0, nil, err
	}
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	req.SetBasicAuth(key, secret)
	resp, err := rt.RoundTrip(req)
	if err != nil {
		return 0, nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		return resp.StatusCode, nil, err
	}
	var v map[string]any
	err = json.Unmarshal(raw, &v)
	return resp.StatusCode, v, err
}

func call(s *twiliosim.Server, path string, form url.Values) (int, map[string]any) {
	status, v, err := askMemory(s, path, form)
	if err != nil {
		panic(err)
	}
	return status, v
}

func askMemory(s *twiliosim.Server, path string, form url.Values) (int, map[string]any, error) {
	return ask(context.Background(), s.Transport(), "http://twilio.sim", path, form)
}

func callForm() url.Values { return url.Values{"To": {alice}, "From": {from}, "Twiml": {twiml}} }

func TestCallsLive(t *testing.T) {
	for name, tc := range map[string]struct {
		behaviour twiliosim.Behaviour
		timeout   string
		statuses  string
		took      time.Duration
	}{
		"default": {nil, "", "queued initiated ringing in-progress completed", 12300 * time.Millisecond},
		"answer": {twiliosim.Answer{After: time.Second, TalkFor: 5 * time.Second}, "",
			"queued initiated ringing in-progress completed", 6300 * time.Millisecond},
		"too late":  {twiliosim.Answer{After: time.Minute}, "20", "queued initiated ringing no-answer", 20300 * time.Millisecond},
		"no answer": {twiliosim.NoAnswer{}, "", "queued initiated ringing no-answer", 60300 * time.Millisecond},
		"busy":      {twiliosim.Busy{}, "", "queued initiated busy", 300 * time.Millisecond},
		"fail":      {twiliosim.Fail{}, "", "queued initiated failed", 300 * time.Millisecond},
		"queued":    {twiliosim.QueuedForever{}, "", "queued", -1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var told []string
				cfg := config()
				cfg.OnStatus = func(c twiliosim.Call) { told = append(told, c.Status) }
				s := start(t, cfg)
				if tc.behaviour != nil {
					s.Behave(alice, tc.behaviour)
				}
				form := callForm()
				if tc.timeout != "" {
					form.Set("Timeout", tc.timeout)
				}
				if status, v := call(s, "/Calls.json", form); status != 201 || v["status"] != "queued" {
					t.Fatalf("HTTP %d, %v", status, v)
				}
				time.Sleep(time.Hour)
				synctest.Wait()
				got := s.Calls()[0]
				if want := strings.Fields(tc.statuses); !slices.Equal(got.Statuses, want) || !slices.Equal(told, want) {
					t.Errorf("went through %v, told %v, want %v", got.Statuses, told, want)
				}
				if tc.took >= 0 && (got.Ended == nil || got.Ended.Sub(got.Created) != tc.took) {
					t.Errorf("ended %v, want after %v", got.Ended, tc.took)
				}
			})
		})
	}
}

func TestSpeechBeginsAtTheAnswerOrAfterDetection(t *testing.T) {
	for name, tc := range map[string]struct {
		detect string
		by     string
		talk   time.Duration
		want   time.Duration // negative: never
	}{
		"at once":           {"", "", 0, 2300 * time.Millisecond},
		"after detection":   {"Enable", "machine_start", 9 * time.Second, 3300 * time.Millisecond},
		"hung up before it": {"Enable", "", 500 * time.Millisecond, -1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				begin, spoken := time.Now(), time.Duration(-1)
				cfg := config()
				cfg.OnSpeech = func(to, text string) {
					if to != alice || text != "Power & light\nagain" {
						t.Errorf("to %s: %q", to, text)
					}
					spoken = time.Since(begin)
				}
				s := start(t, cfg)
				s.Behave(alice, twiliosim.Answer{By: tc.by, TalkFor: tc.talk})
				form := callForm()
				form.Set("MachineDetection", tc.detect)
				_, v := call(s, "/Calls.json", form)
				time.Sleep(time.Minute)
				synctest.Wait()
				if spoken != tc.want {
					t.Errorf("spoken after %v, want %v", spoken, tc.want)
				}
				_, v = call(s, fmt.Sprintf("/Calls/%s.json", v["sid"]), nil)
				if want := (map[bool]any{true: tc.by, false: nil})[tc.by != ""]; v["answered_by"] != want {
					t.Errorf("answered by %v, want %v", v["answered_by"], want)
				}
			})
		})
	}
}

func TestBehavioursAreTakenInTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := start(t, config())
		s.Behave(alice, twiliosim.Busy{}, twiliosim.Refuse{Code: 21214}, twiliosim.Fail{})
		var codes []int
		for range 4 {
			status, _ := call(s, "/Calls.json", callForm())
			codes = append(codes, status)
		}
		time.Sleep(time.Minute)
		var ends []string
		for _, c := range s.Calls() {
			ends = append(ends, c.Status)
		}
		if !slices.Equal(codes, []int{201, 400, 201, 201}) || !slices.Equal(ends, []string{"busy", "failed", "failed"}) {
			t.Errorf("HTTP %v, ends %v", codes, ends)
		}
	})
}

func TestRefusals(t *testing.T) {
	s := start(t, config())
	with := func(base url.Values, kv ...string) url.Values {
		f := url.Values{}
		for k, v := range base {
			f[k] = v
		}
		for i := 0; i < len(kv); i += 2 {
			f.Set(kv[i], kv[i+1])
		}
		return f
	}
	c, m := callForm(), url.Values{"To": {alice}, "From": {from}, "Body": {"hi"}}
	nobody := "/Calls/CA" + strings.Repeat("0", 32) + ".json"
	for name, tc := range map[string]struct {
		path   string
		form   url.Values
		status int
		code   float64
	}{
		"no to":          {"/Calls.json", with(c, "To", ""), 400, 21201},
		"no from":        {"/Calls.json", with(c, "From", ""), 400, 21213},
		"to":             {"/Calls.json", with(c, "To", "0151 123"), 400, 21211},
		"from":           {"/Calls.json", with(c, "From", "alice"), 400, 21212},
		"from not ours":  {"/Calls.json", with(c, "From", alice), 400, 21210},
		"no text":        {"/Calls.json", with(c, "Twiml", ""), 400, 21205},
		"long text":      {"/Calls.json", with(c, "Twiml", "<Response>"+strings.Repeat("x", 4000)+"</Response>"), 400, 20001},
		"not xml":        {"/Calls.json", with(c, "Twiml", "<Response><Say></Response>"), 400, 12100},
		"cut xml":        {"/Calls.json", with(c, "Twiml", "<Response><Say>"), 400, 12100},
		"not twiml":      {"/Calls.json", with(c, "Twiml", "<html/>"), 400, 12100},
		"two documents":  {"/Calls.json", with(c, "Twiml", "<Response/><Response/>"), 400, 12100},
		"text around":    {"/Calls.json", with(c, "Twiml", "<Response/>hello"), 400, 12100},
		"timeout":        {"/Calls.json", with(c, "Timeout", "25s"), 400, 20001},
		"long timeout":   {"/Calls.json", with(c, "Timeout", "601"), 400, 20001},
		"time limit":     {"/Calls.json", with(c, "TimeLimit", "-1"), 400, 20001},
		"detection":      {"/Calls.json", with(c, "MachineDetection", "true"), 400, 20001},
		"unknown call":   {nobody, nil, 404, 20404},
		"unknown update": {nobody, url.Values{"Status": {"canceled"}}, 404, 20404},
		"page size":      {"/Calls.json?PageSize=0", nil, 400, 20001},
		"page":           {"/Calls.json?Page=x", nil, 400, 20001},
		"start time":     {"/Calls.json?StartTime=yesterday", nil, 400, 20001},
		"sms to":         {"/Messages.json", with(m, "To", "x"), 400, 21211},
		"sms no to":      {"/Messages.json", with(m, "To", ""), 400, 21604},
		"sms no from":    {"/Messages.json", with(m, "From", ""), 400, 21603},
		"sms from":       {"/Messages.json", with(m, "From", alice), 400, 21606},
		"sms empty":      {"/Messages.json", with(m, "Body", ""), 400, 21602},
		"sms long":       {"/Messages.json", with(m, "Body", strings.Repeat("x", 1601)), 400, 21617},
		"sms validity":   {"/Messages.json", with(m, "ValidityPeriod", "0"), 400, 20001},
		"unknown sms":    {"/Messages/SM1.json", nil, 404, 20404},
		"method":         {"/Balance.json", url.Values{}, 405, 20004},
		"resource":       {"/Nothing.json", nil, 404, 20404},
	} {
		t.Run(name, func(t *testing.T) {
			status, v := call(s, tc.path, tc.form)
			if status != tc.status || v["code"] != tc.code || v["status"] != float64(tc.status) {
				t.Errorf("HTTP %d, %v", status, v)
			}
		})
	}
	if len(s.Calls()) != 0 || len(s.Messages()) != 0 {
		t.Error("a refused request did something")
	}
	if status, v := call(s, "/Calls.json", with(c, "Unknown", "x", "Url", "https://host/twiml", "Twiml", "<")); status != 201 {
		t.Errorf("unknown parameters are ignored, and TwiML beside a Url: HTTP %d, %v", status, v)
	}
}

func TestCredentialsAreCheckedAndNeverShown(t *testing.T) {
	var mu sync.Mutex
	var seen []twiliosim.Exchange
	cfg := config()
	cfg.Edge = func(e twiliosim.Exchange) { mu.Lock(); defer mu.Unlock(); seen = append(seen, e) }
	s := start(t, cfg)
	for name, login := range map[string]func(*http.Request){
		"none":   func(*http.Request) {},
		"wrong":  func(r *http.Request) { r.SetBasicAuth(key, secret+"x") },
		"bearer": func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+secret) },
		"right":  func(r *http.Request) { r.SetBasicAuth(key, secret) },
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://sim/2010-04-01/Accounts/"+account+".json", nil)
		if err != nil {
			t.Fatal(err)
		}
		login(req)
		resp, err := s.Transport().RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		if want := map[bool]int{true: 200, false: 401}[name == "right"]; resp.StatusCode != want {
			t.Errorf("%s: HTTP %d, want %d", name, resp.StatusCode, want)
		}
	}
	if text := fmt.Sprintf("%+v", seen); len(seen) != 4 || strings.Contains(text, secret) {
		t.Errorf("%d exchanges: %s", len(seen), text)
	}
}

func TestListFiltersAndPages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := config()
		cfg.Timing.ListLag = 2 * time.Second
		s := start(t, cfg)
		s.Behave(alice, twiliosim.QueuedForever{})
		s.Behave("+15551230000", twiliosim.Busy{})
		var sids []string
		for _, to := range []string{alice, "+15551230000", alice} {
			form := callForm()
			form.Set("To", to)
			_, v := call(s, "/Calls.json", form)
			sids = append(sids, v["sid"].(string))
		}
		list := func(query string) string {
			_, v := call(s, "/Calls.json"+query, nil)
			var got []string
			for _, c := range v["calls"].([]any) {
				got = append(got, fmt.Sprint(slices.Index(sids, c.(map[string]any)["sid"].(string))))
			}
			return strings.Join(got, " ")
		}
		if got := list(""); got != "" {
			t.Errorf("before the lag: %s", got)
		}
		time.Sleep(2 * time.Second)
		past := url.QueryEscape(time.Now().Add(-time.Hour).Format(time.RFC3339))
		for query, want := range map[string]string{
			"":                                "2 1 0",
			"?To=" + url.QueryEscape(alice):   "2 0",
			"?From=" + url.QueryEscape(alice): "",
			"?Status=busy":                    "1",
			"?PageSize=2":                     "2 1",
			"?PageSize=2&Page=1":              "0",
			"?PageSize=2&Page=7":              "",
			"?StartTime%3E=" + past:           "1", // those queued have no start
			"?StartTime%3C=" + past:           "",
			"?StartTime=" + time.Now().UTC().Format(time.DateOnly): "1",
		} {
			if got := list(query); got != want {
				t.Errorf("%s: %s, want %s", query, got, want)
			}
		}
		_, v := call(s, "/Calls.json?PageSize=1&Page=1", nil)
		for _, link := range []string{"next_page_uri", "previous_page_uri", "first_page_uri", "uri"} {
			path := strings.TrimPrefix(v[link].(string), "/2010-04-01/Accounts/"+account)
			if status, _ := call(s, path, nil); status != 200 {
				t.Errorf("%s %s: HTTP %d", link, path, status)
			}
		}
	})
}

func TestAccountResources(t *testing.T) {
	s := start(t, config())
	if status, v := call(s, ".json", nil); status != 200 || v["status"] != "active" || v["sid"] != account {
		t.Errorf("account: HTTP %d, %v", status, v)
	}
	if status, v := call(s, "/Balance.json", nil); status != 200 || v["balance"] != "20.00" || v["currency"] != "USD" {
		t.Errorf("balance: HTTP %d, %v", status, v)
	}
	for number, want := range map[string]int{from: 1, alice: 0} {
		_, v := call(s, "/IncomingPhoneNumbers.json?PhoneNumber="+url.QueryEscape(number), nil)
		if got := v["incoming_phone_numbers"].([]any); len(got) != want {
			t.Errorf("%s: %v", number, got)
		}
	}
}

func TestMessagesAreDelivered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := start(t, config())
		_, v := call(s, "/Messages.json", url.Values{"To": {alice}, "From": {from}, "Body": {"hi"}})
		if v["status"] != "queued" {
			t.Errorf("%v", v)
		}
		time.Sleep(time.Second)
		_, v = call(s, fmt.Sprintf("/Messages/%s.json", v["sid"]), nil)
		if v["status"] != "delivered" || v["date_sent"] == nil || v["body"] != "hi" {
			t.Errorf("%v", v)
		}
	})
}
