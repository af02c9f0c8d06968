package brain

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"sentinel.home.arpa/shared/calls"
	"sentinel.home.arpa/shared/sim/twiliosim"
	"sentinel.home.arpa/shared/twilio"
)

const (
	account   = "AC00000000000000000000000000000001"
	apiKey    = "SK00000000000000000000000000000002"
	apiSecret = "0123456789abcdef0123456789abcdef"
	caller    = "+14155550199"
	alex      = "+14155550100"
	sam       = "+14155550101"
)

// exchange is a simulated Twilio without a network, and what was asked of it.
type exchange struct {
	*twiliosim.Server
	offline int         // dials that fail before one works
	seen    func(posed) // nil, or who hears of each request

	mu    sync.Mutex
	asked []string
}

func newExchange(t *testing.T, timing twiliosim.Timing) *exchange {
	x := &exchange{}
	x.Server = twiliosim.New(twiliosim.Config{AccountSID: account, KeySID: apiKey, KeySecret: apiSecret, Numbers: []string{caller}, Timing: timing,
		Edge: func(e twiliosim.Exchange) {
			x.mu.Lock()
			defer x.mu.Unlock()
			x.asked = append(x.asked, e.Method+" "+e.Path[strings.LastIndex(e.Path, "/")+1:])
		}})
	return x
}

// RoundTrip implements http.RoundTripper.
func (x *exchange) RoundTrip(r *http.Request) (*http.Response, error) {
	x.mu.Lock()
	off := x.offline > 0
	x.offline--
	x.mu.Unlock()
	at := time.Now()
	res, err := (*http.Response)(nil), error(&net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED})
	if !off {
		res, err = x.Transport().RoundTrip(r)
	}
	if x.seen != nil {
		x.seen(posed{r, at, time.Now(), res, err})
	}
	return res, err
}

// posed is a request as the brain made it, and what it got for it.
type posed struct {
	*http.Request
	at, answered time.Time
	res          *http.Response
	err          error
}

func (x *exchange) count(what string) int {
	x.mu.Lock()
	defer x.mu.Unlock()
	n := 0
	for _, a := range x.asked {
		if a == what {
			n++
		}
	}
	return n
}

const (
	dialled = "POST Calls.json"
	listed  = "GET Calls.json"
)

// desk is a caller with the real adapter, and what it reported.
type desk struct {
	*calls.Caller
	phone *calls.Twilio

	mu     sync.Mutex
	placed map[string]string
	ended  map[string]end
}

type end struct {
	delivered bool
	outcome   string
	after     time.Duration
}

func newDesk(t *testing.T, x *exchange) *desk {
	client, err := twilio.New(twilio.Config{AccountSID: account, APIKeySID: apiKey, APIKeySecret: apiSecret, From: caller, Transport: x})
	if err != nil {
		t.Fatal(err)
	}
	p := calls.NewTwilio(client)
	d := &desk{phone: p, placed: map[string]string{}, ended: map[string]end{}}
	begin := time.Now()
	d.Caller = calls.NewCaller(d.phone, calls.Report{
		Placed: func(id, sid string) {
			d.mu.Lock()
			defer d.mu.Unlock()
			if d.placed[id] != "" {
				t.Errorf("%s was placed twice", id)
			}
			d.placed[id] = sid
		},
		Ended: func(id string, e calls.End) {
			d.mu.Lock()
			defer d.mu.Unlock()
			if _, twice := d.ended[id]; twice {
				t.Errorf("%s ended twice", id)
			}
			d.ended[id] = end{e.Delivered, e.Outcome, time.Since(begin)}
		},
	}, slog.New(slog.DiscardHandler))
	return d
}

func (d *desk) end(id string) end { return d.ends()[id] }

func (d *desk) ends() map[string]end {
	d.mu.Lock()
	defer d.mu.Unlock()
	return maps.Clone(d.ended)
}

func (d *desk) sid(id string) string { return d.sids()[id] }

func (d *desk) sids() map[string]string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return maps.Clone(d.placed)
}

func (x *exchange) all() []string {
	x.mu.Lock()
	defer x.mu.Unlock()
	return slices.Clone(x.asked)
}

