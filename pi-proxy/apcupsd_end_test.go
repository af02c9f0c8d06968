//go:build apcupsd

package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"sentinel.home.arpa/shared/power"
	"sentinel.home.arpa/shared/shutdown"
	"sentinel.home.arpa/shared/sim/pvesim"
	"sentinel.home.arpa/shared/sim/smartups"
	"sentinel.home.arpa/shared/wire"
)

// end is a Pi with the real apcupsd, the script that the README installs, a plan of one node,
// and a root that only notes what it is asked.
type end struct {
	t      *testing.T
	unit   *smartups.UPS
	config smartups.Daemon
	nis    string
	brain  *receiver
	rack   *pvesim.Cluster
	pi     *exec.Cmd
	log    *bytes.Buffer

	mu     sync.Mutex
	events []string
	asked  []string
}

func newEnd(t *testing.T, armed bool, timeout time.Duration) *end {
	t.Helper()
	dir := t.TempDir()
	e := &end{t: t, log: &bytes.Buffer{}}
	var err error
	if e.unit, err = smartups.Open(); err != nil {
		t.Fatal(err)
	}
	var tasks sync.WaitGroup
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(func() { cancel(); tasks.Wait() })
	tasks.Go(func() {
		if err := e.unit.Run(ctx); err != nil {
			t.Errorf("unit: %v", err)
		}
	})
	if e.rack, err = pvesim.New(pvesim.Config{TokenID: "sentinel@pve!power", Secret: "sim-secret", ShutdownDelay: time.Second,
		Nodes: []pvesim.NodeConfig{{Name: "pve1"}}}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.rack.Close() })
	brain, addr := serveBrain(t, dir)
	e.brain = brain
	socket, root := filepath.Join(dir, "control.sock"), filepath.Join(dir, "root.sock")
	e.asRoot(root)
	e.config = smartups.Daemon{Dir: filepath.Join(dir, "apcupsd"), Device: e.unit.Device(), Port: freePort(t), Timeout: timeout,
		DoShutdown: e.hook(dir, socket), OnEvent: func(name string) {
			e.mu.Lock()
			defer e.mu.Unlock()
			e.events = append(e.events, name)
		}}
	if err := os.Mkdir(e.config.Dir, 0o700); err != nil {
		t.Fatal(err)
	}
	apcupsd, err := smartups.StartApcupsd(ctx, e.config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := apcupsd.Stop(); err != nil {
			t.Errorf("stop apcupsd: %v", err)
		}
	})
	e.nis = apcupsd.Addr
	e.bundle(dir, armed)
	e.start(dir, fmt.Sprintf("name: pi\nstate_dir: %s\ncontrol_socket: %s\nroot_socket: %s\nbrains: [{address: %q, key: %q}]\nlan: {listen: \"127.0.0.1:0\"}\n"+
		"ups: [{name: ups, nis: %q, cut_output: true}]\n", dir, socket, root, addr, brain.key.PublicKey(), apcupsd.Addr))
	e.brain.until("on mains", time.Now(), 20*time.Second, func(r power.Reading) bool { return r.Supply == power.Mains && r.LostFor == nil }, nil)
	return e
}

// hook is the script as it is installed, for the program and the directories of this test.
func (e *end) hook(dir, socket string) string {
	e.t.Helper()
	text, err := os.ReadFile("../deploy/apcupsd/doshutdown")
	if err != nil {
		e.t.Fatal(err)
	}
	script := string(text)
	for was, is := range map[string]string{"/usr/bin/sentinel-pi event": os.Getenv(binary) + " --socket " + socket + " event",
		"/etc/apcupsd/apcupsd.conf": filepath.Join(dir, "apcupsd", "apcupsd.conf")} {
		if strings.Count(script, was) != 1 {
			e.t.Fatalf("the script has not one %q:\n%s", was, script)
		}
		script = strings.Replace(script, was, is, 1)
	}
	return script
}

func (e *end) asRoot(socket string) {
	ln, err := net.Listen("unix", socket)
	if err != nil {
		e.t.Fatal(err)
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
			e.mu.Lock()
			e.asked = append(e.asked, strings.TrimSpace(line))
			e.mu.Unlock()
			_, _ = conn.Write([]byte("ok\n"))
			_ = conn.Close()
		}
	}()
	e.t.Cleanup(func() { _ = ln.Close(); <-done })
}

// bundle puts one on the Pi's disk.
func (e *end) bundle(dir string, armed bool) {
	e.t.Helper()
	secret := filepath.Join(dir, "proxmox-secret")
	if err := os.WriteFile(secret, []byte("sim-secret\n"), 0o600); err != nil {
		e.t.Fatal(err)
	}
	policy := power.DefaultPolicy()
	policy.RideThrough = 10 * time.Minute // apcupsd comes first
	policy.ChargeFloor, policy.RuntimeMargin = 0, 0
	b := wire.Bundle{Site: "home", Armed: armed, Policy: policy, TokenID: "sentinel@pve!power", TokenSecret: secret, Keys: map[string]wire.PublicKey{},
		Plan: shutdown.Plan{Site: "home", Nodes: []shutdown.Node{{Name: "pve1", API: e.rack.URL("pve1"), Fingerprint: e.rack.Fingerprint("pve1")}},
			Stages: []shutdown.Stage{{Nodes: []string{"pve1"}, Deadline: time.Minute}}}}
	hash, err := b.Hash()
	if err != nil {
		e.t.Fatal(err)
	}
	data, err := json.Marshal(map[string]any{"hash": hash, "bundle": b})
	if err != nil {
		e.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "bundle.json"), data, 0o600); err != nil {
		e.t.Fatal(err)
	}
}

