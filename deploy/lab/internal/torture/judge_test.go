package torture

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"sentinel.home.arpa/deploy/lab/internal/edge"
	"sentinel.home.arpa/deploy/lab/internal/home"
)

// record is a hand-made record of the edges.
type record []edge.Entry

func (r *record) add(at float64, e edge.Entry) {
	e.MS = at * 1000
	*r = append(*r, e)
}

func (r *record) deed(at float64, what string) { r.add(at, edge.Entry{Edge: edge.Lab, What: what}) }

func (r *record) on(at float64, who, what string) {
	r.add(at, edge.Entry{Edge: edge.Lab, Node: who, What: what})
}

const (
	mains   = "0x05000008"
	battery = "0x05060010"
)

// ups has the UPS read each second.
func (r *record) ups(from, to float64, flags string) {
	for at := from; at < to; at++ {
		r.add(at, edge.Entry{Edge: edge.UPS, Flags: flags})
	}
}

func (r *record) guest(at float64, id, run int) {
	r.add(at, edge.Entry{Edge: edge.PVE, Node: "pve1", Method: "POST", Path: fmt.Sprintf("/api2/json/nodes/pve1/qemu/%d/status/shutdown", id),
		Body: fmt.Sprintf(`{"timeout":%.0f}`, 180-at), Status: 200, What: fmt.Sprintf("%d guests run", run)})
}

func (r *record) node(at float64, name string, run int) {
	r.add(at, edge.Entry{Edge: edge.PVE, Node: name, Method: "POST", Path: "/api2/json/nodes/" + name + "/status", Body: `{"command":"shutdown"}`, Status: 200, What: fmt.Sprintf("%d guests run", run)})
}

func (r *record) call(at float64, sid, text string) {
	r.add(at, edge.Entry{Edge: edge.Twilio, Method: "POST", Path: "/2010-04-01/Accounts/AC/Calls.json", Body: "Twiml=" + strings.ReplaceAll(text, " ", "+"), Status: 201, Answer: `{"sid":"` + sid + `"}`})
}

func (r *record) list(at float64, answer string) {
	r.add(at, edge.Entry{Edge: edge.Twilio, Method: "GET", Path: "/2010-04-01/Accounts/AC/Calls.json", Status: 200, Answer: answer})
}

const (
	powerOut    = "Hello Alex. The power at home has been out since 19 02."
	worse       = "Hello Alex. It got worse: the battery does not last much longer. The power at home has been out since 19 02."
	unreachable = "Hello Alex. I have not been able to reach anything at home since 19 02."
	failed2     = "Hello Alex. P V E 2 at home has not answered since 19 02."
)

// outageRecord is an outage as it should go, from 10 s on, with the mains back at 60 s.
func outageRecord() record {
	var r record
	r.ups(0, 10, mains)
	r.deed(10, "unplug")
	r.ups(10, 60, battery)
	for i := range 9 {
		r.guest(20.1, 100+i, 9)
	}
	r.call(20.2, "CA1", powerOut)
	for _, n := range []string{"pve2", "pve3"} {
		r.node(25, n, 0)
		r.on(27, n, home.Announces+" poweroff")
		r.on(27.1, n, home.Acknowledged)
		r.on(28, n, "off")
	}
	r.node(33, "pve1", 0)
	r.on(36, "pve1", "off")
	r.deed(60, "plug")
	for _, n := range home.Nodes() {
		r.on(60, n, "on")
	}
	r.ups(60, 90, mains)
	r.deed(90, atRest+"9")
	return r
}

func breaches(r record) []string {
	var out []string
	for _, b := range Judge(r).Breaches {
		out = append(out, b.Invariant+": "+b.What)
	}
	return out
}

func TestWhatGoesWellIsNotBroken(t *testing.T) {
	v := Judge(outageRecord())
	if len(v.Breaches) > 0 {
		t.Error(v.Breaches)
	}
	for _, i := range Invariants() {
		if v.Checked[i[0]] == 0 {
			t.Errorf("invariant %s had nothing to say", i[0])
		}
	}
	if v.Commands != 12 || len(v.Doubled)+len(v.Lost) > 0 || v.Calls != 1 {
		t.Errorf("%+v", v)
	}
}

// without leaves out what matches.
func without(r record, is func(edge.Entry) bool) record { return slices.DeleteFunc(r, is) }

// changed changes what matches.
func changed(r record, change func(*edge.Entry)) record {
	for i := range r {
		change(&r[i])
	}
	return r
}

