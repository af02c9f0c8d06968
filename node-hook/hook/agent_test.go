package hook

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"sentinel.home.arpa/node-hook/internal/rig"
	"sentinel.home.arpa/node-hook/internal/systemd"
	"sentinel.home.arpa/shared/courier"
	"sentinel.home.arpa/shared/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// node is a configuration for receivers on this machine, in a directory of its own.
func node(t *testing.T, brains, pis []*rig.Receiver) (Config, string) {
	t.Helper()
	dir := t.TempDir()
	boot := filepath.Join(dir, "boot_id")
	if err := os.WriteFile(boot, []byte(rig.Boot+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	fmt.Fprintf(&text, "name: pve1\nstate_dir: %s\nboot_id_file: %s\ntailscaled_socket: %s\ninterval: 200ms\n",
		filepath.Join(dir, "state"), boot, filepath.Join(dir, "tailscaled.sock"))
	for key, list := range map[string][]*rig.Receiver{"brains": brains, "pi_proxies": pis} {
		fmt.Fprintf(&text, "%s:%s", key, map[bool]string{true: " []\n", false: "\n"}[len(list) == 0])
		for _, r := range list {
			fmt.Fprintf(&text, "  - {address: %q, key: %q}\n", r.Peer().Address, r.Peer().Key)
		}
	}
	path := write(t, text.String())
	c, err := Build{}.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	return c, path
}

// host is a machine without a bus whose process 1 is as given.
func host(t *testing.T, cmdline string) systemd.Detector {
	t.Helper()
	path := filepath.Join(t.TempDir(), "cmdline")
	if err := os.WriteFile(path, []byte(cmdline), 0o600); err != nil {
		t.Fatal(err)
	}
	return systemd.Detector{Cmdline: path, Bus: "unix:path=" + filepath.Join(t.TempDir(), "none")}
}

const (
	goingDown = "/usr/lib/systemd/systemd-shutdown\x00poweroff\x00"
	stayingUp = "/sbin/init\x00"
)

// start runs the agent; stop ends it as SIGTERM does and waits.
func start(t *testing.T, c Config, machine systemd.Detector) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- Build{}.run(ctx, c, machine, slog.New(slog.DiscardHandler)) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return stop
}

// TestH10_BrainAndPiHear, also the Pi that only the brain names, and after a restart with
// the brain gone.
func TestH10_BrainAndPiHear(t *testing.T) {
	brain, pi, taught := rig.Loopback(t, "brain"), rig.Loopback(t, "pi"), rig.Loopback(t, "pi2")
	brain.Teach = wire.Answer{BrainKey: brain.Key.PublicKey(), Pis: []wire.Peer{taught.Peer()}}
	c, _ := node(t, []*rig.Receiver{brain}, []*rig.Receiver{pi})
	stop := start(t, c, host(t, stayingUp))
	for _, r := range []*rig.Receiver{brain, pi, taught} {
		got := r.Await(courier.PathHeartbeat, 3)
		if got[0].Header.Node != "pve1" || got[0].Header.Boot != rig.Boot || got[2].Header.Seq <= got[1].Header.Seq {
			t.Errorf("got %+v", got)
		}
	}
	stop()
	brain.SetMood(rig.Hang)
	seen := len(taught.Arrivals(courier.PathHeartbeat))
	stop = start(t, c, host(t, stayingUp))
	taught.Await(courier.PathHeartbeat, seen+2)
	stop()
}

// TestA8_RestartAnnouncesNothing: the agent is upgraded, the machine stays up.
func TestA8_RestartAnnouncesNothing(t *testing.T) {
	pi := rig.Loopback(t, "pi")
	c, _ := node(t, nil, []*rig.Receiver{pi})
	for range 2 {
		seen := len(pi.Arrivals(courier.PathHeartbeat))
		stop := start(t, c, host(t, stayingUp))
		pi.Await(courier.PathHeartbeat, seen+2)
		stop()
	}
	if got := pi.Arrivals(courier.PathAnnounce); len(got) != 0 {
		t.Errorf("announced %+v", got)
	}
	beats := pi.Arrivals(courier.PathHeartbeat)
	for i := 1; i < len(beats); i++ {
		if beats[i].Header.Seq <= beats[i-1].Header.Seq {
			t.Errorf("seq fell across the restart: %d after %d", beats[i].Header.Seq, beats[i-1].Header.Seq)
		}
	}
}

// TestA1_LastWord: stopped with the machine, and nothing announced before, the agent
// announces, and it gets through while the brain refuses.
func TestA1_LastWord(t *testing.T) {
	brain, pi := rig.Loopback(t, "brain"), rig.Loopback(t, "pi")
	brain.SetMood(func(w http.ResponseWriter, _ *http.Request, _ *wire.Answer) bool {
		courier.Fail(w, &courier.Fault{Status: 403, Err: errors.New("unknown node")})
		return true
	})
	c, _ := node(t, []*rig.Receiver{brain}, []*rig.Receiver{pi})
	stop := start(t, c, host(t, goingDown))
	pi.Await(courier.PathHeartbeat, 1)
	stop()
	got := pi.Arrivals(courier.PathAnnounce)
	if len(got) != 1 || got[0].Kind != wire.Poweroff || got[0].Header.Node != "pve1" {
		t.Fatalf("pi got %+v", got)
	}
	beats := pi.Arrivals(courier.PathHeartbeat)
	if last := beats[0].Header.Seq; got[0].Header.Seq <= last {
		t.Errorf("announcement's seq %d is not above a heartbeat's %d", got[0].Header.Seq, last)
	}
}

// TestLogindOffSpeaksForNobody: many agents on one machine that goes down.
func TestLogindOffSpeaksForNobody(t *testing.T) {
	pi := rig.Loopback(t, "pi")
	c, path := node(t, nil, []*rig.Receiver{pi})
	c.Logind = false
	stop := start(t, c, host(t, goingDown))
	pi.Await(courier.PathHeartbeat, 1)
	stop()
	off := appended(t, path, "logind: off\n")
	var out strings.Builder
	if err := (Build{}).announce(t.Context(), off, "", &out, host(t, goingDown)); err != nil || out.Len() > 0 {
		t.Errorf("announce without a kind: %v, %q", err, out.String())
	}
	if got := pi.Arrivals(courier.PathAnnounce); len(got) != 0 {
		t.Errorf("announced %+v", got)
	}
	if err := (Build{}).announce(t.Context(), off, wire.Reboot, &out, host(t, stayingUp)); err != nil {
		t.Error(err)
	}
	if got := pi.Arrivals(courier.PathAnnounce); len(got) != 1 || got[0].Kind != wire.Reboot {
		t.Errorf("announced %+v", got)
	}
}

// appended is a configuration with more lines.
func appended(t *testing.T, path, more string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return write(t, string(text)+more)
}

func TestAnnounceFindsTheKind(t *testing.T) {
	pi := rig.Loopback(t, "pi")
	_, path := node(t, nil, []*rig.Receiver{pi})
	var out strings.Builder
	if err := (Build{}).announce(t.Context(), path, "", &out, host(t, stayingUp)); err != nil || out.Len() > 0 {
		t.Errorf("silent without a shutdown: %v, %q", err, out.String())
	}
	if err := (Build{}).announce(t.Context(), path, "", &out, host(t, goingDown)); err != nil {
		t.Error(err)
	}
	if want := "poweroff acknowledged by " + pi.Peer().Address + "\n"; out.String() != want {
		t.Errorf("printed %q, want %q", out.String(), want)
	}
	if got := pi.Arrivals(courier.PathAnnounce); len(got) != 1 || got[0].Kind != wire.Poweroff {
		t.Errorf("announced %+v", got)
	}
}

// TestFoundBrains are dialled at their address, port 80.
func TestFoundBrains(t *testing.T) {
	c, _ := node(t, nil, nil)
	ln, err := net.Listen("unix", c.TailscaledSocket)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `{"BackendState":"Running","Peer":{"a":{"HostName":"b6","TailscaleIPs":["fd7a::5"],"Tags":["tag:sentinel-brain"]},
			"b":{"HostName":"brain","TailscaleIPs":["100.64.0.5"],"Tags":["tag:sentinel-brain"],"Online":true}}}`)
	})}
	done := make(chan error, 1)
	go func() { done <- server.Serve(ln) }()
	defer func() { server.Close(); <-done }()
	a, err := newAgent(c, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	a.found(a.tailscaled(t.Context()))
	got, err := json.Marshal(a.book.Receivers())
	if want := `[{"Name":"brain","URL":"http://100.64.0.5:80","Key":""},{"Name":"b6","URL":"http://[fd7a::5]:80","Key":""}]`; string(got) != want || err != nil {
		t.Errorf("%s, %v", got, err)
	}
	a.found(nil, errors.New("no tailscaled"))
	if got := a.book.Receivers(); len(got) != 0 {
		t.Errorf("without anybody to vouch: %+v", got)
	}
}

func TestStartFailsWithAReason(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*Config)
		want   string
	}{
		"state is a file": {func(c *Config) { c.StateDir = c.BootIDFile }, "make the state directory"},
		"no boot id":      {func(c *Config) { c.BootIDFile = "/nonexistent" }, "read the boot id"},
	} {
		conf, _ := node(t, nil, nil)
		c.change(&conf)
		if err := (Build{}).run(t.Context(), conf, host(t, stayingUp), slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
