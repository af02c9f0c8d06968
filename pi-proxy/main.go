// Command sentinel-pi watches the UPS of a site, relays its LAN to the brain, and shuts
// the site down by itself when the brain does not.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"

	"github.com/alecthomas/kong"

	"sentinel.home.arpa/pi-proxy/internal/root"
	"sentinel.home.arpa/pi-proxy/proxy"
	"sentinel.home.arpa/shared/daemon"
	"sentinel.home.arpa/shared/doctor"
	"sentinel.home.arpa/shared/wire"
)

const defaultConfig = "/etc/sentinel/pi.yaml"

// events are those that apcupsd's apccontrol knows, whatever the Pi makes of them.
const events = "powerout,onbattery,mainsback,offbattery,failing,timeout,loadlimit,runlimit,doreboot,doshutdown,killpower," +
	"commfailure,commok,changeme,battdetach,battattach,startselftest,endselftest,annoyme,emergency,remotedown"

type commands struct {
	Config string `default:"${config}" type:"path" help:"The configuration file; the default one may be missing."`
	Socket string `default:"${socket}" type:"path" help:"The running Pi's control socket."`

	Run         struct{} `cmd:"" help:"Run the Pi."`
	CheckConfig struct{} `cmd:"" help:"Check the configuration and say what is wrong with it."`
	Event       struct {
		Name string `arg:"" enum:"${events}" help:"apcupsd's name of the event: ${enum}."`
	} `cmd:"" help:"Tell the running Pi of an event of apcupsd; for its scripts, which it never delays."`
	Status struct {
		JSON bool `name:"json" help:"As JSON."`
	} `cmd:"" help:"Say how the running Pi sees its brain and its internet, and whom it would call."`
	Key    struct{} `cmd:"" help:"Print this Pi's public key, by which brains and nodes know it."`
	Doctor struct {
		Apcupsd string `default:"${apcupsd}" type:"path" help:"Where apcupsd's configuration and scripts are."`
		JSON    bool   `name:"json" help:"As JSON."`
	} `cmd:"" help:"Look this Pi over, on one screen, and say what to do. Exit 1: something is wrong."`
	Version struct{} `cmd:"" help:"Print the version."`
	Root    struct{} `cmd:"" hidden:"" help:"Do one thing as root that the Pi asks for on standard input, a socket of systemd's."`
}

func main() { os.Exit(run()) }

func run() int {
	var c commands
	ctx := kong.Parse(&c, kong.Name("sentinel-pi"), kong.Description("The sentinel's Pi."), kong.UsageOnError(),
		kong.Vars{"config": defaultConfig, "socket": proxy.DefaultControlSocket, "events": events, "apcupsd": proxy.ApcupsdDir},
		kong.Exit(func(code int) { os.Exit(min(code, 2)) }))
	switch ctx.Command() {
	case "version":
		fmt.Println("sentinel-pi", daemon.Version())
		return 0
	case "event <name>":
		if err := proxy.TellEvent(c.Socket, c.Event.Name); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		return 0
	case "root":
		slog.SetDefault(daemon.Logger(os.Stderr, slog.LevelInfo, "text"))
		return daemon.Main("sentinel-pi root", func(ctx context.Context) error { return root.ServeStdin(ctx, slog.Default()) }, func() {})
	}
	switch ctx.Command() {
	case "status":
		return status(c.Socket, c.Status.JSON)
	case "doctor":
		return examine(&c)
	}
	cfg, err := proxy.LoadConfig(c.Config, c.Config == defaultConfig)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	switch ctx.Command() {
	case "key":
		return printKey(cfg.StateDir)
	case "check-config":
		if _, err := os.Stat(c.Config); errors.Is(err, fs.ErrNotExist) {
			fmt.Println(c.Config + ": there is none, so all is as by default: fine")
			return 0
		}
		fmt.Println(c.Config + ": fine")
		return 0
	}
	slog.SetDefault(daemon.Logger(os.Stderr, cfg.LogLevel(), cfg.Log.Format))
	return daemon.Main("sentinel-pi", func(ctx context.Context) error {
		p, err := proxy.New(cfg, slog.Default())
		if err != nil {
			return err
		}
		return p.Run(ctx)
	}, func() { daemon.Reread(cfg.ReadAgain(c.Config, c.Config == defaultConfig)) })
}

// printKey prints the public key, once the Pi has made one.
func printKey(dir string) int {
	if err := wire.PrintKey(os.Stdout, dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// status prints the running Pi's; a brain that is gone is bad news.
func status(socket string, asJSON bool) int {
	s, err := proxy.ReadStatus(socket)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if asJSON {
		_ = json.NewEncoder(os.Stdout).Encode(s) // there is nobody to tell
	} else {
		fmt.Print(s)
	}
	if s.BrainGone {
		return 1
	}
	return 0
}

// examine prints what the doctor finds; what is wrong is bad news.
func examine(c *commands) int {
	found := proxy.Examine(context.Background(), c.Config, c.Config == defaultConfig, c.Doctor.Apcupsd)
	text, err := doctor.Text(found, c.Doctor.JSON)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	_, _ = os.Stdout.Write(text) // there is nobody to tell
	if !doctor.Well(found) {
		return 1
	}
	return 0
}
