package pvesim

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"time"

	"sentinel.home.arpa/shared/sim/freeport"
)

// The kinds of guests, as Proxmox names them in paths.
const (
	QEMU = "qemu"
	LXC  = "lxc"
)

// Kinds of a node's going down, as given to the OnStopping hooks.
const (
	PowerOff = "poweroff"
	Reboot   = "reboot"
)

// Config describes a cluster. Durations that are zero take the default named.
type Config struct {
	Nodes []NodeConfig

	// TokenID ("user@realm!name") and Secret are the one token that is let in.
	TokenID, Secret string

	// Missing lists privileges that the token lacks everywhere, such as
	// "Sys.PowerMgmt". Without VM.Audit lists are empty, as with the real one.
	Missing []string

	// Grants are the token's privileges by path, "/nodes/pve1"; they hold for all that
	// lies below, down to a path that has its own. Nil: all that is needed, on "/".
	Grants map[string][]string

	// Edge sees each request with its answer, before the answer is sent. It is
	// called from several goroutines and never gets the Authorization header.
	Edge func(Exchange)

	AuthDelay      time.Duration // before a 401; none by default, 3 s in reality
	ProxyDelay     time.Duration // before a 595 or 596 for another node; none by default, up to 30 s in reality
	AgentDelay     time.Duration // how long a guest's agent that does not answer is waited for; 3 s
	ShutdownDelay  time.Duration // from the answer to the begin of a node's shutdown; 2 s
	StopAllTimeout time.Duration // how long a stopping node waits for its guests; 180 s
	LockTimeout    time.Duration // how long a task waits for another one's hold on a guest; 10 s
	RebootTakes    time.Duration // from down to up in a reboot; 10 s
}

// NodeConfig describes one node.
type NodeConfig struct {
	Name string

	// Listen opens the node's API port each time that the node comes up. It
	// must not call the Cluster. Nil: a port of the loopback interface, the
	// same one each time.
	Listen func() (net.Listener, error)

	Guests []Guest
}

// Guest is a virtual machine or a container, in a Config and as Cluster.Guest
// reports it.
type Guest struct {
	VMID    int
	Name    string
	Type    string // QEMU or LXC
	Running bool
	OnBoot  bool // started when its node comes up and the cluster is quorate

	StopTakes time.Duration // from being asked to being off
	Hangs     bool          // ignores being asked; only force helps
	Lock      string        // "backup", "snapshot"...: refuses to be stopped or started
	Tags      string        // separated by semicolons
	Pool      string
	Startup   string // "order=1,down=90": only shown, by its configuration
	Template  bool
	HA        bool // shown as managed by high availability, which does nothing here

	Node string // set by the Cluster
}

// Exchange is one request and the answer to it.
type Exchange struct {
	At          time.Time // when the request had been read
	Node        string    // the node whose API was asked
	Method      string
	Path        string // with the query
	ContentType string
	Body        string // the first 4 KiB
	Status      int    // 0: the request was left hanging
	Reason      string // the reason phrase
	Answer      string // the first 4 KiB
}

func (cfg *Config) setDefaults() {
	def := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	def(&cfg.ShutdownDelay, 2*time.Second)
	def(&cfg.StopAllTimeout, 180*time.Second)
	def(&cfg.LockTimeout, 10*time.Second)
	def(&cfg.RebootTakes, 10*time.Second)
	def(&cfg.AgentDelay, 3*time.Second)
	if cfg.Grants == nil {
		cfg.Grants = map[string][]string{"/": {"Sys.Audit", "Sys.PowerMgmt", "VM.Audit", "VM.PowerMgmt"}}
	}
}

func (cfg *Config) check() error {
	if len(cfg.Nodes) == 0 {
		return errors.New("no nodes")
	}
	if cfg.TokenID == "" || cfg.Secret == "" {
		return errors.New("no token")
	}
	names, ids := map[string]bool{}, map[int]bool{}
	for _, n := range cfg.Nodes {
		if !nodeName.MatchString(n.Name) || names[n.Name] {
			return fmt.Errorf("node %q: the name is malformed or taken", n.Name)
		}
		names[n.Name] = true
		for _, g := range n.Guests {
			if g.VMID < minVMID || g.VMID > maxVMID || ids[g.VMID] {
				return fmt.Errorf("guest %d: the id is out of range or taken", g.VMID)
			}
			ids[g.VMID] = true
			if !slices.Contains([]string{QEMU, LXC}, g.Type) {
				return fmt.Errorf("guest %d: unknown type %q", g.VMID, g.Type)
			}
			if g.Lock != "" && !slices.Contains(locks(g.Type), g.Lock) {
				return fmt.Errorf("guest %d: unknown lock %q", g.VMID, g.Lock)
			}
		}
	}
	return nil
}

// ownLoopback is an address within 127.0.0.0/8 that a node has for itself: while it is off,
// nobody else's listener or connection takes its port, which would look as if it were up.
func ownLoopback() net.IP {
	n := rand.Uint32()
	return net.IPv4(127, byte(1+n>>16%250), byte(n>>8), byte(1+n%250))
}

// listenAt returns a Listen that takes any free port of an address the first time and the
// same one from then on.
func listenAt(ip net.IP) func() (net.Listener, error) {
	addr := net.JoinHostPort(ip.String(), "0")
	return func() (net.Listener, error) {
		ln, err := freeport.Again("tcp", addr)
		if err == nil {
			addr = ln.Addr().String()
		}
		return ln, err
	}
}
