package proxy

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"sentinel.home.arpa/pi-proxy/internal/apcupsd"
	"sentinel.home.arpa/shared/doctor"
	"sentinel.home.arpa/shared/power"
	"sentinel.home.arpa/shared/proxmox"
	"sentinel.home.arpa/shared/systemctl"
)

// findings are what the evidence says.
func (e *evidence) findings() []doctor.Finding {
	var r doctor.Report
	if e.wrong != nil {
		r.Wrong("configuration", e.wrong.Error(), "mend "+e.path+"; `sentinel-pi check-config` says whether it is right then")
		return r
	}
	r.OK("configuration", e.path+" is fine")
	e.ofUnits(&r)
	e.ofPi(&r)
	e.ofMachines(&r)
	e.ofUPSes(&r)
	e.ofApcupsd(&r)
	switch {
	case e.noClock != nil:
		r.Look("clock", e.noClock.Error(), "see what `timedatectl` says")
	case !e.synced:
		r.Look("clock", "it is not synchronised, so times in logs and calls may be wrong", "`timedatectl set-ntp true`")
	default:
		r.OK("clock", "it is synchronised")
	}
	if len(e.leased) > 0 {
		r.Look("LAN address", strings.Join(e.leased, ", ")+" comes by DHCP, and nodes find the Pi by it while no brain answers", "reserve it for the Pi in the router, unless it is")
	} else {
		r.OK("LAN address", "it is a fixed one")
	}
	return r
}

func (e *evidence) ofUnits(r *doctor.Report) {
	install := doctor.Reinstall("sentinel-pi") + ", then restart sentinel-pi"
	if e.noUnits != nil {
		r.Look("units", e.noUnits.Error(), "see what `systemctl status sentinel-pi` says")
		return
	}
	names := []string{unitPi, unitRoot}
	if e.config.hasApcupsd() { // else it is another machine's
		names = append(names, unitApcupsd)
	}
	for _, name := range names {
		u, short := e.units[name], strings.TrimSuffix(name, ".service")
		switch {
		case u.Load != "loaded" && name == unitApcupsd:
			r.Wrong(short, "it is not installed", "`apt install apcupsd`, then set it up as docs/install.md says, step 4")
		case u.Load != "loaded":
			r.Wrong(short, "there is no such unit", install)
		case u.Active != "active" && name == unitApcupsd && e.disabled:
			r.Wrong(short, "it is "+u.Active+", and /etc/default/apcupsd keeps it from starting", "write ISCONFIGURED=yes there, then `systemctl enable --now apcupsd`")
		case u.Active != "active":
			r.Wrong(short, "it is "+u.Active, "`systemctl status "+short+"` says why; `systemctl enable --now "+short+"` starts it")
		case u.File != "enabled":
			r.Wrong(short, "it runs, but would not after a reboot, since it is "+u.File, "`systemctl enable "+short+"`")
		case name == unitPi && !ordered(u):
			r.Wrong(short, "it does not start after apcupsd and the network, and stop before them", install)
		default:
			r.OK(short, "it runs, and starts with the machine")
		}
	}
}

func ordered(u systemctl.Unit) bool {
	for _, after := range []string{"network.target", unitApcupsd, unitRoot} {
		if !slices.Contains(u.After, after) {
			return false
		}
	}
	return slices.Contains(u.Before, "sentinel-node.service")
}

