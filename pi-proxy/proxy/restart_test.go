package proxy_test

import (
	"errors"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"sentinel.home.arpa/pi-proxy/proxy"
	"sentinel.home.arpa/shared/config"
	"sentinel.home.arpa/shared/courier"
	"sentinel.home.arpa/shared/shutdown"
	"sentinel.home.arpa/shared/sim/pvesim"
	"sentinel.home.arpa/shared/sim/upssim"
	"sentinel.home.arpa/shared/wire"
)

// apcupsdDies stops the Pi in the middle of its run, and apcupsd with it.
func (h *house) apcupsdDies(r *rack) {
	h.t.Helper()
	r.Fault("pve1", pvesim.Fault{Kind: pvesim.Hang})
	h.urgent()
	h.silence(true)
	h.ups.Plug(false)
	r.awaitCommand(nodeShutdown("pve1"), 15*time.Second)
	h.stop()
	r.Fault("pve1", pvesim.Fault{})
	if err := h.ups.Daemon(false); err != nil {
		h.t.Fatal(err)
	}
}

// twoUPSes is a house with a second one, of which the Pi's plan knows nothing.
func twoUPSes(t *testing.T, r *rack) *house {
	t.Helper()
	h := newHouse(t)
	h.cfg.UPS = append(h.cfg.UPS, proxy.UPS{Name: "shed", NIS: serveUPS(t, upssim.New(upssim.Config{})), Poll: config.Duration(time.Second)})
	w := h.bundle(r, shutdown.Stage{Nodes: []string{"pve1"}, Deadline: 10 * time.Minute})
	w.Policy.LostFor = 5 * time.Second
	h.brain.storedHash(h.begin(w))
	h.brain.await("both UPSes are known", 5*time.Second, func() bool { return len(h.brain.reports) > 1 })
	return h
}

func TestS9_ARestartedPiGoesOnThoughApcupsdIsDead(t *testing.T) {
	t.Parallel()
	r := newRack(t, pvesim.NodeConfig{Name: "pve1"})
	h := twoUPSes(t, r)
	h.apcupsdDies(r)
	again := time.Now()
	h.start()
	eventually(t, "pve1 is told again", func() bool { return len(r.commands()) > 1 })
	within(t, "until it is told again", time.Since(again), 9*time.Second, 14*time.Second)
	eventually(t, "pve1 is off", func() bool { return !r.NodeUp("pve1") })
}

// TestU2_ARestartedPiCountsFromTheFirstOnBattery: its death costs an outage its patience
// with the brain at most, and not the ride-through too.
func TestU2_ARestartedPiCountsFromTheFirstOnBattery(t *testing.T) {
	t.Parallel()
	r := newRack(t, pvesim.NodeConfig{Name: "pve1"})
	h := armed(t, r, nil, shutdown.Stage{Nodes: []string{"pve1"}, Deadline: time.Minute})
	h.silence(true)
	plug := time.Now()
	h.ups.Plug(false)
	eventually(t, "it is on the Pi's disk", func() bool {
		text, err := os.ReadFile(filepath.Join(h.cfg.StateDir, "run.jsonl"))
		return err == nil && strings.Contains(string(text), "on_battery") && time.Since(plug) > 6*time.Second
	})
	h.restart()
	within(t, "from the plug", r.awaitCommand(nodeShutdown("pve1"), 25*time.Second).Sub(plug), 16*time.Second, 22*time.Second)
}

