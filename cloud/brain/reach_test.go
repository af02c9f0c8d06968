package brain

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"tailscale.com/ipn/store/mem"

	"sentinel.home.arpa/cloud/internal/sentinel"
	"sentinel.home.arpa/shared/sim/tailnetsim"
	"sentinel.home.arpa/shared/tailnet"
	"sentinel.home.arpa/shared/uplink"
)

const (
	controlAddr = "control.example.net:443"
	firstRelay  = "198.51.100.1:443"
	secondRelay = "198.51.100.2:443"
)

// reachOver is the tailnet's reach over a network in memory, with two relays known.
func reachOver(n *memnet) *uplink.Tailnet {
	r := reachUnknown(n)
	r.Relays = tells(tailnet.Relay{Name: "one.example.net", Addr: firstRelay}, tailnet.Relay{Name: "two.example.net", Addr: secondRelay})
	r.Learn(context.Background())
	r.Relays = nothingTold
	return r
}

// reachUnknown is one that knows no relays.
func reachUnknown(n *memnet) *uplink.Tailnet {
	return &uplink.Tailnet{Control: "https://control.example.net", Dial: n.dial, Status: func() tailnet.Status { return tailnet.Status{State: "Running"} },
		Relays: nothingTold, Log: slog.New(slog.DiscardHandler)}
}

func tells(relays ...tailnet.Relay) func(context.Context) ([]tailnet.Relay, error) {
	return func(context.Context) ([]tailnet.Relay, error) { return relays, nil }
}

func nothingTold(context.Context) ([]tailnet.Relay, error) {
	return nil, errors.New("the netmap is gone")
}

// says has whoever dials an address hear something: "" is a listener that hangs up at
// once, "..." one that says nothing.
func says(t *testing.T, n *memnet, addr, word string) {
	t.Helper()
	ln, err := n.listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		var open []net.Conn
		for {
			c, err := ln.Accept()
			if err != nil {
				for _, c := range open {
					_ = c.Close()
				}
				return
			}
			switch open = append(open, c); word {
			case "...":
				go func() { _, _ = c.Read(make([]byte, 1<<14)) }()
			case "":
				_ = c.Close()
			default:
				go func() {
					_, _ = c.Read(make([]byte, 1<<14))
					_, _ = c.Write([]byte(word))
				}()
			}
		}
	}()
	t.Cleanup(func() { _ = ln.Close(); <-done })
}

