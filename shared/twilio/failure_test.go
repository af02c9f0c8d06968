package twilio_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sentinel.home.arpa/shared/sim/twiliosim"
	"sentinel.home.arpa/shared/twilio"
)

// A call whose answer is lost is found in the list, and one that was never
// placed is not: what "exactly once" is built on.
func TestC4_RecentTellsWhetherALostCallExists(t *testing.T) {
	faults := []twiliosim.Fault{
		{Kind: twiliosim.Drop}, {Kind: twiliosim.Drop, Done: true},
		{Kind: twiliosim.Hang}, {Kind: twiliosim.Hang, Done: true},
		{Kind: twiliosim.Unavailable}, {Kind: twiliosim.Unavailable, Done: true},
		{Kind: twiliosim.BadGateway}, {Kind: twiliosim.BadGateway, Done: true},
		{Kind: twiliosim.Internal}, {Kind: twiliosim.Internal, Done: true},
		{Kind: twiliosim.Portal}, {Kind: twiliosim.Portal, Done: true},
		{Kind: twiliosim.HalfAnswer, Done: true},
	}
	check := func(t *testing.T, r rig, f twiliosim.Fault) {
		f.Method = http.MethodPost
		r.sim.Fault(f, 1)
		r.sim.Behave(alice, twiliosim.QueuedForever{}) // no start time: a StartTime filter would miss it
		intent := time.Now()
		_, err := r.c.Place(t.Context(), twilio.CallRequest{To: alice, TwiML: hello(t)})
		if e := twilioError(t, err); e.Class != twilio.Ambiguous {
			t.Errorf("class %v, want ambiguous: %v", e.Class, err)
		}
		calls, err := r.c.Recent(t.Context(), alice)
		if err != nil {
			t.Fatal(err)
		}
		if !f.Done {
			if len(calls) != 0 {
				t.Errorf("calls %+v, want none", calls)
			}
			return
		}
		if len(calls) != 1 || calls[0].SID != r.sim.Calls()[0].SID || calls[0].Status != twilio.StatusQueued ||
			calls[0].Direction != "outbound-api" || calls[0].Created.Before(intent.Add(-time.Minute)) {
			t.Errorf("calls %+v, want the lost one", calls)
		}
	}
	for _, f := range faults {
		name := fmt.Sprintf("%s done=%v", f.Kind, f.Done)
		t.Run(name+"/tcp", func(t *testing.T) {
			timeout := 10 * time.Second
			if f.Kind == twiliosim.Hang {
				timeout = 300 * time.Millisecond
			}
			check(t, newTCPRig(t, simConfig(), timeout), f)
		})
		t.Run(name+"/bubble", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { check(t, newRig(t, simConfig()), f) })
		})
	}
}

func TestRecentListsOursNewestFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, simConfig())
		var sids []string
		for i := range 66 {
			to := alice
			if i%6 == 5 {
				to = "+15551230000"
			}
			call, err := r.c.Place(t.Context(), twilio.CallRequest{To: to, TwiML: hello(t)})
			if err != nil {
				t.Fatal(err)
			}
			if to == alice {
				sids = append(sids, call.SID)
			}
			time.Sleep(time.Second)
		}
		calls, err := r.c.Recent(t.Context(), alice)
		if err != nil {
			t.Fatal(err)
		}
		if len(calls) != 50 || len(sids) != 55 {
			t.Fatalf("%d calls listed of %d", len(calls), len(sids))
		}
		for i, c := range calls {
			if want := sids[len(sids)-1-i]; c.SID != want {
				t.Fatalf("call %d is %s, want %s", i, c.SID, want)
			}
		}
	})
}

