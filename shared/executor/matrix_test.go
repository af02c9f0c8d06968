package executor_test

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"
	"time"

	"sentinel.home.arpa/shared/shutdown"
)

// fault is one row of the matrix: what is wrong with the house, and what is to come of it.
type fault struct {
	name   string
	from   []string                 // from the begin, as lines for the simulator
	later  map[time.Duration]string // at a time
	at     map[int][]string         // when a stage begins
	stages []shutdown.Stage         // of guests; all in one if none
	moved  map[int]string           // where guests are found besides their first node
	mains  int                      // in which stage the mains come back, from 1; 0: not at all

	late    map[string]string // who is reported at a deadline, and part of why
	up      []string          // nodes that are up at the end
	running []int             // guests that run at the end
	unseen  []int             // guests that run while the nodes go down, as nobody knows of them
	extra   func(t *testing.T, h *house)
}

func of(node string) []int {
	var ids []int
	for id, home := range new(house).guests() {
		if home == node {
			ids = append(ids, id)
		}
	}
	return ids
}

// lost is what comes of a node of whose API nothing good is heard.
func lost(name, reason string, lines ...string) fault {
	return fault{name: name, from: lines, late: map[string]string{"listing/pve3": reason, "node/pve3": reason}, up: []string{"pve3"}, running: of("pve3")}
}

// guestFaults are faults of a single guest. Its node takes it along in the end.
func guestFaults() []fault {
	return []fault{
		{name: "a guest ignores ACPI", from: []string{"200 deaf"}}, // it is stopped hard
		{name: "a guest's agent does not answer", from: []string{"200 noagent"}},
		{name: "a guest survives being stopped hard", from: []string{"200 immortal"}, late: map[string]string{"guest/200": "its shutdown ended with OK, but it runs on"}},
		{name: "a guest is locked by a backup", from: []string{"200 locked backup"}, late: map[string]string{"guest/200": "its shutdown failed: VM is locked (backup)"}},
		{name: "a container is locked by its migration", from: []string{"301 locked migrate"}, late: map[string]string{"guest/301": "its shutdown failed: CT is locked (migrate)"}},
		{name: "a guest's backup ends midway", from: []string{"200 locked backup"}, later: map[time.Duration]string{3 * time.Second: "200 none"}},
		{name: "a guest's task fails", from: []string{"200 fails VM quit/powerdown failed"}, late: map[string]string{"guest/200": "its shutdown failed: VM quit/powerdown failed"}},
		{name: "a guest's task ends with OK, it runs", from: []string{"200 nothing"}, late: map[string]string{"guest/200": "its shutdown ended with OK, but it runs on"}},
		{name: "a guest's task is not there", from: []string{"200 notask"}, late: map[string]string{"guest/200": "pve2 knows no such task"}},
		{name: "a guest's task never ends", from: []string{"200 endless"}, late: map[string]string{"guest/200": "its shutdown was accepted, and it still runs"}},
		{name: "a guest's command is a 500", from: []string{"200 refuses VM 200 qmp command failed"}, late: map[string]string{"guest/200": "500 VM 200 qmp command failed"}},
		{name: "guests of three nodes at once", from: []string{"200 locked backup", "300 nothing", "401 fails no"},
			late: map[string]string{"guest/200": "locked", "guest/300": "runs on", "guest/401": "failed: no"}},
	}
}