// rest lets time pass in a bubble, and everything that is due happen.
func rest(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func order(id string) calls.Order {
	decided := time.Now()
	return calls.Order{ID: id, Number: alex, Speech: calls.Speech{Text: "Hello Alex."}, Age: func() time.Duration { return time.Since(decided) }}
}

// bubble runs a test in one, with a Twilio and a desk that end with it.
func bubble(t *testing.T, timing twiliosim.Timing, test func(ctx context.Context, x *exchange, d *desk)) {
	synctest.Test(t, func(t *testing.T) {
		x := newExchange(t, timing)
		defer x.Close()
		d := newDesk(t, x)
		ctx, cancel := context.WithCancel(t.Context())
		test(ctx, x, d)
		cancel()
		d.Wait()
	})
}

// TestC4_ExactlyOneCall whatever becomes of request and answer.
func TestC4_ExactlyOneCall(t *testing.T) {
	fault := func(kind twiliosim.FaultKind, done bool) twiliosim.Fault {
		return twiliosim.Fault{Kind: kind, Done: done, Method: http.MethodPost}
	}
	for _, tt := range []struct {
		name   string
		faults []twiliosim.Fault
		off    int // dials that fail
		posts  int // requests for a call
		lists  int // looks into the list of calls
		within time.Duration
	}{
		{name: "all is well", posts: 1, within: time.Second},
		{name: "the answer is lost", faults: []twiliosim.Fault{fault(twiliosim.Drop, true)}, posts: 1, lists: 1, within: 3 * time.Second},
		{name: "the answer is cut off", faults: []twiliosim.Fault{fault(twiliosim.HalfAnswer, true)}, posts: 1, lists: 1, within: 3 * time.Second},
		{name: "the answer does not come", faults: []twiliosim.Fault{fault(twiliosim.Hang, true)}, posts: 1, lists: 1, within: 13 * time.Second},
		{name: "503 and done", faults: []twiliosim.Fault{fault(twiliosim.Unavailable, true)}, posts: 1, lists: 1, within: 3 * time.Second},
		{name: "502 and done", faults: []twiliosim.Fault{fault(twiliosim.BadGateway, true)}, posts: 1, lists: 1, within: 3 * time.Second},
		{name: "the request is lost", faults: []twiliosim.Fault{fault(twiliosim.Drop, false)}, posts: 2, lists: 2, within: 6 * time.Second},
		{name: "the request hangs", faults: []twiliosim.Fault{fault(twiliosim.Hang, false)}, posts: 2, lists: 2, within: 16 * time.Second},
		{name: "503", faults: []twiliosim.Fault{fault(twiliosim.Unavailable, false)}, posts: 2, lists: 2, within: 6 * time.Second},
		{name: "502 from a proxy", faults: []twiliosim.Fault{fault(twiliosim.BadGateway, false)}, posts: 2, lists: 2, within: 6 * time.Second},
		{name: "lost, then the answer is lost", faults: []twiliosim.Fault{fault(twiliosim.Drop, false), fault(twiliosim.Drop, true)}, posts: 2, lists: 3, within: 11 * time.Second},
		{name: "429 twice", faults: []twiliosim.Fault{fault(twiliosim.Throttled, false), fault(twiliosim.Throttled, false)}, posts: 3, within: 7 * time.Second},
		{name: "connection refused thrice", off: 3, posts: 1, within: 15 * time.Second},
		{name: "the list fails while it is asked", faults: []twiliosim.Fault{fault(twiliosim.Drop, true), {Kind: twiliosim.Unavailable, Method: http.MethodGet}, {Kind: twiliosim.Drop, Method: http.MethodGet}}, posts: 1, lists: 3, within: 20 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, twiliosim.Timing{}, func(ctx context.Context, x *exchange, d *desk) {
				x.offline = tt.off
				for _, f := range tt.faults {
					x.Fault(f, 1)
				}
				d.Call(ctx, order("a/1"))
				rest(tt.within)
				if n := len(x.Calls()); n != 1 || d.sid("a/1") != x.Calls()[0].SID {
					t.Errorf("Twilio has %d calls %s later, and %q was reported", n, tt.within, d.sid("a/1"))
				}
				if p, l := x.count(dialled), x.count(listed); p != tt.posts || l != tt.lists {
					t.Errorf("%d requests for a call and %d looks into the list, not %d and %d: %q", p, l, tt.posts, tt.lists, x.all())
				}
				rest(time.Minute)
				if e := d.end("a/1"); !e.delivered || len(x.Calls()) != 1 {
					t.Errorf("a minute later: %+v, %d calls", e, len(x.Calls()))
				}
			})
		})
	}
}