// ofPi is about what the running Pi knows and holds.
func (e *evidence) ofPi(r *doctor.Report) {
	h := &e.held
	switch {
	case refused(e.silent):
		r.Wrong("Pi", "it may not be asked", "be root: `sudo sentinel-pi doctor`")
		return
	case e.silent != nil:
		r.Wrong("Pi", e.silent.Error(), "`journalctl -u sentinel-pi` says why")
		return
	case h.TailnetGone:
		r.Wrong("brain", "Tailscale is out of reach since "+h.GoneSince.Local().Format("2 January 15:04"), "see `journalctl -u sentinel-pi`, and Tailscale's status page")
	case h.BrainGone:
		r.Wrong("brain", "gone since "+h.GoneSince.Local().Format("2 January 15:04"), "look at your cloud VM: `systemctl status sentinel-cloud` there")
	case h.BrainSilentSeconds >= lookAfter.Seconds() && !h.Leaving:
		r.Look("brain", "it has not answered for "+power.Spell(time.Duration(h.BrainSilentSeconds*float64(time.Second))), "`journalctl -u sentinel-pi` says why; is the Pi in pi_proxies, and tagged tag:sentinel-pi?")
	default:
		r.OK("brain", "it answers")
	}
	if h.AnchorsBlocked {
		r.Wrong("anchors", "they do not answer here, so nobody knows of the internet while the brain is silent", "let the Pi reach "+strings.Join(e.config.Anchors, " and ")+", or name others under anchors:")
	}
	switch {
	case h.BundleArmed == nil:
		r.Wrong("plan", "no brain has handed one out, so the Pi guards nothing by itself", "see that the brain answers; it sends it by itself")
	case !h.Plan:
		r.Look("plan", "cloud.yaml has none, so nothing is shut down in a power cut", "write plan: there")
	case !*h.BundleArmed:
		r.Look("plan", "it is not armed, so a power cut is only rehearsed", "on the brain: `sudo sentinel-cloud plan check`, then `plan arm`")
	default:
		r.OK("plan", "held, and armed")
	}
	missing := slices.Concat(h.Missing, h.LacksToTell)
	if h.Lacks != "" {
		missing = append(missing, h.Lacks)
	}
	slices.Sort(missing)
	if missing = slices.Compact(missing); len(missing) > 0 {
		r.Wrong("secrets", "missing here: "+strings.Join(missing, ", "), "a LoadCredential= line for each in /etc/systemd/system/sentinel-pi.service.d/credentials.conf, then `systemctl daemon-reload` and restart sentinel-pi")
	} else if h.BundleArmed != nil {
		r.OK("secrets", "all that the plan, calls and notices need are here")
	}
	if h.BundleArmed != nil && len(h.Contacts) == 0 {
		r.Look("calls", "the Pi would call nobody, should the brain be gone", "contacts with a phone and twilio: in cloud.yaml say whom, and by what")
	}
}

// ofMachines is about the plan's machines as the Pi reaches them.
func (e *evidence) ofMachines(r *doctor.Report) {
	h := &e.held
	if e.silent != nil || !h.Plan {
		return
	}
	if !h.Asked {
		if h.NotAsked != "" {
			r.Look("Proxmox", "it was not asked: "+h.NotAsked, "try again once that is over")
		}
		return
	}
	fine := true
	for _, f := range h.Machines {
		what := "Proxmox " + f.Target
		say, do := doctor.Split(f.Text)
		switch f.Severity {
		case proxmox.Refusal:
			fine = false
			r.Wrong(what, say, do)
		case proxmox.Warning:
			fine = false
			r.Look(what, say, do)
		}
	}
	if fine {
		r.OK("Proxmox", "the Pi reaches the plan's nodes, and the token suffices")
	}
}

