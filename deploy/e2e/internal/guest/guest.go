// Package guest is a machine: a Debian booted by systemd-nspawn, with a port on a bridge,
// that is switched on, told things, and loses its power.
//
// It knows nothing of what runs on it.
package guest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"sentinel.home.arpa/deploy/e2e/internal/network"
	"sentinel.home.arpa/deploy/internal/forge"
)

// poll is how often a condition is looked at.
const poll = 50 * time.Millisecond

// exitReboot is systemd-nspawn's exit code for a machine that reboots.
const exitReboot = 133

// ErrOff means that the machine is off.
var ErrOff = errors.New("the machine is off")

// Spec is what a machine is made of.
type Spec struct {
	Name   string // at most 12 characters: its port is named after it
	Lower  string // file systems under its own, as overlayfs takes them
	Bridge string
	Files  []File
	Args   []string // more for systemd-nspawn
	Groups []string // files by which it enters its control groups
}

// File is what a machine's disk holds before its first boot.
type File struct {
	Path string // absolute, on the machine
	Text string // or
	From string // a file of the host
	Link string // or the target of a symbolic link
	Mode os.FileMode
}

// Guest is a machine. Its methods may be called from any goroutine.
type Guest struct {
	Spec
	dir   string
	net   *network.Network
	forge *forge.Forge
	log   *os.File

	mu    sync.Mutex
	cmd   *exec.Cmd     // systemd-nspawn of this boot; nil while off
	off   chan struct{} // closed when the machine is off
	boots int
}

// New makes the machine's disk in a directory. It is off.
func New(f *forge.Forge, net *network.Network, dir string, spec Spec) (*Guest, error) {
	g := &Guest{Spec: spec, dir: dir, net: net, forge: f, off: make(chan struct{})}
	close(g.off)
	for _, sub := range []string{"disk", "work", "root"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			return nil, err
		}
	}
	for _, file := range append(common(spec.Name), spec.Files...) {
		if err := g.write(file); err != nil {
			return nil, fmt.Errorf("write the disk of %s: %w", spec.Name, err)
		}
	}
	var err error
	g.log, err = os.OpenFile(g.Console(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	return g, err
}

// Console is the file with what the machine printed.
func (g *Guest) Console() string { return filepath.Join(g.dir, "console") }

// Port is the machine's port on the network.
func (g *Guest) Port() string { return "vb-" + g.Name }

// Boots is how often the machine was booted.
func (g *Guest) Boots() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.boots
}

// PowerOn switches the machine on and returns at once. It stays on across reboots until it
// switches itself off or PowerCut.
func (g *Guest) PowerOn() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.cmd != nil {
		return fmt.Errorf("switch %s on: it is on", g.Name)
	}
	if err := g.boot(); err != nil {
		return fmt.Errorf("switch %s on: %w", g.Name, err)
	}
	g.off = make(chan struct{})
	go g.stayOn(g.off)
	return nil
}

// Off is closed when the machine is off.
func (g *Guest) Off() <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.off
}

// stayOn boots the machine again whenever it reboots. Who waits for off waits for it.
func (g *Guest) stayOn(off chan struct{}) {
	defer close(off)
	for {
		g.mu.Lock()
		cmd := g.cmd
		g.mu.Unlock()
		_ = cmd.Wait() // its exit code says all
		g.mu.Lock()
		if cmd.ProcessState.ExitCode() != exitReboot || g.boot() != nil {
			g.cmd = nil
			g.mu.Unlock()
			return
		}
		g.mu.Unlock()
	}
}

// The machine's disk is mounted in a namespace that ends with it. systemd-nspawn is the
// first of a process namespace, since its machine would outlive it otherwise.
const bootScript = `
for group in $GROUPS_; do echo $$ >"$group"; done
exec nsenter --net="/run/netns/$NETNS" unshare -m -p --kill-child --mount-proc sh -euc '
mount -t overlay overlay -o "lowerdir=$LOWER,upperdir=$DISK/disk,workdir=$DISK/work$OPTIONS" "$DISK/root"
exec systemd-nspawn -q -D "$DISK/root" --boot --register=no --keep-unit --settings=no \
  --capability=CAP_NET_ADMIN,CAP_NET_RAW --link-journal=no --resolv-conf=off --console=read-only "$@"
' sh "$@"
`

func (g *Guest) boot() error {
	args := append([]string{"-euc", bootScript, "sh", "--machine=" + g.Name, "--network-bridge=" + g.Bridge}, g.Args...)
	cmd := exec.Command("sh", args...)
	cmd.Env = append(os.Environ(), "UNIFIED_CGROUP_HIERARCHY=yes", "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=yes",
		"GROUPS_="+strings.Join(g.Groups, " "), "NETNS="+g.net.Name(), "LOWER="+g.Lower, "DISK="+g.dir, "OPTIONS=,metacopy=on")
	cmd.Stdout, cmd.Stderr = g.log, g.log
	if err := g.forge.Start(cmd); err != nil {
		return err
	}
	g.cmd = cmd
	g.boots++
	return nil
}

