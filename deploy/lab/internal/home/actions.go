package home

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"sentinel.home.arpa/deploy/lab/internal/edge"
	"sentinel.home.arpa/shared/sim/pvesim"
)

// readyWithin is how long the home may take to be whole after its start.
const readyWithin = 30 * time.Second

var errForeign = errors.New("somebody else's simulator stands there")

// Actions are the verbs that Do understands, with what they do.
func Actions() [][2]string {
	return [][2]string{
		{"unplug", "the mains go off"}, {"plug", "the mains come back"},
		{"unplug UPS", "one UPS of several loses the mains"}, {"plug UPS", "it has them back"},
		{"kill NODE|PI", "it loses its power"}, {"start NODE|PI", "it is switched on"},
		{"shutdown NODE", "somebody shuts a node down"}, {"reboot NODE", "somebody reboots a node"},
		{"internet off|on", "the home's internet"}, {"path NODE|PI off|on", "one machine's way to the brain"},
		{"ups off|on", "the UPS's daemon on the Pi"},
		{"freeze brain|PI|NODE", "the program stands still"}, {"thaw brain|PI|NODE", "it goes on"},
		{"restart brain|PI|NODE", "it is killed and started again"}, {"move brain", "it goes on elsewhere, on a copy of what it keeps"},
		{"runtime 42m|5m", "what the battery lasts"},
		{"phone away|takes", "nobody takes calls, or somebody does, or presses keys, each so long after the one before: phone 4s 2 4s 2"},
		{"pve NODE hang|lies|none", "a node's API misbehaves, or what else the simulator takes: pve 100 locked backup, pve split on"},
		{"arm", "somebody arms the plan"}, {"disarm", "somebody disarms it"},
	}
}

// Do does what a line says to the home.
func (h *Home) Do(line string) error {
	words := strings.Fields(line)
	if len(words) == 0 {
		return nil
	}
	h.rec.Add(time.Now(), edge.Entry{Edge: edge.Lab, What: strings.Join(words, " ")})
	verb, args := words[0], words[1:]
	arg := func(i int) string {
		if i < len(args) {
			return args[i]
		}
		return ""
	}
	switch verb {
	case "unplug", "plug":
		return h.plug(verb == "plug", arg(0))
	case "kill", "start", "shutdown", "reboot":
		return h.node(verb, arg(0))
	case "internet":
		return h.internet(arg(0))
	case "path":
		return h.path(arg(0), arg(1))
	case "ups":
		return h.upsDaemon(arg(0), arg(1))
	case "runtime":
		return h.runtime(arg(0), arg(1))
	case "phone":
		return h.person(args)
	case "arm":
		return h.arm()
	case "disarm":
		return h.disarm()
	case "pve":
		return h.misbehave(strings.Join(args, " "))
	case "freeze", "thaw", "restart":
		return h.handle(verb, arg(0))
	case "move":
		return h.move(arg(0))
	}
	return fmt.Errorf("%q is nothing that the lab can do", line)
}

// misbehave sets a fault of the simulated Proxmox, in its own words.
func (h *Home) misbehave(line string) error {
	if h.cluster == nil {
		return errForeign
	}
	if err := h.cluster.Do(line); err != nil {
		return err
	}
	h.say("lab", "proxmox: "+line)
	return nil
}

// Faults is the simulated Proxmox's control route; it answers 404 where somebody else's
// simulator stands.
func (h *Home) Faults() http.Handler {
	if h.cluster == nil {
		return http.NotFoundHandler()
	}
	return http.NewCrossOriginProtection().Handler(h.cluster.Control())
}

func (h *Home) node(verb, name string) error {
	if h.isPi(name) {
		return h.switchPi(verb, name)
	}
	if h.cluster == nil {
		return errForeign
	}
	if h.isHost(name) {
		return h.host(verb, name)
	}
	if !slices.Contains(h.opts.Nodes, name) {
		return fmt.Errorf("%q is no node; there are %s", name, strings.Join(h.opts.Nodes, ", "))
	}
	switch verb {
	case "kill":
		h.say("lab", name+" loses its power")
		h.cluster.PowerCut(name)
	case "start":
		return h.cluster.Start(name)
	case "shutdown":
		h.say("lab", name+": poweroff")
		h.cluster.Halt(name, pvesim.PowerOff)
	case "reboot":
		h.say("lab", name+": reboot")
		h.cluster.Halt(name, pvesim.Reboot)
	}
	return nil
}