func (r *record) start(at float64, id int) {
	r.add(at, edge.Entry{Edge: edge.PVE, Node: "pve1", Method: "POST", Path: fmt.Sprintf("/api2/json/nodes/pve1/qemu/%d/status/start", id), Status: 200})
}

func TestS5_GuestsThatAreStartedAgainBreakNothing(t *testing.T) {
	r := outageRecord()
	r.start(61, 100)
	if all := breaches(r); len(all) > 0 {
		t.Error(all)
	}
}

func TestEveryBreachIsNoticed(t *testing.T) {
	type change func(r *record)
	more := func(f func(r *record)) change { return f }
	for name, c := range map[string]struct {
		change    change
		invariant string
		says      string
	}{
		"a program that crashes":                     {more(func(r *record) { r.on(50, "brain", home.Died+": exit status 2") }), "0", "exit status 2"},
		"a start on battery":                         {more(func(r *record) { r.start(50, 100) }), "3", "read on battery"},
		"a start of what nobody stopped":             {more(func(r *record) { r.start(61, 200) }), "3", "nobody had told"},
		"a guest that stays off":                     {more(func(r *record) { r.deed(91, atRest+"8") }), "8", "8 of 9"},
		"a call that was taken, and nobody knows it": {more(func(r *record) { r.deed(61, answeredBy) }), "5", "though 1 calls were placed"},
		"a command on a quiet evening": {more(func(r *record) {
			*r = nil
			r.ups(0, 20, mains)
			r.guest(10, 100, 9)
		}), "1", "never out"},
		"a command though the UPS has told of nothing": {more(func(r *record) {
			*r = changed(*r, func(e *edge.Entry) {
				if e.Edge == edge.UPS {
					e.Flags = mains
				}
			})
		}), "1", "never read on battery"},
		"a command before its time":    {more(func(r *record) { r.guest(17, 100, 9) }), "1", "7.0 s after the power went"},
		"a command of a disarmed plan": {more(func(r *record) { r.deed(12, home.Disarmed) }), "1", "though the plan was disarmed"},
		"an outage that nobody acts upon": {more(func(r *record) {
			*r = without(*r, func(e edge.Entry) bool { return isCommand(e) || e.What == "off" })
		}), "2", "was not commanded"},
		"an outage that begins anew with each of the Pi's deaths": {more(func(r *record) {
			*r = without(*r, func(e edge.Entry) bool { return isCommand(e) || e.What == "off" || e.What == "plug" })
			r.ups(60, 80, battery)
			for _, at := range []float64{18, 38} {
				r.on(at, "pi", home.Killed)
				r.on(at+1, "pi", home.Started)
			}
			r.deed(80, "plug")
		}), "2", "an outage of 47 s was not commanded"},
		"a target that is never told": {more(func(r *record) {
			*r = without(*r, func(e edge.Entry) bool { return strings.Contains(e.Path, "/104/") })
		}), "2", "only 8 of 9 guests"},
		"a run that gets stuck": {more(func(r *record) {
			*r = nil
			r.deed(0, "unplug")
			r.ups(0, 130, battery)
			r.guest(10, 100, 9)
			r.call(10, "CA1", powerOut)
		}), "2", "pve1, pve2, pve3 not down after 100 s"},
		"contact lost on battery, and nothing done": {more(func(r *record) {
			*r = nil
			r.deed(0, "unplug")
			r.ups(0, 6, battery)
			r.deed(7, "ups off")
			r.on(70, "pve1", "off")
		}), "2", "whose UPS fell silent was not commanded"},
		"a command with the mains back": {more(func(r *record) { r.guest(63, 100, 9) }), "3", "read on mains again"},
		"a command outside the plan": {more(func(r *record) {
			r.add(40, edge.Entry{Edge: edge.PVE, Node: "pve1", Method: "POST", Path: "/api2/json/nodes/pve1/qemu/100/status/stop", Status: 200})
		}), "3", "not in the plan"},
		"a reboot in place of a shutdown": {more(func(r *record) {
			r.add(40, edge.Entry{Edge: edge.PVE, Node: "pve1", Method: "POST", Path: "/api2/json/nodes/pve1/status", Body: "command=reboot", Status: 200})
		}), "3", "not in the plan"},
		"a node before its guests":        {more(func(r *record) { r.node(21, "pve2", 3) }), "3", "while 3 guests ran"},
		"the last node before the others": {more(func(r *record) { r.node(26, "pve1", 0) }), "3", "while pve2 was up"},
		"an outage without a call":        {more(func(r *record) { *r = without(*r, isCall) }), "4", "no call about an outage"},
		"a call that comes too late":      {more(func(r *record) { *r = changed(*r, func(e *edge.Entry) { late(e, 45) }) }), "4", "no call about an outage"},
		"an internet outage without a call": {more(func(r *record) {
			*r = nil
			r.deed(0, "internet off")
			r.ups(0, 120, mains)
		}), "4", "out of reach"},
		"a node failure without a call": {more(func(r *record) {
			*r = nil
			r.deed(0, "kill pve2")
			r.on(0, "pve2", "off")
			r.ups(0, 50, mains)
		}), "4", "no call about pve2"},
		"two calls about one outage": {more(func(r *record) { r.call(50, "CA2", powerOut) }), "5", "a second call"},
		"two calls though the list showed the first": {more(func(r *record) {
			r.list(40, `[]`)
			r.list(43, `[{"sid":"CA1"}]`)
			r.call(50, "CA2", powerOut)
		}), "5", "a second call"},
		"a call about power that is there": {more(func(r *record) {
			*r = nil
			r.call(5, "CA1", powerOut)
		}), "5", "never out"},
		"a call about an outage that is over": {more(func(r *record) {
			*r = nil
			r.deed(0, "unplug")
			r.ups(0, 8, battery)
			r.deed(8, "plug")
			r.ups(8, 30, mains)
			r.call(20, "CA1", powerOut)
		}), "5", "though nothing was shut down"},
		"little runtime is called twice": {more(func(r *record) {
			r.deed(22, "runtime 5m")
			r.call(30, "CA2", worse)
			r.call(40, "CA3", worse)
		}), "5", "a second call about the same power outage"},
		"a call about little runtime, of which there is much": {more(func(r *record) { r.call(30, "CA2", worse) }), "5", "a battery that lasts"},
		"a call about an internet that is up":                 {more(func(r *record) { r.call(40, "CA2", unreachable) }), "5", "internet that is up"},
		"a call about a node that answers":                    {more(func(r *record) { r.call(15, "CA2", failed2) }), "5", "not silent for so long"},
		"a call that fits nothing":                            {more(func(r *record) { r.call(15, "CA2", "Hello") }), "5", "fits nothing"},
		"an announced node is called a failure":               {more(func(r *record) { r.call(55, "CA2", failed2) }), "6", "had announced itself"},
		"a healthy node goes down":                            {more(func(r *record) { r.on(5, "pve3", "off"); r.on(8, "pve3", "on") }), "6", "nobody had told or struck it"},
		"an announcement that a live Pi would not":            {more(func(r *record) { r.on(50, "pve3", home.Unheard) }), "6", "got through to nobody"},
	} {
		t.Run(name, func(t *testing.T) {
			r := outageRecord()
			c.change(&r)
			got := breaches(r)
			if !slices.ContainsFunc(got, func(b string) bool { return strings.HasPrefix(b, c.invariant+": ") && strings.Contains(b, c.says) }) {
				t.Errorf("not noticed; found %q", got)
			}
		})
	}
}