// TestC4_AfterARestart: what an earlier process may have placed is asked for first.
func TestC4_AfterARestart(t *testing.T) {
	t.Run("it had not", func(t *testing.T) {
		bubble(t, twiliosim.Timing{}, func(ctx context.Context, x *exchange, d *desk) {
			o := order("a/1")
			o.Doubtful = true
			d.Call(ctx, o)
			rest(2900 * time.Millisecond)
			if len(x.Calls()) > 0 {
				t.Error("dialled before the list had 3 s to show the first")
			}
			rest(600 * time.Millisecond)
			if !slices.Equal(x.all()[:3], []string{listed, listed, dialled}) || len(x.Calls()) != 1 {
				t.Errorf("asked %q", x.all())
			}
		})
	})
	t.Run("it had, and the list shows it late", func(t *testing.T) {
		bubble(t, twiliosim.Timing{ListLag: 2 * time.Second}, func(ctx context.Context, x *exchange, d *desk) {
			o := order("a/1")
			if _, err := d.phone.Place(ctx, o.Number, o.Speech); err != nil {
				t.Fatal(err)
			}
			o.Doubtful = true
			d.Call(ctx, o)
			rest(time.Minute)
			if len(x.Calls()) != 1 || d.sid("a/1") != x.Calls()[0].SID || !d.end("a/1").delivered {
				t.Errorf("%d calls, placed %q, %+v", len(x.Calls()), d.sid("a/1"), d.end("a/1"))
			}
		})
	})
	t.Run("it had, and had noted so", func(t *testing.T) {
		bubble(t, twiliosim.Timing{}, func(ctx context.Context, x *exchange, d *desk) {
			o := order("a/1")
			s, err := d.phone.Place(ctx, o.Number, o.Speech)
			if err != nil {
				t.Fatal(err)
			}
			o.SID, o.Doubtful = s.SID, true
			d.Call(ctx, o)
			rest(time.Minute)
			if len(x.Calls()) != 1 || x.count(listed) > 0 || len(d.sids()) > 0 || !d.end("a/1").delivered {
				t.Errorf("%d calls, %+v", len(x.Calls()), d.end("a/1"))
			}
		})
	})
	t.Run("another order's call is not taken for it", func(t *testing.T) {
		bubble(t, twiliosim.Timing{}, func(ctx context.Context, x *exchange, d *desk) {
			s, err := d.phone.Place(ctx, alex, calls.Speech{Text: "About something else."})
			if err != nil {
				t.Fatal(err)
			}
			d.Known(s.SID)
			o := order("a/1")
			o.Doubtful = true
			d.Call(ctx, o)
			rest(10 * time.Second)
			if len(x.Calls()) != 2 || d.sid("a/1") == s.SID {
				t.Errorf("%d calls, placed %q", len(x.Calls()), d.sid("a/1"))
			}
		})
	})
	t.Run("nor is one of long before", func(t *testing.T) {
		bubble(t, twiliosim.Timing{}, func(ctx context.Context, x *exchange, d *desk) {
			if _, err := d.phone.Place(ctx, alex, calls.Speech{Text: "Long ago."}); err != nil {
				t.Fatal(err)
			}
			rest(2 * time.Minute)
			o := order("a/1")
			o.Doubtful = true
			d.Call(ctx, o)
			rest(10 * time.Second)
			if len(x.Calls()) != 2 {
				t.Errorf("%d calls", len(x.Calls()))
			}
		})
	})
	t.Run("the list stays out of reach", func(t *testing.T) {
		bubble(t, twiliosim.Timing{}, func(ctx context.Context, x *exchange, d *desk) {
			x.Fault(twiliosim.Fault{Kind: twiliosim.Refused, Code: 20003, Method: http.MethodGet}, -1)
			o := order("a/1")
			o.Doubtful = true
			d.Call(ctx, o)
			rest(55 * time.Second)
			if len(x.Calls()) > 0 {
				t.Error("dialled although an earlier call may ring")
			}
			rest(40 * time.Second)
			if len(x.Calls()) != 1 {
				t.Errorf("%d calls: rather twice than never", len(x.Calls()))
			}
		})
	})
}