// switchPi has a Pi lose its power, or boot.
func (h *Home) switchPi(verb, name string) error {
	p := h.process(name)
	switch verb {
	case "kill":
		h.say("lab", name+" loses its power")
		p.end(syscall.SIGKILL)
		return nil
	case "start":
		h.say("lab", name+" boots")
		return errors.Join(h.newBoot(name), p.start())
	}
	return fmt.Errorf("%s %s: a Pi is only killed and started", verb, name)
}

// nodeStopping is a node's system going down: its agent announces that before anything
// else happens.
func (h *Home) nodeStopping(name, kind string) {
	ctx, cancel := context.WithTimeout(h.ctx, 6*time.Second)
	defer cancel()
	h.announcing(name)
	h.rec.Add(time.Now(), edge.Entry{Edge: edge.Lab, Node: name, What: Announces + " " + kind})
	err := h.toItsEnd(ctx, h.bin("node-hook"), "announce", kind, "--config", h.configOf(name))
	what := Acknowledged
	if err != nil {
		what = Unheard
	}
	h.rec.Add(time.Now(), edge.Entry{Edge: edge.Lab, Node: name, What: what})
	if err != nil && h.ctx.Err() == nil {
		h.say(name, "its announcement got through to nobody: "+err.Error())
	}
}

func (h *Home) nodeDown(name string) {
	h.say(name, "is off")
	h.rec.Add(time.Now(), edge.Entry{Edge: edge.Lab, Node: name, What: "off", MS: 0})
	if p := h.nodes[name]; p != nil {
		p.end(syscall.SIGKILL)
	}
}

func (h *Home) nodeUp(name string) {
	h.say(name, "boots")
	h.rec.Add(time.Now(), edge.Entry{Edge: edge.Lab, Node: name, What: "on"})
	err := h.newBoot(name)
	if p := h.nodes[name]; err == nil && p != nil {
		err = p.start()
	}
	if err != nil {
		h.say("lab", err.Error())
	}
}

func onOff(word string) (bool, error) {
	switch word {
	case "on":
		return true, nil
	case "off":
		return false, nil
	}
	return false, fmt.Errorf("%q is neither on nor off", word)
}

func (h *Home) internet(word string) error {
	on, err := onOff(word)
	if err != nil {
		return err
	}
	h.say("lab", "internet "+word)
	for _, l := range h.links {
		l.Cut(!on)
	}
	return h.wayOut.Cut(!on)
}

func (h *Home) path(who, word string) error {
	on, err := onOff(word)
	l := h.links[who]
	if err != nil || l == nil {
		return errors.Join(err, fmt.Errorf("path %s: of a node or a Pi", who))
	}
	h.say("lab", who+"'s way to the brain is "+word)
	l.Cut(!on)
	return nil
}

// arm presses the button and waits for the answer, but not for longer than a second: the brain
// looks at the machines first.
func (h *Home) arm() error {
	answered := make(chan struct{})
	h.wg.Go(func() {
		defer close(answered)
		ctx, cancel := context.WithTimeout(h.ctx, readyWithin)
		defer cancel()
		if err := h.press(ctx, "/api/v1/plan/arm"); err != nil && h.ctx.Err() == nil {
			h.say("lab", err.Error())
		}
	})
	select {
	case <-answered:
	case <-time.After(time.Second):
		h.say("lab", "arming is under way")
	}
	return nil
}

// disarm presses the button until the brain takes it, and records that it did.
func (h *Home) disarm() error {
	ctx, cancel := context.WithTimeout(h.ctx, readyWithin)
	defer cancel()
	var last error
	err := h.await(ctx, func() bool {
		last = h.press(ctx, "/api/v1/plan/disarm")
		return last == nil
	})
	if err != nil {
		return errors.Join(err, last)
	}
	h.rec.Add(time.Now(), edge.Entry{Edge: edge.Lab, What: Disarmed})
	return nil
}

