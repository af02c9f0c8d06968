//go:build e2e

package e2e

import (
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"sentinel.home.arpa/deploy/e2e/internal/guest"
	"sentinel.home.arpa/deploy/e2e/internal/layers"
	"sentinel.home.arpa/deploy/e2e/internal/network"
)

// TestAnsible installs a house by ansible/ on machines that have nothing of ours, over SSH, as
// a person does: it is looked at first, installed, run again, lived in for a bad day, upgraded and
// removed.
func TestAnsible(t *testing.T) {
	h := openHouse(t)
	a := &ansible{house: h}
	a.tools()
	a.build()
	a.boot()
	a.refusals()
	a.lookFirst()
	a.install()
	a.again()
	a.mains()
	power := a.day()
	a.changes() // while that incident calms down
	a.calm(power)
	a.calm(a.internetCut(names()...))
	a.restart()
	a.calls(4)
	a.upgrade()
	a.uninstall()
}

// What a machine has that Ansible manages.
func managed(more ...string) []string {
	return append(more, "openssh-server", "python3", "python3-apt")
}

// Versions of the packages. The second is an upgrade of the first.
const (
	firstVersion  = "0.0.1"
	secondVersion = "0.0.2"
)

// ansible is the house: a brain with sudo, a Pi whose owner has scripts of apcupsd already, a
// Proxmox node of the tailnet, and two hosts that reach the brain through the Pi alone.
type ansible struct {
	*house
	pve1, nas, desk *guest.Guest
	ssh             *keyring
	inventory       string
}

// ownConf is a Pi's apcupsd.conf as its owner left it.
const ownConf = `## apcupsd.conf v1.1 ##
# The UPS in the cellar. Asked for by my NAS too.
UPSNAME cellar
NETSERVER on
NISIP 0.0.0.0
NISPORT 3551
POLLTIME 60
ONBATTERYDELAY 6
BATTERYLEVEL 15
  MINUTES   10
UPSCLASS standalone
UPSMODE disable
SCRIPTDIR /etc/apcupsd
PWRFAILDIR /etc/apcupsd
`

// ownScript is one that was there before.
const ownScript = "#!/bin/sh\n# Mine.\ndate >>/root/mainsback\nexit 0\n"

func (a *ansible) build() {
	a.ssh = a.newKeyring()
	a.timed("packages", func() string {
		for _, version := range []string{firstVersion, secondVersion} {
			a.pack(version)
		}
		return "built"
	})
	a.timed("layers", func() string {
		a.router = a.newRouter()
		cloud := append(static(cloudInet, network.Gateway), a.ssh.door("cloud", cloudInet)...)
		cloud = append(cloud, guest.File{Path: "/etc/sudoers.d/admin", Text: "admin ALL=(ALL) NOPASSWD: ALL\n", Mode: 0o440},
			guest.File{Path: "/usr/lib/sysusers.d/admin.conf", Text: "u admin - - /var/lib/admin /bin/sh\n"},
			guest.File{Path: "/usr/lib/tmpfiles.d/admin.conf", Text: "d /var/lib/admin 0700 admin admin\n"})
		a.cloud = a.machine(guest.Spec{Name: "cloud", Lower: a.lower(layers.Bookworm(), append(managed(), "sudo")...), Bridge: network.Internet, Files: cloud})
		pi := append(static(piLAN, routerLAN), a.ssh.door("pi", piLAN)...)
		pi = append(pi, guest.File{Path: "/usr/bin/upsline", From: filepath.Join(a.bin, "upsline"), Mode: 0o755},
			guest.File{Path: "/usr/lib/systemd/system/upsline.service", Text: upslineUnit}, guest.Enable("upsline.service", "multi-user.target"),
			guest.File{Path: "/etc/apcupsd/apcupsd.conf", Text: ownConf},
			guest.File{Path: "/etc/apcupsd/mainsback", Text: ownScript, Mode: 0o755})
		a.pi = a.machine(guest.Spec{Name: "pi", Lower: a.lower(layers.Bookworm(), managed("apcupsd")...), Bridge: network.LAN, Files: pi})
		pve := append(ifupdown("10.77.0.11"), a.ssh.door("pve1", "10.77.0.11")...)
		pve = append(append(pve, a.tailscale()...), guest.File{Path: "/usr/lib/systemd/system/pve-guests.service", Text: pveGuestsUnit},
			guest.Enable("pve-guests.service", "multi-user.target"))
		a.pve1 = a.machine(guest.Spec{Name: "pve1", Lower: a.lower(layers.Bookworm(), managed("ifupdown")...), Bridge: network.LAN, Files: pve, Args: tunArgs()})
		a.nas = a.machine(guest.Spec{Name: "nas", Lower: a.lower(layers.Trixie(), managed()...), Bridge: network.LAN,
			Files: append(static("10.77.0.12", routerLAN), a.ssh.door("nas", "10.77.0.12")...)})
		a.desk = a.machine(guest.Spec{Name: "desk", Lower: a.lower(layers.Bookworm(), managed("network-manager")...), Bridge: network.LAN,
			Files: append(networkManager("10.77.0.13"), a.ssh.door("desk", "10.77.0.13")...)})
		return "unpacked"
	})
}

