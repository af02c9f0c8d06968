package scenario

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"sentinel.home.arpa/deploy/lab/internal/edge"
)

// The contract's times that the stories are judged by, and what the lab's own clockwork
// may add.
const (
	rideThrough  = 10 * time.Second
	silence      = 20 * time.Second
	classified   = 3 * time.Second
	internetCall = 60 * time.Second
	noticeAfter  = 5 * time.Second
	tolerance    = 500 * time.Millisecond
	guardianBy   = 22 * time.Second
)

func nodes() []string { return []string{"pve1", "pve2", "pve3"} }

func stories() []story {
	return []story{
		{"power-outage", "the mains go; guests, then servers are shut down; one call", playOutage, judgeOutage},
		{"node-failure", "a server loses its power; one call", playFailure, judgeFailure},
		{"planned-reboot", "a server whose way to the brain is cut is rebooted: no call, but one for a real failure after it", playReboot, judgeReboot},
		{"internet-outage", "the home's internet goes; one call, a minute after that is recognised", playInternet, judgeInternet},
		{"power-in-the-dark", "the power goes and comes back while the internet is out: the Pi's record tells, and nobody is called again", playRecord, judgeRecord},
		{"brain-frozen", "the mains go while the brain stands still: the Pi shuts down by itself", playFrozen, judgeFrozen},
		{"one-ups-of-two", "one of two UPSes is out: nothing fed by both goes down; then both are out, and all does", playOneOfTwo, judgeOneOfTwo},
		{"any-ups", "one of two UPSes is out: who is fed by it alone goes down, and who stands in any_ups", playAnyUPS, judgeAnyUPS},
		{"disarmed-while-arming", "the plan is disarmed while it is being armed, and then the mains go: nothing is shut down", playDisarmed, judgeDisarmed},
		{"pi-dies", "the mains go while the brain stands still, and the Pi that shuts down loses its power midway: the other goes on", playPiDies, judgePiDies},
		{"internet-plan", "the internet is out for as long as plan_on asks for: the Pi shuts down by itself, until the internet is back", playInternetPlan, judgeInternetPlan},
		{"key-one", "the mains go, and whoever takes the call presses 1: it is known, and the phone rings no more", playKeyOne, judgeKeyOne},
		{"key-two-twice", "the mains go, and whoever takes the call presses 2 twice: nothing more is shut down, and the Pi says that it knows", playKeyTwoTwice, judgeKeyTwoTwice},
		{"key-after-a-crash", "the brain is killed while somebody listens to its call: the key that they press counts", playKeyAfterACrash, judgeKeyAfterACrash},
		{"seventh-call", "the power goes for the seventh time within the hour, and nobody is at the phone: a notice in place of the call", playSeventhCall, judgeSeventhCall},
	}
}

func allDown(home Home) bool {
	return !slices.ContainsFunc(nodes(), home.Up)
}

func playOutage(ctx context.Context, s *stage) error {
	if err := s.do("unplug"); err != nil {
		return err
	}
	if err := s.until(ctx, 90*time.Second, func([]edge.Entry) bool { return allDown(s.home) }); err != nil {
		return err
	}
	s.marks["down"] = s.rec.Now()
	// Long enough for a call that should not be, and for one that comes too late.
	return wait(ctx, 10*time.Second)
}

func judgeOutage(s *stage) {
	begin, ok := onBattery(s.entries, s.marks["unplug"])
	s.demand(ok, "the UPS was never read on battery")
	s.within("plug to the UPS read on battery", begin-s.marks["unplug"], 0, 1100*time.Millisecond)
	judgeCommands(s, begin, rideThrough, rideThrough+tolerance)
	judgeOneCall(s, begin, rideThrough, rideThrough+tolerance, "The power at home has been out since", "nine guests now, then three servers")
	judgeTold(s, begin, "Power outage at home")
	s.report(fmt.Sprintf("plug to the last server off: %.1f s", (s.marks["down"] - s.marks["unplug"]).Seconds()))
}

