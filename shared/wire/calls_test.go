package wire_test

import (
	"testing"

	"sentinel.home.arpa/shared/wire"
)

// TestG3_AListOfCallsIsNamedByItsContents, and is refused if it is endless.
func TestG3_AListOfCallsIsNamedByItsContents(t *testing.T) {
	c := wire.Calls{Contacts: []wire.Contact{{Name: "Alex", Phone: "+15550100100"}}, Twilio: &wire.Twilio{From: "+15005550006"}}
	first, err := c.Hash()
	if err != nil || first == wire.NoCalls || len(first) > 64 {
		t.Fatalf("%q, %v", first, err)
	}
	c.Twilio.Voice = "Polly.Amy"
	if second, err := c.Hash(); err != nil || second == first {
		t.Errorf("another voice, and the same name: %v", err)
	}
	a := wire.Answer{Header: wire.Header{V: wire.Version, Node: "brain", Boot: "9a3f0c12-0000-4000-8000-0000000000b1", Seq: 1}, Calls: &c}
	if err := a.Validate(); err != nil {
		t.Error(err)
	}
	c.Contacts = make([]wire.Contact, wire.MaxContacts+1)
	if a.Validate() == nil {
		t.Error("17 contacts are taken")
	}
	h := wire.Heartbeat{Header: a.Header, Pi: &wire.PiStatus{Calls: first}}
	if err := h.Validate(); err != nil {
		t.Error(err)
	}
	h.Pi.Calls += first + first
	if h.Validate() == nil {
		t.Error("an endless hash is taken")
	}
}
