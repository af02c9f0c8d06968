package home

import (
	"context"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"sentinel.home.arpa/deploy/lab/internal/edge"
	"sentinel.home.arpa/shared/sim/upssim"
)

// UPS is one of the home's, with the Pi that reads it.
type UPS struct {
	Name, Pi string
	Feeds    []string // nodes and hosts; none: all of them
}

// UPSes are so many of the home's, each of which feeds everything; the Pi of the first acts first.
func UPSes(n int) []UPS {
	all := []UPS{{Name: "ups", Pi: piName}}
	for i := 2; i <= n; i++ {
		all = append(all, UPS{Name: fmt.Sprintf("ups%d", i), Pi: fmt.Sprintf("pi%d", i)})
	}
	return all
}

// supply is a UPS and its Pi as they run.
type supply struct {
	UPS
	sim   *upssim.UPS // nil: somebody else's
	nis   string      // where apcupsd answers
	lan   string      // and the Pi
	pi    *process
	armed chan struct{} // closed when the Pi has an armed plan on its disk
	once  sync.Once
}

func (h *Home) pis() []string {
	var names []string
	for _, s := range h.supplies {
		names = append(names, s.Pi)
	}
	return names
}

// Places are the names that UPS and PI stand for in Actions; with one UPS there is none to name.
func (h *Home) Places() map[string][]string {
	places := map[string][]string{"PI": h.pis(), "UPS": nil}
	for _, s := range h.supplies {
		places["UPS"] = append(places["UPS"], s.Name)
	}
	if len(h.supplies) == 1 {
		places["UPS"] = nil
	}
	return places
}

func (h *Home) isPi(name string) bool { return slices.Contains(h.pis(), name) }

// startUPSes starts each UPS's apcupsd, but for the first's where somebody else's stands there.
func (h *Home) startUPSes(ctx context.Context) error {
	for i, u := range h.opts.UPSes {
		s := &supply{UPS: u, armed: make(chan struct{})}
		h.supplies = append(h.supplies, s)
		if s.nis = h.opts.NIS; s.nis != "" && i == 0 {
			continue
		}
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		s.nis = ln.Addr().String()
		s.sim = upssim.New(upssim.Config{Name: s.Name, OnEvent: func(event string) { h.upsEvent(s, event) }, Edge: func(a upssim.Answered) {
			h.rec.Add(a.At, edge.Entry{Edge: edge.UPS, Node: s.Name, Flags: fmt.Sprintf("0x%08x", a.Flags), What: a.Status})
		}})
		h.wg.Go(func() {
			if err := s.sim.Serve(ctx, ln); err != nil {
				h.say(s.Name, "stopped: "+err.Error())
			}
		})
	}
	return nil
}

// upsEvent runs what apcupsd's script on the Pi would.
func (h *Home) upsEvent(s *supply, event string) {
	h.say(s.Name, upsWords(event, s.sim.State()))
	ctx, cancel := context.WithTimeout(h.ctx, 3*time.Second)
	defer cancel()
	if err := h.toItsEnd(ctx, h.bin("pi-proxy"), "event", event, "--socket", h.socketOf(s.Pi)); err != nil && h.ctx.Err() == nil {
		h.say(s.Name, "the Pi was not told of "+event)
	}
}

func upsWords(event string, s upssim.Snapshot) string {
	words := map[string]string{"powerout": "on battery", "onbattery": "still on battery", "mainsback": "on mains", "offbattery": "charging",
		"commfailure": "has lost its cable", "commok": "has its cable back", "startselftest": "begins a self-test", "endselftest": "ends its self-test"}
	what, ok := words[event]
	if !ok {
		what = event
	}
	return fmt.Sprintf("%s, %.0f %%, %d min", what, s.Charge, int(s.Runtime.Minutes()))
}

// chosen are the UPSes that a line is about: the one that it names, or all.
func (h *Home) chosen(name string) ([]*supply, error) {
	var all []*supply
	for _, s := range h.supplies {
		switch {
		case name != "" && name != s.Name:
		case s.sim == nil:
			return nil, errForeign
		default:
			all = append(all, s)
		}
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("%q is no UPS", name)
	}
	return all, nil
}

// plug has the mains go or come back, at one UPS or at all.
func (h *Home) plug(in bool, name string) error {
	chosen, err := h.chosen(name)
	if err != nil {
		return err
	}
	h.say("lab", strings.TrimSpace(map[bool]string{true: "mains on ", false: "mains off "}[in]+name))
	for _, s := range chosen {
		s.sim.Plug(in)
	}
	if !in || h.cluster == nil {
		return nil
	}
	for _, n := range h.opts.Nodes { // machines set to start when power is there
		fed := slices.ContainsFunc(chosen, func(s *supply) bool { return slices.Contains(h.feeds(s), n) })
		if fed && !h.cluster.NodeUp(n) {
			if err := h.cluster.Start(n); err != nil {
				h.say("lab", err.Error())
			}
		}
	}
	return nil
}

func (h *Home) feeds(s *supply) []string {
	if s.Feeds == nil {
		return h.agents()
	}
	return s.Feeds
}

// upsDaemon has apcupsd die, or come back.
func (h *Home) upsDaemon(word, name string) error {
	on, err := onOff(word)
	if err != nil {
		return err
	}
	chosen, err := h.chosen(name)
	if err != nil {
		return err
	}
	h.say("lab", strings.TrimSpace("apcupsd "+word+" "+name))
	for _, s := range chosen {
		if err := s.sim.Daemon(on); err != nil {
			return err
		}
	}
	return nil
}

func (h *Home) runtime(word, name string) error {
	d, err := time.ParseDuration(word)
	if err != nil {
		return err
	}
	chosen, err := h.chosen(name)
	if err != nil {
		return err
	}
	h.say("lab", "the battery lasts "+word)
	for _, s := range chosen {
		s.sim.SetRuntime(d)
	}
	return nil
}

// wiring is what the brain is told of several UPSes.
func (h *Home) wiring() string {
	if len(h.supplies) == 1 && h.supplies[0].Feeds == nil {
		return ""
	}
	text := "    ups:\n"
	for _, s := range h.supplies {
		text += fmt.Sprintf("      - {name: %s, feeds: [%s]}\n", s.Name, strings.Join(h.feeds(s), ", "))
	}
	return text + fmt.Sprintf("    any_ups: [%s]\n", strings.Join(h.opts.AnyUPS, ", "))
}

// relayOf is the name of the brain's way to a Pi among the links.
func relayOf(pi string) string { return "relay " + pi }

func (h *Home) piConfig(k keys, s *supply) string {
	way := ""
	if h.overlay != nil {
		way = h.onTailnet(s.Pi, h.controlURL())
	} else {
		way = fmt.Sprintf("brains: [{address: %q, key: %q}]\n", h.links[s.Pi].Addr(), k.brain)
	}
	return way + fmt.Sprintf(`name: %s
site: %s
state_dir: %s
boot_id_file: %s
control_socket: %s
log: {level: info, format: json}
lan: {listen: %q}
ups: [{name: %s, nis: %q}]
anchors: [%q, %q]
halt: false # it is no machine of its own
`, s.Pi, site, h.dirOf(s.Pi), filepath.Join(h.dirOf(s.Pi), "boot_id"), h.socketOf(s.Pi), s.lan, s.Name, s.nis, h.wayOut.addrs[0], h.wayOut.addrs[1])
}

func (h *Home) socketOf(pi string) string { return filepath.Join(h.dirOf(pi), "control.sock") }
