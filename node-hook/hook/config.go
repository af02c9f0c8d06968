package hook

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"sentinel.home.arpa/node-hook/internal/peers"
	"sentinel.home.arpa/shared/config"
	"sentinel.home.arpa/shared/wire"
)

// DefaultPath is where the configuration lies. It need not exist: everything in it has a
// default.
const DefaultPath = "/etc/sentinel/node.yaml"

// Config is node.yaml.
type Config struct {
	// Name is the node's name; the short host name in small letters if empty.
	Name string `yaml:"name"`
	// Site is the home or office that it belongs to; the brain knows if empty.
	Site string `yaml:"site"`
	// StateDir keeps the signing key and the learnt peers.
	StateDir string `yaml:"state_dir"`
	// BootIDFile holds a UUID that changes with each boot.
	BootIDFile string `yaml:"boot_id_file"`
	// Brains are talked to instead of those that the tailnet shows.
	Brains []Brain `yaml:"brains"`
	// PiProxies are talked to besides those that a brain names.
	PiProxies []Pi `yaml:"pi_proxies"`
	// TailscaledSocket is where the host's tailscaled tells of the tailnet.
	TailscaledSocket string `yaml:"tailscaled_socket"`
	// Tailnet is how an agent that is a machine of the tailnet by itself joins it.
	Tailnet Tailnet `yaml:"tailnet"`
	// ControlSocket is where "announce" finds such an agent, which alone reaches the brain.
	ControlSocket string `yaml:"control_socket"`
	// Logind is off where the agent must not speak for the machine that it runs on: no
	// shutdown of the machine is seen, and none announced but by "announce KIND".
	Logind Switch `yaml:"logind"`
	// ObeyOrders is off where no plan may power this machine off.
	ObeyOrders Switch `yaml:"obey_orders"`
	// Log is how the agent logs.
	Log Log `yaml:"log"`
	// Interval is the time between heartbeats, 200ms to 10s.
	Interval config.Duration `yaml:"interval"`
}

// Brain is where a brain listens and what it signs with.
type Brain struct {
	Address string         `yaml:"address"` // host:port
	Key     wire.PublicKey `yaml:"key"`
}

// Pi is where a Pi listens on the LAN and what it signs with.
type Pi struct {
	Name    string         `yaml:"name"`    // for the log; the address if empty
	Address string         `yaml:"address"` // host:port
	Key     wire.PublicKey `yaml:"key"`
}

// Tailnet is how the agent joins the tailnet. Only sentinel-node-tsnet takes it.
type Tailnet struct {
	Hostname   string        `yaml:"hostname"`      // the name if empty, which the brain expects it to have
	AuthKey    config.Secret `yaml:"auth_key_file"` // without one a person logs it in where the log says
	ControlURL string        `yaml:"control_url"`   // Tailscale's own if empty
}

// Log is what is logged, and how.
type Log struct {
	Level  string `yaml:"level"`  // debug, info, warn or error
	Format string `yaml:"format"` // text or json
}

// Switch is on or off.
type Switch bool

// UnmarshalText takes on and off.
func (s *Switch) UnmarshalText(text []byte) error {
	switch string(text) {
	case "on":
		*s = true
	case "off":
		*s = false
	default:
		return fmt.Errorf("%.40q is neither on nor off", text)
	}
	return nil
}

// Defaults is the configuration of an empty file.
func Defaults() Config {
	return Config{
		StateDir:         "/var/lib/sentinel-node",
		BootIDFile:       "/proc/sys/kernel/random/boot_id",
		TailscaledSocket: "/run/tailscale/tailscaled.sock",
		ControlSocket:    "/run/sentinel-node/control.sock",
		Logind:           true,
		ObeyOrders:       true,
		Log:              Log{Level: "info", Format: "text"},
		Interval:         config.Duration(time.Second),
	}
}

// Load reads and checks a configuration and fills the names in. A missing file at
// DefaultPath is an empty one.
func (b Build) Load(path string) (Config, error) {
	c := Defaults()
	f, err := config.Load(path, &c)
	if path == DefaultPath && errors.Is(err, fs.ErrNotExist) {
		f, err = config.Parse(path, nil, &c)
	}
	if f == nil {
		return Config{}, err
	}
	if err := f.Join(err, c.check(f), c.tailnet(f, b.Join != nil)); err != nil {
		return Config{}, err
	}
	return c, nil
}

