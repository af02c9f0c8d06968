package peers

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sentinel.home.arpa/shared/courier"
	"sentinel.home.arpa/shared/wire"
)

var quiet = slog.New(slog.DiscardHandler)

func key(t *testing.T) wire.PublicKey {
	t.Helper()
	k, err := wire.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	return k.PublicKey()
}

func rcv(name, address string, key wire.PublicKey) courier.Receiver {
	return courier.Receiver{Name: name, URL: "http://" + address, Key: key}
}

func expect(t *testing.T, b *Book, want ...courier.Receiver) {
	t.Helper()
	if diff := cmp.Diff(want, b.Receivers()); diff != "" {
		t.Error(diff)
	}
}

// TestBrainIsVouchedForByTheTailnetThenByItsKey: while tailscaled names the brain any key
// is good and is learnt; once it does not, only the learnt key is.
func TestBrainIsVouchedForByTheTailnetThenByItsKey(t *testing.T) {
	path := filepath.Join(t.TempDir(), "peers.json")
	first, second := key(t), key(t)
	b := Open(path, nil, nil, quiet)
	expect(t, b)
	brain := wire.Peer{Name: "brain", Address: "100.64.0.5:80"}
	b.Found([]wire.Peer{brain})
	vouched := rcv("brain", "100.64.0.5:80", "")
	expect(t, b, vouched)
	b.Lost()
	expect(t, b) // nobody says who would answer
	b.Found([]wire.Peer{brain})
	b.Learn(vouched, &wire.Answer{BrainKey: first})
	b.Learn(vouched, &wire.Answer{}) // names none: the known one stays
	expect(t, b, vouched)
	b.Lost()
	expect(t, b, rcv("brain", "100.64.0.5:80", first))
	expect(t, Open(path, nil, nil, quiet), rcv("brain", "100.64.0.5:80", first))
	b.Found([]wire.Peer{brain})
	b.Learn(vouched, &wire.Answer{BrainKey: second}) // the brain was made anew
	b.Found(nil)
	expect(t, b, rcv("brain", "100.64.0.5:80", second))
	b.Found([]wire.Peer{{Name: "other", Address: "100.64.0.7:80"}})
	expect(t, b, rcv("other", "100.64.0.7:80", ""))
}

func TestConfiguredKeysStand(t *testing.T) {
	path := filepath.Join(t.TempDir(), "peers.json")
	brain := wire.Peer{Name: "10.0.0.5:80", Address: "10.0.0.5:80", Key: key(t)}
	pi := wire.Peer{Name: "pi", Address: "10.0.0.2:7777", Key: key(t)}
	pi2 := wire.Peer{Name: "pi2", Address: "10.0.0.3:7777", Key: key(t)}
	pi3 := wire.Peer{Name: "pi3", Address: "10.0.0.4:7777", Key: key(t)}
	b := Open(path, []wire.Peer{brain}, []wire.Peer{pi}, quiet)
	toBrain, toPi := rcv(brain.Name, brain.Address, brain.Key), rcv("pi", pi.Address, pi.Key)
	b.Learn(toBrain, &wire.Answer{BrainKey: key(t), Pis: []wire.Peer{
		{Name: "pi", Address: pi.Address, Key: key(t)}, pi2,
		{Name: "bad name", Address: "1.2.3.4:5", Key: key(t)}, {Name: "nokey", Address: "1.2.3.4:5"},
		{Name: "nowhere", Address: "1.2.3.4", Key: key(t)}, {Name: "odd", Address: "a/b@c:5", Key: key(t)},
	}})
	b.Learn(toPi, &wire.Answer{BrainKey: key(t), Pis: []wire.Peer{pi3}})
	b.Learn(rcv("pi2", pi2.Address, pi2.Key), &wire.Answer{Pis: []wire.Peer{{Name: "x", Address: "9.9.9.9:9", Key: key(t)}}})
	want := []courier.Receiver{toBrain, toPi, rcv("pi2", pi2.Address, pi2.Key), rcv("pi3", pi3.Address, pi3.Key)}
	expect(t, b, want...)
	expect(t, Open(path, []wire.Peer{brain}, []wire.Peer{pi}, quiet), want...)
	// Without the sources in the configuration the Pi no longer teaches.
	alone := Open(path, []wire.Peer{brain}, nil, quiet).Receivers()
	if len(alone) != 3 || alone[1].URL != toPi.URL || alone[1].Key == toPi.Key || alone[2] != want[2] {
		t.Errorf("without the Pi's line: %+v", alone)
	}
}