// TestC2_WhoTookIt: a person counts, a mailbox does not.
func TestC2_WhoTookIt(t *testing.T) {
	for _, tt := range []struct {
		name      string
		behaviour twiliosim.Behaviour
		delivered bool
		outcome   string
		within    time.Duration
	}{
		{"a person, at once", twiliosim.Answer{After: 3 * time.Second, TalkFor: time.Minute}, true, "in-progress, taken by human", 6 * time.Second},
		{"a mailbox", twiliosim.Answer{By: "machine_start", TalkFor: 30 * time.Second}, false, "completed, taken by machine_start", 40 * time.Second},
		{"a fax", twiliosim.Answer{By: "fax", TalkFor: 20 * time.Second}, false, "completed, taken by fax", 40 * time.Second},
		{"somebody for 14 s", twiliosim.Answer{By: "unknown", TalkFor: 14 * time.Second}, false, "completed, taken by unknown", 30 * time.Second},
		{"somebody for 15 s", twiliosim.Answer{By: "unknown", TalkFor: 15 * time.Second}, true, "completed, taken by unknown", 30 * time.Second},
		{"nobody", twiliosim.NoAnswer{}, false, "no-answer", 30 * time.Second},
		{"busy", twiliosim.Busy{}, false, "busy", 5 * time.Second},
		{"failed", twiliosim.Fail{}, false, "failed", 5 * time.Second},
		{"a wrong number", twiliosim.Refuse{Code: 21211}, false, "Twilio answers ", time.Second},
		{"no funds", twiliosim.Refuse{Code: 10001}, false, "Twilio answers ", time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, twiliosim.Timing{}, func(ctx context.Context, x *exchange, d *desk) {
				x.Behave(alex, tt.behaviour)
				d.Call(ctx, order("a/1"))
				rest(3 * time.Minute)
				e := d.end("a/1")
				if e.delivered != tt.delivered || !strings.HasPrefix(e.outcome, tt.outcome) || e.after > tt.within {
					t.Errorf("ended %+v, not %q within %s", e, tt.outcome, tt.within)
				}
				if strings.Contains(e.outcome, apiSecret) {
					t.Errorf("the outcome tells the secret: %s", e.outcome)
				}
			})
		})
	}
}

// TestC2_Unclear: while a mailbox or nobody knows who listens, nothing is delivered.
func TestC2_Unclear(t *testing.T) {
	bubble(t, twiliosim.Timing{}, func(ctx context.Context, x *exchange, d *desk) {
		x.Behave(alex, twiliosim.Answer{By: "unknown", TalkFor: 40 * time.Second})
		d.Call(ctx, order("a/1"))
		rest(30 * time.Second)
		if len(d.ends()) > 0 {
			t.Errorf("ended %+v while it goes on", d.ends())
		}
	})
}

// TestC2_RingsFor25Seconds and is at most two minutes long.
func TestC2_RingsFor25Seconds(t *testing.T) {
	bubble(t, twiliosim.Timing{}, func(ctx context.Context, x *exchange, d *desk) {
		x.Behave(alex, twiliosim.NoAnswer{}, twiliosim.Answer{By: "machine_start", TalkFor: time.Hour})
		d.Call(ctx, order("a/1"))
		rest(time.Minute)
		d.Call(ctx, order("a/2"))
		rest(3 * time.Minute)
		c := x.Calls()
		if ring := c[0].Ended.Sub(*c[0].Dialled); ring < 25*time.Second || ring > 26*time.Second {
			t.Errorf("it rang for %s", ring)
		}
		if c[1].Duration != 2*time.Minute {
			t.Errorf("it talked to the mailbox for %s", c[1].Duration)
		}
		if want := "Hello Alex.\nHello Alex."; c[0].Text != want {
			t.Errorf("said %q", c[0].Text)
		}
	})
}

