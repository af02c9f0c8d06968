package duet_test

import (
	"fmt"
	"strings"
	"time"

	"sentinel.home.arpa/shared/power"
	"sentinel.home.arpa/shared/shutdown"
)

// begun is what both clocks show when a history begins.
func begun() time.Time { return time.Date(2026, 11, 21, 19, 0, 0, 0, time.UTC) }

// setting is what a history is about.
type setting struct {
	ride   time.Duration
	direct bool // the brain reaches the machines by itself, not through the Pi
	slow   bool // apcupsd's scripts are not hooked: each change waits for the next poll
	plan   int  // the first of plans
}

// duet is one house with everything in it. Its time moves only by pass.
type duet struct {
	setting
	now    time.Duration // since it began
	agenda agenda

	ups   ups
	nodes []*node
	link  link
	brain *brain
	pi    *pi
	judge judge

	telling bool
	story   []string
	wrong   string // the first thing that must not be
}

func newDuet(s setting, telling bool) *duet {
	d := &duet{setting: s, telling: telling}
	d.ups, d.link = newUPS(), link{up: fine, down: fine}
	d.nodes = []*node{{name: "pve1", vmid: 100, agent: true}, {name: "pve2", vmid: 101, agent: true}, {name: "nas"}}
	for _, n := range d.nodes {
		n.boot()
	}
	d.judge = judge{d: d, stopped: map[string]order{}, late: map[string]missed{}, unseen: map[string]bool{}, disturbed: map[string]time.Duration{}}
	d.brain = newBrain(d)
	d.pi = newPi(d)
	d.brain.start()
	d.pi.start(false)
	d.pass(2500 * time.Millisecond)
	return d
}

// fail notes the first thing that must not be; nothing after it counts.
func (d *duet) fail(format string, args ...any) {
	if d.wrong == "" {
		d.wrong = fmt.Sprintf(format, args...)
		d.tell("WRONG: %s", d.wrong)
	}
}

func (d *duet) tell(format string, args ...any) {
	if d.telling {
		d.story = append(d.story, fmt.Sprintf("    %7.2fs  %s", d.now.Seconds(), fmt.Sprintf(format, args...)))
	}
}

func (d *duet) text() string { return strings.Join(d.story, "\n") + "\n" }

func (d *duet) after(in time.Duration, do func()) { d.agenda.add(d.now+max(in, 0), do) }

// pass lets time go by, with everything that happens meanwhile at its own moment.
func (d *duet) pass(t time.Duration) {
	end := d.now + t
	for d.wrong == "" {
		at, do, ok := d.agenda.next(end)
		if !ok {
			break
		}
		d.now = at
		do()
	}
	d.now = end
}

// plans are those that people have in turn. What one needs is at most 85 s.
func plan(i int) shutdown.Plan {
	api := func(name string) shutdown.Node {
		return shutdown.Node{Name: name, API: "https://" + name + ".example:8006"}
	}
	all := []shutdown.Node{api("pve1"), api("pve2"), api("nas")}
	pves := shutdown.Stage{Nodes: []string{"pve1", "pve2"}, Deadline: 50 * time.Second}
	nas := shutdown.Stage{Nodes: []string{"nas"}, Deadline: 40 * time.Second}
	p := shutdown.Plan{Site: "home", Nodes: all}
	switch i % 3 {
	case 0:
		p.Stages = []shutdown.Stage{{AllGuests: true, Deadline: 20 * time.Second}, pves, nas}
	case 1:
		p.Stages = []shutdown.Stage{pves, nas}
	default:
		p.Nodes = all[:2]
		p.Stages = []shutdown.Stage{{Nodes: []string{"pve2"}, Deadline: 15 * time.Second}, {Nodes: []string{"pve1"}, Deadline: 25 * time.Second}}
	}
	return p
}

func (d *duet) policy() power.Policy {
	p := power.DefaultPolicy()
	p.RideThrough, p.RuntimeMargin = d.ride, 30*time.Second
	return p
}

// event is something that is to happen.
type event struct {
	at time.Duration
	n  int // of two at one moment the one that was asked for first is first
	do func()
}

// agenda is a heap of them.
type agenda struct {
	es []event
	n  int
}

func (e event) before(o event) bool { return e.at < o.at || e.at == o.at && e.n < o.n }

func (a *agenda) add(at time.Duration, do func()) {
	a.n++
	a.es = append(a.es, event{at, a.n, do})
	for i := len(a.es) - 1; i > 0; {
		up := (i - 1) / 2
		if !a.es[i].before(a.es[up]) {
			break
		}
		a.es[i], a.es[up] = a.es[up], a.es[i]
		i = up
	}
}

// next takes out the earliest, unless it is later than end.
func (a *agenda) next(end time.Duration) (time.Duration, func(), bool) {
	if len(a.es) == 0 || a.es[0].at > end {
		return 0, nil, false
	}
	first, last := a.es[0], len(a.es)-1
	a.es[0] = a.es[last]
	a.es[last].do = nil
	a.es = a.es[:last]
	for i := 0; ; {
		least := i
		for _, c := range [2]int{2*i + 1, 2*i + 2} {
			if c < last && a.es[c].before(a.es[least]) {
				least = c
			}
		}
		if least == i {
			break
		}
		a.es[i], a.es[least] = a.es[least], a.es[i]
		i = least
	}
	return first.at, first.do, true
}
