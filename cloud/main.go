// Command sentinel-cloud is the brain: it hears the nodes and Pis of its sites, decides
// what is wrong, calls people, and shuts machines down in a power cut.
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"

	"sentinel.home.arpa/cloud/brain"
	"sentinel.home.arpa/cloud/internal/cli"
	"sentinel.home.arpa/cloud/internal/setup"
	"sentinel.home.arpa/shared/daemon"
	"sentinel.home.arpa/shared/wire"
)

type commands struct {
	Config string `default:"/etc/sentinel/cloud.yaml" type:"path" help:"The configuration file."`
	Socket string `default:"/run/sentinel-cloud/control.sock" type:"path" help:"The running brain's control socket."`

	Run         struct{} `cmd:"" help:"Run the brain."`
	CheckConfig struct{} `cmd:"" help:"Check the configuration and say what is wrong with it."`
	Plan        struct {
		Show struct {
			JSON bool `help:"As the brain says it, in JSON."`
		} `cmd:"" help:"What would happen if the power went now, and whether the battery lasts for it."`
		Check struct {
			NetworkOnUPS string `name:"network-on-ups" enum:",yes,no" default:"" help:"Say once whether the switch between Pi and nodes is on the UPS: yes or no."`
			JSON         bool   `help:"As the brain says it, in JSON."`
		} `cmd:"" help:"Look at all that the plan needs, and say what to do. Exit 1: something is to be done."`
		Simulate struct {
			UPS     string `name:"ups" help:"The UPS; its last report counts, but for what you say."`
			Runtime string `help:"How long its battery lasts, such as 9m."`
			Charge  string `help:"Its charge, such as 40%."`
			JSON    bool   `help:"As the brain says it, in JSON."`
		} `cmd:"" help:"What the plan would do with such a battery if the power went now. Nothing is done. Exit 1: it does not last."`
		Arm struct {
			Force bool `help:"Also if a node does not answer or would refuse, or a Pi lacks a secret."`
		} `cmd:"" help:"Let the plan's commands out: from now on a power cut really shuts machines down."`
		Disarm  struct{} `cmd:"" help:"Hold the plan's commands back."`
		Dismiss struct {
			Name string `arg:"" help:"A guest or node, as status calls it."`
			Site string `help:"Its site, if several have one of that name."`
		} `cmd:"" help:"Leave something off that the plan shut down: it is not started again, and not told of any more."`
		Stop struct{} `cmd:"" help:"Stop the run that is under way; the plan does not begin again before the power is back."`
	} `cmd:"" help:"The order in which machines are shut down in a power cut."`
	Init struct {
		Force bool `help:"Also over a configuration that is there; it is kept as .old."`
	} `cmd:"" help:"Write the configuration by asking for what only you know, and say what is left to do."`
	Doctor struct {
		JSON bool `help:"As JSON."`
	} `cmd:"" help:"Look over all that the sentinel needs, on one screen, and say what to do. Exit 1: something is wrong."`
	Status struct {
		Watch bool `help:"Again each second, until you end it." xor:"how"`
		JSON  bool `help:"As the brain says it, in JSON." xor:"how"`
	} `cmd:"" help:"How everything stands, on one screen. Exit 1: something is wrong."`
	Incidents struct {
		JSON bool `help:"As the brain says it, in JSON."`
	} `cmd:"" help:"List the incidents of the last 24 h. Exit 1: one is open."`
	Timeline struct {
		ID string `arg:"" help:"The incident, as incidents lists it."`
	} `cmd:"" help:"What happened in an incident, and because of what."`
	Digest struct {
		JSON bool `help:"As the brain says it, in JSON."`
	} `cmd:"" help:"How all was since the last digest, or the first start: what the next one would say. Nothing is sent."`
	Ack struct {
		ID string `arg:"" help:"The incident, as incidents lists it."`
	} `cmd:"" help:"Say that you know of an incident; nobody is called about it any more, unless it gets worse."`
	Mute struct {
		Node string `arg:"" help:"The node or Pi."`
		For  string `help:"For how long, from 1m to 30d; 2h if you do not say."`
	} `cmd:"" help:"Let a node's failures call nobody for a while; it is still watched."`
	Unmute struct {
		Node string `arg:"" help:"The node or Pi."`
	} `cmd:"" help:"End a mute."`
	Maintain struct {
		Name string `arg:"" name:"node|site" help:"The node, Pi or site."`
		For  string `help:"For how long, from 1m to 30d; 2h if you do not say." xor:"how"`
		End  bool   `help:"End it now." xor:"how"`
		Site bool   `help:"Mean the site, where a node has the same name."`
	} `cmd:"" help:"Let a node, or a whole site, come and go for a while."`
	Delete struct {
		Node string `arg:"" help:"The node or Pi."`
	} `cmd:"" help:"Forget a node. It comes back if it is heard again."`
	Approve struct {
		Node string `arg:"" optional:"" help:"The name of the machine, as the page lists it; without it those that wait are listed."`
		Key  string `help:"Its key, as the page lists it; needed if several wait under the name, if a Pi relayed it, or if the name has another key already."`
		Site string `help:"Its site, if it does not say so itself."`
	} `cmd:"" help:"Let a machine in that waits, since it is not known or was set up anew."`
	Calls struct {
		Preview struct {
			Kind     string `enum:"power,internet,node,unwatched,tailnet," default:"" help:"What the calls are about: power, internet, node, unwatched or tailnet; all if you do not say."`
			Language string `help:"Such as de; that of the contact if you do not say."`
			Contact  string `help:"Who is called; the first of the configuration if you do not say."`
			Variant  int    `help:"Only the one with this number, as the kind lists them."`
			Speak    string `type:"path" help:"A file for the sound of the first, by espeak-ng."`
		} `cmd:"" help:"What calls say, in all their variants, by the configuration file. Nobody is called."`
	} `cmd:"" help:"The calls that the brain makes."`
	Test struct {
		Notice struct {
			Contact string `required:"" help:"Whom to tell, by the name in cloud.yaml."`
		} `cmd:"" help:"Send somebody a notice by each of the channels, and say which took it. Exit 1: not all did."`
		SMS struct {
			Contact string `required:"" help:"Whom to tell, by the name in cloud.yaml."`
		} `cmd:"" name:"sms" help:"Send somebody a text message. Exit 1: it was not taken."`
		Call struct {
			Contact string `required:"" help:"Whom to call, by the name in cloud.yaml."`
		} `cmd:"" help:"Call somebody to see that it works, and wait for what becomes of it. Exit 1: nobody took it."`
	} `cmd:"" help:"See that people are reached."`
	Journal struct {
		Site     string `help:"Only what is about this site."`
		Node     string `help:"Only what is about this node, Pi or UPS."`
		Incident string `help:"Only what is about this incident."`
		Since    string `help:"How long ago, such as 24h or 14d, or when, such as 2026-11-21T19:00."`
		Limit    int    `help:"The newest so many facts; 1000 if you do not say."`
		JSON     bool   `help:"As the brain says it, in JSON lines; also what has no sentence."`
	} `cmd:"" help:"What happened, the newest last."`
	Backup struct {
		File string `arg:"" type:"path" help:"Where the copy goes."`
	} `cmd:"" help:"Copy the running brain's journal to a file."`
	Restore struct {
		File string `arg:"" type:"path" help:"A copy that backup made."`
	} `cmd:"" help:"Put a copy in the place of the journal. Stop the brain first."`
	Key     struct{} `cmd:"" help:"Print the brain's public key, for brains: of machines without Tailscale."`
	Version struct{} `cmd:"" help:"Print the version."`
}

