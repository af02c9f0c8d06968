package torture

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"sentinel.home.arpa/deploy/lab/internal/home"
	"sentinel.home.arpa/deploy/lab/internal/scenario"
)

// Ending is what a story waits for after its last step.
type Ending int

// The endings.
const (
	ByTime Ending = iota // for nothing
	AllOff               // until every node is off
	Called               // until the phone company has taken a call
	Taken                // until the brain knows that a person took one
)

// Story is one episode as it was drawn: what is done to a fresh home and when, and which
// kills happen meanwhile.
type Story struct {
	Name  string
	Steps []scenario.Step
	Kills []Planned
	Until Ending
	Most  time.Duration   // that the ending is waited for
	After []scenario.Step // what is done then
	Quiet time.Duration   // how long the edges are looked at after all that
}

// Planned is a kill with its place in the story.
type Planned struct {
	home.Kill
	At  time.Duration // when it begins to wait for its phase, from the story's begin
	For time.Duration // how long it waits; then the victim is killed wherever it is
}

// draw makes stories, from one source of chance.
type draw struct{ r *rand.Rand }

// between draws a time, to a tenth of a second.
func (d draw) between(from, to float64) time.Duration {
	tenths := int((to - from) * 10)
	return time.Duration(from*float64(time.Second)) + time.Duration(d.r.IntN(tenths+1))*100*time.Millisecond
}

func pick[T any](d draw, of ...T) T { return of[d.r.IntN(len(of))] }

func (d draw) node() string { return pick(d, home.Nodes()...) }

// stories are the kinds, each as often as it is drawn in one round.
func stories() []func(draw) Story {
	return []func(draw) Story{outage, outage, outage, frozen, frozen, dark, dark, early, midway, midway, failure, failure,
		planned, planned, planned, blink, internet, silentUPS, silentUPS, twice, hurry, disarmed, quiet}
}

// Draw gives an episode of a home: the same for the same seed, whatever was played before.
func Draw(seed uint64, home, episode int) Story {
	kinds := stories()
	round := rand.New(rand.NewPCG(seed, uint64(home)<<32|uint64(episode/len(kinds))))
	round.Shuffle(len(kinds), func(i, j int) { kinds[i], kinds[j] = kinds[j], kinds[i] })
	d := draw{rand.New(rand.NewPCG(seed+1, uint64(home)<<32|uint64(episode)))}
	s := kinds[episode%len(kinds)](d)
	slices.SortStableFunc(s.Kills, func(a, b Planned) int { return int(a.At - b.At) })
	return s
}

// kill plans one; a third of the victims stay away for 3 s.
func (d draw) kill(phase home.Phase, victim string, at, most time.Duration) Planned {
	k := Planned{home.Kill{Phase: phase, Victim: victim}, at, most}
	if d.r.IntN(3) == 0 {
		k.Away = 3 * time.Second
	}
	if phase == home.Announcing {
		k.Delay = time.Duration(d.r.IntN(300)) * time.Millisecond
	}
	return k
}

// random kills somebody at a random moment.
func (d draw) random(from, to float64, victims ...string) Planned {
	return d.kill(home.Random, pick(d, victims...), d.between(from, to), 5*time.Second)
}

func (d draw) journal(from, to, most float64) Planned {
	return d.kill(pick(d, home.JournalBefore, home.JournalAfter), "brain", d.between(from, to), d.between(most, most))
}

func (d draw) call(from, most float64) Planned {
	return d.kill(pick(d, home.CallBefore, home.CallDone, home.CallAfter, home.CallRings, home.CallTalks, home.CallTaken), "brain", d.between(from, from), d.between(most, most))
}

// brainCommand kills the brain, or the Pi through which its command goes.
func (d draw) brainCommand(from, most float64) Planned {
	return d.kill(pick(d, home.BrainCommandBefore, home.BrainCommandDone, home.BrainCommandAfter), pick(d, "brain", "brain", "pi"),
		d.between(from, from), d.between(most, most))
}

