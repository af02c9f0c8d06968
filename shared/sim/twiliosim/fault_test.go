package twiliosim_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"testing"
	"testing/synctest"
	"time"

	"sentinel.home.arpa/shared/sim/twiliosim"
)

// The same faults over a real connection and without one.
func TestFaults(t *testing.T) {
	for name, tc := range map[string]struct {
		fault  twiliosim.Fault
		status int // 0: an error instead of an answer
		calls  int
	}{
		"throttled":       {twiliosim.Fault{Kind: twiliosim.Throttled}, 429, 0},
		"unavailable":     {twiliosim.Fault{Kind: twiliosim.Unavailable}, 503, 0},
		"internal":        {twiliosim.Fault{Kind: twiliosim.Internal}, 500, 0},
		"unavailable, ok": {twiliosim.Fault{Kind: twiliosim.Unavailable, Done: true}, 503, 1},
		"refused":         {twiliosim.Fault{Kind: twiliosim.Refused, Code: 21215}, 400, 0},
		"drop":            {twiliosim.Fault{Kind: twiliosim.Drop}, 0, 0},
		"drop, ok":        {twiliosim.Fault{Kind: twiliosim.Drop, Done: true}, 0, 1},
		"hang":            {twiliosim.Fault{Kind: twiliosim.Hang}, 0, 0},
		"hang, ok":        {twiliosim.Fault{Kind: twiliosim.Hang, Done: true}, 0, 1},
		"half":            {twiliosim.Fault{Kind: twiliosim.HalfAnswer}, 0, 1},
	} {
		check := func(t *testing.T, s *twiliosim.Server, rt http.RoundTripper, base string) {
			tc.fault.Method = http.MethodPost
			s.Fault(tc.fault, 1)
			ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
			defer cancel()
			if _, _, err := ask(ctx, rt, base, "/Balance.json", nil); err != nil {
				t.Errorf("a GET took the POST's fault: %v", err)
			}
			status, _, err := ask(ctx, rt, base, "/Calls.json", callForm())
			if (err != nil) != (tc.status == 0) || err == nil && status != tc.status {
				t.Errorf("HTTP %d, %v; want %d", status, err, tc.status)
			}
			if n := len(s.Calls()); n != tc.calls {
				t.Errorf("%d calls, want %d", n, tc.calls)
			}
			if status, _, err := ask(t.Context(), rt, base, "/Calls.json", callForm()); status != 201 || err != nil {
				t.Errorf("after the fault: HTTP %d, %v", status, err)
			}
		}
		t.Run(name+"/memory", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := start(t, config())
				check(t, s, s.Transport(), "http://sim")
			})
		})
		t.Run(name+"/tcp", func(t *testing.T) {
			s, base := serve(t)
			check(t, s, &http.Transport{DisableKeepAlives: true}, base)
		})
	}
	t.Run("html", func(t *testing.T) {
		s := start(t, config())
		s.Fault(twiliosim.Fault{Kind: twiliosim.BadGateway}, -1)
		for range 3 {
			if status, _, err := askMemory(s, "/Calls.json", callForm()); status != 502 || err == nil {
				t.Errorf("HTTP %d, %v", status, err)
			}
		}
		s.ClearFaults()
		if status, _ := call(s, "/Calls.json", callForm()); status != 201 {
			t.Errorf("cleared: HTTP %d", status)
		}
	})
}

func serve(t *testing.T) (*twiliosim.Server, string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := twiliosim.New(config())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ln) }()
	t.Cleanup(func() {
		s.Close()
		if err := <-ended; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	return s, "http://" + ln.Addr().String()
}

func TestCloseEndsAllAndWaits(t *testing.T) {
	hanging := make(chan struct{}, 1)
	cfg := config()
	cfg.Edge = func(e twiliosim.Exchange) {
		if e.Fault == twiliosim.Hang {
			hanging <- struct{}{}
		}
	}
	s := twiliosim.New(cfg)
	s.Behave(alice, twiliosim.QueuedForever{})
	call(s, "/Calls.json", callForm())
	s.Fault(twiliosim.Fault{Kind: twiliosim.Hang}, 1)
	ended := make(chan error, 1)
	go func() {
		_, _, err := askMemory(s, "/Balance.json", nil)
		ended <- err
	}()
	<-hanging
	s.Close()
	s.Close()
	if err := <-ended; !errors.Is(err, io.EOF) {
		t.Errorf("the hanging request ended with %v", err)
	}
	if _, _, err := askMemory(s, "/Balance.json", nil); !errors.Is(err, io.EOF) {
		t.Errorf("after Close: %v", err)
	}
}

// A call that is cancelled at the very instant of its next step stays cancelled.
func TestCancelAgainstTheNextStep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := start(t, config())
		for range 300 {
			_, v := call(s, "/Calls.json", callForm())
			time.Sleep(100 * time.Millisecond) // when it is dialled
			call(s, fmt.Sprintf("/Calls/%s.json", v["sid"]), url.Values{"Status": {"canceled"}})
		}
		time.Sleep(time.Hour)
		for _, c := range s.Calls() {
			if c.Status != "canceled" || c.Statuses[len(c.Statuses)-1] != "canceled" {
				t.Fatalf("went through %v", c.Statuses)
			}
		}
	})
}

// A callback may use the server, through its API as well.
func TestCallbacksMayUseTheServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s *twiliosim.Server
		cfg := config()
		cfg.OnStatus = func(c twiliosim.Call) {
			if c.Status == "ringing" {
				call(s, "/Calls/"+c.SID+".json", url.Values{"Status": {"canceled"}})
			}
		}
		s = start(t, cfg)
		call(s, "/Calls.json", callForm())
		time.Sleep(time.Minute)
		if got := s.Calls()[0].Status; got != "canceled" {
			t.Errorf("status %s", got)
		}
	})
}

func FuzzTwiML(f *testing.F) {
	f.Add(twiml)
	f.Add("<Response><Say>a<Say>b</Say>c</Say></Response></Response>")
	f.Add("<?xml version='1.0'?><!DOCTYPE x><Response/>")
	s := twiliosim.New(config())
	f.Cleanup(s.Close)
	s.Behave(alice, twiliosim.Busy{})
	f.Fuzz(func(t *testing.T, doc string) {
		form := callForm()
		form.Set("Twiml", doc)
		if status, v := call(s, "/Calls.json", form); status != 201 && status != 400 {
			t.Fatalf("HTTP %d, %v", status, v)
		}
	})
}
