package home

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"sentinel.home.arpa/deploy/internal/forge"
)

// stopWithin is how long a program is given to end by itself.
const stopWithin = 5 * time.Second

// process is one of the three programs under way. It can be started again.
type process struct {
	name string
	path string
	args []string
	env  []string
	log  func(line logLine) // what it says
	raw  io.Writer

	forge *forge.Forge
	mu    sync.Mutex
	cmd   *exec.Cmd
	ended chan struct{}
	turns int     // how often it was started or ended on purpose
	keep  *keeper // starts it again when it dies; nil: nobody does
}

// logLine is one line of a program's log.
type logLine struct {
	Level string `json:"level"`
	Msg   string `json:"msg"`
	Text  string `json:"text"`
	Err   string `json:"err"`
	Event string `json:"event"`
	Armed bool   `json:"armed"`
	raw   map[string]any
}

func (p *process) start() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd != nil {
		return fmt.Errorf("%s runs already", p.name)
	}
	cmd := exec.Command(p.path, p.args...)
	cmd.Env = p.env
	out, err := cmd.StderrPipe()
	if err == nil {
		err = p.forge.Start(cmd)
	}
	if err != nil {
		return fmt.Errorf("start %s: %w", p.name, err)
	}
	ended := make(chan struct{})
	p.cmd, p.ended = cmd, ended
	p.turns++
	go func() { // stop and kill wait for it
		p.read(out)
		_ = cmd.Wait() // how it ended is in its log
		close(ended)
		p.gone(cmd)
	}()
	return nil
}

func (p *process) read(out io.Reader) {
	scan := bufio.NewScanner(out)
	scan.Buffer(nil, 1<<20)
	for scan.Scan() {
		fmt.Fprintf(p.raw, "%s %s\n", p.name, scan.Bytes())
		var l logLine
		if json.Unmarshal(scan.Bytes(), &l) == nil && json.Unmarshal(scan.Bytes(), &l.raw) == nil {
			p.log(l)
		}
	}
}

// signal sends a signal to a running program.
func (p *process) signal(s os.Signal) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil {
		return fmt.Errorf("%s does not run", p.name)
	}
	return p.cmd.Process.Signal(s)
}

// end ends the program by a signal, by SIGKILL if that does not help, and waits.
func (p *process) end(s os.Signal) {
	p.mu.Lock()
	cmd, ended := p.cmd, p.ended
	p.cmd = nil // whoever ends it does not want it back
	p.turns++
	p.mu.Unlock()
	if cmd == nil {
		return
	}
	_ = cmd.Process.Signal(s) // it may have ended by itself
	if s != syscall.SIGKILL {
		_ = cmd.Process.Signal(syscall.SIGCONT)
	}
	select {
	case <-ended:
	case <-time.After(stopWithin):
		_ = cmd.Process.Kill()
		<-ended
	}
}

// toItsEnd runs a program to its end; the error says what it said if it failed.
func (h *Home) toItsEnd(ctx context.Context, path string, args ...string) error {
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Env = h.env()
	_, err := h.forge.Output(cmd)
	return err
}
