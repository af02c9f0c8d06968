// Command footprint measures what the three programs cost a machine: it builds them as they
// are released, runs a home of five nodes, or of more, on a tailnet of its own for a while, and prints
// memory and processor time of each as the kernel counts them.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"sentinel.home.arpa/shared/sim/tailnetsim"
	"sentinel.home.arpa/shared/sim/upssim"
	"sentinel.home.arpa/shared/wire"
)

// settle is left out of the processor time: starting and joining the tailnet.
const settle = 20 * time.Second

func main() {
	long := flag.Duration("for", 10*time.Minute, "how long to measure")
	nodes := flag.Int("nodes", 5, "how many nodes the home has; the last one has no tailnet of its own")
	flag.Parse()
	if *nodes < 2 || flag.NArg() > 0 {
		fmt.Fprintln(os.Stderr, "footprint: two nodes at least, and nothing but flags")
		os.Exit(2)
	}
	runtime.LockOSThread() // the kernel ends the programs with the thread that started them
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := measure(ctx, *long, *nodes); err != nil {
		fmt.Fprintln(os.Stderr, "footprint:", err)
		os.Exit(1)
	}
}

// program is one process to measure.
type program struct {
	name, bin, config string
	cmd               *exec.Cmd
	before            time.Duration // processor time when the measuring began
}

func measure(ctx context.Context, long time.Duration, nodes int) (err error) {
	dir, err := os.MkdirTemp("", "sentinel-footprint-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if err := build(ctx, dir); err != nil {
		return err
	}
	tailnet, err := tailnetsim.Open(tailnetsim.Config{})
	if err != nil {
		return err
	}
	defer tailnet.Close()
	nis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	serving, end := context.WithCancel(ctx)
	served := make(chan error, 1)
	go func() { served <- upssim.New(upssim.Config{Name: "ups"}).Serve(serving, nis) }()
	defer func() { end(); err = errors.Join(err, <-served) }()

	programs, err := home(dir, tailnet.URL(), nis.Addr().String(), nodes)
	if err != nil {
		return err
	}
	defer func() {
		for _, p := range programs {
			p.end()
		}
	}()
	for _, p := range programs {
		if err := p.start(dir); err != nil {
			return err
		}
	}
	if err := wait(ctx, settle); err != nil {
		return err
	}
	if err := whole(ctx, filepath.Join(dir, "brain", "s"), len(programs)-1); err != nil {
		return err
	}
	for _, p := range programs {
		if p.before, err = p.processor(); err != nil {
			return err
		}
	}
	if err := wait(ctx, long); err != nil {
		return err
	}
	return report(programs, long)
}

func build(ctx context.Context, dir string) error {
	for bin, args := range map[string][]string{
		"sentinel-cloud": {"./cloud"}, "sentinel-pi": {"./pi-proxy"}, "sentinel-node": {"./node-hook"}, "sentinel-node-tsnet": {"-tags", "tsnet", "./node-hook"},
	} {
		cmd := exec.CommandContext(ctx, "go", append([]string{"build", "-trimpath", "-ldflags", "-s -w", "-o", filepath.Join(dir, bin)}, args...)...)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		cmd.Stderr = os.Stderr
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("build %s: %w", bin, err)
		}
	}
	return nil
}

