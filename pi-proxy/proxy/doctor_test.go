package proxy

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"sentinel.home.arpa/pi-proxy/internal/apcupsd"
	"sentinel.home.arpa/shared/doctor"
	"sentinel.home.arpa/shared/power"
	"sentinel.home.arpa/shared/proxmox"
	"sentinel.home.arpa/shared/systemctl"
)

// TestDoctorWithoutApcupsd: it may be another machine's, or there may be none. Then there is nothing here to install or to set up.
func TestDoctorWithoutApcupsd(t *testing.T) {
	for _, upses := range [][]UPS{nil, {{Name: "ups", NIS: "192.168.77.9:3551"}}} {
		e := wellPi()
		e.config.UPS, e.noSetup = upses, os.ErrNotExist
		e.upses = e.upses[:len(upses)]
		delete(e.units, unitApcupsd)
		got := e.findings()
		if screen := doctor.Screen(got); !doctor.Well(got) || strings.Contains(screen, "apt install") || strings.Count(screen, "\nlook ") != 1 {
			t.Errorf("with %v it says\n%s", upses, screen)
		}
	}
}

// wellPi is the evidence of a Pi with which all is well.
func wellPi() evidence {
	armed, ratio, span := true, 0.03, power.Seconds(60)
	unit := systemctl.Unit{Load: "loaded", Active: "active", File: "enabled", After: []string{"network.target", unitApcupsd, unitRoot}, Before: []string{"sentinel-node.service"}}
	tells := apcupsd.Script{There: true, Runs: true, Tells: true}
	e := evidence{path: "/etc/sentinel/pi.yaml", config: DefaultConfig(), synced: true,
		units: map[string]systemctl.Unit{unitPi: unit, unitRoot: unit, unitApcupsd: unit},
		held: Held{Status: Status{Contacts: []string{"Alex"}, BundleArmed: &armed}, Plan: true, Asked: true, Need: 3 * time.Minute, Policy: power.DefaultPolicy(),
			Machines: []proxmox.Finding{{Severity: proxmox.Note, Target: "pve1", Text: "it shows the pinned certificate"}}},
		setup: apcupsd.Setup{Settings: map[string]string{"POLLTIME": "1"}, Scripts: map[string]apcupsd.Script{}},
		upses: []heardUPS{{name: "ups", nis: "127.0.0.1:3551", status: power.Status{LimitCharge: &ratio, LimitRuntime: &span}}}}
	for _, event := range apcupsd.Events() {
		e.setup.Scripts[event] = tells
	}
	return e
}

