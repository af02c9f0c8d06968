// Command torture kills the three programs while whole homes run on them, at named phases
// of their work and at random, and judges by what the edges saw whether the contract held.
// Exit 0: it did; 1: it did not; 2: usage.
package main

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"sentinel.home.arpa/deploy/lab/internal/home"
	"sentinel.home.arpa/deploy/lab/internal/torture"
)

func main() { os.Exit(run()) }

func run() int {
	o := torture.Options{}
	var minutes float64
	flag.IntVar(&o.Kills, "kills", 200, "end after so many kills")
	flag.IntVar(&o.Homes, "homes", 4, "homes at once")
	flag.Uint64Var(&o.Seed, "seed", 0, "of the stories; 0: any")
	flag.Float64Var(&minutes, "minutes", 20, "end by then at the latest")
	flag.IntVar(&o.Home, "home", 0, "with -episode: whose")
	flag.IntVar(&o.Episode, "episode", -1, "play only this episode of -home, with the -seed that it had")
	flag.StringVar(&o.Story, "story", "", "play only stories whose name contains this")
	flag.BoolVar(&o.Steps, "calls", false, "kill the brain at each step of a call, once, and do nothing else")
	flag.BoolVar(&o.Keep, "keep", false, "keep the records of sound episodes too")
	flag.StringVar(&o.Dir, "dir", "", "directory for records and logs of broken episodes; empty: the usual one for temporary files")
	flag.Parse()
	if flag.NArg() > 0 || o.Kills < 1 || o.Homes < 1 || minutes <= 0 || o.Home < 0 || o.Episode >= 0 && o.Seed == 0 {
		fmt.Fprintln(os.Stderr, "torture: -kills, -homes and -minutes are positive; -episode needs the -seed that it had")
		flag.Usage()
		return 2
	}
	o.For = time.Duration(minutes * float64(time.Minute))
	for o.Seed == 0 {
		o.Seed = rand.Uint64N(1_000_000)
	}
	// Whoever started this, such as go run, may be killed: it then ends too.
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(syscall.SIGTERM), 0, 0, 0); err != nil {
		fmt.Fprintln(os.Stderr, "torture:", err)
		return 1
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	home.Sweep()
	fmt.Printf("seed %d: %d kills in %d homes at once, %.0f min at most\n", o.Seed, o.Kills, o.Homes, minutes)
	report, err := torture.Run(ctx, o, os.Stdout)
	if report != nil {
		if err := report.Print(os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, "torture:", err)
			return 1
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "torture:", err)
		return 1
	}
	if !report.Sound() {
		return 1
	}
	return 0
}
