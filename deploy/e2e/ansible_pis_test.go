//go:build e2e

package e2e

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sentinel.home.arpa/deploy/e2e/internal/guest"
	"sentinel.home.arpa/deploy/e2e/internal/layers"
	"sentinel.home.arpa/deploy/e2e/internal/network"
)

// TestAnsiblePis is a house with two Pis and a node whose agent is a machine of the tailnet by
// itself: what is no machine for the sentinel is refused, an upgrade waits for the end of an
// outage unless it is told not to, and one Pi does where the other is dead.
func TestAnsiblePis(t *testing.T) {
	h := openHouse(t)
	p := &pis{ansible: ansible{house: h}}
	p.tools()
	p.build()
	p.boot()
	p.refusals()
	p.install()
	p.upgrades()
	p.piDies()
	p.uninstall()
}

// pis is the house: shelf is a Pi without a UPS of its own, tower has no Tailscale but its
// agent's, and box reaches the brain through the Pis alone.
type pis struct {
	ansible
	shelf, tower, box *guest.Guest
}

// Addresses of the house's machines.
const (
	shelfLAN = "10.77.0.3"
	towerLAN = "10.77.0.14"
	boxLAN   = "10.77.0.15"
)

func (p *pis) build() {
	p.ssh = p.newKeyring()
	p.timed("packages", func() string {
		for _, version := range []string{firstVersion, secondVersion} {
			p.pack(version, "sentinel-node-tsnet")
		}
		return "built"
	})
	p.timed("layers", func() string {
		p.router = p.newRouter()
		cloud := append(static(cloudInet, network.Gateway), p.ssh.door("cloud", cloudInet)...)
		p.cloud = p.machine(guest.Spec{Name: "cloud", Lower: p.lower(layers.Bookworm(), managed()...), Bridge: network.Internet, Files: cloud})
		pi := append(static(piLAN, routerLAN), p.ssh.door("pi", piLAN)...)
		pi = append(pi, guest.File{Path: "/usr/bin/upsline", From: filepath.Join(p.bin, "upsline"), Mode: 0o755},
			guest.File{Path: "/usr/lib/systemd/system/upsline.service", Text: upslineUnit}, guest.Enable("upsline.service", "multi-user.target"))
		p.pi = p.machine(guest.Spec{Name: "pi", Lower: p.lower(layers.Bookworm(), managed("apcupsd")...), Bridge: network.LAN, Files: pi})
		plain := func(name, addr string) *guest.Guest {
			return p.machine(guest.Spec{Name: name, Lower: p.lower(layers.Bookworm(), managed()...), Bridge: network.LAN,
				Files: append(static(addr, routerLAN), p.ssh.door(name, addr)...)})
		}
		p.shelf, p.tower, p.box = plain("shelf", shelfLAN), plain("tower", towerLAN), plain("box", boxLAN)
		return "unpacked"
	})
}

// pisInventory has the second Pi and the node of the tailnet as ansible/inventory.example.yml
// has them.
const pisInventory = `all:
  vars:
    ansible_user: root
    ansible_ssh_private_key_file: %[1]s/controller
    ansible_ssh_common_args: -o UserKnownHostsFile=%[1]s/known -o StrictHostKeyChecking=yes -o IdentitiesOnly=yes
    sentinel_secrets: {twilio-secret: %[2]s}
    sentinel_cloud_auth_key: %[3]s
  children:
    brain:
      hosts:
        cloud: {ansible_host: %[4]s}
      vars:
        sentinel_cloud_config:
          tailnet: {hostname: sentinel, control_url: "%[5]s", auth_key_file: tailscale-auth-key}
          anchors: ["%[6]s", "%[7]s"]
          sites: [{name: home, pi_proxies: [pi, pi2], nodes: [tower, box]}]
          contacts: [{name: %[8]s, phone: "%[9]s"}]
          twilio: {account_sid: %[10]s, api_key_sid: %[11]s, api_key_secret_file: twilio-secret, from: "%[12]s", api_url: "%[13]s"}
          plan: [{hosts: [tower, box], deadline: 20s}]
    pis:
      hosts:
        pi:
          ansible_host: %[14]s
          sentinel_pi_auth_key: %[3]s
          sentinel_pi_config: {name: pi, tailnet: {control_url: "%[5]s", auth_key_file: tailscale-auth-key}}
          sentinel_apcupsd_ups: {UPSCABLE: smart, UPSTYPE: apcsmart, DEVICE: /run/upsline/tty, NISIP: 0.0.0.0}
        shelf:
          ansible_host: %[15]s
          sentinel_pi_auth_key: %[3]s
          sentinel_pi_config:
            name: pi2
            tailnet: {hostname: pi2, control_url: "%[5]s", auth_key_file: tailscale-auth-key}
            ups: [{name: ups, nis: "%[14]s:3551"}]
    nodes:
      hosts:
        tower: {ansible_host: %[16]s, sentinel_node_tsnet: true, sentinel_node_auth_key: %[3]s, sentinel_node_config: {tailnet: {control_url: "%[5]s"}}}
        box: {ansible_host: %[17]s, sentinel_lan_only: true}
`

