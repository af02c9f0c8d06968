package home

import (
	"context"
	"fmt"
	"net"
	"os/exec"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"sentinel.home.arpa/deploy/lab/internal/edge"
	"sentinel.home.arpa/shared/sim/freeport"
)

// restartAfter is the units' RestartSec.
const restartAfter = time.Second

// What the record says of programs that are kept.
const (
	Killed  = "killed"
	Started = "started"
	Died    = "ended by itself"
)

// What the record says of a node's announcement: that it began, and how it ended.
const (
	Announces    = "announces"
	Acknowledged = "its announcement was acknowledged"
	Unheard      = "its announcement got through to nobody"
)

// Disarmed is what the record says once the brain has taken it that the plan is disarmed.
const Disarmed = "disarmed"

// keeper is the lab's systemd for one program: it starts it again when it has died.
type keeper struct {
	ctx  context.Context
	wg   *sync.WaitGroup
	note func(what string)
	away atomic.Int64 // how long the program stays dead the next time, in ns
}

// Keep has the lab start programs again that die, as their units say, and tell the
// brain's commands from the Pi's.
func (h *Home) Keep() {
	for _, pi := range h.pis() {
		if l := h.links[relayOf(pi)]; l != nil {
			l.Watch(h.gates.relayed)
		}
	}
	for _, p := range h.programs() {
		if p == nil {
			continue
		}
		k := &keeper{ctx: h.ctx, wg: &h.wg, note: func(what string) {
			h.say(p.name, what)
			h.rec.Add(time.Now(), edge.Entry{Edge: edge.Lab, Node: p.name, What: what})
		}}
		p.mu.Lock()
		p.keep = k
		p.mu.Unlock()
	}
}

func (h *Home) programs() []*process {
	all := []*process{h.brain}
	for _, s := range h.supplies {
		all = append(all, s.pi)
	}
	for _, n := range h.agents() {
		all = append(all, h.nodes[n])
	}
	return all
}

func (h *Home) process(who string) *process {
	for _, p := range h.programs() {
		if p != nil && p.name == who {
			return p
		}
	}
	return nil
}

// gone is told of every end of the program, and revives it if nobody wanted that end.
func (p *process) gone(cmd *exec.Cmd) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd != cmd || p.keep == nil {
		return
	}
	p.cmd = nil
	turn, k := p.turns, p.keep
	what := Killed
	if s, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || s.Signal() != syscall.SIGKILL {
		what = fmt.Sprintf("%s: %s", Died, cmd.ProcessState)
	}
	away := time.Duration(k.away.Swap(0))
	if away == 0 {
		away = restartAfter
	}
	k.wg.Go(func() {
		k.note(what)
		p.revive(turn, away)
	})
}

// revive starts the program again, unless somebody has started or ended it meanwhile.
func (p *process) revive(turn int, away time.Duration) {
	wait := time.NewTimer(away)
	defer wait.Stop()
	select {
	case <-p.keep.ctx.Done():
		return
	case <-wait.C:
	}
	p.mu.Lock()
	wanted := p.turns == turn
	p.mu.Unlock()
	if !wanted {
		return
	}
	if err := p.start(); err != nil {
		p.keep.note(err.Error())
		return
	}
	p.keep.note(Started)
}

// anyAddr wishes for any port of loopback.
const anyAddr = "127.0.0.1:0"

// listen is net.Listen, but any port is one that stays free while its program is dead.
func listen(addr string) (net.Listener, error) {
	if addr == anyAddr {
		return freeport.Listen()
	}
	return net.Listen("tcp", addr)
}

// life is the program's process as it runs now.
func (p *process) life() (pid int, ended <-chan struct{}, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil {
		return 0, nil, false
	}
	return p.cmd.Process.Pid, p.ended, true
}

// kill kills the program where it stands, and waits until it is dead. Its keeper brings
// it back.
func (p *process) kill() bool {
	p.mu.Lock()
	cmd, ended := p.cmd, p.ended
	p.mu.Unlock()
	if cmd == nil {
		return false
	}
	_ = cmd.Process.Kill() // it may be dead already
	<-ended
	return true
}
