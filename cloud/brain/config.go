package brain

import (
	"cmp"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"os"
	"regexp"
	"slices"
	"time"

	"sentinel.home.arpa/shared/config"
	"sentinel.home.arpa/shared/power"
	"sentinel.home.arpa/shared/shutdown"
	"sentinel.home.arpa/shared/wire"
)

// Config is cloud.yaml. reference.yaml documents each key.
type Config struct {
	Name     string   `yaml:"name"`
	Listen   string   `yaml:"listen"` // loopback only; empty: the tailnet
	Tailnet  Tailnet  `yaml:"tailnet"`
	StateDir string   `yaml:"state_dir"`
	Log      Log      `yaml:"log"`
	Sites    []Site   `yaml:"sites"`
	Contacts []Person `yaml:"contacts"`
	Twilio   *Twilio  `yaml:"twilio"`
	Proxmox  *Proxmox `yaml:"proxmox"`
	Plan     Plan     `yaml:"plan"`
	Failure  Failure  `yaml:"failure"`
	Power    Power    `yaml:"power"`
	Internet Internet `yaml:"internet"`
	Anchors  []string `yaml:"anchors"`

	ControlSocket string `yaml:"control_socket"`
	BootIDFile    string `yaml:"boot_id_file"`
}

// Tailnet is how the brain joins the tailnet.
type Tailnet struct {
	Hostname   string        `yaml:"hostname"`
	AuthKey    config.Secret `yaml:"auth_key_file"`
	ControlURL string        `yaml:"control_url"`
	Port       uint16        `yaml:"udp_port"`
	AllowNodes []string      `yaml:"allow_nodes"` // logins whose machines may be nodes without the tag
}

// Log is how much the log says, and in which form.
type Log struct {
	Level  string `yaml:"level"`
	Format string `yaml:"format"`
}

// Site is one home or office.
type Site struct {
	Name     string `yaml:"name"`
	TimeZone string `yaml:"time_zone"`
	Pis      []Peer `yaml:"pi_proxies"`
	Nodes    []Peer `yaml:"nodes"`
}

// Peer is a Pi or node. A bare name is enough on a tailnet.
type Peer struct {
	Name    string         `yaml:"name"`
	Address string         `yaml:"address"` // of a Pi: host:port on the LAN
	Relay   string         `yaml:"relay"`   // of a Pi, without a tailnet: host:port where the brain reaches it
	Key     wire.PublicKey `yaml:"key"`
}

// UnmarshalYAML takes a name, or a map of name, address and key.
func (p *Peer) UnmarshalYAML(decode func(any) error) error {
	if err := decode(&p.Name); err == nil {
		return nil
	}
	type plain Peer
	return decode((*plain)(p))
}

// Person is somebody who is told.
type Person struct {
	Name  string `yaml:"name"`
	Phone string `yaml:"phone"`
}

// Twilio is the account that places calls.
type Twilio struct {
	AccountSID   string        `yaml:"account_sid"`
	APIKeySID    string        `yaml:"api_key_sid"`
	APIKeySecret config.Secret `yaml:"api_key_secret_file"`
	From         string        `yaml:"from"`
	APIURL       string        `yaml:"api_url"`
	Voice        string        `yaml:"voice"`
	Language     string        `yaml:"language"`
}

// Proxmox is how the cluster's API is used.
type Proxmox struct {
	TokenID     string        `yaml:"token_id"`
	TokenSecret config.Secret `yaml:"token_secret_file"`
	Via         string        `yaml:"via"` // pi or direct
}

// Plan is the order in which things go down.
type Plan []Stage

// Stage is what goes down together.
type Stage struct {
	Guests   string             `yaml:"guests"` // all
	Nodes    map[string]Machine `yaml:"nodes"`
	Deadline config.Duration    `yaml:"deadline"`
}

// Machine is a Proxmox node.
type Machine struct {
	API         string `yaml:"api"`
	Fingerprint string `yaml:"fingerprint"`
	MAC         string `yaml:"mac"`
}

// Failure is when silence is a failure, and failures are an incident.
type Failure struct {
	Silence   config.Duration `yaml:"silence"`
	Window    config.Duration `yaml:"window"`
	Threshold int             `yaml:"threshold"`
}

// Power is when an outage is reason to tell, call and shut down.
type Power struct {
	NoticeAfter   config.Duration `yaml:"notice_after"`
	RideThrough   config.Duration `yaml:"ride_through"`
	CallBy        config.Duration `yaml:"call_by"`
	RuntimeMargin config.Duration `yaml:"runtime_margin"`
	ChargeFloor   config.Percent  `yaml:"charge_floor"`
}

// Internet is when a site that is out of reach is reason to call.
type Internet struct {
	CallAfter config.Duration `yaml:"call_after"`
}

