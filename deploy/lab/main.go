// Command lab is a whole home lab on one machine, to look at and to play with: the real
// brain, Pi and agents, on a simulated UPS, Proxmox cluster and phone.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"sentinel.home.arpa/deploy/lab/internal/desk"
	"sentinel.home.arpa/deploy/lab/internal/edge"
	"sentinel.home.arpa/deploy/lab/internal/home"
	"sentinel.home.arpa/deploy/lab/internal/scenario"
	"sentinel.home.arpa/shared/wire"
)

type options struct {
	home     home.Options
	scenario string
	script   string
	edges    string
	log      string
	control  string
}

func main() { os.Exit(run()) }

func run() int {
	// Whoever started the lab, such as go run, may be killed: the lab then ends too.
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(syscall.SIGTERM), 0, 0, 0); err != nil {
		fmt.Fprintln(os.Stderr, "lab:", err)
		return 1
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	o := parse()
	if err := play(ctx, o); err != nil && !errors.Is(err, context.Canceled) {
		fmt.Fprintln(os.Stderr, "lab:", err)
		return 1
	}
	return 0
}

func parse() options {
	o := options{home: home.DefaultOptions()}
	set := flags(flag.CommandLine, &o)
	flag.Parse()
	if set.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "lab: %q is not understood\n", set.Arg(0))
		set.Usage()
		os.Exit(2)
	}
	if o.scenario != "" {
		o.home.Speak = false
	}
	if !slices.ContainsFunc(scenario.Names(), func(s [2]string) bool { return o.scenario == "" || s[0] == o.scenario }) {
		fmt.Fprintf(os.Stderr, "lab: there is no scenario %q\n", o.scenario)
		set.Usage()
		os.Exit(2)
	}
	return o
}

// flags are the lab's.
func flags(set *flag.FlagSet, o *options) *flag.FlagSet {
	var names []string
	for _, s := range scenario.Names() {
		names = append(names, s[0]+" ("+s[1]+")")
	}
	set.StringVar(&o.scenario, "scenario", "", "play a story, judge it by what the edges saw, and end: "+strings.Join(names, ", "))
	set.StringVar(&o.script, "script", "", "play `FILE`: lines such as +12.5s unplug; +60s end ends the lab")
	set.StringVar(&o.edges, "edges", "", "write what the edges saw to `FILE`, as JSON lines")
	set.StringVar(&o.log, "log", "", "write all that the programs log to `FILE`")
	set.StringVar(&o.control, "control", "127.0.0.1:8081", "address of the control page and the POST /lab/... routes")
	set.StringVar(&o.home.Page, "page", o.home.Page, "address of the brain's page; another port is taken if it is in use")
	set.StringVar(&o.home.Programs, "programs", "", "`DIR` with the three programs, built before, in place of building them (not with -tailnet)")
	set.BoolVar(&o.home.Tailnet, "tailnet", false, "let the programs meet on a tailnet of the lab's own, each a machine on it, in place of addresses on loopback")
	set.BoolVar(&o.home.Keypad, "keypad", false, "let calls ask for keys; what is pressed in them is said before, by a line such as phone 4s 2 4s 2")
	set.Func("host", "`NAME` of a Linux host beside the cluster, which the plan takes down first through its agent; may be given several times", func(name string) error {
		o.home.Hosts = append(o.home.Hosts, name)
		return wire.ValidName(name)
	})
	set.Func("upses", "`NUMBER` of UPSes, each with a Pi of its own; each feeds all, as redundant supplies do (1)", func(text string) error {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > 9 {
			return errors.New("write a number from 1 to 9")
		}
		o.home.UPSes = home.UPSes(n)
		return nil
	})
	set.StringVar(&o.home.NIS, "nis", "", "`ADDR` of an apcupsd to use in place of the simulated UPS")
	set.StringVar(&o.home.PVE, "pve", "", "`URL` of a Proxmox API to use in place of the simulated cluster, for all three nodes")
	set.StringVar(&o.home.ProxmoxToken, "pve-token", o.home.ProxmoxToken, "its token")
	set.StringVar(&o.home.ProxmoxSecret, "pve-secret", o.home.ProxmoxSecret, "the token's secret")
	set.StringVar(&o.home.Twilio, "twilio", "", "`URL` of a Twilio API to use in place of the simulated phone company")
	set.StringVar(&o.home.TwilioAccount, "twilio-account", o.home.TwilioAccount, "its account SID")
	set.StringVar(&o.home.TwilioKey, "twilio-key", o.home.TwilioKey, "its API key SID")
	set.StringVar(&o.home.TwilioSecret, "twilio-secret", o.home.TwilioSecret, "the API key's secret")
	set.BoolVar(&o.home.Speak, "speak", true, "speak calls aloud where espeak-ng is installed")
	return set
}

