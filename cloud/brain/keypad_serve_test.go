package brain

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base64"
	"encoding/xml"
	"errors"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"sentinel.home.arpa/cloud/internal/sentinel"
	"sentinel.home.arpa/shared/config"
	"sentinel.home.arpa/shared/sim/twiliosim"
)

const (
	keysAt = "127.0.0.1:8443"
	token  = "0123456789abcdef0123456789abcdef"
)

// withToken gives the brain the account's auth token.
func (h *home) withToken() {
	path := filepath.Join(h.TempDir(), "token")
	if err := os.WriteFile(path, []byte(token+"\n"), 0o600); err != nil {
		h.Fatal(err)
	}
	s, err := config.NewSecret(path)
	if err != nil {
		h.Fatal(err)
	}
	h.cfg.Twilio.AuthToken = s
}

// overTheWire posts a key to where the keypad listens, as the proxy passes it on.
func overTheWire(h *home, action, signedBy, key string) (int, keyed) {
	h.Helper()
	body := url.Values{"Digits": {key}}.Encode()
	mac := hmac.New(sha1.New, []byte(signedBy))
	_, _ = mac.Write([]byte(action + "Digits" + key)) // a hash never fails
	u, err := url.Parse(action)
	if err != nil {
		h.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return h.net.dial(ctx, network, keysAt)
	}}}
	r, err := http.NewRequestWithContext(h.Context(), http.MethodPost, "http://"+u.Host+u.RequestURI(), strings.NewReader(body))
	if err != nil {
		h.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("X-Twilio-Signature", base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	resp, err := client.Do(r)
	if err != nil {
		h.Fatal(err)
	}
	defer resp.Body.Close()
	var b bytes.Buffer
	if _, err := b.ReadFrom(resp.Body); err != nil {
		h.Fatal(err)
	}
	var answer keyed
	if resp.StatusCode == http.StatusOK {
		if err := xml.Unmarshal(b.Bytes(), &answer); err != nil {
			h.Errorf("%v in %q", err, &b)
		}
	}
	return resp.StatusCode, answer
}

// TestC3_KeysThroughAProxy: from cloud.yaml to the listener of their own, where nothing else of the
// brain's is, and over a restart in the middle of the call.
func TestC3_KeysThroughAProxy(t *testing.T) {
	in(t, func(h *home) {
		h.withToken()
		h.cfg.Calls.Keypad = Keypad{Listen: keysAt, Address: publicAddress + "/"}
	}, func(h *home) {
		h.slowly()
		h.x.Behave(alex, twiliosim.Answer{TalkFor: 40 * time.Second})
		h.nodes["pve2"].kill()
		rest(30 * time.Second)
		action := ringing(h)
		if !strings.HasPrefix(action, publicAddress+"/call/") {
			h.Fatalf("keys are asked for at %s", action)
		}
		if code, _ := overTheWire(h, publicAddress+"/api/v1/status", token, "1"); code != http.StatusNotFound {
			h.Errorf("the brain's own routes are there: %d", code)
		}
		if code, _ := overTheWire(h, action, "another token", "1"); code != http.StatusForbidden {
			h.Errorf("a forged key: %d", code)
		}
		h.crash(time.Second)
		rest(2 * time.Second)
		code, done := overTheWire(h, action, token, "1")
		if code != http.StatusOK || done.Hangup == nil {
			h.Errorf("key 1: %d %+v", code, done)
		}
		h.mustTell("is known, because Alex pressed 1")
		if n := len(h.x.Calls()); n != 1 {
			h.Errorf("%d calls", n)
		}
	})
}

// funnels gives the house a keypad behind a funnel that is allowed from now on, or not yet, and opens so
// long after it was asked for.
func (h *home) funnels(allowed bool) (allow func(), after *atomic.Int64, ports *[]uint16) {
	h.withToken()
	h.cfg.Calls.Keypad = Keypad{Funnel: true, Port: 8443}
	var may atomic.Bool
	may.Store(allowed)
	after, ports = new(atomic.Int64), new([]uint16)
	h.funnel = func(ctx context.Context, port uint16) (net.Listener, string, error) {
		select {
		case <-time.After(time.Duration(after.Load())):
		case <-ctx.Done():
			return nil, "", ctx.Err()
		}
		if *ports = append(*ports, port); !may.Load() {
			return nil, "", errors.New("open a funnel: Funnel not available")
		}
		ln, err := h.net.listen("tcp", keysAt)
		return ln, publicAddress, err
	}
	return func() { may.Store(true) }, after, ports
}

// TestC3_AFunnelThatIsNotAllowed is said on the page; calls go without keys until it is.
func TestC3_AFunnelThatIsNotAllowed(t *testing.T) {
	const warning = "Calls have no keys, and whoever takes one is taken to know: open a funnel: Funnel not available"
	var allow func()
	var ports *[]uint16
	in(t, func(h *home) { allow, _, ports = h.funnels(false) }, func(h *home) {
		h.slowly()
		warned := func() bool { return strings.Contains(strings.Join(h.view().Warnings, "\n"), warning) }
		if !warned() {
			h.Errorf("the page warns of %q", h.view().Warnings)
		}
		h.nodes["pve2"].kill()
		rest(50 * time.Second)
		if calls := h.calls(1); strings.Contains(calls[0].TwiML, "Gather") {
			h.Errorf("it asks for keys: %s", calls[0].TwiML)
		}
		h.mustTell("the call was taken by a person")
		allow()
		rest(10 * time.Minute)
		if warned() || h.brain.keypad.Load().at() != publicAddress {
			h.Errorf("allowed, and the page warns of %q", h.view().Warnings)
		}
		h.nodes["pve3"].kill()
		h.nodes["pve1"].kill()
		rest(30 * time.Second)
		if !strings.HasPrefix(ringing(h), publicAddress+"/call/") {
			h.Errorf("keys are asked for at %s", ringing(h))
		}
		if len(*ports) != 2 || (*ports)[0] != 8443 {
			h.Errorf("tried %v", *ports)
		}
	})
}

// TestC3_APortThatIsTaken leaves calls without keys, and the houses no less watched; it is tried again.
func TestC3_APortThatIsTaken(t *testing.T) {
	const warning = "Calls have no keys, and whoever takes one is taken to know: listen at 127.0.0.1:8443: "
	var other net.Listener
	in(t, func(h *home) {
		h.withToken()
		h.cfg.Calls.Keypad = Keypad{Listen: keysAt, Address: publicAddress}
		var err error
		if other, err = h.net.listen("tcp", keysAt); err != nil {
			h.Fatal(err)
		}
	}, func(h *home) {
		h.slowly()
		warned := func() bool { return strings.Contains(strings.Join(h.view().Warnings, "\n"), warning) }
		if !warned() {
			h.Errorf("the page warns of %q", h.view().Warnings)
		}
		h.nodes["pve2"].kill()
		rest(50 * time.Second)
		if calls := h.calls(1); strings.Contains(calls[0].TwiML, "Gather") {
			h.Errorf("it asks for keys: %s", calls[0].TwiML)
		}
		_ = other.Close()
		rest(10 * time.Minute)
		if warned() || h.brain.keypad.Load().at() != publicAddress {
			h.Errorf("it is free, and the page warns of %q", h.view().Warnings)
		}
	})
}

// TestC3_AFunnelAfterARestart: a call that goes on is known before the funnel's address is, so that its
// key counts, and nothing but a key.
func TestC3_AFunnelAfterARestart(t *testing.T) {
	for _, pressed := range []bool{true, false} {
		var after *atomic.Int64
		in(t, func(h *home) { _, after, _ = h.funnels(true) }, func(h *home) {
			h.slowly()
			h.x.Behave(alex, twiliosim.Answer{TalkFor: 40 * time.Second})
			h.x.Behave(sam, twiliosim.NoAnswer{})
			h.nodes["pve2"].kill()
			rest(30 * time.Second)
			action := ringing(h)
			after.Store(int64(5 * time.Second))
			h.crash(time.Second)
			rest(7 * time.Second)
			if pressed {
				if code, done := overTheWire(h, action, token, "1"); code != http.StatusOK || strings.Join(done.Say, "") != "Thank you. It is written down that you know. Goodbye." {
					h.Errorf("key 1: %d %+v", code, done)
				}
				h.mustTell("is known, because Alex pressed 1")
			}
			rest(3 * time.Minute)
			if n := len(h.x.Calls()); (n == 1) != pressed {
				h.Errorf("pressed %t: %d calls", pressed, n)
			}
		})
	}
}

// TestC2_ACallWithoutKeysIsTakenByAPerson, although there are keys by the time that it is taken: who
// took it was looked for.
func TestC2_ACallWithoutKeysIsTakenByAPerson(t *testing.T) {
	var after *atomic.Int64
	in(t, func(h *home) {
		_, after, _ = h.funnels(true)
		after.Store(int64(time.Minute))
	}, func(h *home) {
		h.slowly()
		h.x.Behave(alex, twiliosim.Answer{After: 20 * time.Second, TalkFor: 20 * time.Second})
		h.nodes["pve2"].kill()
		rest(23 * time.Second)
		if calls := h.calls(1); strings.Contains(calls[0].TwiML, "Gather") {
			h.Fatalf("it asks for keys: %s", calls[0].TwiML)
		}
		after.Store(0)
		h.crash(time.Second)
		rest(2 * time.Minute)
		h.mustTell("is known, because Alex took the call")
		h.calls(1)
	})
}

// TestC3_AKeyJustAfterARestart waits until the loop has taken up the call that it was pressed in.
func TestC3_AKeyJustAfterARestart(t *testing.T) {
	in(t, func(h *home) {
		h.withToken()
		h.cfg.Calls.Keypad = Keypad{Listen: keysAt, Address: publicAddress}
	}, func(h *home) {
		h.slowly()
		h.x.Behave(alex, twiliosim.Answer{TalkFor: 40 * time.Second})
		h.nodes["pve2"].kill()
		rest(30 * time.Second)
		action := ringing(h)
		h.startsSlowly = 3 * time.Second
		h.crash(time.Second)
		if code, done := overTheWire(h, action, token, "1"); code != http.StatusOK || strings.Join(done.Say, "") != "Thank you. It is written down that you know. Goodbye." {
			h.Errorf("key 1: %d %+v", code, done)
		}
		h.mustTell("is known, because Alex pressed 1")
	})
}

// TestC3_ATestCallHasNoKeys: nothing has happened that could be known or stopped, so who takes it counts.
func TestC3_ATestCallHasNoKeys(t *testing.T) {
	in(t, func(h *home) {
		h.withToken()
		h.cfg.Calls.Keypad = Keypad{Listen: keysAt, Address: publicAddress}
	}, func(h *home) {
		h.x.Behave(alex, twiliosim.Answer{TalkFor: 20 * time.Second})
		if code, text := h.request(http.MethodPost, "/api/v1/test/call?contact=Alex", nil, nil); code != http.StatusOK {
			h.Fatalf("%d %s", code, text)
		}
		rest(time.Second)
		for range 2 {
			if err := h.brain.submit(h.Context(), sentinel.Pressed{Call: h.lastTest().ID, Key: sentinel.KeyStop}); err != nil {
				h.Error(err)
			}
		}
		rest(30 * time.Second)
		if got := h.lastTest(); !got.Over || !got.Delivered {
			h.Errorf("the test call %+v", got)
		}
		if calls := h.x.Calls(); len(calls) != 1 || strings.Contains(calls[0].TwiML, "Gather") {
			h.Errorf("called by %+v", calls)
		}
	})
}
