package sentinel_test

import (
	"fmt"
	"slices"
	"strings"

	"pgregory.net/rapid"

	"sentinel.home.arpa/cloud/internal/sentinel"
	"sentinel.home.arpa/shared/shutdown"
)

func draw[T any](h *history, label string, of ...T) T { return rapid.SampledFrom(of).Draw(h.rt, label) }

func (h *history) someSource() *beater { return draw(h, "source", h.sources...) }

func (h *history) someNode() *beater {
	for {
		if b := h.someSource(); b.role == sentinel.Node {
			return b
		}
	}
}

// act lets one thing happen.
func (h *history) act() {
	site := draw(h, "site", h.sites...)
	switch draw(h, "act", "pass", "pass", "pass", "silent", "back", "dark", "light", "announce", "repeat", "state", "ups", "ups", "uplink", "person",
		"call", "call", "notice", "run", "run", "run", "restart", "pause", "pi", "watch", "watch", "cause", "cause", "midway") {
	case "pass":
		h.line("+%s", draw(h, "for", "500ms", "1s", "4s", "7s", "11s", "19s", "21s", "35s", "65s", "130s", "11m"))
	case "silent":
		h.line("silent %s", oneWord(h.someSource().name))
	case "back":
		b := h.someSource()
		h.line("beat %s boot=%s", oneWord(b.name), b.boot+draw(h, "reboots", "", "1"))
	case "dark":
		h.line("silent %s", site)
	case "light":
		h.line("beat %s", site)
	case "announce":
		h.announce(h.someSource())
	case "repeat":
		h.repeat()
	case "state":
		h.line("state %s %s", oneWord(h.someSource().name), draw(h, "state", "running", "degraded", "stopping", "starting"))
	case "ups":
		h.changeUPS(draw(h, "ups", h.units...))
	case "uplink":
		h.line("uplink %s", draw(h, "uplink", "online", "online", "offline", "hangs", "tailnet-gone"))
	case "person":
		h.person(site)
	case "call":
		if calls := h.state.OpenCalls(); len(calls) > 0 {
			c := draw(h, "of", calls...)
			if draw(h, "placed", true, false) && c.SID == "" {
				h.line("call-placed call=%s", c.ID)
			}
			h.line("call-ended %s call=%s", draw(h, "taken", "no-answer", "busy", "completed answered"), c.ID)
		}
	case "notice":
		h.notices()
	case "run":
		h.machines(site)
	case "midway":
		h.midway(site)
	case "restart":
		h.line("restart for=%s", draw(h, "away", "1s", "5s", "1m"))
	case "pause":
		h.line("pause for=%s", draw(h, "for", "5s", "2m"))
	case "cause":
		h.cause(site)
	case "watch":
		h.watch(site)
	case "pi":
		h.line("pi-run %s id=%s pi=%s", draw(h, "state", shutdown.Begun, shutdown.Advancing, shutdown.HasEnded, shutdown.Stopped), draw(h, "id", "r1", "r2"), h.somePi(site).name)
	}
}

func (h *history) announce(b *beater) {
	boot := b.boot
	if draw(h, "of an old boot", false, false, true) && len(boot) > 1 {
		boot = boot[1:]
	}
	line := fmt.Sprintf("announce %s %s boot=%s age=%s seq=%d", oneWord(b.name), draw(h, "kind", "poweroff", "reboot", "halt", "soft-reboot", "cancelled"),
		boot, draw(h, "age", "0s", "1s", "25s", "10m"), len(h.said)+1)
	if draw(h, "relayed", false, true) {
		line += " via=" + h.somePi(b.site).name
	}
	h.said = append(h.said, line)
	h.line("%s", line)
}

