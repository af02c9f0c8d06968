// Package forge starts processes that never outlive the program: the kernel kills them
// when the thread ends that started them, however the program ends.
//
// It knows nothing of what it starts.
package forge

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// afterKill is how long the output of a killed command is waited for.
const afterKill = 2 * time.Second

// Forge is a thread that starts processes.
type Forge struct {
	jobs chan func()
	done chan struct{}
}

// New starts the thread. Close it when all of its processes have ended.
func New() *Forge {
	f := &Forge{jobs: make(chan func()), done: make(chan struct{})}
	go func() { // Close waits for it
		runtime.LockOSThread()
		defer close(f.done)
		for job := range f.jobs {
			job()
		}
	}()
	return f
}

// Start starts a command as the leader of a session of its own.
func (f *Forge) Start(cmd *exec.Cmd) error {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setsid: true}
	started := make(chan error)
	f.jobs <- func() { started <- cmd.Start() }
	if err := <-started; err != nil {
		return fmt.Errorf("start %s: %w", cmd.Path, err)
	}
	return nil
}

// Run runs a command to its end and returns what it printed. With the context ends the
// whole session that it leads. The error holds the output's end.
func (f *Forge) Run(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	return f.Output(cmd)
}

// Output is Run for a command that was made with a context. Those who want to know are
// told its process id.
func (f *Forge) Output(cmd *exec.Cmd, started ...func(pid int)) (string, error) {
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if cmd.Cancel != nil {
		cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	}
	cmd.WaitDelay = afterKill
	if err := f.Start(cmd); err != nil {
		return "", err
	}
	for _, tell := range started {
		tell(cmd.Process.Pid)
	}
	if err := cmd.Wait(); err != nil && !errors.Is(err, exec.ErrWaitDelay) {
		return out.String(), fmt.Errorf("run %s: %w: %s", strings.Join(cmd.Args, " "), err, tail(out.String()))
	}
	return out.String(), nil
}

// tail is the part of an output in which the reason stands.
func tail(s string) string {
	const most = 2000
	s = strings.TrimSpace(s)
	return s[max(0, len(s)-most):]
}

// Close ends the thread, and with it the processes that still run.
func (f *Forge) Close() {
	close(f.jobs)
	<-f.done
}
