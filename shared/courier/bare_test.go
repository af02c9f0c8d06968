package courier_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"sentinel.home.arpa/shared/courier"
	"sentinel.home.arpa/shared/wire"
)

// TestR1_BareAnswers are asked for and believed only where whoever dials vouches for the
// receiver; an answer must name its request all the same.
func TestR1_BareAnswers(t *testing.T) {
	k, err := wire.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	h := header("pve1")
	answer := wire.Answer{Header: header("cloud"), To: h.Node, ToBoot: h.Boot, ToSeq: h.Seq, BrainKey: k.PublicKey()}
	other := answer
	other.ToSeq++
	signed := func(w http.ResponseWriter, a wire.Answer) error { return courier.Reply(w, a, k) }
	bare := func(w http.ResponseWriter, a wire.Answer) error { return courier.ReplyBare(w, &a) }
	for name, tt := range map[string]struct {
		key    wire.PublicKey // that the client knows
		reply  func(http.ResponseWriter, wire.Answer) error
		answer wire.Answer
		err    string // part of it; empty: none
	}{
		"bare, to who dialled a tailnet":            {"", bare, answer, ""},
		"signed all the same, as an old brain does": {"", signed, answer, ""},
		"bare, to another request":                  {"", bare, other, "another request"},
		"bare, to who knows the key":                {k.PublicKey(), bare, answer, "malformed envelope"},
		"signed, to who knows the key":              {k.PublicKey(), signed, answer, ""},
	} {
		t.Run(name, func(t *testing.T) {
			asked := make(chan bool, 1)
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				asked <- courier.TakesBare(r)
				if err := tt.reply(w, tt.answer); err != nil {
					t.Error(err)
				}
			}))
			defer srv.Close()
			c := courier.NewClient(nil)
			defer c.Close()
			a, err := c.Post(t.Context(), courier.Receiver{Name: "cloud", URL: srv.URL, Key: tt.key}, courier.PathHeartbeat, h, []byte("{}"))
			if got := <-asked; got != (tt.key == "") {
				t.Errorf("a bare answer was asked for: %v", got)
			}
			switch {
			case tt.err == "" && (err != nil || a.BrainKey != k.PublicKey()):
				t.Errorf("got %+v, %v", a, err)
			case tt.err != "" && (err == nil || !strings.Contains(err.Error(), tt.err)):
				t.Errorf("got %+v, %v, want %q", a, err, tt.err)
			}
		})
	}
}
