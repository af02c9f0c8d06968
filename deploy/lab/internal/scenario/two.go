package scenario

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"sentinel.home.arpa/deploy/lab/internal/edge"
	"sentinel.home.arpa/deploy/lab/internal/home"
	"sentinel.home.arpa/deploy/lab/internal/stages"
)

// Stories of homes that are not the usual.

const (
	callBy       = 15 * time.Second // on battery without a plan that begins
	internetPlan = time.Minute      // the shortest that plan_after may be
	turnEach     = 15 * time.Second // by which the second Pi acts after the first
	patience     = 10 * time.Second // that a Pi has with who acts and says nothing more
)

// homes are how those of some stories differ from the usual.
func homes() map[string]func(o *home.Options) {
	two := func(o *home.Options) { o.UPSes = home.UPSes(2) }
	keypad := func(o *home.Options) { o.Keypad = true }
	return map[string]func(o *home.Options){
		"one-ups-of-two": two,
		"pi-dies":        two,
		"any-ups": func(o *home.Options) {
			two(o)
			o.UPSes[0].Feeds, o.UPSes[1].Feeds = []string{"pve1", "pve3"}, nodes()
			o.AnyUPS = []string{"pve3"}
		},
		"key-one":           keypad,
		"key-two-twice":     keypad,
		"key-after-a-crash": keypad,
		"seventh-call":      func(o *home.Options) { o.UsualCalls = true },
		"internet-plan":     func(o *home.Options) { o.PlanOn, o.InternetAfter = []string{"internet_outage"}, internetPlan },
	}
}

// long are the stories that are too long for every day.
func long() []string { return []string{"pi-dies", "internet-plan"} }

// step is something that is done to the home, and how long the story then waits.
type step struct {
	do   string
	then time.Duration
}

func (s *stage) steps(ctx context.Context, steps ...step) error {
	for _, st := range steps {
		if err := s.do(st.do); err != nil {
			return err
		}
		if err := wait(ctx, st.then); err != nil {
			return err
		}
	}
	return nil
}

// plan is the one of the usual home.
func plan() stages.Plan {
	return stages.Plan{Guests: 9, GuestsWithin: 3 * time.Minute, Stages: [][]string{{"pve2", "pve3"}, {"pve1"}}, NodesWithin: 90 * time.Second}
}

// inOrder demands that what was told was told in the plan's order, and nobody again who had
// come back.
func (s *stage) inOrder(from time.Duration) *stages.Record {
	r := stages.Read(s.entries, from)
	_, hurt := r.Repeats()
	for _, b := range append(r.Order(plan()), hurt...) {
		s.demand(false, "%s", b)
	}
	return r
}

func playOneOfTwo(ctx context.Context, s *stage) error {
	if err := s.steps(ctx, step{"unplug ups", 25 * time.Second}, step{"unplug ups2", 0}); err != nil {
		return err
	}
	if err := s.until(ctx, 90*time.Second, func([]edge.Entry) bool { return allDown(s.home) }); err != nil {
		return err
	}
	return wait(ctx, 5*time.Second) // for a call that should not be
}

// judgeOneOfTwo: U7.
func judgeOneOfTwo(s *stage) {
	first, ok := onBatteryOf(s.entries, "ups")
	second, both := onBatteryOf(s.entries, "ups2")
	s.demand(ok && both, "the UPSes were never both read on battery")
	judgeCommands(s, second, rideThrough, rideThrough+tolerance)
	cs := calls(s.entries)
	s.demand(len(cs) == 2, "%d calls instead of two", len(cs))
	if len(cs) < 2 {
		return
	}
	s.within("one UPS on battery to the first call", cs[0].At()-first, rideThrough, callBy+tolerance)
	s.says(cs[0], "The power at home has been out since", "Nothing is shut down, since no machine depends on that U P S alone.")
	s.within("both on battery to the second call", cs[1].At()-second, rideThrough, rideThrough+tolerance)
	s.says(cs[1], "nine guests now, then three servers")
}

