package wire_test

import (
	"encoding/base64"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"sentinel.home.arpa/shared/wire"
)

// FuzzPublicKey: a key has one spelling.
func FuzzPublicKey(f *testing.F) {
	k, err := wire.NewKey()
	if err != nil {
		f.Fatal(err)
	}
	good := string(k.PublicKey())
	// The last character carries two bits that are not the key's.
	stray := strings.TrimSuffix(good, "=")
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
	last := len(stray) - 1
	stray = stray[:last] + string(letters[strings.IndexByte(letters, stray[last])+1]) + "="
	for _, text := range []string{good, good + "\n", strings.TrimSuffix(good, "="), "ed25519:", "ed25519:AAAA", "rsa:" + good, strings.ToUpper(good), stray, good + "A"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if wire.PublicKey(text).Validate() != nil {
			return
		}
		raw, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(text, "ed25519:"))
		if err != nil || len(raw) != 32 || "ed25519:"+base64.StdEncoding.EncodeToString(raw) != text {
			t.Errorf("%q passes for a key", text)
		}
	})
}

// FuzzLoadKey: a key file gives the same key each time, or an error that names it and
// shows nothing of it (rule R4).
func FuzzLoadKey(f *testing.F) {
	f.Add([]byte(base64.StdEncoding.EncodeToString([]byte(strings.Repeat("s", 32))) + "\n"))
	f.Add([]byte(""))
	f.Add([]byte("c2VjcmV0c2VjcmV0"))
	f.Fuzz(func(t *testing.T, data []byte) {
		dir := t.TempDir()
		path := filepath.Join(dir, wire.KeyFile)
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		k, err := wire.LoadKey(dir)
		if err != nil {
			if !strings.Contains(err.Error(), path) {
				t.Errorf("names no file: %v", err)
			}
			if len(data) > 12 && strings.Contains(strings.ReplaceAll(err.Error(), path, ""), string(data)) {
				t.Errorf("shows the file: %v", err)
			}
			return
		}
		again, err := wire.LoadKey(dir)
		if err != nil || again.PublicKey() != k.PublicKey() || k.PublicKey().Validate() != nil {
			t.Errorf("%v, then %v, %v", k, again, err)
		}
	})
}

// FuzzDecode: whatever a known sender signs is refused, or says the same when it is
// encoded and decoded again.
func FuzzDecode(f *testing.F) {
	k, err := wire.NewKey()
	if err != nil {
		f.Fatal(err)
	}
	const header = `"v":1,"site":"home","node":"pve1","boot":"0f8fad5b-d9cb-469f-a165-70867728950e","seq":7`
	kinds := []wire.Kind{wire.KindHeartbeat, wire.KindAnnouncement, wire.KindUPS, wire.KindRelay, wire.KindAnswer, wire.KindConnect, wire.KindRecord, wire.KindOrder, wire.KindPi}
	for i, rest := range []string{
		`,"state":"running","pi":{"heard":[{"node":"a","boot":"0f8fad5b-d9cb-469f-a165-70867728950e","seq":1,"age_ms":5}],"run":{"id":"x","epoch":{"counter":1,"holder":"pi"},"state":"begun","stage":0}}`,
		`,"id":"x","kind":"reboot"`,
		`,"ups":"ups","reading":{"flags":16,"charge_ratio":0.5,"runtime_s":60,"supply":"battery","for_s":1e3,"low_for_s":2}`,
		`,"messages":[{"age_ms":1,"envelope":"e30="}]`,
		`,"to":"pve1","to_boot":"x","to_seq":1,"mandate":{"epoch":{"counter":2,"holder":"b"},"run":"none","bundle":"x"},"bundle":{"site":"home","plan":{"nodes":[{"name":"a","api":"x"}],"stages":[{"nodes":["a"],"deadline":1}]},"keys":{"a":"b"}},"taken":[0,-1]`,
		`,"pi":"pi","addr":"x:1"`,
		`,"entries":[{"age_ms":5,"ups":"ups","reading":{"flags":64,"supply":"battery","for_s":3}},{"age_ms":4,"node":"a","heard":true}],"left":7`,
		`,"to":"pve1","to_boot":"x","to_seq":1,"kind":"poweroff","armed":true,"run":"x","epoch":{"counter":1,"holder":"pi"}`,
		`,"to":"pi","to_boot":"0f8fad5b-d9cb-469f-a165-70867728950e","to_seq":9,"upses":[{"name":"ups","reading":{"flags":16,"charge_ratio":0.5,"supply":"battery","for_s":5}}],"run":{"state":"advancing","id":"r","epoch":{"counter":2,"holder":"pi"},"age_ms":5,"scope":["pve1"]},"took":["node/pve1"],"known":{"counter":3,"holder":"brain"},"brain":{"state":"none","epoch":{"counter":0,"holder":"brain"}}`,
	} {
		f.Add(i, []byte("{"+header+rest+"}"))
	}
	f.Fuzz(func(t *testing.T, which int, payload []byte) {
		kind := kinds[uint(which)%uint(len(kinds))]
		if !json.Valid(payload) {
			return // what is no JSON, FuzzRead covers
		}
		data, err := wire.Seal(kind, json.RawMessage(payload), k)
		if err != nil {
			return
		}
		e, err := wire.Read(data)
		if err != nil {
			return
		}
		first, second := empty(kind), empty(kind)
		if e.Decode(kind, first) != nil {
			return
		}
		if data, err = wire.Seal(kind, first, k); err != nil {
			t.Fatalf("what was read cannot be sent: %v", err)
		}
		if e, err = wire.Read(data); err == nil {
			err = e.Decode(kind, second)
		}
		if err != nil {
			t.Fatalf("what was sent cannot be read: %v\n%s", err, payload)
		}
		if diff := cmp.Diff(first, second, cmpopts.EquateEmpty(), cmpopts.EquateApproxTime(0)); diff != "" {
			t.Errorf("not the same: %s", diff)
		}
		if a, ok := first.(*wire.Answer); ok && a.Bundle != nil {
			one, err1 := a.Bundle.Hash()
			two, err2 := second.(*wire.Answer).Bundle.Hash()
			if err1 != nil || err2 != nil || one != two {
				t.Errorf("hashes %s, %s, %v, %v", one, two, err1, err2)
			}
		}
	})
}

func empty(kind wire.Kind) wire.Message {
	switch kind {
	case wire.KindHeartbeat:
		return &wire.Heartbeat{}
	case wire.KindAnnouncement:
		return &wire.Announcement{}
	case wire.KindUPS:
		return &wire.UPSReport{}
	case wire.KindRelay:
		return &wire.Relay{}
	case wire.KindAnswer:
		return &wire.Answer{}
	case wire.KindRecord:
		return &wire.Record{}
	case wire.KindPi:
		return &wire.PiReport{}
	case wire.KindOrder:
		return &wire.Order{}
	default:
		return &wire.Connect{}
	}
}
