package twilio_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"sentinel.home.arpa/shared/sim/twiliosim"
	"sentinel.home.arpa/shared/twilio"
)

const (
	account = "AC00000000000000000000000000000001"
	key     = "SK00000000000000000000000000000002"
	secret  = "s3cretS3cretS3cretS3cretS3cret00"
	from    = "+15005550006"
	alice   = "+4915112345678"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// rig is a simulated Twilio and a client that talks to it.
type rig struct {
	sim *twiliosim.Server
	c   *twilio.Client
}

func simConfig() twiliosim.Config {
	return twiliosim.Config{AccountSID: account, KeySID: key, KeySecret: secret, Numbers: []string{from}}
}

func clientConfig() twilio.Config {
	return twilio.Config{AccountSID: account, APIKeySID: key, APIKeySecret: secret, From: from}
}

func newClient(t *testing.T, cfg twilio.Config) *twilio.Client {
	t.Helper()
	c, err := twilio.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// newRig works without sockets, inside bubbles too.
func newRig(t *testing.T, cfg twiliosim.Config) rig {
	t.Helper()
	sim := twiliosim.New(cfg)
	t.Cleanup(sim.Close)
	cc := clientConfig()
	cc.Transport = sim.Transport()
	return rig{sim, newClient(t, cc)}
}

// newTCPRig has the simulator on a loopback port and the client's own transport.
func newTCPRig(t *testing.T, cfg twiliosim.Config, timeout time.Duration) rig {
	t.Helper()
	sim := twiliosim.New(cfg)
	addr := serve(t, sim)
	cc := clientConfig()
	cc.BaseURL, cc.Timeout = "http://"+addr, timeout
	return rig{sim, newClient(t, cc)}
}

func serve(t *testing.T, sim *twiliosim.Server) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- sim.Serve(ln) }()
	t.Cleanup(func() {
		sim.Close()
		if err := <-ended; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	return ln.Addr().String()
}

func hello(t *testing.T) string {
	t.Helper()
	twiml, err := twilio.SayTwice("Power lost at home", "", "")
	if err != nil {
		t.Fatal(err)
	}
	return twiml
}

// twilioError returns err's *twilio.Error and fails the test without one.
func twilioError(t *testing.T, err error) *twilio.Error {
	t.Helper()
	var e *twilio.Error
	if !errors.As(err, &e) {
		t.Fatalf("error %v is no *twilio.Error", err)
	}
	if e.Advice == "" || e.Message == "" {
		t.Errorf("error without advice or message: %+v", e)
	}
	return e
}

func TestC2_CallIsFollowedToItsEnd(t *testing.T) {
	type seen struct{ status, by string }
	for name, tc := range map[string]struct {
		behaviour twiliosim.Behaviour
		after     time.Duration // looked at then
		then      seen
		end       seen
		talked    time.Duration
	}{
		"a person": {twiliosim.Answer{After: 3 * time.Second, TalkFor: 8 * time.Second}, 6 * time.Second,
			seen{"in-progress", "human"}, seen{"completed", "human"}, 8 * time.Second},
		"a mailbox": {twiliosim.Answer{By: "machine_start", TalkFor: 20 * time.Second}, 2 * time.Second,
			seen{"ringing", ""}, seen{"completed", "machine_start"}, 20 * time.Second},
		"nobody":      {twiliosim.NoAnswer{}, 25 * time.Second, seen{"ringing", ""}, seen{"no-answer", ""}, 0},
		"busy":        {twiliosim.Busy{}, 50 * time.Millisecond, seen{"queued", ""}, seen{"busy", ""}, 0},
		"unreachable": {twiliosim.Fail{}, 150 * time.Millisecond, seen{"initiated", ""}, seen{"failed", ""}, 0},
		"talks too long": {twiliosim.Answer{TalkFor: time.Hour}, time.Minute,
			seen{"in-progress", "human"}, seen{"completed", "human"}, 2 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, simConfig())
				r.sim.Behave(alice, tc.behaviour)
				placed, err := r.c.Place(t.Context(), twilio.CallRequest{
					To: alice, TwiML: hello(t), TimeLimit: 2 * time.Minute, DetectMachine: true,
				})
				if err != nil {
					t.Fatal(err)
				}
				if placed.Status != twilio.StatusQueued || placed.To != alice || placed.From != from ||
					placed.Direction != "outbound-api" || placed.Start != nil || placed.End != nil ||
					!placed.Created.Equal(time.Now().Truncate(time.Second)) {
					t.Errorf("placed %+v", placed)
				}
				time.Sleep(tc.after)
				got := fetch(t, r.c, placed.SID)
				if (seen{string(got.Status), got.AnsweredBy}) != tc.then || got.Status.Final() {
					t.Errorf("after %v: %+v, want %+v", tc.after, got, tc.then)
				}
				time.Sleep(5 * time.Minute)
				got = fetch(t, r.c, placed.SID)
				if (seen{string(got.Status), got.AnsweredBy}) != tc.end || !got.Status.Final() {
					t.Errorf("at the end %+v, want %+v", got, tc.end)
				}
				if got.Start == nil || got.End == nil || got.Duration != tc.talked {
					t.Errorf("start %v, end %v, duration %v, want talk of %v", got.Start, got.End, got.Duration, tc.talked)
				}
			})
		})
	}
}

