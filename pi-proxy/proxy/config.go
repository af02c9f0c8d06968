package proxy

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"sentinel.home.arpa/pi-proxy/internal/root"
	"sentinel.home.arpa/shared/config"
	"sentinel.home.arpa/shared/power"
	"sentinel.home.arpa/shared/wire"
)

// Config is pi.yaml. Everything has a default; where Tailscale runs no file is needed.
type Config struct {
	Name     string  `yaml:"name"` // as the brain's pi_proxies names it; the host's name
	Site     string  `yaml:"site"`
	StateDir string  `yaml:"state_dir"`
	Log      Log     `yaml:"log"`
	Brains   []Brain `yaml:"brains"` // without a tailnet; else they are found by their tag
	Tailnet  Tailnet `yaml:"tailnet"`
	LAN      LAN     `yaml:"lan"`
	UPS      []UPS   `yaml:"ups"`
	// Anchors are asked whether the internet is there while no brain answers, host:port.
	Anchors []string `yaml:"anchors"`
	Halt    bool     `yaml:"halt"` // the Pi powers itself off where apcupsd would, after the plan

	ControlSocket string `yaml:"control_socket"`
	RootSocket    string `yaml:"root_socket"`
	BootIDFile    string `yaml:"boot_id_file"`
}

// Log is how much the log says, and in which form.
type Log struct {
	Level  string `yaml:"level"`
	Format string `yaml:"format"`
}

// Brain is a brain that is not found on a tailnet.
type Brain struct {
	Address string         `yaml:"address"` // host:port
	Key     wire.PublicKey `yaml:"key"`
}

// Tailnet is how the Pi joins the tailnet.
type Tailnet struct {
	Hostname   string        `yaml:"hostname"` // empty: the Pi's name, which the brain expects it to have
	AuthKey    config.Secret `yaml:"auth_key_file"`
	ControlURL string        `yaml:"control_url"`
}

// LAN is where the nodes of the house reach the Pi.
type LAN struct {
	Listen string `yaml:"listen"` // host:port
}

// UPS is one apcupsd.
type UPS struct {
	Name string          `yaml:"name"`
	NIS  string          `yaml:"nis"` // host:port of its network information server
	Poll config.Duration `yaml:"poll"`
	// CutOutput has the output cut as the Pi's last deed; the apcupsd must be the Pi's own.
	CutOutput bool `yaml:"cut_output"`
}

// DefaultControlSocket is where the command line finds the running Pi.
const DefaultControlSocket = "/run/sentinel-pi/control.sock"

const (
	defaultPoll = config.Duration(time.Second)
	// longestPoll leaves an answer of apcupsd a second to come before the one before it is too old to be acted upon.
	longestPoll = config.Duration(power.Fresh - time.Second)
)

// DefaultConfig is what a file that says nothing means.
func DefaultConfig() Config {
	host, _ := os.Hostname() // an empty name is refused below, with what to do
	name, _, _ := strings.Cut(strings.ToLower(host), ".")
	return Config{
		Name:          name,
		StateDir:      cmp.Or(os.Getenv("STATE_DIRECTORY"), "/var/lib/sentinel-pi"),
		Log:           Log{Level: "info", Format: "text"},
		LAN:           LAN{Listen: ":7777"},
		UPS:           []UPS{{Name: "ups", NIS: "127.0.0.1:3551", Poll: defaultPoll}},
		Anchors:       []string{"1.1.1.1:443", "9.9.9.9:443"},
		Halt:          true,
		ControlSocket: DefaultControlSocket,
		RootSocket:    root.Socket,
	}
}

// LoadConfig reads and checks pi.yaml. With optional, a file that is not there means the
// defaults.
func LoadConfig(path string, optional bool) (Config, error) {
	c := DefaultConfig()
	f, err := config.Load(path, &c)
	if optional && errors.Is(err, fs.ErrNotExist) {
		f, err = config.Parse(path, nil, &c)
	}
	if f == nil {
		return Config{}, err
	}
	for i := range c.UPS {
		c.UPS[i].Poll = cmp.Or(c.UPS[i].Poll, defaultPoll)
	}
	if err := f.Join(err, c.check(f)); err != nil {
		return Config{}, err
	}
	return c, nil
}

