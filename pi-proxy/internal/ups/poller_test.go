package ups

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sentinel.home.arpa/shared/power"
)

// script is an apcupsd in memory: it answers with what it was last given.
type script struct {
	begins time.Time

	mu         sync.Mutex
	raw        []byte        // nil refuses the connection
	delay      time.Duration // from the question to the answer
	polls      []time.Duration
	busy, most int
}

// say sets the answers to come.
func (s *script) say(raw []byte, delay time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.raw, s.delay = raw, delay
}

func (s *script) dial(context.Context, string, string) (net.Conn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.polls = append(s.polls, time.Since(s.begins))
	if s.raw == nil {
		return nil, errors.New("connection refused")
	}
	s.busy++
	s.most = max(s.most, s.busy)
	near, far := net.Pipe()
	go answerAfter(far, s.raw, s.delay)
	return &counted{Conn: near, script: s}, nil
}

func answerAfter(far net.Conn, raw []byte, delay time.Duration) {
	defer far.Close()
	if _, err := io.ReadFull(far, make([]byte, len(frame("status")))); err != nil {
		return
	}
	_ = far.SetReadDeadline(time.Now().Add(delay))
	if _, err := far.Read(make([]byte, 1)); errors.Is(err, os.ErrDeadlineExceeded) {
		_, _ = far.Write(raw) // else the client went away first
	}
}

// counted is the client's end of a connection.
type counted struct {
	net.Conn
	once   sync.Once
	script *script
}

func (c *counted) Close() error {
	c.once.Do(func() {
		c.script.mu.Lock()
		defer c.script.mu.Unlock()
		c.script.busy--
	})
	return c.Conn.Close()
}

// polled runs a poller on a script in a bubble.
func polled(t *testing.T, raw []byte, drive func(p *Poller, s *script, seen *[]Observation)) {
	t.Helper()
	polledWithin(t, 0, raw, drive)
}

// polledWithin is polled with another timeout than the usual.
func polledWithin(t *testing.T, timeout time.Duration, raw []byte, drive func(p *Poller, s *script, seen *[]Observation)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := &script{raw: raw, begins: time.Now()}
		var seen []Observation
		p := NewPoller(&Client{Addr: "ups", Dial: s.dial, Timeout: timeout}, 0, func(o Observation) { seen = append(seen, o) })
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- p.Run(ctx) }()
		synctest.Wait()
		drive(p, s, &seen)
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
		synctest.Wait()
		if s.most > 1 {
			t.Errorf("%d polls at once", s.most)
		}
	})
}

func TestU1_PollsEachSecond(t *testing.T) {
	polled(t, recorded(t, "online"), func(_ *Poller, s *script, seen *[]Observation) {
		time.Sleep(10500 * time.Millisecond)
		synctest.Wait()
		if len(*seen) != 11 {
			t.Fatalf("%d observations in 10.5 s", len(*seen))
		}
		for i, o := range *seen {
			if s.polls[i] != time.Duration(i)*time.Second {
				t.Errorf("poll %d at %v", i, s.polls[i])
			}
			if o.Err != nil || o.Reading.Supply != power.Mains || o.Changed != (i == 0) {
				t.Errorf("observation %d: %+v", i, o)
			}
		}
	})
}

func TestU1_PokePollsAtOnce(t *testing.T) {
	polled(t, recorded(t, "online"), func(p *Poller, s *script, seen *[]Observation) {
		time.Sleep(300 * time.Millisecond)
		s.say(recorded(t, "onbatt"), 0)
		p.Poke()
		synctest.Wait()
		if len(*seen) != 2 || s.polls[1] != 300*time.Millisecond {
			t.Fatalf("polls at %v", s.polls)
		}
		if o := (*seen)[1]; !o.Changed || o.Reading.Supply != power.Battery {
			t.Errorf("observation: %+v", o)
		}
	})
}

// A poll that is under way may have been answered before the change.
func TestU1_PokeDuringAPollCausesOneMore(t *testing.T) {
	polled(t, recorded(t, "online"), func(p *Poller, s *script, seen *[]Observation) {
		s.say(recorded(t, "online"), 200*time.Millisecond)
		time.Sleep(1100 * time.Millisecond) // in the middle of the poll of second 1
		s.say(recorded(t, "onbatt"), 200*time.Millisecond)
		for range 5 {
			p.Poke()
		}
		time.Sleep(350 * time.Millisecond)
		synctest.Wait()
		if len(s.polls) != 3 || s.polls[2] != 1200*time.Millisecond {
			t.Fatalf("polls at %v", s.polls)
		}
		if got := []power.Supply{(*seen)[1].Reading.Supply, (*seen)[2].Reading.Supply}; got[0] != power.Mains || got[1] != power.Battery {
			t.Errorf("supplies %v", got)
		}
	})
}