func (d draw) piCommand(from, most float64) Planned {
	return d.kill(pick(d, home.PiCommandBefore, home.PiCommandDone, home.PiCommandAfter), "pi", d.between(from, from), d.between(most, most))
}

func (d draw) ledger(from, most float64) Planned {
	return d.kill(pick(d, home.LedgerBefore, home.LedgerAfter), "pi", d.between(from, from), d.between(most, most))
}

func (d draw) spool(from, most float64) Planned {
	return d.kill(pick(d, home.SpoolBefore, home.SpoolAfter), "pi", d.between(from, from), d.between(most, most))
}

func (d draw) announcing(from, most float64) Planned {
	return d.kill(home.Announcing, pick(d, home.Agent, "pi", "brain"), d.between(from, from), d.between(most, most))
}

func step(at time.Duration, format string, args ...any) scenario.Step {
	return scenario.Step{At: at, Do: fmt.Sprintf(format, args...)}
}

// pi and brain work at an outage until everything is off.
func outage(d draw) Story {
	s := Story{Name: "outage to the end", Steps: []scenario.Step{step(time.Second, "unplug")}, Until: AllOff, Most: 150 * time.Second, Quiet: 8 * time.Second}
	s.Kills = append(s.Kills, pick(d, d.random(0, 9, "brain", "pi"), d.journal(3, 5, 12)))
	s.Kills = append(s.Kills, pick(d, d.call(9.5, 20), d.brainCommand(9.5, 20), d.journal(9.5, 10.8, 12)))
	s.Kills = append(s.Kills, pick(d, d.brainCommand(14, 15), d.brainCommand(14, 15), d.journal(14, 16, 12), d.random(14, 24, "brain", "pi", d.node())))
	s.Kills = append(s.Kills, pick(d, d.announcing(18, 25), d.random(18, 30, "brain", "pi", d.node())))
	return s
}

// frozen leaves the Pi alone with an outage.
func frozen(d draw) Story {
	s := Story{Name: "outage, the brain stands still", Steps: []scenario.Step{step(0, "freeze brain"), step(d.between(1, 2), "unplug")},
		Until: AllOff, Most: 150 * time.Second, After: []scenario.Step{step(time.Second, "thaw brain")}, Quiet: 15 * time.Second}
	s.Kills = d.lonelyPi()
	return s
}

func (d draw) lonelyPi() []Planned {
	return []Planned{
		d.random(2, 16, "pi"),
		pick(d, d.ledger(17, 25), d.ledger(17, 25), d.piCommand(17, 30)),
		pick(d, d.piCommand(20, 20), d.piCommand(20, 20), d.ledger(20, 20), d.random(20, 34, "pi")),
		pick(d, d.piCommand(24, 20), d.announcing(24, 20), d.random(24, 38, "pi", d.node())),
	}
}

// dark is an outage in which the internet goes too, before or after.
func dark(d draw) Story {
	s := Story{Name: "outage, and the internet goes", Steps: []scenario.Step{step(d.between(0, 8), "internet off"), step(d.between(1, 7), "unplug")},
		Until: AllOff, Most: 150 * time.Second, After: []scenario.Step{step(time.Second, "internet on")}, Quiet: 20 * time.Second}
	slices.SortFunc(s.Steps, func(a, b scenario.Step) int { return int(a.At - b.At) })
	s.Kills = append(d.lonelyPi(), pick(d, d.journal(19, 21, 20), d.call(19, 30), d.random(10, 30, "brain")), d.random(30, 44, "brain", "pi"))
	return s
}

// early is a power cut that is over before anything is to be done.
func early(d draw) Story {
	back := d.between(2, 8.5)
	s := Story{Name: "power back early", Steps: []scenario.Step{step(time.Second, "unplug"), step(time.Second+back, "plug")}, Quiet: 22 * time.Second}
	s.Kills = []Planned{d.random(0, 4, "brain", "pi"), pick(d, d.journal(4.5, 5.5, 8), d.random(4, 9, "brain", "pi")), d.random(9, 16, "brain", "pi")}
	return s
}

