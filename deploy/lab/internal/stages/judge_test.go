package stages

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"sentinel.home.arpa/deploy/lab/internal/edge"
)

func plan() Plan {
	return Plan{Guests: 2, GuestsWithin: 3 * time.Minute, Stages: [][]string{{"pve2", "pve3"}, {"pve1"}}, NodesWithin: 90 * time.Second}
}

func at(seconds float64, e edge.Entry) edge.Entry { e.MS = seconds * 1000; return e }

func supply(seconds float64, flags string) edge.Entry {
	return at(seconds, edge.Entry{Edge: edge.UPS, Flags: flags})
}

func told(seconds float64, path, body string, run int) edge.Entry {
	return at(seconds, edge.Entry{Edge: edge.PVE, Method: "POST", Path: "/api2/json/nodes/" + path, Body: body, Status: 200, What: fmt.Sprintf("%d guests run", run)})
}

func guestTold(seconds float64, guest string, run int) edge.Entry {
	return told(seconds, guest+"/status/shutdown", "timeout=60", run)
}

func nodeTold(seconds float64, node string, run int) edge.Entry {
	return told(seconds, node+"/status", "command=shutdown", run)
}

func power(seconds float64, node, what string) edge.Entry {
	return at(seconds, edge.Entry{Edge: edge.Lab, Node: node, What: what})
}

// good is a plan that was carried out as it should be; the mains never came back.
func good() []edge.Entry {
	return []edge.Entry{supply(1, "0x05000008"), supply(2, "0x05060010"),
		at(11.9, edge.Entry{Edge: edge.Way, Node: "pve1", What: "pi sends POST /api2/json/nodes/pve1/qemu/100/status/shutdown HTTP/1.1"}),
		guestTold(12, "pve1/qemu/100", 2), guestTold(12.1, "pve2/lxc/101", 2),
		nodeTold(16, "pve2", 0), nodeTold(16.1, "pve3", 0), power(20, "pve2", "off"), power(21, "pve3", "off"),
		nodeTold(26, "pve1", 0), power(30, "pve1", "off")}
}

// TestS5_TheJudgeOfStages is content with a plan that was carried out, and names each breach.
func TestS5_TheJudgeOfStages(t *testing.T) {
	for name, c := range map[string]struct {
		more []edge.Entry                       // added at the end, whatever their times
		but  func(es []edge.Entry) []edge.Entry // changes what is good
		says string                             // "" is content
	}{
		"kept":                    {},
		"repeated":                {more: []edge.Entry{nodeTold(17, "pve2", 0)}},
		"after the mains":         {more: []edge.Entry{supply(24, "0x05000008")}, says: "pve1 was told to shutdown by  2.000 s after the UPS was read on mains"},
		"started after the mains": {more: []edge.Entry{supply(31, "0x05000008"), told(33, "pve1/qemu/100/status/start", "", 0)}},
		"stopped after the mains": {more: []edge.Entry{supply(31, "0x05000008"), told(33, "pve1/qemu/100/status/stop", "", 0)}, says: "pve1/qemu/100 was told to stop"},
		"with a guest running":    {but: func(es []edge.Entry) []edge.Entry { es[5].What = "1 guests run"; return es }, says: "pve2 was told at 16.0 s while 1 guests ran"},
		"after the guests' stage": {but: func(es []edge.Entry) []edge.Entry {
			es[9].What, es[9].MS = "1 guests run", 200_000
			es[10].MS = 201_000
			return es
		}},
		"the last node first":      {but: func(es []edge.Entry) []edge.Entry { es[9].MS = 17_000; return es }, says: "pve1 was told at 17.0 s while pve2 was up"},
		"another node":             {more: []edge.Entry{nodeTold(17, "nas", 0)}, says: "nas is not of the plan"},
		"another command":          {more: []edge.Entry{told(17, "pve1/qemu/100/status/reset", "", 0)}, says: "pve1/qemu/100 was told to reset"},
		"again after it came back": {more: []edge.Entry{power(40, "pve2", "on"), nodeTold(41, "pve2", 0)}, says: "pve2 was told again at 41.0 s, after it had come back"},
		"again after its start":    {more: []edge.Entry{told(40, "pve1/qemu/100/status/start", "", 0), guestTold(41, "pve1/qemu/100", 1)}, says: "pve1/qemu/100 was told again"},
		"a guest was left":         {but: func(es []edge.Entry) []edge.Entry { return append(es[:4:4], es[5:]...) }, says: "1 guests"},
		"a node refused":           {but: func(es []edge.Entry) []edge.Entry { es[6].Status = 500; return es }, says: "pve3"},
	} {
		t.Run(name, func(t *testing.T) {
			es := good()
			if c.but != nil {
				es = c.but(es)
			}
			r := Read(append(es, c.more...), 0)
			_, hurt := r.Repeats()
			said := strings.Join(append(append(append(r.Order(plan()), r.AfterMains(500*time.Millisecond)...), hurt...), r.Untold(plan())...), "\n")
			if c.says == "" && said != "" || !strings.Contains(said, c.says) {
				t.Errorf("the judge says %q, want %q", said, c.says)
			}
		})
	}
}

func TestWhatARecordTells(t *testing.T) {
	r := Read(append(good(), nodeTold(17, "pve2", 0)), 0)
	if r.Battery != 2*time.Second || r.Mains != 0 {
		t.Errorf("on battery at %s, on mains at %s", r.Battery, r.Mains)
	}
	if again, _ := r.Repeats(); len(again) != 1 || again["pve2"] != 1 {
		t.Errorf("told again: %v", again)
	}
	if last, ok := r.LastOff(plan(), time.Minute); !ok || last != 30*time.Second {
		t.Errorf("the last node went off at %s, %v", last, ok)
	}
	if _, ok := r.LastOff(plan(), 25*time.Second); ok {
		t.Error("all are off while pve1 is on")
	}
	if c := r.Commands[0]; c.By != "pi" || c.Node || c.Target != "pve1/qemu/100" || r.Told("pve1", 25*time.Second) || !r.Told("pve1", 26*time.Second) {
		t.Errorf("the first command is %+v", c)
	}
	if sum := plan().Sum(); sum != 6*time.Minute {
		t.Errorf("the deadlines' sum is %s", sum)
	}
}