func TestC7_RefusalsAreClassified(t *testing.T) {
	for code, want := range map[int]twilio.Class{
		20003: twilio.Configuration, 20005: twilio.Configuration, 10001: twilio.Configuration,
		21210: twilio.Configuration, 21215: twilio.Configuration, 32205: twilio.Configuration,
		13227: twilio.Configuration, 21219: twilio.Configuration, 21205: twilio.Configuration,
		21211: twilio.Target, 21214: twilio.Target, 21217: twilio.Target, 21610: twilio.Target, 21614: twilio.Target,
		20429: twilio.Throttled, 10004: twilio.Throttled,
		20503: twilio.Ambiguous,
		99999: twilio.Configuration,
	} {
		t.Run(fmt.Sprint(code), func(t *testing.T) {
			r := newRig(t, simConfig())
			r.sim.Fault(twiliosim.Fault{Kind: twiliosim.Refused, Code: code}, 1)
			_, err := r.c.Place(t.Context(), twilio.CallRequest{To: alice, TwiML: hello(t)})
			e := twilioError(t, err)
			if e.Class != want || e.Code != code || e.HTTPStatus < 400 {
				t.Errorf("%+v, want class %v", e, want)
			}
			for _, part := range []string{alice, fmt.Sprint(code), want.String()} {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("error %q does not say %q", err, part)
				}
			}
		})
	}
	t.Run("geo advice", func(t *testing.T) {
		r := newRig(t, simConfig())
		r.sim.Behave(alice, twiliosim.Refuse{Code: 21215})
		_, err := r.c.Place(t.Context(), twilio.CallRequest{To: alice, TwiML: hello(t)})
		if e := twilioError(t, err); !strings.Contains(e.Advice, "Geo permissions") {
			t.Errorf("advice %q", e.Advice)
		}
	})
}

func TestWrongSecret(t *testing.T) {
	sim := twiliosim.New(simConfig())
	t.Cleanup(sim.Close)
	cfg := clientConfig()
	cfg.APIKeySecret, cfg.Transport = "another0secret00", sim.Transport()
	_, err := newClient(t, cfg).Recent(t.Context(), alice)
	if e := twilioError(t, err); e.Class != twilio.Configuration || e.Code != 20003 || e.HTTPStatus != 401 {
		t.Errorf("%+v", e)
	}
}

func TestThrottledSaysForHowLong(t *testing.T) {
	now := time.Date(2026, time.March, 1, 3, 0, 0, 0, time.UTC)
	for name, tc := range map[string]struct {
		header http.Header
		want   time.Duration
	}{
		"seconds":  {http.Header{"Retry-After": {"7"}}, 7 * time.Second},
		"none":     {http.Header{}, 0},
		"nonsense": {http.Header{"Retry-After": {"soon"}}, 0},
		"negative": {http.Header{"Retry-After": {"-5"}}, 0},
		"for ever": {http.Header{"Retry-After": {"999999999"}}, 24 * time.Hour},
		"date": {http.Header{"Date": {now.Format(http.TimeFormat)},
			"Retry-After": {now.Add(30 * time.Second).Format(http.TimeFormat)}}, 30 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			e := placeThrough(t, answering(http.StatusTooManyRequests, tc.header, "slow down"))
			if e.Class != twilio.Throttled || e.HTTPStatus != 429 || e.RetryAfter != tc.want {
				t.Errorf("%+v, want retry after %v", e, tc.want)
			}
		})
	}
	t.Run("simulated", func(t *testing.T) {
		r := newTCPRig(t, simConfig(), 0)
		r.sim.Fault(twiliosim.Fault{Kind: twiliosim.Throttled, RetryAfter: 4 * time.Second}, 1)
		_, err := r.c.Fetch(t.Context(), "CA"+strings.Repeat("0", 32))
		if e := twilioError(t, err); e.Class != twilio.Throttled || e.Code != 20429 || e.RetryAfter != 4*time.Second {
			t.Errorf("%+v", e)
		}
	})
}

// Answers that are not Twilio's last word must not be taken for one.
func TestStrangeAnswersAreAmbiguous(t *testing.T) {
	html := http.Header{"Content-Type": {"text/html"}}
	sid := "CA" + strings.Repeat("a", 32)
	for name, rt := range map[string]roundTripper{
		"portal":          answering(403, html, "<html>log in</html>"),
		"portal redirect": answering(302, http.Header{"Location": {"http://portal.example/"}}, "{}"),
		"not found page":  answering(404, html, "nothing here"),
		"json not ours":   answering(400, nil, `{"error":"no"}`),
		"timeout":         answering(408, nil, `{"code":21211,"message":"x","status":408}`),
		"code in a 500":   answering(500, nil, `{"code":21211,"message":"x","status":500}`),
		"huge error":      answering(400, nil, `{"code":21211,"message":"`+strings.Repeat("x", 1<<17)+`"}`),
		"huge":            answering(201, nil, `{"sid":"`+sid+`","x":"`+strings.Repeat("x", 1<<21)+`"}`),
		"no sid":          answering(201, nil, `{"status":"queued"}`),
		"null":            answering(201, nil, `null`),
		"empty":           answering(201, nil, ``),
		"wrong type":      answering(201, nil, `{"sid":7}`),
		"page for a call": answering(200, html, "<html>welcome</html>"),
	} {
		t.Run(name, func(t *testing.T) {
			if e := placeThrough(t, rt); e.Class != twilio.Ambiguous {
				t.Errorf("%+v", e)
			}
		})
	}
	cfg := clientConfig()
	cfg.Transport = answering(200, nil, `{}`)
	if _, err := newClient(t, cfg).Recent(t.Context(), alice); err == nil {
		t.Error("an answer without a list counts as an empty list")
	}
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	asked := 0
	redirect := answering(http.StatusTemporaryRedirect, http.Header{"Location": {"/elsewhere"}}, "{}")
	e := placeThrough(t, roundTripper(func(r *http.Request) (*http.Response, error) { asked++; return redirect(r) }))
	if asked != 1 || e.HTTPStatus != http.StatusTemporaryRedirect {
		t.Errorf("asked %d times, %+v", asked, e)
	}
}

