package proxy_test

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sentinel.home.arpa/pi-proxy/internal/brainwatch"
	"sentinel.home.arpa/pi-proxy/internal/ledger"
	"sentinel.home.arpa/pi-proxy/proxy"
	"sentinel.home.arpa/shared/calls"
	"sentinel.home.arpa/shared/courier"
	"sentinel.home.arpa/shared/daemon"
	"sentinel.home.arpa/shared/shutdown"
	"sentinel.home.arpa/shared/sim/twiliosim"
	"sentinel.home.arpa/shared/twilio"
	"sentinel.home.arpa/shared/wire"
)

const (
	accountSID   = "AC0123456789abcdef0123456789abcdef"
	keySID       = "SK0123456789abcdef0123456789abcdef"
	twilioSecret = "simsecret77aa"
	alexPhone    = "+15550100100"
	fromPhone    = "+15005550006"
)

// phone is a Twilio, the Pi's word on whom to call by it, and an internet that is up.
func (h *house) phone() (*twiliosim.Server, wire.Calls) {
	h.t.Helper()
	x := twiliosim.New(twiliosim.Config{AccountSID: accountSID, KeySID: keySID, KeySecret: twilioSecret, Numbers: []string{fromPhone}})
	ln := listener(h.t)
	done := make(chan error, 1)
	go func() { done <- x.Serve(ln) }()
	h.t.Cleanup(func() {
		if h.stop != nil {
			h.stop() // it must not go on calling
		}
		x.Close()
		if err := <-done; err != nil {
			h.t.Error(err)
		}
	})
	h.cfg.Anchors[0] = listener(h.t).Addr().String() // which takes connections by itself
	file := filepath.Join(h.t.TempDir(), "twilio-secret")
	if err := os.WriteFile(file, []byte(twilioSecret+"\n"), 0o600); err != nil {
		h.t.Fatal(err)
	}
	return x, wire.Calls{Contacts: []wire.Contact{{Name: "Alex", Phone: alexPhone}}, Zone: "Asia/Taipei",
		Twilio: &wire.Twilio{AccountSID: accountSID, KeySID: keySID, Secret: file, From: fromPhone, APIURL: "http://" + ln.Addr().String()}}
}

func listener(t *testing.T) net.Listener {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	return ln
}

// impatient is a Pi that calls after 7 s.
func impatient(p *proxy.Proxy) error {
	t := brainwatch.DefaultTimes()
	t.Notice, t.Call, t.NextPi = 3*time.Second, 7*time.Second, 4*time.Second
	p.Watches(t)
	return nil
}

// knowsWhomToCall hands the Pi a bundle and its calls, and waits until both are on its disk.
func (h *house) knowsWhomToCall(c wire.Calls) {
	h.t.Helper()
	h.brain.set(func() { h.brain.calls = &c })
	hash := h.brain.hand(wire.Bundle{Site: "home", Keys: map[string]wire.PublicKey{}, Pis: []wire.Peer{{Name: "pi"}}})
	h.startWith(impatient)
	h.brain.storedHash(hash)
	h.brain.await("the Pi names its calls", 10*time.Second, func() bool { return h.brain.knows == hashOf(h.t, c) })
}

func (h *house) status() proxy.Status {
	h.t.Helper()
	s, err := proxy.ReadStatus(h.cfg.ControlSocket)
	if err != nil {
		h.t.Fatal(err)
	}
	return s
}

// TestG3_ThePiCallsAboutItsBrain through the real phone, and the brain hears of it later.
func TestG3_ThePiCallsAboutItsBrain(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	x, c := h.phone()
	h.knowsWhomToCall(c)
	h.brain.await("the UPS is known", 5*time.Second, func() bool { return len(h.brain.reports) > 0 })
	if s := h.status(); s.BrainGone || s.Internet != "up" || !strings.HasPrefix(s.String(), "ups       rack: on mains, 100 %\nbrain     answers\ninternet  up\nplan      not armed\ncalls     Alex, should the brain be gone\n") {
		t.Errorf("its status: %s", s)
	}
	h.silence(true)
	last := time.Now()
	eventually(t, "Alex is called", func() bool {
		return len(x.Calls()) == 1 && x.Calls()[0].Answered != nil && strings.Contains(h.log.String(), "delivered=true")
	})
	within(t, "from the brain's last word", x.Calls()[0].Created.Sub(last), 6*time.Second, 12*time.Second)
	want := "Hello Alex. This is the Pi of your home sentinel, at home. The sentinel is down: it has not answered since " +
		last.In(time.FixedZone("", 8*3600)).Format("15 04")
	text := x.Calls()[0].Text
	if !strings.HasPrefix(text, want) || strings.Count(text, "Please look at your cloud VM. The power here is fine.") != 2 || x.Calls()[0].To != alexPhone {
		t.Errorf("said %q to %s", text, x.Calls()[0].To)
	}
	h.stop()
	h.startWith(impatient)
	restarted := time.Now()
	eventually(t, "it has listened for longer than it takes to call", func() bool { return time.Since(restarted) > 12*time.Second })
	if n := len(x.Calls()); n != 1 {
		t.Errorf("%d calls after a restart", n)
	}
	if s := h.status(); !s.BrainGone || !s.CallTaken || s.GoneSince.Sub(last).Abs() > 3*time.Second || !strings.Contains(s.String(), "; look at your cloud VM\n") {
		t.Errorf("its status: %s", s)
	}
	h.silence(false)
	h.brain.await("the record tells of the call", 15*time.Second, func() bool {
		for _, r := range h.brain.records {
			for _, e := range r.m.Entries {
				if e.Call != nil && e.Call.Contact == "Alex" && e.Call.Why == "the sentinel is down" && e.Node == "pi" {
					return true
				}
			}
		}
		return false
	})
	eventually(t, "it says so", func() bool { return strings.Contains(h.log.String(), "a brain answers again") })
}

