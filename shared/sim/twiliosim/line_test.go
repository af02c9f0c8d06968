package twiliosim_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	official "github.com/twilio/twilio-go/client"

	"sentinel.home.arpa/shared/sim/twiliosim"
)

const authToken = "0123456789abcdef0123456789abcdef"

// web answers what Twilio asks of the addresses in TwiML, and notes it.
type web struct {
	t       *testing.T
	answers map[string]http.HandlerFunc // by path
	asked   []string                    // the time since the call began, the path and the keys
	begin   time.Time
}

func (w *web) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, err
	}
	v := official.NewRequestValidator(authToken)
	signature := r.Header.Get("X-Twilio-Signature")
	params := map[string]string{}
	for k := range form {
		params[k] = form.Get(k)
	}
	if !v.Validate(r.URL.String(), params, signature) {
		w.t.Errorf("%s %s with %q is signed as Twilio's own library would not", r.Method, r.URL, body)
	}
	digits := form.Get("Digits") + r.URL.Query().Get("Digits")
	w.asked = append(w.asked, fmt.Sprintf("%s %s %s %s", time.Since(w.begin), r.Method, r.URL.Path, digits))
	answer := w.answers[r.URL.Path]
	if answer == nil {
		return nil, io.ErrUnexpectedEOF
	}
	to := httptest.NewRecorder()
	answer(to, r)
	return to.Result(), r.Context().Err()
}

func says(twiml string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/xml; charset=utf-8")
		fmt.Fprint(w, "<Response>"+twiml+"</Response>")
	}
}

// asking says ten characters twice, of a tenth of a second each, with a second between, and waits six.
const asking = `<Response><Gather action="https://brain.example/keys?call=1" method="POST" input="dtmf" numDigits="1" timeout="6">` +
	`<Say>0123456789</Say><Pause length="1"/><Say>again 789.</Say></Gather><Say>None.</Say></Response>`