func TestLimits(t *testing.T) {
	b := Open(filepath.Join(t.TempDir(), "peers.json"), nil, nil, quiet)
	var brains, pis []wire.Peer
	k := key(t)
	for i := range 20 {
		brains = append(brains, wire.Peer{Name: "b", Address: fmt.Sprintf("100.64.0.%d:80", i+1)})
		pis = append(pis, wire.Peer{Name: "p", Address: fmt.Sprintf("10.0.0.%d:7777", i+1), Key: k})
	}
	b.Found(brains)
	for i, part := range [][]wire.Peer{pis[:10], pis[5:20]} {
		b.Learn(rcv("b", brains[i].Address, ""), &wire.Answer{Pis: part})
	}
	if n := len(b.Receivers()); n != MaxBrains+MaxPis {
		t.Errorf("%d receivers", n)
	}
}

// TestLearningWritesOnlyChanges: answers come each second, the disk is not written so often.
func TestLearningWritesOnlyChanges(t *testing.T) {
	path := filepath.Join(t.TempDir(), "peers.json")
	b := Open(path, nil, nil, quiet)
	b.Found([]wire.Peer{{Name: "brain", Address: "100.64.0.5:80"}})
	a := &wire.Answer{BrainKey: key(t), Pis: []wire.Peer{{Name: "pi", Address: "10.0.0.2:7777", Key: key(t)}}}
	b.Learn(rcv("brain", "100.64.0.5:80", ""), a)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	b.Learn(rcv("brain", "100.64.0.5:80", ""), a)
	b.Found([]wire.Peer{{Name: "brain", Address: "100.64.0.5:80"}})
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Error("written again without a change")
	}
}

func TestDamagedFileIsLeftAside(t *testing.T) {
	dir := t.TempDir()
	for i, text := range []string{"{", "[]", `{"brains":7}`, strings.Repeat(" ", maxFile+1)} {
		path := filepath.Join(dir, fmt.Sprint(i))
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		var log strings.Builder
		b := Open(path, nil, nil, slog.New(slog.NewTextHandler(&log, nil)))
		expect(t, b)
		if !strings.Contains(log.String(), "left aside") {
			t.Errorf("%.20q: nothing said", text)
		}
	}
	// A directory in the file's place: said, and lived with.
	var log strings.Builder
	b := Open(dir, nil, nil, slog.New(slog.NewTextHandler(&log, nil)))
	b.Found([]wire.Peer{{Name: "brain", Address: "100.64.0.5:80"}})
	expect(t, b, rcv("brain", "100.64.0.5:80", ""))
	if !strings.Contains(log.String(), "not on disk") {
		t.Errorf("said %s", log.String())
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"brains":[{"name":"b","address":"100.64.0.5:80","key":"ed25519:AAAA","pis":[{"name":"pi","address":"x:1"}]}]}`))
	f.Add([]byte(`{"pis":[null]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		stored, err := parse(data)
		if err != nil {
			return
		}
		for _, s := range append(stored.Brains, stored.Pis...) {
			if ValidAddress(s.Address) != nil || s.vouched || s.fixed {
				t.Errorf("%+v", s)
			}
		}
		again, err := json.Marshal(stored)
		if err != nil {
			t.Fatal(err)
		}
		if twice, err := parse(again); err != nil || !cmp.Equal(stored, twice, cmp.AllowUnexported(source{})) {
			t.Errorf("not stable: %v", err)
		}
	})
}
