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
	authToken   = "0123456789abcdef0123456789abcdef"
)

// Nodes are the names of the cluster's nodes; the plan takes the first down last.
func Nodes() []string { return []string{"pve1", "pve2", "pve3"} }

// names are the nodes of this home.
func (h *Home) names() []string { return slices.Clone(h.opts.Nodes) }

// keys are the programs' keys: made before they start, as without a tailnet the
// configuration must name them.
type keys struct {
	brain wire.PublicKey
	of    map[string]wire.PublicKey // Pis and agents
}

func (h *Home) makeKeys() (keys, error) {
	k := keys{of: map[string]wire.PublicKey{}}
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
	for _, n := range append(h.agents(), h.pis()...) {
		if k.of[n], err = load(n); err != nil {
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
	secrets := map[string]string{"twilio-secret": h.opts.TwilioSecret, "proxmox-secret": h.opts.ProxmoxSecret, "twilio-auth-token": authToken}
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
	limits := "per_hour: 60, other_per_hour: 60" // who plays has in minutes what a home has in years, and wants each call
	if h.opts.UsualCalls {
		limits = ""
	}
	keypad, token := h.keypad()
	text += fmt.Sprintf(`contacts:
  - {name: %s, phone: %q, notices: ["ntfy://%s/home?scheme=http"]}
calls: {%s}
twilio:
  account_sid: %s
  api_key_sid: %s
  api_key_secret_file: twilio-secret
  from: %q
  api_url: %s
%sproxmox:
  token_id: %s
  token_secret_file: proxmox-secret
plan:
%s  - guests: all
    deadline: %s
`, person, personPhone, h.ntfy, strings.Trim(limits+", "+keypad, ", "), h.opts.TwilioAccount, h.opts.TwilioKey, fromPhone, h.twilioURL, token, h.opts.ProxmoxToken, h.hostStage(), h.opts.GuestsWithin)
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
	text += fmt.Sprintf("plan_on: [%s]\n", strings.Join(h.opts.PlanOn, ", "))
	if h.opts.InternetAfter > 0 {
		text += fmt.Sprintf("internet: {plan_after: %s}\n", h.opts.InternetAfter)
	}
	return text
}

// sites is where the brain meets its site. On the tailnet nobody's key is configured.
func (h *Home) sites(k keys) string {
	text := fmt.Sprintf("listen: %s\n", h.page)
	if h.overlay != nil {
		text = h.onTailnet(brainName, h.overlay.sim.URL())
	}
	key := func(who string) string {
		if h.overlay != nil {
			return ""
		}
		return fmt.Sprintf(", key: %q", k.of[who])
	}
	text += fmt.Sprintf("sites:\n  - name: %s\n    pi_proxies:\n", site)
	for _, s := range h.supplies {
		relay := ""
		if l := h.links[relayOf(s.Pi)]; l != nil {
			relay = fmt.Sprintf(", relay: %q", l.Addr())
		}
		text += fmt.Sprintf("      - {name: %s, address: %q%s%s}\n", s.Pi, s.lan, relay, key(s.Pi))
	}
	text += "    nodes:\n"
	for _, n := range h.agents() {
		text += fmt.Sprintf("      - {name: %s%s}\n", n, key(n))
	}
	return text + h.wiring()
}

func (h *Home) brainSocket() string { return filepath.Join(h.dirOf("brain"), "control.sock") }

func (h *Home) nodeConfig(k keys, n string) string {
	way := ""
	if h.overlay != nil { // the brain will name the Pi
		way = h.onTailnet(n, h.controlURL()) + fmt.Sprintf("control_socket: %s\n", filepath.Join(h.dirOf(n), "control.sock"))
	} else {
		way = fmt.Sprintf("brains: [{address: %q, key: %q}]\npi_proxies:\n", h.links[n].Addr(), k.brain)
		for _, s := range h.supplies {
			way += fmt.Sprintf("  - {name: %s, address: %q, key: %q}\n", s.Pi, s.lan, k.of[s.Pi])
		}
	}
	return way + fmt.Sprintf(`name: %s
site: %s
state_dir: %s
boot_id_file: %s
logind: %s
log: {level: info, format: json}
`, n, site, h.dirOf(n), filepath.Join(h.dirOf(n), "boot_id"), h.logind(n))
}
