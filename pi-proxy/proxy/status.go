package proxy

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"sentinel.home.arpa/pi-proxy/internal/brainwatch"
	"sentinel.home.arpa/shared/daemon"
	"sentinel.home.arpa/shared/power"
	"sentinel.home.arpa/shared/shutdown"
)

// Status is how the Pi sees the world beyond its house (rule G3).
type Status struct {
	BrainSilentSeconds float64   `json:"brain_silent_seconds"` // since a brain last answered, or the Pi listens
	Leaving            bool      `json:"leaving,omitempty"`    // it said so lately, and may be silent
	BrainGone          bool      `json:"brain_gone"`
	GoneSince          time.Time `json:"gone_since,omitzero"`
	TailnetGone        bool      `json:"tailnet_gone,omitempty"`
	Internet           string    `json:"internet"` // up, out or unknown
	AnchorsBlocked     bool      `json:"anchors_blocked,omitempty"`
	Contacts           []string  `json:"contacts"`          // whom it would call
	Lacks              string    `json:"lacks,omitempty"`   // the credential without which it cannot
	Notices            []string  `json:"notices,omitempty"` // on which channels it would tell them
	LacksToTell        []string  `json:"lacks_to_tell,omitempty"`
	CalledAt           time.Time `json:"called_at,omitzero"`   // when it last called somebody by itself
	CallTaken          bool      `json:"call_taken,omitempty"` // a person took one of those calls
	BundleArmed        *bool     `json:"bundle_armed"`         // null: there is no bundle
	// UPSes are those that the Pi reads, and Run is its own last run of the plan; null: there was none.
	UPSes []UPSStatus      `json:"upses"`
	Run   *shutdown.Status `json:"run,omitempty"`
}

const (
	statusWithin = 5 * time.Second
	maxStatus    = 64 << 10
)

// status asks the loop.
func (o *outside) status(ctx context.Context) (Status, error) {
	answer := make(chan brainwatch.State, 1)
	var told []brainwatch.Channel
	select {
	case o.inputs <- func(time.Time) []brainwatch.Event { told = o.ways; answer <- o.core.State(); return nil }:
	case <-ctx.Done():
		return Status{}, ctx.Err()
	}
	var state brainwatch.State
	select {
	case state = <-answer:
	case <-ctx.Done():
		return Status{}, ctx.Err()
	}
	stands := o.stands()
	s := Status{BrainSilentSeconds: stands.Silent.Seconds(), Internet: string(stands.Internet), Contacts: o.orders().Contacts, Lacks: o.lacks(), LacksToTell: o.lacksToTell(),
		Leaving: o.p.leaves.lately(daemon.BootTime()) > 0, UPSes: o.p.upsStatus(), Run: o.p.guard.status()}
	for _, c := range told {
		s.Notices = append(s.Notices, c.Name+" of "+c.Contact)
	}
	if stands.Internet == brainwatch.Unknown {
		s.Internet = "unknown"
	}
	if g := state.Gone; g != nil {
		s.BrainGone, s.GoneSince, s.TailnetGone = true, o.p.clock.Shown(g.Since), g.Cause == brainwatch.Tailnet
	}
	s.AnchorsBlocked = state.Blocked
	if a := state.Alarm; a != nil {
		s.CalledAt = o.p.clock.Shown(a.At)
		for _, c := range a.Calls {
			s.CallTaken = s.CallTaken || c.Delivered
		}
	}
	if stored := o.p.stored.Load(); stored != nil {
		s.BundleArmed = &stored.Bundle.Armed
	}
	return s, nil
}

func (o *outside) serveStatus(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), statusWithin)
	defer cancel()
	s, err := o.status(ctx)
	if err != nil {
		http.Error(w, "the Pi does not turn", http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(s) // whoever asked has gone
}

// ReadStatus asks the running Pi.
func ReadStatus(socket string) (s Status, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), statusWithin)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://pi/status", nil)
	if err != nil {
		return s, err
	}
	resp, err := overControl(socket).Do(req)
	if err != nil {
		return s, fmt.Errorf("the Pi cannot be reached; does it run, and are you root? %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return s, fmt.Errorf("ask the Pi: it answered %s", resp.Status)
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxStatus)).Decode(&s); err != nil {
		return s, fmt.Errorf("read the Pi's answer: %w", err)
	}
	return s, nil
}

// String is the status for people.
func (s Status) String() string {
	var b strings.Builder
	say := func(what, format string, args ...any) {
		fmt.Fprintf(&b, "%-9s "+format+"\n", append([]any{what}, args...)...)
	}
	for _, u := range s.UPSes {
		say("ups", "%s", u)
	}
	silent := power.Spell(time.Duration(s.BrainSilentSeconds * float64(time.Second)))
	switch {
	case s.BrainGone && s.TailnetGone:
		say("brain", "not heard since %s, because Tailscale is out of reach", s.GoneSince.Local().Format("2 January 15:04"))
	case s.BrainGone:
		say("brain", "gone since %s; look at your cloud VM", s.GoneSince.Local().Format("2 January 15:04"))
	case s.BrainSilentSeconds < lookAfter.Seconds():
		say("brain", "answers")
	case s.Leaving:
		say("brain", "has not answered for %s; it said that it is being restarted, so it may be silent for %s", silent, power.Spell(leavingFor))
	default:
		say("brain", "has not answered for %s", silent)
	}
	say("internet", "%s", s.Internet)
	if s.AnchorsBlocked {
		say("anchors", "do not answer here, so nobody knows of the internet while the brain is silent; look at the firewall")
	}
	switch {
	case s.BundleArmed == nil:
		say("plan", "none; no brain has handed one out")
	case *s.BundleArmed:
		say("plan", "armed")
	default:
		say("plan", "not armed")
	}
	if s.Run != nil {
		say("run", "%s", runSaid(s.Run))
	}
	switch {
	case len(s.Contacts) == 0:
		say("calls", "nobody, should the brain be gone: no brain has said whom, and by which account")
	case s.Lacks != "":
		say("calls", "nobody, should the brain be gone: the credential %s is missing here", s.Lacks)
	default:
		say("calls", "%s, should the brain be gone", strings.Join(s.Contacts, ", then "))
	}
	switch {
	case len(s.LacksToTell) > 0:
		say("notices", "%s; missing here: %s", strings.Join(s.Notices, ", "), strings.Join(s.LacksToTell, ", "))
	case len(s.Notices) > 0:
		say("notices", "%s, should the brain be gone", strings.Join(s.Notices, ", "))
	}
	if !s.CalledAt.IsZero() {
		said := "nobody took it"
		if s.CallTaken {
			said = "and somebody knew"
		}
		say("called", "%s, %s", s.CalledAt.Local().Format("2 January 15:04"), said)
	}
	return b.String()
}