func (p *pis) boot() {
	p.timed("machines", func() string {
		p.allOn()
		p.connect()
		p.write(fmt.Sprintf(pisInventory, p.ssh.dir, apiSecret, tailnetKey, cloudInet, p.out.Control, p.out.Anchors[0], p.out.Anchors[1],
			person, personPhone, account, apiKey, fromPhone, p.out.Twilio, piLAN, shelfLAN, towerLAN, boxLAN))
		p.reached()
		return "on, and reached over SSH"
	})
}

// refused wants a playbook to be refused with these words, and nothing to be changed by it.
func (p *pis) refused(words []string, version string, args ...string) {
	p.t.Helper()
	before := p.traces()
	out, err := p.tryPlay("site.yml", version, args...)
	if err == nil {
		p.t.Errorf("%q is not refused:\n%s", args, out)
	}
	for _, w := range words {
		if !strings.Contains(out, w) {
			p.t.Errorf("%q is refused without %q:\n%s", args, w, out)
		}
	}
	if after := p.traces(); after != before {
		p.t.Errorf("%q changed something:\n%s\nwas\n%s", args, after, before)
	}
}

// traces are what the sentinel has on the machines, by version.
func (p *pis) traces() string {
	p.t.Helper()
	var all strings.Builder
	for _, g := range []*guest.Guest{p.cloud, p.pi, p.shelf, p.tower, p.box} {
		fmt.Fprintf(&all, "%s: %s", g.Name, p.exec(g, "sh", "-c", "dpkg-query -W 'sentinel-*' 2>/dev/null; ls -A /etc/sentinel 2>/dev/null; true"))
	}
	return all.String()
}

// refusals are machines that are none for the sentinel, each named with what would be one.
func (p *pis) refusals() {
	p.timed("the wrong systems", func() string {
		own := p.exec(p.box, "cat", "/usr/lib/os-release")
		for g, release := range map[*guest.Guest]string{
			p.box:   `PRETTY_NAME="Debian GNU/Linux 11 (bullseye)" ID=debian VERSION_ID="11"`,
			p.tower: `PRETTY_NAME="Ubuntu 22.04.5 LTS" ID=ubuntu VERSION_ID="22.04"`,
			p.shelf: `PRETTY_NAME="Another 38" ID=another VERSION_ID=38`,
		} {
			p.exec(g, "sh", "-c", `printf '%s\n' "$0" >/usr/lib/os-release`, release)
		}
		p.exec(p.shelf, "sh", "-c", `printf '#!/bin/sh\necho "systemd 247 (247.3)"\n' >/usr/local/bin/systemctl; chmod 755 /usr/local/bin/systemctl`)
		p.refused([]string{"box runs Debian GNU/Linux 11 (bullseye)", "tower runs Ubuntu 22.04.5 LTS", "shelf runs Another 38",
			"Debian 12, Raspberry Pi OS 12, Proxmox VE 8 or Ubuntu 24.04 is the least"}, firstVersion)
		for _, g := range []*guest.Guest{p.box, p.tower, p.shelf} {
			p.exec(g, "sh", "-c", `printf '%s\n' "$0" >/usr/lib/os-release; rm -f /usr/local/bin/systemctl`, own)
		}
		return "refused before anything is done"
	})
	p.timed("an agent that cannot join the tailnet", func() string {
		p.refused([]string{"box has sentinel_lan_only: true"}, firstVersion, "-e", `{"sentinel_node_tsnet": true}`, "--limit=box")
		p.refused([]string{"no key to join the tailnet with", "host_vars/box/secrets.yml"}, firstVersion,
			"-e", `{"sentinel_node_tsnet": true, "sentinel_lan_only": false}`, "--limit=box")
		return "refused before anything is done"
	})
}

