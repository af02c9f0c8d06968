package proxy_test

import (
	"bufio"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"sentinel.home.arpa/pi-proxy/proxy"
	"sentinel.home.arpa/shared/shutdown"
	"sentinel.home.arpa/shared/sim/pvesim"
	"sentinel.home.arpa/shared/wire"
)

// asRoot is the root helper's socket: it notes what is asked, and says yes or no.
type asRoot struct {
	mu    sync.Mutex
	asked []string
	says  string
}

func newRoot(t *testing.T, h *house) *asRoot {
	t.Helper()
	r := &asRoot{says: "ok"}
	h.cfg.RootSocket = filepath.Join(t.TempDir(), "root.sock")
	ln, err := net.Listen("unix", h.cfg.RootSocket)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			line, _ := bufio.NewReader(conn).ReadString('\n')
			r.mu.Lock()
			r.asked = append(r.asked, strings.TrimSpace(line))
			_, _ = conn.Write([]byte(r.says + "\n"))
			r.mu.Unlock()
			_ = conn.Close()
		}
	}()
	t.Cleanup(func() { _ = ln.Close(); <-done })
	return r
}

func (r *asRoot) verbs() []string { r.mu.Lock(); defer r.mu.Unlock(); return slices.Clone(r.asked) }

// guarded is a house with an armed plan of one node, whose root is the test's.
func guarded(t *testing.T, change func(*house, *wire.Bundle)) (*house, *rack, *asRoot) {
	t.Helper()
	r := newRack(t, pvesim.NodeConfig{Name: "pve1"})
	h := newHouse(t)
	root := newRoot(t, h)
	n := h.node("pve1")
	w := h.bundle(r, shutdown.Stage{Nodes: []string{"pve1"}, Deadline: time.Minute})
	w.Keys["pve1"] = n.key.PublicKey()
	if change != nil {
		change(h, &w)
	}
	h.brain.storedHash(h.begin(w))
	n.alive(r)
	h.brain.await("the UPS is known", 5*time.Second, func() bool { return len(h.brain.reports) > 0 })
	return h, r, root
}

// TestG7_ThePiGoesWhenApcupsdWants it to, after the plan, and says that it does not return.
func TestG7_ThePiGoesWhenApcupsdWants(t *testing.T) {
	t.Parallel()
	h, r, root := guarded(t, nil)
	h.silence(true)
	h.ups.Plug(false)
	plug := time.Now()
	if err := proxy.TellEvent(h.cfg.ControlSocket, "doshutdown"); err != nil {
		t.Fatalf("the guardian does not take it over: %v", err)
	}
	at := r.awaitCommand(nodeShutdown("pve1"), 15*time.Second)
	// Without apcupsd's word it were 10 s of ride-through and 10 s for the brain.
	within(t, "until the plan begins", at.Sub(plug), 2*time.Second, 9*time.Second)
	eventually(t, "the Pi asks root", func() bool { return len(root.verbs()) > 0 })
	if got := root.verbs(); !slices.Equal(got, []string{"halt"}) || r.NodeUp("pve1") {
		t.Errorf("root was asked to %q, pve1 is up: %v", got, r.NodeUp("pve1"))
	}
	h.silence(false)
	h.brain.await("a report", 5*time.Second, func() bool { return len(h.brain.reports) > 0 })
	h.stop() // as systemd does by then
	if f := h.brain.farewells; len(f) != 1 || f[0].m.Kind != wire.Poweroff {
		t.Errorf("its farewell is %+v", f)
	}
	_, reports := h.brain.seen()
	if slices.ContainsFunc(reports, func(a arrival[wire.UPSReport]) bool { return a.m.Cutting }) {
		t.Error("it says that it cuts the output")
	}
}

