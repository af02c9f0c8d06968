package main

import (
	"context"
	"fmt"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"sentinel.home.arpa/shared/courier"
	"sentinel.home.arpa/shared/sim/hooksim"
	"sentinel.home.arpa/shared/wire"
)

// house is a running brain, with a Pi and nodes that beat through its control socket.
type house struct {
	*testing.T
	socket string
	config string
	keys   map[string]wire.Key
	client *courier.Client
	begun  time.Time
	seq    wire.Counter
	bundle string           // that the Pi has
	deaf   atomic.Bool      // the Pi takes no bundle
	hooks  hooksim.Receiver // Alex's ntfy
}

func newHouse(t *testing.T) *house {
	dir := t.TempDir()
	h := &house{T: t, socket: filepath.Join(dir, "s"), keys: map[string]wire.Key{}, begun: time.Now()}
	peer := func(name string) string {
		key, err := wire.NewKey()
		if err != nil {
			t.Fatal(err)
		}
		h.keys[name] = key
		return fmt.Sprintf("{name: %s, key: %q}", name, key.PublicKey())
	}
	ntfy := httptest.NewServer(&h.hooks)
	t.Cleanup(ntfy.Close)
	secret := written(t, "secret\n")
	path := written(t, fmt.Sprintf(`
sites: [{name: home, time_zone: UTC, pi_proxies: [{name: pi, relay: "127.0.0.1:1", key: %q}], nodes: [%s, %s]}]
proxmox: {token_id: "sentinel@pve!shutdown", token_secret_file: %s}
plan: [{nodes: {pve1: {api: "https://127.0.0.1:1", fingerprint: "77:B1:00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD"}}}]
contacts: [{name: Alex, notices: ["ntfy://%s/home?scheme=http"]}]
failure: {silence: 10s}
listen: 127.0.0.1:0
state_dir: %s
control_socket: %s
`, h.piKey(), peer("pve1"), peer("pve2"), secret, ntfy.Listener.Addr(), filepath.Join(dir, "state"), h.socket))
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	t.Cleanup(cancel)
	h.config = path
	cmd := program(ctx, "run", "--config", path)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM) // it may have ended
		if err := cmd.Wait(); err != nil {
			t.Errorf("ended with %v: %s", err, stderr.String())
		}
	})
	awaitReady(t, h.socket)
	h.client = courier.NewClient(func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", h.socket)
	})
	t.Cleanup(h.client.Close)
	return h
}

func (h *house) piKey() wire.PublicKey {
	key, err := wire.NewKey()
	if err != nil {
		h.Fatal(err)
	}
	h.keys["pi"] = key
	return key.PublicKey()
}