func main() { os.Exit(run()) }

func run() int {
	var c commands
	ctx := kong.Parse(&c, kong.Name("sentinel-cloud"), kong.Description("The brain of the sentinel."), kong.UsageOnError(),
		kong.Exit(func(code int) { os.Exit(min(code, 2)) }))
	switch verb := ctx.Command(); verb {
	case "run":
		return runBrain(c.Config)
	case "version":
		fmt.Println("sentinel-cloud", daemon.Version())
		return 0
	case "check-config":
		return checkConfig(c.Config, cli.Operator{Socket: c.Socket})
	case "key":
		return printKey(c.Config)
	case "init":
		return initial(c.Config, c.Init.Force)
	case "restore <file>":
		return restore(c.Config, c.Restore.File)
	case "calls preview":
		return preview(c.Config, brain.Preview(c.Calls.Preview))
	case "status":
		return status(cli.Operator{Socket: c.Socket}, c.Status.Watch, c.Status.JSON)
	default:
		return tell(c.ask(verb, cli.Operator{Socket: c.Socket}))
	}
}

func runBrain(config string) int {
	cfg, err := brain.LoadConfig(config)
	if err != nil {
		return tell(err)
	}
	level := new(slog.LevelVar)
	level.Set(cfg.LogLevel())
	slog.SetDefault(daemon.Logger(os.Stderr, level, cfg.Log.Format))
	reload := brain.NewReload(config, level)
	return daemon.Main("sentinel-cloud", func(ctx context.Context) error {
		b, err := brain.New(ctx, cfg, slog.Default(), reload)
		if err != nil {
			return err
		}
		return b.Run(b.Leave(ctx))
	}, reload.Ask)
}