func (e *end) start(dir, config string) {
	e.t.Helper()
	path := filepath.Join(dir, "pi.yaml")
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		e.t.Fatal(err)
	}
	e.pi = program(e.t, "run", "--config", path)
	e.pi.Stderr = e.log
	if err := e.pi.Start(); err != nil {
		e.t.Fatal(err)
	}
	e.t.Cleanup(func() {
		_ = e.pi.Process.Kill()
		_ = e.pi.Wait()
		if e.t.Failed() {
			e.t.Logf("the Pi's log:\n%s", e.log)
		}
	})
}

// until waits for a condition and prints how long that took.
func (e *end) until(what string, within time.Duration, ok func() bool) {
	e.t.Helper()
	begin := time.Now()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		if time.Since(begin) > within {
			e.mu.Lock()
			defer e.mu.Unlock()
			e.t.Fatalf("%s: not within %v; events %v, root was asked %q", what, within, e.events, e.asked)
		}
		<-tick.C
	}
	e.t.Logf("%-72s %7.3f s", what, time.Since(begin).Seconds())
}

func (e *end) happened(event string) func() bool {
	return func() bool { e.mu.Lock(); defer e.mu.Unlock(); return slices.Contains(e.events, event) }
}

func (e *end) root(verb string) func() bool {
	return func() bool { e.mu.Lock(); defer e.mu.Unlock(); return slices.Contains(e.asked, verb) }
}

// TestApcupsdG7_ThePiEndsLast: the real apcupsd decides to shut down, and what comes of it.
func TestApcupsdG7_ThePiEndsLast(t *testing.T) {
	t.Run("the guardian takes it over, and cuts the output last", func(t *testing.T) {
		t.Parallel()
		e := newEnd(t, true, 0)
		e.unit.SetCharge(4) // BATTERYLEVEL 5
		e.unit.Plug(false)
		e.until("battery under BATTERYLEVEL -> loadlimit", 20*time.Second, e.happened("loadlimit"))
		e.until("... -> doshutdown", 5*time.Second, e.happened("doshutdown"))
		e.until("... -> the script has taken powerfail away, and exits 99", 10*time.Second, func() bool { return !e.config.Powerfail() })
		e.until("... -> pve1 is shut down", 20*time.Second, func() bool { return !e.rack.NodeUp("pve1") })
		e.brain.until("apcupsd lives on, SHUTTING DOWN", time.Now(), 5*time.Second, func(r power.Reading) bool {
			return r.LostFor == nil && r.Flags.Has(power.Shutdown)
		}, nil)
		down := time.Now()
		e.until("pve1 down for a minute -> root is asked to halt and cut", 110*time.Second, e.root("halt-and-cut"))
		if waited := time.Since(down); waited < 55*time.Second {
			t.Errorf("the output is cut %v after pve1 was down", waited)
		}
		if e.root("halt")() || e.config.ShutDown() || e.config.Powerfail() {
			t.Errorf("root was asked %q, apcupsd shut down: %v, powerfail: %v", e.asked, e.config.ShutDown(), e.config.Powerfail())
		}
	})
	for _, tt := range []struct {
		name, event string
		armed       bool
		timeout     time.Duration
		limit       func(*smartups.UPS)
		dies        func(*end) error
	}{
		{"the Pi's daemon is dead, MINUTES", "runlimit", true, 0, func(u *smartups.UPS) { u.SetRuntime(2 * time.Minute) },
			func(e *end) error { return e.pi.Process.Kill() }},
		{"the Pi's daemon hangs, TIMEOUT", "timeout", true, 8 * time.Second, func(*smartups.UPS) {},
			func(e *end) error { return e.pi.Process.Signal(syscall.SIGSTOP) }},
		{"no plan is armed, LOWBATT", "failing", false, 0, func(u *smartups.UPS) { u.LowBattery(true) }, func(*end) error { return nil }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			e := newEnd(t, tt.armed, tt.timeout)
			if err := tt.dies(e); err != nil {
				t.Fatal(err)
			}
			e.unit.Plug(false)
			tt.limit(e.unit)
			e.until("apcupsd decides: "+tt.event, 30*time.Second, e.happened(tt.event))
			e.until("... -> doshutdown", 10*time.Second, e.happened("doshutdown"))
			e.until("... -> the script exits 0, and apcupsd shuts the Pi down by itself", 15*time.Second, e.config.ShutDown)
			if !e.config.Powerfail() {
				t.Error("apcupsd's own way does not end in a cut")
			}
			if !e.rack.NodeUp("pve1") || len(e.asked) > 0 {
				t.Errorf("pve1 is up: %v; root was asked %q", e.rack.NodeUp("pve1"), e.asked)
			}
		})
	}
}
