package proxy

import (
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"sentinel.home.arpa/pi-proxy/internal/ups"
	"sentinel.home.arpa/shared/power"
	"sentinel.home.arpa/shared/tailnet"
)

// TestN10_APiThatIsNotInItsTailnet cannot hear its brain: that is Tailscale's, whatever the brain does.
func TestN10_APiThatIsNotInItsTailnet(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	p := &Proxy{log: slog.New(slog.DiscardHandler), cfg: Config{Anchors: []string{ln.Addr().String(), "127.0.0.1:1"}}}
	if found := newOutside(p).look.Look(t.Context()); !found.Online || found.TailnetGone {
		t.Errorf("without a tailnet: %+v", found)
	}
	p.tailnet = tailnet.New(tailnet.Config{Hostname: "pi", Dir: t.TempDir()})
	if found := newOutside(p).look.Look(t.Context()); !found.Online || !found.TailnetGone {
		t.Errorf("out of its tailnet: %+v", found)
	}
	p.cfg.Anchors = p.cfg.Anchors[1:]
	if found := newOutside(p).look.Look(t.Context()); found.Online || found.TailnetGone {
		t.Errorf("without internet: %+v", found)
	}
}

// TestG3_WhatThePiSays on the phone.
func TestG3_WhatThePiSays(t *testing.T) {
	at := func(change func(*story)) string {
		s := story{contact: "Alex", site: "home", since: time.Date(2031, 5, 6, 19, 2, 0, 0, time.UTC)}
		change(&s)
		text, ok := strings.CutPrefix(s.text(), "Hello Alex. This is the Pi of your home sentinel, at home. ")
		if !ok {
			t.Errorf("it greets otherwise: %q", s.text())
		}
		return text
	}
	const down = "The sentinel is down: it has not answered since 19 02, though the internet here is up. " +
		"Until it is back nobody watches your servers or calls you about them. Please look at your cloud VM."
	charge, short, long := 0.8, power.Seconds(620), power.Seconds(1800)
	battery := func(s *story, charge *float64, runtime *power.Seconds) {
		s.power(&latest{known: true, o: ups.Observation{At: time.Now(), Reading: power.Reading{Supply: power.Battery, Status: power.Status{Charge: charge, Runtime: runtime}}}})
	}
	for want, change := range map[string]func(*story){
		down:                              func(*story) {},
		down + " The power here is fine.": func(s *story) { s.mains = true },
		down + " The power here is out, the battery is at 80 percent, enough for about 10 minutes. I am shutting the machines down by myself.": func(s *story) {
			s.armed, s.shuttingDown = true, true
			battery(s, nil, &long)
			battery(s, &charge, &short)
			battery(s, nil, nil)
		},
		down + " The power here is out. I shut the machines down by myself when it is time.": func(s *story) { s.armed = true; battery(s, nil, nil) },
		down + " The power here is out. The plan is not armed, so nothing is shut down.":     func(s *story) { battery(s, nil, nil) },
		"Tailscale has been out of reach since 19 02, so I hear nothing of the sentinel. It may be fine, and so is the internet here. Please look whether Tailscale has an outage.": func(s *story) {
			s.tailnet = true
			s.power(&latest{})
		},
		"Tailscale does not let me in any more, so I have heard nothing of the sentinel since 19 02. Please log the Pi in to Tailscale again.": func(s *story) { s.tailnet, s.loggedOut = true, true },
	} {
		if got := at(change); got != want {
			t.Errorf("said %q\nnot  %q", got, want)
		}
	}
}
