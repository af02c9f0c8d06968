package proxy_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"sentinel.home.arpa/shared/shutdown"
	"sentinel.home.arpa/shared/sim/pvesim"
)

// TestS5_ThePiStartsAgainWhatItStopped, also once it was restarted, and never on battery.
func TestS5_ThePiStartsAgainWhatItStopped(t *testing.T) {
	t.Parallel()
	guest := func(id int, takes time.Duration) pvesim.Guest {
		return pvesim.Guest{VMID: id, Name: "vm", Type: pvesim.QEMU, Running: true, StopTakes: takes}
	}
	r := newRack(t, pvesim.NodeConfig{Name: "pve1", Guests: []pvesim.Guest{guest(100, time.Second), guest(101, 12*time.Second)}})
	h := armed(t, r, nil, shutdown.Stage{AllGuests: true, Deadline: time.Minute}, shutdown.Stage{Nodes: []string{"pve1"}, Deadline: time.Minute})
	h.urgent()
	h.silence(true)
	h.ups.Plug(false)
	r.awaitCommand("pve1 /nodes/pve1/qemu/101/status/shutdown", 15*time.Second)
	eventually(t, "a guest has stopped", func() bool { g, _ := r.Guest(100); return !g.Running })
	if got := r.commands(); slices.ContainsFunc(got, func(c string) bool {
		return c != "pve1 /nodes/pve1/qemu/100/status/shutdown" && c != "pve1 /nodes/pve1/qemu/101/status/shutdown"
	}) {
		t.Fatalf("told %q on battery", got)
	}
	h.ups.Plug(true)
	r.awaitCommand("pve1 /nodes/pve1/qemu/100/status/start", 5*time.Second)
	h.stop()
	h.start()
	r.awaitCommand("pve1 /nodes/pve1/qemu/101/status/start", 25*time.Second)
	eventually(t, "both run", func() bool {
		one, _ := r.Guest(100)
		other, _ := r.Guest(101)
		return one.Running && other.Running
	})
	h.silence(false)
	h.brain.awaitRun(shutdown.Stopped, 10*time.Second)
	h.brain.await("the brain hears of it", 10*time.Second, func() bool {
		m := h.brain.beats[len(h.brain.beats)-1].m
		if m.Pi == nil || m.Pi.Run == nil {
			return false
		}
		return !slices.ContainsFunc(m.Pi.Run.Targets, func(o shutdown.Outcome) bool { return o.Kind == shutdown.Guest && o.State != shutdown.Back })
	})
	if !r.NodeUp("pve1") {
		t.Error("a healthy node went down")
	}
}

// TestS5_ThePiThatTakesARunUpStartsWhatItStopped: the first Pi dies in its run, and knows nothing of it later.
func TestS5_ThePiThatTakesARunUpStartsWhatItStopped(t *testing.T) {
	t.Parallel()
	r := newRack(t, pvesim.NodeConfig{Name: "pve1", Guests: []pvesim.Guest{
		{VMID: 100, Name: "ct", Type: pvesim.LXC, Running: true, StopTakes: time.Second},
		{VMID: 101, Name: "vm", Type: pvesim.QEMU, Running: true, Hangs: true},
	}})
	one, two := twoPis(t, r, shutdown.Stage{AllGuests: true, Deadline: 2 * time.Minute}, oneStage())
	one.silence(true)
	two.silence(true)
	outage(one, two)
	eventually(t, "a guest has stopped", func() bool { g, _ := r.Guest(100); return !g.Running })
	r.awaitCommand("pve1 /nodes/pve1/qemu/101/status/shutdown", 5*time.Second)
	<-time.After(3 * time.Second) // the other Pi hears of it within a second
	one.stop()
	for deadline := time.Now().Add(50 * time.Second); !strings.Contains(two.log.String(), "has made no headway"); {
		if <-time.After(100 * time.Millisecond); time.Now().After(deadline) {
			t.Fatal("never taken up")
		}
	}
	if err := os.Remove(filepath.Join(one.cfg.StateDir, "run.jsonl")); err != nil {
		t.Fatal(err)
	}
	one.ups.Plug(true)
	two.ups.Plug(true)
	one.start()
	r.awaitCommand("pve1 /nodes/pve1/lxc/100/status/start", 20*time.Second)
}
