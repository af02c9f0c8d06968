package pvesim

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// tenYears is how long certificates are valid unless said otherwise.
const tenYears = 10 * 365 * 24 * time.Hour

// Do does what a line says, as scripts and the control route give it:
//
//	NODE mute|hang|half|cut|page|lies|unauthorized [ON]
//	NODE status CODE [ON] [REASON...]
//	NODE slow DURATION [ON]
//	NODE lacks PRIVILEGE[,PRIVILEGE...]
//	NODE noforward 595|596
//	NODE none|renew|cut-power|start
//	VMID deaf|noagent|immortal|nothing|endless|notask|none
//	VMID locked LOCK
//	VMID fails|refuses REASON...
//	VMID migrate NODE
//	split on|off
//
// ON is one of reads, commands, node and guests; without it all requests are meant.
func (c *Cluster) Do(line string) error {
	words := strings.Fields(line)
	if len(words) < 2 {
		return fmt.Errorf("%q: write whose fault, and which", line)
	}
	who, verb, args := words[0], words[1], words[2:]
	if who == "split" {
		if verb != "on" && verb != "off" {
			return fmt.Errorf("%q: split on or off", line)
		}
		c.Split(verb == "on")
		return nil
	}
	if vmid, err := strconv.Atoi(who); err == nil {
		if verb == "migrate" && len(args) == 1 {
			return c.Migrate(vmid, args[0])
		}
		kind := GuestFaultKind(verb)
		if verb == "none" {
			kind = Fine
		}
		return c.GuestFault(vmid, GuestFault{Kind: kind, Reason: strings.Join(args, " ")})
	}
	switch verb {
	case "renew":
		return c.Renew(who, tenYears)
	case "start":
		return c.Start(who)
	case "cut-power":
		if c.node(who) == nil {
			return fmt.Errorf("%s: no such node", who)
		}
		c.PowerCut(who)
		return nil
	}
	f, err := parseFault(FaultKind(verb), args)
	if err != nil {
		return fmt.Errorf("%q: %w", line, err)
	}
	return c.Fault(who, f)
}

// parseFault reads what follows a node's name.
func parseFault(kind FaultKind, args []string) (Fault, error) {
	f := Fault{Kind: kind}
	next := func() string {
		if len(args) == 0 {
			return ""
		}
		first := args[0]
		args = args[1:]
		return first
	}
	var err error
	switch kind {
	case "none":
		f.Kind = None
	case Status, NoForward:
		f.Code, err = strconv.Atoi(next())
	case Slow:
		f.Delay, err = time.ParseDuration(next())
	case Lacks:
		f.Privileges = strings.FieldsFunc(next(), func(r rune) bool { return r == ',' })
	}
	if err != nil {
		return Fault{}, err
	}
	if len(args) > 0 && slices.Contains([]Scope{Reads, Commands, NodeCommands, GuestCommands}, Scope(args[0])) {
		f.On = Scope(next())
	}
	switch {
	case kind == Status:
		f.Reason = strings.Join(args, " ")
	case kind == NoForward:
		f.Reason = map[int]string{connectFailed: "Connection refused", noAnswer: "Connection timed out"}[f.Code]
	case len(args) > 0:
		return Fault{}, errors.New("there is a word too many: " + args[0])
	}
	return f, nil
}

// State is what has been done to the cluster, by node and by guest.
type State struct {
	Split  bool               `json:"split"`
	Nodes  map[string]Fault   `json:"nodes"`
	Guests map[int]GuestFault `json:"guests"`
}

// Faults are the faults in force.
func (c *Cluster) Faults() State {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := State{Split: c.split, Nodes: map[string]Fault{}, Guests: map[int]GuestFault{}}
	for _, n := range c.nodes {
		if n.fault.Kind != None {
			s.Nodes[n.cfg.Name] = n.fault
		}
	}
	for id, g := range c.guests {
		if g.fault.Kind != Fine {
			s.Guests[id] = g.fault
		}
	}
	return s
}

// Control is the control route: POST takes a line for Do, GET shows Faults as JSON. It asks
// for no token, so it belongs on an address of its own.
func (c *Cluster) Control() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(c.Faults()) // the reader may be gone
	})
	mux.HandleFunc("POST /", func(w http.ResponseWriter, r *http.Request) {
		line, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxRecorded))
		if err == nil {
			err = c.Do(string(line))
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	})
	return mux
}
