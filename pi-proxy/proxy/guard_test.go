package proxy_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"sentinel.home.arpa/pi-proxy/internal/guardian"
	"sentinel.home.arpa/pi-proxy/proxy"
	"sentinel.home.arpa/shared/courier"
	"sentinel.home.arpa/shared/shutdown"
	"sentinel.home.arpa/shared/sim/pvesim"
	"sentinel.home.arpa/shared/wire"
)

// armed starts a house whose Pi has an armed bundle for these stages on disk.
func armed(t *testing.T, r *rack, change func(*wire.Bundle), stages ...shutdown.Stage) *house {
	t.Helper()
	h := newHouse(t)
	w := h.bundle(r, stages...)
	if change != nil {
		change(&w)
	}
	h.brain.storedHash(h.begin(w))
	h.brain.await("the UPS is known", 5*time.Second, func() bool { return len(h.brain.reports) > 0 })
	return h
}

// begin starts the Pi with a brain that hands it a bundle, of that hash.
func (h *house) begin(w wire.Bundle) string {
	h.t.Helper()
	hash := h.brain.hand(w)
	h.start()
	return hash
}

// urgent makes time so short that the Pi waits for 2 s only.
func (h *house) urgent() { h.ups.SetRuntime(150 * time.Second) }

func (h *house) silence(away bool) { h.brain.set(func() { h.brain.away = away }) }

func TestG1_ASilentBrainThePiShutsTheHouseDown(t *testing.T) {
	t.Parallel()
	r := newRack(t, pvesim.NodeConfig{Name: "pve1", Guests: []pvesim.Guest{{VMID: 100, Name: "web", Type: pvesim.QEMU, Running: true}}},
		pvesim.NodeConfig{Name: "pve2"})
	h := newHouse(t)
	one, two := h.node("pve1"), h.node("pve2")
	w := h.bundle(r, shutdown.Stage{AllGuests: true, Deadline: 20 * time.Second}, shutdown.Stage{Nodes: []string{"pve1", "pve2"}, Deadline: time.Minute})
	w.Keys["pve1"], w.Keys["pve2"] = one.key.PublicKey(), two.key.PublicKey()
	h.brain.storedHash(h.begin(w))
	one.alive(r)
	two.alive(r)
	h.brain.await("both are heard", 5*time.Second, func() bool { return len(h.brain.beats[len(h.brain.beats)-1].m.Pi.Heard) == 2 })

	h.silence(true)
	plug := time.Now()
	h.ups.Plug(false)
	guest := r.awaitCommand("pve1 /nodes/pve1/qemu/100/status/shutdown", 25*time.Second)
	within(t, "the first command", guest.Sub(plug), 11*time.Second, 15*time.Second) // 1 s of ride-through, 10 s for the brain
	for _, n := range []string{"pve1", "pve2"} {
		if at := r.awaitCommand(nodeShutdown(n), 25*time.Second); at.Before(guest) {
			t.Errorf("%s was told before its guests", n)
		}
	}
	eventually(t, "both are off", func() bool { return !r.NodeUp("pve1") && !r.NodeUp("pve2") })

	h.silence(false)
	run := h.brain.awaitRun(shutdown.HasEnded, 20*time.Second)
	if run.Epoch != (shutdown.Epoch{Counter: 1, Holder: "pi"}) || !strings.Contains(run.Reason, "the power has been out") {
		t.Errorf("the run is %+v", run)
	}
	for _, o := range run.Targets {
		if o.State != "down" || o.Kind == shutdown.ProxmoxNode && o.Why != "its API is closed and its agent silent" {
			t.Errorf("%s was seen as %+v", o.Name, o)
		}
	}
	if got := r.commands(); len(got) != 3 {
		t.Errorf("told %q", got)
	}

	h.restart() // the outage goes on, and its run is over (rule G2)
	h.brain.awaitBeats(6)
	if s := h.brain.lastRun(); s == nil || s.ID != run.ID || s.State != shutdown.HasEnded {
		t.Errorf("after a restart the run is %+v", s)
	}
}