// nodeFaults are faults of pve3's API.
func nodeFaults() []fault {
	guestsLate := func(reason string) map[string]string {
		late := map[string]string{}
		for _, id := range of("pve3") {
			late[fmt.Sprintf("guest/%d", id)] = reason
		}
		return late
	}
	noRequest := func(t *testing.T, h *house) {
		h.mu.Lock()
		defer h.mu.Unlock()
		for _, x := range h.seen {
			if x.Node == "pve3" {
				t.Errorf("a request was sent to a stranger: %s", x.Path)
			}
		}
	}
	stranger := lost("another certificate", "the certificate's fingerprint is", "pve3 renew")
	stranger.extra = noRequest
	liar := fault{name: "yes to everything, and nothing done", from: []string{"pve3 lies"}, late: guestsLate("but it runs on"), up: []string{"pve3"}, running: of("pve3")}
	liar.late["node/pve3"] = "it said yes, and is still up"
	told := lost("401", "the token is not valid", "pve3 unauthorized")
	told.extra = atOnce("listing/pve3", "the token is not valid")
	lacks := fault{name: "403 for the node", from: []string{"pve3 lacks Sys.PowerMgmt"}, late: map[string]string{"node/pve3": "the token lacks Sys.PowerMgmt on /nodes/pve3; give it"}, up: []string{"pve3"}}
	lacks.extra = atOnce("node/pve3", "Sys.PowerMgmt")
	return []fault{
		told, lacks, stranger, liar,
		{name: "403 for guests", from: []string{"pve3 lacks VM.PowerMgmt"}, late: guestsLate("the token lacks VM.PowerMgmt on /vms/3")},
		{name: "guests hidden from the token", from: []string{"pve3 lacks VM.Audit"}, unseen: of("pve3")}, // they look like none; a check of the plan tells
		lost("500", "500 cfs-lock timeout", "pve3 status 500 cfs-lock timeout"),
		lost("595", "595 No route to host", "pve3 status 595 No route to host"),
		lost("596", "596 Connection timed out", "pve3 status 596 Connection timed out"),
		lost("a page instead of the API", "instead of JSON", "pve3 page"),
		lost("takes connections, says nothing", "it did not answer in time", "pve3 mute"),
		lost("reads requests, answers none", "it did not answer in time", "pve3 hang"),
		{name: "answers half, then silence", from: []string{"pve3 half"}, late: map[string]string{"listing/pve3": "did not answer in time"}},
		{name: "answers half, then hangs up", from: []string{"pve3 cut"}, late: map[string]string{"listing/pve3": "the answer broke off"}},
		{name: "slow answers", from: []string{"pve3 slow 1500ms"}},
		{name: "yes to poweroff, and stays up", from: []string{"pve3 lies node"}, late: map[string]string{"node/pve3": "it said yes, and is still up"}, up: []string{"pve3"}},
		{name: "500 for poweroff alone", from: []string{"pve3 status 500 node no"}, late: map[string]string{"node/pve3": "500 no"}, up: []string{"pve3"}},
		{name: "loses its power while its guests stop", later: map[time.Duration]string{250 * time.Millisecond: "pve3 cut-power"}},
	}
}

// clusterFaults are faults between the nodes, and of the one through which the API is reached.
func clusterFaults() []fault {
	return []fault{
		{name: "nothing"},
		{name: "the last node forwards nothing (595)", from: []string{"pve1 noforward 595"}},
		{name: "the last node forwards nothing (596)", from: []string{"pve1 noforward 596"}},
		{name: "the last node is off", from: []string{"pve1 cut-power"}},
		{name: "the last node goes off midway", at: map[int][]string{1: {"pve1 cut-power"}}},
		{name: "the last node is mute", from: []string{"pve1 mute"}, late: map[string]string{"listing/pve1": "did not answer", "node/pve1": "did not answer"}, up: []string{"pve1"}, running: of("pve1")},
		{name: "no quorum from the begin", from: []string{"split on"}},
		{name: "quorum lost while guests stop", later: map[time.Duration]string{200 * time.Millisecond: "split on"}},
		{name: "quorum lost before the nodes", at: map[int][]string{1: {"split on"}}},
	}
}

// choices are rows whose guests go in several stages, by tag, pool and what is left.
func choices() []fault {
	stages := []shutdown.Stage{{Guests: &shutdown.Choice{Tags: []string{"Front"}}}, {Guests: &shutdown.Choice{Pool: "shop"}}, {AllGuests: true, Timeout: 5 * time.Second}}
	return []fault{
		{name: "chosen guests", stages: stages},
		{name: "a chosen guest is locked", stages: stages, from: []string{"200 locked backup"}, late: map[string]string{"guest/200": "its shutdown failed: VM is locked (backup)"}},
		{name: "a guest migrates while it is told", from: []string{"202 locked migrate"}, moved: map[int]string{202: "pve3"},
			later: map[time.Duration]string{3 * time.Second: "202 migrate pve3", 3100 * time.Millisecond: "202 none"}},
	}
}

// mainsFaults are rows in which the mains come back while something is retried.
func mainsFaults() []fault {
	all := new(house).nodes()
	return []fault{
		{name: "mains back among the guests", mains: 1, from: []string{"200 locked backup", "300 refuses no"}, up: all},
		{name: "mains back among the nodes", mains: 2, from: []string{"pve3 status 500 node no"}, up: []string{"pve1", "pve3"}},
		{name: "mains back at the last node", mains: 3, from: []string{"pve1 status 500 node no"}, up: []string{"pve1"}},
	}
}

// atOnce demands that a target's reason is in the run long before its deadline.
func atOnce(target, reason string) func(t *testing.T, h *house) {
	return func(t *testing.T, h *house) {
		for _, e := range h.events {
			if e.Target == target && strings.Contains(e.Why, reason) {
				stage := len(h.stages) - 1
				for h.stages[stage].at.After(e.At) {
					stage--
				}
				if took := e.At.Sub(h.stages[stage].at); took > h.plan().Stages[stage].Deadline/2 || e.Type != shutdown.Refused {
					t.Errorf("%s was told of %s into its stage, as %s", target, took, e.Type)
				}
				return
			}
		}
		t.Errorf("nothing was said of %s", target)
	}
}

