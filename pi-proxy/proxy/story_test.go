package proxy

import (
	"flag"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sentinel.home.arpa/pi-proxy/internal/brainwatch"
	"sentinel.home.arpa/pi-proxy/internal/ups"
	"sentinel.home.arpa/shared/power"
	"sentinel.home.arpa/shared/speech"
	"sentinel.home.arpa/shared/tailnet"
)

var update = flag.Bool("update", false, "write the golden files anew")

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

// TestG3_WhatThePiSays on the phone, in each language. Read the golden files aloud after a change.
func TestG3_WhatThePiSays(t *testing.T) {
	charge, short, long := 0.8, power.Seconds(620), power.Seconds(1800)
	battery := func(s *story, charge *float64, runtime *power.Seconds) {
		s.power(&latest{known: true, o: ups.Observation{At: time.Now(), Reading: power.Reading{Supply: power.Battery, Status: power.Status{Charge: charge, Runtime: runtime}}}})
	}
	stories := []struct {
		name   string
		change func(*story)
	}{
		{"down", func(*story) {}},
		{"down, on mains", func(s *story) { s.mains = true }},
		{"on battery, shutting down, of three UPSes", func(s *story) {
			s.armed, s.shuttingDown = true, true
			battery(s, nil, &long)
			battery(s, &charge, &short)
			battery(s, nil, nil)
		}},
		{"on battery, armed", func(s *story) { s.armed = true; battery(s, nil, nil) }},
		{"on battery, not armed", func(s *story) { battery(s, nil, nil) }},
		{"Tailscale, and no UPS is known", func(s *story) { s.tailnet = true; s.power(&latest{}) }},
		{"logged out", func(s *story) { s.tailnet, s.loggedOut = true, true }},
	}
	english := regexp.MustCompile(`(?i)\b(the|is|not|has|and|of|please|my|power|here|out)\b`)
	for _, l := range speech.Languages() {
		var said strings.Builder
		for _, each := range stories {
			s := story{contact: "Alex", site: "home", since: time.Date(2031, 5, 6, 19, 2, 0, 0, time.UTC)}
			each.change(&s)
			text, err := s.text(l)
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(&said, "# %s\n%s\n\n", each.name, text)
			if takes := l.Seconds(text); takes > 30 {
				t.Errorf("%s: takes %.0f s: %s", l, takes, text)
			}
			if w := english.FindString(text); w != "" && l != speech.English {
				t.Errorf("%s: %q in %s", l, w, text)
			}
		}
		golden := filepath.Join("testdata", "brain_gone."+string(l)+".txt")
		if *update {
			if err := os.WriteFile(golden, []byte(said.String()), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), said.String()); diff != "" {
			t.Errorf("-update writes it anew (-want +got):\n%s", diff)
		}
	}
	if text, err := (&story{}).text("fr"); err == nil {
		t.Errorf("in a language that has no text it says %q", text)
	}
}

// TestG3_WhatThePiWrites of the battery is what it says of it on the phone.
func TestG3_WhatThePiWrites(t *testing.T) {
	charge, runtime := 0.8, power.Seconds(620)
	s := story{site: "home", armed: true, battery: &power.Reading{Supply: power.Battery, Status: power.Status{Charge: &charge, Runtime: &runtime}}}
	_, text := s.notice(brainwatch.Notice{})
	if want := "The power there is out, the battery at 80 %, enough for 10 min. The Pi shuts the machines down by itself when it is time."; !strings.HasSuffix(text, want) {
		t.Errorf("it writes %q", text)
	}
}