// board prints lines of "time who what", from several goroutines.
type board struct {
	mu sync.Mutex
}

func (b *board) say(who, what string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	// The terminal may be raw, which wants the carriage return.
	fmt.Printf("%s  %-6s %s\r\n", time.Now().Format("15:04:05"), who, what)
}

func play(ctx context.Context, o options) (err error) {
	home.Sweep()
	var steps []scenario.Step
	if o.script != "" {
		if steps, err = readScript(o.script); err != nil {
			return err
		}
	}
	edges, closeEdges, err := create(o.edges)
	if err != nil {
		return err
	}
	log, closeLog, err := create(o.log)
	if err != nil {
		return err
	}
	if log != nil {
		o.home.Log = &locked{w: log}
	}
	scenario.Furnish(o.scenario, &o.home)
	rec := edge.NewRecorder(edges)
	defer func() { err = errors.Join(err, rec.Err(), closeEdges(), closeLog()) }()
	b := &board{}
	fmt.Print("lab: getting the three programs and starting a home...\r\n")
	h, err := home.Open(ctx, o.home, rec, b.say)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, h.Close()) }()
	stopControl, err := control(h, o.control, b)
	if err != nil {
		return err
	}
	defer stopControl()
	switch {
	case o.scenario != "":
		err := scenario.Run(ctx, o.scenario, h, rec, func(text string) { b.say("judge", text) })
		if err == nil {
			b.say("judge", o.scenario+": the contract was kept")
		}
		return err
	case o.script != "":
		return scenario.Play(ctx, h, steps)
	}
	return desk.Keys(ctx, os.Stdin, h, b.say)
}

func readScript(path string) ([]scenario.Step, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	steps, err := scenario.Parse(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return steps, nil
}

// create makes a file to write to; no name is no file.
func create(path string) (io.Writer, func() error, error) {
	if path == "" {
		return nil, func() error { return nil }, nil
	}
	f, err := os.Create(path)
	if err != nil {
		return nil, nil, err
	}
	return f, f.Close, nil
}

// locked lets several programs' logs share a file.
type locked struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *locked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}

// control serves the control page and says where everything is.
func control(h *home.Home, addr string, b *board) (stop func(), err error) {
	ln, err := net.Listen("tcp", addr)
	if errors.Is(err, syscall.EADDRINUSE) {
		ln, err = net.Listen("tcp", "127.0.0.1:0")
	}
	if err != nil {
		return nil, err
	}
	routes, err := desk.Routes(h, home.Actions(), h.Page(), h.Places())
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle("/", routes)
	mux.Handle("/pve", h.Faults())
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	done := make(chan struct{})
	go func() { // stop waits for it
		defer close(done)
		if err := srv.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
			b.say("lab", err.Error())
		}
	}()
	brain, pi := h.Verbs()
	for _, l := range []string{
		"lab: brain      " + h.Page() + "   (the page)",
		"lab: control    http://" + ln.Addr().String() + "   (buttons, and POST /lab/unplug ...)",
		"lab: verbs      " + brain + " status",
		"lab: pi         " + pi + " status",
		"lab: phone      +1 555 0100             (calls appear here; spoken aloud with espeak-ng)",
		"lab: keys       " + desk.Help,
	} {
		fmt.Print(l + "\r\n")
	}
	return func() { _ = srv.Close(); <-done }, nil
}
