package brain

import (
	"strings"
	"testing"

	"sentinel.home.arpa/cloud/internal/ingest"
	"sentinel.home.arpa/cloud/internal/sentinel"
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
	if got := b.peersOf("home"); len(got) != 0 {
		t.Fatalf("before their first contact: %+v", got)
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