// home writes the configurations: agents that use a tailnet of their own, and a last one
// that knows the Pi alone, as the plain build does where no tailscaled runs.
func home(dir, control, nis string, nodes int) ([]*program, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	lan := ln.Addr().String()
	if err := ln.Close(); err != nil {
		return nil, err
	}
	var programs []*program
	add := func(name, bin, config string) error {
		state := filepath.Join(dir, name)
		if err := os.MkdirAll(state, 0o700); err != nil {
			return err
		}
		p := &program{name: name, bin: bin, config: filepath.Join(state, "config.yaml")}
		programs = append(programs, p)
		common := fmt.Sprintf("state_dir: %s\ncontrol_socket: %s\n", state, filepath.Join(state, "s"))
		return os.WriteFile(p.config, []byte(common+config), 0o600)
	}
	tail := func(host string) string {
		return fmt.Sprintf("tailnet: {hostname: %s, control_url: %q}\n", host, control)
	}
	last := "node" + strconv.Itoa(nodes)
	keys := map[string]wire.PublicKey{}
	for _, name := range []string{"pi", last} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			return nil, err
		}
		key, err := wire.LoadKey(filepath.Join(dir, name))
		if err != nil {
			return nil, err
		}
		keys[name] = key.PublicKey()
	}
	err = add("brain", "sentinel-cloud", tail("sentinel")+fmt.Sprintf("sites: [{name: home, pi_proxies: [pi], nodes: [{name: %s, key: %q}]}]\n", last, keys[last]))
	err = errors.Join(err, add("pi", "sentinel-pi", tail("pi")+fmt.Sprintf("name: pi\nlan: {listen: %q}\nups: [{name: ups, nis: %q}]\n", lan, nis)))
	pis := fmt.Sprintf("logind: off\npi_proxies: [{name: pi, address: %q, key: %q}]\n", lan, keys["pi"])
	for i := 1; i < nodes; i++ {
		name := "node" + strconv.Itoa(i)
		err = errors.Join(err, add(name, "sentinel-node-tsnet", tail(name)+"name: "+name+"\n"+pis))
	}
	return programs, errors.Join(err, add(last, "sentinel-node", "name: "+last+"\n"+pis))
}

// whole demands that the brain hears everybody: a home that is not whole costs less.
func whole(ctx context.Context, socket string, sources int) error {
	client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", socket)
		}}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://brain/api/v1/status", nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("ask the brain: %w", err)
	}
	defer resp.Body.Close()
	var v struct {
		Sites []struct {
			Sources []struct{ Condition string }
		}
	}
	if err := json.NewDecoder(resp.Body).Decode(&v); err != nil || len(v.Sites) != 1 {
		return fmt.Errorf("ask the brain: %s, %w", resp.Status, err)
	}
	up := 0
	for _, s := range v.Sites[0].Sources {
		if s.Condition == "up" {
			up++
		}
	}
	if up != sources {
		return fmt.Errorf("the brain hears %d of %d", up, sources)
	}
	return nil
}

func (p *program) start(dir string) error {
	p.cmd = exec.Command(filepath.Join(dir, p.bin), "run", "--config", p.config)
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	log, err := os.Create(p.config + ".log")
	if err != nil {
		return err
	}
	defer log.Close()
	p.cmd.Stderr = log
	if err := p.cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", p.name, err)
	}
	return nil
}

func (p *program) end() {
	if p.cmd == nil || p.cmd.Process == nil {
		return
	}
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait() // killed
}

// processor is the time that the program has had a processor for, from proc(5)'s stat.
func (p *program) processor() (time.Duration, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	if err != nil {
		return 0, fmt.Errorf("%s has died: %w", p.name, err)
	}
	_, rest, _ := strings.Cut(string(text), ") ")
	f := strings.Fields(rest)
	if len(f) < 13 {
		return 0, fmt.Errorf("read the time of %s: too few fields", p.name)
	}
	user, err1 := strconv.ParseInt(f[11], 10, 64)
	system, err2 := strconv.ParseInt(f[12], 10, 64)
	const perSecond = 100 // USER_HZ, on all of Linux that Go runs on
	return time.Duration(user+system) * time.Second / perSecond, errors.Join(err1, err2)
}

// memory is the named line of proc(5)'s status, in MB.
func (p *program) memory(line string) (float64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		return 0, fmt.Errorf("%s has died: %w", p.name, err)
	}
	_, rest, ok := strings.Cut(string(text), line+":")
	var kb float64
	if _, err := fmt.Sscan(rest, &kb); !ok || err != nil {
		return 0, fmt.Errorf("read %s of %s: %w", line, p.name, err)
	}
	return kb * 1024 / 1e6, nil
}

func report(programs []*program, long time.Duration) error {
	out := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(out, "program\tbuild\tRSS MB\tof it its own\tpeak MB\tCPU %%\t\n")
	for _, p := range programs {
		rss, err1 := p.memory("VmRSS")
		own, err2 := p.memory("RssAnon")
		peak, err3 := p.memory("VmHWM")
		used, err4 := p.processor()
		if err := errors.Join(err1, err2, err3, err4); err != nil {
			return err
		}
		fmt.Fprintf(out, "%s\t%s\t%.1f\t%.1f\t%.1f\t%.2f\t\n", p.name, p.bin, rss, own, peak, 100*(used-p.before).Seconds()/long.Seconds())
	}
	return out.Flush()
}

func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