func TestDoctorFindings(t *testing.T) {
	e := wellPi()
	if got := e.findings(); !strings.HasPrefix(doctor.Screen(got), "All is well: 12 fine.\n") {
		t.Fatalf("of what is well it says\n%s", doctor.Screen(got))
	}
	unit := func(name string, change func(u *systemctl.Unit)) func(e *evidence) {
		return func(e *evidence) { u := e.units[name]; change(&u); e.units[name] = u }
	}
	limit := func(seconds power.Seconds) func(e *evidence) {
		return func(e *evidence) { e.upses[0].status.LimitRuntime = &seconds }
	}
	both := func(fs ...func(e *evidence)) func(e *evidence) {
		return func(e *evidence) {
			for _, f := range fs {
				f(e)
			}
		}
	}
	without := func(event string) func(e *evidence) {
		return func(e *evidence) { e.setup.Scripts[event] = apcupsd.Script{} }
	}
	for name, c := range map[string]struct {
		spoil func(e *evidence)
		what  string
		state doctor.State
		says  string // part of what is said and what is to be done
	}{
		"a wrong configuration":      {func(e *evidence) { e.wrong = errors.New("pi.yaml:1:1: x") }, "configuration", doctor.Wrong, "check-config"},
		"no systemd":                 {func(e *evidence) { e.noUnits = errors.New("ask systemd: x") }, "units", doctor.Look, "systemctl status sentinel-pi"},
		"no unit":                    {unit(unitPi, func(u *systemctl.Unit) { u.Load = "not-found" }), "sentinel-pi", doctor.Wrong, "apt install --reinstall ./sentinel-pi_*.deb"},
		"a helper that is not there": {unit(unitRoot, func(u *systemctl.Unit) { u.Active = "inactive" }), "sentinel-pi-root.socket", doctor.Wrong, "enable --now sentinel-pi-root.socket"},
		"no apcupsd":                 {unit(unitApcupsd, func(u *systemctl.Unit) { u.Load = "not-found" }), "apcupsd", doctor.Wrong, "apt install apcupsd"},
		"ISCONFIGURED=no":            {both(unit(unitApcupsd, func(u *systemctl.Unit) { u.Active = "inactive" }), func(e *evidence) { e.disabled = true }), "apcupsd", doctor.Wrong, "ISCONFIGURED=yes"},
		"not after a reboot":         {unit(unitPi, func(u *systemctl.Unit) { u.File = "disabled" }), "sentinel-pi", doctor.Wrong, "`systemctl enable sentinel-pi`"},
		"the wrong order":            {unit(unitPi, func(u *systemctl.Unit) { u.After = nil }), "sentinel-pi", doctor.Wrong, "apcupsd and the network"},
		"no root":                    {func(e *evidence) { e.silent = os.ErrPermission }, "Pi", doctor.Wrong, "sudo sentinel-pi doctor"},
		"a Pi that is dead":          {func(e *evidence) { e.silent = errors.New("the Pi cannot be reached") }, "Pi", doctor.Wrong, "journalctl -u sentinel-pi"},
		"Tailscale is out":           {func(e *evidence) { e.held.BrainGone, e.held.TailnetGone = true, true }, "brain", doctor.Wrong, "Tailscale's status page"},
		"the brain is gone":          {func(e *evidence) { e.held.BrainGone = true }, "brain", doctor.Wrong, "cloud VM"},
		"the brain is silent":        {func(e *evidence) { e.held.BrainSilentSeconds = 60 }, "brain", doctor.Look, "tag:sentinel-pi"},
		"the brain is restarted":     {func(e *evidence) { e.held.BrainSilentSeconds, e.held.Leaving = 60, true }, "brain", doctor.OK, ""},
		"anchors are blocked":        {func(e *evidence) { e.held.AnchorsBlocked = true }, "anchors", doctor.Wrong, "1.1.1.1:443"},
		"no bundle":                  {func(e *evidence) { e.held.BundleArmed = nil }, "plan", doctor.Wrong, "guards nothing"},
		"no plan":                    {func(e *evidence) { e.held.Plan = false }, "plan", doctor.Look, "cloud.yaml"},
		"not armed":                  {func(e *evidence) { armed := false; e.held.BundleArmed = &armed }, "plan", doctor.Look, "plan arm"},
		"secrets are missing": {func(e *evidence) {
			e.held.Missing, e.held.Lacks, e.held.LacksToTell = []string{"proxmox-secret"}, "twilio-secret", []string{"proxmox-secret"}
		}, "secrets", doctor.Wrong, "missing here: proxmox-secret, twilio-secret; a LoadCredential= line"},
		"nobody to call": {func(e *evidence) { e.held.Contacts = nil }, "calls", doctor.Look, "contacts with a phone"},
		"an outage":      {func(e *evidence) { e.held.Asked, e.held.NotAsked = false, "the power is out" }, "Proxmox", doctor.Look, "the power is out"},
		"a token that lacks": {func(e *evidence) {
			e.held.Machines = []proxmox.Finding{{Severity: proxmox.Refusal, Target: "pve2", Text: "the token lacks x; give it"}}
		}, "Proxmox pve2", doctor.Wrong, "the token lacks x; give it"},
		"a token that is rich": {func(e *evidence) {
			e.held.Machines = []proxmox.Finding{{Severity: proxmox.Warning, Target: "token", Text: "it may do more; take it"}}
		}, "Proxmox token", doctor.Look, "take it"},
		"a mute apcupsd":                 {func(e *evidence) { e.upses[0].err = errors.New("refused") }, "UPS ups", doctor.Wrong, "NETSERVER on"},
		"a lost UPS":                     {func(e *evidence) { e.upses[0].status.Flags = power.CommLost }, "UPS ups", doctor.Wrong, "cable"},
		"an outage at a UPS":             {func(e *evidence) { e.upses[0].status.Flags = power.OnBattery }, "UPS ups", doctor.Look, "on battery"},
		"an old battery":                 {func(e *evidence) { e.upses[0].status.Flags = power.ReplaceBattery }, "UPS ups", doctor.Look, "renew it"},
		"an early limit that asks first": {limit(180), "UPS ups", doctor.Look, "MINUTES 1"},
		"an early limit":                 {both(limit(180), without("doshutdown")), "UPS ups", doctor.Wrong, "MINUTES 1"},
		"no UPS":                         {func(e *evidence) { e.upses = nil }, "UPS", doctor.Look, "names none"},
		"an open port":                   {func(e *evidence) { e.open = []string{"3551"} }, "apcupsd's port", doctor.Wrong, "NISIP 127.0.0.1"},
		"no setup":                       {func(e *evidence) { e.noSetup = os.ErrNotExist }, "apcupsd's scripts", doctor.Look, "reinstall"},
		"a slow poll":                    {func(e *evidence) { e.setup.Settings = nil }, "POLLTIME", doctor.Look, "each 60 s"},
		"no hook":                        {without("powerout"), "apcupsd's scripts", doctor.Look, "missing: powerout"},
		"no last hook":                   {without("doshutdown"), "apcupsd's scripts", doctor.Wrong, "install doshutdown and write the others, as docs/install.md says"},
		"a hook that does not run":       {func(e *evidence) { e.setup.Scripts["mainsback"] = apcupsd.Script{There: true, Tells: true} }, "apcupsd's scripts", doctor.Look, "not executable: mainsback"},
		"a hook that is another's":       {func(e *evidence) { e.setup.Scripts["onbattery"] = apcupsd.Script{There: true, Runs: true} }, "apcupsd's scripts", doctor.Look, "without a line for the Pi: onbattery"},
		"powerfail":                      {func(e *evidence) { e.setup.Powerfail = "/etc/apcupsd/powerfail" }, "powerfail", doctor.Wrong, "`rm /etc/apcupsd/powerfail`"},
		"nothing that cuts":              {func(e *evidence) { e.config.UPS[0].CutOutput = true }, "cut_output", doctor.Wrong, "reinstall"},
		"no clock":                       {func(e *evidence) { e.synced = false }, "clock", doctor.Look, "set-ntp"},
		"an address by DHCP":             {func(e *evidence) { e.leased = []string{"192.168.77.2"} }, "LAN address", doctor.Look, "192.168.77.2 comes by DHCP"},
	} {
		e := wellPi()
		c.spoil(&e)
		found := false
		for _, f := range e.findings() {
			if f.What == c.what && f.State == c.state && strings.Contains(f.Say+"; "+f.Do, c.says) {
				found = true
			}
			if (f.State == doctor.OK) != (f.Do == "") {
				t.Errorf("%s: %+v", name, f)
			}
		}
		if !found {
			t.Errorf("%s: it says\n%s", name, doctor.Screen(e.findings()))
		}
	}
}