// repeat plays an announcement that was heard before again: it changes nothing (rule A7). One of
// a boot so long over that it is forgotten counts for nothing as long as that boot is not heard.
func (h *history) repeat() {
	if len(h.said) == 0 {
		return
	}
	n, line := len(h.kept), draw(h, "again", h.said...)
	forgotten := h.mayForget(parseWords(strings.Fields(line)[1:]))
	h.line("%s", line)
	for _, k := range h.kept[n:] {
		if forgotten && (k.name == "shutdown_cancelled" || strings.Contains(string(k.body), `"Ahead":true`)) {
			continue
		}
		if k.name == "shutdown_announced" || k.name == "shutdown_cancelled" && strings.Contains(string(k.body), `"Seq":`) && !strings.Contains(string(k.body), `"Seq":0`) {
			h.fail("it was announced again: %s %s", k.name, k.body)
		}
	}
}

// mayForget reports whether an announcement is not of the present boot of a source that announced
// something in more boots than are remembered.
func (h *history) mayForget(a args) bool {
	const bootsKept = 16
	src := h.state.Sites[h.siteOf(a.name())].Sources[a.name()]
	return src != nil && src.Boot != a.set["boot"] && len(src.Said) == bootsKept
}

func (h *history) changeUPS(u *unit) {
	if draw(h, "dead", false, false, false, true) {
		h.line("ups %s dead", u.name)
		return
	}
	h.line("ups %s %s charge=%d runtime=%s", u.name, draw(h, "flags", "ONLINE", "ONBATT", "ONBATT", "ONBATT LOWBATT", "COMMLOST", "ONBATT COMMLOST", "ONBATT CAL", "ONBATT self-test", "ONBATT CONFIRMED"),
		draw(h, "charge", 100, 50, 10), draw(h, "runtime", "40m", "4m", "1m"))
}

func (h *history) person(site string) {
	switch draw(h, "button", "arm", "disarm", "stop", "acknowledge") {
	case "arm":
		h.line("arm %s", site)
	case "disarm":
		h.line("disarm %s", site)
	case "stop":
		h.line("stop %s", site)
	case "acknowledge":
		if open := h.state.OpenIncidents(); len(open) > 0 {
			h.line("ack bob id=%s", draw(h, "of", open...).ID)
		}
	}
}

// machines answer the run's commands, or are seen to go down.
func (h *history) machines(site string) {
	run := h.state.Sites[site].Run
	if run == nil || len(run.Targets) == 0 {
		return
	}
	target := draw(h, "target", run.Targets...).Target
	switch {
	case run.PutsBack() && draw(h, "starts", true, true, false):
		h.guestReturns(draw(h, "guest", run.Back.Guests...).Target.ID(), site)
	case !draw(h, "answers", true, false):
		h.line("seen %s site=%s closed%s", target.ID(), site, draw(h, "agent", "", " silent=1s", " silent=6s"))
	case draw(h, "refuses", false, false, true):
		h.line("refused %s no quorum site=%s", target.ID(), site)
	case target.Kind == shutdown.Listing:
		h.line("answered %s guests=%d site=%s", target.ID(), 100+len(target.Node), site)
	default:
		h.line("answered %s site=%s", target.ID(), site)
	}
}

// midway is an outage that ends, and perhaps begins again, while guests go down.
func (h *history) midway(site string) {
	u := h.units[slices.Index(h.sites, site)]
	h.line("arm %s", site)
	h.line("ups %s ONBATT charge=90 runtime=40m", u.name)
	h.line("+11s")
	h.line("answered listing/pve1 guests=100,101 site=%s", site)
	for range rapid.IntRange(0, 6).Draw(h.rt, "answers") {
		h.machines(site)
	}
	h.line("ups %s ONLINE", u.name)
	for range rapid.IntRange(0, 8).Draw(h.rt, "returns") {
		h.machines(site)
		h.line("+%s", draw(h, "for", "500ms", "4s", "11s", "2m"))
	}
}

// guestReturns is what becomes of a guest that is put back.
func (h *history) guestReturns(id, site string) {
	switch draw(h, "returns", "stopped", "running", "started", "not started") {
	case "stopped":
		h.line("seen %s stopped site=%s", id, site)
	case "running":
		h.line("seen %s running site=%s", id, site)
	case "started":
		h.line("started %s site=%s", id, site)
	case "not started":
		h.line("not-started %s no quorum site=%s", id, site)
	}
}

