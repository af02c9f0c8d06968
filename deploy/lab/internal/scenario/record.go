package scenario

import (
	"context"
	"fmt"
	"strings"
	"time"

	"sentinel.home.arpa/deploy/lab/internal/edge"
)

// The internet is out, and while it is, the power: the brain learns of it from the Pi's
// record. The plan is disarmed, or the Pi would shut the house down, rightly.

const (
	powerOutFor  = 30 * time.Second
	recordWithin = 15 * time.Second
)

func playRecord(ctx context.Context, s *stage) error {
	for _, step := range []struct {
		do   string
		then time.Duration
	}{
		{"disarm", 4 * time.Second}, // for the Pi to hear of it
		{"internet off", 15 * time.Second},
		{"unplug", powerOutFor},
		{"plug", 0},
	} {
		if err := s.do(step.do); err != nil {
			return err
		}
		if err := wait(ctx, step.then); err != nil {
			return err
		}
	}
	if err := s.until(ctx, silence+internetCall+15*time.Second, func(es []edge.Entry) bool { return len(calls(es)) > 0 }); err != nil {
		return err
	}
	if err := s.do("internet on"); err != nil {
		return err
	}
	if err := s.untilTimeline(ctx, recordWithin, "noted while the brain could not hear it"); err != nil {
		return err
	}
	s.marks["record"] = s.rec.Now()
	if err := s.untilTimeline(ctx, 2*time.Minute, "is over"); err != nil {
		return err
	}
	return wait(ctx, 5*time.Second) // for a call that should not be
}

// untilTimeline waits until the brain's timeline says something; the judge then says what
// is missing.
func (s *stage) untilTimeline(ctx context.Context, most time.Duration, text string) error {
	return s.until(ctx, most, func([]edge.Entry) bool { return strings.Contains(s.home.Timeline(), text) })
}

func judgeRecord(s *stage) {
	s.within("internet back to the Pi's record", s.marks["record"]-s.marks["internet on"], 0, recordWithin)
	judgeOneCall(s, s.marks["internet off"], silence+internetCall-2*time.Second, silence+classified+internetCall+2*time.Second,
		"I have not been able to reach anything at home since")
	s.demand(len(commands(s.entries)) == 0, "something was told to Proxmox")
	told := s.home.Timeline()
	for _, text := range []string{"on battery", "is a power outage", "as pi recorded", "is over"} {
		s.demand(strings.Contains(told, text), "the timeline does not say %q", text)
	}
	if len(s.broken) > 0 {
		s.report(fmt.Sprintf("the timeline:\n%s", told))
	}
}