// beat is a heartbeat, and the Pi's word which bundle it has.
func (h *house) beat(name string) {
	m := wire.Heartbeat{Header: wire.Header{V: wire.Version, Node: name, Boot: "11111111-1111-4111-8111-111111111111", Seq: h.seq.Next(time.Since(h.begun) + time.Hour)}}
	if name == "pi" {
		m.Pi = &wire.PiStatus{Bundle: h.bundle}
	}
	data, err := wire.Seal(wire.KindHeartbeat, m, h.keys[name])
	if err != nil {
		h.Error(err)
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	a, err := h.client.Post(ctx, courier.Receiver{Name: "brain", URL: "http://brain"}, courier.PathHeartbeat, m.Header, data)
	if err == nil && a.Bundle != nil && !h.deaf.Load() {
		h.bundle = a.Mandate.Bundle
	}
}

// live lets sources beat until they die or the test is over.
func (h *house) live(names ...string) (die func()) {
	over := make(chan struct{})
	var beats sync.WaitGroup
	die = sync.OnceFunc(func() { close(over); beats.Wait() })
	h.Cleanup(die)
	beats.Go(func() {
		each := time.NewTicker(200 * time.Millisecond)
		defer each.Stop()
		for {
			for _, n := range names {
				h.beat(n)
			}
			select {
			case <-each.C:
			case <-over:
				return
			}
		}
	})
	return die
}

// says is what a verb answers; its clock times stand as HH:MM.
func (h *house) says(code int, want string, args ...string) {
	h.Helper()
	got, out, errs := does(h.T, append(args, "--socket", h.socket)...)
	text := regexp.MustCompile(`(\w{3} \d+ \w{3} )?\d\d:\d\d`).ReplaceAllString(out+errs, "HH:MM")
	if got != code || text != want+"\n" {
		h.Errorf("%s: exit %d %q, not %d %q", strings.Join(args, " "), got, text, code, want)
	}
}

// await repeats a verb until its answer contains a text, and returns the answer.
func (h *house) await(want string, args ...string) string {
	h.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; {
		_, out, errs := does(h.T, append(args, "--socket", h.socket)...)
		if strings.Contains(out, want) {
			return out
		}
		if time.Now().After(deadline) {
			h.Fatalf("%s never says %q: %s %s", strings.Join(args, " "), want, out, errs)
		}
	}
}

// TestH9_Verbs is every verb's answer from a real brain.
func TestH9_Verbs(t *testing.T) {
	h := newHouse(t)
	h.live("pi", "pve1")
	die := h.live("pve2")
	h.await("pve2  up", "status")
	h.says(0, "pve2 is muted until HH:MM; it is still watched.", "mute", "pve2")
	h.says(0, "pve2 is muted until HH:MM; it is still watched.", "mute", "pve2", "--for", "14d")
	h.says(0, "pve2 is not muted; its failures call you.", "unmute", "pve2")
	h.says(0, "pve1 is in maintenance until HH:MM; it may come and go.", "maintain", "pve1", "--for", "30m")
	h.says(0, "pve1 is not in maintenance; what fails calls you.", "maintain", "pve1", "--end")
	h.says(0, "home is in maintenance until HH:MM; its machines may come and go, and a power outage is still told.", "maintain", "home")
	h.says(0, "home is not in maintenance; what fails calls you.", "maintain", "home", "--end")
	die()
	h.says(1, `there is no node "pve3"; did you mean pve1?`, "mute", "pve3")
	h.says(0, "ntfy: delivered by ntfy", "test", "notice", "--contact", "Alex")
	if got := h.hooks.Taken(); !slices.ContainsFunc(got, func(g hooksim.Got) bool {
		return strings.Contains(g.Body, "This is a test of ntfy to Alex, sent by the operator at ")
	}) {
		t.Errorf("%+v", got)
	}
	h.says(1, "these channels were tried less than a minute ago", "test", "notice", "--contact", "Alex")
	h.says(1, "there is no such channel; write {sms: true} for Alex under contacts[].notices: in cloud.yaml", "test", "sms", "--contact", "Alex")
	h.says(1, `there is no contact "Axel"; known are Alex`, "test", "notice", "--contact", "Axel")
	h.says(2, `for must be a time from 1 minute to 30 days, not "1s"; write 30m, 2h or 14d`, "mute", "pve1", "--for", "1s")
	h.says(1, `no incident "x" is remembered; `+"`sentinel-cloud incidents` lists those of the last 24 h; the journal has the older ones", "timeline", "x")
	const unknown = "no node of the plan answers, so it is not known whether high availability is at work"
	const away = "pve1 at 127.0.0.1:1 is not reached: through pi: connect to the relay: dial tcp 127.0.0.1:1: connect: connection refused; check its address, and that it is up"
	h.says(1, unknown+"; "+away+"; `sentinel-cloud plan check` tells all; `sentinel-cloud plan arm --force` arms it all the same", "plan", "arm")
	h.says(0, "! "+unknown+"\n! "+away+"\nhome: the plan is armed; a power cut really shuts machines down.", "plan", "arm", "--force")
	h.says(1, "there is nothing to stop: no run of the plan is under way, and no UPS is on battery; `sentinel-cloud plan disarm` keeps the plan from beginning at all", "plan", "stop")
	h.says(1, "there is nothing to leave off: nothing is off that the plan told to shut down", "plan", "dismiss", "pve1")
	h.says(0, "home: the plan is not armed; nothing is shut down in a power cut.", "plan", "disarm")
	h.deaf.Store(true)
	h.says(1, "! "+unknown+"\n! "+away+"\nhome: the plan is armed, but pi has not confirmed; until then what was said before may hold.", "plan", "arm", "--force")

	h.says(1, "nobody can be called without a twilio: section in cloud.yaml", "test", "call", "--contact", "Alex")

	if code, out, _ := does(t, "digest", "--socket", h.socket); code != 0 || !strings.HasPrefix(out, "Digest of home: ") ||
		!strings.Contains(out, "\n\nAt home, since ") || !strings.Contains(out, "\nThe plan has been armed since ") || !strings.HasSuffix(out, "\nAll notices were delivered.\n") {
		t.Errorf("digest: exit %d\n%s", code, out)
	}
	list := h.await("-node-", "incidents")
	id := regexp.MustCompile(`home-node-\w+`).FindString(list)
	if !strings.Contains(list, "Failure at home, because pve2 sent nothing for 10 s and announced nothing") || strings.Contains(list, "nothing; pve2") {
		t.Errorf("incidents says %q", list)
	}
	code, out, _ := does(t, "status", "--socket", h.socket)
	if code != 1 || !strings.HasPrefix(out, "pve2 at home failed ") || !strings.Contains(out, "\n\nOpen incidents\n  ") || !strings.Contains(out, "pve2  down") {
		t.Errorf("status: exit %d\n%s", code, out)
	}
	h.says(0, id+" is known to the operator; nobody is called about it unless it gets worse.", "ack", id)
	h.says(1, `no incident "`+id+`x" is open; did you mean `+id+`?`, "ack", id+"x")
	if code, out, _ := does(t, "timeline", id, "--socket", h.socket); code != 0 ||
		!regexp.MustCompile(`(?m)^\d\d:\d\d:\d\d  pve2 failed, because it sent nothing for 10 s and announced nothing\n(.*\n)*\d\d:\d\d:\d\d  `+id+` is known, because the operator said so\n\d\d:\d\d:\d\d  telling Alex by ntfy: Failure at home: known\n\z`).MatchString(out) {
		t.Errorf("timeline: exit %d\n%s", code, out)
	}
	h.says(0, "pve2 is deleted; it comes back if it is heard again.\n! pve2 still stands in cloud.yaml, among the nodes of home; if it is gone for good, remove it there too, and reload", "delete", "pve2")
	if code, out, _ := does(t, "incidents", "--json", "--socket", h.socket); !strings.HasPrefix(out, `{"at":"20`) || code > 1 {
		t.Errorf("incidents --json: exit %d\n%s", code, out)
	}
	if data, err := os.ReadFile(filepath.Join(filepath.Dir(h.socket), "state", "journal.db")); err != nil || len(data) == 0 {
		t.Errorf("nothing of it is on disk: %v", err)
	}
}
