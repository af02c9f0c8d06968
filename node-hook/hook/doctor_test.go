package hook

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"
	"testing"
	"time"

	"sentinel.home.arpa/node-hook/internal/systemd"
	"sentinel.home.arpa/shared/courier"
	"sentinel.home.arpa/shared/doctor"
)

// well is the evidence of an agent with which all is well.
func well() evidence {
	c := Defaults()
	c.Name = "pve1"
	order := systemd.Unit{Load: "loaded", Active: "active", File: "enabled",
		After: []string{"network.target", "dbus.service", "tailscaled.service"}, Before: []string{"pve-guests.service"}}
	return evidence{path: DefaultPath, config: c, key: "ed25519:KEY", synced: true,
		machine: systemd.Machine{Agent: order, Announce: order, Held: true, HeldFor: 5 * time.Second},
		answers: []answered{{name: "sentinel", brain: true}, {name: "pi"}}}
}

func TestDoctorFindings(t *testing.T) {
	// A machine without Tailscale that waits to be let in.
	waits := well()
	waits.noBrains, waits.config.PiProxies = fmt.Errorf("ask tailscaled: %w", syscall.ENOENT), []Pi{{Name: "pi"}}
	waits.answers = []answered{{name: "pi", err: &courier.Refusal{Status: 403, Reason: "unknown machine"}}}
	if screen := doctor.Screen(findings(waits)); strings.Contains(screen, "tailscale") || !strings.HasPrefix(screen, "1 wrong, ") {
		t.Errorf("of a machine that waits to be let in it says\n%s", screen)
	}
	if got := findings(well()); !doctor.Well(got) || !strings.HasPrefix(doctor.Screen(got), "All is well: 7 fine.\n") {
		t.Fatalf("of what is well it says\n%s", doctor.Screen(got))
	}
	for name, c := range map[string]struct {
		spoil func(e *evidence)
		what  string
		state doctor.State
		says  string // part of what is said and what is to be done
	}{
		"a wrong configuration": {func(e *evidence) { e.wrong = errors.New("node.yaml:1:1: x") }, "configuration", doctor.Wrong, "check-config"},
		"no configuration":      {func(e *evidence) { e.absent = true }, "configuration", doctor.OK, "by default"},
		"no bus":                {func(e *evidence) { e.noBus = errors.New("no such file") }, "units", doctor.Look, "status dbus"},
		"no unit":               {func(e *evidence) { e.machine.Agent.Load = "not-found" }, "sentinel-node", doctor.Wrong, "apt install --reinstall ./sentinel-node_*.deb"},
		"no unit of an agent that joins the tailnet": {func(e *evidence) { e.machine.Agent.Load, e.joins = "not-found", true }, "sentinel-node", doctor.Wrong, "--reinstall ./sentinel-node-tsnet_*.deb"},
		"a dead agent":             {func(e *evidence) { e.machine.Agent.Active = "failed" }, "sentinel-node", doctor.Wrong, "it is failed"},
		"a dead agent asks nobody": {func(e *evidence) { e.machine.Agent.Active = "failed" }, "brain and Pi", doctor.Look, "not asked"},
		"not after a reboot":       {func(e *evidence) { e.machine.Announce.File = "disabled" }, "sentinel-announce", doctor.Wrong, "`systemctl enable sentinel-announce`"},
		"the network goes first":   {func(e *evidence) { e.machine.Announce.After = []string{"dbus.service"} }, "sentinel-announce", doctor.Wrong, "before network.target"},
		"guests go later":          {func(e *evidence) { e.machine.Agent.Before = nil }, "sentinel-node", doctor.Wrong, "guests"},
		"another bus": {func(e *evidence) {
			e.machine.Announce.After = []string{"network.target", "dbus-broker.service", "tailscaled.service"}
		}, "sentinel-announce", doctor.OK, ""},
		"announce has no such order": {func(e *evidence) { e.machine.Announce.Before = nil }, "sentinel-announce", doctor.OK, ""},
		"a renamed machine":          {func(e *evidence) { e.changed = "/etc/hostname" }, "brain and Pi", doctor.Look, "systemctl restart sentinel-node"},
		"no root":                    {func(e *evidence) { e.noKey = fs.ErrPermission }, "key", doctor.Wrong, "sudo sentinel-node doctor"},
		"never run":                  {func(e *evidence) { e.noKey = fs.ErrNotExist }, "key", doctor.Wrong, "never run"},
		"a garbled key":              {func(e *evidence) { e.noKey = errors.New("is no key") }, "key", doctor.Wrong, "is no key"},
		"no tailscaled":              {func(e *evidence) { e.noBrains = errors.New("ask tailscaled: x") }, "brain", doctor.Wrong, "TCP 80"},
		"no tailscaled, but a Pi of its configuration": {func(e *evidence) {
			e.noBrains, e.answers = fmt.Errorf("ask tailscaled: %w", syscall.ENOENT), e.answers[1:]
			e.config.PiProxies = []Pi{{Name: "pi"}}
		}, "brain", doctor.OK, "no Tailscale"},
		"no tailscaled, and a Pi that is silent": {func(e *evidence) {
			e.noBrains, e.answers = fmt.Errorf("ask tailscaled: %w", syscall.ENOENT), e.answers[1:]
			e.config.PiProxies, e.answers[0].err = []Pi{{Name: "pi"}}, errors.New("timeout")
		}, "brain", doctor.Wrong, "TCP 80"},
		"a tailscaled that is dead, and a Pi of its configuration": {func(e *evidence) {
			e.noBrains, e.machine.Tailscaled.Load = fmt.Errorf("ask tailscaled: %w", syscall.ENOENT), "loaded"
			e.config.PiProxies, e.answers = []Pi{{Name: "pi"}}, e.answers[1:]
		}, "brain", doctor.Wrong, "tailscale status"},
		"a tailscaled that fails, and a Pi of its configuration": {func(e *evidence) {
			e.noBrains, e.config.PiProxies = errors.New("ask tailscaled: it answered 500"), []Pi{{Name: "pi"}}
		}, "brain", doctor.Wrong, "TCP 80"},
		"no brain in the tailnet": {func(e *evidence) { e.noBrains = errNoBrain }, "brain", doctor.Wrong, "tag:sentinel-brain"},
		"no brain at all":         {func(e *evidence) { e.answers = e.answers[1:] }, "brain", doctor.Wrong, "none is known"},
		"no Pi":                   {func(e *evidence) { e.answers = e.answers[:1] }, "Pi", doctor.Look, "one way only"},
		"waits for approval": {func(e *evidence) {
			e.answers[0].err = fmt.Errorf("post: %w", &courier.Refusal{Status: 403, Reason: "unknown machine", Hint: "on the brain: sentinel-cloud approve pve1 --key ed25519:KEY"})
		}, "brain sentinel", doctor.Wrong, "approve pve1 --key ed25519:KEY"},
		"refused without a hint": {func(e *evidence) { e.answers[1].err = &courier.Refusal{Status: 403, Reason: "no"} }, "Pi pi", doctor.Wrong, "sentinel-cloud approve"},
		"a Pi that is silent":    {func(e *evidence) { e.answers[1].err = errors.New("timeout") }, "Pi pi", doctor.Wrong, "TCP 7777"},
		"a tailnet of its own":   {func(e *evidence) { e.answers[0].own = true }, "brain", doctor.Look, "only the agent itself"},
		"no lock":                {func(e *evidence) { e.machine.Held = false }, "shutdowns", doctor.Wrong, "does not wait"},
		"too short a lock":       {func(e *evidence) { e.machine.HeldFor = time.Second }, "shutdowns", doctor.Look, "InhibitDelayMaxSec=5"},
		"logind is off":          {func(e *evidence) { e.config.Logind = false }, "shutdowns", doctor.Look, "logind is off"},
		"no orders":              {func(e *evidence) { e.config.ObeyOrders = false }, "orders", doctor.OK, "obey_orders is off"},
		"no clock":               {func(e *evidence) { e.synced = false }, "clock", doctor.Look, "set-ntp"},
		"a clock that is silent": {func(e *evidence) { e.noClock = errors.New("EPERM") }, "clock", doctor.Look, "timedatectl"},
	} {
		e := well()
		c.spoil(&e)
		found := false
		for _, f := range findings(e) {
			if f.What == c.what && f.State == c.state && strings.Contains(f.Say+"; "+f.Do, c.says) {
				found = true
			}
			if (f.State == doctor.OK) != (f.Do == "") {
				t.Errorf("%s: %+v", name, f)
			}
		}
		if !found {
			t.Errorf("%s: it says\n%s", name, doctor.Screen(findings(e)))
		}
	}
}
