package brain

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"sentinel.home.arpa/cloud/internal/ingest"
	"sentinel.home.arpa/shared/config"
	"sentinel.home.arpa/shared/wire"
)

// TestG3_APiIsToldWhomToCall once it asks for that, until it names the same; never one that
// does not know of it.
func TestG3_APiIsToldWhomToCall(t *testing.T) {
	secret, err := config.NewSecret("twilio-secret")
	if err != nil {
		t.Fatal(err)
	}
	cfg := Config{Sites: []Site{{Name: "home", TimeZone: "Asia/Taipei", Pis: []Peer{{Name: "pi"}}}, {Name: "office"}},
		Contacts: []Person{{Name: "Alex", Phone: alex}, {Name: "Sam", Phone: "+15550100200"}},
		Twilio:   &Twilio{AccountSID: account, APIKeySID: apiKey, APIKeySecret: secret, From: caller, Voice: "Polly.Amy", Language: "en-GB"}}
	b := set(&Brain{renew: make(chan struct{}, 1), identities: &ingest.Identities{}}, cfg)
	names := func(hash string) *wire.Calls {
		b.piIs(ingest.Known{Name: "pi"}, wire.PiStatus{Calls: hash})
		return b.callsFor("pi", "home")
	}
	if got := b.callsFor("pi", "home"); got != nil {
		t.Errorf("before it spoke: %+v", got)
	}
	if got := names(""); got != nil {
		t.Errorf("an older Pi is told %+v", got)
	}
	want := &wire.Calls{Zone: "Asia/Taipei", Contacts: []wire.Contact{{Name: "Alex", Phone: alex}, {Name: "Sam", Phone: "+15550100200"}},
		Twilio: &wire.Twilio{AccountSID: account, KeySID: apiKey, Secret: "twilio-secret", From: caller, Voice: "Polly.Amy", Language: "en-GB"}}
	got := names(wire.NoCalls)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("(-want +got):\n%s", diff)
	}
	hash, err := got.Hash()
	if err != nil {
		t.Fatal(err)
	}
	if got := names(hash); got != nil {
		t.Errorf("it knows, and is told %+v", got)
	}
	cfg.Contacts = cfg.Contacts[1:]
	set(b, cfg)
	if got := names(hash); got == nil || len(got.Contacts) != 1 {
		t.Errorf("after a reload: %+v", got)
	}
	cfg.Twilio, cfg.Contacts = nil, nil
	set(b, cfg)
	if got := names(hash); got == nil || got.Twilio != nil || len(got.Contacts) != 0 {
		t.Errorf("without an account: %+v", got)
	}
}