// TestN10_TheTailnetIsGoneOnlyIfNothingOfItAnswers, and whatever hangs is not waited for
// longer than for the anchors.
func TestN10_TheTailnetIsGoneOnlyIfNothingOfItAnswers(t *testing.T) {
	const answer, alert = "HTTP/1.1 400 Bad Request\r\n\r\n", "\x15\x03\x01\x00\x02\x02\x28"
	for name, c := range map[string]struct {
		says    map[string]string // what answers, and with what
		lost    []string          // what hangs; all else refuses
		offline bool
		unknown bool // no region is
		change  func(r *uplink.Tailnet)
		want    sentinel.Uplink
		slow    bool
	}{
		"all there":                     {says: map[string]string{controlAddr: answer, firstRelay: alert, secondRelay: alert}, want: sentinel.Uplink{Online: true}},
		"all refuse":                    {want: sentinel.Uplink{Online: true, TailnetGone: true}},
		"all hang":                      {lost: []string{controlAddr, firstRelay, secondRelay}, want: sentinel.Uplink{Online: true, TailnetGone: true}, slow: true},
		"all accept and hang":           {says: map[string]string{controlAddr: "...", firstRelay: "...", secondRelay: "..."}, want: sentinel.Uplink{Online: true, TailnetGone: true}, slow: true},
		"all hang up":                   {says: map[string]string{controlAddr: "", firstRelay: "", secondRelay: ""}, want: sentinel.Uplink{Online: true, TailnetGone: true}},
		"control alone":                 {says: map[string]string{controlAddr: answer}, lost: []string{firstRelay, secondRelay}, want: sentinel.Uplink{Online: true}},
		"one relay alone":               {says: map[string]string{secondRelay: alert}, lost: []string{controlAddr, firstRelay}, want: sentinel.Uplink{Online: true}},
		"plain control alone":           {says: map[string]string{"10.0.0.1:8080": answer}, change: func(r *uplink.Tailnet) { r.Control = "http://10.0.0.1:8080" }, want: sentinel.Uplink{Online: true}},
		"plain control hangs":           {says: map[string]string{"10.0.0.1:80": "..."}, change: func(r *uplink.Tailnet) { r.Control = "http://10.0.0.1" }, want: sentinel.Uplink{Online: true, TailnetGone: true}, slow: true},
		"no region known, control gone": {unknown: true, want: sentinel.Uplink{Online: true}},
		"control's name is not found": {change: func(r *uplink.Tailnet) {
			dial := r.Dial
			r.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
				if addr == controlAddr {
					return nil, &net.OpError{Op: "dial", Net: network, Err: &net.DNSError{Err: "no such host", Name: "control.example.net"}}
				}
				return dial(ctx, network, addr)
			}
		}, want: sentinel.Uplink{Online: true}},
		"put out of the tailnet": {says: map[string]string{controlAddr: answer}, change: func(r *uplink.Tailnet) {
			r.Status = func() tailnet.Status { return tailnet.Status{State: "NeedsLogin"} }
		}, want: sentinel.Uplink{Online: true, TailnetGone: true}},
		"no anchor answers, nor the rest":             {lost: append([]string{controlAddr, firstRelay, secondRelay}, anchors...), slow: true},
		"anchors refuse, and the rest is not awaited": {offline: true, lost: []string{controlAddr, firstRelay, secondRelay}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newMemnet()
				if !c.offline {
					says(t, n, anchors[0], "...")
				}
				for addr, word := range c.says {
					says(t, n, addr, word)
				}
				n.cut(c.lost...)
				r := reachOver(n)
				if c.unknown {
					r = reachUnknown(n)
				}
				if c.change != nil {
					c.change(r)
				}
				u := &uplink.Uplink{Anchors: func() []string { return anchors }, Dial: n.dial, Gone: r.Gone}
				before := time.Now()
				if got := u.Look(t.Context()); sentinel.Uplink(got) != c.want {
					t.Errorf("found %+v, not %+v", got, c.want)
				}
				want := time.Duration(0)
				if c.slow {
					want = uplink.Within
				}
				if took := time.Since(before); took != want {
					t.Errorf("took %s, not %s", took, want)
				}
				synctest.Wait()
			})
		})
	}
}

