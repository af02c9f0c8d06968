package brain

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"sentinel.home.arpa/cloud/internal/sentinel"
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
	Notices  Notices  `yaml:"notices"`
	Twilio   *Twilio  `yaml:"twilio"`
	Calls    Calls    `yaml:"calls"`
	Email    *Email   `yaml:"email"`
	Proxmox  *Proxmox `yaml:"proxmox"`
	Plan     Plan     `yaml:"plan"`
	PlanOn   []string `yaml:"plan_on"` // what begins it beside the power: causes of package shutdown
	Failure  Failure  `yaml:"failure"`
	Power    Power    `yaml:"power"`
	Internet Internet `yaml:"internet"`
	Anchors  []string `yaml:"anchors"`
	Journal  Journal  `yaml:"journal"`
	Deadman  Deadman  `yaml:"deadman"`

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
	UPSes    []UPS  `yaml:"ups"`
	// AnyUPS are machines that go down once one of the UPSes that feed them calls for it.
	AnyUPS []string `yaml:"any_ups"`
}

// UPS is what is known of a UPS beforehand. Those that a Pi reports need no entry.
type UPS struct {
	Name  string   `yaml:"name"`
	Feeds []string `yaml:"feeds"` // nodes
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
	noName := decode(&p.Name)
	if noName == nil {
		return nil
	}
	type plain Peer
	err := decode((*plain)(p))
	var wrong *config.Error
	if errors.As(err, &wrong) && strings.HasPrefix(wrong.Msg, "must be a map") {
		return noName // a number, say
	}
	return err
}

// Twilio is the account that places calls.
type Twilio struct {
	AccountSID   string        `yaml:"account_sid"`
	APIKeySID    string        `yaml:"api_key_sid"`
	APIKeySecret config.Secret `yaml:"api_key_secret_file"`
	AuthToken    config.Secret `yaml:"auth_token_file"`     // by which Twilio signs which keys were pressed
	OldAuthToken config.Secret `yaml:"old_auth_token_file"` // while it is replaced
	From         string        `yaml:"from"`
	APIURL       string        `yaml:"api_url"`
	Language     string        `yaml:"language"`
	Voice        string        `yaml:"voice"` // of language; empty: one that speaks it well
	// Voices are those of other languages, by code.
	Voices map[string]string `yaml:"voices"`
}

// Calls is what calls say, how often somebody is called at most (rule C8), and how the way to call
// people is looked after.
type Calls struct {
	Texts        string `yaml:"texts"` // a file or directory of templates; empty: those that are shipped
	PerHour      int    `yaml:"per_hour"`
	OtherPerHour int    `yaml:"other_per_hour"`

	SelfTest config.Duration `yaml:"self_test"` // 0: never
	Price    float64         `yaml:"price"`     // of one call, in the account's currency
	Few      int             `yaml:"few"`       // calls that the credit must last for
	Drill    Weekly          `yaml:"drill"`     // when everybody is called to see that it works
	Keypad   Keypad          `yaml:"keypad"`
}

// Deadman is who is told at an interval that the brain lives.
type Deadman struct {
	URL   config.Secret   `yaml:"url_file"`
	Every config.Duration `yaml:"every"`
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
	Guests   *Guests            `yaml:"guests"`
	Timeout  config.Duration    `yaml:"timeout"` // of each guest's own shutdown
	Nodes    map[string]Machine `yaml:"nodes"`
	Hosts    []string           `yaml:"hosts"` // Linux hosts, by their agents' names
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
	Silence       config.Duration `yaml:"silence"`
	Window        config.Duration `yaml:"window"`
	Threshold     int             `yaml:"threshold"`
	Reminder      config.Duration `yaml:"reminder"`
	RemindFor     config.Duration `yaml:"remind_for"`
	PendingNotice config.Duration `yaml:"pending_notice"`
}

// Power is when an outage is reason to tell, call and shut down.
type Power struct {
	NoticeAfter   config.Duration `yaml:"notice_after"`
	RideThrough   config.Duration `yaml:"ride_through"`
	CallBy        config.Duration `yaml:"call_by"`
	RuntimeMargin config.Duration `yaml:"runtime_margin"`
	ChargeFloor   config.Percent  `yaml:"charge_floor"`
	WorseCharge   config.Percent  `yaml:"worse_charge"`
	WorseRuntime  config.Duration `yaml:"worse_runtime"`
}

// Internet is when a site that is out of reach is reason to call.
type Internet struct {
	CallAfter config.Duration `yaml:"call_after"`
	PlanAfter config.Duration `yaml:"plan_after"`
}

