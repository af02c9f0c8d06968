package shutdown

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"sentinel.home.arpa/shared/power"
)

// Plan is the order in which a site goes down.
type Plan struct {
	Site   string  `json:"site"`
	Nodes  []Node  `json:"nodes"` // every Proxmox node of the plan, whichever stage takes it
	Stages []Stage `json:"stages"`
	// Wiring is which UPS feeds which machine; nil: each may feed all (rule U7).
	Wiring *power.Wiring `json:"wiring,omitempty"`
}

// Node is a Proxmox node.
type Node struct {
	Name        string `json:"name"` // Proxmox's own name for it, and its agent's
	API         string `json:"api"`  // https://host:8006, the node's own address
	Fingerprint string `json:"fingerprint,omitempty"`
	MAC         string `json:"mac,omitempty"`
}

// Stage is what goes down together.
type Stage struct {
	AllGuests bool          `json:"all_guests,omitempty"` // every guest that runs on the plan's nodes and is of no other stage
	Guests    *Choice       `json:"guests,omitempty"`     // these guests alone
	Timeout   time.Duration `json:"timeout,omitempty"`    // of each guest's own shutdown; 0: the guest's own, or all that is left
	Nodes     []string      `json:"nodes,omitempty"`
	Hosts     []string      `json:"hosts,omitempty"` // Linux hosts, by their agents' names
	Deadline  time.Duration `json:"deadline"`
}

// Node finds a node of the plan by name.
func (p Plan) Node(name string) (Node, bool) {
	for _, n := range p.Nodes {
		if n.Name == name {
			return n, true
		}
	}
	return Node{}, false
}

// Need is what the plan takes at most, from its first command to its last machine down.
func (p Plan) Need() time.Duration {
	var d time.Duration
	for _, s := range p.Stages {
		d += s.Deadline
	}
	return d
}

// Kind is what a target is.
type Kind string

// The kinds. A Listing is the question to a node which guests run on it; its answer
// brings the Guest targets of a stage.
const (
	Listing     Kind = "listing"
	Guest       Kind = "guest"
	ProxmoxNode Kind = "node"
	// Host is a Linux host, which its own agent powers off.
	Host Kind = "host"
)

// Target is one thing that a run brings down, or asks.
type Target struct {
	Kind Kind   `json:"kind"`
	Node string `json:"node"`
	VMID int    `json:"vmid,omitempty"`
	Type string `json:"type,omitempty"` // qemu or lxc
	Name string `json:"name,omitempty"`
	// Down is how long a guest's own configuration gives its shutdown; 0: it does not say.
	Down time.Duration `json:"down,omitempty"`
	// Second is of a guest whose number the run had found on another node before. Only its ID
	// names its node, so that what was written before there were such still stands.
	Second bool `json:"second,omitempty"`
	// By these a stage chooses its guests; a run does not keep them.
	Tags []string `json:"tags,omitempty"`
	Pool string   `json:"pool,omitempty"`
}

// ID names the target within its run.
func (t Target) ID() string {
	switch {
	case t.Kind == Guest && t.Second:
		return fmt.Sprintf("guest/%s/%d", t.Node, t.VMID)
	case t.Kind == Guest:
		return fmt.Sprintf("guest/%d", t.VMID)
	}
	return string(t.Kind) + "/" + t.Node
}

// Ref names a guest to other programs: its type, its node and its number.
func (t Target) Ref() string { return fmt.Sprintf("%s/%s/%d", t.Type, t.Node, t.VMID) }

// ParseRef reads what Ref wrote, with or without a name behind it. False: it is no guest.
func ParseRef(s string) (Target, bool) {
	kind, rest, _ := strings.Cut(s, "/")
	node, rest, _ := strings.Cut(rest, "/")
	number, name, _ := strings.Cut(rest, "/")
	id, err := strconv.Atoi(number)
	if kind != "qemu" && kind != "lxc" || node == "" || err != nil || id <= 0 {
		return Target{}, false
	}
	return Target{Kind: Guest, Node: node, VMID: id, Type: kind, Name: name}, true
}

// Said is how a person calls the target.
func (t Target) Said() string {
	switch {
	case t.Kind == Guest && t.Name != "":
		return t.Name
	case t.Kind == Guest:
		return fmt.Sprintf("guest %d", t.VMID)
	default:
		return t.Node
	}
}

// Command is what an executor has to do for a target now.
type Command struct {
	Target Target
	Start  bool // a guest; else it is shut down, or a listing asked
	// Left is what remains of the stage's deadline; a guest is given that long to
	// shut down before it is stopped hard, or Given if that is less and not 0.
	Left, Given time.Duration
}
