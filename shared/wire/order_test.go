package wire_test

import (
	"encoding/json"
	"strings"
	"testing"

	"sentinel.home.arpa/shared/shutdown"
	"sentinel.home.arpa/shared/wire"
)

// order is one by pi1 to the heartbeat of header().
func order() wire.Order {
	by, to := header(), header()
	by.Node, by.Seq = "pi1", 900
	return wire.Order{Header: by, To: to.Node, ToBoot: to.Boot, ToSeq: to.Seq, Kind: wire.Poweroff, Armed: true,
		Run: "home-pi1-5", Epoch: shutdown.Epoch{Counter: 5, Holder: "pi1"}}
}

// TestH10_OnlyItsOwnOrderIsObeyed: what is forged, comes again, or is for another machine,
// boot or time is no order.
func TestH10_OnlyItsOwnOrderIsObeyed(t *testing.T) {
	pi, other := newKey(t), newKey(t)
	good := order()
	but := func(change func(o *wire.Order)) []byte {
		o := good
		change(&o)
		return seal(t, wire.KindOrder, o, pi)
	}
	payload := string(encode(t, good))
	for name, c := range map[string]struct {
		sealed []byte
		key    wire.PublicKey // that the host knows
		ok     bool
	}{
		"its own":                         {but(func(*wire.Order) {}), pi.PublicKey(), true},
		"from a stranger":                 {seal(t, wire.KindOrder, good, other), pi.PublicKey(), false},
		"from nobody that it knows":       {but(func(*wire.Order) {}), "", false},
		"a forged signature":              {encode(t, forged(envelope(t, wire.KindOrder, payload, pi))), pi.PublicKey(), false},
		"signed by the stranger it names": {encode(t, envelope(t, wire.KindOrder, payload, other)), pi.PublicKey(), false},
		"signed as something else":        {encode(t, envelope(t, wire.KindAnswer, payload, pi)), pi.PublicKey(), false},
		"an announcement":                 {seal(t, wire.KindAnnouncement, wire.Announcement{Header: header(), ID: "1", Kind: wire.Poweroff}, pi), pi.PublicKey(), false},
		"to another node":                 {but(func(o *wire.Order) { o.To = "pve2" }), pi.PublicKey(), false},
		"to an earlier boot":              {but(func(o *wire.Order) { o.ToBoot = strings.Replace(boot, "0", "1", 1) }), pi.PublicKey(), false},
		"to the heartbeat before":         {but(func(o *wire.Order) { o.ToSeq-- }), pi.PublicKey(), false},
		"to one that is yet to come":      {but(func(o *wire.Order) { o.ToSeq++ }), pi.PublicKey(), false},
		"to reboot":                       {but(func(o *wire.Order) { o.Kind = wire.Reboot }), pi.PublicKey(), false},
		"of a plan that is not armed":     {but(func(o *wire.Order) { o.Armed = false }), pi.PublicKey(), false},
		"of no run":                       {but(func(o *wire.Order) { o.Run = "" }), pi.PublicKey(), false},
		"of a run's endless name":         {but(func(o *wire.Order) { o.Run = strings.Repeat("r", 201) }), pi.PublicKey(), false},
		"of no epoch":                     {but(func(o *wire.Order) { o.Epoch.Counter = 0 }), pi.PublicKey(), false},
		"of an epoch that nobody holds":   {but(func(o *wire.Order) { o.Epoch.Holder = "" }), pi.PublicKey(), false},
		"of a later version":              {but(func(o *wire.Order) { o.V++ }), pi.PublicKey(), false},
		"with what is not known":          {encode(t, envelope(t, wire.KindOrder, strings.Replace(payload, `"armed"`, `"unless":"mains","armed"`, 1), pi)), pi.PublicKey(), false},
		"too long":                        {append(but(func(*wire.Order) {}), []byte(strings.Repeat(" ", wire.MaxOrder))...), pi.PublicKey(), false},
		"nothing":                         {nil, pi.PublicKey(), false},
	} {
		t.Run(name, func(t *testing.T) {
			o, err := wire.OpenOrder(c.sealed, header(), c.key)
			if (err == nil) != c.ok || (o != nil) != c.ok {
				t.Errorf("obeyed %v, want %v: %v", err == nil, c.ok, err)
			}
		})
	}
	for name, h := range map[string]wire.Header{
		"a clone's boot": {V: 1, Node: "pve1", Boot: strings.Replace(boot, "0", "c", 1), Seq: 7},
		"another name":   {V: 1, Node: "nas", Boot: boot, Seq: 7},
		"another time":   {V: 1, Node: "pve1", Boot: boot, Seq: 8},
	} {
		if _, err := wire.OpenOrder(but(func(*wire.Order) {}), h, pi.PublicKey()); err == nil {
			t.Errorf("%s: obeyed by whom it does not name", name)
		}
	}
}

// forged changes a byte of the signature.
func forged(e map[string]any) map[string]any {
	sig := e["signatures"].([]any)[0].(map[string]any)
	was := sig["sig"].(string)
	sig["sig"] = map[bool]string{true: "B", false: "A"}[was[0] == 'A'] + was[1:]
	return e
}

// FuzzOpenOrder: nothing is obeyed but what is signed for this heartbeat by who is known.
func FuzzOpenOrder(f *testing.F) {
	pi := newKey(f)
	f.Add(seal(f, wire.KindOrder, order(), pi), []byte("{}"))
	f.Add([]byte("{}"), encode(f, order()))
	f.Add([]byte{}, []byte(`{"v":1,"node":"pi1","boot":"`+boot+`","seq":1,"to":"pve1","to_boot":"`+boot+`","to_seq":7,"kind":"poweroff","armed":true,"run":"x","epoch":{"counter":1,"holder":"pi1"}}`))
	stranger := newKey(f).PublicKey()
	f.Fuzz(func(t *testing.T, sealed, payload []byte) {
		if _, err := wire.OpenOrder(sealed, header(), stranger); err == nil {
			t.Error("obeyed what a stranger has signed")
		}
		if !json.Valid(payload) {
			return
		}
		own, err := wire.Seal(wire.KindOrder, json.RawMessage(payload), pi)
		if err != nil {
			return
		}
		o, err := wire.OpenOrder(own, header(), pi.PublicKey())
		if err != nil {
			return
		}
		if h := header(); o.To != h.Node || o.ToBoot != h.Boot || o.ToSeq != h.Seq || o.Kind != wire.Poweroff || !o.Armed || o.Run == "" {
			t.Errorf("obeyed %+v", o)
		}
	})
}