// TestC9_TakenBack: what waits is not placed, what rings is cancelled, who listens may
// listen to the end.
func TestC9_TakenBack(t *testing.T) {
	t.Run("while it waits for the line", func(t *testing.T) {
		bubble(t, twiliosim.Timing{}, func(ctx context.Context, x *exchange, d *desk) {
			x.Behave(alex, twiliosim.NoAnswer{})
			d.Call(ctx, order("a/1"))
			synctest.Wait()
			d.Call(ctx, order("b/1"))
			rest(5 * time.Second)
			d.Drop("b/1")
			synctest.Wait()
			if e := d.end("b/1"); e.delivered || e.outcome != "taken back before it was placed" {
				t.Errorf("ended %+v", e)
			}
			rest(time.Minute)
			if len(x.Calls()) != 1 {
				t.Errorf("%d calls", len(x.Calls()))
			}
		})
	})
	t.Run("while Twilio is out of reach", func(t *testing.T) {
		bubble(t, twiliosim.Timing{}, func(ctx context.Context, x *exchange, d *desk) {
			x.offline = 3
			d.Call(ctx, order("a/1"))
			rest(time.Second)
			d.Drop("a/1")
			rest(time.Minute)
			if e := d.end("a/1"); len(x.Calls()) > 0 || e.outcome != "taken back before it was placed" {
				t.Errorf("%d calls, ended %+v", len(x.Calls()), e)
			}
		})
	})
	t.Run("while nobody knows whether it was placed", func(t *testing.T) {
		bubble(t, twiliosim.Timing{}, func(ctx context.Context, x *exchange, d *desk) {
			x.Behave(alex, twiliosim.NoAnswer{})
			x.Fault(twiliosim.Fault{Kind: twiliosim.Drop, Done: true, Method: http.MethodPost}, 1)
			d.Call(ctx, order("a/1"))
			rest(time.Second)
			d.Drop("a/1")
			rest(10 * time.Second)
			if c := x.Calls(); len(c) != 1 || c[0].Status != "canceled" {
				t.Errorf("calls %+v", c)
			}
		})
	})
	t.Run("while it rings", func(t *testing.T) {
		bubble(t, twiliosim.Timing{}, func(ctx context.Context, x *exchange, d *desk) {
			x.Behave(alex, twiliosim.NoAnswer{})
			d.Call(ctx, order("a/1"))
			rest(5 * time.Second)
			d.Drop("a/1")
			rest(3 * time.Second)
			if c := x.Calls()[0]; c.Status != "canceled" || d.end("a/1").outcome != "canceled" {
				t.Errorf("it is %s, ended %+v", c.Status, d.end("a/1"))
			}
		})
	})
	t.Run("while somebody listens", func(t *testing.T) {
		bubble(t, twiliosim.Timing{}, func(ctx context.Context, x *exchange, d *desk) {
			x.Behave(alex, twiliosim.Answer{By: "unknown", After: time.Second, TalkFor: 20 * time.Second})
			d.Call(ctx, order("a/1"))
			rest(10 * time.Second)
			d.Drop("a/1")
			rest(time.Minute)
			if c := x.Calls()[0]; c.Status != "completed" || !d.end("a/1").delivered {
				t.Errorf("it is %s, ended %+v", c.Status, d.end("a/1"))
			}
		})
	})
	t.Run("twice, or when it is over", func(t *testing.T) {
		bubble(t, twiliosim.Timing{}, func(ctx context.Context, x *exchange, d *desk) {
			d.Call(ctx, order("a/1"))
			d.Drop("a/1")
			d.Drop("a/1")
			rest(time.Minute)
			d.Drop("a/1")
			d.Drop("nobody knows it")
		})
	})
}

// TestC2_QueuedForEver: what waits at Twilio for a minute would ring stale.
func TestC2_QueuedForEver(t *testing.T) {
	bubble(t, twiliosim.Timing{}, func(ctx context.Context, x *exchange, d *desk) {
		x.Behave(alex, twiliosim.QueuedForever{})
		d.Call(ctx, order("a/1"))
		rest(59 * time.Second)
		if c := x.Calls()[0]; c.Status != "queued" {
			t.Errorf("it is %s", c.Status)
		}
		rest(5 * time.Second)
		if c := x.Calls()[0]; c.Status != "canceled" || d.end("a/1").outcome != "canceled" {
			t.Errorf("it is %s, ended %+v", c.Status, d.end("a/1"))
		}
	})
}

