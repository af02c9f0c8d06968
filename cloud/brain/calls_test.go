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

// TestG3_APiThatTellsIsGivenChannels, those that want to hear of it, by the names of their secrets; another is not. Whose phone
// rings for other sites alone is not called by it.
func TestG3_APiThatTellsIsGivenChannels(t *testing.T) {
	secret := func(name string) config.Secret {
		s, err := config.NewSecret(name)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	cfg := Config{Sites: []Site{{Name: "home", Pis: []Peer{{Name: "pi"}}}, {Name: "office"}},
		Email: &Email{Host: "mail.example.org", TLS: "implicit", User: "sentinel", Password: secret("mail-password"), From: "sentinel@example.org"},
		Contacts: []Person{
			{Name: "Alex", Phone: alex, Notices: []Channel{{URLFile: secret("alex-ntfy")}, {SMS: true, Kinds: []string{"ups"}}, {Email: "alex@example.org", On: "online", Sites: []string{"home"}}}},
			{Name: "Sam", Notices: []Channel{{Email: "sam@example.org", Sites: []string{"office"}}}},
			{Name: "Kim", Phone: sam},
			{Name: "Lee", Phone: "+15550100300", Calls: Rings{Sites: []string{"office"}}, Notices: []Channel{{Email: "lee@example.org"}}},
		}}
	b := set(&Brain{renew: make(chan struct{}, 1), identities: &ingest.Identities{}}, cfg)
	given := func(site string, tells bool) *wire.Calls {
		b.piIs(ingest.Known{Name: "pi"}, wire.PiStatus{Calls: wire.NoCalls, Tells: tells})
		return b.callsFor("pi", site)
	}
	mail := &wire.Mail{Host: "mail.example.org", TLS: "implicit", User: "sentinel", Password: "mail-password", From: "sentinel@example.org"}
	for _, c := range []struct {
		site  string
		tells bool
		want  *wire.Calls
	}{
		{"home", false, &wire.Calls{Contacts: []wire.Contact{{Name: "Alex", Phone: alex}, {Name: "Kim", Phone: sam}}}},
		{"home", true, &wire.Calls{Mail: mail, Contacts: []wire.Contact{
			{Name: "Alex", Phone: alex, Channels: []wire.Channel{{URLFile: "alex-ntfy", Turns: "both"}, {Email: "alex@example.org", Turns: "online"}}}, {Name: "Kim", Phone: sam},
			{Name: "Lee", Channels: []wire.Channel{{Email: "lee@example.org", Turns: "both"}}}}}},
		{"office", true, &wire.Calls{Mail: mail, Contacts: []wire.Contact{
			{Name: "Alex", Phone: alex, Channels: []wire.Channel{{URLFile: "alex-ntfy", Turns: "both"}}}, {Name: "Sam", Channels: []wire.Channel{{Email: "sam@example.org", Turns: "both"}}}, {Name: "Kim", Phone: sam},
			{Name: "Lee", Phone: "+15550100300", Channels: []wire.Channel{{Email: "lee@example.org", Turns: "both"}}}}}},
	} {
		if diff := cmp.Diff(c.want, given(c.site, c.tells)); diff != "" {
			t.Errorf("%s, tells %t (-want +got):\n%s", c.site, c.tells, diff)
		}
	}
	cfg.Email = &Email{Sendmail: "/usr/sbin/sendmail", From: "sentinel@example.org"}
	set(b, cfg)
	if got := given("home", true); got.Mail != nil || len(got.Contacts[0].Channels) != 1 {
		t.Errorf("a Pi is told of a program of the brain's: %+v", got)
	}
}
