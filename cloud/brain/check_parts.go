package brain

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"sentinel.home.arpa/shared/config"
	"sentinel.home.arpa/shared/proxmox"
	"sentinel.home.arpa/shared/wire"
)

var phonePattern = regexp.MustCompile(`^\+[1-9][0-9]{6,14}$`)

// check finds what is well formed and makes no sense.
func (c *Config) check(f *config.File) error {
	var errs []error
	for _, l := range limits() {
		errs = append(errs, l.check(f, c)...)
	}
	errs = append(errs, c.checkSelf(f)...)
	errs = append(errs, c.checkAnchors(f)...)
	errs = append(errs, c.checkSites(f)...)
	errs = append(errs, c.checkContacts(f)...)
	errs = append(errs, c.checkTwilio(f)...)
	errs = append(errs, c.checkTongues(f)...)
	errs = append(errs, c.checkKeypad(f)...)
	if p := c.Calls.Texts; p != "" && !filepath.IsAbs(p) {
		errs = append(errs, f.Errorf("calls.texts", "%.80q is no absolute path; begin it with /", p))
	}
	errs = append(errs, c.checkPlan(f)...)
	errs = append(errs, c.checkPlanOn(f)...)
	return f.Join(errs...)
}

// checkSelf is about the brain itself.
func (c *Config) checkSelf(f *config.File) []error {
	var errs []error
	for key, name := range map[string]string{"name": c.Name, "tailnet.hostname": c.Tailnet.Hostname} {
		if err := wire.ValidName(name); err != nil {
			errs = append(errs, f.Errorf(key, "%s", err))
		}
	}
	if c.Listen != "" && !loopback(c.Listen) {
		errs = append(errs, f.Errorf("listen", "%q is not on loopback; write 127.0.0.1:<port>, or leave it out and use the tailnet", c.Listen))
	}
	u, err := url.Parse(c.Tailnet.ControlURL)
	if c.Tailnet.ControlURL != "" && (err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "") {
		errs = append(errs, f.Errorf("tailnet.control_url", "%.80q is no address; write https://<host>", c.Tailnet.ControlURL))
	}
	for key, path := range map[string]string{"state_dir": c.StateDir, "control_socket": c.ControlSocket, "boot_id_file": c.BootIDFile} {
		if !filepath.IsAbs(path) && (path != "" || key != "boot_id_file") {
			errs = append(errs, f.Errorf(key, "%.80q is no absolute path; begin it with /", path))
		}
	}
	var level slog.Level
	if level.UnmarshalText([]byte(c.Log.Level)) != nil {
		errs = append(errs, f.Errorf("log.level", "%q is no level; write debug, info, warn or error", c.Log.Level))
	}
	if c.Log.Format != "text" && c.Log.Format != "json" {
		errs = append(errs, f.Errorf("log.format", "%q is no format; write text or json", c.Log.Format))
	}
	return errs
}

func loopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	ip := net.ParseIP(host)
	return err == nil && (host == "localhost" || ip != nil && ip.IsLoopback())
}

// checkSites also keeps names apart: a machine is known by its name alone, wherever it is.
func (c *Config) checkSites(f *config.File) []error {
	var errs []error
	if len(c.Sites) == 0 {
		errs = append(errs, f.Errorf("sites", "there must be one at least; write - name: home"))
	}
	seen := map[string]string{}
	unique := func(path, name, what string) {
		if err := wire.ValidName(name); err != nil {
			errs = append(errs, f.Errorf(path, "%s", err))
		} else if was := seen[name]; was != "" {
			errs = append(errs, f.Errorf(path, "%q is already %s; remove one of the two, or give it another name", name, was))
		} else {
			seen[name] = what
		}
	}
	for i, s := range c.Sites {
		at := fmt.Sprintf("sites[%d]", i)
		unique(at+".name", s.Name, "a site")
		if _, err := time.LoadLocation(s.TimeZone); err != nil {
			errs = append(errs, f.Errorf(at+".time_zone", "%q is no time zone; write one such as Europe/Berlin", s.TimeZone))
		}
		for j, p := range s.Pis {
			path := fmt.Sprintf("%s.pi_proxies[%d]", at, j)
			unique(path, p.Name, "a Pi of "+s.Name)
			errs = append(errs, c.checkKey(f, path, p)...)
			errs = append(errs, c.checkWay(f, path, p)...)
		}
		for j, p := range s.Nodes {
			path := fmt.Sprintf("%s.nodes[%d]", at, j)
			unique(path, p.Name, "a node of "+s.Name)
			errs = append(errs, c.checkKey(f, path, p)...)
			if p.Address != "" || p.Relay != "" {
				errs = append(errs, f.Errorf(path, "address and relay belong to a Pi; the brain never dials a node's agent, so remove them"))
			}
		}
		errs = append(errs, s.checkUPSes(f, at)...)
	}
	return errs
}

func (c *Config) checkKey(f *config.File, path string, p Peer) []error {
	err := p.Key.Validate()
	switch {
	case p.Key == "" && c.Listen != "":
		return []error{f.Errorf(path, "%s has no key, and without a tailnet nothing else says who it is; add key: \"ed25519:...\"", p.Name)}
	case p.Key != "" && err != nil:
		return []error{f.Errorf(path+".key", "%s; each machine logs its own at start", err)}
	}
	return nil
}