func TestS9_ARebootedPiWaitsForItsUPS(t *testing.T) {
	t.Parallel()
	r := newRack(t, pvesim.NodeConfig{Name: "pve1"})
	h := twoUPSes(t, r)
	h.apcupsdDies(r)
	h.silence(false)
	h.cfg.BootIDFile = filepath.Join(t.TempDir(), "boot_id")
	if err := os.WriteFile(h.cfg.BootIDFile, []byte("9a3f0c12-0000-4000-8000-0000000000ff\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	h.start()
	h.brain.awaitBeats(14)
	if got := r.commands(); len(got) != 1 {
		t.Errorf("without a word of the UPS it told %q", got)
	}
	if s := h.brain.lastRun(); s == nil || !s.State.Open() {
		t.Errorf("the run is %+v, though one UPS was not heard", s) // the other's mains do not end it
	}
	if err := h.ups.Daemon(true); err != nil { // still on battery
		t.Fatal(err)
	}
	eventually(t, "it goes on", func() bool { return len(r.commands()) > 1 })
}

func TestG5_TheEpochThatWasSeenSurvivesACrash(t *testing.T) {
	t.Parallel()
	r := newRack(t, pvesim.NodeConfig{Name: "pve1"})
	h := armed(t, r, nil, shutdown.Stage{Nodes: []string{"pve1"}, Deadline: time.Minute})
	h.brain.set(func() { h.brain.epoch = shutdown.Epoch{Counter: 41, Holder: "brain"} })
	h.brain.awaitBeats(3)
	h.silence(true)
	h.restart()
	h.urgent()
	h.ups.Plug(false)
	r.awaitCommand(nodeShutdown("pve1"), 15*time.Second)
	h.brain.set(func() { h.brain.away, h.brain.epoch = false, shutdown.Epoch{} })
	h.brain.awaitBeats(2)
	if e := h.brain.lastRun().Epoch; e != (shutdown.Epoch{Counter: 42, Holder: "pi"}) {
		t.Errorf("its epoch is %v", e)
	}
}

func TestR3_ADiskThatTakesNothingStopsNoShutdown(t *testing.T) {
	t.Parallel()
	r := newRack(t, pvesim.NodeConfig{Name: "pve1"})
	h := armed(t, r, nil, shutdown.Stage{Nodes: []string{"pve1"}, Deadline: time.Minute})
	h.stop()
	for _, name := range []string{"run.jsonl", "seen.json"} { // nothing can be written there
		file := filepath.Join(h.cfg.StateDir, name)
		if err := os.RemoveAll(file); err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(filepath.Join(file, "in the way"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	h.silence(true)
	h.start()
	h.urgent()
	plug := time.Now()
	h.ups.Plug(false)
	at := r.awaitCommand(nodeShutdown("pve1"), 15*time.Second)
	within(t, "from the plug", at.Sub(plug), 2*time.Second, 8*time.Second)
	if log := h.log.String(); !strings.Contains(log, "run not written, acting from memory") || !strings.Contains(log, "run unreadable") {
		t.Error("it does not say so")
	}
	h.silence(false)
	h.brain.awaitBeats(2)
	if h.brain.lastRun() == nil {
		t.Error("the brain is not told of the run")
	}
}

// A bundle that the disk does not take is gone by, and not named.
func TestR3_ABundleThatIsNotOnDiskIsGoneByAllTheSame(t *testing.T) {
	t.Parallel()
	r := newRack(t, pvesim.NodeConfig{Name: "pve1"})
	h := newHouse(t)
	if err := os.MkdirAll(filepath.Join(h.cfg.StateDir, "bundle.json", "in the way"), 0o700); err != nil {
		t.Fatal(err)
	}
	h.begin(h.bundle(r, shutdown.Stage{Nodes: []string{"pve1"}, Deadline: time.Minute}))
	eventually(t, "it says so", func() bool { return strings.Contains(h.log.String(), "bundle not stored, going by it from memory") })
	h.urgent()
	h.silence(true)
	h.ups.Plug(false)
	r.awaitCommand(nodeShutdown("pve1"), 15*time.Second)
	beats, _ := h.brain.seen()
	for _, b := range beats {
		if b.m.Pi.Bundle != "" {
			t.Fatalf("it names %s", b.m.Pi.Bundle)
		}
	}
}

func TestS10_ABundleThatIsTakenBackHolds(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	n := h.node("pve1")
	knows := wire.Bundle{Site: "home", Keys: map[string]wire.PublicKey{"pve1": n.key.PublicKey()}}
	h.brain.storedHash(h.begin(knows))
	file := filepath.Join(h.cfg.StateDir, "bundle.json")
	if err := errors.Join(os.Remove(file), os.MkdirAll(filepath.Join(file, "in the way"), 0o700)); err != nil {
		t.Fatal(err)
	}
	h.brain.hand(wire.Bundle{Site: "home", Armed: true, Keys: map[string]wire.PublicKey{}})
	eventually(t, "the Pi goes by the second", func() bool { _, err := n.beat(); return err != nil })
	h.brain.hand(knows) // which is the one that was stored last
	eventually(t, "the Pi goes by the first again", func() bool { _, err := n.beat(); return err == nil })
}

func TestA7_WhatTheBrainHasTakenIsNotRelayedAgainAfterARestart(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	b := h.brain
	n := h.node("pve1")
	h.brain.storedHash(h.begin(wire.Bundle{Site: "home", Keys: map[string]wire.PublicKey{"pve1": n.key.PublicKey()}}))
	head := n.header()
	m := wire.Announcement{Header: head, ID: "one", Kind: wire.Poweroff}
	again := func() {
		t.Helper()
		eventually(t, "it is acknowledged", func() bool { _, err := n.post(courier.PathAnnounce, wire.KindAnnouncement, head, m); return err == nil })
	}
	again()
	b.await("the announcement", 8*time.Second, func() bool { return len(b.announced) > 0 })
	eventually(t, "the Pi knows that the brain has it", func() bool { return strings.Contains(h.log.String(), "msg=relayed") })
	again()
	h.restart()
	again()
	n.announce("two")
	b.await("a new one", 8*time.Second, func() bool { return len(b.announced) > 1 })
	if got := ids(b.announced); !slices.Equal(got, []string{"one", "two"}) {
		t.Errorf("the brain got %q", got)
	}
}

// TestA7_ABrokenBundleForgetsNothing: until the brain's comes nobody is known.
func TestA7_ABrokenBundleForgetsNothing(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	n := h.node("pve1")
	h.brain.storedHash(h.begin(wire.Bundle{Site: "home", Keys: map[string]wire.PublicKey{"pve1": n.key.PublicKey()}}))
	eventually(t, "pve1 is heard", func() bool { _, err := n.beat(); return err == nil })
	h.silence(true)
	h.stop()
	if err := os.WriteFile(filepath.Join(h.cfg.StateDir, "bundle.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	h.start()
	h.stop()
	if text, err := os.ReadFile(filepath.Join(h.cfg.StateDir, "seen.json")); err != nil || !strings.Contains(string(text), "pve1") {
		t.Errorf("what is left: %s, %v", text, err)
	}
}

func TestR1_AWordOfTheBrainIsNotTakenAgainAfterARestart(t *testing.T) {
	t.Parallel()
	r := newRack(t, pvesim.NodeConfig{Name: "pve1"})
	h := armed(t, r, nil, shutdown.Stage{Nodes: []string{"pve1"}, Deadline: time.Minute})
	u, err := url.Parse(r.URL("pve1"))
	if err != nil {
		t.Fatal(err)
	}
	header, err := courier.SignConnect(wire.Connect{Header: h.brain.header(), Pi: "pi", Addr: u.Host}, h.brain.key)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.asksWith(header, u.Host); err != nil {
		t.Fatal(err)
	}
	h.restart()
	h.brain.awaitBeats(1)
	if _, err := h.asksWith(header, u.Host); err == nil || !strings.Contains(err.Error(), "403") {
		t.Errorf("the same word again: %v", err)
	}
	if _, err := h.asks(wire.Connect{Header: h.brain.header(), Pi: "pi", Addr: u.Host}, h.brain.key); err != nil {
		t.Errorf("a new word: %v", err)
	}
}

func TestABrokenSeenFileIsSaidOnceAndReplaced(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	file := filepath.Join(h.cfg.StateDir, "seen.json")
	if err := os.WriteFile(file, []byte(`{"marks":`), 0o600); err != nil {
		t.Fatal(err)
	}
	h.start()
	h.brain.awaitBeats(2)
	h.restart()
	h.brain.awaitBeats(2)
	if n := strings.Count(h.log.String(), "what was seen is unreadable"); n != 1 {
		t.Errorf("it says so %d times", n)
	}
}

// TestU5_AUPSThatIsGoneKeepsNobodyFromTheMains: the guardian's word on it holds until it
// speaks again.
func TestU5_AUPSThatIsGoneKeepsNobodyFromTheMains(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	shed := upssim.New(upssim.Config{})
	h.cfg.UPS = append(h.cfg.UPS, proxy.UPS{Name: "shed", NIS: serveUPS(t, shed), Poll: config.Duration(time.Second)})
	var p *proxy.Proxy
	h.startWith(func(started *proxy.Proxy) error { p = started; return nil })
	eventually(t, "all are on mains", p.Mains)
	shed.Plug(false)
	eventually(t, "one is on battery", func() bool { return !p.Mains() })
	if err := shed.Daemon(false); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is lost", func() bool { return strings.Contains(h.log.String(), "connection refused") })
	if p.Mains() {
		t.Error("a lost one is on mains")
	}
	p.Gone("shed")
	if !p.Mains() {
		t.Error("a gone one counts")
	}
	if err := shed.Daemon(true); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is heard on battery again", func() bool { return !p.Mains() })
}