func fetch(t *testing.T, c *twilio.Client, sid string) twilio.Call {
	t.Helper()
	call, err := c.Fetch(t.Context(), sid)
	if err != nil {
		t.Fatal(err)
	}
	return call
}

func TestC9_CancelWithdrawsWhatDoesNotTalk(t *testing.T) {
	type verb func(*twilio.Client, context.Context, string) error
	cancel, hangup := verb((*twilio.Client).Cancel), verb((*twilio.Client).Hangup)
	for name, tc := range map[string]struct {
		behaviour twiliosim.Behaviour
		after     time.Duration
		do        verb
		want      twilio.Status
	}{
		"queued":            {twiliosim.QueuedForever{}, time.Hour, cancel, twilio.StatusCanceled},
		"ringing":           {twiliosim.NoAnswer{}, 5 * time.Second, cancel, twilio.StatusCanceled},
		"talking goes on":   {twiliosim.Answer{TalkFor: time.Minute}, 5 * time.Second, cancel, twilio.StatusInProgress},
		"over is no error":  {twiliosim.Busy{}, 5 * time.Second, cancel, twilio.StatusBusy},
		"hang up talking":   {twiliosim.Answer{TalkFor: time.Minute}, 5 * time.Second, hangup, twilio.StatusCompleted},
		"hang up ringing":   {twiliosim.NoAnswer{}, 5 * time.Second, hangup, twilio.StatusCanceled},
		"hang up ended one": {twiliosim.Fail{}, 5 * time.Second, hangup, twilio.StatusFailed},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, simConfig())
				r.sim.Behave(alice, tc.behaviour)
				placed, err := r.c.Place(t.Context(), twilio.CallRequest{To: alice, TwiML: hello(t)})
				if err != nil {
					t.Fatal(err)
				}
				time.Sleep(tc.after)
				if err := tc.do(r.c, t.Context(), placed.SID); err != nil {
					t.Fatal(err)
				}
				if got := fetch(t, r.c, placed.SID); got.Status != tc.want {
					t.Errorf("status %s, want %s", got.Status, tc.want)
				}
			})
		})
	}
}

func TestPlaceSendsWhatWasAsked(t *testing.T) {
	var last twiliosim.Exchange
	cfg := simConfig()
	cfg.Edge = func(e twiliosim.Exchange) { last = e }
	r := newRig(t, cfg)
	for name, tc := range map[string]struct {
		req  twilio.CallRequest
		want map[string]string
	}{
		"defaults": {twilio.CallRequest{}, map[string]string{"Timeout": "25", "TimeLimit": "", "MachineDetection": ""}},
		"all": {twilio.CallRequest{Ring: 20 * time.Second, TimeLimit: 90*time.Second + 1, DetectMachine: true},
			map[string]string{"Timeout": "20", "TimeLimit": "91", "MachineDetection": "Enable"}},
	} {
		t.Run(name, func(t *testing.T) {
			tc.req.To, tc.req.TwiML = alice, hello(t)
			if _, err := r.c.Place(t.Context(), tc.req); err != nil {
				t.Fatal(err)
			}
			tc.want["To"], tc.want["From"], tc.want["Twiml"] = alice, from, hello(t)
			for k, v := range tc.want {
				if last.Form.Get(k) != v {
					t.Errorf("%s = %q, want %q", k, last.Form.Get(k), v)
				}
			}
			if _, there := last.Form["StatusCallback"]; there {
				t.Error("a callback without a public address")
			}
		})
	}
}