// pveGuestsUnit is Proxmox's name for what starts the guests.
const pveGuestsUnit = "[Unit]\nDescription=PVE guests\n[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/true\n[Install]\nWantedBy=multi-user.target\n"

func (a *ansible) boot() {
	a.timed("machines", func() string {
		a.allOn()
		a.connect()
		a.joinTailnet(a.pve1)
		a.writeInventory()
		a.reached()
		return "on, and reached over SSH"
	})
}

// refusals are what is found out before anything is changed, with what to do.
func (a *ansible) refusals() {
	a.timed("what cannot be done is said first", func() string {
		refused := func(vars, words string) {
			before := a.traces()
			if out, err := a.tryPlay("site.yml", firstVersion, "-e", vars); err == nil || !strings.Contains(out, words) || a.traces() != before {
				a.t.Errorf("%s is not refused with %q:\n%s", vars, words, out)
			}
		}
		refused(`{"sentinel_secrets": {"ntfy": "x"}}`, "cloud.yaml names twilio-secret, of which there is no secret")
		refused(`{"sentinel_packages": "/nonexistent"}`, "which is amd64: make packages makes those")
		refused(`{"sentinel_lan_only": false}`, "nas runs no Tailscale")
		a.exec(a.cloud, "sed", "-i", "s/NOPASSWD: //", "/etc/sudoers.d/admin")
		refused(`{}`, "On cloud Ansible may not become root: Missing sudo password")
		a.exec(a.cloud, "sed", "-i", "s/ALL$/NOPASSWD: ALL/", "/etc/sudoers.d/admin")
		a.exec(a.pi, "sh", "-c", hostsTailscale)
		refused(`{}`, "pi is on the tailnet already")
		a.exec(a.pi, "rm", "-r", "/run/tailscale", "/usr/local/bin/tailscale")
		return "in words"
	})
}

// hostsTailscale makes a Pi one that runs Tailscale itself, under the name that the sentinel wants.
const hostsTailscale = `mkdir /run/tailscale
python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind("/run/tailscale/tailscaled.sock")'
cat >/usr/local/bin/tailscale <<'END'
#!/bin/sh
echo '{"Self": {"DNSName": "pi.lab.ts.net."}, "Peer": null}'
END
chmod 755 /usr/local/bin/tailscale`

// lookFirst is --check on machines that have nothing: it goes through, says what it would do,
// and does nothing.
func (a *ansible) lookFirst() {
	a.timed("--check --diff on fresh machines", func() string {
		before := a.traces()
		out := a.play("site.yml", firstVersion, "--check", "--diff")
		a.recap(out, func(r recap) bool { return r.failed == 0 && r.changed > 0 })
		for _, words := range []string{"cloud.yaml would be", "sentinel-pi 0.0.1 is not installed", "BATTERYLEVEL 3"} {
			if !strings.Contains(out, words) {
				a.t.Errorf("--check does not say %q:\n%s", words, out)
			}
		}
		if after := a.traces(); after != before {
			a.t.Fatalf("--check left something: %s", after)
		}
		return "nothing was changed"
	})
}