// DefaultConfig is what a file that says nothing means.
func DefaultConfig() Config {
	p := power.DefaultPolicy()
	return Config{
		Name:     "brain",
		StateDir: cmp.Or(os.Getenv("STATE_DIRECTORY"), "/var/lib/sentinel-cloud"),
		Tailnet:  Tailnet{Hostname: "sentinel", Port: 41642},
		Log:      Log{Level: "info", Format: "text"},
		Failure:  Failure{Silence: config.Duration(20 * time.Second), Window: config.Duration(time.Hour), Threshold: 1},
		Power: Power{
			NoticeAfter: config.Duration(5 * time.Second), RideThrough: config.Duration(p.RideThrough),
			CallBy: config.Duration(15 * time.Second), RuntimeMargin: config.Duration(p.RuntimeMargin),
			ChargeFloor: config.Percent(p.ChargeFloor * 100),
		},
		Internet: Internet{CallAfter: config.Duration(time.Minute)},
		Anchors:  []string{"1.1.1.1:443", "9.9.9.9:443"},

		ControlSocket: DefaultControlSocket,
	}
}

// DefaultControlSocket is where the command line finds the running brain.
const DefaultControlSocket = "/run/sentinel-cloud/control.sock"

// LogLevel is the level below which nothing is logged.
func (c *Config) LogLevel() slog.Level {
	var l slog.Level
	if err := l.UnmarshalText([]byte(c.Log.Level)); err != nil {
		return slog.LevelInfo // refused when the file was read
	}
	return l
}

// defaultDeadlines are those of stages that name none.
const (
	defaultGuestDeadline = config.Duration(3 * time.Minute)
	defaultNodeDeadline  = config.Duration(2 * time.Minute)
)

// LoadConfig reads and checks cloud.yaml, but not the secrets that it names.
func LoadConfig(path string) (Config, error) {
	c, _, err := loadConfig(path)
	return c, err
}

func loadConfig(path string) (Config, *config.File, error) {
	c := DefaultConfig()
	f, err := config.Load(path, &c)
	if err != nil {
		return Config{}, nil, err
	}
	for i := range c.Plan {
		if c.Plan[i].Deadline == 0 {
			c.Plan[i].Deadline = defaultNodeDeadline
			if c.Plan[i].Guests != "" {
				c.Plan[i].Deadline = defaultGuestDeadline
			}
		}
	}
	return c, f, c.check(f)
}

var phonePattern = regexp.MustCompile(`^\+[1-9][0-9]{6,14}$`)

func (c *Config) check(f *config.File) error {
	errs := []error{
		config.Bound(f, "failure.silence", c.Failure.Silence, config.Duration(5*time.Second), config.Duration(10*time.Minute)),
		config.Bound(f, "failure.window", c.Failure.Window, config.Duration(time.Minute), config.Duration(24*time.Hour)),
		config.Bound(f, "failure.threshold", c.Failure.Threshold, 1, 1000),
		config.Bound(f, "power.notice_after", c.Power.NoticeAfter, 0, config.Duration(10*time.Minute)),
		config.Bound(f, "power.ride_through", c.Power.RideThrough, 0, config.Duration(30*time.Minute)),
		config.Bound(f, "power.call_by", c.Power.CallBy, 0, config.Duration(10*time.Minute)),
		config.Bound(f, "power.runtime_margin", c.Power.RuntimeMargin, 0, config.Duration(time.Hour)),
		config.Bound(f, "internet.call_after", c.Internet.CallAfter, 0, config.Duration(time.Hour)),
	}
	if err := wire.ValidName(c.Name); err != nil {
		errs = append(errs, f.Errorf("name", "%s", err))
	}
	if c.Listen != "" && !loopback(c.Listen) {
		errs = append(errs, f.Errorf("listen", "%q is not on loopback; write 127.0.0.1:<port>, or leave it out and use the tailnet", c.Listen))
	}
	var level slog.Level
	if level.UnmarshalText([]byte(c.Log.Level)) != nil {
		errs = append(errs, f.Errorf("log.level", "%q is no level; write debug, info, warn or error", c.Log.Level))
	}
	if c.Log.Format != "text" && c.Log.Format != "json" {
		errs = append(errs, f.Errorf("log.format", "%q is no format; write text or json", c.Log.Format))
	}
	errs = append(errs, c.checkAnchors(f)...)
	errs = append(errs, c.checkSites(f)...)
	errs = append(errs, c.checkContacts(f)...)
	errs = append(errs, c.checkTwilio(f)...)
	errs = append(errs, c.checkPlan(f)...)
	return f.Join(errs...)
}

func loopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	ip := net.ParseIP(host)
	return err == nil && (host == "localhost" || ip != nil && ip.IsLoopback())
}

