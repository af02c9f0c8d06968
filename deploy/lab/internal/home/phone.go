package home

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"sentinel.home.arpa/deploy/lab/internal/edge"
	"sentinel.home.arpa/deploy/lab/internal/link"
	"sentinel.home.arpa/shared/sim/twiliosim"
)

// keysAddress is where the phone company sends keys: a name of the proxy that stands before the brain.
const keysAddress = "https://keys.lab.example"

// proxy ends TLS for what comes to keysAddress, and passes it on to where the brain takes keys.
type proxy struct{ h *Home }

// RoundTrip implements http.RoundTripper.
func (p proxy) RoundTrip(r *http.Request) (*http.Response, error) {
	if p.h.keys == "" || "https://"+r.URL.Host != keysAddress {
		return nil, fmt.Errorf("nobody is at %s", r.URL.Host)
	}
	out := r.Clone(r.Context())
	out.Host, out.URL.Scheme, out.URL.Host = r.URL.Host, "http", p.h.keys
	return http.DefaultTransport.RoundTrip(out)
}

func taken() twiliosim.Answer {
	return twiliosim.Answer{After: 3 * time.Second, TalkFor: 20 * time.Second}
}

// person is how calls are taken from now on.
func (h *Home) person(words []string) error {
	if h.phone == nil {
		return errForeign
	}
	switch {
	case len(words) == 1 && words[0] == "away":
		h.say("lab", "nobody is at the phone")
		h.phone.Behave(personPhone, twiliosim.NoAnswer{})
		return nil
	case len(words) == 1 && words[0] == "takes":
		h.say("lab", person+" is at the phone")
		h.phone.Behave(personPhone)
		return nil
	case len(words) == 0 || len(words)%2 != 0:
		return fmt.Errorf("phone %s: away, takes, or times and keys such as 4s 2 4s 2", strings.Join(words, " "))
	}
	takes := taken()
	takes.TalkFor = time.Minute
	for i := 0; i < len(words); i += 2 {
		after, err := time.ParseDuration(words[i])
		if err != nil || after <= 0 || len(words[i+1]) != 1 {
			return fmt.Errorf("phone %s %s: a time and a key, such as 4s 1", words[i], words[i+1])
		}
		takes.Keys = append(takes.Keys, twiliosim.Key{After: after, Digit: words[i+1]})
	}
	h.say("lab", person+" will press "+strings.Join(words, " "))
	h.phone.Behave(personPhone, takes)
	return nil
}

// keypad is how the brain is told of keys.
func (h *Home) keypad() (calls, twilio string) {
	if !h.opts.Keypad {
		return "", ""
	}
	return fmt.Sprintf("keypad: {listen: %q, address: %q}", h.keys, keysAddress), "  auth_token_file: twilio-auth-token\n"
}

// wayToTwilio is the address by which the programs reach the phone company.
func (h *Home) wayToTwilio(addr string) (string, error) {
	if !h.opts.Gated {
		return addr, nil
	}
	l, err := link.Open(addr)
	if err != nil {
		return "", err
	}
	l.Watch(h.gates.call)
	h.wg.Go(func() { <-h.ctx.Done(); l.Close() })
	return l.Addr(), nil
}

func (h *Home) startTwilio(ctx context.Context) error {
	if h.twilioURL = h.opts.Twilio; h.twilioURL != "" {
		return nil
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	way, err := h.wayToTwilio(ln.Addr().String())
	if err != nil {
		return err
	}
	h.twilioURL = "http://" + way
	h.phone = twiliosim.New(twiliosim.Config{AccountSID: h.opts.TwilioAccount, KeySID: h.opts.TwilioKey, KeySecret: h.opts.TwilioSecret,
		Numbers: []string{fromPhone}, Default: taken(), AuthToken: authToken, Web: proxy{h},
		OnCallback: func(x twiliosim.Exchange) {
			h.rec.Add(x.At, edge.Entry{Edge: edge.Keys, Method: x.Method, Path: x.Path, Body: x.Form.Encode(), Status: x.Status, Answer: string(x.Answer)})
			h.say("phone", fmt.Sprintf("%s presses %s", person, x.Form.Get("Digits")))
		},
		Edge: func(x twiliosim.Exchange) {
			h.rec.Add(x.At, edge.Entry{Edge: edge.Twilio, Method: x.Method, Path: x.Path, Body: x.Form.Encode(), Status: x.Status, Answer: string(x.Answer)})
		},
		OnSpeech: func(to, text string) {
			h.rec.Add(time.Now(), edge.Entry{Edge: edge.Phone, What: text})
			h.say("phone", fmt.Sprintf("%s hears: %q", person, text))
			h.speak(text)
		},
		OnStatus: func(c twiliosim.Call) {
			if c.Status == "ringing" || c.Status == "no-answer" || c.Status == "canceled" || c.Status == "busy" || c.Status == "failed" {
				h.say("phone", strings.ReplaceAll(c.Status, "-", " ")+" "+person)
			}
		}})
	h.wg.Go(func() {
		if err := h.phone.Serve(ln); err != nil && !errors.Is(err, net.ErrClosed) {
			h.say("phone", "stopped: "+err.Error())
		}
	})
	return nil
}