// checkUPSes wants the names of nodes that are expected, where any are.
func (s *Site) checkUPSes(f *config.File, at string) []error {
	var errs []error
	seen := map[string]bool{}
	for i, u := range s.UPSes {
		path := fmt.Sprintf("%s.ups[%d]", at, i)
		if err := wire.ValidName(u.Name); err != nil {
			errs = append(errs, f.Errorf(path+".name", "%s; write it as the Pi's ups: does", err))
		} else if seen[u.Name] {
			errs = append(errs, f.Errorf(path+".name", "%q stands here for the second time", u.Name))
		}
		seen[u.Name] = true
		if len(u.Feeds) == 0 {
			errs = append(errs, f.Errorf(path, "it feeds nothing; add feeds: with the nodes behind it, or remove the entry"))
		}
		for j, n := range u.Feeds {
			key := fmt.Sprintf("%s.feeds[%d]", path, j)
			switch err := wire.ValidName(n); {
			case err != nil:
				errs = append(errs, f.Errorf(key, "%s", err))
			case slices.Contains(u.Feeds[:j], n):
				errs = append(errs, f.Errorf(key, "%q stands here for the second time", n))
			case len(s.Nodes) > 0 && !slices.ContainsFunc(s.Nodes, func(p Peer) bool { return p.Name == n }):
				errs = append(errs, f.Errorf(key, "%q is not among the nodes of %s; add it there, or correct the name", n, s.Name))
			}
		}
	}
	return append(errs, s.checkAnyUPS(f, at)...)
}

// checkAnyUPS wants machines that several UPSes feed: for others the word changes nothing.
func (s *Site) checkAnyUPS(f *config.File, at string) (errs []error) {
	for i, n := range s.AnyUPS {
		key := fmt.Sprintf("%s.any_ups[%d]", at, i)
		by := 0
		for _, u := range s.UPSes {
			if slices.Contains(u.Feeds, n) {
				by++
			}
		}
		switch err := wire.ValidName(n); {
		case err != nil:
			errs = append(errs, f.Errorf(key, "%s", err))
		case slices.Contains(s.AnyUPS[:i], n):
			errs = append(errs, f.Errorf(key, "%q stands here for the second time", n))
		case by < 2:
			errs = append(errs, f.Errorf(key, "%q is fed by fewer than two UPSes; name it under feeds: of each that feeds it, or remove it here", n))
		}
	}
	return errs
}

func (c *Config) checkPlan(f *config.File) []error {
	var errs []error
	if len(c.Plan) == 0 {
		return nil
	}
	if len(c.Sites) > 1 {
		errs = append(errs, f.Errorf("plan", "one plan for %d sites is ambiguous; leave plan: out, or configure one site", len(c.Sites)))
	}
	if !c.hostsAlone() {
		errs = append(errs, c.checkProxmox(f)...)
	}
	errs = append(errs, c.checkHosts(f)...)
	errs = append(errs, c.checkGuests(f)...)
	seen := map[string]int{}
	for i, s := range c.Plan {
		at := fmt.Sprintf("plan[%d]", i)
		if both := s.Guests != nil && len(s.Nodes) > 0; both || s.Guests == nil && len(s.Nodes)+len(s.Hosts) == 0 {
			errs = append(errs, f.Errorf(at, "a stage holds guests: or nodes:, one of the two, or hosts:"))
		}
		if after := c.Plan[i+1:]; s.Guests != nil && len(seen) > 0 && !slices.ContainsFunc(after, func(s Stage) bool { return len(s.Nodes) > 0 }) {
			errs = append(errs, f.Errorf(at, "guests go down before the nodes that run them; move this stage to the front"))
		}
		for _, name := range slices.Sorted(maps.Keys(s.Nodes)) {
			path := config.KeyPath(at+".nodes", name)
			if first, dup := seen[name]; dup {
				errs = append(errs, f.Errorf(path, "%s is taken down in stage %d already; remove it from one of the two", name, first+1))
			} else if err := wire.ValidName(name); err != nil {
				errs = append(errs, f.Errorf(path, "%s", err))
			}
			seen[name] = i
			errs = append(errs, checkMachine(f, path, name, s.Nodes[name])...)
		}
	}
	if len(seen) == 0 && !c.hostsAlone() {
		errs = append(errs, f.Errorf("plan", "no stage names a node, so there is no API to ask; add a stage with nodes:"))
	}
	return errs
}

func (c *Config) checkProxmox(f *config.File) []error {
	p := c.Proxmox
	switch {
	case p == nil && f.Spoilt("proxmox"):
		return nil
	case p == nil:
		return []error{f.Errorf("plan", "it shuts Proxmox down, so there must be a proxmox: section with token_id and token_secret_file")}
	}
	var errs []error
	if p.TokenSecret.IsZero() {
		errs = append(errs, f.Errorf(proxmoxSecret, "is missing; name the credential that holds the token's secret"))
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
	o := proxmox.Options{Node: name, API: "https://any:8006", TokenID: "any@pve!any", Secret: anySecret}
	if _, err := proxmox.New(o); err != nil && wire.ValidName(name) == nil {
		host, _, _ := strings.Cut(name, ".")
		errs = append(errs, f.Errorf(at, "%q is no name of a Proxmox node; write it as Proxmox calls it, without a domain: %s", name, host))
	}
	o.Node, o.API = "any", m.API
	if _, err := proxmox.New(o); err != nil {
		errs = append(errs, f.Errorf(at+".api", "%.80q is no address of Proxmox's API; write https://<host>:8006", m.API))
	}
	o.API, o.Fingerprint = "https://any:8006", m.Fingerprint
	if _, err := proxmox.New(o); err != nil {
		errs = append(errs, f.Errorf(at+".fingerprint", "%.100q is no SHA-256 fingerprint; write its 32 bytes in hex, such as 5C:1E:...; `pvenode cert info` shows it", m.Fingerprint))
	}
	if _, err := net.ParseMAC(m.MAC); m.MAC != "" && err != nil {
		errs = append(errs, f.Errorf(at+".mac", "%q is no MAC address; write it such as 52:54:00:12:34:56", m.MAC))
	}
	return errs
}