// DefaultConfig is what a file that says nothing means.
func DefaultConfig() Config {
	p, t, limits := power.DefaultPolicy(), sentinel.DefaultTimes(), sentinel.DefaultLimits()
	return Config{
		Name:     "brain",
		StateDir: cmp.Or(os.Getenv("STATE_DIRECTORY"), "/var/lib/sentinel-cloud"),
		Tailnet:  Tailnet{Hostname: "sentinel", Port: 41642},
		Log:      Log{Level: "info", Format: "text"},
		Failure: Failure{Silence: config.Duration(t.Silence), Window: config.Duration(t.Window), Threshold: 1,
			Reminder: config.Duration(t.Reminder), RemindFor: config.Duration(t.RemindFor), PendingNotice: config.Duration(t.PendingNotice)},
		Power: Power{
			NoticeAfter: config.Duration(t.OutageNotice), RideThrough: config.Duration(p.RideThrough),
			CallBy: config.Duration(t.PowerCall), RuntimeMargin: config.Duration(p.RuntimeMargin),
			ChargeFloor: config.Percent(p.ChargeFloor * 100),
			WorseCharge: config.Percent(sentinel.DefaultWorseCharge * 100), WorseRuntime: config.Duration(sentinel.DefaultWorseRuntime),
		},
		Notices:  Notices{PerHour: limits.Notices},
		PlanOn:   []string{},
		Internet: Internet{CallAfter: config.Duration(t.InternetCall), PlanAfter: defaultPlanAfter},
		Calls:    Calls{PerHour: limits.Calls, OtherPerHour: limits.OtherCalls, SelfTest: config.Duration(24 * time.Hour), Price: 0.02, Few: sentinel.DefaultFewCalls, Keypad: Keypad{Port: 443}},
		Anchors:  []string{"1.1.1.1:443", "9.9.9.9:443"},
		Journal:  Journal{Keep: config.Duration(400 * 24 * time.Hour)},
		Deadman:  Deadman{Every: config.Duration(time.Minute)},

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

// defaultPlanAfter is how long the internet is out before it begins the plan, where it does.
const defaultPlanAfter = config.Duration(30 * time.Minute)

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
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return Config{}, nil, fmt.Errorf("%w; write one, or name another with --config", err)
	case errors.Is(err, fs.ErrPermission):
		return Config{}, nil, fmt.Errorf("%w; %s", err, asItsUser)
	case f == nil:
		return Config{}, nil, err
	}
	for i := range c.Plan {
		if c.Plan[i].Deadline == 0 {
			c.Plan[i].Deadline = defaultNodeDeadline
			if c.Plan[i].Guests != nil {
				c.Plan[i].Deadline = defaultGuestDeadline
			}
		}
	}
	return c, f, f.Join(err, c.check(f))
}

// shutdownPlan is the plan as runs use it.
func (c *Config) shutdownPlan() *shutdown.Plan {
	if len(c.Plan) == 0 {
		return nil
	}
	site := &c.Sites[0]
	p := &shutdown.Plan{Site: site.Name, Wiring: power.Wire(site.feeds(), site.AnyUPS)}
	for _, s := range c.Plan {
		stage := shutdown.Stage{Guests: s.Guests.choice(), Timeout: s.Timeout.Std(), Deadline: s.Deadline.Std()}
		stage.AllGuests = s.Guests != nil && s.Guests.All
		for _, name := range slices.Sorted(maps.Keys(s.Nodes)) {
			m := s.Nodes[name]
			stage.Nodes = append(stage.Nodes, name)
			p.Nodes = append(p.Nodes, shutdown.Node{Name: name, API: m.API, Fingerprint: m.Fingerprint, MAC: m.MAC})
		}
		stage.Hosts = slices.Clone(s.Hosts)
		p.Stages = append(p.Stages, stage)
	}
	return p
}

// feeds are the nodes behind each UPS; nil: nobody said.
func (s *Site) feeds() map[string][]string {
	var feeds map[string][]string
	for _, u := range s.UPSes {
		if feeds == nil {
			feeds = map[string][]string{}
		}
		feeds[u.Name] = u.Feeds
	}
	return feeds
}

func (c *Config) policy() power.Policy {
	p := power.DefaultPolicy()
	p.RideThrough, p.RuntimeMargin, p.ChargeFloor = c.Power.RideThrough.Std(), c.Power.RuntimeMargin.Std(), c.Power.ChargeFloor.Ratio()
	return p
}
