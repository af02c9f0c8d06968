package outbox

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"sentinel.home.arpa/shared/channel"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// refusal is what a sender answers.
type refusal struct{ is error }

func (r refusal) Error() string        { return "ntfy at ntfy.example.org said no" }
func (r refusal) Is(target error) bool { return target == r.is }

// sender is a channel that does what it is told.
type sender struct {
	mu    sync.Mutex
	err   error
	hangs bool
	tries []time.Time
	sent  []channel.Message
}

func (s *sender) About() string { return "ntfy at ntfy.example.org" }

func (s *sender) Send(ctx context.Context, m channel.Message) error {
	s.mu.Lock()
	s.tries = append(s.tries, time.Now())
	err, hangs := s.err, s.hangs
	if err == nil && !hangs {
		s.sent = append(s.sent, m)
	}
	s.mu.Unlock()
	if hangs {
		<-ctx.Done()
		return refusal{channel.ErrTemporary}
	}
	return err
}

func (s *sender) set(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
}

func (s *sender) ids() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var ids []string
	for _, m := range s.sent {
		ids = append(ids, m.ID)
	}
	return ids
}

func (s *sender) tried() []time.Time {
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.tries)
}

// world is an outbox, with what it reports.
type world struct {
	*Outbox
	ctx  context.Context
	stop context.CancelFunc
	mu   sync.Mutex
	said []string
}

func newWorld(t *testing.T, senders map[Key]channel.Sender) *world {
	w := &world{}
	w.ctx, w.stop = context.WithCancel(t.Context())
	say := func(format string, args ...any) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.said = append(w.said, fmt.Sprintf(format, args...))
	}
	w.Outbox = New(Report{
		Failing: func(o Order, why string) { say("%s fails: %s", o.Message.ID, why) },
		Ended: func(o Order, delivered bool, outcome string) {
			say("%s ended %t: %s", o.Message.ID, delivered, outcome)
		},
	}, slog.New(slog.DiscardHandler))
	w.Use(senders)
	t.Cleanup(func() {
		w.stop()
		w.Wait()
	})
	return w
}

func (w *world) heard() []string {
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.said)
}

// order is one that was decided some time ago.
func order(to Key, id string, ago time.Duration) Order {
	at := time.Now().Add(-ago)
	return Order{To: to, Message: channel.Message{ID: id, Subject: "Power outage at home", Text: "the power is out"}, Age: func() time.Duration { return time.Since(at) }, From: "19:02"}
}

var (
	ntfy = Key{"Alex", "ntfy"}
	mail = Key{"Alex", "email"}
)

// TestC5_InOrderAndAtOnce: each channel's notices come in order, and none waits for another channel that hangs.
func TestC5_InOrderAndAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		good, bad := &sender{}, &sender{hangs: true}
		w := newWorld(t, map[Key]channel.Sender{ntfy: good, mail: bad})
		for i := range 5 {
			w.Send(w.ctx, order(mail, fmt.Sprintf("m%d", i), 0))
			w.Send(w.ctx, order(ntfy, fmt.Sprintf("n%d", i), 0))
		}
		synctest.Wait()
		if got := good.ids(); !slices.Equal(got, []string{"n0", "n1", "n2", "n3", "n4"}) {
			t.Errorf("%v", got)
		}
		if len(bad.tried()) != 1 {
			t.Errorf("%d at once to the one that hangs", len(bad.tried()))
		}
		if text := good.sent[0].Text; text != "the power is out" {
			t.Errorf("%q", text)
		}
	})
}

// TestC7_TriedAgain after 10 s, then less and less often, and what waited says so; the first failure is told at once.
func TestC7_TriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &sender{err: refusal{channel.ErrTemporary}}
		w := newWorld(t, map[Key]channel.Sender{ntfy: s})
		begin := time.Now()
		w.Send(w.ctx, order(ntfy, "n1", 0))
		w.Send(w.ctx, order(ntfy, "n2", 0))
		if got := w.heard(); !slices.Equal(got, []string{"n1 fails: ntfy at ntfy.example.org said no"}) {
			t.Fatalf("%v", got)
		}
		time.Sleep(2 * time.Hour)
		var gaps []time.Duration
		tries := s.tried()
		for i := range 9 {
			gaps = append(gaps, tries[i+1].Sub(tries[i]))
		}
		second, minute := time.Second, time.Minute
		if want := []time.Duration{10 * second, 20 * second, 40 * second, 80 * second, 160 * second, 320 * second, 10 * minute, 10 * minute, 10 * minute}; !slices.Equal(gaps, want) {
			t.Errorf("%v", gaps)
		}
		s.set(nil)
		time.Sleep(10 * time.Minute)
		want := []string{"n1 fails: ntfy at ntfy.example.org said no", "n1 ended true: delivered", "n2 ended true: delivered"}
		if got := w.heard(); !slices.Equal(got, want) {
			t.Errorf("%v", got)
		}
		synctest.Wait()
		if got := s.ids(); !slices.Equal(got, []string{"n1", "n2"}) || s.sent[0].Text != "the power is out\n(from 19:02, delivered late)" {
			t.Errorf("%+v after %v", s.sent, time.Since(begin))
		}
		s.set(refusal{channel.ErrTemporary}) // and the next spell begins anew
		last := len(s.tried())
		w.Send(w.ctx, order(ntfy, "n3", 0))
		time.Sleep(11 * time.Second)
		if n := len(s.tried()) - last; n != 2 {
			t.Errorf("%d tries in the first 11 s", n)
		}
	})
}