// TestG3_WhoWasCalledAlready is not called once more: another Pi of the site did, or the brain.
func TestG3_WhoWasCalledAlready(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	x, c := h.phone()
	h.knowsWhomToCall(c)
	h.silence(true)
	eventually(t, "the brain is gone", func() bool { return strings.Contains(h.log.String(), "no brain answers") })
	client, err := twilio.New(twilio.Config{AccountSID: accountSID, APIKeySID: keySID, APIKeySecret: twilioSecret, From: fromPhone, BaseURL: c.Twilio.APIURL})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := calls.NewTwilio(client).Place(t.Context(), alexPhone, calls.Speech{Text: "Hello Alex."}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it sees that", func() bool { return strings.Contains(h.log.String(), "another call was placed meanwhile") })
	if n := len(x.Calls()); n != 1 {
		t.Errorf("%d calls", n)
	}
}

// TestC4_ACallOfHoursAgoDoesNotRing: the Pi died before it was placed, and starts hours later. The brain may be
// back, and is listened for first.
func TestC4_ACallOfHoursAgoDoesNotRing(t *testing.T) {
	t.Parallel()
	for name, age := range map[string]time.Duration{"hours": 3 * time.Hour, "a moment": 0} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t)
			x, who := h.phone()
			h.knowsWhomToCall(who)
			h.stop()
			disk, err := ledger.Open(h.cfg.StateDir)
			if err != nil {
				t.Fatal(err)
			}
			now := time.Now()
			at := now.Add(-age)
			err = disk.SetWatched(ledger.Watched{Moment: daemon.Moment{At: now, Wall: now, Boot: "the last"}, State: brainwatch.State{
				Gone:  &brainwatch.Absence{Since: at.Add(-5 * time.Minute), Cause: brainwatch.Down},
				Alarm: &brainwatch.Alarm{At: at, Cause: brainwatch.Down, Calls: []brainwatch.Call{{ID: "1/1", Contact: "Alex", At: at}}},
			}})
			disk.Close()
			if err != nil {
				t.Fatal(err)
			}
			h.silence(true)
			h.startWith(impatient)
			if age == 0 {
				eventually(t, "Alex is called", func() bool { return len(x.Calls()) > 0 })
				return
			}
			eventually(t, "it is taken back", func() bool { return strings.Contains(h.log.String(), "taken back before it was placed") })
			h.silence(false)
			eventually(t, "the brain is heard", func() bool { return strings.Contains(h.log.String(), "a brain answers again") })
			if n := len(x.Calls()); n > 0 {
				t.Errorf("%d calls", n)
			}
		})
	}
}

// TestG3_AnotherPiHearsTheBrain: it lives, whatever keeps it from this Pi, such as a key that has expired.
func TestG3_AnotherPiHearsTheBrain(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	x, c := h.phone()
	o := &otherPi{h.node("pi2"), "http://" + h.cfg.LAN.Listen + courier.PathPi}
	h.brain.set(func() { h.brain.calls = &c })
	hash := h.brain.hand(wire.Bundle{Site: "home", Keys: map[string]wire.PublicKey{}, Pis: []wire.Peer{{Name: "pi"}, {Name: "pi2", Key: o.key.PublicKey()}}})
	h.startWith(impatient)
	h.brain.storedHash(hash)
	h.brain.await("the Pi names its calls", 10*time.Second, func() bool { return h.brain.knows == hashOf(t, c) })
	to := o.greet(t)
	h.silence(true)
	for range 14 {
		m := o.report(to)
		m.UPSes, m.Brain = nil, &wire.PiRun{State: shutdown.None}
		a, err := o.say(m)
		if err != nil {
			t.Fatal(err)
		}
		to = a.Header
		<-time.After(time.Second)
	}
	if s := h.status(); s.BrainGone || len(x.Calls()) > 0 || strings.Contains(h.log.String(), "no brain answers") {
		t.Errorf("%d calls; its status: %s", len(x.Calls()), s)
	}
	eventually(t, "Alex is called once it hears nothing either", func() bool { return len(x.Calls()) == 1 })
}

// TestG3_TheInternetIsOut, and so nobody is called.
func TestG3_TheInternetIsOut(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	x, c := h.phone()
	h.cfg.Anchors[0] = "127.0.0.1:3"
	h.knowsWhomToCall(c)
	h.silence(true)
	began := time.Now()
	eventually(t, "it has looked thrice", func() bool { return time.Since(began) > 17*time.Second })
	if s := h.status(); s.Internet != "out" || s.BrainGone || !strings.Contains(s.String(), "has not answered for ") {
		t.Errorf("its status: %s", s)
	}
	if n := len(x.Calls()); n != 0 || strings.Contains(h.log.String(), "no brain answers") {
		t.Errorf("%d calls", n)
	}
}

// TestG3_NobodyToCall is said, and the Pi lives on.
func TestG3_NobodyToCall(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	_, c := h.phone()
	c.Twilio.Secret = "/nowhere/twilio-secret"
	h.knowsWhomToCall(c)
	eventually(t, "it lacks the secret", func() bool { return strings.Contains(h.log.String(), "lacks=/nowhere/twilio-secret") })
	if s := h.status().String(); !strings.Contains(s, "calls     nobody, should the brain be gone: the credential /nowhere/twilio-secret is missing here\n") {
		t.Error(s)
	}
	h.silence(true)
	eventually(t, "it could not call", func() bool { return strings.Contains(h.log.String(), "call not placed") })
	h.silence(false)
	h.brain.awaitBeats(2)
}