// midway is a power cut that ends while the plan runs.
func midway(d draw) Story {
	s := Story{Name: "power back midway", Steps: []scenario.Step{step(time.Second, "unplug"), step(d.between(11, 26), "plug")}, Quiet: 22 * time.Second}
	s.Kills = []Planned{
		pick(d, d.random(0, 8, "brain", "pi"), d.journal(4.5, 5.5, 8)),
		pick(d, d.brainCommand(9.5, 15), d.call(9.5, 15), d.journal(9.5, 10.5, 10)),
		pick(d, d.brainCommand(13, 10), d.journal(13, 15, 10), d.random(14, 24, "brain", "pi")),
		d.random(20, 32, "brain", "pi", d.node()),
	}
	return s
}

// failure is a server that loses its power.
func failure(d draw) Story {
	s := Story{Name: "node failure", Steps: []scenario.Step{step(time.Second, "kill %s", d.node())}, Until: Called, Most: 130 * time.Second, Quiet: 14 * time.Second}
	s.Kills = []Planned{
		d.random(0, 12, "brain", "pi", d.node()),
		pick(d, d.journal(17, 19, 40), d.call(16, 60), d.call(16, 60)),
		pick(d, d.call(22, 60), d.kill(home.CallAsking, "brain", d.between(22, 22), d.between(20, 20)), d.journal(22, 24, 40), d.random(22, 40, "brain", "pi")),
	}
	return s
}

// Calling are stories of one call each, in which the brain is killed at one step of it.
func Calling() []Story {
	var all []Story
	for _, phases := range [][]home.Phase{{home.JournalAfter}, {home.CallBefore}, {home.CallDone}, {home.CallAfter}, {home.CallRings}, {home.CallTalks},
		{home.CallTaken}, {home.CallDone, home.CallAsking}} {
		s := Story{Name: "killed at a step of a call", Steps: []scenario.Step{step(time.Second, "kill pve2")}, Until: Taken, Most: 90 * time.Second, Quiet: 6 * time.Second}
		for i, p := range phases {
			at := 18*time.Second + time.Duration(i)*time.Millisecond // some seconds before the call is decided
			s.Kills = append(s.Kills, Planned{home.Kill{Phase: p, Victim: "brain"}, at, time.Minute})
		}
		all = append(all, s)
	}
	return all
}

// planned is a server that is shut down or rebooted, and whose own way to the brain is
// cut, so that only the Pi can tell.
func planned(d draw) Story {
	n, verb := d.node(), pick(d, "reboot", "reboot", "shutdown")
	s := Story{Name: "planned " + verb, Steps: []scenario.Step{step(0, "path %s off", n), step(d.between(4, 6), "%s %s", verb, n)}, Quiet: 45 * time.Second}
	s.Kills = []Planned{
		pick(d, d.spool(2, 15), d.spool(2, 15), d.announcing(2, 15)),
		pick(d, d.journal(7, 9, 8), d.random(7, 14, "brain", "pi")),
		// Not the brain: with each of its starts it waits anew before it calls a node failed.
		d.random(14, 30, "pi", d.node()),
		d.random(30, 44, "pi", d.node()),
		d.random(42, 48, "brain", "pi"),
	}
	return s
}

// blink is an internet outage too short for a call.
func blink(d draw) Story {
	s := Story{Name: "internet gone for a moment", Steps: []scenario.Step{step(time.Second, "internet off"), step(d.between(26, 60), "internet on")}, Quiet: 20 * time.Second}
	s.Kills = []Planned{d.random(2, 18, "brain", "pi"), d.journal(18, 21, 15), d.random(25, 60, "brain", "pi", d.node())}
	return s
}

// internet is one that is called about.
func internet(d draw) Story {
	s := Story{Name: "internet outage", Steps: []scenario.Step{step(time.Second, "internet off")}, Until: Called, Most: 200 * time.Second,
		After: []scenario.Step{step(8*time.Second, "internet on")}, Quiet: 15 * time.Second}
	s.Kills = []Planned{d.random(2, 18, "brain", "pi"), d.journal(19, 21, 15), d.random(30, 60, "pi", d.node()), d.random(40, 70, "brain", "pi"),
		pick(d, d.call(70, 60), d.journal(75, 79, 20)), d.random(100, 119, "brain", "pi")}
	return s
}