// Leader is the process that the machine takes for its first, as the host numbers it.
func (g *Guest) Leader() (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.cmd == nil {
		return 0, ErrOff
	}
	return leader(g.cmd.Process.Pid)
}

// Root is the machine's file system as the host sees it while the machine is on; sockets
// in it can be dialled.
func (g *Guest) Root() (string, error) {
	pid, err := g.Leader()
	return fmt.Sprintf("/proc/%d/root", pid), err
}

// Disk is where a file that the machine wrote lies, on or off.
func (g *Guest) Disk(path string) string { return filepath.Join(g.dir, "disk", path) }

// Ready waits until the machine has booted: systemd has nothing to do any more.
func (g *Guest) Ready(ctx context.Context) error {
	tick := time.NewTicker(poll)
	defer tick.Stop()
	last := "nothing"
	for {
		if out, err := g.Exec(ctx, "systemctl", "is-system-running"); err == nil || out != "" {
			last = strings.TrimSpace(out)
		}
		if last == "running" || last == "degraded" {
			return nil
		}
		select {
		case <-tick.C:
		case <-g.Off():
			return fmt.Errorf("boot %s: %w", g.Name, ErrOff)
		case <-ctx.Done():
			return fmt.Errorf("boot %s: %w; it says %s", g.Name, ctx.Err(), last)
		}
	}
}

// thaw is how often a command on the machine is told to go on: systemd stops all processes
// at the end of a shutdown, and one that waits for its stopped child stops itself.
const thaw = 300 * time.Millisecond

// Exec runs a command on the machine as root and returns what it printed. What is to last
// is started by systemd-run.
func (g *Guest) Exec(ctx context.Context, args ...string) (string, error) {
	pid, err := g.Leader()
	if err != nil {
		return "", fmt.Errorf("run %s on %s: %w", args[0], g.Name, err)
	}
	cmd := exec.CommandContext(ctx, "nsenter", append([]string{"-t", fmt.Sprint(pid), "-a", "env", "-i",
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "SYSTEMD_COLORS=0"}, args...)...)
	done := make(chan struct{})
	defer close(done)
	out, err := g.forge.Output(cmd, func(pid int) { go keepThawed(pid, done) })
	if err != nil {
		return out, fmt.Errorf("on %s: %w", g.Name, err)
	}
	return out, nil
}

func keepThawed(pid int, done <-chan struct{}) {
	tick := time.NewTicker(thaw)
	defer tick.Stop()
	for {
		select {
		case <-done:
			return
		case <-tick.C:
			_ = syscall.Kill(pid, syscall.SIGCONT) // it may have ended
		}
	}
}

// PowerCut takes the power away: no packet leaves any more, not even a last one of the
// kernel's.
func (g *Guest) PowerCut(ctx context.Context) error {
	pid, err := g.Leader()
	if err == nil {
		err = g.net.Cut(ctx, g.Port())
	}
	if err == nil {
		err = syscall.Kill(pid, syscall.SIGKILL)
	}
	if err != nil {
		return fmt.Errorf("cut the power of %s: %w", g.Name, err)
	}
	return g.WaitOff(ctx)
}

// CtrlAltDel presses the keys.
func (g *Guest) CtrlAltDel() error {
	pid, err := g.Leader()
	if err != nil {
		return err
	}
	return syscall.Kill(pid, syscall.SIGINT)
}

// WaitOff waits until the machine is off.
func (g *Guest) WaitOff(ctx context.Context) error {
	select {
	case <-g.Off():
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for %s to go off: %w", g.Name, ctx.Err())
	}
}

// WaitReboot waits until the machine was booted more often than before.
func (g *Guest) WaitReboot(ctx context.Context, before int) error {
	tick := time.NewTicker(poll)
	defer tick.Stop()
	for g.Boots() <= before {
		select {
		case <-tick.C:
		case <-g.Off():
			return fmt.Errorf("wait for the reboot of %s: %w", g.Name, ErrOff)
		case <-ctx.Done():
			return fmt.Errorf("wait for the reboot of %s: %w", g.Name, ctx.Err())
		}
	}
	return g.Ready(ctx)
}

// Close takes the machine's power for good. Its disk stays.
func (g *Guest) Close() error {
	g.mu.Lock()
	cmd, off := g.cmd, g.off
	g.mu.Unlock()
	if cmd != nil {
		_ = cmd.Process.Kill() // it may have ended by itself; the machine dies with it
	}
	<-off
	return g.log.Close()
}

func (g *Guest) write(f File) error {
	path := g.Disk(f.Path)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	if f.Link != "" {
		_ = os.Remove(path) // a file of the host's making may be there
		return os.Symlink(f.Link, path)
	}
	mode := f.Mode
	if mode == 0 {
		mode = 0o644
	}
	to, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, mode)
	if err != nil {
		return err
	}
	var from io.Reader = strings.NewReader(f.Text)
	if f.From != "" {
		file, err := os.Open(f.From)
		if err != nil {
			return errors.Join(err, to.Close())
		}
		defer file.Close()
		from = file
	}
	_, err = io.Copy(to, from)
	return errors.Join(err, to.Chmod(mode), to.Close())
}