// TestG4_TheLastWordIsThatTheOutputIsCut: it is told before root is asked. With root's no the
// Pi takes it back.
func TestG4_TheLastWordIsThatTheOutputIsCut(t *testing.T) {
	t.Parallel()
	h, r, root := guarded(t, func(h *house, _ *wire.Bundle) { h.cfg.UPS[0].CutOutput = true })
	r.Fault("pve1", pvesim.Fault{Kind: pvesim.Lies}) // it stays up, and the battery does not wait
	root.says = "error: not today"
	var told time.Time
	h.ups.SetRuntime(30 * time.Second)
	h.ups.SetCharge(3)
	h.ups.Low(true)
	h.ups.Plug(false)
	h.brain.await("the Pi's last word", 25*time.Second, func() bool {
		last := h.brain.reports[len(h.brain.reports)-1]
		told = last.at
		return last.m.Cutting && last.m.UPS == "rack" && last.m.Reading.OnBattery()
	})
	eventually(t, "the Pi asks root", func() bool { return len(root.verbs()) > 0 })
	if got := root.verbs(); !slices.Equal(got, []string{"halt-and-cut"}) || time.Since(told) > 10*time.Second {
		t.Errorf("root was asked to %q", got)
	}
	h.brain.await("the Pi takes it back", 10*time.Second, func() bool { return !h.brain.reports[len(h.brain.reports)-1].m.Cutting })
	h.stop()
	if f := h.brain.farewells; len(f) != 1 || f[0].m.Kind != wire.SoftReboot {
		t.Errorf("its farewell is %+v", f)
	}
}

// TestG4_APiThatStaysOnTakesItsWordBack: what shuts it down next must not cut the output.
func TestG4_APiThatStaysOnTakesItsWordBack(t *testing.T) {
	t.Parallel()
	h, r, root := guarded(t, func(h *house, _ *wire.Bundle) { h.cfg.UPS[0].CutOutput = true })
	r.Fault("pve1", pvesim.Fault{Kind: pvesim.Lies})
	h.stop()
	h.startWith(func(p *proxy.Proxy) error { p.GoneWithin(2 * time.Second); return nil })
	h.ups.SetRuntime(30 * time.Second)
	h.ups.SetCharge(3)
	h.ups.Low(true)
	h.ups.Plug(false)
	eventually(t, "root is asked twice", func() bool { return len(root.verbs()) > 1 })
	if got := root.verbs(); !slices.Equal(got, []string{"halt-and-cut", "clear"}) {
		t.Errorf("root was asked to %q", got)
	}
}

// TestG7_ADeadGuardianLeavesItToApcupsd, in whichever way it is dead.
func TestG7_ADeadGuardianLeavesItToApcupsd(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		change func(*house, *wire.Bundle)
		does   func(*testing.T, *house)
		why    string
	}{
		{"not armed", func(_ *house, w *wire.Bundle) { w.Armed = false }, nil, "no plan is armed"},
		{"another machine's apcupsd", func(h *house, _ *wire.Bundle) {
			h.cfg.UPS[0].NIS = strings.Replace(h.cfg.UPS[0].NIS, "127.0.0.1", "ip6-loopback.invalid", 1)
		}, nil, "no apcupsd of this machine"},
		{"the UPS is not heard", nil, func(t *testing.T, h *house) {
			h.stop()
			if err := h.ups.Daemon(false); err != nil {
				t.Fatal(err)
			}
			h.start()
			h.brain.awaitBeats(2)
		}, "has not been heard"},
		{"stopped", nil, func(_ *testing.T, h *house) { h.stop() }, "does it run?"},
		{"the disk hangs", nil, func(t *testing.T, h *house) {
			h.ups.Plug(false)
			run := filepath.Join(h.cfg.StateDir, "run.jsonl")
			eventually(t, "the outage is on disk", func() bool { _, err := os.Stat(run); return err == nil })
			h.brain.awaitBeats(1)
			if err := os.Remove(run); err != nil {
				t.Fatal(err)
			}
			if err := syscall.Mkfifo(run, 0o600); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { // let it go
				if f, err := os.OpenFile(run, os.O_RDWR, 0); err == nil {
					_ = f.Close()
				}
			})
		}, "the disk hangs"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := newRack(t, pvesim.NodeConfig{Name: "pve1"})
			h := newHouse(t)
			w := h.bundle(r, shutdown.Stage{Nodes: []string{"pve1"}, Deadline: time.Minute})
			if tt.change != nil {
				tt.change(h, &w)
			}
			h.brain.storedHash(h.begin(w))
			if tt.does != nil {
				tt.does(t, h)
			}
			begin := time.Now()
			err := proxy.TellEvent(h.cfg.ControlSocket, "doshutdown")
			if err == nil || !strings.Contains(err.Error(), tt.why) {
				t.Errorf("apcupsd is told %v, want %q", err, tt.why)
			}
			within(t, "until it is told", time.Since(begin), 0, 7*time.Second)
		})
	}
}