// silentUPS is an outage in which the UPS's daemon dies.
func silentUPS(d draw) Story {
	s := Story{Name: "outage, the UPS falls silent", Steps: []scenario.Step{step(time.Second, "unplug"), step(d.between(4, 16), "ups off")},
		Until: AllOff, Most: 150 * time.Second, Quiet: 8 * time.Second}
	s.Kills = []Planned{
		d.random(0, 14, "brain", "pi"),
		pick(d, d.brainCommand(12, 40), d.random(14, 40, "brain", "pi"), d.journal(12, 30, 20)),
		pick(d, d.brainCommand(20, 40), d.random(25, 50, "brain", "pi"), d.announcing(20, 50)),
	}
	return s
}

// twice is an outage, and another soon after.
func twice(d draw) Story {
	s := Story{Name: "two outages", Steps: []scenario.Step{step(time.Second, "unplug"), step(d.between(8, 24), "plug"), step(d.between(36, 50), "unplug")},
		Until: AllOff, Most: 150 * time.Second, Quiet: 8 * time.Second}
	s.Kills = []Planned{
		pick(d, d.random(3, 12, "brain", "pi"), d.journal(4.5, 10, 10)),
		pick(d, d.brainCommand(12, 10), d.call(10, 12), d.random(14, 24, "brain", "pi")),
		d.random(26, 50, "brain", "pi"),
		pick(d, d.brainCommand(46, 30), d.call(46, 30), d.journal(50, 64, 20)),
		d.random(60, 75, "brain", "pi", d.node()),
	}
	return s
}

// hurry is an outage with a battery that lasts for less than the plan needs.
func hurry(d draw) Story {
	s := Story{Name: "outage, little runtime", Steps: []scenario.Step{step(time.Second, "unplug"), step(time.Second+d.between(0, 8), "runtime 5m")},
		Until: AllOff, Most: 150 * time.Second, Quiet: 8 * time.Second}
	if d.r.IntN(2) == 0 {
		s.Steps = append([]scenario.Step{step(0, "freeze brain")}, s.Steps...)
		s.After = []scenario.Step{step(time.Second, "thaw brain")}
		s.Kills = []Planned{d.random(0, 5, "pi"), d.ledger(2, 15), d.piCommand(3, 15), d.random(10, 25, "pi", d.node())}
		return s
	}
	s.Kills = []Planned{d.random(0, 4, "brain", "pi"), pick(d, d.brainCommand(1, 15), d.call(1, 15), d.journal(1, 2, 10)),
		pick(d, d.brainCommand(4, 10), d.random(4, 12, "brain", "pi")), d.random(10, 25, "brain", "pi", d.node())}
	return s
}

// disarmed is an outage in which nothing may be shut down.
func disarmed(d draw) Story {
	s := Story{Name: "outage, disarmed", Steps: []scenario.Step{step(0, "disarm"), step(d.between(8, 14), "unplug")}, Quiet: 50 * time.Second}
	s.Kills = []Planned{d.random(0, 1, "brain", "pi"), d.random(3, 12, "brain", "pi"), d.random(14, 20, "brain", "pi"),
		pick(d, d.call(17, 20), d.journal(17, 20, 20)), d.random(26, 44, "brain", "pi")}
	return s
}

// quiet is an evening on which nothing is wrong but that programs die.
func quiet(d draw) Story {
	s := Story{Name: "nothing wrong", Quiet: 42 * time.Second}
	if d.r.IntN(2) == 0 {
		s.Steps = []scenario.Step{step(d.between(2, 6), "freeze brain"), step(d.between(10, 24), "thaw brain")}
	}
	for i := range 6 {
		from := float64(2 + 6*i)
		s.Kills = append(s.Kills, d.random(from, from+5, "brain", "pi", d.node(), d.node()))
	}
	return s
}
