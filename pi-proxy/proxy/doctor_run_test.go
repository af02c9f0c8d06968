package proxy_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sentinel.home.arpa/pi-proxy/proxy"
	"sentinel.home.arpa/shared/doctor"
	"sentinel.home.arpa/shared/shutdown"
	"sentinel.home.arpa/shared/sim/pvesim"
)

// TestDoctor looks a Pi over that runs: its brain, its UPS and a node of its plan are simulated.
// The node is asked, and not while the power is out; nothing is told to it.
func TestDoctor(t *testing.T) {
	h := newHouse(t)
	r := newRack(t, pvesim.NodeConfig{Name: "pve1"})
	dir := t.TempDir()
	put := func(name, text string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	put("systemctl", `#!/bin/sh
for u in sentinel-pi.service sentinel-pi-root.socket apcupsd.service; do
printf 'Id=%s\nLoadState=loaded\nActiveState=active\nUnitFileState=enabled\nAfter=network.target apcupsd.service sentinel-pi-root.socket\nBefore=sentinel-node.service\n\n' "$u"
done
`, 0o755)
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	put("apcupsd.conf", "NETSERVER on\nPOLLTIME 1\n", 0o644)
	for _, event := range []string{"powerout", "mainsback", "onbattery", "offbattery", "doshutdown"} {
		put(event, "#!/bin/sh\n/usr/bin/sentinel-pi event "+event+"\n", 0o755)
	}
	path := put("pi.yaml", fmt.Sprintf("name: pi\nstate_dir: %s\ncontrol_socket: %s\nlan: {listen: %q}\nbrains: [{address: %q, key: %q}]\nups: [{name: rack, nis: %q}]\n",
		h.cfg.StateDir, h.cfg.ControlSocket, h.cfg.LAN.Listen, h.brain.addr, h.brain.key.PublicKey(), h.cfg.UPS[0].NIS), 0o600)
	examine := func() string {
		screen := doctor.Screen(proxy.Examine(t.Context(), path, false, dir))
		lines := strings.Split(strings.TrimSuffix(screen, "\n"), "\n")
		for _, l := range lines {
			if len(lines) > 23 || len([]rune(l)) > 80 {
				t.Errorf("no screen:\n%s", screen)
			}
		}
		return screen
	}
	wants := func(what string, wants ...string) {
		t.Helper()
		screen := examine()
		for _, want := range wants {
			if !strings.Contains(strings.Join(strings.Fields(screen), " "), want) {
				t.Errorf("%s: no %q in\n%s", what, want, screen)
			}
		}
	}

	wants("before it runs", "wrong Pi: the Pi cannot be reached", "ok sentinel-pi:", "look UPS rack: apcupsd would shut the Pi down before the plan's end: with 3 min left", "MINUTES 1")
	h.brain.storedHash(h.begin(h.bundle(r, shutdown.Stage{Nodes: []string{"pve1"}, Deadline: time.Minute})))
	wants("with a plan", "ok brain: it answers", "ok plan: held, and armed", "ok secrets:", "look calls:", "ok apcupsd's scripts:")
	if screen := examine(); !strings.Contains(screen, "ok     Proxmox") || strings.Contains(screen, "wrong  ") {
		t.Errorf("the node was not reached:\n%s", screen)
	}
	if got := r.commands(); len(got) > 0 {
		t.Errorf("told %q", got)
	}
	h.silence(false)
	h.ups.Plug(false)
	eventually(t, "the outage is seen", func() bool {
		return strings.Contains(examine(), "it was not asked: the power is out")
	})
}