func (c *Config) check(f *config.File) error {
	errs := []error{
		c.name(f),
		config.Bound(f, "interval", c.Interval, config.Duration(200*time.Millisecond), config.Duration(10*time.Second)),
		absolute(f, "state_dir", c.StateDir),
		absolute(f, "boot_id_file", c.BootIDFile),
		absolute(f, "tailscaled_socket", c.TailscaledSocket),
		absolute(f, "control_socket", c.ControlSocket),
	}
	if err := wire.ValidName(c.Site); c.Site != "" && err != nil {
		errs = append(errs, f.Errorf("site", "%v", err))
	}
	if !slices.Contains([]string{"debug", "info", "warn", "error"}, c.Log.Level) {
		errs = append(errs, f.Errorf("log.level", "%.40q is no level; use debug, info, warn or error", c.Log.Level))
	}
	if c.Log.Format != "text" && c.Log.Format != "json" {
		errs = append(errs, f.Errorf("log.format", "%.40q is no format; use text or json", c.Log.Format))
	}
	return f.Join(append(errs, c.receivers(f)...)...)
}

func (c *Config) name(f *config.File) error {
	if c.Name != "" {
		if err := wire.ValidName(c.Name); err != nil {
			return f.Errorf("name", "%v", err)
		}
		return nil
	}
	host, err := os.Hostname()
	if err != nil {
		return f.Errorf("name", "the host has no name (%v); set name:", err)
	}
	host, _, _ = strings.Cut(strings.ToLower(host), ".")
	if err := wire.ValidName(host); err != nil {
		return f.Errorf("name", "the host's %v, and set it as name:", err)
	}
	c.Name = host
	return nil
}

// tailnet checks how the agent joins the tailnet, if its build can.
func (c *Config) tailnet(f *config.File, able bool) error {
	var errs []error
	switch {
	case c.Tailnet == Tailnet{}:
	case !able:
		errs = append(errs, f.Errorf("tailnet", "this build has no tailnet of its own and uses the host's; remove tailnet:, or install sentinel-node-tsnet"))
	case len(c.Brains) > 0:
		errs = append(errs, f.Errorf("tailnet", "brains: are reached by the host's network, so the agent joins no tailnet; remove one of the two"))
	}
	if c.Tailnet.Hostname == "" {
		c.Tailnet.Hostname = c.Name
	} else if err := wire.ValidName(c.Tailnet.Hostname); err != nil {
		errs = append(errs, f.Errorf("tailnet.hostname", "%v", err))
	}
	u, err := url.Parse(c.Tailnet.ControlURL)
	if c.Tailnet.ControlURL != "" && (err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "") {
		errs = append(errs, f.Errorf("tailnet.control_url", "%.80q is no address; write https://<host>", c.Tailnet.ControlURL))
	}
	return errors.Join(errs...)
}

// receivers checks brains and Pis.
func (c *Config) receivers(f *config.File) []error {
	var errs []error
	if len(c.Brains) > peers.MaxBrains {
		errs = append(errs, f.Errorf("brains", "%d are too many; at most %d", len(c.Brains), peers.MaxBrains))
	}
	if len(c.PiProxies) > peers.MaxPis {
		errs = append(errs, f.Errorf("pi_proxies", "%d are too many; at most %d", len(c.PiProxies), peers.MaxPis))
	}
	seen := map[string]bool{}
	check := func(path, address string, key wire.PublicKey) {
		if err := peers.ValidAddress(address); err != nil {
			errs = append(errs, f.Errorf(path+".address", "%v", err))
		} else if seen[address] {
			errs = append(errs, f.Errorf(path+".address", "%s stands here twice; remove one", address))
		}
		seen[address] = true
		if err := key.Validate(); err != nil {
			errs = append(errs, f.Errorf(path+".key", "must be the receiver's public key, so that nobody can answer in its place: %v", err))
		}
	}
	for i, b := range c.Brains {
		check(fmt.Sprintf("brains[%d]", i), b.Address, b.Key)
	}
	for i, p := range c.PiProxies {
		path := fmt.Sprintf("pi_proxies[%d]", i)
		check(path, p.Address, p.Key)
		if err := wire.ValidName(p.Name); p.Name != "" && err != nil {
			errs = append(errs, f.Errorf(path+".name", "%v", err))
		}
	}
	return errs
}

func absolute(f *config.File, path, value string) error {
	if !filepath.IsAbs(value) {
		return f.Errorf(path, "%.80q must be an absolute path", value)
	}
	return nil
}

// brains and pis are the configured receivers as the book takes them.
func (c *Config) brains() []wire.Peer {
	var all []wire.Peer
	for _, b := range c.Brains {
		all = append(all, wire.Peer{Address: b.Address, Key: b.Key})
	}
	return all
}

func (c *Config) pis() []wire.Peer {
	var all []wire.Peer
	for _, p := range c.PiProxies {
		all = append(all, wire.Peer(p))
	}
	return all
}

// level is the configured level of the log.
func (l Log) level() slog.Level {
	var level slog.Level
	_ = level.UnmarshalText([]byte(l.Level)) // checked before
	return level
}