func (a *ansible) install() {
	a.timed("installed", func() string {
		out := a.play("site.yml", firstVersion, "--diff")
		a.recap(out, func(r recap) bool { return r.failed == 0 && r.changed > 0 })
		a.noSecrets(out)
		for _, line := range []string{"-NISIP 0.0.0.0", "+NISIP 127.0.0.1", "+BATTERYLEVEL 3", "+DEVICE /run/upsline/tty"} {
			if !strings.Contains(out, line) {
				a.t.Errorf("--diff does not show %q", line)
			}
		}
		return "without a failure"
	})
	a.timed("what is there", func() string {
		a.allUp()
		a.disarmed()
		a.owned()
		return "all up, the plan is not armed, and what was the owner's is the owner's"
	})
}

// names are all that the brain is to hear.
func names() []string { return []string{"pi", "pve1", "nas", "desk"} }

func (a *ansible) allUp() {
	a.t.Helper()
	a.await("all up", patience, func(s *status) bool {
		return s.up(time.Now().Add(-beat), names()...) && len(s.Sites[0].UPSes) == 1 && s.Sites[0].UPSes[0].Supply == "mains"
	})
}

func (a *ansible) disarmed() {
	a.t.Helper()
	if out, _ := a.try(a.cloud, "sentinel-cloud", "plan", "show"); !strings.Contains(out, "not armed") {
		a.t.Fatalf("the plan is armed, or there is none: %s", out)
	}
}

// owned looks at what was on the Pi before: kept, with our lines in it.
func (a *ansible) owned() {
	a.t.Helper()
	conf := a.exec(a.pi, "cat", "/etc/apcupsd/apcupsd.conf")
	want := strings.NewReplacer("NISIP 0.0.0.0", "NISIP 127.0.0.1", "POLLTIME 60", "POLLTIME 1", "BATTERYLEVEL 15", "BATTERYLEVEL 3",
		"  MINUTES   10", "MINUTES 1").Replace(ownConf) + "TIMEOUT 0\nUPSCABLE smart\nUPSTYPE apcsmart\nDEVICE /run/upsline/tty\n"
	if conf != want {
		a.t.Errorf("apcupsd.conf is\n%s\nnot\n%s", conf, want)
	}
	if kept := a.exec(a.pi, "sh", "-c", "cat /etc/apcupsd/apcupsd.conf.*~"); kept != ownConf {
		a.t.Errorf("the copy of the owner's apcupsd.conf is\n%s", kept)
	}
	if script := a.exec(a.pi, "cat", "/etc/apcupsd/mainsback"); script != strings.Replace(ownScript, "\n", "\n"+tellLine+"\n", 1) {
		a.t.Errorf("the owner's script is\n%s", script)
	}
	for name, words := range map[string]string{"powerout": "event powerout", "doshutdown": "event doshutdown", "onbattery": tellLine, "offbattery": tellLine} {
		if script := a.exec(a.pi, "cat", "/etc/apcupsd/"+name); !strings.Contains(script, words) {
			a.t.Errorf("%s does not tell the Pi:\n%s", name, script)
		}
	}
	for _, g := range []*guest.Guest{a.cloud, a.pi} {
		if modes := a.exec(g, "sh", "-c", "stat -c '%a %U' /etc/sentinel/*.secrets /etc/sentinel/*.secrets/*"); strings.Contains(modes, "4 root") {
			a.t.Errorf("others read the secrets on %s:\n%s", g.Name, modes)
		}
	}
}

const tellLine = `/usr/bin/sentinel-pi event "$(basename "$0")" || true`

// again is the second run, which has nothing to do.
func (a *ansible) again() {
	a.timed("run again", func() string {
		out := a.play("site.yml", firstVersion)
		a.recap(out, func(r recap) bool { return r.failed == 0 && r.changed == 0 })
		a.allUp()
		a.calls(0)
		return "changed=0 everywhere"
	})
}

