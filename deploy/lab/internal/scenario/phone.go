package scenario

import (
	"context"
	"slices"
	"strings"
	"time"

	"sentinel.home.arpa/deploy/lab/internal/edge"
	"sentinel.home.arpa/deploy/lab/internal/stages"
)

// Stories at the phone: keys that are pressed in calls, and how many calls there are.

const (
	// retried is when a call that nobody has taken comes again, with room for it.
	retried = 75 * time.Second
	// crossing is how long what was sent before a word may arrive after it.
	crossing = time.Second
	confirms = 5 * time.Second // a Pi that hears the brain
	capped   = 6               // calls in an hour, as shipped
)

// keys are the keys that the phone company passed on.
func keys(es []edge.Entry) []edge.Entry {
	var out []edge.Entry
	for _, e := range es {
		if e.Edge == edge.Keys {
			out = append(out, e)
		}
	}
	return out
}

// listened waits until somebody hears the call.
func (s *stage) listened(ctx context.Context) error {
	return s.until(ctx, 30*time.Second, func(es []edge.Entry) bool {
		return slices.ContainsFunc(es, func(e edge.Entry) bool { return e.Edge == edge.Phone })
	})
}

// pressed waits until so many keys were passed on, and marks when.
func (s *stage) pressed(ctx context.Context, n int) error {
	if err := s.until(ctx, 45*time.Second, func(es []edge.Entry) bool { return len(keys(es)) >= n }); err != nil {
		return err
	}
	s.marks["pressed"] = s.rec.Now()
	return nil
}

// judgeKeys demands that these keys were passed on, and what the last was answered.
func judgeKeys(s *stage, pressed, answer string) {
	got, last := "", edge.Entry{}
	for _, k := range keys(s.entries) {
		_, rest, _ := strings.Cut(k.Body, "Digits=")
		digits, _, _ := strings.Cut(rest, "&")
		got, last = got+digits, k
	}
	s.demand(got == pressed, "the keys %q were passed on instead of %q", got, pressed)
	s.demand(last.Status == 200 && strings.Contains(last.Answer, answer), "the last key was answered %d %q", last.Status, last.Answer)
}

func playKeyOne(ctx context.Context, s *stage) error {
	if err := s.steps(ctx, step{"phone 4s 1", 0}, step{"unplug", 0}); err != nil {
		return err
	}
	if err := s.pressed(ctx, 1); err != nil {
		return err
	}
	return wait(ctx, retried)
}

// judgeKeyOne: C3.
func judgeKeyOne(s *stage) {
	begin, ok := onBattery(s.entries, s.marks["unplug"])
	s.demand(ok, "the UPS was never read on battery")
	judgeOneCall(s, begin, rideThrough, rideThrough+tolerance, "The power at home has been out since", "Press 1 to say that you know, 2 to stop the shutdown, 9 to hear it again.")
	judgeKeys(s, "1", "It is written down that you know")
	s.demand(strings.Contains(s.home.Timeline(), "is known, because Alex pressed 1"), "the page does not say who knows of it")
	judgeCommands(s, begin, rideThrough, rideThrough+tolerance)
}

// playKeyAfterACrash kills the brain while somebody listens to its call.
func playKeyAfterACrash(ctx context.Context, s *stage) error {
	if err := s.steps(ctx, step{"phone 12s 1", 0}, step{"unplug", 0}); err != nil {
		return err
	}
	if err := s.listened(ctx); err != nil {
		return err
	}
	if err := s.steps(ctx, step{"restart brain", 0}); err != nil {
		return err
	}
	if err := s.pressed(ctx, 1); err != nil {
		return err
	}
	return wait(ctx, retried)
}