// onBatteryOf is when a UPS was first read on battery.
func onBatteryOf(es []edge.Entry, ups string) (time.Duration, bool) {
	return onBattery(slices.DeleteFunc(slices.Clone(es), func(e edge.Entry) bool { return e.Edge == edge.UPS && e.Node != ups }), 0)
}

// says demands that a call says some words.
func (s *stage) says(call edge.Entry, words ...string) {
	text := spoken(call)
	for _, w := range words {
		s.demand(strings.Contains(text, w), "the call does not say %q but %q", w, text)
	}
}

func playAnyUPS(ctx context.Context, s *stage) error {
	if err := s.do("unplug ups2"); err != nil {
		return err
	}
	gone := func([]edge.Entry) bool { return !s.home.Up("pve2") && !s.home.Up("pve3") }
	if err := s.until(ctx, 60*time.Second, gone); err != nil {
		return err
	}
	return wait(ctx, 15*time.Second) // for what should not be told
}

// judgeAnyUPS: U7. pve1 is fed by both UPSes, pve2 by ups2 alone, pve3 by both and stands in any_ups.
func judgeAnyUPS(s *stage) {
	begin, ok := onBatteryOf(s.entries, "ups2")
	s.demand(ok, "the UPS was never read on battery")
	r := stages.Read(s.entries, s.marks["unplug ups2"])
	told := map[string]bool{}
	for _, c := range r.Downs() {
		machine, _, _ := strings.Cut(c.Target, "/")
		s.demand(machine != "pve1", "%s was told, and pve1 has mains", c.Target)
		s.demand(!c.Node || c.Run == 3, "%s was told while %d guests ran, and not pve1's three alone", c.Target, c.Run)
		told[c.Target] = true
	}
	s.demand(len(told) == 8, "%d were told instead of six guests and two servers", len(told))
	s.demand(!s.home.Up("pve2") && !s.home.Up("pve3"), "pve2 or pve3 is still up")
	s.demand(s.home.Up("pve1"), "pve1 is off")
	if d := r.Downs(); len(d) > 0 {
		s.within("on battery to the first Proxmox command", d[0].At-begin, rideThrough, rideThrough+tolerance)
	}
	judgeOneCall(s, begin, rideThrough, rideThrough+tolerance, "The power at home has been out since", "I am shutting down two servers, their guests first. The other server stays on.")
}

// playDisarmed disarms at once after arming, before the Pi can have heard that it was armed, and
// while the brain still looks at a server that does not answer.
func playDisarmed(ctx context.Context, s *stage) error {
	steps := []step{{"disarm", 4 * time.Second}} // for the Pi to hear of it
	for range 5 {
		steps = append(steps, step{"arm", 0}, step{"disarm", 300 * time.Millisecond})
	}
	steps = append(steps, step{"path pi off", 0}, step{"arm", time.Second}, step{"disarm", 0}, step{"path pi on", time.Second},
		step{"pve pve1 hang reads", 0}, step{"arm", 0}, step{"disarm", 0}, step{"pve pve1 none", 0}, step{"unplug", 35 * time.Second})
	return s.steps(ctx, steps...)
}

// judgeDisarmed: S10.
func judgeDisarmed(s *stage) {
	begin, ok := onBattery(s.entries, s.marks["unplug"])
	s.demand(ok, "the UPS was never read on battery")
	s.demand(len(commands(s.entries)) == 0, "%d commands though the plan was disarmed", len(commands(s.entries)))
	judgeOneCall(s, begin, rideThrough, callBy+tolerance, "The power at home has been out since", "The plan is not armed, so nothing is shut down.")
}

func playPiDies(ctx context.Context, s *stage) error {
	if err := s.steps(ctx, step{"freeze brain", 2 * time.Second}, step{"unplug", 0}); err != nil {
		return err
	}
	if err := s.until(ctx, 40*time.Second, func(es []edge.Entry) bool { return len(commands(es)) >= 3 }); err != nil {
		return err
	}
	if err := s.do("kill pi"); err != nil {
		return err
	}
	if err := s.until(ctx, 2*time.Minute, func([]edge.Entry) bool { return allDown(s.home) }); err != nil {
		return err
	}
	s.marks["down"] = s.rec.Now()
	return s.steps(ctx, step{"thaw brain", 20 * time.Second}) // for what the brain makes of it
}