// mains is what it was installed for.
func (a *ansible) mains() {
	var outage incident
	a.timed("the power is cut", func() string {
		at := time.Now()
		a.ups("unplug")
		a.until("a call", patience, func() bool { return len(a.out.placed()) == 1 })
		v := a.now()
		outage, _ = v.open("power_outage")
		seen := time.Since(at)
		a.ups("plug")
		a.await("the end of the outage", 2*patience, func(v *status) bool { return outage.ID != "" && !v.incident(outage.ID).Open })
		if mine := a.exec(a.pi, "cat", "/root/mainsback"); mine == "" {
			a.t.Error("the owner's script did not run")
		}
		a.back(names()...)
		return fmt.Sprintf("called after %.1f s; nothing was shut down", seen.Seconds())
	})
}

// day is what a house sees: a cable and a machine's power are lost, and nodes go down as planned. The
// last incident is open at its end, with all back.
func (a *ansible) day() (open incident) {
	a.hears()
	cut := a.linkCut(a.desk)
	begin, calls := time.Now(), len(a.out.placed())
	off := a.powersOff(a.nas, "(networkd 257, through the Pi)") // while that incident calms down
	a.reboots(a.pve1, "(ifupdown, tailscaled)")
	a.staysOff(a.nas, off)
	a.plannedOnly(begin, calls)
	a.calm(cut)
	open = a.powerCut(a.pve1)
	a.brainReboots(open, a.pve1, "pi", "nas", "desk")
	begin, calls = time.Now(), len(a.out.placed())
	a.reboots(a.desk, "(NetworkManager, through the Pi)")
	a.plannedOnly(begin, calls)
	return open
}

// changes are two to cloud.yaml: one that is wrong and never gets there, and one that the running
// brain takes.
func (a *ansible) changes() {
	a.timed("a wrong cloud.yaml", func() string {
		before := a.exec(a.cloud, "cat", "/etc/sentinel/cloud.yaml")
		out, err := a.tryPlay("site.yml", firstVersion, "--limit=cloud", "-e", `{"house_silence": "1s"}`)
		if err == nil || !strings.Contains(out, "failure.silence") || a.exec(a.cloud, "cat", "/etc/sentinel/cloud.yaml") != before {
			a.t.Fatalf("it was taken: %s", out)
		}
		return "refused with the brain's own words, and the old one stays"
	})
	a.timed("a changed one", func() string {
		pid := a.exec(a.cloud, "systemctl", "show", "-P", "MainPID", "sentinel-cloud")
		a.play("site.yml", firstVersion, "--limit=cloud", "-e", `{"house_silence": "25s"}`)
		if now := a.exec(a.cloud, "systemctl", "show", "-P", "MainPID", "sentinel-cloud"); now != pid {
			a.t.Error("the brain was restarted for it")
		}
		if log := a.exec(a.cloud, "journalctl", "-q", "-o", "cat", "-u", "sentinel-cloud"); !strings.Contains(log, "key=failure.silence from=20s to=25s") {
			a.t.Errorf("the brain did not take it:\n%s", log)
		}
		return "taken by the running brain"
	})
}

// restart is a change for which the brain is restarted.
func (a *ansible) restart() {
	a.timed("one that needs a restart", func() string {
		pid := a.exec(a.cloud, "systemctl", "show", "-P", "MainPID", "sentinel-cloud")
		a.play("site.yml", firstVersion, "--limit=cloud", "-e", `{"house_silence": "25s", "house_log": "json"}`)
		if now := a.exec(a.cloud, "systemctl", "show", "-P", "MainPID", "sentinel-cloud"); now == pid {
			a.t.Error("the brain was not restarted for it")
		}
		a.back(names()...)
		return "the brain was restarted, and hears all again"
	})
}