func (c *Config) checkSites(f *config.File) []error {
	var errs []error
	if len(c.Sites) == 0 {
		errs = append(errs, f.Errorf("sites", "there must be one at least; write - name: home"))
	}
	seen := map[string]bool{}
	unique := func(path, name string) {
		if err := wire.ValidName(name); err != nil {
			errs = append(errs, f.Errorf(path, "%s", err))
		} else if seen[name] {
			errs = append(errs, f.Errorf(path, "%q stands here for the second time", name))
		}
		seen[name] = true
	}
	for i, s := range c.Sites {
		at := fmt.Sprintf("sites[%d]", i)
		unique(at+".name", s.Name)
		if _, err := time.LoadLocation(s.TimeZone); err != nil {
			errs = append(errs, f.Errorf(at+".time_zone", "%q is no time zone; write one such as Europe/Berlin", s.TimeZone))
		}
		peer := func(path string, p Peer) {
			unique(path, p.Name)
			switch err := p.Key.Validate(); {
			case p.Key == "" && c.Listen != "":
				errs = append(errs, f.Errorf(path, "%s has no key, and without a tailnet nothing else says who it is; add key: \"ed25519:...\"", p.Name))
			case p.Key != "" && err != nil:
				errs = append(errs, f.Errorf(path+".key", "%s", err))
			}
		}
		for j, p := range s.Pis {
			path := fmt.Sprintf("%s.pi_proxies[%d]", at, j)
			peer(path, p)
			errs = append(errs, c.checkWay(f, path, p)...)
		}
		for j, p := range s.Nodes {
			peer(fmt.Sprintf("%s.nodes[%d]", at, j), p)
		}
	}
	return errs
}

func (c *Config) checkContacts(f *config.File) []error {
	var errs []error
	seen := map[string]bool{}
	for i, p := range c.Contacts {
		at := fmt.Sprintf("contacts[%d]", i)
		switch {
		case p.Name == "":
			errs = append(errs, f.Errorf(at+".name", "the contact has no name; it is greeted by it"))
		case seen[p.Name]:
			errs = append(errs, f.Errorf(at+".name", "%q stands here for the second time", p.Name))
		}
		seen[p.Name] = true
		if !phonePattern.MatchString(p.Phone) {
			errs = append(errs, f.Errorf(at+".phone", "%q is no international number; write it as +<country><number>, e.g. +886912345678", p.Phone))
		}
	}
	if len(c.Contacts) > 0 && c.Twilio == nil {
		errs = append(errs, f.Errorf("contacts", "nobody can be called without a twilio: section"))
	}
	return errs
}

func (c *Config) checkPlan(f *config.File) []error {
	var errs []error
	if len(c.Plan) == 0 {
		return nil
	}
	if len(c.Sites) > 1 {
		errs = append(errs, f.Errorf("plan", "one plan for %d sites is ambiguous", len(c.Sites)))
	}
	errs = append(errs, c.checkProxmox(f)...)
	seen := map[string]int{}
	for i, s := range c.Plan {
		at := fmt.Sprintf("plan[%d]", i)
		errs = append(errs, config.Bound(f, at+".deadline", s.Deadline, config.Duration(10*time.Second), config.Duration(2*time.Hour)))
		if (s.Guests == "") == (len(s.Nodes) == 0) {
			errs = append(errs, f.Errorf(at, "a stage holds either guests or nodes"))
		}
		if s.Guests != "" && s.Guests != "all" {
			errs = append(errs, f.Errorf(at+".guests", "%q is not understood; write all", s.Guests))
		}
		for _, name := range slices.Sorted(maps.Keys(s.Nodes)) {
			path := at + ".nodes." + name
			if first, dup := seen[name]; dup {
				errs = append(errs, f.Errorf(path, "%s is taken down in stage %d already", name, first+1))
			}
			seen[name] = i
			errs = append(errs, checkMachine(f, path, name, s.Nodes[name])...)
		}
	}
	if len(seen) == 0 {
		errs = append(errs, f.Errorf("plan", "no stage names a node, so there is no API to ask; add a stage with nodes:"))
	}
	return errs
}

// shutdownPlan is the plan as runs use it.
func (c *Config) shutdownPlan() *shutdown.Plan {
	if len(c.Plan) == 0 {
		return nil
	}
	p := &shutdown.Plan{Site: c.Sites[0].Name}
	for _, s := range c.Plan {
		stage := shutdown.Stage{AllGuests: s.Guests == "all", Deadline: s.Deadline.Std()}
		for _, name := range slices.Sorted(maps.Keys(s.Nodes)) {
			m := s.Nodes[name]
			stage.Nodes = append(stage.Nodes, name)
			p.Nodes = append(p.Nodes, shutdown.Node{Name: name, API: m.API, Fingerprint: m.Fingerprint, MAC: m.MAC})
		}
		p.Stages = append(p.Stages, stage)
	}
	return p
}

func (c *Config) policy() power.Policy {
	p := power.DefaultPolicy()
	p.RideThrough, p.RuntimeMargin, p.ChargeFloor = c.Power.RideThrough.Std(), c.Power.RuntimeMargin.Std(), c.Power.ChargeFloor.Ratio()
	return p
}
