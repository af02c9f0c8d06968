package pvesim

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// FaultKind says how a node's API misbehaves.
type FaultKind string

// The faults of a node. Mute, Hang, Status and HTML200 do nothing and know no token.
const (
	None         FaultKind = ""
	Mute         FaultKind = "mute"         // takes the connection and says nothing, not even in TLS
	Hang         FaultKind = "hang"         // reads the request and never answers
	Half         FaultKind = "half"         // does as told, sends half of the answer, and stays silent
	Cut          FaultKind = "cut"          // does as told, sends half of the answer, and hangs up
	Status       FaultKind = "status"       // answers Code and Reason with an empty body
	HTML200      FaultKind = "page"         // answers 200 with a page, as a captive portal does
	Lies         FaultKind = "lies"         // answers commands with success and does nothing
	Slow         FaultKind = "slow"         // does as told after Delay, whether or not anybody still waits
	Unauthorized FaultKind = "unauthorized" // does not know the token any more
	Lacks        FaultKind = "lacks"        // the token lacks Privileges on everything that is asked for here
	NoForward    FaultKind = "noforward"    // what it forwards to other nodes ends with Code and Reason
)

// Scope narrows a fault to some requests.
type Scope string

// The scopes. A node that is Mute is so for all.
const (
	Everything    Scope = ""
	Reads         Scope = "reads"
	Commands      Scope = "commands"
	NodeCommands  Scope = "node"   // its own poweroff and reboot
	GuestCommands Scope = "guests" // commands for guests
)

// Fault is a misbehaviour of one node's own API.
type Fault struct {
	Kind       FaultKind     `json:"kind"`
	On         Scope         `json:"on,omitempty"`
	Code       int           `json:"code,omitempty"`       // for Status; for NoForward 595 or 596
	Reason     string        `json:"reason,omitempty"`     // for Status and NoForward
	Delay      time.Duration `json:"delay,omitempty"`      // for Slow
	Privileges []string      `json:"privileges,omitempty"` // for Lacks
}

func (f Fault) check() error {
	switch f.Kind {
	case None, Mute, Hang, Half, Cut, HTML200, Lies, Unauthorized:
	case Status:
		if f.Code < 100 || f.Code > 599 || f.Code == http.StatusOK {
			return fmt.Errorf("status needs a code of a failure, not %d", f.Code)
		}
	case Slow:
		if f.Delay <= 0 {
			return errors.New("slow needs a delay")
		}
	case Lacks:
		if len(f.Privileges) == 0 {
			return errors.New("lacks needs privileges")
		}
	case NoForward:
		if f.Code != connectFailed && f.Code != noAnswer {
			return fmt.Errorf("noforward needs the code %d or %d", connectFailed, noAnswer)
		}
	default:
		return fmt.Errorf("unknown fault %q", f.Kind)
	}
	if !slices.Contains([]Scope{Everything, Reads, Commands, NodeCommands, GuestCommands}, f.On) {
		return fmt.Errorf("unknown scope %q", f.On)
	}
	if f.Kind == Mute && f.On != Everything {
		return errors.New("mute is for all requests: none is read")
	}
	return nil
}

// at is the fault that a request meets.
func (f Fault) at(r *http.Request) Fault {
	command := r.Method != http.MethodGet
	ofNode := command && strings.Count(strings.TrimPrefix(r.URL.Path, apiPrefix), "/") == 3 && strings.HasSuffix(r.URL.Path, "/status")
	met := map[Scope]bool{Everything: true, Reads: !command, Commands: command, NodeCommands: ofNode, GuestCommands: command && !ofNode}
	if !met[f.On] {
		return Fault{}
	}
	return f
}

// GuestFaultKind says how a guest resists.
type GuestFaultKind string

