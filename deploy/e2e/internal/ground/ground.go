// Package ground is what a run puts on the host: one directory, one network namespace and
// one control group for each machine, all of a name that holds the process id. What dead
// runs left is swept away by the next.
//
// It knows nothing of machines.
package ground

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"sentinel.home.arpa/deploy/internal/forge"
)

// prefix begins the name of everything.
const prefix = "sentinel-e2e-"

// Ground is one run's.
type Ground struct {
	Name  string // of the network namespace, and part of all other names
	Dir   string
	forge *forge.Forge
	trees []string // where this process is in each hierarchy of control groups
}

// Open sweeps what dead runs left and makes the directory. The namespace is the network's
// to make; Close removes it in any case.
func Open(ctx context.Context, f *forge.Forge) (*Ground, error) {
	trees, err := hierarchies()
	if err != nil {
		return nil, fmt.Errorf("find the control groups: %w", err)
	}
	g := &Ground{Name: prefix + strconv.Itoa(os.Getpid()), forge: f, trees: trees}
	g.Dir = filepath.Join(os.TempDir(), g.Name)
	if err := g.sweep(ctx); err != nil {
		return nil, err
	}
	if err := os.Mkdir(g.Dir, 0o755); err != nil {
		return nil, err
	}
	return g, g.layable()
}

// sweepLock is held by the one who sweeps: two that begin together would sweep the same. It
// begins otherwise than what is swept.
const sweepLock = "sentinel-sweep.lock"

// sweep removes what dead runs left.
func (g *Ground) sweep(ctx context.Context) error {
	lock, err := os.OpenFile(filepath.Join(os.TempDir(), sweepLock), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return fmt.Errorf("wait for another's sweep: %w", err)
	}
	for _, name := range g.left() {
		pid, err := strconv.Atoi(strings.TrimPrefix(name, prefix))
		if err == nil && (pid == os.Getpid() || !alive(pid)) {
			if err := g.remove(ctx, name); err != nil {
				return fmt.Errorf("sweep what %s left: %w", name, err)
			}
		}
	}
	return nil
}

// overlayMagic is overlayfs's in statfs(2).
const overlayMagic = 0x794c7630

// layable makes the directory one that overlays can be laid over: in a container it is part
// of one, which will not do.
func (g *Ground) layable() error {
	var fs syscall.Statfs_t
	if err := syscall.Statfs(g.Dir, &fs); err != nil || fs.Type != overlayMagic {
		return err
	}
	if err := syscall.Mount("tmpfs", g.Dir, "tmpfs", 0, "mode=755"); err != nil {
		return fmt.Errorf("mount a place for disks: %w", err)
	}
	return nil
}

// Close removes everything. All processes must have ended.
func (g *Ground) Close(ctx context.Context) error { return g.remove(ctx, g.Name) }

func alive(pid int) bool { return !errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) }

