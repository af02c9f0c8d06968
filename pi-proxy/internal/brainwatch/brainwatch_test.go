package brainwatch_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"sentinel.home.arpa/pi-proxy/internal/brainwatch"
)

var start = time.Date(2031, 5, 6, 7, 0, 0, 0, time.UTC)

// pi is a Pi that watches its brain, second by second.
type pi struct {
	t      *testing.T
	w      *brainwatch.Watch
	orders brainwatch.Orders
	now    time.Time
	answer bool // the brain answers
	online bool
	derp   bool     // Tailscale is there
	takes  bool     // people take calls
	rings  bool     // calls last, and do not end
	told   []string // "+121s gone"
}

func newPi(t *testing.T) *pi {
	p := &pi{t: t, now: start, answer: true, online: true, derp: true, takes: true,
		orders: brainwatch.Orders{Guards: true, Contacts: []string{"Alex", "Sam"}}}
	p.boot(brainwatch.State{})
	return p
}

func (p *pi) boot(s brainwatch.State) {
	p.w = brainwatch.New(brainwatch.DefaultTimes(), s, p.now)
	p.w.Order(p.orders)
}

// restart is a new process, which has but the disk.
func (p *pi) restart() {
	p.t.Helper()
	data, err := json.Marshal(p.w.State())
	var s brainwatch.State
	if err == nil {
		err = json.Unmarshal(data, &s)
	}
	if err != nil {
		p.t.Fatal(err)
	}
	p.boot(s)
}

func (p *pi) take(es []brainwatch.Event) {
	for _, e := range es {
		word := string(e.Type)
		if e.Type == brainwatch.Calling {
			word += " " + e.Call.Contact
		}
		if e.Type != brainwatch.Placed {
			p.told = append(p.told, fmt.Sprintf("+%ds %s", int(p.now.Sub(start).Seconds()), word))
		}
		if e.Type == brainwatch.Calling && !p.rings {
			p.take(p.w.Placed(p.now, e.Call.ID, "CA1"))
			p.take(p.w.Ended(p.now, e.Call.ID, p.takes, "it ended"))
		}
	}
}

// live lets time pass.
func (p *pi) live(d time.Duration) {
	for range int(d / time.Second) {
		p.now = p.now.Add(time.Second)
		if p.answer {
			p.take(p.w.Answered(p.now, "brain", false))
		} else if p.w.Outside(p.now).Silent >= 5*time.Second && p.now.Unix()%5 == 0 {
			p.take(p.w.Looked(p.now, p.online, !p.derp))
		}
		if p.answer && p.now.Unix()%60 == 0 {
			p.take(p.w.Checked(p.now, p.online))
		}
		p.take(p.w.Tick(p.now))
	}
}

func (p *pi) mustTell(want ...string) {
	p.t.Helper()
	if got := strings.Join(p.told, ", "); got != strings.Join(want, ", ") {
		p.t.Errorf("told %s\nnot  %s", got, strings.Join(want, ", "))
	}
}

// TestG3_ABrainThatIsGone is told after 2 min, called about after 5, once in 6 h, and told
// when it is back.
func TestG3_ABrainThatIsGone(t *testing.T) {
	p := newPi(t)
	p.live(time.Minute)
	p.answer = false
	p.live(7 * time.Minute)
	p.mustTell("+180s gone", "+360s calling Alex", "+360s call_ended")
	if g := p.w.State().Gone; g == nil || !g.Since.Equal(start.Add(time.Minute)) || g.Cause != brainwatch.Down {
		t.Errorf("%+v", g)
	}
	p.answer = true
	p.live(time.Second)
	p.mustTell("+180s gone", "+360s calling Alex", "+360s call_ended", "+481s back")
	p.answer = false
	p.live(5*time.Hour + 50*time.Minute)
	if n := len(p.told); n != 5 || !strings.HasSuffix(p.told[4], " gone") {
		t.Errorf("within 6 h: %q", p.told)
	}
	p.live(10 * time.Minute)
	if n := len(p.told); n != 7 || !strings.HasSuffix(p.told[5], "s calling Alex") || !strings.HasPrefix(p.told[5], fmt.Sprintf("+%ds", 360+6*3600)) {
		t.Errorf("after 6 h: %q", p.told)
	}
}