// upgrade goes through all machines, one after the other, and nobody takes it for a failure.
func (a *ansible) upgrade() {
	a.timed("--tags upgrade", func() string {
		begin, calls := time.Now(), len(a.out.placed())
		out := a.play("site.yml", secondVersion, "--tags=upgrade")
		a.recap(out, func(r recap) bool { return r.failed == 0 && r.changed > 0 })
		for _, g := range []*guest.Guest{a.cloud, a.pi, a.pve1, a.nas, a.desk} {
			if version := a.exec(g, "dpkg-query", "-W", "-f", "${Package} ${Version}\n", "sentinel-*"); !strings.Contains(version, " "+secondVersion) {
				a.t.Errorf("%s has %s", g.Name, version)
			}
		}
		a.allUp()
		a.disarmed()
		a.quietSince(begin)
		v := a.now()
		for _, i := range v.Incidents {
			if i.Open || i.Since.After(begin) {
				a.t.Errorf("an incident: %+v\n%s", i, v)
			}
		}
		a.calls(calls)
		return "all upgraded, no call and no incident"
	})
}

// uninstall leaves the machines as they were, but for apcupsd's limits.
func (a *ansible) uninstall() {
	a.timed("one node removed", func() string {
		begin := time.Now()
		a.play("uninstall.yml", secondVersion, "--limit=desk", "-e", "sentinel_uninstall=yes")
		a.await("the brain forgets it", patience, func(s *status) bool { return s.source("desk").Name == "" })
		a.quietSince(begin)
		return "the brain forgot it"
	})
	a.timed("uninstalled", func() string {
		calls := len(a.out.placed())
		a.play("uninstall.yml", secondVersion, "-e", "sentinel_uninstall=yes")
		if left := a.traces(); left != "" {
			a.t.Errorf("this is left:\n%s", left)
		}
		if script := a.exec(a.pi, "cat", "/etc/apcupsd/mainsback"); script != ownScript {
			a.t.Errorf("the owner's script is\n%s", script)
		}
		a.exec(a.pi, "systemctl", "is-active", "apcupsd")
		a.calls(calls)
		return "nothing is left, and apcupsd runs"
	})
}

// traces are what the sentinel has on the machines.
func (a *ansible) traces() string {
	a.t.Helper()
	var all strings.Builder
	for _, g := range []*guest.Guest{a.cloud, a.pi, a.pve1, a.nas, a.desk} {
		out := a.exec(g, "sh", "-c", `find / -xdev \( -path /proc -o -path /sys -o -path /var/log \) -prune -o -name '*sentinel*' -print
grep -l sentinel /etc/passwd /etc/group /etc/apcupsd/* 2>/dev/null
systemctl list-units --all --no-legend 'sentinel*'; true`)
		if out != "" {
			fmt.Fprintf(&all, "%s:\n%s", g.Name, out)
		}
	}
	return all.String()
}

// recap is how a machine came through a playbook.
type recap struct{ changed, failed int }

var recapLine = regexp.MustCompile(`(?m)^(\w+) +: ok=\d+ +changed=(\d+) +unreachable=(\d+) +failed=(\d+) `)

// recap wants the same of each machine of the house.
func (a *ansible) recap(out string, ok func(r recap) bool) {
	a.t.Helper()
	seen := 0
	for _, m := range recapLine.FindAllStringSubmatch(out, -1) {
		var r recap
		var unreachable int
		if _, err := fmt.Sscan(m[2]+" "+m[3]+" "+m[4], &r.changed, &unreachable, &r.failed); err != nil {
			a.t.Fatal(err)
		}
		r.failed += unreachable
		if seen++; !ok(r) {
			a.t.Errorf("%s changed %d and failed %d:\n%s", m[1], r.changed, r.failed, out)
		}
	}
	if seen != 5 {
		a.t.Errorf("%d machines instead of 5:\n%s", seen, out)
	}
}

// noSecrets wants none in what was printed or logged.
func (a *ansible) noSecrets(out string) {
	a.t.Helper()
	logs := out
	for _, g := range []*guest.Guest{a.cloud, a.pi} {
		logs += a.exec(g, "journalctl", "-q", "-o", "cat")
	}
	for _, secret := range []string{apiSecret, tailnetKey, otherSecret} {
		if strings.Contains(logs, secret) {
			a.t.Errorf("the secret %s was printed or logged", secret)
		}
	}
	if got := a.exec(a.pi, "cat", "/etc/sentinel/sentinel-pi.secrets/twilio-secret"); got != apiSecret+"\n" {
		a.t.Errorf("the Pi's secret is %q", got)
	}
}