// ask has the running brain answer a verb.
func (c *commands) ask(verb string, operator cli.Operator) error {
	switch verb {
	case "doctor":
		return operator.Doctor(os.Stdout, brain.Examine(context.Background(), c.Config, operator.Heard), c.Doctor.JSON)
	case "plan show":
		return operator.PlanShow(os.Stdout, c.Plan.Show.JSON)
	case "plan check":
		return operator.PlanCheck(os.Stdout, c.Plan.Check.NetworkOnUPS, c.Plan.Check.JSON)
	case "plan simulate":
		return operator.PlanSimulate(os.Stdout, cli.Outage{UPS: c.Plan.Simulate.UPS, Runtime: c.Plan.Simulate.Runtime, Charge: c.Plan.Simulate.Charge}, c.Plan.Simulate.JSON)
	case "plan arm":
		return operator.Arm(os.Stdout, true, c.Plan.Arm.Force)
	case "plan disarm":
		return operator.Arm(os.Stdout, false, false)
	case "plan dismiss <name>":
		return operator.PlanDismiss(os.Stdout, c.Plan.Dismiss.Name, c.Plan.Dismiss.Site)
	case "plan stop":
		return operator.PlanStop(os.Stdout)
	case "ack <id>":
		return operator.Ack(os.Stdout, c.Ack.ID)
	case "incidents":
		return operator.Incidents(os.Stdout, c.Incidents.JSON)
	case "timeline <id>":
		return operator.Timeline(os.Stdout, c.Timeline.ID)
	case "digest":
		return operator.Digest(os.Stdout, c.Digest.JSON)
	case "mute <node>":
		return operator.Mute(os.Stdout, c.Mute.Node, c.Mute.For)
	case "unmute <node>":
		return operator.Unmute(os.Stdout, c.Unmute.Node)
	case "maintain <node|site>":
		return operator.Maintain(os.Stdout, c.Maintain.Name, c.Maintain.For, c.Maintain.Site, c.Maintain.End)
	case "delete <node>":
		return operator.Delete(os.Stdout, c.Delete.Node)
	case "approve":
		return operator.Waiting(os.Stdout)
	case "approve <node>":
		return operator.Approve(os.Stdout, c.Approve.Node, c.Approve.Key, c.Approve.Site)
	case "test notice":
		return operator.TestNotice(os.Stdout, c.Test.Notice.Contact, false)
	case "test sms":
		return operator.TestNotice(os.Stdout, c.Test.SMS.Contact, true)
	case "test call":
		return operator.TestCall(os.Stdout, c.Test.Call.Contact)
	case "journal":
		return operator.Journal(os.Stdout, cli.Search{Site: c.Journal.Site, Node: c.Journal.Node, Incident: c.Journal.Incident,
			Since: c.Journal.Since, Limit: c.Journal.Limit}, c.Journal.JSON)
	case "backup <file>":
		return operator.Backup(context.Background(), os.Stdout, c.Backup.File, brain.CheckJournal)
	}
	return fmt.Errorf("%s is no verb of the brain", verb)
}

// initial writes the first configuration.
func initial(config string, force bool) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	info, err := os.Stdin.Stat()
	return tell(setup.Setup{In: os.Stdin, Out: os.Stdout, Force: force, Terminal: err == nil && info.Mode()&os.ModeCharDevice != 0,
		Check: func(path string) error {
			_, err := brain.LoadConfig(path)
			return err
		}}.Run(ctx, config))
}

func restore(config, file string) int {
	cfg, err := brain.LoadConfig(config)
	if err != nil {
		return tell(err)
	}
	said, err := brain.RestoreJournal(context.Background(), cfg, file)
	if err == nil {
		fmt.Println(said)
	}
	return tell(err)
}

func printKey(config string) int {
	cfg, err := brain.LoadConfig(config)
	if err != nil {
		return tell(err)
	}
	return tell(wire.PrintKey(os.Stdout, cfg.StateDir))
}

func checkConfig(path string, operator cli.Operator) int {
	notes, err := brain.CheckConfig(path, operator.Heard)
	for _, n := range notes {
		fmt.Fprintln(os.Stderr, n)
	}
	if err != nil {
		return tell(err)
	}
	fmt.Println(path + ": fine")
	return 0
}

func preview(config string, p brain.Preview) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := brain.PreviewCalls(ctx, os.Stdout, config, p)
	if errors.Is(err, brain.ErrNoSuch) {
		tell(err)
		return 2
	}
	return tell(err)
}

// status watches until it is interrupted.
func status(operator cli.Operator, watch, asJSON bool) int {
	if !watch {
		return tell(operator.Status(os.Stdout, asJSON))
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return tell(operator.Watch(ctx, os.Stdout))
}

// tell says what went wrong, unless that is written already; the exit code is the answer.
func tell(err error) int {
	if err != nil && !errors.Is(err, cli.ErrBadNews) {
		fmt.Fprintln(os.Stderr, err)
	}
	return cli.ExitCode(err)
}