// watch is what people decide about how sources are watched, and what else the table of
// heartbeats tells of them.
func (h *history) watch(site string) {
	b := h.someSource()
	name, span := oneWord(b.name), draw(h, "span", "1s", "1m", "12m", "20m")
	switch draw(h, "watch", "mute", "mute", "unmute", "maintain", "maintain", "maintain site", "maintained", "delete", "indirect", "direct", "clone") {
	case "mute":
		h.line("mute %s for=%s", name, span)
	case "unmute":
		h.line("unmute %s", name)
	case "maintain":
		h.line("maintain %s for=%s", name, span)
	case "maintain site":
		h.line("maintain %s for=%s", site, span)
	case "maintained":
		h.line("maintained %s", draw(h, "of", name, b.site))
	case "delete":
		h.line("delete %s", name)
	case "indirect":
		h.line("indirect %s via=%s", name, h.somePi(b.site).name)
	case "direct":
		h.line("direct %s", name)
	case "clone":
		if b.role == sentinel.Node && !strings.HasSuffix(b.name, ")") {
			h.line("clone %s boot=c%s", name, b.boot)
		}
	}
}

// cause lets something happen that tells one outage from another: a Pi notes what it sees
// or gives its record, or what feeds the nodes is known or not.
func (h *history) cause(site string) {
	pi := h.somePi(site)
	switch draw(h, "cause", "note", "note", "deliver", "withhold", "feeds", "relay") {
	case "note":
		h.noteSomething(pi)
	case "deliver":
		h.line("record comes pi=%s left=%d", pi.name, draw(h, "left", 0, 0, 3))
	case "withhold":
		h.line("record %s pi=%s", draw(h, "way", "withheld", "flows"), pi.name)
	case "relay":
		if b := h.someNode(); b.site == site {
			h.line("relayed %s by=%s", oneWord(b.name), draw(h, "via", "", pi.name))
		}
	case "feeds":
		h.line("reload site=%s feeds=%s", site, h.feeds(site))
	}
}

func (h *history) somePi(site string) *beater {
	for _, b := range h.sources {
		if b.site == site && b.role == sentinel.Pi {
			return b
		}
	}
	h.fail("%s has no Pi", site)
	return nil
}

func (h *history) noteSomething(pi *beater) {
	ago := draw(h, "noted", "0s", "1s", "1m")
	if draw(h, "of a UPS", true, false) {
		for _, u := range h.units {
			if u.site == pi.site {
				h.line("record %s ups=%s for=%s ago=%s pi=%s", draw(h, "supply", "ONBATT", "ONBATT", "ONLINE", "self-test", "COMMLOST"), u.name, draw(h, "for", "0s", "30s"), ago, pi.name)
				return
			}
		}
	}
	h.line("record %s %s ago=%s pi=%s", draw(h, "heard", "heard", "silent"), oneWord(h.someNode().name), ago, pi.name)
}

// feeds are what a site's UPS feeds, if that is known.
func (h *history) feeds(site string) string {
	for i, sc := range h.cfg.Sites {
		if sc.Name != site {
			continue
		}
		ups := h.units[i].name
		all := strings.Join(sc.Nodes, "+")
		return draw(h, "fed", ups+":"+all, ups+":"+sc.Nodes[0], ups+":"+all+",other:"+strings.Join(sc.Nodes[1:], "+"), "unknown")
	}
	return "unknown"
}

// causeless ends what would keep an outage from being over.
func (h *history) causeless() {
	h.line("uplink online")
	for _, b := range h.sources {
		if b.role == sentinel.Pi {
			h.line("record flows pi=%s", b.name)
			b.notes = nil
		} else {
			h.line("relayed %s by=", oneWord(b.name))
		}
	}
}

// heardDirectly ends what only a Pi heard.
func (h *history) heardDirectly() {
	for _, b := range h.sources {
		h.line("direct %s", oneWord(b.name))
	}
}