func TestG3_WhatIsSaid(t *testing.T) {
	p := newPi(t)
	p.answer, p.rings = false, true
	said := func() (all string) {
		p.now = p.now.Add(time.Second)
		p.w.Looked(p.now, p.online, !p.derp)
		for _, e := range p.w.Tick(p.now) {
			all += e.Why + "\n"
		}
		return all
	}
	p.now = p.now.Add(2 * time.Minute)
	if got := said(); got != "the sentinel is down, because no brain has answered for 2 min; the internet is up\n" {
		t.Error(got)
	}
	p.derp = false
	p.now = p.now.Add(3 * time.Minute)
	if got := said(); got != "Tailscale is out of reach, because nothing of it answers and no brain was heard for 5 min; the internet is up\n" {
		t.Error(got)
	}
	p.now = p.now.Add(2 * time.Minute)
	if es := p.w.Answered(p.now, "brain", false); len(es) != 2 || es[0].Why != "the sentinel answers again through Tailscale; nothing was heard of it for 7 min" || es[0].For.Round(time.Minute) != 7*time.Minute {
		t.Errorf("%+v", es)
	}
}

// TestG3_WhatIsWrongByTheCall is what people are told: a Pi that has booted has no tailnet at first.
func TestG3_WhatIsWrongByTheCall(t *testing.T) {
	p := newPi(t)
	p.answer, p.derp = false, false
	p.live(3 * time.Minute)
	if g := p.w.State().Gone; g == nil || g.Cause != brainwatch.Tailnet {
		t.Fatalf("at the notice: %+v", g)
	}
	p.derp = true
	p.live(3 * time.Minute)
	if g := p.w.State().Gone; g == nil || g.Cause != brainwatch.Down {
		t.Errorf("at the call: %+v", g)
	}
	p.mustTell("+120s gone", "+300s calling Alex", "+300s call_ended")
}

// TestG3_NoAlarmWithoutInternet: nobody could hear it, and it is no absence of the brain's.
func TestG3_NoAlarmWithoutInternet(t *testing.T) {
	p := newPi(t)
	p.live(time.Minute)
	p.answer, p.online = false, false
	p.live(time.Hour)
	p.mustTell()
	p.online = true
	p.live(6 * time.Minute) // from the first look that finds it up, at 3665 s
	p.mustTell("+3785s gone", "+3965s calling Alex", "+3965s call_ended")
}

// TestG3_InternetOutBeforeTheCall: once it is up the brain has 2 min to answer.
func TestG3_InternetOutBeforeTheCall(t *testing.T) {
	p := newPi(t)
	p.answer = false
	p.live(3 * time.Minute)
	p.online = false
	p.live(10 * time.Minute)
	p.mustTell("+120s gone")
	p.online = true
	p.live(3 * time.Minute)
	p.mustTell("+120s gone", "+905s calling Alex", "+905s call_ended")
}

// TestG3_OneOfSeveralBrainsIsEnough to be heard, and a refusal is a word too.
func TestG3_OneOfSeveralBrainsIsEnough(t *testing.T) {
	p := newPi(t)
	p.answer = false
	for range 60 {
		p.live(time.Minute)
		p.take(p.w.Answered(p.now, "second", false))
	}
	p.mustTell()
	p.live(2 * time.Minute)
	p.mustTell("+3720s gone")
}

// TestN5_ABrainThatIsRestarted has 10 min.
func TestN5_ABrainThatIsRestarted(t *testing.T) {
	p := newPi(t)
	p.live(time.Minute)
	p.take(p.w.Answered(p.now, "brain", true))
	p.take(p.w.Answered(p.now, "brain", true))
	p.answer = false
	p.live(5 * time.Minute)
	p.restart() // the Pi too
	p.live(5*time.Minute - time.Second)
	p.mustTell("+60s left")
	p.live(2 * time.Second)
	p.mustTell("+60s left", "+660s gone", "+660s calling Alex", "+660s call_ended")
}

// TestN5_ABrainThatWasRestarted and dies then has no 10 min.
func TestN5_ABrainThatWasRestarted(t *testing.T) {
	p := newPi(t)
	p.take(p.w.Answered(p.now, "brain", true))
	p.answer = false
	p.live(30 * time.Second)
	p.answer = true
	p.live(time.Second)
	p.answer = false
	p.live(3 * time.Minute)
	p.mustTell("+0s left", "+31s returned", "+151s gone")
}

// TestN5_ABrainThatIsTakenAway said so, and is forgotten after its 10 min.
func TestN5_ABrainThatIsTakenAway(t *testing.T) {
	p := newPi(t)
	p.take(p.w.Answered(p.now, "second", true))
	p.live(10*time.Minute - time.Second)
	p.mustTell("+0s left")
	p.live(time.Second)
	p.mustTell("+0s left", "+600s returned")
}