func (p *pis) install() {
	p.timed("installed", func() string {
		out := p.play("site.yml", firstVersion)
		if strings.Contains(out, tailnetKey) {
			p.t.Error("an auth key was printed")
		}
		v := p.back("pi", "pi2", "tower", "box")
		if len(v.Sites[0].UPSes) == 0 {
			p.t.Errorf("no UPS is seen:\n%s", v)
		}
		if has := p.exec(p.tower, "dpkg-query", "-W", "-f", "${Package} ${db:Status-Abbrev}\n", "sentinel-*"); !strings.Contains(has, "sentinel-node-tsnet ii") {
			p.t.Errorf("tower has %s", has)
		}
		if _, err := p.try(p.shelf, "test", "-e", "/etc/apcupsd"); err == nil {
			p.t.Error("the Pi without a UPS got an apcupsd")
		}
		pis := p.exec(p.box, "cat", "/etc/sentinel/node.yaml")
		for _, addr := range []string{piLAN + ":7777", shelfLAN + ":7777"} {
			if !strings.Contains(pis, addr) {
				p.t.Errorf("box is not told of %s:\n%s", addr, pis)
			}
		}
		p.reads("mains")
		return "all up; both Pis read the UPS"
	})
	p.timed("run again", func() string {
		out := p.play("site.yml", firstVersion, "--limit=shelf,tower")
		if strings.Count(out, "changed=0 ") != 2 {
			p.t.Errorf("something was changed:\n%s", out)
		}
		return "changed=0 on both"
	})
}

// reads waits until the second Pi has read from the first one's apcupsd how the UPS is fed.
func (p *pis) reads(supply string) {
	p.t.Helper()
	p.until("the second Pi reads "+supply, patience, func() bool {
		out, err := p.try(p.shelf, "journalctl", "-q", "-o", "cat", "-u", "sentinel-pi")
		return err == nil && strings.Contains(out, "msg=ups ups=ups supply="+supply)
	})
}

// upgrades: none in an outage, but for who asks for it by name.
func (p *pis) upgrades() {
	var outage incident
	p.timed("--tags upgrade in a power cut", func() string {
		p.ups("unplug")
		v := p.await("an outage", patience, func(v *status) bool { _, ok := v.open("power_outage"); return ok })
		outage, _ = v.open("power_outage")
		p.reads("battery")
		p.refused([]string{"The power is out at pi. Nothing was changed", "sentinel_despite_incident=true"}, secondVersion, "--tags=upgrade")
		p.refused([]string{"Power outage at home: cloud was not upgraded", "sentinel_despite_incident=true"}, secondVersion, "--tags=upgrade", "--limit=cloud")
		p.refused([]string{"Power outage at home: tower was not upgraded"}, secondVersion, "--tags=upgrade", "--limit=tower")
		return "refused, with how to go on anyway"
	})
	p.timed("and all the same", func() string {
		begin, calls := time.Now(), len(p.out.placed())
		p.play("site.yml", secondVersion, "--tags=upgrade", "-e", "sentinel_despite_incident=true")
		if has := p.traces(); strings.Contains(has, firstVersion) {
			p.t.Errorf("not all are upgraded:\n%s", has)
		}
		v := p.back("pi", "pi2", "tower", "box")
		if !v.incident(outage.ID).Open {
			p.t.Errorf("the outage ended while the power is out:\n%s", v)
		}
		for _, i := range v.Incidents {
			if i.ID != outage.ID && (i.Open || i.Since.After(begin)) {
				p.t.Errorf("an upgrade in an outage led to another incident: %+v\n%s", i, v)
			}
		}
		p.quietSince(begin)
		p.calls(calls)
		p.ups("plug")
		return "upgraded; the outage is still the same one"
	})
}

// piDies: who reached the brain through one Pi reaches it through the other.
func (p *pis) piDies() {
	p.timed("the first Pi loses its power", func() string {
		at := time.Now()
		if err := p.pi.PowerCut(p.ctx); err != nil {
			p.t.Fatal(err)
		}
		p.await("22 s through the other Pi", patience, func(v *status) bool {
			return time.Since(at) > 22*time.Second && v.up(time.Now().Add(-beat), "pi2", "tower", "box")
		})
		v := p.now()
		if i, ok := v.open("node_failure"); ok {
			p.t.Errorf("a node failed with the Pi: %+v", i)
		}
		return "the nodes stay up through the other"
	})
}

// uninstall takes the second Pi and the node of the tailnet away again.
func (p *pis) uninstall() {
	p.timed("both removed", func() string {
		p.play("uninstall.yml", secondVersion, "--limit=shelf,tower", "-e", "sentinel_uninstall=yes")
		for _, g := range []*guest.Guest{p.shelf, p.tower} {
			if left := p.exec(g, "sh", "-c", "dpkg-query -W 'sentinel-*' 2>/dev/null; ls -d /etc/sentinel /var/lib/sentinel-* 2>/dev/null; true"); left != "" {
				p.t.Errorf("%s has %s", g.Name, left)
			}
		}
		p.await("the brain forgets them", patience, func(v *status) bool {
			for _, name := range []string{"pi2", "tower"} {
				if src := v.source(name); src.Name != "" && src.Heard {
					return false
				}
			}
			return true
		})
		return "nothing is left"
	})
}