func TestG1_ShortRuntimeIsUrgentAndABrainThatActsIsWaitedFor(t *testing.T) {
	t.Parallel()
	r := newRack(t, pvesim.NodeConfig{Name: "pve1"})
	h := armed(t, r, nil, shutdown.Stage{Nodes: []string{"pve1"}, Deadline: time.Minute})
	h.urgent()
	h.brain.set(func() { h.brain.run, h.brain.epoch = shutdown.Advancing, shutdown.Epoch{Counter: 7, Holder: "brain"} })
	plug := time.Now()
	h.ups.Plug(false)
	h.brain.await("five seconds of reports on battery", 10*time.Second, func() bool {
		return h.brain.reports[len(h.brain.reports)-1].m.Reading.For.Duration() > 5*time.Second
	})
	if got := r.commands(); len(got) > 0 {
		t.Fatalf("the brain acts, and the Pi told %q", got)
	}
	h.brain.set(func() { h.brain.run = shutdown.Begun }) // it lives, but makes no headway
	stalled := time.Now()
	at := r.awaitCommand(nodeShutdown("pve1"), 20*time.Second)
	within(t, "from the brain's last good word", at.Sub(stalled), 8*time.Second, 12*time.Second)
	within(t, "from the plug", at.Sub(plug), 13*time.Second, 20*time.Second)
	h.brain.awaitBeats(2)
	if e := h.brain.lastRun().Epoch; e != (shutdown.Epoch{Counter: 8, Holder: "pi"}) {
		t.Errorf("its epoch is %v", e)
	}
}

func TestS5_PowerBackKeepsAllFurtherCommands(t *testing.T) {
	t.Parallel()
	r := newRack(t, pvesim.NodeConfig{Name: "pve1"}, pvesim.NodeConfig{Name: "pve2"})
	h := armed(t, r, nil, shutdown.Stage{Nodes: []string{"pve1"}, Deadline: time.Minute}, shutdown.Stage{Nodes: []string{"pve2"}, Deadline: time.Minute})
	r.Fault("pve1", pvesim.Fault{Kind: pvesim.Hang}) // the command is under way and gets no answer
	h.urgent()
	h.silence(true)
	plug := time.Now()
	h.ups.Plug(false)
	at := r.awaitCommand(nodeShutdown("pve1"), 15*time.Second)
	within(t, "with little runtime, the first command", at.Sub(plug), 2*time.Second, 6*time.Second)
	h.silence(false)
	back := time.Now()
	h.ups.Plug(true)
	h.brain.awaitRun(shutdown.Stopped, 10*time.Second)
	within(t, "from the plug to the end of the run", time.Since(back), 0, 4*time.Second)
	// A command that hangs must not hold the loop up for its 7 s.
	eventually(t, "the loop has turned", func() bool { return strings.Contains(h.log.String(), "event=outage_over") })
	within(t, "until the loop has turned", time.Since(back), 0, 4*time.Second)
	r.Fault("pve1", pvesim.Fault{})
	h.brain.awaitBeats(4)
	if got := r.commands(); !slices.Equal(got, []string{nodeShutdown("pve1")}) {
		t.Errorf("told %q", got)
	}
	if !r.NodeUp("pve1") || !r.NodeUp("pve2") {
		t.Error("a healthy node went down")
	}
}

func TestS9_ARestartedPiGoesOnWithItsRun(t *testing.T) {
	t.Parallel()
	r := newRack(t, pvesim.NodeConfig{Name: "pve1"}, pvesim.NodeConfig{Name: "pve2"})
	h := armed(t, r, nil, shutdown.Stage{Nodes: []string{"pve1"}, Deadline: 8 * time.Second}, shutdown.Stage{Nodes: []string{"pve2"}, Deadline: time.Minute})
	r.Fault("pve1", pvesim.Fault{Kind: pvesim.Hang})
	h.urgent()
	h.silence(true)
	h.ups.Plug(false)
	r.awaitCommand(nodeShutdown("pve1"), 15*time.Second)
	h.stop()
	r.Fault("pve1", pvesim.Fault{Kind: pvesim.Lies}) // it says yes and stays, so the stage lasts
	// Whatever the brain hears first is the run, never that there is none (rule G5).
	h.silence(false)
	beats, reports := h.brain.seen()
	before, told := len(beats), len(reports)
	h.start()
	again := time.Now()
	h.brain.await("heartbeats and reports", 8*time.Second, func() bool { return len(h.brain.beats) > before && len(h.brain.reports) > told })
	if beats, reports = h.brain.seen(); beats[before].m.Pi.Run == nil || reports[told].m.Run == nil {
		t.Error("the first words after the restart do not name the run")
	}
	eventually(t, "what had no answer is sent again", func() bool { return len(r.commands()) > 1 })
	within(t, "until it is sent again", time.Since(again), 0, 5*time.Second)
	r.awaitCommand(nodeShutdown("pve2"), 20*time.Second)
	run, err := os.ReadFile(filepath.Join(h.cfg.StateDir, "run.jsonl"))
	if n := bytes.Count(run, []byte(`"type":"began"`)); err != nil || n != 1 {
		t.Errorf("%d runs, %v", n, err)
	}
	if got := r.commands(); !slices.Equal(got, []string{nodeShutdown("pve1"), nodeShutdown("pve1"), nodeShutdown("pve2")}) {
		t.Errorf("told %q", got)
	}
}

