// Command sentinel-cloud is the brain: it hears the nodes and Pis of its sites, decides
// what is wrong, calls people, and shuts machines down in a power cut.
package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/url"
	"os"

	"github.com/alecthomas/kong"

	"sentinel.home.arpa/cloud/brain"
	"sentinel.home.arpa/cloud/internal/cli"
	"sentinel.home.arpa/shared/daemon"
)

type commands struct {
	Config string `default:"/etc/sentinel/cloud.yaml" type:"path" help:"The configuration file."`
	Socket string `default:"/run/sentinel-cloud/control.sock" type:"path" help:"The running brain's control socket."`

	Run         struct{} `cmd:"" help:"Run the brain."`
	CheckConfig struct{} `cmd:"" help:"Check the configuration and say what is wrong with it."`
	Plan        struct {
		Arm    struct{} `cmd:"" help:"Let the plan's commands out: from now on a power cut really shuts machines down."`
		Disarm struct{} `cmd:"" help:"Hold the plan's commands back."`
	} `cmd:"" help:"Arm or disarm the plan."`
	Ack struct {
		ID string `arg:"" help:"The incident, as the page names it."`
	} `cmd:"" help:"Say that you know of an incident; nobody is called about it any more."`
	Approve struct {
		Node string `arg:"" optional:"" help:"The name of the machine, as the page lists it; without it those that wait are listed."`
		Key  string `help:"Its key, as the page lists it; needed if several wait under the name, if a Pi relayed it, or if the name has another key already."`
		Site string `help:"Its site, if it does not say so itself."`
	} `cmd:"" help:"Let a machine in that waits, since it is not known or was set up anew."`
	Version struct{} `cmd:"" help:"Print the version."`
}

func main() { os.Exit(run()) }

func run() int {
	var c commands
	ctx := kong.Parse(&c, kong.Name("sentinel-cloud"), kong.Description("The brain of the sentinel."), kong.UsageOnError(),
		kong.Exit(func(code int) { os.Exit(min(code, 2)) }))
	operator := cli.Operator{Socket: c.Socket}
	switch ctx.Command() {
	case "version":
		fmt.Println("sentinel-cloud", daemon.Version())
		return 0
	case "plan arm":
		return tell(operator.Press("/api/v1/plan/arm"))
	case "plan disarm":
		return tell(operator.Press("/api/v1/plan/disarm"))
	case "ack <id>":
		return tell(operator.Press("/api/v1/incidents/" + url.PathEscape(c.Ack.ID) + "/ack"))
	case "approve":
		return tell(operator.Waiting(os.Stdout))
	case "approve <node>":
		return tell(operator.Approve(c.Approve.Node, c.Approve.Key, c.Approve.Site))
	case "check-config":
		return checkConfig(c.Config)
	}
	cfg, err := brain.LoadConfig(c.Config)
	if err != nil {
		return tell(err)
	}
	slog.SetDefault(daemon.Logger(os.Stderr, cfg.LogLevel(), cfg.Log.Format))
	return daemon.Main("sentinel-cloud", func(ctx context.Context) error {
		b, err := brain.New(ctx, cfg, slog.Default())
		if err != nil {
			return err
		}
		return b.Run(ctx)
	})
}

func checkConfig(path string) int {
	notes, err := brain.CheckConfig(path)
	for _, n := range notes {
		fmt.Fprintln(os.Stderr, n)
	}
	if err != nil {
		return tell(err)
	}
	fmt.Println(path + ": fine")
	return 0
}

// tell says what went wrong; the exit code is the answer.
func tell(err error) int {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}