// TestG3_OverARestartOfThePi what is gone stays gone, and nobody is called twice.
func TestG3_OverARestartOfThePi(t *testing.T) {
	p := newPi(t)
	p.answer = false
	p.live(4 * time.Minute)
	p.restart()
	p.live(90 * time.Second)
	p.mustTell("+120s gone") // it may have answered meanwhile: it has 2 min to show it
	p.live(time.Minute)
	p.mustTell("+120s gone", "+360s calling Alex", "+360s call_ended")
	for range 20 {
		p.restart()
		p.live(15 * time.Minute)
	}
	p.mustTell("+120s gone", "+360s calling Alex", "+360s call_ended")
	p.answer = true
	p.live(time.Second)
	if got := p.told[len(p.told)-1]; !strings.HasSuffix(got, " back") {
		t.Errorf("told %q", p.told)
	}
}

// TestG3_ACallUnderWayOverARestart is neither lost nor made twice.
func TestG3_ACallUnderWayOverARestart(t *testing.T) {
	p := newPi(t)
	p.answer, p.rings = false, true
	p.live(6 * time.Minute)
	p.restart()
	p.live(10 * time.Minute)
	s := p.w.State()
	open := s.Open()
	if len(open) != 1 || open[0].Contact != "Alex" || open[0].ID != fmt.Sprintf("%d/1", start.Add(5*time.Minute).Unix()) {
		t.Fatalf("open: %+v", open)
	}
	p.take(p.w.Placed(p.now, open[0].ID, "CA7"))
	p.take(p.w.Ended(p.now, open[0].ID, false, "no-answer"))
	p.take(p.w.Ended(p.now, open[0].ID, true, "an echo"))
	p.take(p.w.Placed(p.now, "of another time", "CA8"))
	p.live(2 * time.Minute)
	p.mustTell("+120s gone", "+300s calling Alex", "+960s call_ended", "+1020s calling Alex")
	if s := p.w.State(); s.Alarm.Calls[0].SID != "CA7" {
		t.Errorf("%+v", s.Alarm)
	}
}

// TestG3_NobodyAnswers: everybody is called twice, a minute apart, in two rounds, as by the brain.
func TestG3_NobodyAnswers(t *testing.T) {
	p := newPi(t)
	p.answer, p.takes = false, false
	p.live(5 * time.Hour)
	var calls []string
	for _, told := range p.told {
		if strings.Contains(told, "calling") {
			calls = append(calls, told)
		}
	}
	p.told = calls
	p.mustTell("+300s calling Alex", "+360s calling Alex", "+361s calling Sam", "+421s calling Sam",
		"+721s calling Alex", "+781s calling Alex", "+782s calling Sam", "+842s calling Sam")
	p.live(2 * time.Hour)
	if n := len(p.told); n != 8+16 || p.told[8] != "+21900s calling Alex" {
		t.Errorf("after 6 h: %q", p.told)
	}
}

// TestG3_BackWhileItRings: the call is taken back, and an unanswered alarm goes on with the
// next absence.
func TestG3_BackWhileItRings(t *testing.T) {
	p := newPi(t)
	p.answer, p.rings = false, true
	p.live(5 * time.Minute)
	p.answer = true
	p.live(time.Second)
	p.mustTell("+120s gone", "+300s calling Alex", "+301s back", "+301s dropped")
	s := p.w.State()
	p.take(p.w.Ended(p.now, s.Open()[0].ID, false, "canceled"))
	p.answer = false
	p.live(10 * time.Minute)
	p.mustTell("+120s gone", "+300s calling Alex", "+301s back", "+301s dropped", "+301s call_ended", "+421s gone", "+601s calling Alex")
}

// TestG3_TheNextPiOfTheSite calls 2 min later.
func TestG3_TheNextPiOfTheSite(t *testing.T) {
	p := newPi(t)
	p.orders.Place = 1
	p.boot(brainwatch.State{})
	p.answer = false
	p.live(8 * time.Minute)
	p.mustTell("+120s gone", "+420s calling Alex", "+420s call_ended")
	p.w.Supplied(p.now, true)
	p.live(3 * time.Minute)
	p.mustTell("+120s gone", "+420s calling Alex", "+420s call_ended", "+615s calling Alex", "+615s call_ended")
}

