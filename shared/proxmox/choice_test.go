package proxmox

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sentinel.home.arpa/shared/shutdown"
	"sentinel.home.arpa/shared/sim/pvesim"
)

// described makes the lab's guests such as stages choose.
func described(cfg *pvesim.Config) {
	cfg.Nodes[0].Guests[0].Pool, cfg.Nodes[0].Guests[0].Startup = "prod", "order=2,up=10,down=90"
	cfg.Nodes[0].Guests[1].Tags, cfg.Nodes[0].Guests[1].Startup = "core", "3,down=1800"
	cfg.Nodes[1].Guests[0].Pool, cfg.Nodes[1].Guests[0].Startup = "prod", "order=1"
}

func fleetOf(t *testing.T, plan shutdown.Plan) *Fleet {
	t.Helper()
	gone := time.Minute
	f, err := NewFleet(plan, testToken, testSecret, nil, func(string) *time.Duration { return &gone })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Close)
	return f
}

// asked are the paths of the questions that a node's edge has seen.
func (l *lab) asked() (paths []string) {
	for _, x := range l.requests() {
		if x.Method == http.MethodGet {
			paths = append(paths, strings.TrimPrefix(x.Path, "/api2/json"))
		}
	}
	return paths
}

// TestS1_AListingTellsWhatStagesGoBy: tags are in the list, pools and the guests' own times are
// asked for only where a stage goes by them, and the times once.
func TestS1_AListingTellsWhatStagesGoBy(t *testing.T) {
	words := func(ts []shutdown.Target) (out []string) {
		for _, g := range ts {
			out = append(out, fmt.Sprint(g.Name, " ", g.Tags, " ", g.Pool, " ", g.Down))
		}
		slices.Sort(out)
		return out
	}
	for name, c := range map[string]struct {
		stage shutdown.Stage
		want  []string
		asked int
	}{
		"all":                  {shutdown.Stage{AllGuests: true}, []string{"dns [core]  30m0s", "saved []  0s", "stuck []  0s", "web [prod web]  1m30s"}, 2 + 4 + 2},
		"by pool":              {shutdown.Stage{Guests: &shutdown.Choice{Pool: "prod"}}, []string{"dns [core]  30m0s", "saved []  0s", "stuck []  0s", "web [prod web] prod 1m30s"}, 3 + 4 + 3},
		"by tag, with a time":  {shutdown.Stage{Guests: &shutdown.Choice{Tags: []string{"core"}}, Timeout: time.Minute}, []string{"dns [core]  0s", "saved []  0s", "stuck []  0s", "web [prod web]  0s"}, 2 + 2},
		"no stage with guests": {shutdown.Stage{Nodes: []string{"pve1"}}, []string{"dns [core]  0s", "saved []  0s", "stuck []  0s", "web [prod web]  0s"}, 2 + 2},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t, described)
			plan := l.planOf("pve1")
			plan.Stages = []shutdown.Stage{c.stage}
			f := fleetOf(t, plan)
			for range 2 {
				found, err := f.List(t.Context(), "pve1")
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(c.want, words(found)); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
			}
			if got := l.asked(); len(got) != c.asked {
				t.Errorf("%d questions, want %d: %v", len(got), c.asked, got)
			}
		})
	}
}

// TestS1_WhatIsNotToldIsNotWaitedFor: without a guest's own time all that is left is given,
// and a listing waits for none; without the pools the guests are listed all the same.
func TestS1_WhatIsNotToldIsNotWaitedFor(t *testing.T) {
	var hang atomic.Bool
	o, _ := fakeAPI(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		switch path := strings.TrimPrefix(r.URL.Path, "/api2/json"); {
		case strings.HasSuffix(path, "/config"):
			<-r.Context().Done()
		case path == "/nodes/pve1/qemu":
			_, _ = fmt.Fprint(w, `{"data":[{"vmid":100,"status":"running","tags":"web"},{"vmid":101,"status":"running"},{"vmid":102,"status":"running"}]}`)
		case path == "/cluster/resources":
			if hang.Load() {
				<-r.Context().Done()
			}
			http.Error(w, "no", http.StatusInternalServerError)
		default:
			_, _ = fmt.Fprint(w, `{"data":[]}`)
		}
	})
	plan := shutdown.Plan{Nodes: []shutdown.Node{{Name: "pve1", API: o.API, Fingerprint: o.Fingerprint}}, Stages: []shutdown.Stage{{AllGuests: true}}}
	f := fleetOf(t, plan)
	began := time.Now()
	found, err := f.List(t.Context(), "pve1")
	if took := time.Since(began); err != nil || len(found) != 3 || took > 4*time.Second {
		t.Errorf("after %s: %+v, %v", took, found, err)
	}
	plan.Stages[0].Guests = &shutdown.Choice{Pool: "prod"}
	plan.Stages[0].Timeout = time.Minute
	for _, hangs := range []bool{false, true} {
		hang.Store(hangs)
		f, unread := fleetOf(t, plan), ""
		f.PoolsUnread = func(node string, err error) { unread += node + ": " + err.Error() }
		began := time.Now()
		found, err := f.List(t.Context(), "pve1")
		if took := time.Since(began); err != nil || len(found) != 3 || found[0].Tags[0] != "web" || took > 4*time.Second {
			t.Errorf("without the pools, after %s: %+v, %v", took, found, err)
		}
		want := map[bool]string{false: "pve1: ask pve1 for the guests' pools: the API answered 500", true: "pve1: ask pve1 for the guests' pools: it did not answer in time"}[hangs]
		if !strings.HasPrefix(unread, want) {
			t.Errorf("it says of the pools %q", unread)
		}
		checked := strings.Join(said(f.Check(t.Context())), "\n")
		if want := "warning pve1: the guests' pools could not be seen on pve1: "; !strings.Contains(checked, want) || !strings.Contains(checked, "or else with their node") {
			t.Errorf("checked: %s", checked)
		}
	}
}