func TestS9_ARestartedPiLooksAtWhatItHasTold(t *testing.T) {
	t.Parallel()
	r := newRack(t, pvesim.NodeConfig{Name: "pve1", Guests: []pvesim.Guest{{VMID: 100, Type: pvesim.QEMU, Running: true, StopTakes: 4 * time.Second}}})
	h := newHouse(t)
	n := h.node("pve1")
	w := h.bundle(r, shutdown.Stage{Nodes: []string{"pve1"}, Deadline: 10 * time.Minute})
	w.Keys["pve1"] = n.key.PublicKey()
	h.brain.storedHash(h.begin(w))
	n.alive(r)
	h.urgent()
	h.ups.Plug(false)
	h.brain.await("pve1 was told", 15*time.Second, func() bool {
		s := h.brain.beats[len(h.brain.beats)-1].m.Pi.Run
		return s != nil && len(s.Targets) == 1 && s.Targets[0].State == "told"
	})
	h.restart() // while pve1 waits for its guest
	if run := h.brain.awaitRun(shutdown.HasEnded, 25*time.Second); run.Targets[0].State != "down" {
		t.Errorf("pve1 was seen as %+v", run.Targets[0])
	}
	if got := r.commands(); len(got) != 1 {
		t.Errorf("told %q", got)
	}
}

// A Pi that boots because the power came back finds an open run, and an apcupsd that does
// not know its UPS yet.
func TestS5_ARunIsNotTakenUpBeforeTheUPSIsKnown(t *testing.T) {
	t.Parallel()
	r := newRack(t, pvesim.NodeConfig{Name: "pve1"})
	h := armed(t, r, nil, shutdown.Stage{Nodes: []string{"pve1"}, Deadline: 5 * time.Minute})
	h.urgent()
	r.Fault("pve1", pvesim.Fault{Kind: pvesim.Status, Code: 500, Reason: "starting"})
	h.ups.Plug(false)
	r.awaitCommand(nodeShutdown("pve1"), 15*time.Second)
	h.stop()
	if err := h.ups.Daemon(false); err != nil {
		t.Fatal(err)
	}
	h.ups.Plug(true)
	r.Fault("pve1", pvesim.Fault{})
	told := len(r.commands())
	h.start()
	h.brain.awaitBeats(4) // without apcupsd
	if err := h.ups.Daemon(true); err != nil {
		t.Fatal(err)
	}
	h.brain.awaitRun(shutdown.Stopped, 10*time.Second)
	if got := r.commands()[told:]; len(got) > 0 || !r.NodeUp("pve1") {
		t.Errorf("with the power back it told %q", got)
	}
}

func TestS7_AnUnarmedPlanIsNotBegun(t *testing.T) {
	t.Parallel()
	r := newRack(t, pvesim.NodeConfig{Name: "pve1"})
	h := armed(t, r, func(w *wire.Bundle) { w.Armed = false }, shutdown.Stage{Nodes: []string{"pve1"}, Deadline: time.Minute})
	h.urgent()
	h.silence(true)
	h.ups.Plug(false)
	eventually(t, "the Pi sees it", func() bool { return strings.Contains(h.log.String(), "supply=battery") })
	h.silence(false)
	h.brain.await("six seconds on battery", 12*time.Second, func() bool {
		return h.brain.reports[len(h.brain.reports)-1].m.Reading.For.Duration() > 6*time.Second
	})
	if got := r.commands(); len(got) > 0 || h.brain.lastRun() != nil {
		t.Errorf("unarmed it told %q, and tells of %+v", got, h.brain.lastRun())
	}
}

func TestABrokenBundleIsHandedOutAgain(t *testing.T) {
	t.Parallel()
	r := newRack(t, pvesim.NodeConfig{Name: "pve1"})
	h := armed(t, r, nil, shutdown.Stage{Nodes: []string{"pve1"}, Deadline: time.Minute})
	h.stop()
	if err := os.WriteFile(filepath.Join(h.cfg.StateDir, "bundle.json"), []byte(`{"hash":"`), 0o600); err != nil {
		t.Fatal(err)
	}
	h.start()
	h.brain.awaitBeats(1) // one without it, perhaps
	h.brain.storedHash(h.brain.hash)
}

