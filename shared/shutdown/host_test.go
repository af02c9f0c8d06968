package shutdown_test

import (
	"testing"
	"time"

	"sentinel.home.arpa/shared/shutdown"
)

func hostRun(now time.Time, dry bool) *shutdown.Run {
	r := shutdown.Start(shutdown.Event{Type: shutdown.Began, At: now, Run: &shutdown.Header{ID: "r", DryRun: dry,
		Plan: shutdown.Plan{Stages: []shutdown.Stage{{Hosts: []string{"desktop"}, Deadline: 2 * time.Minute}}}}})
	forward(r, now)
	return r
}

// forward applies all that is due.
func forward(r *shutdown.Run, now time.Time) (types []shutdown.EventType) {
	for es := r.Next(now); len(es) > 0; es = r.Next(now) {
		for _, e := range es {
			r.Apply(e)
			types = append(types, e.Type)
		}
	}
	return types
}

// TestS4_AHostIsDownOnceItSaidSoAndIsSilent: neither its word nor its silence is enough, of
// whichever process has heard of it.
func TestS4_AHostIsDownOnceItSaidSoAndIsSilent(t *testing.T) {
	start := time.Date(2026, 11, 21, 19, 2, 11, 0, time.UTC)
	silent := func(d time.Duration) *time.Duration { return &d }
	for name, c := range map[string]struct {
		accepted bool
		sights   []shutdown.Sight // one a second
		want     shutdown.EventType
		after    int // sights
	}{
		"it announced, and is silent for 5 s":        {true, []shutdown.Sight{{SilentFor: silent(4 * time.Second), Leaving: true}, {SilentFor: silent(5 * time.Second), Leaving: true}}, shutdown.WentDown, 2},
		"it was off before, by its own word":         {false, []shutdown.Sight{{SilentFor: silent(time.Hour), Leaving: true}}, shutdown.WentDown, 1},
		"silence alone":                              {false, many(30, shutdown.Sight{SilentFor: silent(30 * time.Second)}), "", 0},
		"its word alone":                             {true, many(100, shutdown.Sight{SilentFor: silent(time.Second), Leaving: true}), "", 0},
		"its word, taken back":                       {true, many(31, shutdown.Sight{SilentFor: silent(time.Second)}), shutdown.Sent, 31},
		"the process knows its yes, not its silence": {true, many(6, shutdown.Sight{}), shutdown.WentDown, 6},
		"it was silent long before":                  {false, many(6, shutdown.Sight{SilentFor: silent(time.Hour)}), shutdown.Skipped, 6},
		"it fell silent in the outage":               {false, many(100, shutdown.Sight{SilentFor: silent(time.Minute)}), "", 0},
		"never heard, as far as the process knows":   {false, many(61, shutdown.Sight{}), shutdown.Skipped, 61},
	} {
		t.Run(name, func(t *testing.T) {
			r := hostRun(start, false)
			if c.accepted {
				for _, e := range r.Answered(start, "host/desktop", nil, nil) {
					r.Apply(e)
				}
			}
			for i, s := range c.sights {
				es := r.Seen(start.Add(time.Duration(i)*time.Second), "host/desktop", s)
				if len(es) == 0 {
					continue
				}
				if es[0].Type != c.want || i+1 != c.after {
					t.Fatalf("%s (%s) after %d looks, want %q after %d", es[0].Type, es[0].Why, i+1, c.want, c.after)
				}
				return
			}
			if c.want != "" {
				t.Errorf("nothing came of %d looks, want %s", len(c.sights), c.want)
			}
		})
	}
}

func many(n int, s shutdown.Sight) (all []shutdown.Sight) {
	for range n {
		all = append(all, s)
	}
	return all
}

// TestS7_ADryRunOrdersNoHost: nothing is due for it.
func TestS7_ADryRunOrdersNoHost(t *testing.T) {
	now := time.Date(2026, 11, 21, 19, 2, 11, 0, time.UTC)
	if r := hostRun(now, true); len(r.Due(now)) > 0 || !r.Targets[0].Skipped {
		t.Errorf("due: %v, %+v", r.Due(now), r.Targets[0])
	}
	r := hostRun(now, false)
	if due := r.Due(now); len(due) != 1 || due[0].Target.Kind != shutdown.Host || due[0].Target.Node != "desktop" || due[0].Left != 2*time.Minute {
		t.Errorf("due: %+v", due)
	}
}

// TestS4_ASilentHostIsNamedWithItsSilence: in minutes, and in hours from the first one on.
func TestS4_ASilentHostIsNamedWithItsSilence(t *testing.T) {
	now := time.Date(2026, 11, 21, 19, 2, 11, 0, time.UTC)
	for d, want := range map[time.Duration]string{
		65 * time.Second:           "nothing has been heard of it for 1 min, so it cannot be told",
		time.Hour - 1:              "nothing has been heard of it for 59 min, so it cannot be told",
		time.Hour:                  "nothing has been heard of it for 1 h, so it cannot be told",
		49*time.Hour + time.Minute: "nothing has been heard of it for 49 h, so it cannot be told",
	} {
		es := hostRun(now, false).Seen(now.Add(5*time.Second), "host/desktop", shutdown.Sight{SilentFor: &d})
		if len(es) != 1 || es[0].Why != want {
			t.Errorf("%+v, want %s", es, want)
		}
	}
}