// judgeTold demands that the notice arrived when it was time for it, and so before the phone rang (rule C5).
func judgeTold(s *stage, begin time.Duration, title string) {
	for _, e := range after(s.entries, begin) {
		if e.Edge == edge.Ntfy && e.What == title {
			s.within("on battery to the notice", e.At()-begin, noticeAfter, noticeAfter+tolerance)
			return
		}
	}
	s.demand(false, "ntfy was never told of the outage")
}

// judgeCommands demands that everything was told, in the plan's order, and nothing else.
func judgeCommands(s *stage, begin, low, high time.Duration) {
	cmds := commands(s.entries)
	if len(cmds) == 0 {
		s.demand(false, "nothing was ever told to shut down")
		return
	}
	s.within("on battery to the first Proxmox command", cmds[0].At()-begin, low, high)
	last := map[string]time.Duration{}
	first := map[string]time.Duration{}
	told := map[string]bool{}
	for _, c := range cmds {
		kind := "other"
		switch {
		case strings.HasSuffix(c.Path, "/status/shutdown"):
			kind = "guest"
		case strings.HasSuffix(c.Path, "/nodes/"+c.Node+"/status") && strings.Contains(c.Body, "shutdown"):
			kind = "node " + c.Node
		}
		s.demand(kind != "other", "a command outside the plan: %s %s %s", c.Method, c.Path, c.Body)
		s.demand(c.Status == 200, "a command was answered with %d: %s", c.Status, c.Path)
		if _, seen := first[kind]; !seen {
			first[kind] = c.At()
		}
		last[kind] = c.At()
		told[c.Path] = true
	}
	guests := 0
	for p := range told {
		if strings.HasSuffix(p, "/status/shutdown") {
			guests++
		}
	}
	s.demand(guests == 9, "%d guests were told instead of 9", guests)
	for _, n := range nodes() {
		at, ok := first["node "+n]
		s.demand(ok, "%s was never told", n)
		s.demand(!ok || at > last["guest"], "%s was told before the last guest", n)
		s.demand(!s.home.Up(n), "%s is still up", n)
	}
	offs := map[string]time.Duration{}
	for _, e := range s.entries {
		if e.Edge == edge.Lab && e.What == "off" {
			offs[e.Node] = e.At()
		}
	}
	for _, n := range []string{"pve2", "pve3"} {
		s.demand(first["node pve1"] > offs[n], "pve1 was told before %s was off", n)
	}
}

// judgeOneCall demands exactly one call in time, with words that must be in it.
func judgeOneCall(s *stage, from, low, high time.Duration, words ...string) {
	cs := calls(s.entries)
	s.demand(len(cs) == 1, "%d calls instead of one", len(cs))
	if len(cs) == 0 {
		return
	}
	s.within("to the request for the call", cs[0].At()-from, low, high)
	text := spoken(cs[0])
	for _, w := range append(words, "Hello Alex. This is your home sentinel.") {
		s.demand(strings.Contains(text, w), "the call does not say %q but %q", w, text)
	}
}

func playFailure(ctx context.Context, s *stage) error {
	if err := s.do("kill pve2"); err != nil {
		return err
	}
	s.marks["last word"] = s.home.Heartbeat("pve2")
	if err := s.until(ctx, silence+10*time.Second, func(es []edge.Entry) bool { return len(calls(es)) > 0 }); err != nil {
		return err
	}
	return wait(ctx, 15*time.Second) // for a second call
}

func judgeFailure(s *stage) {
	judgeOneCall(s, s.marks["last word"], silence-tolerance, silence+tolerance, "P V E 2 at home has not answered since", "The other two servers there are fine")
	s.demand(len(commands(s.entries)) == 0, "something was told to Proxmox")
}

