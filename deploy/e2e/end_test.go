//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"sentinel.home.arpa/deploy/e2e/internal/guest"
	"sentinel.home.arpa/deploy/e2e/internal/layers"
	"sentinel.home.arpa/deploy/e2e/internal/network"
	"sentinel.home.arpa/shared/wire"
)

// loneBundle is an armed plan whose one machine is not there, and is given 3 s; the policy's
// times are out of the way of apcupsd's.
const loneBundle = `{"site": "home", "armed": true, "keys": {}, "token_id": "sentinel@pve!power", "token_secret": "/etc/sentinel/proxmox-secret",
"policy": {"ride_through": 600000000000, "low_for": 600000000000, "lost_for": 600000000000, "runtime_margin": 0, "charge_floor": 0},
"plan": {"site": "home", "nodes": [{"name": "pve1", "api": "https://10.77.0.99:8006"}], "stages": [{"nodes": ["pve1"], "deadline": 3000000000}]}}`

// lonePi is its configuration: of a brain that is not there, and of its UPS.
const lonePi = "name: lone\nsite: home\nbrains: [{address: \"127.0.0.1:9\", key: %q}]\nups: [{name: ups, nis: \"127.0.0.1:3551\", cut_output: %t}]\n"

// newLonePi makes a Pi that guards by itself, with the distribution's own apcupsd and its
// scripts as they are installed: what they do to a machine is done to this one. No machine of
// its plan is there, so that plan is through after its one deadline.
func (s *story) newLonePi() *guest.Guest {
	var bundle wire.Bundle
	err := json.Unmarshal([]byte(loneBundle), &bundle)
	if err != nil {
		s.t.Fatal(err)
	}
	hash, err := bundle.Hash()
	if err != nil {
		s.t.Fatal(err)
	}
	stored, err := json.Marshal(map[string]any{"hash": hash, "bundle": bundle})
	if err != nil {
		s.t.Fatal(err)
	}
	brain, err := wire.NewKey()
	if err != nil {
		s.t.Fatal(err)
	}
	config := fmt.Sprintf(lonePi, brain.PublicKey(), false)
	files := append(static("10.77.0.14", routerLAN), s.program("sentinel-pi", "sentinel-pi", config,
		"sentinel-pi.service", "sentinel-pi-root.socket", "sentinel-pi-root@.service")...)
	files = append(files, guest.File{Path: "/usr/lib/sysusers.d/sentinel-pi.conf", From: "../systemd/sysusers.d/sentinel-pi.conf"},
		guest.File{Path: "/etc/sentinel/proxmox-secret", Text: "none\n", Mode: 0o644},
		guest.File{Path: "/var/lib/sentinel-pi/bundle.json", Text: string(stored), Mode: 0o644},
		guest.File{Path: "/usr/bin/upsline", From: filepath.Join(s.bin, "upsline"), Mode: 0o755},
		guest.File{Path: "/usr/lib/systemd/system/upsline.service", Text: upslineUnit}, guest.Enable("upsline.service", "multi-user.target"),
		guest.File{Path: "/etc/apcupsd/apcupsd.conf", Text: strings.Replace(apcupsdConf, "/etc/upsline", "/etc/apcupsd", 1)},
		guest.File{Path: "/etc/apcupsd/doshutdown", From: "../apcupsd/doshutdown", Mode: 0o755},
		guest.File{Path: "/etc/default/apcupsd", Text: "ISCONFIGURED=yes\n"})
	return s.machine(guest.Spec{Name: "lone", Lower: s.lower(layers.Bookworm(), "apcupsd"), Bridge: network.LAN, Files: files})
}

// piEnds is the end of a Pi on an empty battery (rules G4, G7): it goes when its plan is
// through, and its UPS's output only where the battery is flat.
func (s *story) piEnds() {
	ends := func(words ...[]string) {
		s.on(s.lone)
		s.until("the Pi hears its UPS", patience, func() bool {
			out, err := s.try(s.lone, "journalctl", "-b", "-q", "-o", "cat", "-u", "sentinel-pi", "-g", "supply=mains")
			return err == nil && out != ""
		})
		for _, w := range words {
			s.exec(s.lone, append([]string{"/usr/bin/upsline"}, w...)...)
		}
		select {
		case <-s.lone.Off():
		case <-time.After(patience):
			s.t.Fatal("the Pi does not switch itself off")
		}
	}
	powerfail := func() bool { _, err := os.Stat(s.lone.Disk("/etc/apcupsd/powerfail")); return err == nil }
	killpower := func() bool { // the simulated unit is gone by then, as all programs are
		console, err := os.ReadFile(s.lone.Console())
		return err == nil && strings.Contains(string(console), "Unable to open UPS device for hibernate or shutdown")
	}
	s.timed("low battery at the Pi itself (G7)", func() string {
		ends([]string{"unplug"}, []string{"low"})
		if powerfail() || killpower() {
			s.t.Fatal("the UPS would cut its output")
		}
		return "off after its plan, and the UPS keeps its output"
	})
	s.timed("the same with a flat one, and told to (G4)", func() string {
		path := s.lone.Disk("/etc/sentinel/pi.yaml")
		config, err := os.ReadFile(path)
		if err == nil {
			err = os.WriteFile(path, []byte(strings.Replace(string(config), "cut_output: false", "cut_output: true", 1)), 0o644)
		}
		if err != nil {
			s.t.Fatal(err)
		}
		ends([]string{"charge", "3"}, []string{"runtime", "0s"}, []string{"unplug"}, []string{"low"})
		if !powerfail() {
			s.t.Fatal("the UPS would keep its output")
		}
		if !killpower() {
			s.t.Fatal("apcupsd was not told at the end to cut the output")
		}
		return "off, and apcupsd is told to cut the output as the last thing"
	})
}