// TestR3_ABundleThatWasChangedOnDiskIsHandedOutAgain: the Pi guards by it, but confirms
// nothing of it.
func TestR3_ABundleThatWasChangedOnDiskIsHandedOutAgain(t *testing.T) {
	t.Parallel()
	r := newRack(t, pvesim.NodeConfig{Name: "pve1"})
	h := armed(t, r, nil, shutdown.Stage{Nodes: []string{"pve1"}, Deadline: time.Minute})
	h.stop()
	path := filepath.Join(h.cfg.StateDir, "bundle.json")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, bytes.Replace(data, []byte("https://"), []byte("http://"), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	beats, _ := h.brain.seen()
	h.start()
	h.brain.awaitBeats(1)
	if after, _ := h.brain.seen(); after[len(beats)].m.Pi.Bundle != "" {
		t.Errorf("the Pi confirms %q", after[len(beats)].m.Pi.Bundle)
	}
	if !strings.Contains(h.log.String(), "bundle on disk is not the one that was stored") {
		t.Error("it says nothing")
	}
	h.brain.storedHash(h.brain.hash)
	if again, err := os.ReadFile(path); err != nil || !bytes.Equal(again, data) {
		t.Errorf("on disk is %.200s, %v", again, err)
	}
}

// asks is how the brain asks the Pi for an address.
func (h *house) asks(c wire.Connect, key wire.Key) (net.Conn, error) {
	header, err := courier.SignConnect(c, key)
	if err != nil {
		return nil, err
	}
	return h.asksWith(header, c.Addr)
}

func (h *house) asksWith(header, addr string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(h.t.Context(), 10*time.Second)
	defer cancel()
	conn, err := courier.Through((&net.Dialer{}).DialContext, h.cfg.LAN.Listen, courier.ToAsk, func(string) (string, error) { return header, nil })(ctx, "tcp", addr)
	if err == nil {
		h.t.Cleanup(func() { conn.Close() })
	}
	return conn, err
}

func TestConnectIsForTheBrainsOwnWordOnce(t *testing.T) {
	t.Parallel()
	r := newRack(t, pvesim.NodeConfig{Name: "pve1"}, pvesim.NodeConfig{Name: "pve2"})
	other, err := wire.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	h := newHouse(t)
	h.cfg.Brains = append(h.cfg.Brains, proxy.Brain{Address: freeAddr(t), Key: other.PublicKey()})
	hash := h.brain.hand(h.bundle(r, shutdown.Stage{Nodes: []string{"pve1"}, Deadline: time.Minute}))
	h.start()
	h.brain.storedHash(hash)
	addr := func(n string) string { u, _ := url.Parse(r.URL(n)); return u.Host }
	ask := func(pi, addr string) wire.Connect { return wire.Connect{Header: h.brain.header(), Pi: pi, Addr: addr} }
	refused := func(what string, err error) {
		t.Helper()
		if err == nil || !strings.Contains(err.Error(), "it answered 403") || errors.Is(err, courier.ErrTargetClosed) {
			t.Errorf("%s: %v", what, err)
		}
	}

	header, err := courier.SignConnect(ask("pi", addr("pve1")), h.brain.key)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := h.asksWith(header, addr("pve1"))
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool() // TLS is between the brain and the machine
	roots.AddCert(r.Certificate("pve1"))
	if err := tls.Client(conn, &tls.Config{RootCAs: roots, ServerName: "pve1"}).Handshake(); err != nil {
		t.Error(err)
	}
	_, err = h.asksWith(header, addr("pve1"))
	refused("the same word again", err)
	_, err = h.asks(ask("pi-2", addr("pve1")), h.brain.key)
	refused("a word for another Pi", err)
	_, err = h.asks(ask("pi", addr("pve2")), h.brain.key)
	refused("an address that is not in the plan", err)
	header, err = courier.SignConnect(ask("pi", addr("pve2")), h.brain.key)
	if err != nil {
		t.Fatal(err)
	}
	_, err = h.asksWith(header, addr("pve1"))
	refused("a word for another address", err)
	_, err = h.asks(ask("pi", addr("pve1")), h.node("pve1").key)
	refused("a node's word", err)
	_, err = h.asksWith("", addr("pve1"))
	refused("nobody's word", err)
	_, err = h.asksWith("Basic YTpi", addr("pve1"))
	refused("another scheme", err)
	if _, err := h.asks(wire.Connect{Header: wire.Header{V: 1, Node: "brain-2", Boot: brainBoot, Seq: 1 << 50}, Pi: "pi", Addr: addr("pve1")}, other); err != nil {
		t.Errorf("the second brain: %v", err)
	}
	r.PowerCut("pve1")
	if _, err := h.asks(ask("pi", addr("pve1")), h.brain.key); !errors.Is(err, courier.ErrTargetClosed) {
		t.Errorf("a machine that is off: %v", err)
	}
}

// The brain asks for many connections at once, and its words may overtake each other.
func TestConnectsMayOvertakeEachOther(t *testing.T) {
	t.Parallel()
	r := newRack(t, pvesim.NodeConfig{Name: "pve1"})
	h := armed(t, r, nil, shutdown.Stage{Nodes: []string{"pve1"}, Deadline: time.Minute})
	u, err := url.Parse(r.URL("pve1"))
	if err != nil {
		t.Fatal(err)
	}
	var words []wire.Connect
	for range 20 {
		words = append(words, wire.Connect{Header: h.brain.header(), Pi: "pi", Addr: u.Host})
	}
	slices.Reverse(words)
	var wg sync.WaitGroup
	for _, w := range words {
		wg.Go(func() {
			if _, err := h.asks(w, h.brain.key); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

func TestThePlansAddressesAreThoseOfItsAPIs(t *testing.T) {
	plan := shutdown.Plan{Nodes: []shutdown.Node{{API: "https://192.168.1.11:8006"}, {API: "https://pve2.lan"}, {API: "https://[fd00::1]:8006"}, {API: "://"}}}
	for addr, want := range map[string]bool{"192.168.1.11:8006": true, "pve2.lan:443": true, "[fd00::1]:8006": true,
		"192.168.1.11:22": false, "192.168.1.11": false, "pve2.lan": false, "pve2.lan:8006": false, "": false, ":443": false} {
		if got := proxy.InPlan(plan, addr); got != want {
			t.Errorf("%q in the plan is %v, want %v", addr, got, want)
		}
	}
}

func TestTheLANServesNothingElse(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.start()
	eventually(t, "it listens", func() bool {
		resp, err := http.Get(h.lan.URL + "/event/onbattery")
		if err != nil {
			return false
		}
		resp.Body.Close()
		http.DefaultClient.CloseIdleConnections()
		return resp.StatusCode == http.StatusNotFound
	})
}

// TestS10_AStopIsConfirmedOnceItIsOnDisk, which is tried again until it is.
func TestS10_AStopIsConfirmedOnceItIsOnDisk(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	_, w := desktop(t, h)
	h.brain.storedHash(h.begin(w))
	h.brain.await("the UPS is known", 5*time.Second, func() bool { return len(h.brain.reports) > 0 })
	h.stop()
	file := filepath.Join(h.cfg.StateDir, "run.jsonl")
	if err := errors.Join(os.RemoveAll(file), os.MkdirAll(filepath.Join(file, "in the way"), 0o700)); err != nil {
		t.Fatal(err)
	}
	h.start()
	h.ups.Plug(false)
	eventually(t, "the outage is not written", func() bool { return strings.Contains(h.log.String(), "run not written") })
	stop := shutdown.Epoch{Counter: 7, Holder: "brain"}
	h.brain.set(func() { h.brain.run, h.brain.epoch, h.brain.runID = shutdown.Stopped, stop, "run-7" })
	heeds := func() shutdown.Epoch {
		beats, _ := h.brain.seen()
		return beats[len(beats)-1].m.Pi.Heeds
	}
	eventually(t, "it knows of the stop", func() bool { return strings.Contains(h.log.String(), string(guardian.BrainDone)) })
	h.brain.awaitBeats(3)
	if e := heeds(); e != (shutdown.Epoch{}) {
		t.Errorf("nothing is on disk, and it confirms %v", e)
	}
	if err := errors.Join(os.RemoveAll(file), os.WriteFile(file, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the stop is confirmed", func() bool { return heeds() == stop })
	h.stop()
	if data, err := os.ReadFile(file); err != nil || !strings.Contains(string(data), string(guardian.BrainDone)) {
		t.Errorf("on disk is %q, %v", data, err)
	}
}