// ReadAgain reads and checks pi.yaml as it is by now, and says what of it differs; err is
// what is wrong with it.
func (c *Config) ReadAgain(path string, optional bool) (changed []string, err error) {
	again, err := LoadConfig(path, optional)
	if err != nil {
		return nil, err
	}
	for _, change := range config.Diff(*c, again) {
		changed = append(changed, change.String())
	}
	return changed, nil
}

func (c *Config) check(f *config.File) error {
	var errs []error
	if err := wire.ValidName(c.Name); err != nil {
		errs = append(errs, f.Errorf("name", "%s", err))
	}
	if c.Site != "" && wire.ValidName(c.Site) != nil {
		errs = append(errs, f.Errorf("site", "%s", wire.ValidName(c.Site)))
	}
	var level slog.Level
	if level.UnmarshalText([]byte(c.Log.Level)) != nil {
		errs = append(errs, f.Errorf("log.level", "%q is no level; write debug, info, warn or error", c.Log.Level))
	}
	if c.StateDir == "" {
		errs = append(errs, f.Errorf("state_dir", "must name a directory"))
	}
	if c.Log.Format != "text" && c.Log.Format != "json" {
		errs = append(errs, f.Errorf("log.format", "%q is no format; write text or json", c.Log.Format))
	}
	address := func(path, addr string) {
		host, port, err := net.SplitHostPort(addr)
		if _, bad := strconv.ParseUint(port, 10, 16); err != nil || bad != nil || host == "" && path != "lan.listen" {
			errs = append(errs, f.Errorf(path, "%q is no address; write <host>:<port>", addr))
		}
	}
	address("lan.listen", c.LAN.Listen)
	for i, b := range c.Brains {
		at := fmt.Sprintf("brains[%d]", i)
		address(at+".address", b.Address)
		if err := b.Key.Validate(); err != nil {
			errs = append(errs, f.Errorf(at+".key", "%s; the brain logs its own at start", err))
		}
	}
	if len(c.Anchors) < 2 {
		errs = append(errs, f.Errorf("anchors", "name two independent ones at least, such as 1.1.1.1:443 and 9.9.9.9:443"))
	}
	for i, a := range c.Anchors {
		at := fmt.Sprintf("anchors[%d]", i)
		address(at, a)
		if slices.Contains(c.Anchors[:i], a) {
			errs = append(errs, f.Errorf(at, "%q stands here for the second time; the anchors must be independent", a))
		}
	}
	if len(c.UPS) == 0 {
		errs = append(errs, f.Errorf("ups", "there must be one; leave the key out for apcupsd on this machine"))
	}
	seen, cuts := map[string]bool{}, ""
	for i, u := range c.UPS {
		at := fmt.Sprintf("ups[%d]", i)
		if err := wire.ValidName(u.Name); err != nil {
			errs = append(errs, f.Errorf(at+".name", "%s", err))
		}
		if seen[u.Name] {
			errs = append(errs, f.Errorf(at+".name", "%q stands here for the second time", u.Name))
		}
		seen[u.Name] = true
		address(at+".nis", u.NIS)
		switch {
		case !u.CutOutput:
		case !u.local():
			errs = append(errs, f.Errorf(at+".cut_output", "only the apcupsd of this machine cuts an output, and nis names another; leave the key out"))
		case cuts != "":
			errs = append(errs, f.Errorf(at+".cut_output", "one apcupsd cuts one output, and %s has the key already", cuts))
		case !c.Halt:
			errs = append(errs, f.Errorf(at+".cut_output", "the output is cut when the Pi halts; write halt: true too"))
		default:
			cuts = u.Name
		}
		if u.Poll > longestPoll {
			errs = append(errs, f.Errorf(at+".poll", "%v is too long: what is older than %v is not acted upon; write %v at most, or leave the key out for %v", u.Poll, power.Fresh, longestPoll, defaultPoll))
		} else {
			errs = append(errs, config.Bound(f, at+".poll", u.Poll, config.Duration(200*time.Millisecond), longestPoll))
		}
	}
	return f.Join(errs...)
}

// LogLevel is the level below which nothing is logged.
func (c *Config) LogLevel() slog.Level {
	var l slog.Level
	if err := l.UnmarshalText([]byte(c.Log.Level)); err != nil {
		return slog.LevelInfo // refused when the file was read
	}
	return l
}
