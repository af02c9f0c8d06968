// Command sentinel-node is the agent on a node: it beats each second, and announces when
// the machine goes down.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"

	"sentinel.home.arpa/node-hook/hook"
	"sentinel.home.arpa/shared/daemon"
	"sentinel.home.arpa/shared/wire"
)

const help = `Usage: ` + program + ` [--config FILE] [COMMAND]

The sentinel's agent on a node.

Commands:
  run               beat, and announce shutdowns of this machine (the default)
  announce [KIND]   announce poweroff, reboot, halt, kexec or soft-reboot, or that it is
                    cancelled; without a kind the shutdown under way, or nothing
  check-config      check the configuration file
  key               print this machine's public key, by which a brain knows it
  doctor [--json]   look the agent and its machine over, and say what to do
  version           print the version

  --config FILE     default ` + hook.DefaultPath + `, which need not exist

Exit status: 0 fine, 1 bad news (nobody acknowledged, a wrong configuration), 2 usage.
`

// exitUsage tells wrong words on the command line from bad news, which is 1.
const exitUsage = 2

// order is what the command line asks for.
type order struct {
	config  string
	command string
	kind    wire.ShutdownKind // of announce; empty if not named
	json    bool              // of doctor
}

// parse reads a command line. Flags may stand before the command and behind it.
func parse(args []string) (order, error) {
	o := order{config: hook.DefaultPath}
	flags := flag.NewFlagSet(program, flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.StringVar(&o.config, "config", o.config, "")
	flags.BoolVar(&o.json, "json", false, "")
	var words []string
	for len(args) > 0 {
		if err := flags.Parse(args); err != nil {
			return o, err
		}
		if args = flags.Args(); len(args) > 0 {
			words, args = append(words, args[0]), args[1:]
		}
	}
	if len(words) == 0 {
		words = []string{"run"}
	}
	o.command, words = words[0], words[1:]
	if !slices.Contains([]string{"run", "announce", "check-config", "doctor", "key", "version"}, o.command) {
		return o, fmt.Errorf("%.40q is no command; see --help", o.command)
	}
	if o.command == "announce" && len(words) > 0 {
		kind, err := wire.ParseShutdownKind(words[0])
		if err != nil {
			return o, err
		}
		o.kind, words = kind, words[1:]
	}
	if o.json && o.command != "doctor" {
		return o, fmt.Errorf("--json is of doctor alone; see --help")
	}
	if len(words) > 0 {
		return o, fmt.Errorf("%.40q is too much after %s; see --help", words[0], o.command)
	}
	return o, nil
}

func main() {
	daemon.OutliveLog() // also as announce, which speaks when the journal may be gone
	o, err := parse(os.Args[1:])
	switch {
	case errors.Is(err, flag.ErrHelp):
		fmt.Print(help)
		return
	case err != nil:
		fmt.Fprintf(os.Stderr, "%s: %v\n", program, err)
		os.Exit(exitUsage)
	}
	b := build()
	switch o.command {
	case "announce":
		err = b.Announce(context.Background(), o.config, o.kind, os.Stdout)
	case "check-config":
		err = b.Check(o.config, os.Stdout)
	case "key":
		err = b.PrintKey(o.config, os.Stdout)
	case "doctor":
		if err = b.Doctor(context.Background(), o.config, o.json, os.Stdout); errors.Is(err, hook.ErrBadNews) {
			os.Exit(1) // it was said
		}
	case "version":
		fmt.Println(program, daemon.Version())
	default:
		var c hook.Config
		if c, err = b.Load(o.config); err == nil {
			os.Exit(daemon.Main(program, func(ctx context.Context) error { return b.RunWith(ctx, c) }, func() {
				_, err := b.Load(o.config)
				daemon.Reread(nil, err)
			}))
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
