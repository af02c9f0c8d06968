package sentinel_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"sentinel.home.arpa/cloud/internal/sentinel"
	"sentinel.home.arpa/shared/power"
	"sentinel.home.arpa/shared/shutdown"
)

// everything compares what is not exported too: a field that facts write and a snapshot
// lacks is found, whoever adds it.
func everything() cmp.Option { return cmp.Exporter(func(reflect.Type) bool { return true }) }

// TestR3_SnapshotAndFactsGiveTheState lives through random histories and snapshots them at
// some step: the snapshot and the facts since give what all the facts give, also when the
// configuration is another one by then.
func TestR3_SnapshotAndFactsGiveTheState(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		h := newHistory(rt)
		steps := rapid.IntRange(5, 80).Draw(rt, "steps")
		at := rapid.IntRange(0, steps-1).Draw(rt, "snapshot at")
		var data []byte
		n := 0
		for i := range steps {
			if i == at {
				var err error
				if data, err = h.state.Snapshot(); err != nil {
					rt.Fatal(err)
				}
				n = len(h.kept)
			}
			h.act()
		}
		later := h.cfg
		later.Sites = append([]sentinel.SiteConfig(nil), later.Sites[0], sentinel.SiteConfig{Name: "cabin", Nodes: []string{"hut"}, Pis: []string{"pi9"}})
		later.Sites[0].Nodes, later.Sites[0].Pis = []string{"pve1", "new"}, []string{"pi1", "nas"}
		for name, cfg := range map[string]sentinel.Config{"the same configuration": h.cfg, "another configuration": later} {
			h.gives(name, cfg, data, n)
		}
	})
}

func (h *history) gives(name string, cfg sentinel.Config, data []byte, n int) {
	again := *h.world
	again.cfg = cfg
	want := again.replayed()
	got, err := sentinel.FromSnapshot(cfg, data)
	if err != nil {
		h.rt.Fatalf("%s: %v\n%s", name, err, data)
	}
	again.kept = h.kept[n:]
	again.replayOnto(got)
	if diff := cmp.Diff(want, got, everything()); diff != "" {
		h.rt.Fatalf("%s: the snapshot of fact %d of %d and the facts since differ from all facts (-all +snapshot):\n%s", name, n, len(h.kept), diff)
	}
}

// outageMidway is a world in the middle of a run: with a refusal, an announced node that is
// watched, a call under way and a key.
func outageMidway(t *testing.T) *world {
	w := newWorld(t, home())
	for _, n := range []string{"pve1", "pve2", "nas"} {
		w.sources = append(w.sources, &beater{site: "home", name: n, role: sentinel.Node, boot: "1", state: "running", beats: true})
	}
	w.sources = append(w.sources, &beater{site: "home", name: "pi1", role: sentinel.Pi, boot: "1", beats: true})
	w.units = []*unit{{site: "home", name: "apc1", pi: "pi1", changed: true, status: power.Status{Flags: power.Online}}}
	w.step(sentinel.Started{Version: "test"})
	w.step(sentinel.Arm{Site: "home", By: "alice"})
	w.step(sentinel.Bound{KeyBound: sentinel.KeyBound{Name: "pve1", Site: "home", Role: sentinel.Node, Key: "k"}})
	w.step(sentinel.KeyExpiring{Site: "home", Name: "pve1", Expired: true})
	w.pass(time.Minute)
	w.step(sentinel.Announced{Site: "home", Name: "nas", Boot: "1", ID: "a", Kind: "reboot", Returns: true, Seq: 7})
	w.units[0].status.Flags, w.units[0].changed = power.OnBattery, true
	w.pass(17 * time.Second)
	run := w.state.Sites["home"].Run
	if run == nil {
		t.Fatal("no run began")
	}
	w.step(sentinel.RunAnswered{Site: "home", Run: run.ID, Target: "listing/pve1", Err: errors.New("no quorum")})
	w.step(sentinel.RunAnswered{Site: "home", Run: run.ID, Target: "listing/pve2", Found: []shutdown.Target{{Kind: shutdown.Guest, Node: "pve2", VMID: 100, Type: "qemu"}}})
	return w
}