// ofUPSes is about what each apcupsd says.
func (e *evidence) ofUPSes(r *doctor.Report) {
	policy := power.DefaultPolicy()
	if e.silent == nil && e.held.Plan {
		policy = e.held.Policy
	}
	asks := e.setup.Scripts["doshutdown"]
	for _, u := range e.upses {
		what := "UPS " + u.name
		why, instead := policy.Early(u.status, e.held.Need)
		do := "in apcupsd.conf write " + instead + ", then `systemctl restart apcupsd`"
		switch {
		case u.err != nil:
			r.Wrong(what, unreached(u), "NETSERVER on in apcupsd.conf, and `systemctl restart apcupsd`; nis: in "+e.path+" must be its address")
		case u.status.Flags.Has(power.CommLost):
			r.Wrong(what, "apcupsd has lost its UPS", "see to the cable, and to `apcaccess`")
		case u.status.Flags.Has(power.OnBattery):
			r.Look(what, "it is on battery", "on the brain: `sudo sentinel-cloud plan show` says what happens")
		case u.status.Flags.Has(power.ReplaceBattery):
			r.Look(what, "its battery is to be replaced", "renew it, then let the UPS test itself")
		case why != "" && asks.Runs && asks.Tells:
			r.Look(what, "apcupsd would shut the Pi down before the plan's end: "+why+"; the doshutdown script has it ask first", do)
		case why != "":
			r.Wrong(what, "apcupsd shuts the Pi down before the plan's end: "+why, do)
		default:
			r.OK(what, "apcupsd answers, and its limits come after the plan's end")
		}
	}
	if len(e.upses) == 0 {
		r.Look("UPS", "ups: names none, so no power cut is seen here", "remove the empty ups: from "+e.path)
	}
	if len(e.open) > 0 {
		r.Wrong("apcupsd's port", "others than this machine reach it, and it asks nobody who they are", "NISIP 127.0.0.1 in apcupsd.conf, and `systemctl restart apcupsd`")
	}
}

// slowestPoll is from which POLLTIME on, in seconds, a power cut is seen late.
const slowestPoll = 5

// ofApcupsd is about its configuration and scripts.
func (e *evidence) ofApcupsd(r *doctor.Report) {
	if len(e.upses) == 0 {
		return
	}
	if !e.config.hasApcupsd() {
		r.Look("apcupsd", "it is another machine's, so changes wait for a poll, and nothing keeps that one from shutting itself down", "run it on the Pi if you can, with the UPS's cable there")
		return
	}
	if e.noSetup != nil {
		r.Look("apcupsd's scripts", e.noSetup.Error(), "`apt install --reinstall apcupsd` if its configuration is gone")
		return
	}
	poll := 60 // apcupsd's own default
	if v := e.setup.Settings["POLLTIME"]; v != "" {
		if _, err := fmt.Sscanf(v, "%d", &poll); err != nil {
			poll = 60
		}
	}
	if poll > slowestPoll {
		r.Look("POLLTIME", fmt.Sprintf("apcupsd asks its UPS each %d s only", poll), "POLLTIME 1 in apcupsd.conf (5 on a serial cable), and `systemctl restart apcupsd`")
	}
	var missing, idle, mute []string
	for _, event := range apcupsd.Events() {
		switch s := e.setup.Scripts[event]; {
		case !s.There:
			missing = append(missing, event)
		case !s.Runs:
			idle = append(idle, event)
		case !s.Tells:
			mute = append(mute, event)
		}
	}
	var says []string
	for _, of := range []struct {
		names []string
		say   string
	}{{missing, "missing: "}, {idle, "not executable: "}, {mute, "without a line for the Pi: "}} {
		if len(of.names) > 0 {
			says = append(says, of.say+strings.Join(of.names, ", "))
		}
	}
	switch {
	case len(says) == 0:
		r.OK("apcupsd's scripts", "all tell the Pi, and doshutdown asks it first")
	case slices.Contains(slices.Concat(missing, idle, mute), "doshutdown"):
		r.Wrong("apcupsd's scripts", strings.Join(says, "; ")+". On a low battery apcupsd shuts the Pi down in the middle of the plan", "install doshutdown and write the others, as docs/install.md says, step 4")
	default:
		r.Look("apcupsd's scripts", strings.Join(says, "; ")+". Changes wait for a poll", "write them as docs/install.md says, step 4, and `chmod 755` them")
	}
	cuts := slices.ContainsFunc(e.config.UPS, func(u UPS) bool { return u.CutOutput })
	switch {
	case e.setup.Powerfail != "":
		r.Wrong("powerfail", e.setup.Powerfail+" has the UPS cut its output at the next shutdown or reboot", "if no outage is going on: `rm "+e.setup.Powerfail+"`")
	case cuts && !e.setup.Cuts:
		r.Wrong("cut_output", "nothing here cuts the output: there is no /lib/systemd/system-shutdown/apcupsd_shutdown", "`apt install --reinstall apcupsd`, or set cut_output: false")
	}
}