// left are the names of runs that anything is there of.
func (g *Ground) left() []string {
	var names []string
	places := append([]string{os.TempDir(), "/run/netns"}, g.trees...)
	for _, dir := range places {
		found, _ := filepath.Glob(filepath.Join(dir, prefix+"*")) // the pattern is well formed
		for _, path := range found {
			parts := strings.SplitN(strings.TrimPrefix(filepath.Base(path), prefix), "-", 2)
			names = append(names, prefix+parts[0])
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func (g *Ground) remove(ctx context.Context, name string) error {
	var errs []error
	dir := filepath.Join(os.TempDir(), name)
	for _, point := range mountsUnder(dir) {
		errs = append(errs, syscall.Unmount(point, syscall.MNT_DETACH))
	}
	if _, err := os.Stat(filepath.Join("/run/netns", name)); err == nil {
		_, err := g.forge.Run(ctx, "ip", "netns", "del", name)
		errs = append(errs, err)
	}
	for _, tree := range g.trees {
		groups, _ := filepath.Glob(filepath.Join(tree, name+"-*"))
		for _, group := range groups {
			errs = append(errs, removeGroup(ctx, group))
		}
	}
	return errors.Join(append(errs, os.RemoveAll(dir))...)
}

// mountsUnder are the mount points at and in a directory, the innermost first.
func mountsUnder(dir string) []string {
	info, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil
	}
	var points []string
	for line := range strings.Lines(string(info)) {
		if f := strings.Fields(line); len(f) > 4 && (f[4] == dir || strings.HasPrefix(f[4], dir+"/")) {
			points = append(points, f[4])
		}
	}
	slices.Reverse(points)
	return points
}

// Groups makes a control group in each hierarchy for a machine: two that share one would
// kill each other's processes. It returns the files by which a process enters them.
func (g *Ground) Groups(machine string) ([]string, error) {
	var files []string
	for _, tree := range g.trees {
		dir := filepath.Join(tree, g.Name+"-"+machine)
		if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, fmt.Errorf("make a control group for %s: %w", machine, err)
		}
		for _, setting := range []string{"cpuset.cpus", "cpuset.mems"} { // empty in a new group, which then takes nobody
			value, err := os.ReadFile(filepath.Join(tree, setting))
			if err != nil || len(strings.TrimSpace(string(value))) == 0 {
				continue // of another hierarchy
			}
			if err := os.WriteFile(filepath.Join(dir, setting), value, 0); err != nil {
				return nil, fmt.Errorf("set up the control group of %s: %w", machine, err)
			}
		}
		files = append(files, filepath.Join(dir, "cgroup.procs"))
	}
	return files, nil
}

// removeWithin is how long the processes of a machine that was killed may take to end.
const removeWithin = 10 * time.Second

// removeGroup kills who is left in a control group, and removes it with those in it.
func removeGroup(ctx context.Context, dir string) error {
	ctx, cancel := context.WithTimeout(ctx, removeWithin)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		for _, d := range groupsIn(dir) {
			killAll(d)
			_ = syscall.Rmdir(d) // not while somebody is in it
		}
		if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("remove the control group %s: %w", dir, ctx.Err())
		}
	}
}

// groupsIn are a control group and those in it, the innermost first.
func groupsIn(dir string) []string {
	var dirs []string
	_ = filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err == nil && e.IsDir() {
			dirs = append(dirs, path)
		}
		return nil // what vanishes meanwhile is what is wanted
	})
	slices.Reverse(dirs)
	return dirs
}

func killAll(group string) {
	text, _ := os.ReadFile(filepath.Join(group, "cgroup.procs"))
	for line := range strings.Lines(string(text)) {
		if pid, err := strconv.Atoi(strings.TrimSpace(line)); err == nil && pid > 1 {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
}

// hierarchies are the directories of this process's control groups, cgroups(7).
func hierarchies() ([]string, error) {
	own, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return nil, err
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	return places(string(own), string(mounts)), nil
}

// places joins /proc/self/cgroup and the mounts of mountinfo.
func places(own, mounts string) []string {
	var dirs []string
	for line := range strings.Lines(own) {
		part := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(part) != 3 {
			continue
		}
		for mount := range strings.Lines(mounts) {
			root, point, kind, options := mountOf(mount)
			if part[1] == "" && kind == "cgroup2" || part[1] != "" && kind == "cgroup" && containsAll(options, part[1]) {
				dirs = append(dirs, filepath.Join(point, strings.TrimPrefix(part[2], strings.TrimSuffix(root, "/"))))
				break
			}
		}
	}
	return dirs
}

// mountOf reads a line of mountinfo, proc(5).
func mountOf(line string) (root, point, kind, options string) {
	f := strings.Fields(line)
	dash := slices.Index(f, "-")
	if dash < 6 || len(f) < dash+4 {
		return "", "", "", ""
	}
	return f[3], f[4], f[dash+1], f[dash+3]
}

func containsAll(options, controllers string) bool {
	have := strings.Split(options, ",")
	for c := range strings.SplitSeq(controllers, ",") {
		if !slices.Contains(have, c) {
			return false
		}
	}
	return true
}