// TestS4_FaultMatrix runs a plan of five nodes and twelve guests with each fault against
// simulated machines, and judges by what their edge saw. With -v it shows a table; with
// -short, as under the race detector, it plays each sixth row and those of the mains.
func TestS4_FaultMatrix(t *testing.T) {
	rows := slices.Concat(clusterFaults(), guestFaults(), nodeFaults(), mainsFaults(), choices())
	if testing.Short() {
		n := 0
		rows = slices.DeleteFunc(rows, func(f fault) bool { n++; return n%6 != 1 && f.mains == 0 })
	}
	// Many at once, as they mostly wait and subtests would take turns; not all, for the sake
	// of small machines. The longest go first, so that none is left over at the end.
	const atATime = 18
	order := make([]int, len(rows))
	houses := make([]*house, len(rows))
	played := make([]chan error, len(rows))
	for i := range rows {
		order[i], played[i] = i, make(chan error, 1)
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(rows[b].takes(), rows[a].takes()) })
	next := make(chan int)
	var all sync.WaitGroup
	all.Go(func() { // one after the other, as a house's first moments are the busiest
		defer close(next)
		pace := time.NewTicker(150 * time.Millisecond)
		defer pace.Stop()
		for _, i := range order {
			<-pace.C
			next <- i
		}
	})
	for range atATime {
		all.Go(func() {
			for i := range next {
				h, err := inAHouse(t, rows[i])
				houses[i] = h
				played[i] <- err
			}
		})
	}
	defer all.Wait()
	for i, f := range rows {
		t.Run(f.name, func(t *testing.T) {
			if err := <-played[i]; err != nil {
				t.Fatal(err)
			}
			houses[i].judge(t, f)
		})
	}
	if testing.Verbose() {
		t.Log("\n" + table(rows, houses))
	}
}

// inAHouse plays a row in a house of its own. Where the machine kept that from turning for long,
// what came of it proves nothing: it is played anew.
func inAHouse(t *testing.T, f fault) (*house, error) {
	const tooLong, tries = 500 * time.Millisecond, 3
	for try := 1; ; try++ {
		h, err := newHouse(f)
		if err != nil {
			return nil, err
		}
		t.Cleanup(h.close)
		if err = h.play(f); h.stood < tooLong || try == tries {
			return h, err
		}
		t.Logf("%s: the machine stood still for %s", f.name, h.stood)
	}
}

// takes is about how long a row is.
func (f fault) takes() (d time.Duration) {
	within := map[string]time.Duration{"listing": guestsWithin, "guest": guestsWithin, "node": nodesWithin}
	seen := map[string]bool{}
	for id := range f.late {
		kind, _, _ := strings.Cut(id, "/")
		if !seen[kind] {
			d += within[kind]
		}
		seen[kind] = true
	}
	return d
}

func table(rows []fault, houses []*house) string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 4, 2, ' ', 0)
	fmt.Fprintf(w, "fault\tlast node down\tdeadlines\toutcome\n")
	for i, f := range rows {
		h := houses[i]
		last := time.Duration(0)
		for _, at := range h.offAt {
			last = max(last, at.Sub(h.began))
		}
		fmt.Fprintf(w, "%s\t%.1f s\t%.0f s\t%s\n", f.name, last.Seconds(), h.plan().Need().Seconds(), outcome(h))
	}
	_ = w.Flush()
	return b.String()
}

func outcome(h *house) string {
	var said []string
	if h.run.Stopped != "" {
		said = append(said, "stopped, because "+h.run.Stopped)
	}
	late := h.late()
	for _, id := range slices.Sorted(maps.Keys(late)) {
		if len(said) == 2 {
			said = append(said, fmt.Sprintf("%d more", len(late)-2))
			break
		}
		said = append(said, fmt.Sprintf("%s: %.70s", id, late[id]))
	}
	if up := h.now().up; len(up) > 0 {
		said = append(said, "up: "+strings.Join(up, " "))
	}
	if len(said) == 0 {
		return "all down"
	}
	return strings.Join(said, "; ")
}

// same compares two sets.
func same[T cmp.Ordered](t *testing.T, what string, got, want []T) {
	t.Helper()
	got, want = slices.Sorted(slices.Values(got)), slices.Sorted(slices.Values(want))
	if !slices.Equal(got, want) {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}
