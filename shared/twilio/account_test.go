package twilio_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sentinel.home.arpa/shared/sim/twiliosim"
	"sentinel.home.arpa/shared/twilio"
)

// TestC7_TheAccountSaysWhatIsWrong before an outage needs it, and a key that may not ask for
// everything is no trouble.
func TestC7_TheAccountSaysWhatIsWrong(t *testing.T) {
	account := func(status, kind, balance string) func(*twiliosim.Server) {
		return func(s *twiliosim.Server) {
			s.SetAccount(twiliosim.Account{Status: status, Type: kind, Balance: balance})
		}
	}
	unclear := func(kind twiliosim.FaultKind, path string) func(*twiliosim.Server) {
		return func(s *twiliosim.Server) { s.Fault(twiliosim.Fault{Kind: kind, Path: path}, 1) }
	}
	refused := func(code int, path string) func(*twiliosim.Server) {
		return func(s *twiliosim.Server) {
			s.Fault(twiliosim.Fault{Kind: twiliosim.Refused, Code: code, Path: path}, 1)
		}
	}
	for name, tc := range map[string]struct {
		change  func(*twiliosim.Config)
		happens func(*twiliosim.Server)
		secret  string
		balance string       // "" if it is not known
		trouble string       // how it begins
		advice  string       // of the trouble or error
		class   twilio.Class // of the error; 0: there is none
	}{
		"all is well":               {balance: "20.00"},
		"a standard key":            {change: func(c *twiliosim.Config) { c.Key = twiliosim.Standard }, balance: "20.00"},
		"a restricted key":          {change: func(c *twiliosim.Config) { c.Key = twiliosim.Restricted }},
		"a verified caller":         {change: func(c *twiliosim.Config) { c.Numbers, c.Verified = nil, []string{from} }, balance: "20.00"},
		"another's number":          {change: func(c *twiliosim.Config) { c.Numbers = []string{from + "7"} }, balance: "20.00", trouble: "the number to call from", advice: "must belong to this Twilio account"},
		"suspended":                 {happens: account("suspended", "Full", "20.00"), trouble: "the Twilio account is suspended", advice: "reactivate"},
		"suspended, a standard key": {change: func(c *twiliosim.Config) { c.Key = twiliosim.Standard }, happens: account("suspended", "Full", "1"), class: twilio.Configuration, advice: "reactivate"},
		"closed":                    {happens: account("closed", "Full", "20.00"), trouble: "the Twilio account is closed", advice: "reactivate"},
		"no credit":                 {happens: account("active", "Full", "-0.31"), balance: "-0.31", trouble: "the Twilio account has no credit left: -0.31 USD", advice: "add funds"},
		"a trial":                   {happens: account("active", "Trial", "15.50"), balance: "15.50"},
		"a balance that is none":    {happens: account("active", "Full", "plenty")},
		"wrong credentials":         {secret: "another0secret00", class: twilio.Configuration, advice: "API key"},
		"no funds, says the list":   {happens: refused(10001, "/Calls.json"), class: twilio.Configuration, advice: "add funds"},
		"throttled":                 {happens: unclear(twiliosim.Throttled, "/Calls.json"), class: twilio.Throttled, advice: "more slowly"},
		"out of order":              {happens: unclear(twiliosim.BadGateway, "/Calls.json"), class: twilio.Ambiguous, advice: "status.twilio.com"},
		"numbers out of order":      {happens: unclear(twiliosim.Unavailable, "/IncomingPhoneNumbers.json"), class: twilio.Ambiguous, advice: "status.twilio.com"},
		"balance cut off":           {happens: unclear(twiliosim.HalfAnswer, "/Balance.json"), class: twilio.Ambiguous, advice: "status.twilio.com"},
		"hangs":                     {happens: unclear(twiliosim.Hang, "/Balance.json"), class: twilio.Ambiguous, advice: "status.twilio.com"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sc := simConfig()
				if tc.change != nil {
					tc.change(&sc)
				}
				r := newRig(t, sc)
				if tc.secret != "" {
					cc := clientConfig()
					cc.Transport, cc.APIKeySecret = r.sim.Transport(), tc.secret
					r.c = newClient(t, cc)
				}
				if tc.happens != nil {
					tc.happens(r.sim)
				}
				a, err := r.c.Account(t.Context())
				if tc.class != 0 {
					if e := twilioError(t, err); e.Class != tc.class || !strings.Contains(e.Advice, tc.advice) {
						t.Errorf("%+v, want class %v and advice %q", e, tc.class, tc.advice)
					}
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				why, advice := a.Trouble()
				if why != tc.trouble && (tc.trouble == "" || !strings.HasPrefix(why, tc.trouble)) || !strings.Contains(advice, tc.advice) {
					t.Errorf("trouble %q, %q, want %q, %q", why, advice, tc.trouble, tc.advice)
				}
				if said := spendable(a); said != tc.balance {
					t.Errorf("balance %q, want %q", said, tc.balance)
				}
				if a.Trial != (name == "a trial") {
					t.Errorf("trial: %v", a.Trial)
				}
			})
		})
	}
}

func spendable(a twilio.Account) string {
	if a.Balance == nil {
		return ""
	}
	return strings.TrimSuffix(fmt.Sprintf("%.2f %s", *a.Balance, a.Currency), " USD")
}

// TestC7_TheSelfTestOnlyReads: it rings nobody, costs nothing, and each request has a deadline.
func TestC7_TheSelfTestOnlyReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := simConfig()
		cfg.Edge = func(e twiliosim.Exchange) {
			if e.Method != http.MethodGet {
				t.Errorf("asked %s %s", e.Method, e.Path)
			}
		}
		r := newRig(t, cfg)
		r.sim.Fault(twiliosim.Fault{Kind: twiliosim.Hang}, 1)
		begun := time.Now()
		if _, err := r.c.Account(t.Context()); err == nil || time.Since(begun) != 10*time.Second {
			t.Errorf("%v after %v", err, time.Since(begun))
		}
		if _, err := r.c.Account(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// TestC7_EachCodeSaysWhatToDo, in words that name the thing.
func TestC7_EachCodeSaysWhatToDo(t *testing.T) {
	for code, names := range map[int]string{
		20003: "API key", 20005: "add funds", 10001: "add funds", 21210: "number to call from", 21215: "Geo permissions", 32205: "Geo permissions",
		13227: "Geo permissions", 21219: "verify this number", 21205: "call templates", 21211: "phone number", 21214: "phone number", 21217: "phone number",
		21610: "START", 21614: "mobile number", 20429: "more slowly", 10004: "more slowly", 99999: "https://www.twilio.com/docs/api/errors",
	} {
		r := newRig(t, simConfig())
		r.sim.Fault(twiliosim.Fault{Kind: twiliosim.Refused, Code: code}, 1)
		_, err := r.c.Place(t.Context(), twilio.CallRequest{To: alice, TwiML: hello(t)})
		e := twilioError(t, err)
		if !strings.Contains(e.Advice, names) {
			t.Errorf("%d: advice %q does not name %q", code, e.Advice, names)
		}
		if others := slices.Contains([]int{21215, 32205, 13227, 21219, 21211, 21214, 21217, 21610, 21614}, code); e.OfNumber() != others {
			t.Errorf("%d is of the number called: %v", code, e.OfNumber())
		}
	}
}