// TestR3_SnapshotIsACopy: what is done to a state that was read changes no other, nor the
// snapshot.
func TestR3_SnapshotIsACopy(t *testing.T) {
	w := outageMidway(t)
	data, err := w.state.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	text := string(data)
	read := func() *sentinel.State {
		s, err := sentinel.FromSnapshot(w.cfg, data)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	one, two := read(), read()
	if diff := cmp.Diff(w.replayed(), one, everything()); diff != "" {
		t.Fatalf("the snapshot differs from the facts (-facts +snapshot):\n%s", diff)
	}
	before := w.replayed()
	one.Step(w.now.Add(time.Minute), sentinel.Started{Version: "x"})
	for range 5 {
		w.now = w.now.Add(time.Hour)
		one.Step(w.now, sentinel.Tick{})
	}
	one.Sites["home"].Run.Plan.Stages[0].Deadline = 1
	one.Sites["home"].UPSes["apc1"].Shown["pi1"] = nil
	delete(one.Keys, "pve1")
	if diff := cmp.Diff(before, two, everything()); diff != "" || string(data) != text {
		t.Errorf("changing one changed the other:\n%s", diff)
	}
	if diff := cmp.Diff(before, read(), everything()); diff != "" {
		t.Errorf("changing one changed the snapshot:\n%s", diff)
	}
}

// TestR3_SnapshotsThatAreNone are refused, and a newer version's by its name.
func TestR3_SnapshotsThatAreNone(t *testing.T) {
	data, err := outageMidway(t).state.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	whole := string(data)
	swap := func(old, now string) string {
		if !strings.Contains(whole, old) {
			t.Fatalf("no %s in %s", old, whole)
		}
		return strings.ReplaceAll(whole, old, now)
	}
	for name, tt := range map[string]struct {
		text  string
		newer bool
	}{
		"nothing":               {"", false},
		"half":                  {whole[:len(whole)/2], false},
		"another text":          {`[1]`, false},
		"no version":            {`{"state":{}}`, false},
		"a newer version":       {swap(`"version":1`, fmt.Sprintf(`"version":%d`, sentinel.SnapshotVersion+1)), true},
		"an unknown field":      {swap(`"Armed":true`, `"Armed":true,"Moon":1`), true},
		"a field of its own":    {swap(`"Armed":true`, `"Armed":"yes"`), false},
		"a node that is none":   {swap(`"pve1":{"Name":"pve1","Role":"node","Condition":"up"`, `"x":null,"pve1":{"Name":"pve1","Role":"node","Condition":"up"`), false},
		"a UPS that is none":    {swap(`"UPSes":{"apc1"`, `"UPSes":{"x":null,"apc1"`), false},
		"a site that is none":   {swap(`"Sites":{"home":{"Name":"home","Sources":{"nas":{"Name":"nas","Role":"node","Condition":"up"`, `"Sites":{"x":null,"home":{"Name":"home","Sources":{"nas":{"Name":"nas","Role":"node","Condition":"up"`), false},
		"a run without targets": {swap(`"past":0`, `"past":9`), false},
	} {
		s, err := sentinel.FromSnapshot(home(), []byte(tt.text))
		if err == nil || s != nil || errors.Is(err, sentinel.ErrNewerSnapshot) != tt.newer {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestR3_SnapshotOfAnOlderVersion: what a snapshot is too old to say is as it is before
// any fact.
func TestR3_SnapshotOfAnOlderVersion(t *testing.T) {
	w := outageMidway(t)
	data, err := w.state.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	var snap map[string]any
	if err := json.Unmarshal(data, &snap); err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{"made", "state"} {
		delete(snap[part].(map[string]any), "ToldAt") // as if it were a later version's
	}
	if data, err = json.Marshal(snap); err != nil {
		t.Fatal(err)
	}
	s, err := sentinel.FromSnapshot(w.cfg, data)
	if err != nil {
		t.Fatal(err)
	}
	s.Evolve(w.now, &sentinel.Noticed{About: "x", As: "y"}) // which a nil map would not take
	if len(s.ToldAt) != 1 || len(s.Told) != 2 {
		t.Errorf("told %v at %v", s.Told, s.ToldAt)
	}
}

// FuzzSnapshot: whatever is read as a snapshot, the state that it makes still turns.
func FuzzSnapshot(f *testing.F) {
	f.Add([]byte(`{"version":1,"made":{},"state":{"Sites":{"home":{"Name":"home","Armed":true}}},"beside":{"last":"2026-11-21T19:02:00Z","watched":{"home":["pve1"]}}}`))
	empty, err := sentinel.New(home()).Snapshot()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(empty)
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := sentinel.FromSnapshot(home(), data)
		if err != nil {
			return
		}
		if _, err := s.Snapshot(); err != nil {
			t.Errorf("read and not written: %v", err)
		}
	})
}
