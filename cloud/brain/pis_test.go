package brain

import (
	"slices"
	"strings"
	"testing"

	"sentinel.home.arpa/cloud/internal/ingest"
	"sentinel.home.arpa/cloud/internal/sentinel"
	"sentinel.home.arpa/shared/shutdown"
	"sentinel.home.arpa/shared/wire"
)

// What a Pi says of itself reaches the site's nodes and Pis, unless the configuration
// says where it is; what it lacks keeps the plan from being armed.
func TestA2_NodesLearnTheirPis(t *testing.T) {
	key, err := wire.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	b := set(&Brain{renew: make(chan struct{}, 1), identities: &ingest.Identities{}},
		Config{Sites: []Site{{Name: "home", Pis: []Peer{{Name: "pi"}, {Name: "pi-2", Address: "192.0.2.2:7777"}}}, {Name: "office", Pis: []Peer{{Name: "pi-3"}}}}})
	if got := b.peersOf("office"); len(got) != 0 {
		t.Fatalf("before its first contact: %+v", got)
	}
	for _, n := range []string{"pi", "pi-2", "pi-3"} {
		b.identities.Learn(ingest.Known{Name: n, Site: "home", Role: sentinel.Pi, Key: key.PublicKey()})
	}
	b.piIs(ingest.Known{Name: "pi"}, wire.PiStatus{Addresses: []string{"192.168.1.5:7777", "10.0.0.5:7777"}, Lacks: []string{"proxmox-secret"}})
	b.piIs(ingest.Known{Name: "pi-2"}, wire.PiStatus{Addresses: []string{"192.168.1.6:7777"}})
	b.piIs(ingest.Known{Name: "pi-3"}, wire.PiStatus{Addresses: []string{"192.168.9.9:7777"}})
	select {
	case <-b.renew:
	default:
		t.Error("the bundles are not made anew")
	}
	var got []string
	for _, p := range b.peersOf("home") {
		got = append(got, p.Name+" "+p.Address)
		if p.Key != key.PublicKey() {
			t.Errorf("%s has the key %q", p.Name, p.Key)
		}
	}
	if want := "pi 192.168.1.5:7777, pi 10.0.0.5:7777, pi-2 192.0.2.2:7777"; strings.Join(got, ", ") != want {
		t.Errorf("%q, want %q", got, want)
	}
	b.piIs(ingest.Known{Name: "pi"}, wire.PiStatus{Addresses: []string{"192.168.1.5:7777", "10.0.0.5:7777"}, Lacks: []string{"proxmox-secret"}})
	if len(b.renew) != 0 {
		t.Error("the same again is news")
	}
	for site, want := range map[string]string{"home": "pi does not have proxmox-secret, and could not carry the plan out", "office": ""} {
		said := ""
		for _, f := range b.checkPis(sentinel.SiteConfig{Name: site, Pis: map[string][]string{"home": {"pi", "pi-2"}, "office": {"pi-3"}}[site]}) {
			said += f.Text
		}
		if !strings.HasPrefix(said, want) || want == "" && said != "" {
			t.Errorf("of %s it is said %q", site, said)
		}
	}
}

// Of several Pis all are named, in the configured order, whoever was heard of already: it is their
// turn to act.
func TestG6_ThePisOfASiteStandInTheirOrder(t *testing.T) {
	key, err := wire.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	b := set(&Brain{renew: make(chan struct{}, 1), identities: &ingest.Identities{}},
		Config{Sites: []Site{{Name: "home", Pis: []Peer{{Name: "rack"}, {Name: "attic"}, {Name: "desk", Address: "192.0.2.2:7777"}}}}})
	order := func() (all []wire.Peer) { return b.peersOf("home") }
	if got := order(); !slices.Equal(got, []wire.Peer{{Name: "rack"}, {Name: "attic"}, {Name: "desk"}}) {
		t.Errorf("before their first contact: %+v", got)
	}
	for _, n := range []string{"desk", "attic"} {
		b.identities.Learn(ingest.Known{Name: n, Site: "home", Role: sentinel.Pi, Key: key.PublicKey()})
	}
	b.piIs(ingest.Known{Name: "attic"}, wire.PiStatus{Addresses: []string{"192.0.2.5:7777", "192.0.2.6:7777"}})
	k := key.PublicKey()
	if got := order(); !slices.Equal(got, []wire.Peer{{Name: "rack"}, {Name: "attic", Address: "192.0.2.5:7777", Key: k}, {Name: "attic", Address: "192.0.2.6:7777", Key: k}, {Name: "desk", Address: "192.0.2.2:7777", Key: k}}) {
		t.Errorf("with two of them heard: %+v", got)
	}
}

// TestS10_EachPiConfirmsAStopForItself: of several Pis that have run the plan in an outage, one that
// has stopped its own run since does not speak for another.
func TestS10_EachPiConfirmsAStopForItself(t *testing.T) {
	b := &Brain{renew: make(chan struct{}, 1)}
	run := func(pi string, counter uint64, state shutdown.State) sentinel.KnownRun {
		return sentinel.KnownRun{Run: shutdown.Status{ID: pi, State: state, Epoch: shutdown.Epoch{Counter: counter, Holder: pi}}}
	}
	heeds := func(pi string, counter uint64) {
		b.piIs(ingest.Known{Name: pi}, wire.PiStatus{Heeds: shutdown.Epoch{Counter: counter, Holder: pi}})
	}
	one, two := run("pi", 5, shutdown.Stopped), run("pi-2", 7, shutdown.Advancing)
	site := &sentinel.Site{Epoch: shutdown.Epoch{Counter: 4, Holder: "brain"}, PiRun: &two.Run, PiRuns: map[string]sentinel.KnownRun{"pi": one, "pi-2": two}}
	heeds("pi", 5)
	if !b.heedsStop("pi", site) || b.heedsStop("pi-2", site) {
		t.Errorf("stopped %t, and still running %t", b.heedsStop("pi", site), b.heedsStop("pi-2", site))
	}
	two = run("pi-2", 7, shutdown.Stopped)
	site.PiRuns["pi-2"], site.PiRun = two, &one.Run
	heeds("pi-2", 7)
	if !b.heedsStop("pi-2", site) || b.heedsStop("pi-3", site) {
		t.Errorf("stopped since %t, and never heard %t", b.heedsStop("pi-2", site), b.heedsStop("pi-3", site))
	}
}

// TestS10_ARunOfAnOutageBeforeConfirmsNoStop: the brain may hear of it only after the stop.
func TestS10_ARunOfAnOutageBeforeConfirmsNoStop(t *testing.T) {
	b := &Brain{renew: make(chan struct{}, 1)}
	before := shutdown.Status{ID: "home-pi-7", State: shutdown.HasEnded, Epoch: shutdown.Epoch{Counter: 7, Holder: "pi"}}
	site := &sentinel.Site{Epoch: shutdown.Epoch{Counter: 6, Holder: "brain"}, PiRun: &before, PiRuns: map[string]sentinel.KnownRun{"pi": {Run: before}}}
	b.piIs(ingest.Known{Name: "pi"}, wire.PiStatus{Run: &before})
	if b.heedsStop("pi", site) {
		t.Error("a Pi that may begin is taken to know of the stop")
	}
}
