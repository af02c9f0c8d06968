package courier_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"sentinel.home.arpa/shared/courier"
	"sentinel.home.arpa/shared/shutdown"
	"sentinel.home.arpa/shared/wire"
)

// TestH10_AnOrderTravelsBesideEachKindOfAnswer, so that an agent that knows of none reads the
// answer as ever, and is never remembered for the next one.
func TestH10_AnOrderTravelsBesideEachKindOfAnswer(t *testing.T) {
	key := newKey(t)
	h := header("desktop")
	sealed, err := wire.Seal(wire.KindOrder, wire.Order{Header: header("pi"), To: h.Node, ToBoot: h.Boot, ToSeq: h.Seq, Kind: wire.Poweroff,
		Armed: true, Run: "r", Epoch: shutdown.Epoch{Counter: 1, Holder: "pi"}}, key)
	if err != nil {
		t.Fatal(err)
	}
	var told courier.Told
	for name, c := range map[string]struct {
		key   wire.PublicKey
		reply func(w http.ResponseWriter, r *http.Request, a *wire.Answer) error
	}{
		"signed": {key.PublicKey(), func(w http.ResponseWriter, _ *http.Request, a *wire.Answer) error { return courier.Reply(w, *a, key) }},
		"bare":   {"", func(w http.ResponseWriter, _ *http.Request, a *wire.Answer) error { return courier.ReplyBare(w, a) }},
		"told": {"", func(w http.ResponseWriter, r *http.Request, a *wire.Answer) error {
			return courier.ReplyTold(w, r, a, &told)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			var order []byte
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if err := c.reply(w, r, &wire.Answer{Header: header("pi"), To: h.Node, ToBoot: h.Boot, ToSeq: h.Seq, Order: order}); err != nil {
					t.Error(err)
				}
			}))
			t.Cleanup(srv.Close)
			client := courier.NewClient(nil)
			t.Cleanup(client.Close)
			for _, with := range []bool{false, true, true, false} {
				order = nil
				if with {
					order = sealed
				}
				a, err := client.Post(t.Context(), courier.Receiver{Name: "pi", URL: srv.URL, Key: c.key}, courier.PathHeartbeat, h, []byte("{}"))
				if err != nil {
					t.Fatal(err)
				}
				if string(a.Order) != string(order) {
					t.Errorf("got the order %q, sent %q", a.Order, order)
				}
				if _, err := wire.OpenOrder(a.Order, h, key.PublicKey()); (err == nil) != with {
					t.Errorf("opened: %v", err)
				}
			}
		})
	}
}
