package hook

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"sentinel.home.arpa/node-hook/internal/systemd"
	"sentinel.home.arpa/shared/courier"
	"sentinel.home.arpa/shared/doctor"
)

// announceTakes is how long telling of a shutdown may take, which logind has to wait for.
const announceTakes = 2 * time.Second

// findings are what the evidence says.
func findings(e evidence) []doctor.Finding {
	var r doctor.Report
	if e.wrong != nil {
		r.Wrong("configuration", e.wrong.Error(), "mend "+e.path+"; `sentinel-node check-config` says whether it is right then")
		return r
	}
	if e.absent {
		r.OK("configuration", "there is no file, so all is as by default")
	} else {
		r.OK("configuration", e.path+" is fine")
	}
	e.units(&r)
	e.hears(&r)
	e.lock(&r)
	switch {
	case !bool(e.config.Logind):
		r.OK("orders", "logind is off, so no plan powers this machine off")
	case !bool(e.config.ObeyOrders):
		r.OK("orders", "obey_orders is off, so no plan powers this machine off by its agent")
	default:
		r.OK("orders", "a plan that names this machine under hosts powers it off")
	}
	switch {
	case e.noClock != nil:
		r.Look("clock", e.noClock.Error(), "see what `timedatectl` says")
	case !e.synced:
		r.Look("clock", "it is not synchronised; nothing depends on it but what you read in logs", "`timedatectl set-ntp true`, or look at chrony")
	default:
		r.OK("clock", "it is synchronised")
	}
	return r
}

func (e *evidence) units(r *doctor.Report) {
	pkg := map[bool]string{true: "sentinel-node-tsnet", false: "sentinel-node"}[e.joins]
	install := doctor.Reinstall(pkg) + ", then `systemctl enable --now sentinel-node sentinel-announce`"
	if e.noBus != nil {
		r.Look("units", "systemd and logind cannot be asked: "+e.noBus.Error(), "be root, and see that dbus runs: `systemctl status dbus`")
		return
	}
	for _, u := range []struct {
		name string
		systemd.Unit
	}{{"sentinel-node", e.machine.Agent}, {"sentinel-announce", e.machine.Announce}} {
		switch {
		case u.Load != "loaded":
			r.Wrong(u.name, "there is no such unit", install)
		case u.Active != "active":
			r.Wrong(u.name, "it is "+u.Active, "`systemctl status "+u.name+"` says why; `systemctl enable --now "+u.name+"` starts it")
		case u.File != "enabled":
			r.Wrong(u.name, "it runs, but would not after a reboot, since it is "+u.File, "`systemctl enable "+u.name+"`")
		default:
			if slices.Contains(u.After, "dbus-broker.service") { // which stands for it
				u.After = append(u.After, "dbus.service")
			}
			if gone := lacks(u.After, "network.target", "dbus.service", "tailscaled.service"); gone != "" {
				r.Wrong(u.name, "it does not stop before "+gone+", so a shutdown may be announced too late", install)
			} else if gone := lacks(u.Before, "pve-guests.service"); gone != "" && u.name == "sentinel-node" {
				r.Wrong(u.name, "it stops before the guests do, so a node looks down that still writes", install)
			} else {
				r.OK(u.name, "it runs, and starts and stops in the right order")
			}
		}
	}
}

// lacks is the first that a list lacks; empty: none.
func lacks(list []string, wants ...string) string {
	for _, w := range wants {
		if !slices.Contains(list, w) {
			return w
		}
	}
	return ""
}