// judgeKeyAfterACrash: C3, C4.
func judgeKeyAfterACrash(s *stage) {
	begin, ok := onBattery(s.entries, s.marks["unplug"])
	s.demand(ok, "the UPS was never read on battery")
	s.demand(s.marks["restart brain"] < s.marks["pressed"], "the brain was not killed before the key")
	judgeOneCall(s, begin, rideThrough, rideThrough+tolerance, "The power at home has been out since", "Press 1 to say that you know")
	judgeKeys(s, "1", "It is written down that you know")
	s.demand(strings.Contains(s.home.Timeline(), "is known, because Alex pressed 1"), "the page does not say who knows of it")
	s.demand(allDown(s.home), "not all servers are down")
}

// playKeyTwoTwice has a guest that does not go down, so that the plan is midway when it is stopped.
func playKeyTwoTwice(ctx context.Context, s *stage) error {
	if err := s.steps(ctx, step{"pve 100 locked backup", 0}, step{"phone 4s 2 4s 2", 0}, step{"unplug", 0}); err != nil {
		return err
	}
	if err := s.pressed(ctx, 2); err != nil {
		return err
	}
	if err := s.until(ctx, confirms, func([]edge.Entry) bool {
		by, left := s.home.Stopped()
		return by != "" && len(left) == 0
	}); err != nil {
		return err
	}
	s.marks["confirmed"] = s.rec.Now()
	return wait(ctx, retried)
}

// judgeKeyTwoTwice: C3, S10. What comes after the second key is judged by what Proxmox was told.
func judgeKeyTwoTwice(s *stage) {
	begin, ok := onBattery(s.entries, s.marks["unplug"])
	s.demand(ok, "the UPS was never read on battery")
	judgeOneCall(s, begin, rideThrough, rideThrough+tolerance, "The power at home has been out since", "2 to stop the shutdown")
	judgeKeys(s, "22", "The shutdown is stopped here.")
	down := stages.Read(s.entries, s.marks["unplug"]).Downs()
	s.demand(len(down) >= 9, "%d commands before the plan was stopped, so nothing was proved", len(down))
	late := commands(after(s.entries, s.marks["pressed"]+crossing))
	s.demand(len(late) == 0, "%d commands came after the plan was stopped, the first %.1f s after the second key", len(late), sinceFirst(late, s.marks["pressed"]))
	for _, n := range nodes() {
		s.demand(s.home.Up(n), "%s is off", n)
	}
	s.within("the second key to the Pi's word that it knows", s.marks["confirmed"]-s.marks["pressed"], 0, confirms-tolerance)
	by, left := s.home.Stopped()
	s.demand(by == "Alex" && len(left) == 0, "the page says that %q has stopped it, and %v have not confirmed", by, left)
}

func sinceFirst(es []edge.Entry, from time.Duration) float64 {
	if len(es) == 0 {
		return 0
	}
	return (es[0].At() - from).Seconds()
}

// playSeventhCall has the power come and go, and nobody at the phone: each outage is called about anew.
func playSeventhCall(ctx context.Context, s *stage) error {
	if err := s.steps(ctx, step{"phone away", 0}, step{"disarm", 4 * time.Second}); err != nil {
		return err
	}
	for n := 1; n <= capped; n++ {
		if err := s.do("unplug"); err != nil {
			return err
		}
		if err := s.until(ctx, rideThrough+5*time.Second, func(es []edge.Entry) bool { return len(calls(es)) >= n }); err != nil {
			return err
		}
		if err := s.steps(ctx, step{"plug", 4 * time.Second}); err != nil {
			return err
		}
	}
	return s.steps(ctx, step{"unplug", rideThrough + 10*time.Second})
}

// judgeSeventhCall: C8.
func judgeSeventhCall(s *stage) {
	cs := calls(s.entries)
	s.demand(len(cs) == capped, "%d calls instead of %d", len(cs), capped)
	for _, e := range after(s.entries, s.marks["unplug"]) {
		if e.Edge == edge.Ntfy && strings.Contains(e.Body, "Alex was called 6 times within the hour; the next call may come at ") {
			s.within("the seventh outage to the notice in place of its call", e.At()-s.marks["unplug"], rideThrough, rideThrough+2*time.Second)
			return
		}
	}
	s.demand(false, "nobody was told that the seventh call is held back")
}
