package wire_test

import (
	"bytes"
	"encoding/base64"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sentinel.home.arpa/shared/wire"
)

// FuzzEnvelopeSpelling: an envelope that is written as Seal does is read by a shorter way,
// to the same end as any other spelling of the same JSON.
func FuzzEnvelopeSpelling(f *testing.F) {
	k, err := wire.NewKey()
	if err != nil {
		f.Fatal(err)
	}
	for _, m := range []any{wire.Heartbeat{Header: header(), State: "running"}, wire.Heartbeat{Header: header(), Pi: &wire.PiStatus{Bundle: "0123"}}, map[string]any{"v": 1, "extra": 2}} {
		data, err := wire.Seal(wire.KindHeartbeat, m, k)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
		for _, change := range []func([]byte) []byte{
			func(b []byte) []byte { return b[:len(b)-1] },
			func(b []byte) []byte { return append(b, ' ') },
			func(b []byte) []byte { return append(b, '}') },
			func(b []byte) []byte { return bytes.Replace(b, []byte(`"sig"`), []byte(`"sig":"","sig"`), 1) },
			func(b []byte) []byte { return bytes.Replace(b, []byte(`"}]`), []byte(`"},{}]`), 1) },
			func(b []byte) []byte { return bytes.Replace(b, []byte(`+json`), []byte(`\u002bjson`), 1) },
			func(b []byte) []byte { return bytes.Replace(b, []byte(`+json`), []byte("\xffjson"), 1) },
			func(b []byte) []byte { return bytes.Replace(b, []byte(`=`), []byte("=\n"), 1) },
			func(b []byte) []byte { return bytes.Replace(b, []byte(`heartbeat`), []byte("announcement"), 1) },
		} {
			f.Add(change(bytes.Clone(data)))
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		a, errA := wire.Read(data)
		b, errB := wire.Read(append([]byte(" "), data...))
		if (errA == nil) != (errB == nil) {
			t.Fatalf("read as written: %v; with a space before it: %v", errA, errB)
		}
		if errA != nil {
			return
		}
		if a.Kind != b.Kind || a.Signer != b.Signer || a.Header != b.Header || (a.Verify(k.PublicKey()) == nil) != (b.Verify(k.PublicKey()) == nil) {
			t.Errorf("read as %+v and as %+v", a, b)
		}
		var x, y wire.Heartbeat
		if errX, errY := a.Decode(wire.KindHeartbeat, &x), b.Decode(wire.KindHeartbeat, &y); (errX == nil) != (errY == nil) || x.State != y.State {
			t.Errorf("decoded as %+v, %v and as %+v, %v", x, errX, y, errY)
		}
	})
}

// FuzzValidName against the expressions that say it.
func FuzzValidName(f *testing.F) {
	name, boot := regexp.MustCompile(`^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$`), regexp.MustCompile(`^[0-9a-f-]{32,36}$`)
	for _, text := range []string{"", "a", "-", "a-", ".a", "a.b", "A", "é", "pve1\n", strings.Repeat("a", 63), strings.Repeat("a", 64),
		"00000000-1111-4222-8333-444444444444", strings.Repeat("0", 31), strings.Repeat("0", 32), strings.Repeat("f", 37), strings.Repeat("g", 36)} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if got := wire.ValidName(text) == nil; got != name.MatchString(text) {
			t.Errorf("%q passes for a name: %v", text, got)
		}
		h := header()
		h.Boot = text
		if got := (&wire.Heartbeat{Header: h}).Validate() == nil; got != boot.MatchString(text) {
			t.Errorf("%q passes for a boot id: %v", text, got)
		}
	})
}

// FuzzHeartbeatSpelling: so is a node's heartbeat.
func FuzzHeartbeatSpelling(f *testing.F) {
	k, err := wire.NewKey()
	if err != nil {
		f.Fatal(err)
	}
	good := `{"v":1,"site":"home","node":"pve1","boot":"00000000-1111-4222-8333-444444444444","seq":7,"state":"running"}`
	f.Add(good)
	for _, change := range [][2]string{{`"site":"home",`, ""}, {`,"state":"running"`, ""}, {`running`, ""}, {`running`, `run\u006eing`}, {`running`, "run\nning"}, {`running`, "läuft"},
		{`running`, "\xff"}, {`"state"`, `"State"`}, {`"state"`, `"extra"`}, {`"state"`, `"pi":{},"state"`}, {`"state"`, `"seq":8,"state"`}, {`7`, `07`}, {`7`, `-7`}, {`7`, `+7`}, {`7`, `7.0`},
		{`7`, `7e1`}, {`7`, `0`}, {`7`, ``}, {`7`, `"7"`}, {`7`, `9223372036854775808`}, {`"v":1`, `"v":2`}, {`"v":1`, `"v":11`}, {`"v":1,`, ""}, {`}`, `} `}, {`}`, `}}`}, {`}`, ``}, {`,`, `, `},
		{`"pve1"`, `null`}, {`pve1`, `PVE1`}, {`4"`, `4`}, {`"running"`, `"running`}} {
		f.Add(strings.Replace(good, change[0], change[1], 1))
	}
	f.Fuzz(func(t *testing.T, payload string) {
		read := func(payload string) (*wire.Envelope, wire.Heartbeat, error) {
			e, err := wire.Read([]byte(`{"payloadType":"` + string(wire.KindHeartbeat) + `","payload":"` + base64.StdEncoding.EncodeToString([]byte(payload)) +
				`","signatures":[{"keyid":"` + string(k.PublicKey()) + `","sig":""}]}`))
			var m wire.Heartbeat
			if err == nil {
				err = e.Decode(wire.KindHeartbeat, &m)
			}
			return e, m, err
		}
		a, x, errA := read(payload)
		b, y, errB := read(" " + payload)
		if (errA == nil) != (errB == nil) {
			t.Fatalf("read as written: %v; with a space before it: %v", errA, errB)
		}
		if errA == nil && (a.Header != b.Header || !cmp.Equal(x, y)) {
			t.Errorf("read as %+v and as %+v", x, y)
		}
	})
}