// judgePiDies: G2, G6, S9.
func judgePiDies(s *stage) {
	r := s.inOrder(s.marks["unplug"])
	for _, left := range r.Untold(plan()) {
		s.demand(false, "never told: %s", left)
	}
	s.demand(allDown(s.home), "not all servers are down")
	d := r.Downs()
	if len(d) == 0 {
		return
	}
	s.within("plug to the first Pi's first command", d[0].At-s.marks["unplug"], rideThrough, guardianBy)
	for _, c := range d {
		if c.At > s.marks["kill pi"]+tolerance {
			s.within("the first Pi's end to the second's first command", c.At-s.marks["kill pi"], 0, patience+turnEach+10*time.Second)
			break
		}
	}
	late := commands(after(s.entries, s.marks["thaw brain"]))
	s.demand(len(late) == 0, "%d commands came after the brain went on, so the plan was begun again", len(late))
	s.report(fmt.Sprintf("plug to the last server off: %.1f s, with %d commands", (s.marks["down"] - s.marks["unplug"]).Seconds(), len(d)))
	judgeOneCall(s, s.marks["thaw brain"], 0, 10*time.Second, "The power at home has been out since")
}

func playInternetPlan(ctx context.Context, s *stage) error {
	s.marks["first"] = s.rec.Now()
	if err := s.do("internet off"); err != nil {
		return err
	}
	if err := s.until(ctx, internetPlan+30*time.Second, func(es []edge.Entry) bool { return len(commands(es)) > 0 }); err != nil {
		return err
	}
	s.marks["back"] = s.rec.Now()
	if err := s.steps(ctx, step{"internet on", 40 * time.Second}); err != nil {
		return err
	}
	s.marks["again"] = s.rec.Now()
	if err := s.do("internet off"); err != nil {
		return err
	}
	if err := s.until(ctx, internetPlan+2*time.Minute, func([]edge.Entry) bool { return allDown(s.home) }); err != nil {
		return err
	}
	return s.steps(ctx, step{"internet on", 30 * time.Second}) // for what the brain makes of it
}

// judgeInternetPlan: S0. The first time the internet is back while guests go down: nothing more is
// told, and they are started again. The second time the Pi does it all.
func judgeInternetPlan(s *stage) {
	whole := s.entries
	s.entries = slices.DeleteFunc(slices.Clone(whole), func(e edge.Entry) bool { return e.At() >= s.marks["again"] })
	r := s.inOrder(0)
	if s.outFor(r, s.marks["first"]); len(s.broken) > 0 {
		return
	}
	told, started := map[string]bool{}, map[string]bool{}
	for _, c := range r.Commands {
		switch {
		case !c.Down() && c.Status == 200:
			started[c.Target] = true
		case c.Down():
			told[c.Target] = true
			s.demand(!c.Node, "%s was told in the guests' stage", c.Target)
			s.demand(c.At < s.marks["back"]+2*time.Second, "%s was told %.1f s after the internet was back", c.Target, (c.At - s.marks["back"]).Seconds())
		}
	}
	s.demand(maps.Equal(told, started), "told were %v, and started again %v", told, started)
	s.entries = after(whole, s.marks["again"])
	r = s.inOrder(s.marks["again"])
	s.outFor(r, s.marks["again"])
	for _, left := range r.Untold(plan()) {
		s.demand(false, "never told: %s", left)
	}
	s.demand(allDown(s.home), "not all servers are down")
	s.entries = whole
	cs := calls(s.entries)
	s.demand(len(cs) == 1, "%d calls instead of one", len(cs))
	for _, c := range cs {
		s.says(c, "I have not been able to reach anything at home since", "If it is out for one minute, the Pi there shuts the machines down, as you asked for.")
	}
}

// outFor demands that the first command came once the internet was out for long enough.
func (s *stage) outFor(r *stages.Record, from time.Duration) {
	d := r.Downs()
	if len(d) == 0 {
		s.demand(false, "nothing was told to shut down")
		return
	}
	s.within("internet off to the first Proxmox command", d[0].At-from, internetPlan, internetPlan+10*time.Second)
}