// TestC4_OneCallAtATimeToANumber; other numbers do not wait.
func TestC4_OneCallAtATimeToANumber(t *testing.T) {
	bubble(t, twiliosim.Timing{}, func(ctx context.Context, x *exchange, d *desk) {
		x.Behave(alex, twiliosim.NoAnswer{})
		for i := range 3 {
			d.Call(ctx, order(fmt.Sprintf("a/%d", i)))
		}
		other := order("b/1")
		other.Number = sam
		d.Call(ctx, other)
		rest(5 * time.Second)
		if len(x.Calls()) != 2 {
			t.Errorf("%d calls under way, not one to each", len(x.Calls()))
		}
		rest(2 * time.Minute)
		var free time.Time
		for _, c := range x.Calls() {
			if c.To != alex {
				continue
			}
			if c.Created.Before(free) {
				t.Errorf("a call at %s, while the one before ended at %s", c.Created, free)
			}
			free = *c.Ended
		}
		if len(x.Calls()) != 4 || len(d.ends()) != 4 {
			t.Errorf("%d calls, %d ended", len(x.Calls()), len(d.ends()))
		}
	})
}

// TestC4_AnUrgentCallIsNotHeldUp by what rings at its number, which is taken back, nor by what waits for
// it, which goes on waiting.
func TestC4_AnUrgentCallIsNotHeldUp(t *testing.T) {
	bubble(t, twiliosim.Timing{}, func(ctx context.Context, x *exchange, d *desk) {
		x.Behave(alex, twiliosim.NoAnswer{}, twiliosim.Answer{})
		begun := time.Now()
		for _, id := range []string{"rings", "waits", "urgent", "urgent too"} {
			o := order(id)
			o.Urgent = strings.HasPrefix(id, "urgent")
			d.Call(ctx, o)
			rest(time.Second)
		}
		rest(time.Minute)
		got := x.Calls()
		if len(got) != 4 || got[0].Status != "canceled" {
			t.Fatalf("%+v", got)
		}
		if late := got[1].Created.Sub(begun) - 2*time.Second; late > 3*time.Second {
			t.Errorf("the urgent one was placed %s late", late)
		}
		placed := d.sids()
		for i, id := range []string{"rings", "urgent", "urgent too", "waits"} {
			if placed[id] != got[i].SID {
				t.Errorf("call %d is not %s: placed %v", i, id, placed)
			}
		}
	})
}

// TestC7_LostSight: a call whose end cannot be seen does not hold up the next for ever.
func TestC7_LostSight(t *testing.T) {
	bubble(t, twiliosim.Timing{}, func(ctx context.Context, x *exchange, d *desk) {
		o := order("a/1")
		o.SID = "CA" + strings.Repeat("0", 32) // of another account, say
		d.Call(ctx, o)
		synctest.Wait()
		d.Call(ctx, order("a/2"))
		rest(8 * time.Minute)
		if e := d.end("a/1"); e.delivered || e.outcome != "nothing was heard of its end" {
			t.Errorf("ended %+v", e)
		}
		if !d.end("a/2").delivered {
			t.Error("the next call was never placed")
		}
	})
}

// TestC4_StoppingReportsNothing: what is under way is the next process's to find out.
func TestC4_StoppingReportsNothing(t *testing.T) {
	bubble(t, twiliosim.Timing{}, func(ctx context.Context, x *exchange, d *desk) {
		ctx, cancel := context.WithCancel(ctx)
		x.Behave(alex, twiliosim.NoAnswer{})
		d.Call(ctx, order("a/1"))
		rest(5 * time.Second)
		d.Call(ctx, order("a/2"))
		x.Fault(twiliosim.Fault{Kind: twiliosim.Hang, Method: http.MethodPost}, 1)
		other := order("b/1")
		other.Number = sam
		d.Call(ctx, other)
		rest(time.Second)
		cancel()
		d.Wait()
		if len(d.ends()) > 0 {
			t.Errorf("ended %+v", d.ends())
		}
	})
}
