package brain

import (
	"context"
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base64"
	"encoding/xml"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"sentinel.home.arpa/cloud/internal/sentinel"
	"sentinel.home.arpa/shared/sim/twiliosim"
)

const publicAddress = "https://sentinel.example.ts.net:8443"

// keyed is what Twilio reads in an answer, or in the call itself.
type keyed struct {
	Gather struct {
		Action string `xml:"action,attr"`
		Say    []string
	}
	Say    []string
	Hangup *struct{}
}

// withKeypad gives a running brain a keypad, and returns what refuses.
func withKeypad(h *home) (k *keypad, refused map[string]int) {
	refused = map[string]int{}
	k = &keypad{address: publicAddress, tokens: func() []string { return []string{"newer token", "older token"} }, secret: []byte("0123456789abcdef"),
		press:   func(ctx context.Context, p sentinel.Pressed) error { return h.brain.submit(ctx, p) },
		refused: func(reason string) { refused[reason]++ }, spoken: map[string]spoken{}, taken: map[string]string{}}
	h.brain.keypad.Store(k)
	return k, refused
}

// posts sends a key as Twilio does, signed by itself.
func posts(h *home, k *keypad, action, token, key string) (int, keyed) {
	h.Helper()
	form := url.Values{"Digits": {key}, "CallSid": {"CA1"}}
	mac := hmac.New(sha1.New, []byte(token))
	_, _ = mac.Write([]byte(action + "CallSidCA1Digits" + key)) // a hash never fails
	u, err := url.Parse(action)
	if err != nil {
		h.Fatal(err)
	}
	r := httptest.NewRequest(http.MethodPost, u.RequestURI(), strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("X-Twilio-Signature", base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	w := httptest.NewRecorder()
	k.ServeHTTP(w, r)
	var answer keyed
	if w.Code == http.StatusOK {
		if err := xml.Unmarshal(w.Body.Bytes(), &answer); err != nil {
			h.Errorf("%v in %q", err, w.Body)
		}
	}
	return w.Code, answer
}

// ringing is the action of the call that is under way.
func ringing(h *home) string {
	h.Helper()
	calls := h.x.Calls()
	if len(calls) == 0 {
		h.Fatal("nobody is called")
	}
	var call keyed
	if err := xml.Unmarshal([]byte(calls[len(calls)-1].TwiML), &call); err != nil || call.Gather.Action == "" {
		h.Fatalf("%v: it asks for no key: %q", err, calls[len(calls)-1].TwiML)
	}
	return call.Gather.Action
}

// TestC3_KeyOne acknowledges, and says so once that is on disk; who only takes the call does not.
func TestC3_KeyOne(t *testing.T) {
	in(t, nil, func(h *home) {
		h.slowly()
		k, refused := withKeypad(h)
		h.x.Behave(alex, twiliosim.Answer{TalkFor: 40 * time.Second})
		h.nodes["pve2"].kill()
		rest(30 * time.Second)
		action := ringing(h)
		if _, told := h.told("is known"); told {
			h.Error("the call that was taken counts without a key")
		}
		for name, wrong := range map[string]string{"signature": "another token"} {
			if code, _ := posts(h, k, action, wrong, "1"); code != http.StatusForbidden || refused["key_"+name] != 1 {
				h.Errorf("%s: %d %v", name, code, refused)
			}
		}
		guessed := action[:strings.LastIndex(action, "/")] + "/7"
		if code, _ := posts(h, k, guessed, "newer token", "1"); code != http.StatusNotFound || refused["key_path"] != 1 {
			h.Errorf("a path that nobody made: %d %v", code, refused)
		}
		code, again := posts(h, k, action, "older token", "9")
		if code != http.StatusOK || len(again.Gather.Say) != 4 || !strings.HasPrefix(again.Gather.Say[0], "Hello Alex. This is your home sentinel. P V E 2 ") {
			h.Fatalf("key 9: %d %+v", code, again)
		}
		if code, asked := posts(h, k, again.Gather.Action, "newer token", "5"); code != http.StatusOK || asked.Gather.Action != again.Gather.Action {
			h.Errorf("a key that means nothing: %d %+v", code, asked)
		}
		if _, told := h.told("is known"); told {
			h.Error("known by a wrong key")
		}
		for range 2 { // the second is a repetition
			code, done := posts(h, k, again.Gather.Action, "newer token", "1")
			if code != http.StatusOK || done.Hangup == nil || strings.Join(done.Say, "") != "Thank you. It is written down that you know. Goodbye." {
				h.Errorf("key 1: %d %+v", code, done)
			}
		}
		h.mustTell("is known, because Alex pressed 1")
		rest(time.Minute)
		h.mustTell("the call was taken by a person")
		if code, late := posts(h, k, again.Gather.Action, "newer token", "1"); code != http.StatusOK || strings.Join(late.Say, "") != "This is over already. Nothing was changed. Goodbye." {
			h.Errorf("after the call: %d %+v", code, late)
		}
	})
}

// TestC2_WithKeysOnlyAKeyCounts: a person who hangs up without one is called again.
func TestC2_WithKeysOnlyAKeyCounts(t *testing.T) {
	in(t, nil, func(h *home) {
		h.slowly()
		withKeypad(h)
		h.x.Behave(alex, twiliosim.Answer{TalkFor: 30 * time.Second})
		h.x.Behave(sam, twiliosim.NoAnswer{})
		h.nodes["pve2"].kill()
		rest(3 * time.Minute)
		if n := len(h.x.Calls()); n < 2 {
			h.Errorf("%d calls", n)
		}
		if _, told := h.told("is known"); told {
			h.Error("it is known without a key")
		}
	})
}

// TestC3_KeyTwoTwice stops the plan; once, and a repetition of it, do not.
func TestC3_KeyTwoTwice(t *testing.T) {
	in(t, func(h *home) { h.withPlan() }, func(h *home) {
		k, _ := withKeypad(h)
		h.press("/api/v1/plan/arm")
		h.x.Behave(alex, twiliosim.Answer{TalkFor: time.Minute})
		h.ups.set(true)
		rest(20 * time.Second)
		action := ringing(h)
		var sure keyed
		for range 2 {
			var code int
			if code, sure = posts(h, k, action, "newer token", "2"); code != http.StatusOK || strings.Join(sure.Gather.Say, "") != "To stop the shutdown, press 2 again." {
				h.Fatalf("key 2: %d %+v", code, sure)
			}
		}
		if _, told := h.told("Alex stopped"); told {
			h.Error("stopped by one key that came twice")
		}
		if code, done := posts(h, k, sure.Gather.Action, "newer token", "2"); code != http.StatusOK || !strings.HasPrefix(strings.Join(done.Say, ""), "The shutdown is stopped here. ") {
			h.Errorf("the second: %d %+v", code, done)
		}
		h.mustTell("Alex stopped the plan")
	})
}

// TestC3_NothingToStop: a call that says that nothing is shut down offers no key to stop that.
func TestC3_NothingToStop(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*home)
		arms   bool
	}{"no plan": {nil, false}, "not armed": {func(h *home) { h.withPlan() }, false}, "armed": {func(h *home) { h.withPlan() }, true}} {
		in(t, c.change, func(h *home) {
			withKeypad(h)
			if c.arms {
				h.press("/api/v1/plan/arm")
			}
			h.x.Behave(alex, twiliosim.Answer{TalkFor: time.Minute})
			h.ups.set(true)
			rest(30 * time.Second)
			ringing(h)
			calls := h.x.Calls()
			said := calls[len(calls)-1].TwiML
			if offers := strings.Contains(said, "2 to stop the shutdown"); offers != c.arms || offers == strings.Contains(said, "nothing is shut down") {
				h.Errorf("%s: %s", name, said)
			}
		})
	}
}

// FuzzKeypad: nothing that a stranger posts is answered but with a refusal.
func FuzzKeypad(f *testing.F) {
	k := &keypad{address: publicAddress, tokens: func() []string { return []string{"token"} }, secret: []byte("0123456789abcdef"),
		press:   func(context.Context, sentinel.Pressed) error { panic("a key without a signature") },
		refused: func(string) {}, spoken: map[string]spoken{}, taken: map[string]string{}}
	f.Add(k.path("home-node-20261121T190231Z/1", 0), "Digits=1", "application/x-www-form-urlencoded", "AAAA")
	f.Add("/call///0", "Digits=%zz", "multipart/form-data", "")
	f.Fuzz(func(t *testing.T, path, body, kind, signature string) {
		u := &url.URL{Path: "/" + path}
		r := &http.Request{Method: http.MethodPost, URL: u, Header: http.Header{"Content-Type": {kind}, "X-Twilio-Signature": {signature}}, Body: io.NopCloser(strings.NewReader(body))}
		w := httptest.NewRecorder()
		k.ServeHTTP(w, r)
		if w.Code < 400 {
			t.Errorf("%q is answered %d", u, w.Code)
		}
	})
}
