package lan_test

import (
	"log/slog"
	"testing"

	"sentinel.home.arpa/shared/courier"
	"sentinel.home.arpa/shared/orders"
	"sentinel.home.arpa/shared/shutdown"
	"sentinel.home.arpa/shared/wire"
)

// ordering has the Pi give a host an order for as long as the test runs, or until it is taken.
func (p *pi) ordering(t *testing.T, node string) <-chan error {
	t.Helper()
	desk := &orders.Desk{Log: slog.New(slog.DiscardHandler), Key: p.key, Self: p.Self, Now: p.Now}
	p.Orders = desk
	out := make(chan error, 1)
	go func() {
		out <- desk.Give(t.Context(), node, orders.Run{ID: "r", Epoch: shutdown.Epoch{Counter: 1, Holder: "pi"}}, func() error { return nil })
	}()
	return out
}

// TestH10_AnOrderGoesWithTheAnswerToANewHeartbeat, of the host that it is for, and its
// announcement is its yes.
func TestH10_AnOrderGoesWithTheAnswerToANewHeartbeat(t *testing.T) {
	p := newPi(t)
	other := newKey(t)
	p.known["pve2"] = other.PublicKey()
	out := p.ordering(t, "pve1")
	h := header("pve1", 1000)
	var a *wire.Answer
	for a == nil || len(a.Order) == 0 { // until it is given
		h.Seq++
		var err error
		if a, err = p.beat(t, h, "running", p.node); err != nil {
			t.Fatal(err)
		}
	}
	if o, err := wire.OpenOrder(a.Order, h, p.key.PublicKey()); err != nil || o.Run != "r" {
		t.Errorf("%+v, %v", o, err)
	}
	if a, err := p.beat(t, h, "running", p.node); err != nil || len(a.Order) > 0 {
		t.Errorf("a heartbeat that came again is answered with the order %q, %v", a.Order, err)
	}
	if a, err := p.beat(t, header("pve2", 1), "running", other); err != nil || len(a.Order) > 0 {
		t.Errorf("another host is ordered %q, %v", a.Order, err)
	}
	clone := h
	clone.Boot = boot2
	if a, err := p.beat(t, clone, "running", p.node); err != nil || len(a.Order) > 0 {
		t.Errorf("a second machine under the name is ordered %q, %v", a.Order, err)
	}
	h.Seq++
	announced, err := p.post(courier.PathAnnounce, h, seal(t, wire.KindAnnouncement, wire.Announcement{Header: h, ID: "1", Kind: wire.Poweroff}, p.node))
	if err != nil || len(announced.Order) > 0 {
		t.Errorf("an announcement is answered with the order %q, %v", announced.Order, err)
	}
	if err := <-out; err != nil {
		t.Errorf("not taken: %v", err)
	}
	h.Seq++
	if a, err := p.beat(t, h, "stopping", p.node); err != nil || len(a.Order) > 0 {
		t.Errorf("ordered after its yes: %q, %v", a.Order, err)
	}
}