// TestC5_NewsHasWhatWaitsTriedAtOnce: a channel that failed for long may well be there again, and an outage does not wait
// for its next try. Where it is not, each 10 s are the most.
func TestC5_NewsHasWhatWaitsTriedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &sender{err: refusal{channel.ErrTemporary}}
		w := newWorld(t, map[Key]channel.Sender{ntfy: s})
		w.Send(w.ctx, order(ntfy, "n1", 0))
		time.Sleep(40 * time.Minute)
		before := len(s.tried())
		for i := range 60 {
			w.Send(w.ctx, order(ntfy, fmt.Sprintf("n2.%d", i), 0))
			time.Sleep(time.Second)
		}
		if n := len(s.tried()) - before; n < 2 || n > 7 {
			t.Errorf("%d tries in a minute", n)
		}
		time.Sleep(time.Minute)
		s.set(nil)
		w.Send(w.ctx, order(ntfy, "n3", 0))
		synctest.Wait()
		if got := s.ids(); len(got) != 62 || got[61] != "n3" {
			t.Errorf("%d were delivered", len(got))
		}
	})
}

// TestC7_GivenUp after 6 h, or at once where it is vain; the next is tried all the same.
func TestC7_GivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &sender{err: refusal{channel.ErrTemporary}}
		w := newWorld(t, map[Key]channel.Sender{ntfy: s})
		begin := time.Now()
		w.Send(w.ctx, order(ntfy, "n1", 0))
		time.Sleep(giveUpAfter - time.Second)
		if got := w.heard(); len(got) != 1 {
			t.Fatalf("%v", got)
		}
		time.Sleep(time.Second)
		if got := w.heard(); len(got) != 2 || got[1] != "n1 ended false: given up after 6 h: ntfy at ntfy.example.org said no" || s.tried()[len(s.tried())-1].Sub(begin) != giveUpAfter {
			t.Errorf("%v", got)
		}
		s.set(refusal{channel.ErrPermanent})
		tries := len(s.tried())
		w.Send(w.ctx, order(ntfy, "n2", 0))
		w.Send(w.ctx, order(ntfy, "n3", 0))
		if got := w.heard(); len(got) != 4 || got[3] != "n3 ended false: ntfy at ntfy.example.org said no" || len(s.tried()) != tries+2 {
			t.Errorf("%v, %d tries", got, len(s.tried())-tries)
		}
		s.set(errors.New("some other")) // which no sender gives: not for ever
		w.Send(w.ctx, order(ntfy, "n4", 0))
		if got := w.heard(); got[len(got)-1] != "n4 ended false: some other" {
			t.Errorf("%v", got)
		}
	})
}

// TestC7_AfterARestart what waited is sent again, with its age: too old is tried once more and then given up.
func TestC7_AfterARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &sender{}
		w := newWorld(t, map[Key]channel.Sender{ntfy: s})
		w.Send(w.ctx, order(ntfy, "n1", time.Minute))
		w.Send(w.ctx, order(ntfy, "n2", lateAfter))
		synctest.Wait()
		if len(s.sent) != 2 || s.sent[0].Text != "the power is out" || !strings.HasSuffix(s.sent[1].Text, "(from 19:02, delivered late)") {
			t.Errorf("%+v", s.sent)
		}
		s.set(refusal{channel.ErrTemporary})
		w.Send(w.ctx, order(ntfy, "n3", 7*time.Hour))
		if got := w.heard(); got[len(got)-1] != "n3 ended false: given up after 6 h: ntfy at ntfy.example.org said no" {
			t.Errorf("%v", got)
		}
	})
}

// TestC7_AChannelThatIsMended by a reload is tried at once, and one that is gone ends what waits for it.
func TestC7_AChannelThatIsMended(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bad, good := &sender{err: refusal{channel.ErrTemporary}}, &sender{}
		w := newWorld(t, map[Key]channel.Sender{ntfy: bad, mail: bad})
		w.Send(w.ctx, order(ntfy, "n1", 0))
		w.Send(w.ctx, order(mail, "m1", 0))
		time.Sleep(time.Hour)
		w.Use(map[Key]channel.Sender{ntfy: good})
		w.heard()
		if got := good.ids(); !slices.Equal(got, []string{"n1"}) {
			t.Errorf("%v", got)
		}
		if got := w.heard(); !slices.Contains(got, "m1 ended false: this channel is no longer configured") {
			t.Errorf("%v", got)
		}
	})
}

// TestC7_TooManyWait: memory is bounded, the newest are kept, and the one under way.
func TestC7_TooManyWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &sender{err: refusal{channel.ErrTemporary}}
		w := newWorld(t, map[Key]channel.Sender{ntfy: s})
		for i := range waitMost + 2 {
			w.Send(w.ctx, order(ntfy, fmt.Sprintf("n%d", i), 0))
		}
		got := w.heard()
		slices.Sort(got)
		if want := []string{"n0 fails: ntfy at ntfy.example.org said no", "n1 ended false: too many notices wait for this channel", "n2 ended false: too many notices wait for this channel"}; !slices.Equal(got, want) {
			t.Errorf("%v", got)
		}
		s.set(nil)
		time.Sleep(time.Minute)
		synctest.Wait()
		if got := s.ids(); len(got) != waitMost || got[0] != "n0" || got[1] != "n3" {
			t.Errorf("%d: %v", len(got), got[:2])
		}
	})
}

// TestC7_AStopEndsNothing: what is on its way when the brain stops is not over.
func TestC7_AStopEndsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, map[Key]channel.Sender{ntfy: &sender{hangs: true}, mail: &sender{err: refusal{channel.ErrTemporary}}})
		w.Send(w.ctx, order(ntfy, "n1", 0))
		w.Send(w.ctx, order(mail, "m1", 0))
		time.Sleep(time.Second)
		w.stop()
		w.Wait()
		if got := w.heard(); !slices.Equal(got, []string{"m1 fails: ntfy at ntfy.example.org said no"}) {
			t.Errorf("%v", got)
		}
	})
}
