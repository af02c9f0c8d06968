package home

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// spooled is how many messages the Pi's spool may have numbered for a trap to see the next.
const spooled = 100

// watched is what of the disk a phase is about.
type watched struct {
	paths []string
	calls string // the system calls on entering which the program dies
	dir   string // and what inotify looks at where there is no ptrace
	file  string // in dir, or any
	mask  uint32
}

// onDisk tells where a phase is seen. A file that is replaced as a whole is written when
// it is renamed, and safe when its directory is synced.
func (h *Home) onDisk(p Phase) watched {
	wal := filepath.Join(h.dirOf("brain"), "journal.db-wal")
	run := filepath.Join(h.dirOf(piName), "run.jsonl")
	spool := filepath.Join(h.dirOf(piName), "spool")
	var messages []string
	for n := range spooled {
		messages = append(messages, filepath.Join(spool, fmt.Sprintf("%012d.json", n)))
	}
	const replace = "rename,renameat,renameat2"
	switch p {
	case JournalBefore:
		return watched{[]string{wal}, "pwrite64,write", filepath.Dir(wal), filepath.Base(wal), unix.IN_MODIFY}
	case JournalAfter:
		return watched{[]string{wal}, "fsync,fdatasync", filepath.Dir(wal), filepath.Base(wal), unix.IN_MODIFY}
	case SpoolBefore:
		return watched{messages, replace, spool, "", unix.IN_CREATE}
	case SpoolAfter:
		return watched{[]string{spool}, "fsync", spool, "", unix.IN_MOVED_TO}
	case LedgerBefore:
		return watched{[]string{run}, "pwrite64,write," + replace, filepath.Dir(run), "run.jsonl", unix.IN_MODIFY | unix.IN_MOVED_TO}
	default: // LedgerAfter
		return watched{[]string{run, filepath.Dir(run)}, "fsync,fdatasync", filepath.Dir(run), "run.jsonl", unix.IN_MODIFY | unix.IN_MOVED_TO}
	}
}

// errNoTrace: the machine does not let one process trace another.
var errNoTrace = errors.New("strace cannot attach")

// Traceable tries whether kills can come exactly at a phase of the disk. The error says
// why not; they then come a moment later.
func Traceable(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	target := exec.CommandContext(ctx, "sleep", "60")
	if err := target.Start(); err != nil {
		return err
	}
	defer func() { _ = target.Process.Kill(); _ = target.Wait() }()
	cmd := exec.CommandContext(ctx, "strace", "-q", "-o", "/dev/null", "-p", fmt.Sprint(target.Process.Pid))
	var said bytes.Buffer
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("%w: %w", errNoTrace, err)
	}
	gone := make(chan error, 1)
	go func() { gone <- cmd.Wait() }() // received below
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case err := <-gone:
			return fmt.Errorf("%w: %s (%v)", errNoTrace, strings.TrimSpace(said.String()), err)
		case <-tick.C:
		}
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", target.Process.Pid))
		if err == nil && !bytes.Contains(status, []byte("TracerPid:\t0\n")) {
			_ = cmd.Process.Kill()
			<-gone
			return nil
		}
	}
}

// atDisk kills the victim at a phase of the disk: by ptrace, exactly on entering the system
// call; where that is not allowed by inotify, a moment later.
func (h *Home) atDisk(ctx context.Context, k Kill) (bool, error) {
	w := h.onDisk(k.Phase)
	hit, err := h.strace(ctx, k, w)
	if errors.Is(err, errNoTrace) {
		h.say("lab", "the kill comes a moment late, by inotify: "+err.Error())
		return h.inotify(ctx, k, w)
	}
	if hit {
		h.shot(k)
	}
	return hit, err
}

// strace attaches to the victim until the phase comes. Should the victim die of something
// else meanwhile, it attaches to its successor.
func (h *Home) strace(ctx context.Context, k Kill, w watched) (bool, error) {
	for ctx.Err() == nil {
		pid, ended, ok := h.process(k.Victim).life()
		if !ok {
			wait(ctx, 100*time.Millisecond)
			continue
		}
		args := []string{"-f", "-q", "-o", "/dev/null", "-e", "signal=none", "-e", "trace=" + w.calls,
			"-e", "inject=" + w.calls + ":signal=KILL:when=1", "-p", fmt.Sprint(pid)}
		for _, p := range w.paths {
			args = append(args, "-P", p)
		}
		hit, err := h.traced(ctx, args, ended)
		if hit || err != nil {
			return hit, err
		}
	}
	return false, nil
}

func (h *Home) traced(ctx context.Context, args []string, ended <-chan struct{}) (bool, error) {
	cmd := exec.Command("strace", args...)
	var said bytes.Buffer
	cmd.Stderr = &said
	if err := h.forge.Start(cmd); err != nil {
		return false, fmt.Errorf("%w: %w", errNoTrace, err)
	}
	gone := make(chan error, 1)
	go func() { gone <- cmd.Wait() }() // received below
	select {
	case <-ended:
		<-gone
		return true, nil
	case err := <-gone:
		select {
		case <-ended:
			return true, nil
		case <-time.After(time.Second):
		}
		return false, fmt.Errorf("%w: %s (%v)", errNoTrace, strings.TrimSpace(said.String()), err)
	case <-ctx.Done():
		_ = cmd.Process.Signal(syscall.SIGTERM) // it lets go of the program
		<-gone
		return false, nil
	}
}

// inotify kills when the file's event comes.
func (h *Home) inotify(ctx context.Context, k Kill, w watched) (bool, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return false, err
	}
	defer unix.Close(fd)
	if _, err := unix.InotifyAddWatch(fd, w.dir, w.mask); err != nil {
		return false, fmt.Errorf("watch %s: %w", w.dir, err)
	}
	buf := make([]byte, 64<<10)
	for ctx.Err() == nil {
		ready, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 50)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return false, err
		}
		if ready <= 0 {
			continue
		}
		n, err := unix.Read(fd, buf)
		if err != nil {
			continue
		}
		if w.file == "" || bytes.Contains(buf[:n], append([]byte(w.file), 0)) {
			return h.shoot(k), nil
		}
	}
	return false, nil
}