func late(e *edge.Entry, at float64) {
	if isCall(*e) {
		e.MS = at * 1000
	}
}

func TestWhatIsAllowedIsNotBroken(t *testing.T) {
	for name, change := range map[string]func(r *record){
		"a command again":               func(r *record) { r.guest(22, 100, 5) },
		"a call that was taken":         func(r *record) { r.deed(61, answeredBy+"Alex") },
		"a command that was on its way": func(r *record) { r.guest(61, 100, 0) },
		"a command while contact is lost": func(r *record) {
			*r = without(*r, func(e edge.Entry) bool {
				return e.Edge == edge.UPS && e.At() > 15*time.Second && e.At() < 60*time.Second
			})
		},
		"a call more when little runtime is left": func(r *record) { r.deed(22, "runtime 5m"); r.call(30, "CA2", worse) },
		"a second call that the list hid":         func(r *record) { r.list(40, `[]`); r.list(43, `[]`); r.call(44, "CA2", powerOut) },
		"a call that was taken back, and again": func(r *record) {
			r.add(30, edge.Entry{Edge: edge.Twilio, Method: "POST", Path: "/x/Calls/CA1.json", Status: 200})
			r.call(44, "CA2", powerOut)
		},
		"no call while the brain is dead": func(r *record) {
			*r = without(*r, isCall)
			r.on(12, "brain", home.Killed)
			r.on(48, "brain", home.Started)
		},
		"no command while the Pi dies again and again": func(r *record) {
			*r = without(*r, func(e edge.Entry) bool { return isCommand(e) || e.What == "off" })
			for at := 12.0; at < 60; at += 12 {
				r.on(at, "pi", home.Killed)
				r.on(at+1, "pi", home.Started)
			}
		},
		"apcupsd that knows nothing yet": func(r *record) { r.add(19, edge.Entry{Edge: edge.UPS, Flags: "0x05000088"}) },
		"a failure that is called": func(r *record) {
			*r = nil
			r.deed(0, "kill pve2")
			r.on(0, "pve2", "off")
			r.ups(0, 50, mains)
			r.call(21, "CA1", failed2)
		},
		"a command of a plan that was disarmed a moment ago": func(r *record) { r.deed(30, home.Disarmed) },
		"a command when time is short":                       func(r *record) { r.deed(11, "runtime 5m"); r.guest(13, 100, 9) },
		"a command when the battery is low": func(r *record) {
			r.add(12, edge.Entry{Edge: edge.UPS, Flags: "0x05060050"})
			r.guest(13, 100, 9)
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := outageRecord()
			change(&r)
			if got := breaches(r); len(got) > 0 {
				t.Errorf("found %q", got)
			}
		})
	}
}