// TestN10_TheLastKnownRelaysAreAsked when the netmap cannot be had any more.
func TestN10_TheLastKnownRelaysAreAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := reachUnknown(newMemnet())
		var told atomic.Bool
		r.Relays = func(context.Context) ([]tailnet.Relay, error) {
			if !told.Load() {
				return nil, errors.New("the netmap is gone")
			}
			return []tailnet.Relay{{Name: "one.example.net", Addr: firstRelay}}, nil
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- r.Run(ctx) }()
		rest(time.Second)
		if r.Gone(ctx) {
			t.Error("gone before a region is known")
		}
		told.Store(true)
		rest(uplink.RelaysFirst)
		told.Store(false)
		rest(2 * uplink.RelaysEach)
		if !r.Gone(ctx) {
			t.Error("not gone though the relay that was known does not answer")
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// TestN10_ARealTailnetGoesAway bit by bit.
func TestN10_ARealTailnetGoesAway(t *testing.T) {
	tn, err := tailnetsim.Open(tailnetsim.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(tn.Close)
	node := tailnet.New(tailnet.Config{Hostname: "sentinel", Dir: t.TempDir(), ControlURL: tn.URL(), Store: new(mem.Store), Ephemeral: true})
	ran(t, "the tailnet", node.Run)
	r := uplink.OfTailnet(node, (&net.Dialer{}).DialContext, slog.New(slog.DiscardHandler))
	until(t, "the home relays", func() bool { return r.Learn(t.Context()) })
	anchor, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer anchor.Close()
	u := &uplink.Uplink{Anchors: func() []string { return []string{anchor.Addr().String()} }, Dial: r.Dial, Gone: r.Gone}
	finds := func(what string, want sentinel.Uplink) {
		t.Helper()
		if got := u.Look(t.Context()); sentinel.Uplink(got) != want {
			t.Errorf("%s: found %+v", what, got)
		}
	}
	finds("all there", sentinel.Uplink{Online: true})
	r.Relays = tells(tailnet.Relay{Name: "127.0.0.1", Addr: "127.0.0.1:1"})
	r.Learn(t.Context())
	finds("control alone", sentinel.Uplink{Online: true})
	r.Relays = node.HomeRelays
	r.Learn(t.Context())
	tn.StopControl()
	finds("the relay alone", sentinel.Uplink{Online: true})
	tn.Close()
	r.Learn(t.Context())
	finds("all gone", sentinel.Uplink{Online: true, TailnetGone: true})
	if err := anchor.Close(); err != nil {
		t.Fatal(err)
	}
	finds("the anchor gone as well", sentinel.Uplink{})
}

// TestN10_OneSiteFallsSilentWithTheTailnet: it is not the site that is blamed, in time
// although all hangs, and one call is made.
func TestN10_OneSiteFallsSilentWithTheTailnet(t *testing.T) {
	in(t, func(h *home) { h.gone = reachOver(h.net).Gone }, func(h *home) {
		h.offline()
		h.net.cut(controlAddr, firstRelay, secondRelay)
		last := h.pi.lastWord()
		rest(25 * time.Second)
		opened := h.mustTell("Tailscale out of reach, because nothing is heard of home")
		if late := opened.Sub(last); late < 20*time.Second-time.Millisecond || late > 23*time.Second {
			h.Errorf("declared %s after the last word", late)
		}
		h.calls(0)
		rest(2 * time.Minute)
		h.mustTell("calling Alex, because Tailscale is out of reach, for ")
		said := "Hello Alex. This is your home sentinel. Tailscale has been out of reach since 00 00, so I hear nothing from home. The houses may be fine."
		if call := h.calls(1)[0]; call.Text != said+"\n"+said {
			h.Errorf("said %q", call.Text)
		}
		if v := h.view(); len(v.Incidents) != 1 || v.Incidents[0].Kind != string(sentinel.TailnetDown) {
			h.Errorf("verdict %q, %+v", v.Verdict, v.Incidents)
		}
		h.online()
		h.net.mend(controlAddr, firstRelay, secondRelay)
		rest(75 * time.Second)
		h.calls(1)
		if v := h.view(); v.Verdict != "All well." || v.Incidents[0].Open {
			h.Errorf("verdict %q, %+v", v.Verdict, v.Incidents)
		}
	})
}

// TestN10_OneSiteFallsSilentAndARelayAnswers: it is the site's internet.
func TestN10_OneSiteFallsSilentAndARelayAnswers(t *testing.T) {
	in(t, func(h *home) {
		says(h.T, h.net, secondRelay, "\x15\x03\x01\x00\x02\x02\x28")
		h.gone = reachOver(h.net).Gone
	}, func(h *home) {
		h.offline()
		h.net.cut(controlAddr, firstRelay)
		rest(25 * time.Second)
		h.mustTell("internet outage at home")
	})
}

// TestU9_EverythingOnOneUPS: one call, and it says so.
func TestU9_EverythingOnOneUPS(t *testing.T) {
	in(t, func(h *home) {
		h.cfg.Sites[0].UPSes = []UPS{{Name: "ups", Feeds: []string{"pve1", "pve2"}}, {Name: "other", Feeds: []string{"pve3"}}}
	}, func(h *home) {
		h.nodes["pve1"].kill()
		rest(2 * time.Second)
		h.nodes["pve2"].kill()
		rest(3 * time.Minute)
		call := h.calls(1)[0]
		if !strings.Contains(call.Text, "P V E 1 and P V E 2 at home have not answered since 00 00. It seems that everything on U P S lost power. The other server there is fine.") {
			h.Errorf("said %q", call.Text)
		}
		h.mustTell("failure at home, because everything on UPS ups lost power")
		if v := h.view(); len(v.Incidents) != 1 {
			h.Errorf("%+v", v.Incidents)
		}
	})
}
