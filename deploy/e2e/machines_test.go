//go:build e2e

package e2e

import (
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"sentinel.home.arpa/deploy/e2e/internal/guest"
	"sentinel.home.arpa/deploy/e2e/internal/layers"
	"sentinel.home.arpa/deploy/e2e/internal/network"
)

// Addresses of the machines that have one of their own.
const (
	routerLAN = "10.77.0.1"
	piLAN     = "10.77.0.2"
	cloudInet = "203.0.113.10"
)

// wan is the router's way to the internet, as the network has it.
const wan = "vx-wan"

// callAfter is N8's minute, made short.
const callAfter = 15 * time.Second

// networkd is what a machine needs to have systemd-networkd bring its network up.
func networkd(text string) []guest.File {
	return []guest.File{
		guest.Enable("systemd-networkd.service", "multi-user.target"),
		guest.Enable("systemd-networkd.socket", "sockets.target"),
		guest.Enable("systemd-networkd-wait-online.service", "network-online.target"),
		{Path: "/etc/systemd/network/10-lan.network", Text: "[Match]\nName=host0\n\n" + text},
	}
}

// static is systemd-networkd's network with an address.
func static(addr, gateway string) []guest.File {
	return networkd(fmt.Sprintf("[Network]\nAddress=%s/24\nGateway=%s\nLinkLocalAddressing=no\nIPv6AcceptRA=no\n", addr, gateway))
}

// program is a program with its units and configuration, enabled.
func (h *house) program(name, binary, config string, units ...string) []guest.File {
	files := []guest.File{
		{Path: "/usr/bin/" + name, From: filepath.Join(h.bin, binary), Mode: 0o755},
		{Path: "/etc/sentinel/" + strings.TrimPrefix(name, "sentinel-") + ".yaml", Text: config},
	}
	for _, unit := range units {
		files = append(files, guest.File{Path: "/usr/lib/systemd/system/" + unit, From: "../systemd/" + unit})
		switch {
		case strings.HasSuffix(unit, ".socket"):
			files = append(files, guest.Enable(unit, "sockets.target"))
		case !strings.Contains(unit, "@"):
			files = append(files, guest.Enable(unit, "multi-user.target"))
		}
	}
	return files
}

// newRouter makes the router: it hands addresses out on the LAN, and is the way out.
func (h *house) newRouter() *guest.Guest {
	files := networkd("[Network]\nAddress=" + routerLAN + "/24\nDHCPServer=yes\nIPForward=yes\nLinkLocalAddressing=no\n\n" +
		"[DHCPServer]\nPoolOffset=100\nPoolSize=50\nEmitDNS=no\nEmitNTP=no\n")
	files = append(files, guest.File{Path: "/etc/systemd/network/20-wan.network",
		Text: "[Match]\nName=wan\n\n[Network]\nAddress=" + network.Gateway + "/24\nIPForward=yes\nLinkLocalAddressing=no\n"})
	return h.machine(guest.Spec{Name: "router", Lower: h.lower(layers.Bookworm()), Bridge: network.LAN, Files: files,
		Args: []string{"--network-veth-extra=" + wan + ":wan"}})
}

// connect joins the router to the internet.
func (h *house) connect() {
	h.t.Helper()
	if err := h.net.Join(h.ctx, wan, network.Internet); err != nil {
		h.t.Fatal(err)
	}
}

// newCloud makes the brain's machine. plan is the end of its configuration, nodes are lines of it.
func (h *house) newCloud(plan string, nodes ...string) *guest.Guest {
	config := fmt.Sprintf(`tailnet: {hostname: sentinel, control_url: %q}
anchors: [%q, %q]
sites:
  - name: home
    pi_proxies: [pi]
    nodes: [%s]
contacts:
  - {name: %s, phone: %q}
calls: {per_hour: 60, other_per_hour: 60}
twilio:
  account_sid: %s
  api_key_sid: %s
  api_key_secret_file: twilio-secret
  from: %q
  api_url: %s
internet: {call_after: %s}
%s`, h.out.Control, h.out.Anchors[0], h.out.Anchors[1], strings.Join(nodes, ", "), person, personPhone, account, apiKey, fromPhone, h.out.Twilio, callAfter, plan)
	files := append(static(cloudInet, network.Gateway), h.program("sentinel-cloud", "sentinel-cloud", config, "sentinel-cloud.service")...)
	files = append(files,
		guest.File{Path: "/usr/lib/sysusers.d/sentinel-cloud.conf", From: "../systemd/sysusers.d/sentinel-cloud.conf"},
		guest.File{Path: "/etc/sentinel/twilio-secret", Text: apiSecret + "\n", Mode: 0o600},
		guest.File{Path: "/etc/systemd/system/sentinel-cloud.service.d/secrets.conf", Text: "[Service]\nLoadCredential=twilio-secret:/etc/sentinel/twilio-secret\n"})
	return h.machine(guest.Spec{Name: "cloud", Lower: h.lower(layers.Bookworm()), Bridge: network.Internet, Files: files})
}

