package stages

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"time"

	"sentinel.home.arpa/deploy/lab/internal/edge"
)

// Command is one that Proxmox was sent.
type Command struct {
	At     time.Duration
	Verb   string // shutdown or stop; anything else shuts nothing down
	Target string // a node's name, or a guest's path below /nodes, as pve1/qemu/100
	Node   bool   // the target is a node
	By     string // brain or pi, where the lab can tell
	Status int    // of the answer
	Run    int    // how many guests ran then
}

// Down reports whether the command shuts something down.
func (c Command) Down() bool { return c.Verb == "shutdown" || c.Verb == "stop" }

// Record is what the edges saw, put in order.
type Record struct {
	Commands []Command
	Offs     map[string][]time.Duration // when nodes went off
	Ons      map[string][]time.Duration // and came back
	Battery  time.Duration              // when the UPS was first read on battery; 0: never
	Mains    time.Duration              // when it was first read on mains after that; 0: never
	Calls    []time.Duration            // when calls were asked for
	Texts    []string                   // and what they were to say
}

// Read reads a record, from a moment on.
func Read(es []edge.Entry, from time.Duration) *Record {
	r := &Record{Offs: map[string][]time.Duration{}, Ons: map[string][]time.Duration{}}
	sent := map[string]string{} // who sent each request last, by its path
	for _, e := range es {
		if e.At() < from {
			continue
		}
		switch e.Edge {
		case edge.UPS:
			r.supply(e)
		case edge.Way:
			if who, request, ok := strings.Cut(e.What, " sends POST "); ok {
				path, _, _ := strings.Cut(request, " ")
				sent[path] = who
			}
		case edge.PVE:
			if c, ok := command(e); ok {
				c.By = sent[e.Path]
				r.Commands = append(r.Commands, c)
			}
		case edge.Lab:
			switch e.What {
			case "off":
				r.Offs[e.Node] = append(r.Offs[e.Node], e.At())
			case "on":
				r.Ons[e.Node] = append(r.Ons[e.Node], e.At())
			}
		case edge.Twilio:
			if form, err := url.ParseQuery(e.Body); err == nil && e.Method == "POST" && strings.HasSuffix(e.Path, "/Calls.json") {
				r.Calls, r.Texts = append(r.Calls, e.At()), append(r.Texts, form.Get("Twiml"))
			}
		}
	}
	return r
}

// supply notes what the UPS was read as.
func (r *Record) supply(e edge.Entry) {
	const onLine, onBattery = 0x8, 0x10
	var flags uint32
	if _, err := fmt.Sscanf(e.Flags, "0x%x", &flags); err != nil {
		return
	}
	switch {
	case flags&onBattery != 0 && r.Battery == 0:
		r.Battery = e.At()
	case flags&onBattery == 0 && flags&onLine != 0 && r.Battery > 0 && r.Mains == 0:
		r.Mains = e.At()
	}
}

// command reads a request that changes something.
func command(e edge.Entry) (Command, bool) {
	if e.Method == "GET" {
		return Command{}, false
	}
	c := Command{At: e.At(), Status: e.Status}
	_, _ = fmt.Sscanf(e.What, "%d guests run", &c.Run)
	path := strings.TrimPrefix(e.Path, "/api2/json/nodes/")
	parts := strings.Split(path, "/")
	switch {
	case len(parts) == 5 && parts[3] == "status":
		c.Target, c.Verb = strings.Join(parts[:3], "/"), parts[4]
	case len(parts) == 2 && parts[1] == "status":
		c.Target, c.Node, c.Verb = parts[0], true, verb(e.Body)
	default:
		c.Target, c.Verb = path, e.Method
	}
	return c, true
}

// verb is the command in a node's request, JSON or a form.
func verb(body string) string {
	var v struct{ Command string }
	if json.Unmarshal([]byte(body), &v) == nil {
		return v.Command
	}
	form, err := url.ParseQuery(body)
	if err != nil {
		return ""
	}
	return form.Get("command")
}

// Downs are the commands that shut something down.
func (r *Record) Downs() []Command {
	var out []Command
	for _, c := range r.Commands {
		if c.Down() {
			out = append(out, c)
		}
	}
	return out
}

// Told reports whether a target was told to shut down by a moment, whatever was answered.
func (r *Record) Told(target string, by time.Duration) bool {
	for _, c := range r.Downs() {
		if c.Target == target && c.At <= by {
			return true
		}
	}
	return false
}

// Off reports whether a node was off at a moment.
func (r *Record) Off(node string, at time.Duration) bool {
	last := func(times []time.Duration) time.Duration {
		var l time.Duration = -1
		for _, t := range times {
			if t <= at {
				l = t
			}
		}
		return l
	}
	return last(r.Offs[node]) > last(r.Ons[node])
}
