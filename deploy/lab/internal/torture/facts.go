package torture

import (
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"sentinel.home.arpa/deploy/lab/internal/edge"
	"sentinel.home.arpa/deploy/lab/internal/home"
)

// The bits of apcupsd's STATFLAG that tell the supply.
const (
	flagOnline    = 1 << 3
	flagOnBattery = 1 << 4
	flagLow       = 1 << 6
	flagReplace   = 1 << 7 // also what apcupsd says before it knows anything
	flagCommLost  = 1 << 8
)

func flagsOf(e edge.Entry) (f uint32) {
	_, _ = fmt.Sscanf(e.Flags, "0x%x", &f) // none is no supply
	return f
}

func readBattery(e edge.Entry) bool {
	f := flagsOf(e)
	return e.Edge == edge.UPS && f&flagOnBattery != 0 && f&(flagCommLost|flagOnline) == 0
}

func readMains(e edge.Entry) bool {
	f := flagsOf(e)
	return e.Edge == edge.UPS && f&flagOnline != 0 && f&(flagCommLost|flagOnBattery|flagReplace) == 0
}

// isCommand: it would change something at Proxmox, and not to put it back.
func isCommand(e edge.Entry) bool {
	return e.Edge == edge.PVE && e.Method != "GET" && !isStart(e)
}

// isStart: a guest is to start.
func isStart(e edge.Entry) bool {
	return e.Edge == edge.PVE && e.Method == "POST" && strings.HasSuffix(e.Path, "/status/start")
}

func isCall(e edge.Entry) bool {
	return e.Edge == edge.Twilio && e.Method == "POST" && strings.HasSuffix(e.Path, "/Calls.json") && e.Status == 201
}

func isList(e edge.Entry) bool {
	return e.Edge == edge.Twilio && e.Method == "GET" && strings.HasSuffix(e.Path, "/Calls.json")
}

// said is the text that a call speaks.
func said(e edge.Entry) string {
	form, err := url.ParseQuery(e.Body)
	if err != nil {
		return ""
	}
	return form.Get("Twiml")
}

func sidOf(e edge.Entry) string {
	var v struct{ SID string }
	_ = json.Unmarshal([]byte(e.Answer), &v) // none is no call's
	return v.SID
}

// span is a time during which something held.
type span struct{ from, to time.Duration }

func (s span) covers(t time.Duration) bool { return t >= s.from && t < s.to }

// facts are what the edges' record says happened, without the programs' part in it.
type facts struct {
	end     time.Duration
	es      []edge.Entry
	outages []span
	offline []span            // the site's internet
	noUPS   []span            // its daemon
	away    map[string][]span // brain, pi: dead or standing still
	off     map[string][]span // nodes without power
	cut     map[string][]span // nodes whose power somebody took
	told    map[string][]time.Duration
	unheard map[string][]time.Duration
	calls   []edge.Entry
	cmds    []edge.Entry
	starts  []edge.Entry
	died    []edge.Entry // programs that ended by themselves
	// short is since when the battery lasts for less than the plan needs; disarmed, since
	// when the brain has it that the plan is.
	short, disarmed *time.Duration
}

// switches turns on and off events into spans.
type switches struct {
	open map[string]time.Duration
}

func (s switches) begin(what string, at time.Duration) {
	if _, is := s.open[what]; !is {
		s.open[what] = at
	}
}

func (s switches) finish(what string, at time.Duration) (span, bool) {
	from, is := s.open[what]
	delete(s.open, what)
	return span{from, at}, is
}