// The faults of a guest.
const (
	Fine     GuestFaultKind = ""
	Deaf     GuestFaultKind = "deaf"     // ignores being asked; only force helps
	NoAgent  GuestFaultKind = "noagent"  // its agent does not answer for 3 s, then ACPI is tried
	Immortal GuestFaultKind = "immortal" // survives force, too: its tasks end with OK, and it runs on
	Locked   GuestFaultKind = "locked"   // refuses in its task, because of the lock that Reason names
	Fails    GuestFaultKind = "fails"    // its tasks end at once with Reason
	Nothing  GuestFaultKind = "nothing"  // its tasks end at once with OK, and nothing was done
	Endless  GuestFaultKind = "endless"  // its tasks run on and do nothing
	NoTask   GuestFaultKind = "notask"   // commands answer a task that nobody knows
	Refuses  GuestFaultKind = "refuses"  // commands answer 500 with Reason
)

// GuestFault is a resistance of one guest.
type GuestFault struct {
	Kind   GuestFaultKind `json:"kind"`
	Reason string         `json:"reason,omitempty"` // for Locked, Fails and Refuses
}

// locks are what Proxmox locks guests with, by their type.
func locks(guestType string) []string {
	if guestType == LXC {
		return []string{"backup", "create", "destroyed", "disk", "fstrim", "migrate", "mounted", "rollback", "snapshot", "snapshot-delete"}
	}
	return []string{"backup", "clone", "create", "migrate", "rollback", "snapshot", "snapshot-delete", "suspending", "suspended"}
}

func (f GuestFault) check(guestType string) error {
	switch f.Kind {
	case Fine, Deaf, NoAgent, Immortal, Nothing, Endless, NoTask:
		return nil
	case Locked:
		if !slices.Contains(locks(guestType), f.Reason) {
			return fmt.Errorf("%q is no lock of a %s guest; write one of %s", f.Reason, guestType, strings.Join(locks(guestType), ", "))
		}
		return nil
	case Fails, Refuses:
		if f.Reason == "" {
			return fmt.Errorf("%s needs a reason", f.Kind)
		}
		return nil
	}
	return fmt.Errorf("unknown fault %q", f.Kind)
}

// Fault makes a node's own API misbehave, until it is called with None.
func (c *Cluster) Fault(name string, f Fault) error {
	n := c.node(name)
	if n == nil {
		return fmt.Errorf("fault of %s: no such node", name)
	}
	if err := f.check(); err != nil {
		return fmt.Errorf("fault of %s: %w", name, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	n.fault = f
	if n.on != nil {
		n.on.ln.mute.Store(f.Kind == Mute)
	}
	return nil
}

// GuestFault makes a guest resist, until it is called with Fine. It takes the place of what
// the Config said about the guest's being locked or hanging.
func (c *Cluster) GuestFault(vmid int, f GuestFault) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	g := c.guests[vmid]
	if g == nil {
		return fmt.Errorf("fault of guest %d: no such guest", vmid)
	}
	if err := f.check(g.cfg.Type); err != nil {
		return fmt.Errorf("fault of guest %d: %w", vmid, err)
	}
	g.fault = f
	g.cfg.Hangs, g.cfg.Lock = f.Kind == Deaf || f.Kind == Immortal, ""
	if f.Kind == Locked {
		g.cfg.Lock = f.Reason
	}
	return nil
}

// Split cuts the nodes off from each other, or joins them again: no quorum, and nothing is
// forwarded. Each node's own API is reached as before.
func (c *Cluster) Split(on bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.split = on
	c.nodesChanged()
}

// Renew gives a node another certificate, valid for as long. Connections that stand are
// dropped, as by the restart of the API's server that comes with it.
func (c *Cluster) Renew(name string, valid time.Duration) error {
	n := c.node(name)
	if n == nil {
		return fmt.Errorf("renew the certificate of %s: no such node", name)
	}
	cert, err := newCert(name, time.Now().Add(valid), n.ip)
	if err != nil {
		return fmt.Errorf("renew the certificate of %s: %w", name, err)
	}
	var key [32]byte
	if _, err := rand.Read(key[:]); err != nil {
		return fmt.Errorf("renew the certificate of %s: %w", name, err)
	}
	n.cert.Store(&cert)
	n.tls.SetSessionTicketKeys([][32]byte{key}) // a session of before must not stand in for the certificate
	c.mu.Lock()
	defer c.mu.Unlock()
	if n.on != nil {
		n.on.ln.drop()
	}
	return nil
}
