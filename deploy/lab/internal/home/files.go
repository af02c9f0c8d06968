package home

import (
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"sentinel.home.arpa/shared/wire"
)

// Names and numbers of the lab.
const (
	site        = "home"
	piName      = "pi"
	person      = "Alex"
	personPhone = "+15550100100"
	fromPhone   = "+15005550006"
	tokenID     = "sentinel@pve!shutdown"
	accountSID  = "AC0123456789abcdef0123456789abcdef"
	keySID      = "SK0123456789abcdef0123456789abcdef"
)

// Nodes are the names of the cluster's nodes; the plan takes the first down last.
func Nodes() []string { return []string{"pve1", "pve2", "pve3"} }

// names are the nodes of this home.
func (h *Home) names() []string { return slices.Clone(h.opts.Nodes) }

// keys are the programs' keys: made before they start, as without a tailnet the
// configuration must name them.
type keys struct {
	brain, pi wire.PublicKey
	nodes     map[string]wire.PublicKey
}

func (h *Home) makeKeys() (keys, error) {
	k := keys{nodes: map[string]wire.PublicKey{}}
	load := func(who string) (wire.PublicKey, error) {
		dir := h.dirOf(who)
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return "", err
		}
		key, err := wire.LoadKey(dir)
		if err != nil {
			return "", err
		}
		return key.PublicKey(), nil
	}
	var err error
	if k.brain, err = load("brain"); err != nil {
		return k, err
	}
	if k.pi, err = load(piName); err != nil {
		return k, err
	}
	for _, n := range h.agents() {
		if k.nodes[n], err = load(n); err != nil {
			return k, err
		}
	}
	return k, nil
}

func (h *Home) dirOf(who string) string { return filepath.Join(h.dir, who) }

// newBoot gives a machine a new boot id, as booting does.
func (h *Home) newBoot(who string) error {
	var b [16]byte
	if _, err := rand.Read(b[:]); err != nil {
		return err
	}
	id := fmt.Sprintf("%x-%x-%x-%x-%x\n", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
	return os.WriteFile(filepath.Join(h.dirOf(who), "boot_id"), []byte(id), 0o600)
}

// writeSecrets puts the programs' credentials into one directory, but for a brain with a
// secret of its own.
func (h *Home) writeSecrets() error {
	dir := h.dirOf("credentials")
	secrets := map[string]string{"twilio-secret": h.opts.TwilioSecret, "proxmox-secret": h.opts.ProxmoxSecret}
	if err := put(dir, secrets); err != nil || !h.opts.Revocable {
		return err
	}
	return put(h.credentialsOf("brain"), secrets)
}

// Revoke has Proxmox not know the brain's token any more, while it knows the Pi's.
func (h *Home) Revoke() error {
	h.say("lab", "the brain's token is revoked")
	return put(h.credentialsOf("brain"), map[string]string{"proxmox-secret": "revoked-0000-0000-0000-000000000000"})
}

// put writes what systemd would hand over as credentials.
func put(dir string, secrets map[string]string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	for name, text := range secrets {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text+"\n"), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// credentialsOf is the directory of a program's credentials.
func (h *Home) credentialsOf(who string) string {
	if who == "brain" && h.opts.Revocable {
		return h.dirOf("brain-credentials")
	}
	return h.dirOf("credentials")
}

func (h *Home) brainConfig(k keys) string {
	text := fmt.Sprintf(`state_dir: %s
boot_id_file: %s
control_socket: %s
log: {level: info, format: json}
anchors: [%q, %q]
`, h.dirOf("brain"), filepath.Join(h.dirOf("brain"), "boot_id"), h.brainSocket(), h.anchors[0].Addr(), h.anchors[1].Addr()) + h.sites(k)
	text += fmt.Sprintf(`contacts:
  - {name: %s, phone: %q}
twilio:
  account_sid: %s
  api_key_sid: %s
  api_key_secret_file: twilio-secret
  from: %q
  api_url: %s
proxmox:
  token_id: %s
  token_secret_file: proxmox-secret
plan:
%s  - guests: all
    deadline: %s
`, person, personPhone, h.opts.TwilioAccount, h.opts.TwilioKey, fromPhone, h.twilioURL, h.opts.ProxmoxToken, h.hostStage(), h.opts.GuestsWithin)
	if h.opts.Direct {
		text = strings.Replace(text, "proxmox:\n", "proxmox:\n  via: direct\n", 1)
	}
	for _, stage := range [][]string{h.opts.Nodes[1:], h.opts.Nodes[:1]} {
		text += "  - nodes:\n"
		for _, n := range stage {
			text += fmt.Sprintf("      %s: {api: %q, fingerprint: %q}\n", n, h.pve[n].url, h.pve[n].fingerprint)
		}
		text += fmt.Sprintf("    deadline: %s\n", h.opts.NodesWithin)
	}
	return text
}

// sites is where the brain meets its site. On the tailnet nobody's key is configured.
func (h *Home) sites(k keys) string {
	if h.overlay != nil {
		text := h.onTailnet(brainName, h.overlay.sim.URL()) + fmt.Sprintf("sites:\n  - name: %s\n    pi_proxies: [{name: %s, address: %q}]\n    nodes:\n",
			site, piName, h.piAddr)
		for _, n := range h.agents() {
			text += fmt.Sprintf("      - {name: %s}\n", n)
		}
		return text
	}
	text := fmt.Sprintf("listen: %s\nsites:\n  - name: %s\n    pi_proxies: [{name: %s, address: %q, relay: %q, key: %q}]\n    nodes:\n",
		h.page, site, piName, h.piAddr, h.links["relay"].Addr(), k.pi)
	for _, n := range h.agents() {
		text += fmt.Sprintf("      - {name: %s, key: %q}\n", n, k.nodes[n])
	}
	return text
}

func (h *Home) brainSocket() string { return filepath.Join(h.dirOf("brain"), "control.sock") }

func (h *Home) piConfig(k keys) string {
	way := ""
	if h.overlay != nil {
		way = h.onTailnet(piName, h.controlURL())
	} else {
		way = fmt.Sprintf("brains: [{address: %q, key: %q}]\n", h.links[piName].Addr(), k.brain)
	}
	return way + fmt.Sprintf(`name: %s
site: %s
state_dir: %s
boot_id_file: %s
control_socket: %s
log: {level: info, format: json}
lan: {listen: %q}
ups: [{name: ups, nis: %q}]
anchors: [%q, %q]
halt: false # it is no machine of its own
`, piName, site, h.dirOf(piName), filepath.Join(h.dirOf(piName), "boot_id"), h.piSocket(), h.piAddr, h.nisAddr, h.wayOut.addrs[0], h.wayOut.addrs[1])
}

func (h *Home) piSocket() string { return filepath.Join(h.dirOf(piName), "control.sock") }

func (h *Home) nodeConfig(k keys, n string) string {
	way := ""
	if h.overlay != nil { // the brain will name the Pi
		way = h.onTailnet(n, h.controlURL()) + fmt.Sprintf("control_socket: %s\n", filepath.Join(h.dirOf(n), "control.sock"))
	} else {
		way = fmt.Sprintf("brains: [{address: %q, key: %q}]\npi_proxies: [{name: %s, address: %q, key: %q}]\n",
			h.links[n].Addr(), k.brain, piName, h.piAddr, k.pi)
	}
	return way + fmt.Sprintf(`name: %s
site: %s
state_dir: %s
boot_id_file: %s
logind: %s
log: {level: info, format: json}
`, n, site, h.dirOf(n), filepath.Join(h.dirOf(n), "boot_id"), h.logind(n))
}