func TestDoubledAndLostAreCountedByTheKillBeforeThem(t *testing.T) {
	r := without(outageRecord(), func(e edge.Entry) bool { return strings.Contains(e.Path, "/104/") })
	r.deed(21, "kill -9 brain, "+string(home.CallDone))
	r.guest(22, 100, 5)
	r.deed(50, "kill -9 pi, "+string(home.Random))
	v := Judge(r)
	if v.Doubled[home.CallDone] != 1 || len(v.Doubled) != 1 || v.Lost[home.Random] != 1 || len(v.Lost) != 1 {
		t.Errorf("doubled %v, lost %v", v.Doubled, v.Lost)
	}
}

func TestWhenACallIsDue(t *testing.T) {
	s := time.Second
	for name, c := range map[string]struct {
		hs   []hindrance
		want time.Duration
	}{
		"with nothing in its way":              {nil, 130 * s},
		"a death long before":                  {[]hindrance{{span{50 * s, 60 * s}, 0}}, 130 * s},
		"a short one changes little":           {[]hindrance{{span{105 * s, 108 * s}, 0}}, 130 * s},
		"a long one delays":                    {[]hindrance{{span{90 * s, 160 * s}, 0}}, 172 * s},
		"one before anybody has decided":       {[]hindrance{{span{105 * s, 108 * s}, 20 * s}}, 141 * s},
		"two of them":                          {[]hindrance{{span{140 * s, 142 * s}, 20 * s}, {span{115 * s, 118 * s}, 20 * s}}, 174 * s},
		"one after that, before it is due":     {[]hindrance{{span{121 * s, 123 * s}, 20 * s}}, 155 * s},
		"one after it is due":                  {[]hindrance{{span{131 * s, 150 * s}, 20 * s}}, 130 * s},
		"one just before it is due, and after": {[]hindrance{{span{129 * s, 130 * s}, 20 * s}}, 142 * s},
	} {
		if got := due(100*s, 25*s, c.hs); got != c.want {
			t.Errorf("%s: due at %s, want %s", name, got, c.want)
		}
	}
}

func TestUndisturbed(t *testing.T) {
	s := time.Second
	for _, c := range []struct {
		bad  []span
		want time.Duration
		ok   bool
	}{
		{nil, 20 * s, true},
		{[]span{{12 * s, 15 * s}}, 25 * s, true},
		{[]span{{12 * s, 15 * s}, {24 * s, 26 * s}}, 36 * s, true},
		{[]span{{24 * s, 26 * s}, {12 * s, 15 * s}, {35 * s, 42 * s}}, 52 * s, false},
		{[]span{{0, 10 * s}}, 20 * s, true},
	} {
		if got, ok := undisturbed(10*s, 10*s, 50*s, c.bad); got != c.want || ok != c.ok {
			t.Errorf("%v: %s, %t, want %s, %t", c.bad, got, ok, c.want, c.ok)
		}
	}
}