// hears is about brain and Pis.
func (e *evidence) hears(r *doctor.Report) {
	switch {
	case errors.Is(e.noKey, fs.ErrPermission):
		r.Wrong("key", "it cannot be read", "be root: `sudo sentinel-node doctor`")
		return
	case errors.Is(e.noKey, fs.ErrNotExist):
		r.Wrong("key", "the agent has never run here, so there is none", "`systemctl enable --now sentinel-node` makes one")
		return
	case e.noKey != nil:
		r.Wrong("key", e.noKey.Error(), "then restart sentinel-node, and approve it on the brain")
		return
	case e.noBus == nil && e.machine.Agent.Active != "active":
		r.Look("brain and Pi", "they were not asked, since the agent does not run", "start it first")
		return
	case e.changed != "":
		r.Look("brain and Pi", "they were not asked, since "+e.changed+" was changed after the agent had started", "`systemctl restart sentinel-node`, then this again")
		return
	case e.noBus != nil:
		r.Look("brain and Pi", "they were not asked, since it is not known whether the agent runs", "on the brain: `sudo sentinel-cloud status`")
		return
	}
	switch taken, refused := e.byPiAlone(); {
	case taken:
		r.OK("brain", "a Pi speaks for this machine, since no Tailscale runs here")
	case refused: // what to do is said of the Pi
	case e.noBrains != nil:
		r.Wrong("brain", e.noBrains.Error(), "`tailscale status` here must show it; the policy must let nodes reach it on TCP 80")
	}
	brains, pis, unsure := 0, 0, 0
	for _, a := range e.answers {
		kind := map[bool]string{true: "brain", false: "Pi"}[a.brain] + " " + a.name
		var no *courier.Refusal
		switch {
		case a.own:
			unsure++
		case a.err == nil && a.brain:
			brains++
		case a.err == nil:
			pis++
		case errors.As(a.err, &no):
			do := no.Hint
			if do == "" {
				do = "on the brain: `sudo sentinel-cloud approve` lists who waits, with what to type"
			}
			r.Wrong(kind, "it does not take this machine: "+no.Reason, fmt.Sprintf("%s; the key here is %s", do, e.key))
		default:
			r.Wrong(kind, a.err.Error(), "see that it runs and that nothing is in between: "+map[bool]string{true: "`tailscale ping`", false: "a firewall on TCP 7777"}[a.brain])
		}
	}
	if brains+pis > 0 {
		r.OK("heartbeats", fmt.Sprintf("acknowledged by %s and %s", count(brains, "brain"), count(pis, "Pi")))
	}
	if unsure > 0 {
		r.Look("brain", "only the agent itself reaches it over its own tailnet", "on the brain: `sudo sentinel-cloud status`")
	}
	isBrain := func(a answered) bool { return a.brain }
	if e.noBrains == nil && !slices.ContainsFunc(e.answers, isBrain) {
		r.Wrong("brain", "none is known here", "join the tailnet, or write brains: into "+e.path)
	}
	if !slices.ContainsFunc(e.answers, func(a answered) bool { return !a.brain }) {
		r.Look("Pi", "none is known here, so heartbeats have one way only", "the brain names them once it has heard them; see pi_proxies: in cloud.yaml")
	}
}

// byPiAlone reports whether a Pi takes or refuses the heartbeats of a machine that has no Tailscale and
// whose configuration names Pis.
func (e *evidence) byPiAlone() (taken, refused bool) {
	none := errors.Is(e.noBrains, fs.ErrNotExist) && e.machine.Tailscaled.Load != "loaded" // its socket goes when it dies, too
	if !none || len(e.config.PiProxies) == 0 {
		return false, false
	}
	for _, a := range e.answers {
		var no *courier.Refusal
		taken = taken || !a.brain && a.err == nil
		refused = refused || !a.brain && errors.As(a.err, &no)
	}
	return taken, refused
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %s", n, strings.TrimSuffix(what, "s")+"s")
}

// lock is whether a shutdown waits until it is announced.
func (e *evidence) lock(r *doctor.Report) {
	switch {
	case !bool(e.config.Logind):
		r.Look("shutdowns", "logind is off, so those of this machine are not seen coming", "remove `logind: off`, unless it is a test")
	case e.noBus != nil || e.machine.Agent.Active != "active": // said already
	case !e.machine.Held:
		r.Wrong("shutdowns", "logind does not wait for the agent, so they may come unannounced, as failures", "`journalctl -u sentinel-node` says why; restart it")
	case e.machine.HeldFor < announceTakes:
		r.Look("shutdowns", fmt.Sprintf("logind waits for the agent for %v only", e.machine.HeldFor), "InhibitDelayMaxSec=5 in /etc/systemd/logind.conf")
	default:
		r.OK("shutdowns", fmt.Sprintf("they wait for %v at most until they are announced", e.machine.HeldFor))
	}
}