func TestU5_SilenceIsTimed(t *testing.T) {
	polled(t, recorded(t, "onbatt"), func(_ *Poller, s *script, seen *[]Observation) {
		time.Sleep(2500 * time.Millisecond)
		s.say(nil, 0)
		time.Sleep(30 * time.Second) // to 32.5 s
		synctest.Wait()
		first, last := (*seen)[3], (*seen)[len(*seen)-1]
		if first.Err == nil || !first.Changed || last.Err == nil || last.Changed {
			t.Errorf("first %+v, last %+v", first, last)
		}
		r := last.Reading
		if r.Supply != power.Battery || r.For != 32 || r.LostFor == nil || *r.LostFor != 29 || r.Charge == nil || *r.Charge != 0.71 {
			t.Errorf("reading: %+v", r)
		}
		s.say(recorded(t, "starting_unread_onbatt"), 0) // says ONLINE, charge 0
		time.Sleep(time.Second)
		s.say(recorded(t, "onbatt"), 0)
		time.Sleep(time.Second)
		synctest.Wait()
		unread, back := (*seen)[33].Reading, (*seen)[34].Reading
		if unread.Supply != power.Battery || unread.LostFor == nil || *unread.Charge != 0.71 {
			t.Errorf("a starting apcupsd ended the outage: %+v", unread)
		}
		if back.Supply != power.Battery || back.LostFor != nil || back.For != 34 {
			t.Errorf("back: %+v", back)
		}
	})
}

// TestS5_AnAnswerThatNeverCameWasAwaited: its silence counts from the question on, so that what was heard
// before is acted upon no longer for it.
func TestS5_AnAnswerThatNeverCameWasAwaited(t *testing.T) {
	polledWithin(t, 4*time.Second, recorded(t, "onbatt"), func(_ *Poller, s *script, seen *[]Observation) {
		s.say(recorded(t, "onbatt"), time.Hour)
		time.Sleep(5500 * time.Millisecond)
		synctest.Wait()
		if r := (*seen)[1].Reading; len(*seen) != 2 || r.For != 5 || r.LostFor == nil || *r.LostFor != 4 {
			t.Errorf("reading: %+v", r)
		}
	})
}

// TestS5_ASlowApcupsdIsHeardInTime: one on a serial line, that answers within 0.7 to 2 s, is never too old to be
// acted upon; nor is one that answers within a second and is asked each 2 s.
func TestS5_ASlowApcupsdIsHeardInTime(t *testing.T) {
	for each, slow := range map[time.Duration]time.Duration{time.Second: 2 * time.Second, 2 * time.Second: time.Second} {
		synctest.Test(t, func(t *testing.T) {
			s := &script{raw: recorded(t, "onbatt"), begins: time.Now()}
			last := time.Now()
			p := NewPoller(&Client{Addr: "ups", Dial: s.dial, Timeout: 4 * time.Second}, each, func(o Observation) {
				if gap := o.At.Sub(last); gap > power.Fresh || o.Err != nil {
					t.Errorf("asked each %v: %v between two answers, %v", each, gap, o.Err)
				}
				last = o.At
			})
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error)
			go func() { done <- p.Run(ctx) }()
			for i := range 60 {
				s.say(recorded(t, "onbatt"), []time.Duration{700 * time.Millisecond, slow, slow, 10 * time.Millisecond}[i%4])
				time.Sleep(700 * time.Millisecond)
			}
			cancel()
			<-done
		})
	}
}

// A hung apcupsd costs the client's timeout for each poll, never more.
func TestHungPollsDoNotPileUp(t *testing.T) {
	polled(t, recorded(t, "online"), func(_ *Poller, s *script, seen *[]Observation) {
		s.say(recorded(t, "online"), time.Hour)
		time.Sleep(20500 * time.Millisecond)
		synctest.Wait()
		if n := len(s.polls); n < 9 || n > 12 {
			t.Errorf("%d polls in 20 s of 2 s each: %v", n, s.polls)
		}
		if o := (*seen)[len(*seen)-1]; !errors.Is(o.Err, context.DeadlineExceeded) {
			t.Errorf("observation: %+v", o)
		}
	})
}

func TestChangedIsWhatMatters(t *testing.T) {
	cases := []struct {
		from, to string
		want     bool
	}{
		{"online", "boost_online", false},
		{"online", "online_after_outage", false},
		{"online", "online_overload", true},
		{"online", "online_nobatt", true},
		{"online", "online_replacebatt", true},
		{"onbatt", "onbatt_lowbatt", true},
		{"onbatt", "shutting_down", true},
		{"onbatt", "commlost_onbatt", true},
		{"onbatt", "onbatt_after_commlost", false},
	}
	for _, c := range cases {
		t.Run(c.from+" to "+c.to, func(t *testing.T) {
			polled(t, recorded(t, c.from), func(_ *Poller, s *script, seen *[]Observation) {
				s.say(recorded(t, c.to), 0)
				time.Sleep(time.Second)
				synctest.Wait()
				if got := (*seen)[1].Changed; got != c.want {
					t.Errorf("changed %v: %+v", got, (*seen)[1])
				}
			})
		})
	}
}