func TestNothingIsSentForImpossibleRequests(t *testing.T) {
	asked := 0
	cfg := simConfig()
	cfg.Edge = func(twiliosim.Exchange) { asked++ }
	r := newRig(t, cfg)
	place := func(req twilio.CallRequest) error { _, err := r.c.Place(t.Context(), req); return err }
	sms := func(to, body string) error { _, err := r.c.SendSMS(t.Context(), to, body); return err }
	_, fetchErr := r.c.Fetch(t.Context(), "CA1/../../Keys")
	_, recentErr := r.c.Recent(t.Context(), "sip:bob.42@host")
	for name, tc := range map[string]struct {
		err  error
		want twilio.Class
	}{
		"number":       {place(twilio.CallRequest{To: "0151 123", TwiML: "<Response/>"}), twilio.Target},
		"no text":      {place(twilio.CallRequest{To: alice}), twilio.Configuration},
		"long text":    {place(twilio.CallRequest{To: alice, TwiML: strings.Repeat("x", 4001)}), twilio.Configuration},
		"long ring":    {place(twilio.CallRequest{To: alice, TwiML: "<Response/>", Ring: time.Hour}), twilio.Configuration},
		"negative":     {place(twilio.CallRequest{To: alice, TwiML: "<Response/>", TimeLimit: -1}), twilio.Configuration},
		"fetch":        {fetchErr, twilio.Configuration},
		"cancel":       {r.c.Cancel(t.Context(), ""), twilio.Configuration},
		"recent":       {recentErr, twilio.Target},
		"sms number":   {sms("+0", "hi"), twilio.Target},
		"sms empty":    {sms(alice, ""), twilio.Configuration},
		"sms too long": {sms(alice, strings.Repeat("ü", 1601)), twilio.Configuration},
	} {
		if e := twilioError(t, tc.err); e.Class != tc.want {
			t.Errorf("%s: class %v, want %v", name, e.Class, tc.want)
		}
	}
	if asked != 0 {
		t.Errorf("%d requests were sent", asked)
	}
}

func TestSendSMS(t *testing.T) {
	r := newRig(t, simConfig())
	sid, err := r.c.SendSMS(t.Context(), alice, "Power lost at home, 43 %")
	if err != nil {
		t.Fatal(err)
	}
	got := r.sim.Messages()
	if len(got) != 1 || got[0].SID != sid || got[0].To != alice || got[0].From != from || got[0].Body != "Power lost at home, 43 %" {
		t.Errorf("messages %+v, sid %s", got, sid)
	}
	r.sim.Behave(alice, twiliosim.Refuse{Code: 21610})
	_, err = r.c.SendSMS(t.Context(), alice, "again")
	if e := twilioError(t, err); e.Class != twilio.Target || e.Code != 21610 {
		t.Errorf("error %+v", e)
	}
}

func TestEnvironmentDoesNotMoveTheHost(t *testing.T) {
	t.Setenv("TWILIO_EDGE", "sydney")
	t.Setenv("TWILIO_REGION", "au1")
	r := newTCPRig(t, simConfig(), 0)
	if _, err := r.c.Recent(t.Context(), alice); err != nil {
		t.Fatal(err)
	}
}

func TestNewRefusesWrongForms(t *testing.T) {
	if _, err := twilio.New(clientConfig()); err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(*twilio.Config){
		"account":       func(c *twilio.Config) { c.AccountSID = key },
		"account blank": func(c *twilio.Config) { c.AccountSID += "\n" },
		"key":           func(c *twilio.Config) { c.APIKeySID = account },
		"secret line":   func(c *twilio.Config) { c.APIKeySecret += "\n" },
		"no secret":     func(c *twilio.Config) { c.APIKeySecret = "" },
		"from":          func(c *twilio.Config) { c.From = "030 123456" },
		"timeout":       func(c *twilio.Config) { c.Timeout = -1 },
		"url scheme":    func(c *twilio.Config) { c.BaseURL = "ftp://host" },
		"url path":      func(c *twilio.Config) { c.BaseURL = "https://host/x" },
		"url user":      func(c *twilio.Config) { c.BaseURL = "https://u:" + secret + "@host" },
		"url none":      func(c *twilio.Config) { c.BaseURL = "api.twilio.com" },
	} {
		cfg := clientConfig()
		spoil(&cfg)
		_, err := twilio.New(cfg)
		if err == nil {
			t.Errorf("%s: accepted", name)
		} else if strings.Contains(err.Error(), secret) {
			t.Errorf("%s: %v shows the secret", name, err)
		}
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