// TestS1_HowLongAGuestIsGiven: what it is given, but never so long that it could not be stopped
// hard before its stage ends.
func TestS1_HowLongAGuestIsGiven(t *testing.T) {
	l := newLab(t, nil)
	f := fleetOf(t, l.planOf("pve1"))
	web := shutdown.Target{Kind: shutdown.Guest, Node: "pve1", VMID: 100, Type: "qemu", Name: "web"}
	var want []string
	for _, c := range []struct {
		given, left time.Duration
		want        int
	}{{0, 3 * time.Minute, 165}, {90 * time.Second, 3 * time.Minute, 90}, {time.Hour, time.Minute, 45}, {90 * time.Second, 10 * time.Second, 5}, {time.Second, time.Minute, 1}} {
		if err := f.Do(t.Context(), shutdown.Command{Target: web, Left: c.left, Given: c.given}); err != nil {
			t.Fatal(err)
		}
		want = append(want, fmt.Sprintf(`{"forceStop":1,"timeout":%d}`, c.want))
	}
	var got []string
	for _, x := range l.requests() {
		if x.Method == http.MethodPost {
			got = append(got, x.Body)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestS1_AGuestThatHasLeft: a node tells who it has no more, whether it is told or looked at.
func TestS1_AGuestThatHasLeft(t *testing.T) {
	l := newLab(t, nil)
	f := fleetOf(t, l.planOf("pve1", "pve2"))
	web := shutdown.Target{Kind: shutdown.Guest, Node: "pve1", VMID: 100, Type: "qemu", Name: "web"}
	if err := l.Do("100 migrate pve2"); err != nil {
		t.Fatal(err)
	}
	if err := f.Do(t.Context(), shutdown.Command{Target: web, Left: time.Minute}); !errors.Is(err, shutdown.ErrMoved) {
		t.Errorf("told: %v", err)
	}
	if s, err := f.Look(t.Context(), web); err != nil || !s.Moved {
		t.Errorf("looked at: %+v, %v", s, err)
	}
	for reason, gone := range map[string]bool{
		"Configuration file 'nodes/pve1/lxc/101.conf' does not exist": true,
		"unable to find configuration file for VM 100 on node 'pve1'": true,
		"unable to find configuration file for CT 100 on node 'pve1'": true,
		"VM 100 not running":         false,
		"storage 'x' does not exist": false,
		"VM 100: Configuration file 'nodes/pve1/lxc/101.conf' does not exist, too": false,
	} {
		if got := isNoGuest(fmt.Errorf("x: %w", &Error{Code: 500, Reason: reason})); got != gone {
			t.Errorf("%s: %v", reason, got)
		}
	}
	if isNoGuest(&Error{Code: 400, Reason: "Configuration file 'x' does not exist"}) || isNoGuest(nil) {
		t.Error("another answer passes for it")
	}
}

// TestS1_TwoHostsWithOneNumber: the guests 100 of two hosts that form no cluster are told and
// seen each by itself.
func TestS1_TwoHostsWithOneNumber(t *testing.T) {
	one := newLab(t, nil)
	two := newLab(t, func(cfg *pvesim.Config) {
		cfg.Nodes = []pvesim.NodeConfig{{Name: "nuc", Guests: []pvesim.Guest{{VMID: 100, Name: "web", Type: pvesim.QEMU, Running: true, Lock: "backup"}}}}
	})
	plan := one.planOf("pve1")
	plan.Nodes = append(plan.Nodes, shutdown.Node{Name: "nuc", API: two.URL("nuc"), Fingerprint: two.Fingerprint("nuc")})
	f := fleetOf(t, plan)
	here := shutdown.Target{Kind: shutdown.Guest, Node: "pve1", VMID: 100, Type: "qemu"}
	there := shutdown.Target{Kind: shutdown.Guest, Node: "nuc", VMID: 100, Type: "qemu", Second: true}
	for _, g := range []shutdown.Target{there, here} {
		if err := f.Do(t.Context(), shutdown.Command{Target: g, Left: time.Minute}); err != nil {
			t.Fatal(err)
		}
	}
	seenAs(t, f, here, func(s shutdown.Sight) bool { return !s.Running })
	seenAs(t, f, there, func(s shutdown.Sight) bool { return s.Running && strings.Contains(s.Failed, "locked (backup)") })
}

// TestS4_GuestsOfANodeThatIsOff: that it is holds for all of them, so they need not be asked for
// one after the other.
func TestS4_GuestsOfANodeThatIsOff(t *testing.T) {
	l := newLab(t, nil)
	f := fleetOf(t, l.planOf("pve1"))
	l.PowerCut("pve1")
	dials := 0
	var mu sync.Mutex
	c := f.nodes["pve1"]
	dial := c.dial
	c.dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
		mu.Lock()
		defer mu.Unlock()
		dials++
		return dial(ctx, network, addr)
	}
	for _, id := range []int{100, 103, 104} {
		s, err := f.Look(t.Context(), shutdown.Target{Kind: shutdown.Guest, Node: "pve1", VMID: id, Type: "qemu"})
		if err != nil || !s.Running || !s.Closed || s.SilentFor == nil {
			t.Errorf("guest %d: %+v, %v", id, s, err)
		}
	}
	if dials != 1 {
		t.Errorf("its port was tried %d times", dials)
	}
	if err := l.Start("pve1"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the node is asked again", func() bool {
		s, err := f.Look(t.Context(), shutdown.Target{Kind: shutdown.Guest, Node: "pve1", VMID: 100, Type: "qemu"})
		return err == nil && !s.Closed
	})
}

// TestCheck_ChoicesWithoutGuests: a word that chooses nobody is said, unless not all are seen.
func TestCheck_ChoicesWithoutGuests(t *testing.T) {
	choice := shutdown.Choice{Tags: []string{"Web", "wbe"}, IDs: []int{101, 999, 102}, Pool: "prod"}
	for name, c := range map[string]struct {
		change func(*pvesim.Config)
		lines  []string
		want   []string
	}{
		"a tag and two numbers": {want: []string{
			"warning plan: stage 1 takes guests tagged wbe, and no guest is; correct the stage, or the guests that it means",
			"warning plan: stage 1 takes guests numbered 999, and no guest is; correct the stage, or the guests that it means",
			"warning plan: stage 1 takes guests numbered 102, and no guest is; correct the stage, or the guests that it means"}}, // a template
		"a pool": {change: func(cfg *pvesim.Config) { cfg.Nodes[0].Guests[0].Pool, cfg.Nodes[1].Guests[0].Pool = "", "" }, want: []string{
			"warning plan: stage 1 takes guests tagged wbe, and no guest is; correct the stage, or the guests that it means",
			"warning plan: stage 1 takes guests in the pool prod, and no guest is; correct the stage, or the guests that it means",
			"warning plan: stage 1 takes guests numbered 999, and no guest is; correct the stage, or the guests that it means",
			"warning plan: stage 1 takes guests numbered 102, and no guest is; correct the stage, or the guests that it means"}},
		"a node that is off": {lines: []string{"pve2 cut-power"}},
		"a token that is shown not all": {change: func(cfg *pvesim.Config) {
			cfg.Grants = map[string][]string{"/": {"Sys.Audit", "Sys.PowerMgmt", "VM.PowerMgmt"}, "/vms/100": {"VM.Audit", "VM.PowerMgmt"}}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t, func(cfg *pvesim.Config) {
				described(cfg)
				if c.change != nil {
					c.change(cfg)
				}
			})
			for _, line := range c.lines {
				if err := l.Do(line); err != nil {
					t.Fatal(err)
				}
			}
			plan := l.planOf("pve1", "pve2")
			plan.Stages = []shutdown.Stage{{Guests: &choice, Deadline: time.Minute}}
			var got []string
			for _, found := range fleetOf(t, plan).Check(t.Context()) {
				if found.Target == "plan" {
					got = append(got, fmt.Sprintf("%s %s: %s", found.Severity, found.Target, found.Text))
				}
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
