//go:build apcupsd

package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"sentinel.home.arpa/shared/courier"
	"sentinel.home.arpa/shared/daemon"
	"sentinel.home.arpa/shared/power"
	"sentinel.home.arpa/shared/sim/smartups"
	"sentinel.home.arpa/shared/wire"
)

// arrival is a UPS report as the brain got it.
type arrival struct {
	at time.Time
	wire.UPSReport
}

// receiver is a brain as far as the Pi can tell: it verifies, and answers signed.
type receiver struct {
	t   *testing.T
	key wire.Key
	pi  wire.PublicKey
	got chan arrival
	seq wire.Counter
}

func (b *receiver) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	e, _, err := courier.Receive(w, r)
	if err != nil {
		courier.Fail(w, err)
		return
	}
	if e.Kind == wire.KindUPS {
		a := arrival{at: time.Now()}
		if err := courier.Decode(e, b.pi, wire.KindUPS, &a.UPSReport); err != nil {
			b.t.Errorf("report: %v", err)
			courier.Fail(w, err)
			return
		}
		b.got <- a
	}
	answer := wire.Answer{Header: wire.Header{V: wire.Version, Node: "brain", Boot: e.Header.Boot, Seq: b.seq.Next(daemon.BootTime())},
		To: e.Header.Node, ToBoot: e.Header.Boot, ToSeq: e.Header.Seq}
	if err := courier.Reply(w, answer, b.key); err != nil {
		b.t.Errorf("answer: %v", err)
	}
}

// until waits for a report, prints how long it took since begin, and fails at one that
// may not come before it.
func (b *receiver) until(what string, begin time.Time, within time.Duration, want, never func(power.Reading) bool) {
	b.t.Helper()
	late := time.NewTimer(within)
	defer late.Stop()
	var last arrival
	for {
		select {
		case a := <-b.got:
			if a.at.Before(begin) {
				continue
			}
			last = a
			if never != nil && never(a.Reading) {
				b.t.Fatalf("%s: the brain was told %+v", what, a.Reading)
			}
			if want(a.Reading) {
				b.t.Logf("%-62s %7.3f s", what, a.at.Sub(begin).Seconds())
				return
			}
		case <-late.C:
			b.t.Fatalf("%s: not within %v; last %+v", what, within, last.Reading)
		}
	}
}

// TestApcupsdU1_TheWholePi runs the real sentinel-pi on the real apcupsd on a simulated
// UPS, whose apccontrol runs the real `sentinel-pi event`, and judges by what a brain is
// told.
func TestApcupsdU1_TheWholePi(t *testing.T) {
	dir := t.TempDir()
	bin := filepath.Join(dir, "sentinel-pi")
	if out, err := exec.Command("go", "build", "-o", bin, ".").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	unit, err := smartups.Open()
	if err != nil {
		t.Fatal(err)
	}
	var tasks sync.WaitGroup
	ctx, cancel := context.WithCancel(context.Background())
	defer tasks.Wait()
	defer cancel()
	tasks.Go(func() {
		if err := unit.Run(ctx); err != nil {
			t.Errorf("unit: %v", err)
		}
	})
	brain, addr := serveBrain(t, dir)
	socket := filepath.Join(dir, "control.sock")
	apcupsd, err := smartups.StartApcupsd(ctx, smartups.Daemon{Dir: t.TempDir(), Device: unit.Device(), Port: freePort(t), OnEvent: func(e string) {
		if out, err := exec.Command(bin, "event", e, "--socket", socket).CombinedOutput(); err != nil && ctx.Err() == nil {
			t.Logf("event %s: %v %s", e, err, out)
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	stopped := false
	defer func() {
		if !stopped {
			apcupsd.Stop()
		}
	}()
	startPi(t, bin, dir, fmt.Sprintf("name: pi\nstate_dir: %s\ncontrol_socket: %s\nbrains: [{address: %q, key: %q}]\nlan: {listen: \"127.0.0.1:0\"}\nups: [{name: ups, nis: %q}]\n",
		dir, socket, addr, brain.key.PublicKey(), apcupsd.Addr))

	mains := func(r power.Reading) bool { return r.Supply == power.Mains && r.LostFor == nil }
	battery := func(r power.Reading) bool { return r.Supply == power.Battery }
	start := time.Now()
	brain.until("start -> ONLINE", start, 20*time.Second, mains, battery)

	unit.SelfTest(true)
	brain.until("self-test -> told as one", time.Now(), 5*time.Second, func(r power.Reading) bool { return r.Supply == power.SelfTest }, battery)
	unit.SelfTest(false)
	brain.until("self-test over -> ONLINE", time.Now(), 5*time.Second, mains, battery)

	plug := time.Now()
	unit.Plug(false)
	brain.until("plug out -> ONBATT", plug, 2*time.Second, battery, nil)
	brain.until("plug out -> on battery for 3 s, by the Pi's own clock", plug, 5*time.Second,
		func(r power.Reading) bool { return battery(r) && r.For >= 3 }, mains)
	unit.LowBattery(true)
	brain.until("low battery -> LOWBATT", time.Now(), 3*time.Second, func(r power.Reading) bool { return r.LowFor != nil && battery(r) }, mains)
	unit.LowBattery(false)
	unit.Mute(true)
	mute := time.Now()
	brain.until("mute UPS -> COMMLOST, still known as on battery", mute, 60*time.Second,
		func(r power.Reading) bool { return r.LostFor != nil && r.Flags.Has(power.CommLost) && battery(r) }, mains)
	unit.Mute(false)
	brain.until("cable back -> ONBATT, counted from the plug", time.Now(), 15*time.Second, func(r power.Reading) bool {
		return r.LostFor == nil && battery(r) && r.For.Duration() > mute.Sub(plug)
	}, mains)
	unit.Plug(true)
	brain.until("plug in -> ONLINE", time.Now(), 3*time.Second, mains, nil)

	if err := apcupsd.Stop(); err != nil {
		t.Errorf("stop apcupsd: %v", err)
	}
	stopped = true
	brain.until("apcupsd stopped -> contact lost", time.Now(), 10*time.Second, func(r power.Reading) bool { return r.LostFor != nil }, battery)
}

func serveBrain(t *testing.T, dir string) (*receiver, string) {
	t.Helper()
	pi, err := wire.LoadKey(dir)
	if err != nil {
		t.Fatal(err)
	}
	key, err := wire.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := &receiver{t: t, key: key, pi: pi.PublicKey(), got: make(chan arrival, 10_000)}
	srv := &http.Server{Handler: b, ReadHeaderTimeout: time.Second}
	done := make(chan struct{})
	go func() { defer close(done); _ = srv.Serve(ln) }()
	t.Cleanup(func() { srv.Close(); <-done })
	return b, ln.Addr().String()
}

func startPi(t *testing.T, bin, dir, config string) {
	t.Helper()
	path := filepath.Join(dir, "pi.yaml")
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	cmd := exec.Command(bin, "run", "--config", path)
	cmd.Stderr = &log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		if err := cmd.Wait(); err != nil {
			t.Errorf("sentinel-pi: %v", err)
		}
		if t.Failed() {
			t.Log(strings.TrimSpace(log.String()))
		}
	})
}

func freePort(t *testing.T) int {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().(*net.TCPAddr).Port
}