// playReboot cuts a server's own way to the brain first, so that its announcement can
// only come through the Pi.
func playReboot(ctx context.Context, s *stage) error {
	for _, step := range []struct {
		do   string
		then time.Duration
	}{
		{"path pve2 off", 8 * time.Second},
		{"reboot pve2", 0},
	} {
		if err := s.do(step.do); err != nil {
			return err
		}
		if err := wait(ctx, step.then); err != nil {
			return err
		}
	}
	if err := s.until(ctx, 30*time.Second, func([]edge.Entry) bool { return !s.home.Up("pve2") }); err != nil {
		return err
	}
	s.marks["off"] = s.rec.Now()
	if err := s.until(ctx, time.Minute, func([]edge.Entry) bool { return s.home.Up("pve2") }); err != nil {
		return err
	}
	s.marks["back"] = s.rec.Now()
	if err := wait(ctx, 5*time.Second); err != nil {
		return err
	}
	if err := s.do("kill pve3"); err != nil {
		return err
	}
	s.marks["last word"] = s.home.Heartbeat("pve3")
	if err := s.until(ctx, silence+10*time.Second, func(es []edge.Entry) bool { return len(calls(es)) > 0 }); err != nil {
		return err
	}
	return wait(ctx, 5*time.Second)
}

func judgeReboot(s *stage) {
	away := s.marks["back"] - s.marks["off"]
	s.report(fmt.Sprintf("pve2 was off for %.1f s, announced through the Pi alone", away.Seconds()))
	s.demand(away > silence+5*time.Second, "pve2 was off for only %s, so nothing was proved", away)
	for _, c := range calls(s.entries) {
		s.demand(!strings.Contains(spoken(c), "P V E 2"), "a planned reboot was called about: %q", spoken(c))
	}
	judgeOneCall(s, s.marks["last word"], silence-tolerance, silence+tolerance, "P V E 3 at home has not answered since")
	s.demand(len(commands(s.entries)) == 0, "something was told to Proxmox")
}

func playInternet(ctx context.Context, s *stage) error {
	if err := s.do("internet off"); err != nil {
		return err
	}
	for _, who := range append(nodes(), "pi") {
		s.marks["last word"] = max(s.marks["last word"], s.home.Heartbeat(who))
		if first, ok := s.marks["first word"]; !ok || s.home.Heartbeat(who) < first {
			s.marks["first word"] = s.home.Heartbeat(who)
		}
	}
	if err := s.until(ctx, silence+internetCall+15*time.Second, func(es []edge.Entry) bool { return len(calls(es)) > 0 }); err != nil {
		return err
	}
	if err := s.do("internet on"); err != nil {
		return err
	}
	return wait(ctx, 30*time.Second) // for what the return might set off
}

func judgeInternet(s *stage) {
	judgeOneCall(s, s.marks["first word"], silence+internetCall-tolerance, silence+classified+internetCall+tolerance,
		"I have not been able to reach anything at home since", "The internet there is probably out", "the power was fine")
	s.demand(len(commands(s.entries)) == 0, "something was told to Proxmox")
}

func playFrozen(ctx context.Context, s *stage) error {
	if err := s.do("freeze brain"); err != nil {
		return err
	}
	if err := wait(ctx, 2*time.Second); err != nil {
		return err
	}
	if err := s.do("unplug"); err != nil {
		return err
	}
	if err := s.until(ctx, 2*time.Minute, func([]edge.Entry) bool { return allDown(s.home) }); err != nil {
		return err
	}
	s.marks["down"] = s.rec.Now()
	if err := s.do("thaw brain"); err != nil {
		return err
	}
	return wait(ctx, 20*time.Second) // for what the brain makes of it
}

func judgeFrozen(s *stage) {
	begin, ok := onBattery(s.entries, s.marks["unplug"])
	s.demand(ok, "the UPS was never read on battery")
	judgeCommands(s, begin, rideThrough, guardianBy)
	if cmds := commands(s.entries); len(cmds) > 0 {
		s.within("plug to the Pi's first command", cmds[0].At()-s.marks["unplug"], rideThrough, guardianBy)
		late := commands(after(s.entries, s.marks["thaw brain"]))
		s.demand(len(late) == 0, "%d commands came after the brain went on, so the plan was begun twice", len(late))
	}
	s.report(fmt.Sprintf("plug to the last server off: %.1f s", (s.marks["down"] - s.marks["unplug"]).Seconds()))
	judgeOneCall(s, s.marks["thaw brain"], 0, 10*time.Second, "The power at home has been out since")
}