// TestKeysArePosted: from the key to what Twilio does with the answer. Calls are taken 2.3 s after they
// were created.
func TestKeysArePosted(t *testing.T) {
	key := func(after time.Duration, digit string) twiliosim.Key {
		return twiliosim.Key{After: after, Digit: digit}
	}
	for name, c := range map[string]struct {
		twiml   string
		keys    []twiliosim.Key
		talk    time.Duration
		answers map[string]http.HandlerFunc
		asked   []string
		heard   string
		errors  []int
		lasts   time.Duration
	}{
		"none": {heard: "0123456789|again 789.|None.", lasts: 9500 * time.Millisecond},
		"one in the text, which it ends": {keys: []twiliosim.Key{key(500*time.Millisecond, "1")}, answers: map[string]http.HandlerFunc{"/keys": says("<Say>Thanks</Say><Hangup/><Say>never</Say>")},
			asked: []string{"2.8s POST /keys 1"}, heard: "0123456789|Thanks", lasts: 1100 * time.Millisecond},
		"one after it": {keys: []twiliosim.Key{key(8*time.Second, "1")}, answers: map[string]http.HandlerFunc{"/keys": says("")},
			asked: []string{"10.3s POST /keys 1"}, heard: "0123456789|again 789.", lasts: 8 * time.Second},
		"one too late": {keys: []twiliosim.Key{key(9200*time.Millisecond, "1")}, heard: "0123456789|again 789.|None.", lasts: 9500 * time.Millisecond},
		"another question": {keys: []twiliosim.Key{key(time.Second, "2"), key(4*time.Second, "2")}, answers: map[string]http.HandlerFunc{
			"/keys": says(`<Gather action="/sure" numDigits="1"><Say>Sure?</Say></Gather>`), "/sure": says("<Say>Stopped</Say>")},
			asked: []string{"3.3s POST /keys 2", "7.3s POST /sure 2"}, heard: "0123456789|Sure?|Stopped", lasts: 5700 * time.Millisecond},
		"lost while it speaks without asking": {keys: []twiliosim.Key{key(time.Second, "2"), key(500*time.Millisecond, "2")}, answers: map[string]http.HandlerFunc{"/keys": says("<Say>0123456789</Say>")},
			asked: []string{"3.3s POST /keys 2"}, heard: "0123456789|0123456789", lasts: 2 * time.Second},
		"lost while the answer takes its time": {keys: []twiliosim.Key{key(time.Second, "2"), key(500*time.Millisecond, "2")}, answers: map[string]http.HandlerFunc{"/keys": func(w http.ResponseWriter, r *http.Request) {
			time.Sleep(time.Second)
			says(`<Gather action="/sure" numDigits="1" timeout="1"/>`)(w, r)
		}}, asked: []string{"3.3s POST /keys 2"}, heard: "0123456789", lasts: 3 * time.Second},
		"several, ended by #": {twiml: `<Response><Gather action="https://brain.example/keys"><Say>Code?</Say></Gather></Response>`,
			keys: []twiliosim.Key{key(time.Second, "4"), key(time.Second, "2"), key(time.Second, "#")}, answers: map[string]http.HandlerFunc{"/keys": says("")},
			asked: []string{"5.3s POST /keys 42"}, heard: "Code?", lasts: 3 * time.Second},
		"redirected": {keys: []twiliosim.Key{key(time.Second, "1")}, answers: map[string]http.HandlerFunc{
			"/keys": says(`<Pause length="2"/><Redirect method="GET">/next</Redirect>`), "/next": says("<Say>Here</Say>")},
			asked: []string{"3.3s POST /keys 1", "5.3s GET /next "}, heard: "0123456789|Here", lasts: 3400 * time.Millisecond},
		"hung up": {talk: 1500 * time.Millisecond, keys: []twiliosim.Key{key(2*time.Second, "1")}, heard: "0123456789", lasts: 1500 * time.Millisecond},
		"unreachable": {keys: []twiliosim.Key{key(time.Second, "1")}, asked: []string{"3.3s POST /keys 1"},
			heard: "0123456789|We are sorry, an application error has occurred. Goodbye.", errors: []int{11200}, lasts: time.Second},
		"refused": {keys: []twiliosim.Key{key(time.Second, "1")}, answers: map[string]http.HandlerFunc{"/keys": http.NotFound}, asked: []string{"3.3s POST /keys 1"},
			heard: "0123456789|We are sorry, an application error has occurred. Goodbye.", errors: []int{11200}, lasts: time.Second},
		"too slow": {keys: []twiliosim.Key{key(time.Second, "1")}, answers: map[string]http.HandlerFunc{"/keys": func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }}, asked: []string{"3.3s POST /keys 1"},
			heard: "0123456789|We are sorry, an application error has occurred. Goodbye.", errors: []int{11200}, lasts: 16 * time.Second},
		"no XML": {keys: []twiliosim.Key{key(time.Second, "1")}, answers: map[string]http.HandlerFunc{"/keys": says("<Say>")}, asked: []string{"3.3s POST /keys 1"},
			heard: "0123456789|We are sorry, an application error has occurred. Goodbye.", errors: []int{12100}, lasts: time.Second},
		"no TwiML": {keys: []twiliosim.Key{key(time.Second, "1")}, answers: map[string]http.HandlerFunc{"/keys": func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "hello") }}, asked: []string{"3.3s POST /keys 1"},
			heard: "0123456789|We are sorry, an application error has occurred. Goodbye.", errors: []int{12300}, lasts: time.Second},
		"too much": {keys: []twiliosim.Key{key(time.Second, "1")}, answers: map[string]http.HandlerFunc{"/keys": says("<Say>" + strings.Repeat("x", 64<<10) + "</Say>")}, asked: []string{"3.3s POST /keys 1"},
			heard: "0123456789|We are sorry, an application error has occurred. Goodbye.", errors: []int{11750}, lasts: time.Second},
		"no address": {twiml: `<Response><Gather action="/keys" numDigits="1"/></Response>`, keys: []twiliosim.Key{key(time.Second, "1")},
			heard: "We are sorry, an application error has occurred. Goodbye.", errors: []int{11100}, lasts: time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := &web{t: t, answers: c.answers, begin: time.Now()}
				cfg := config()
				cfg.AuthToken, cfg.Web, cfg.Timing.Speak = authToken, w, 100*time.Millisecond
				var told []string
				cfg.OnSpeech = func(_, text string) { told = append(told, text) }
				posted := 0
				cfg.OnCallback = func(twiliosim.Exchange) { posted++ }
				s := start(t, cfg)
				if c.talk == 0 {
					c.talk = time.Minute
				}
				s.Behave(alice, twiliosim.Answer{Keys: c.keys, TalkFor: c.talk})
				form := callForm()
				form.Set("Twiml", asking)
				if c.twiml != "" {
					form.Set("Twiml", c.twiml)
				}
				call(s, "/Calls.json", form)
				time.Sleep(2 * time.Minute)
				synctest.Wait()
				got := s.Calls()[0]
				if !slices.Equal(w.asked, c.asked) || posted != len(w.asked) {
					t.Errorf("asked %q, want %q", w.asked, c.asked)
				}
				if heard := strings.Join(got.Heard, "|"); heard != c.heard || !slices.Equal(told, got.Heard) {
					t.Errorf("heard %q, told %q, want %q", heard, told, c.heard)
				}
				if !slices.Equal(got.Errors, c.errors) || got.Status != "completed" || got.Duration != c.lasts {
					t.Errorf("%s after %s with %v, want %s with %v", got.Status, got.Duration, got.Errors, c.lasts, c.errors)
				}
			})
		})
	}
}

// TestACallbackSaysWhatTwilioSays: of which call, and who talks to whom.
func TestACallbackSaysWhatTwilioSays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &web{t: t, begin: time.Now(), answers: map[string]http.HandlerFunc{"/keys": says("")}}
		cfg := config()
		cfg.AuthToken, cfg.Web = authToken, w
		var got twiliosim.Exchange
		cfg.OnCallback = func(x twiliosim.Exchange) { got = x }
		s := start(t, cfg)
		s.Behave(alice, twiliosim.Answer{Keys: []twiliosim.Key{{After: time.Second, Digit: "1"}}})
		form := callForm()
		form.Set("Twiml", asking)
		_, made := call(s, "/Calls.json", form)
		time.Sleep(time.Minute)
		synctest.Wait()
		want := url.Values{"CallSid": {made["sid"].(string)}, "AccountSid": {account}, "ApiVersion": {"2010-04-01"}, "CallStatus": {"in-progress"}, "Direction": {"outbound-api"},
			"From": {from}, "Caller": {from}, "To": {alice}, "Called": {alice}, "Digits": {"1"}, "FinishedOnKey": {""}, "msg": {"Gather End"}}
		if got.Method != http.MethodPost || got.Path != "https://brain.example/keys?call=1" || got.Status != 200 || got.Form.Encode() != want.Encode() {
			t.Errorf("%+v, want %v", got, want)
		}
	})
}