func read(es []edge.Entry) *facts {
	es = slices.Clone(es)
	slices.SortStableFunc(es, func(a, b edge.Entry) int { return int(a.At() - b.At()) })
	f := &facts{es: es, away: map[string][]span{}, off: map[string][]span{}, cut: map[string][]span{},
		told: map[string][]time.Duration{}, unheard: map[string][]time.Duration{}}
	if len(es) > 0 {
		f.end = es[len(es)-1].At()
	}
	sw := switches{map[string]time.Duration{}}
	for _, e := range es {
		switch {
		case isCall(e):
			f.calls = append(f.calls, e)
		case isCommand(e):
			f.cmds = append(f.cmds, e)
		case isStart(e):
			f.starts = append(f.starts, e)
		case e.Edge == edge.Lab && e.Node == "":
			f.deed(sw, e.What, e.At())
		case e.Edge == edge.Lab:
			f.machine(sw, e)
		}
	}
	for what := range sw.open { // what was not over at the end
		f.close(sw, what, f.end)
	}
	slices.SortFunc(f.outages, func(a, b span) int { return int(a.from - b.from) })
	return f
}

// deed takes what was done to the home.
func (f *facts) deed(sw switches, what string, at time.Duration) {
	verb, who, _ := strings.Cut(what, " ")
	switch what {
	case "unplug", "internet off", "ups off":
		sw.begin(verb, at)
		return
	case "plug":
		f.close(sw, "unplug", at)
		return
	case "internet on", "ups on":
		f.close(sw, verb, at)
		return
	case home.Disarmed:
		f.disarmed = &at
		return
	}
	switch verb {
	case "freeze":
		sw.begin("frozen "+who, at)
	case "thaw":
		f.close(sw, "frozen "+who, at)
	case "runtime":
		f.short = &at
	case "kill":
		if slices.Contains(home.Nodes(), who) {
			sw.begin("cut "+who, at)
		}
	}
}

// machine takes what happened to a machine or its program.
func (f *facts) machine(sw switches, e edge.Entry) {
	who, at := e.Node, e.At()
	node := slices.Contains(home.Nodes(), who)
	switch {
	case e.What == "off":
		sw.begin("off "+who, at)
	case e.What == "on":
		f.close(sw, "off "+who, at)
		f.close(sw, "cut "+who, at)
	case e.What == home.Acknowledged:
		f.told[who] = append(f.told[who], at)
	case e.What == home.Unheard:
		f.unheard[who] = append(f.unheard[who], at)
	case strings.HasPrefix(e.What, home.Died):
		f.died = append(f.died, e)
		sw.begin("dead "+who, at)
	case e.What == home.Killed && !node:
		sw.begin("dead "+who, at)
		f.close(sw, "frozen "+who, at) // its successor runs
	case e.What == home.Started:
		f.close(sw, "dead "+who, at)
	}
}

func (f *facts) close(sw switches, what string, at time.Duration) {
	s, was := sw.finish(what, at)
	if !was {
		return
	}
	verb, who, _ := strings.Cut(what, " ")
	switch verb {
	case "unplug":
		f.outages = append(f.outages, s)
	case "internet":
		f.offline = append(f.offline, s)
	case "ups":
		f.noUPS = append(f.noUPS, s)
	case "dead", "frozen":
		f.away[who] = append(f.away[who], s)
	case "off":
		f.off[who] = append(f.off[who], s)
	case "cut":
		f.cut[who] = append(f.cut[who], s)
	}
}

// undisturbed is the first moment by which, from a time on, nothing bad has been for so
// long; false if that did not come before the end.
func undisturbed(from, long, end time.Duration, bad ...[]span) (time.Duration, bool) {
	for moved := true; moved; {
		moved = false
		for _, s := range slices.Concat(bad...) {
			if s.from < from+long && s.to > from {
				from, moved = s.to, true
			}
		}
	}
	return from + long, from+long <= end
}

// first is the first entry from a time on, and before another, that is so.
func (f *facts) first(from, to time.Duration, is func(edge.Entry) bool) (edge.Entry, bool) {
	for _, e := range f.es {
		if e.At() >= from && e.At() < to && is(e) {
			return e, true
		}
	}
	return edge.Entry{}, false
}

// outage is the power cut that a moment belongs to: the last that had begun, with the
// time until the next.
func (f *facts) outage(at time.Duration) (o span, next time.Duration, ok bool) {
	next = f.end + 1
	for _, s := range f.outages {
		switch {
		case s.from <= at:
			o, ok = s, true
		case s.from < next:
			next = s.from
		}
	}
	return o, next, ok
}