func (h *Home) handle(verb, who string) error {
	p := h.process(who)
	if p == nil {
		return fmt.Errorf("%s %q: brain, a Pi or a node", verb, who)
	}
	h.say("lab", verb+" "+who)
	switch verb {
	case "freeze":
		return p.signal(syscall.SIGSTOP)
	case "thaw":
		return p.signal(syscall.SIGCONT)
	default:
		p.end(syscall.SIGKILL)
		return p.start()
	}
}

// move kills the brain and starts it on a copy of its state directory, under another boot
// id: its disk was put into another machine.
func (h *Home) move(who string) error {
	if who != h.brain.name {
		return fmt.Errorf("move %q: only the brain can be moved", who)
	}
	h.say("lab", "move brain")
	h.brain.end(syscall.SIGKILL)
	dir := h.dirOf(who)
	if err := os.RemoveAll(h.brainSocket()); err != nil {
		return err
	}
	if out, err := exec.Command("cp", "-a", dir, dir+"-copy").CombinedOutput(); err != nil {
		return fmt.Errorf("copy the brain: %w: %s", err, out)
	}
	if err := os.Rename(dir, dir+"-left"); err != nil {
		return err
	}
	if err := os.Rename(dir+"-copy", dir); err != nil {
		return err
	}
	if err := h.newBoot(who); err != nil {
		return err
	}
	return h.brain.start()
}

// Heartbeat is when the brain was last sent something by a machine.
func (h *Home) Heartbeat(who string) time.Duration {
	return h.rec.Now() - time.Since(h.links[who].Last())
}

// Up reports which nodes have power.
func (h *Home) Up(name string) bool { return h.cluster != nil && h.cluster.NodeUp(name) }

// ready waits until the brain knows everybody, then arms the plan and waits until each Pi
// holds it.
func (h *Home) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyWithin)
	defer cancel()
	if err := h.await(ctx, func() bool { return h.allUp(ctx) }); err != nil {
		return fmt.Errorf("the home is not whole: %w", err)
	}
	if err := h.press(ctx, "/api/v1/plan/arm"); err != nil {
		return fmt.Errorf("arm the plan: %w", err)
	}
	for _, s := range h.supplies {
		select {
		case <-s.armed:
		case <-ctx.Done():
			return fmt.Errorf("%s does not hold the armed plan: %w", s.Pi, ctx.Err())
		}
	}
	return nil
}

func (h *Home) await(ctx context.Context, cond func() bool) error {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for !cond() {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
	return nil
}

// allUp asks the brain's own status: only whether the lab may begin depends on it.
func (h *Home) allUp(ctx context.Context) bool {
	var v struct {
		Sites []struct {
			Sources []struct{ Condition string }
			UPSes   []struct{ Supply string }
		}
	}
	if h.status(ctx, &v) != nil || len(v.Sites) != 1 || len(v.Sites[0].UPSes) != len(h.supplies) {
		return false
	}
	up := 0
	for _, s := range v.Sites[0].Sources {
		if s.Condition == "up" {
			up++
		}
	}
	for _, u := range v.Sites[0].UPSes {
		if u.Supply != "mains" {
			return false
		}
	}
	return up == len(h.agents())+len(h.supplies)
}

// speak says a text aloud where espeak-ng is installed.
func (h *Home) speak(text string) {
	if !h.opts.Speak {
		return
	}
	path, err := exec.LookPath("espeak-ng")
	if err != nil {
		return
	}
	h.wg.Go(func() {
		cmd := exec.CommandContext(h.ctx, path, "--", text)
		_ = cmd.Run() // no sound card is no failure
	})
}

// Sweep removes what labs that were killed have left.
func Sweep() {
	dirs, err := filepath.Glob(filepath.Join(os.TempDir(), "sentinel-lab-*"))
	if err != nil {
		return
	}
	for _, d := range dirs {
		var pid int
		if _, err := fmt.Sscanf(filepath.Base(d), "sentinel-lab-%d-", &pid); err == nil && errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
			_ = os.RemoveAll(d) // whoever owns it may be somebody else
		}
	}
}
