package setup

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Names of the credentials that the configuration refers to.
const (
	authKey       = "tailscale-auth-key"
	twilioSecret  = "twilio-secret"
	proxmoxSecret = "proxmox-secret"
)

// yaml is the configuration.
func (a *answers) yaml() string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("# The brain's configuration. `sentinel-cloud check-config` says what is wrong with it, by line;")
	line("# all keys are in docs/configuration.md. Secrets are named, never written: a bare name is a")
	line("# systemd credential.")
	line("")
	line("# How the brain joins the tailnet.")
	line("tailnet:")
	line("  auth_key_file: %s", authKey)
	line("")
	line("# The nodes appear by themselves; name those that are expected under nodes: [pve1, pve2].")
	line("sites:")
	line("  - name: %s", a.Site)
	line("    time_zone: %s", a.Zone)
	line("    pi_proxies: [%s]", a.Pi)
	line("")
	line("# Who is called, in this order, until somebody answers. Channels are told at once.")
	line("contacts:")
	line("  - name: %q", a.Contact)
	if a.Phone != "" {
		line("    phone: %q", a.Phone)
	}
	if len(a.Channels) > 0 {
		line("    notices:")
		for _, c := range a.Channels {
			line("      - %q", c)
		}
	}
	if a.Phone != "" {
		line("")
		line("# The account that places calls.")
		line("twilio:")
		line("  account_sid: %s", a.Account)
		line("  api_key_sid: %s", a.Key)
		line("  api_key_secret_file: %s", twilioSecret)
		line("  from: %q", a.From)
	}
	if len(a.Nodes) > 0 {
		a.planned(line)
	}
	return b.String()
}

func (a *answers) planned(line func(format string, args ...any)) {
	line("")
	line("# A token that may shut down, and no more.")
	line("proxmox:")
	line("  token_id: %q", a.Token)
	line("  token_secret_file: %s", proxmoxSecret)
	line("")
	line("# What goes down in a power cut, one stage after the other. Nothing does before `plan arm`.")
	line("plan:")
	line("  - guests: all")
	line("    deadline: %s", a.Deadline)
	for i, n := range a.Nodes {
		switch i {
		case 0, len(a.Nodes) - 1: // a stage begins
			line("  - nodes:")
		}
		line("      %s: {api: %q, fingerprint: %q}", n.Name, n.API, n.Fingerprint)
	}
}

// next says what is left to do.
func (a *answers) next(path string) string {
	secrets := []struct{ name, what string }{{authKey, "an auth key with tag:sentinel-brain, not an ephemeral one"}}
	if a.Phone != "" {
		secrets = append(secrets, struct{ name, what string }{twilioSecret, "the API key's secret, which Twilio showed once"})
	}
	if len(a.Nodes) > 0 {
		secrets = append(secrets, struct{ name, what string }{proxmoxSecret, "the token's secret, which Proxmox showed once"})
	}
	dir := filepath.Dir(path)
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("")
	line("%s is written, and right. What is left:", path)
	line("")
	line("1. Each secret in a file of its own, which only root can read:")
	for _, s := range secrets {
		file := filepath.Join(dir, s.name)
		if info, err := os.Stat(file); err == nil && info.Size() > 0 { // what was shown once is not emptied
			line("     %s is there already: it must hold %s", file, s.what)
			continue
		}
		line("     sudo install -m 600 /dev/null %s   # then write into it %s", file, s.what)
	}
	line("2. sudo install -d -m 755 /etc/systemd/system/sentinel-cloud.service.d")
	line("   and in it credentials.conf, which hands them over:")
	line("     [Service]")
	for _, s := range secrets {
		line("     LoadCredential=%s:%s", s.name, filepath.Join(dir, s.name))
	}
	line("3. sudo chgrp %s %s", group, path)
	line("   sudo systemctl daemon-reload")
	line("   sudo systemctl enable --now sentinel-cloud")
	line("4. sudo sentinel-cloud doctor")
	return b.String()
}
