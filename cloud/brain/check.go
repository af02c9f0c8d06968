package brain

import (
	"errors"
	"fmt"
	"net"
	"strings"

	"sentinel.home.arpa/shared/config"
	"sentinel.home.arpa/shared/proxmox"
	"sentinel.home.arpa/shared/twilio"
)

// anySecret stands for secrets where only what is around them is checked.
const anySecret = "00000000"

// checkAnchors refuses what could never answer: a brain whose anchors are all wrong holds
// itself for offline, and calls nobody about a site that is out of reach.
func (c *Config) checkAnchors(f *config.File) []error {
	var errs []error
	if len(c.Anchors) < 2 {
		errs = append(errs, f.Errorf("anchors", "name two independent ones at least, such as 1.1.1.1:443 and 9.9.9.9:443"))
	}
	seen := map[string]bool{}
	for i, a := range c.Anchors {
		at := fmt.Sprintf("anchors[%d]", i)
		if !hostPort(a) {
			errs = append(errs, f.Errorf(at, "%q is no address and port; write it such as 1.1.1.1:443", a))
		} else if seen[a] {
			errs = append(errs, f.Errorf(at, "%q stands here for the second time; the anchors must be independent", a))
		}
		seen[a] = true
	}
	return errs
}

func hostPort(addr string) bool {
	host, port, err := net.SplitHostPort(addr)
	if err != nil || host == "" {
		return false
	}
	n, err := net.LookupPort("tcp", port)
	return err == nil && n > 0
}

// checkWay sees to it that a Pi without a tailnet can be found.
func (c *Config) checkWay(f *config.File, at string, p Peer) []error {
	var errs []error
	for key, addr := range map[string]string{".address": p.Address, ".relay": p.Relay} {
		if addr != "" && !hostPort(addr) {
			errs = append(errs, f.Errorf(at+key, "%q is no address and port; write it such as 192.168.77.2:7777", addr))
		}
	}
	viaPi := len(c.Plan) > 0 && c.Proxmox != nil && c.Proxmox.Via != "direct"
	if c.Listen != "" && viaPi && p.Address == "" && p.Relay == "" {
		errs = append(errs, f.Errorf(at, "%s has no address, and the way to Proxmox leads through it; add relay: \"<host>:7777\", or set proxmox.via: direct", p.Name))
	}
	return errs
}

func (c *Config) checkTwilio(f *config.File) []error {
	t := c.Twilio
	if t == nil {
		return nil
	}
	var errs []error
	if t.APIKeySecret.IsZero() {
		errs = append(errs, f.Errorf("twilio.api_key_secret_file", "is missing; name the credential that holds the API key's secret"))
	}
	_, err := twilio.New(twilio.Config{AccountSID: t.AccountSID, APIKeySID: t.APIKeySID, APIKeySecret: anySecret, From: t.From, BaseURL: t.APIURL})
	if err != nil {
		errs = append(errs, f.Errorf("twilio", "%s", strings.TrimPrefix(err.Error(), "twilio: ")))
	}
	return errs
}

func (c *Config) checkProxmox(f *config.File) []error {
	p := c.Proxmox
	if p == nil {
		return []error{f.Errorf("plan", "it shuts Proxmox down, so there must be a proxmox: section with token_id and token_secret_file")}
	}
	var errs []error
	if p.TokenSecret.IsZero() {
		errs = append(errs, f.Errorf("proxmox.token_secret_file", "is missing; name the credential that holds the token's secret"))
	}
	if v := p.Via; v != "" && v != "pi" && v != "direct" {
		errs = append(errs, f.Errorf("proxmox.via", "%q is no way to Proxmox; write pi or direct", v))
	}
	_, err := proxmox.New(proxmox.Options{Node: "any", API: "https://any:8006", TokenID: p.TokenID, Secret: anySecret})
	if err != nil {
		errs = append(errs, f.Errorf("proxmox.token_id", "%s", errors.Unwrap(err)))
	}
	return errs
}

// checkMachine finds what would otherwise come out during a power cut.
func checkMachine(f *config.File, at, name string, m Machine) []error {
	var errs []error
	_, err := proxmox.New(proxmox.Options{Node: name, API: m.API, Fingerprint: m.Fingerprint, TokenID: "any@pve!any", Secret: anySecret})
	if err != nil {
		errs = append(errs, f.Errorf(at, "%s", errors.Unwrap(err)))
	}
	if _, err := net.ParseMAC(m.MAC); m.MAC != "" && err != nil {
		errs = append(errs, f.Errorf(at+".mac", "%q is no MAC address; write it such as 52:54:00:12:34:56", m.MAC))
	}
	return errs
}
