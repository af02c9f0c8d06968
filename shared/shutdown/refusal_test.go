package shutdown_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"sentinel.home.arpa/shared/shutdown"
)

// no is a machine's own.
type no struct{ error }

func (no) SaidNo() bool { return true }

// TestS5_AGuestThatSaidNoWasNotStoppedByThePlan, so that nobody but who stopped it starts it. Only one
// without an answer may have been.
func TestS5_AGuestThatSaidNoWasNotStoppedByThePlan(t *testing.T) {
	denied := fmt.Errorf("shut down: %w", no{errors.New("permission check failed")})
	lost := errors.New("connection reset")
	for name, c := range map[string]struct {
		answers []error
		down    bool
		want    int
	}{
		"no":                          {[]error{denied}, false, 0},
		"no, again and again":         {[]error{denied, denied}, false, 0},
		"no, and it stops in the run": {[]error{denied}, true, 1},
		"nobody knows":                {[]error{lost}, false, 1},
		"nobody knows, then no":       {[]error{lost, denied}, false, 1},
		"no, then nobody knows":       {[]error{denied, lost}, false, 1},
		"yes":                         {[]error{nil}, false, 1},
		"no, then yes":                {[]error{denied, nil}, false, 1},
	} {
		t.Run(name, func(t *testing.T) {
			now := time.Date(2026, 11, 21, 19, 0, 0, 0, time.UTC)
			plan := shutdown.Plan{Site: "home", Nodes: []shutdown.Node{{Name: "pve1"}}, Stages: []shutdown.Stage{{AllGuests: true, Deadline: 10 * time.Minute}}}
			r := shutdown.Start(shutdown.Event{Type: shutdown.Began, At: now, Run: &shutdown.Header{ID: "r", Plan: plan}})
			apply := func(es []shutdown.Event) {
				for _, e := range es {
					r.Apply(e)
				}
			}
			advance := func() {
				for es := r.Next(now); len(es) > 0; es = r.Next(now) {
					apply(es)
				}
			}
			advance()
			apply(r.Answered(now, "listing/pve1", []shutdown.Target{{Kind: shutdown.Guest, Node: "pve1", VMID: 100}}, nil))
			for _, err := range c.answers {
				now = now.Add(3 * time.Second)
				advance()
				apply(r.Answered(now, "guest/100", nil, err))
			}
			if c.down {
				apply(r.Seen(now, "guest/100", shutdown.Sight{}))
			}
			now = now.Add(time.Second)
			apply(r.PowerBack(now, "the power is back", nil))
			apply(r.Seen(now, "guest/100", shutdown.Sight{Running: !c.down}))
			now = now.Add(time.Minute)
			apply(r.Seen(now, "guest/100", shutdown.Sight{})) // whoever stopped it
			started := 0
			for _, e := range r.NextPutBack(now, true) {
				if e.Type == shutdown.StartSent {
					started++
				}
			}
			if started != c.want {
				t.Errorf("started %d times, want %d", started, c.want)
			}
		})
	}
}
