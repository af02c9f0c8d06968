package wire_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sentinel.home.arpa/shared/power"
	"sentinel.home.arpa/shared/shutdown"
	"sentinel.home.arpa/shared/wire"
)

const boot = "0f8fad5b-d9cb-469f-a165-70867728950e"

func newKey(t testing.TB) wire.Key {
	t.Helper()
	k, err := wire.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func header() wire.Header {
	return wire.Header{V: wire.Version, Site: "home", Node: "pve1", Boot: boot, Seq: 7}
}

func seal(t testing.TB, kind wire.Kind, m any, k wire.Key) []byte {
	t.Helper()
	data, err := wire.Seal(kind, m, k)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// envelope is one built by hand: what Seal never would make.
func envelope(t testing.TB, kind wire.Kind, payload string, k wire.Key) map[string]any {
	t.Helper()
	pae := fmt.Sprintf("DSSEv1 %d %s %d %s", len(kind), kind, len(payload), payload)
	sig, err := k.Sign(t.Context(), []byte(pae))
	if err != nil {
		t.Fatal(err)
	}
	return map[string]any{"payloadType": kind, "payload": base64.StdEncoding.EncodeToString([]byte(payload)),
		"signatures": []any{map[string]any{"keyid": k.PublicKey(), "sig": base64.StdEncoding.EncodeToString(sig)}}}
}

func encode(t testing.TB, v any) []byte {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestEnvelopeThereAndBack(t *testing.T) {
	k := newKey(t)
	charge := 0.96
	for kind, c := range map[wire.Kind]struct{ sent, got wire.Message }{
		wire.KindHeartbeat: {&wire.Heartbeat{Header: header(), State: "running", Pi: &wire.PiStatus{Addresses: []string{"192.0.2.7:7777"},
			Heard: []wire.Heard{{Node: "pve2", Boot: boot, Seq: 9, AgeMS: 120, State: "degraded"}}}}, &wire.Heartbeat{}},
		wire.KindAnnouncement: {&wire.Announcement{Header: header(), ID: "r1", Kind: wire.Reboot}, &wire.Announcement{}},
		wire.KindUPS: {&wire.UPSReport{Header: header(), UPS: "apc1", Changed: true,
			Reading: power.Reading{Status: power.Status{Flags: power.OnBattery, Charge: &charge}, Supply: power.Battery, For: 2.5}}, &wire.UPSReport{}},
		wire.KindRelay:  {&wire.Relay{Header: header(), Messages: []wire.Relayed{{AgeMS: 5, Envelope: []byte("{}")}}}, &wire.Relay{}},
		wire.KindAnswer: {&wire.Answer{Header: header(), To: "pi1", ToBoot: boot, ToSeq: 3, BrainKey: k.PublicKey(), Taken: []int{0}}, &wire.Answer{}},
		wire.KindRecord: {&wire.Record{Header: header(), Left: 3, Entries: []wire.Noted{{AgeMS: 5, Node: "pve2", Heard: true},
			{AgeMS: 4, UPS: "apc1", Reading: &power.Reading{Status: power.Status{Flags: power.OnBattery, Charge: &charge}, Supply: power.Battery}}}}, &wire.Record{}},
		wire.KindConnect: {&wire.Connect{Header: header(), Pi: "pi1", Addr: "192.0.2.1:8006"}, &wire.Connect{}},
		wire.KindOrder: {&wire.Order{Header: header(), To: "nas", ToBoot: boot, ToSeq: 3, Kind: wire.Poweroff, Armed: true, Run: "r",
			Epoch: shutdown.Epoch{Counter: 2, Holder: "pi1"}}, &wire.Order{}},
	} {
		t.Run(string(kind), func(t *testing.T) {
			e, err := wire.Read(seal(t, kind, c.sent, k))
			if err != nil {
				t.Fatal(err)
			}
			if e.Kind != kind || e.Signer != k.PublicKey() || e.Header != header() {
				t.Errorf("read %s of %s, %+v", e.Kind, e.Signer, e.Header)
			}
			if err := e.Verify(k.PublicKey()); err != nil {
				t.Errorf("Verify: %v", err)
			}
			if err := e.Decode(kind, c.got); err != nil {
				t.Fatalf("Decode: %v", err)
			}
			if diff := cmp.Diff(c.sent, c.got); diff != "" {
				t.Errorf("(-sent +got):\n%s", diff)
			}
		})
	}
}

// TestA7_Forgeries are refused, whatever of the envelope was changed.
func TestA7_Forgeries(t *testing.T) {
	k, other := newKey(t), newKey(t)
	payload := string(encode(t, wire.Announcement{Header: header(), ID: "p1", Kind: wire.Poweroff}))
	good := func() map[string]any { return envelope(t, wire.KindAnnouncement, payload, k) }
	signature := func(e map[string]any) map[string]any {
		return e["signatures"].([]any)[0].(map[string]any)
	}
	verify := func(e map[string]any) error {
		r, err := wire.Read(encode(t, e))
		if err != nil {
			return err
		}
		return r.Verify(k.PublicKey())
	}
	if err := verify(good()); err != nil {
		t.Fatalf("the true one: %v", err)
	}
	for name, forge := range map[string]func(e map[string]any){
		"signed by another, who says so": func(e map[string]any) {
			e["signatures"] = envelope(t, wire.KindAnnouncement, payload, other)["signatures"]
		},
		"signed by another, in its name": func(e map[string]any) {
			s := envelope(t, wire.KindAnnouncement, payload, other)
			signature(e)["sig"] = signature(s)["sig"]
		},
		"a signature for another kind": func(e map[string]any) { e["payloadType"] = wire.KindHeartbeat },
		"another payload under the signature": func(e map[string]any) {
			e["payload"] = base64.StdEncoding.EncodeToString([]byte(strings.Replace(payload, "poweroff", "cancelled", 1)))
		},
		"another node under the signature": func(e map[string]any) {
			e["payload"] = base64.StdEncoding.EncodeToString([]byte(strings.Replace(payload, "pve1", "pve2", 1)))
		},
		"an empty signature":            func(e map[string]any) { signature(e)["sig"] = "" },
		"a signature that is no base64": func(e map[string]any) { signature(e)["sig"] = "***" },
		"a truncated signature":         func(e map[string]any) { signature(e)["sig"] = signature(e)["sig"].(string)[:40] },
	} {
		t.Run(name, func(t *testing.T) {
			e := good()
			forge(e)
			err := verify(e)
			if !errors.Is(err, wire.ErrSignature) && !errors.Is(err, wire.ErrMalformed) {
				t.Errorf("taken for true: %v", err)
			}
		})
	}
}

func TestR2_MalformedEnvelopes(t *testing.T) {
	k := newKey(t)
	payload := string(encode(t, wire.Announcement{Header: header(), ID: "p1", Kind: wire.Poweroff}))
	with := func(change func(e map[string]any)) []byte {
		e := envelope(t, wire.KindAnnouncement, payload, k)
		change(e)
		return encode(t, e)
	}
	good := with(func(map[string]any) {})
	for name, data := range map[string][]byte{
		"nothing":            nil,
		"no JSON":            []byte("hello"),
		"null":               []byte("null"),
		"an array":           []byte("[]"),
		"empty":              []byte("{}"),
		"truncated":          good[:len(good)/2],
		"trailing data":      append(bytes.Clone(good), "{}"...),
		"trailing word":      append(bytes.Clone(good), " x"...),
		"unknown field":      with(func(e map[string]any) { e["extra"] = 1 }),
		"no signature":       with(func(e map[string]any) { e["signatures"] = []any{} }),
		"two signatures":     with(func(e map[string]any) { s := e["signatures"].([]any); e["signatures"] = append(s, s[0]) }),
		"payload no base64":  with(func(e map[string]any) { e["payload"] = "***" }),
		"payload a number":   with(func(e map[string]any) { e["payload"] = 7 }),
		"keyid no key":       with(func(e map[string]any) { e["signatures"].([]any)[0].(map[string]any)["keyid"] = "pve1" }),
		"keyid short":        with(func(e map[string]any) { e["signatures"].([]any)[0].(map[string]any)["keyid"] = "ed25519:AAAA" }),
		"oversize":           with(func(e map[string]any) { e["payload"] = strings.Repeat("A", wire.MaxEnvelope) }),
		"payload just over":  encode(t, envelope(t, wire.KindAnnouncement, payload+strings.Repeat(" ", wire.MaxPayload+1-len(payload)), k)),
		"payload no object":  encode(t, envelope(t, wire.KindAnnouncement, `"hello"`, k)),
		"payload of nothing": encode(t, envelope(t, wire.KindAnnouncement, ``, k)),
		"payload trails":     encode(t, envelope(t, wire.KindAnnouncement, payload+"{}", k)),
		"deeply nested":      []byte(strings.Repeat("[", 50_000)),
	} {
		t.Run(name, func(t *testing.T) {
			if e, err := wire.Read(data); !errors.Is(err, wire.ErrMalformed) {
				t.Errorf("Read = %+v, %v", e, err)
			}
		})
	}
	if _, err := wire.Read(good); err != nil {
		t.Errorf("the good one: %v", err)
	}
}

func TestR2_Headers(t *testing.T) {
	k := newKey(t)
	for name, change := range map[string]func(h *wire.Header){
		"older version":     func(h *wire.Header) { h.V = 0 },
		"newer version":     func(h *wire.Header) { h.V = 2 },
		"no node":           func(h *wire.Header) { h.Node = "" },
		"node in capitals":  func(h *wire.Header) { h.Node = "PVE1" },
		"node with a slash": func(h *wire.Header) { h.Node = "a/b" },
		"node with a line":  func(h *wire.Header) { h.Node = "pve1\n" },
		"node of 64":        func(h *wire.Header) { h.Node = strings.Repeat("a", 64) },
		"node ends in dash": func(h *wire.Header) { h.Node = "pve-" },
		"site with a space": func(h *wire.Header) { h.Site = "my home" },
		"no boot":           func(h *wire.Header) { h.Boot = "" },
		"boot in capitals":  func(h *wire.Header) { h.Boot = strings.ToUpper(boot) },
		"boot too long":     func(h *wire.Header) { h.Boot = boot + "0" },
		"boot ends in line": func(h *wire.Header) { h.Boot = boot[:35] + "\n" },
		"seq zero":          func(h *wire.Header) { h.Seq = 0 },
		"seq negative":      func(h *wire.Header) { h.Seq = -1 },
		"seq of 142 years":  func(h *wire.Header) { h.Seq = 1<<52 + 1 },
	} {
		t.Run(name, func(t *testing.T) {
			h := header()
			change(&h)
			if _, err := wire.Read(seal(t, wire.KindHeartbeat, wire.Heartbeat{Header: h}, k)); !errors.Is(err, wire.ErrMalformed) {
				t.Errorf("Read: %v", err)
			}
		})
	}
	h := header()
	h.Site = ""
	h.Node = strings.Repeat("a", 63)
	h.Boot = strings.ReplaceAll(boot, "-", "")
	h.Seq = 1 << 52
	if _, err := wire.Read(seal(t, wire.KindHeartbeat, wire.Heartbeat{Header: h}, k)); err != nil {
		t.Errorf("at its limits: %v", err)
	}
}

// TestR2_Messages: what is well signed may still be wrong.
func TestR2_Messages(t *testing.T) {
	k := newKey(t)
	head := strings.TrimSuffix(string(encode(t, header())), "}")
	heard := func(n int) string {
		return strings.TrimSuffix(strings.Repeat(`{"node":"pve2","boot":"`+boot+`","seq":1,"age_ms":1},`, n), ",")
	}
	for name, c := range map[string]struct {
		kind    wire.Kind
		into    wire.Message
		payload string
		ok      bool
	}{
		"a plain heartbeat":        {wire.KindHeartbeat, &wire.Heartbeat{}, `}`, true},
		"unknown field":            {wire.KindHeartbeat, &wire.Heartbeat{}, `,"extra":1}`, false},
		"another kind":             {wire.KindUPS, &wire.UPSReport{}, `,"ups":"apc1","reading":{"flags":8,"supply":"mains","for_s":1},"kind":"reboot"}`, false},
		"state too long":           {wire.KindHeartbeat, &wire.Heartbeat{}, `,"state":"` + strings.Repeat("x", 33) + `"}`, false},
		"500 heard":                {wire.KindHeartbeat, &wire.Heartbeat{}, `,"pi":{"heard":[` + heard(500) + `]}}`, true},
		"501 heard":                {wire.KindHeartbeat, &wire.Heartbeat{}, `,"pi":{"heard":[` + heard(501) + `]}}`, false},
		"heard of no boot":         {wire.KindHeartbeat, &wire.Heartbeat{}, `,"pi":{"heard":[{"node":"pve2","boot":"x","seq":1,"age_ms":1}]}}`, false},
		"heard in the future":      {wire.KindHeartbeat, &wire.Heartbeat{}, `,"pi":{"heard":[{"node":"pve2","boot":"` + boot + `","seq":1,"age_ms":-1}]}}`, false},
		"announcement without id":  {wire.KindAnnouncement, &wire.Announcement{}, `,"id":"","kind":"reboot"}`, false},
		"announcement of nothing":  {wire.KindAnnouncement, &wire.Announcement{}, `,"id":"1","kind":"sleep"}`, false},
		"announcement id too long": {wire.KindAnnouncement, &wire.Announcement{}, `,"id":"` + strings.Repeat("1", 65) + `","kind":"halt"}`, false},
		"UPS on mains":             {wire.KindUPS, &wire.UPSReport{}, `,"ups":"apc1","reading":{"flags":8,"supply":"mains","for_s":1}}`, true},
		"U6: charge 250 %":         {wire.KindUPS, &wire.UPSReport{}, `,"ups":"apc1","reading":{"flags":8,"supply":"mains","for_s":1,"charge_ratio":2.5}}`, false},
		"U6: negative time":        {wire.KindUPS, &wire.UPSReport{}, `,"ups":"apc1","reading":{"flags":8,"supply":"battery","for_s":-1}}`, false},
		"U6: NaN":                  {wire.KindUPS, &wire.UPSReport{}, `,"ups":"apc1","reading":{"flags":8,"supply":"battery","for_s":NaN}}`, false},
		"U6: infinite":             {wire.KindUPS, &wire.UPSReport{}, `,"ups":"apc1","reading":{"flags":8,"supply":"battery","for_s":1e999}}`, false},
		"U6: no such supply":       {wire.KindUPS, &wire.UPSReport{}, `,"ups":"apc1","reading":{"flags":8,"supply":"solar","for_s":1}}`, false},
		"UPS without a name":       {wire.KindUPS, &wire.UPSReport{}, `,"ups":"","reading":{"flags":8,"supply":"mains","for_s":1}}`, false},
		"empty relay":              {wire.KindRelay, &wire.Relay{}, `,"messages":[]}`, false},
		"32 relayed":               {wire.KindRelay, &wire.Relay{}, `,"messages":[` + strings.Repeat(`{"age_ms":1,"envelope":""},`, 31) + `{"age_ms":1,"envelope":""}]}`, true},
		"33 relayed":               {wire.KindRelay, &wire.Relay{}, `,"messages":[` + strings.Repeat(`{"age_ms":1,"envelope":""},`, 32) + `{"age_ms":1,"envelope":""}]}`, false},
		"relayed from the future":  {wire.KindRelay, &wire.Relay{}, `,"messages":[{"age_ms":-1,"envelope":""}]}`, false},
		"relayed after 31 days":    {wire.KindRelay, &wire.Relay{}, `,"messages":[{"age_ms":2678400000,"envelope":""}]}`, false},
		"connect without a Pi":     {wire.KindConnect, &wire.Connect{}, `,"pi":"","addr":"192.0.2.1:8006"}`, false},
		"answer taking 33":         {wire.KindAnswer, &wire.Answer{}, `,"to":"a","to_boot":"b","to_seq":1,"taken":[0` + strings.Repeat(",0", 32) + `]}`, false},
	} {
		t.Run(name, func(t *testing.T) {
			e, err := wire.Read(encode(t, envelope(t, c.kind, head+c.payload, k)))
			if err == nil {
				if err := e.Verify(k.PublicKey()); err != nil {
					t.Fatalf("Verify: %v", err)
				}
				err = e.Decode(c.kind, c.into)
			}
			if c.ok && err != nil || !c.ok && !errors.Is(err, wire.ErrMalformed) {
				t.Errorf("ok %v: %v", c.ok, err)
			}
		})
	}
}

func TestDecodeWantsTheRightKind(t *testing.T) {
	k := newKey(t)
	e, err := wire.Read(seal(t, wire.KindHeartbeat, wire.Heartbeat{Header: header()}, k))
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Decode(wire.KindConnect, &wire.Connect{}); !errors.Is(err, wire.ErrMalformed) {
		t.Errorf("a heartbeat passes for an order to connect: %v", err)
	}
}

func TestSealKnowsItsLimit(t *testing.T) {
	k := newKey(t)
	if _, err := wire.Seal(wire.KindHeartbeat, strings.Repeat("x", wire.MaxPayload), k); err == nil {
		t.Error("sealed more than may be read")
	}
	if _, err := wire.Seal(wire.KindHeartbeat, math.NaN(), k); err == nil {
		t.Error("sealed NaN")
	}
	fits := wire.Announcement{Header: header(), ID: strings.Repeat("x", wire.MaxPayload-200), Kind: wire.Halt}
	if data := seal(t, wire.KindAnnouncement, fits, k); len(data) > wire.MaxEnvelope {
		t.Errorf("a payload within the limit makes an envelope of %d bytes, over it", len(data))
	} else if _, err := wire.Read(data); err != nil {
		t.Errorf("what was sealed cannot be read: %v", err)
	}
}

func TestAnswers(t *testing.T) {
	a := wire.Answer{To: "pve1", ToBoot: boot, ToSeq: 7}
	if !a.Answers(header()) {
		t.Error("it answers its request")
	}
	for _, other := range []wire.Answer{{To: "pve2", ToBoot: boot, ToSeq: 7}, {To: "pve1", ToBoot: "b", ToSeq: 7}, {To: "pve1", ToBoot: boot, ToSeq: 6}} {
		if other.Answers(header()) {
			t.Errorf("%+v answers another's request", other)
		}
	}
}

func TestBundleHash(t *testing.T) {
	hash := func(b wire.Bundle) string {
		t.Helper()
		h, err := b.Hash()
		if err != nil {
			t.Fatal(err)
		}
		return h
	}
	b := func() wire.Bundle {
		return wire.Bundle{Site: "home", Keys: map[string]wire.PublicKey{"a": "1", "b": "2", "c": "3"}, Policy: power.DefaultPolicy()}
	}
	armed := b()
	armed.Armed = true
	first, again := hash(b()), hash(b())
	if first != again || first == hash(armed) {
		t.Error("the hash must name the contents")
	}
}

func TestShutdownKinds(t *testing.T) {
	for text, returns := range map[string]bool{"poweroff": false, "halt": false, "cancelled": false, "reboot": true, "kexec": true, "soft-reboot": true} {
		k, err := wire.ParseShutdownKind(text)
		if err != nil || string(k) != text || k.Returns() != returns {
			t.Errorf("%s: %s, returns %v, %v", text, k, k.Returns(), err)
		}
	}
	for _, text := range []string{"", "Reboot", "suspend", "reboot "} {
		if _, err := wire.ParseShutdownKind(text); err == nil {
			t.Errorf("%q passes", text)
		}
	}
}

// FuzzRead: whatever is read neither crashes nor is believed without its key.
func FuzzRead(f *testing.F) {
	k, other := newKey(f), newKey(f)
	f.Add(seal(f, wire.KindHeartbeat, wire.Heartbeat{Header: header(), State: "running"}, k))
	f.Add(seal(f, wire.KindAnnouncement, wire.Announcement{Header: header(), ID: "1", Kind: wire.Reboot}, k))
	f.Add(encode(f, envelope(f, wire.KindRelay, `{"v":1}`, k)))
	f.Add([]byte(`{"payloadType":"x","payload":"e30=","signatures":[{"keyid":"","sig":""}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		e, err := wire.Read(data)
		if err != nil {
			if !errors.Is(err, wire.ErrMalformed) {
				t.Errorf("an error of no kind: %v", err)
			}
			return
		}
		if err := e.Verify(other.PublicKey()); err == nil {
			t.Error("verified with a key that signed nothing")
		}
		for kind, into := range map[wire.Kind]wire.Message{wire.KindHeartbeat: &wire.Heartbeat{}, wire.KindAnnouncement: &wire.Announcement{},
			wire.KindUPS: &wire.UPSReport{}, wire.KindRelay: &wire.Relay{}, wire.KindAnswer: &wire.Answer{}, wire.KindConnect: &wire.Connect{}, wire.KindRecord: &wire.Record{}, wire.KindOrder: &wire.Order{}} {
			if err := e.Decode(kind, into); err == nil && e.Kind != kind {
				t.Errorf("a %s was decoded as a %s", e.Kind, kind)
			}
		}
	})
}