func answering(status int, header http.Header, body string) roundTripper {
	return func(r *http.Request) (*http.Response, error) {
		h := header.Clone()
		if h == nil {
			h = http.Header{}
		}
		return &http.Response{StatusCode: status, Header: h, Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
	}
}

func placeThrough(t *testing.T, rt http.RoundTripper) *twilio.Error {
	t.Helper()
	cfg := clientConfig()
	cfg.Transport = rt
	_, err := newClient(t, cfg).Place(t.Context(), twilio.CallRequest{To: alice, TwiML: hello(t)})
	return twilioError(t, err)
}

func TestContextAndDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, simConfig())
		place := func(ctx context.Context) (*twilio.Error, time.Duration) {
			start := time.Now()
			_, err := r.c.Place(ctx, twilio.CallRequest{To: alice, TwiML: hello(t)})
			return twilioError(t, err), time.Since(start)
		}
		r.sim.Fault(twiliosim.Fault{Kind: twiliosim.Hang, Done: true}, 2)

		e, took := place(t.Context())
		if e.Class != twilio.Ambiguous || !errors.Is(e, context.DeadlineExceeded) || took != 10*time.Second {
			t.Errorf("hang: %+v after %v", e, took)
		}
		ctx, cancel := context.WithCancel(t.Context())
		stop := context.AfterFunc(t.Context(), cancel)
		defer stop()
		go func() { time.Sleep(2 * time.Second); cancel() }()
		e, took = place(ctx)
		if e.Class != twilio.Ambiguous || !errors.Is(e, context.Canceled) || took != 2*time.Second {
			t.Errorf("cancelled: %+v after %v", e, took)
		}
		e, _ = place(ctx)
		if e.Class != twilio.NotSent || !errors.Is(e, context.Canceled) {
			t.Errorf("cancelled before: %+v", e)
		}
		if n := len(r.sim.Calls()); n != 2 {
			t.Errorf("%d calls, want 2", n)
		}
	})
}

func TestR4_SecretIsNeverInAnError(t *testing.T) {
	for name, rt := range map[string]roundTripper{
		"transport that prints headers": func(r *http.Request) (*http.Response, error) {
			return nil, fmt.Errorf("could not send %v", r.Header)
		},
		"transport that prints the secret": func(*http.Request) (*http.Response, error) {
			return nil, errors.New("login " + secret)
		},
		"server that echoes": func(r *http.Request) (*http.Response, error) {
			_, pass, _ := r.BasicAuth()
			return answering(400, nil, `{"code":20003,"message":"bad `+pass+`","status":400}`)(r)
		},
	} {
		t.Run(name, func(t *testing.T) {
			var all strings.Builder
			for err := error(placeThrough(t, rt)); err != nil; err = errors.Unwrap(err) {
				fmt.Fprintf(&all, "%v %+v\n", err, err)
			}
			text := all.String()
			if strings.Contains(text, secret) || strings.Contains(text, "Basic ") && !strings.Contains(text, "[redacted]") {
				t.Errorf("shows the secret: %s", text)
			}
		})
	}
}

func TestBodiesAreClosed(t *testing.T) {
	for _, status := range []int{201, 400, 500} {
		closed := false
		rt := roundTripper(func(r *http.Request) (*http.Response, error) {
			resp, err := answering(status, nil, "{}")(r)
			resp.Body = closer{resp.Body, &closed}
			return resp, err
		})
		placeThrough(t, rt)
		if !closed {
			t.Errorf("HTTP %d: body left open", status)
		}
	}
}

type closer struct {
	io.Reader
	closed *bool
}

func (c closer) Close() error { *c.closed = true; return nil }