// TestG3_ThePowerGoesOutAfterTheCall: who knows of the brain does not know of that, and is
// called once more; who was called in the outage is not.
func TestG3_ThePowerGoesOutAfterTheCall(t *testing.T) {
	p := newPi(t)
	p.answer = false
	p.live(6 * time.Minute)
	p.w.Supplied(p.now, true)
	p.live(10 * time.Second)
	p.w.Supplied(p.now, false) // it flickers
	p.live(10 * time.Second)
	p.w.Supplied(p.now, true)
	p.live(14 * time.Second)
	p.mustTell("+120s gone", "+300s calling Alex", "+300s call_ended")
	p.live(10 * time.Minute)
	p.restart()
	p.w.Supplied(p.now, true)
	p.live(5 * time.Hour)
	p.mustTell("+120s gone", "+300s calling Alex", "+300s call_ended", "+395s calling Alex", "+395s call_ended")
}

// TestG3_TheBrainGoesInAnOutage: one cause, one call, when it is due.
func TestG3_TheBrainGoesInAnOutage(t *testing.T) {
	p := newPi(t)
	p.w.Supplied(p.now, true)
	p.answer = false
	p.live(time.Hour)
	p.w.Supplied(p.now, false)
	p.live(time.Minute)
	p.w.Supplied(p.now, true)
	p.live(time.Hour)
	p.mustTell("+120s gone", "+300s calling Alex", "+300s call_ended")
}

// TestG3_WithoutABundle there is no brain to miss; without contacts nobody is called.
func TestG3_WithoutABundle(t *testing.T) {
	p := newPi(t)
	p.orders = brainwatch.Orders{}
	p.boot(brainwatch.State{})
	p.answer = false
	p.live(time.Hour)
	p.mustTell()
	p.orders.Guards = true
	p.boot(brainwatch.State{})
	p.live(time.Hour)
	p.mustTell("+3720s gone")
}

// TestG3_AProcessThatStoodStill listens anew.
func TestG3_AProcessThatStoodStill(t *testing.T) {
	p := newPi(t)
	p.live(time.Minute)
	p.now = p.now.Add(time.Hour)
	p.w.Resumed(p.now)
	p.answer = false
	if o := p.w.Outside(p.now); o.Internet != brainwatch.Unknown || o.Silent != 0 {
		t.Errorf("%+v", o)
	}
	p.live(110 * time.Second)
	p.mustTell()
	p.live(20 * time.Second)
	p.mustTell("+3780s gone")
}

// TestG3_AClockThatWasPutBack keeps nobody from being called for longer than 6 h.
func TestG3_AClockThatWasPutBack(t *testing.T) {
	p := newPi(t)
	p.answer = false
	p.live(6 * time.Minute)
	p.now = p.now.Add(-24 * time.Hour)
	p.restart()
	p.told = nil
	p.live(6*time.Hour + time.Minute)
	if len(p.told) != 2 || !strings.HasSuffix(p.told[0], "calling Alex") {
		t.Errorf("told %q", p.told)
	}
}

// TestG3_NobodyHasLooked: without a look after the brain's last word nothing is known.
func TestG3_NobodyHasLooked(t *testing.T) {
	p := newPi(t)
	p.w.Looked(p.now, true, false)
	p.live(time.Second)
	p.now = p.now.Add(10 * time.Minute)
	if es := p.w.Tick(p.now); len(es) > 0 {
		t.Errorf("%+v", es)
	}
}

func TestG3_Outside(t *testing.T) {
	p := newPi(t)
	at := func(want brainwatch.Internet, silent time.Duration) {
		t.Helper()
		if o := p.w.Outside(p.now); o.Internet != want || o.Silent != silent {
			t.Errorf("%+v, not %q after %s", o, want, silent)
		}
	}
	at(brainwatch.Unknown, 0)
	p.live(time.Minute)
	at(brainwatch.Up, 0)
	p.answer, p.online = false, false
	p.live(time.Minute)
	at(brainwatch.Out, time.Minute)
	p.online = true
	p.live(time.Minute)
	at(brainwatch.Up, 2*time.Minute)
}

// TestC4_ACallThatWaitedIsTooLate: one that was placed is followed, whatever its age.
func TestC4_ACallThatWaitedIsTooLate(t *testing.T) {
	now := time.Unix(1e9, 0)
	w := brainwatch.New(brainwatch.DefaultTimes(), brainwatch.State{}, now)
	for _, c := range []struct {
		age  time.Duration
		sid  string
		want bool
	}{{2*time.Minute - 1, "", false}, {2 * time.Minute, "", true}, {2 * time.Minute, "CA1", false}} {
		if got := w.TooLate(now, brainwatch.Call{At: now.Add(-c.age), SID: c.sid}); got != c.want {
			t.Errorf("after %s with SID %q: %t", c.age, c.sid, got)
		}
	}
}