const apcupsdConf = `## apcupsd.conf v1.1 ##
UPSNAME sim
UPSCABLE smart
UPSTYPE apcsmart
DEVICE /run/upsline/tty
SCRIPTDIR /etc/upsline
POLLTIME 1
ONBATTERYDELAY 6
BATTERYLEVEL 5
MINUTES 3
TIMEOUT 0
NETSERVER on
NISIP 127.0.0.1
NISPORT 3551
UPSCLASS standalone
UPSMODE disable
`

// The packaged default would shut the machine down.
const apccontrol = `#!/bin/sh
/usr/bin/sentinel-pi event "$1"
exit 0
`

const upslineUnit = `[Unit]
Description=A UPS at the end of a serial line
Before=apcupsd.service
[Service]
Type=notify
ExecStart=/usr/bin/upsline
[Install]
WantedBy=multi-user.target
`

// newPi makes the Pi, with the real apcupsd on a simulated unit.
func (h *house) newPi() *guest.Guest {
	config := fmt.Sprintf("site: home\ntailnet: {control_url: %q}\n", h.out.Control)
	files := append(static(piLAN, routerLAN), h.program("sentinel-pi", "sentinel-pi", config,
		"sentinel-pi.service", "sentinel-pi-root.socket", "sentinel-pi-root@.service")...)
	files = append(files, h.key("pi", "/var/lib/sentinel-pi"),
		guest.File{Path: "/usr/lib/sysusers.d/sentinel-pi.conf", From: "../systemd/sysusers.d/sentinel-pi.conf"},
		guest.File{Path: "/usr/bin/upsline", From: filepath.Join(h.bin, "upsline"), Mode: 0o755},
		guest.File{Path: "/usr/lib/systemd/system/upsline.service", Text: upslineUnit},
		guest.Enable("upsline.service", "multi-user.target"),
		guest.File{Path: "/etc/apcupsd/apcupsd.conf", Text: apcupsdConf},
		guest.File{Path: "/etc/default/apcupsd", Text: "ISCONFIGURED=yes\n"},
		guest.File{Path: "/etc/upsline/apccontrol", Text: apccontrol, Mode: 0o755})
	return h.machine(guest.Spec{Name: "pi", Lower: h.lower(layers.Bookworm(), "apcupsd"), Bridge: network.LAN, Files: files})
}

// ups tells the UPS what happens to it.
func (h *house) ups(words ...string) {
	h.t.Helper()
	h.exec(h.pi, append([]string{"/usr/bin/upsline"}, words...)...)
}

// agent is what makes a machine a node.
func (h *house) agent(binary, config string) []guest.File {
	return h.program("sentinel-node", binary, config, "sentinel-node.service", "sentinel-announce.service")
}

// throughPi is a node's configuration that reaches the brain through the Pi alone.
func (h *house) throughPi() string {
	return fmt.Sprintf("site: home\npi_proxies: [{name: pi, address: %q, key: %q}]\n", piLAN+":7777", h.keys["pi"])
}

// known is a node as the brain's configuration has it when it never meets the brain.
func (h *house) known(name string) string {
	return fmt.Sprintf("{name: %s, key: %q}", name, h.keys[name])
}

// What each network manager needs to give host0 an address.
func ifupdown(addr string) []guest.File {
	return []guest.File{{Path: "/etc/network/interfaces", Text: fmt.Sprintf(
		"auto lo\niface lo inet loopback\n\nauto host0\niface host0 inet static\n    address %s/24\n    gateway %s\n", addr, routerLAN)}}
}

func dhcp() []guest.File {
	return networkd("[Network]\nDHCP=ipv4\nLinkLocalAddressing=no\nIPv6AcceptRA=no\n")
}

const tailscaledUnit = `[Unit]
Description=Tailscale node agent
Wants=network-pre.target
After=network-pre.target NetworkManager.service systemd-resolved.service
[Service]
ExecStart=/usr/sbin/tailscaled --state=/var/lib/tailscale/tailscaled.state --socket=/run/tailscale/tailscaled.sock --port=41641 --no-logs-no-support
Restart=on-failure
RuntimeDirectory=tailscale
RuntimeDirectoryMode=0755
StateDirectory=tailscale
StateDirectoryMode=0700
Type=notify
[Install]
WantedBy=multi-user.target
`

// tailscale is the host's own tailscaled with its client.
func (h *house) tailscale() []guest.File {
	dir := h.tailscaled()
	return []guest.File{
		{Path: "/usr/sbin/tailscaled", From: filepath.Join(dir, "tailscaled"), Mode: 0o755},
		{Path: "/usr/bin/tailscale", From: filepath.Join(dir, "tailscale"), Mode: 0o755},
		{Path: "/usr/lib/systemd/system/tailscaled.service", Text: tailscaledUnit},
		guest.Enable("tailscaled.service", "multi-user.target"),
	}
}

// tunArgs let a machine have a tunnel.
func tunArgs() []string { return []string{"--bind=/dev/net/tun"} }

// joinTailnet makes a machine one of the tailnet, as a person would.
func (h *house) joinTailnet(g *guest.Guest) {
	h.t.Helper()
	h.exec(g, "tailscale", "up", "--login-server="+h.out.Control, "--hostname="+g.Name, "--advertise-tags=tag:sentinel-node",
		"--netfilter-mode=off", "--accept-dns=false", "--timeout=15s")
}
