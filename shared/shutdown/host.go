package shutdown

import (
	"fmt"
	"slices"
	"time"
)

const (
	// unheardFor is for how long a host must have been silent to count as one that nobody can
	// tell anything, and unheardAfter how far into its stage that is said of it.
	unheardFor   = time.Minute
	unheardAfter = 5 * time.Second
)

// Hosts reports whether the plan has Linux hosts.
func (p Plan) Hosts() bool {
	return slices.ContainsFunc(p.Stages, func(s Stage) bool { return len(s.Hosts) > 0 })
}

// Machine reports whether targets of this kind are machines with an agent of their own name.
func (k Kind) Machine() bool { return k == ProxmoxNode || k == Host }

// hostSeen takes what was seen of a Linux host. It has no API that could be closed: it is down
// once it said that it goes down and is silent (rule S4); the silence alone may be that of a
// switch without power. One that was silent long before is named early: it can't be told, and
// most often it is switched off, so that the rest of the plan need not wait for it.
func (r *Run) hostSeen(now time.Time, p *Progress, s Sight) []Event {
	if p.closed.IsZero() || s.SilentFor != nil {
		p.closed = now
	}
	silent := now.Sub(p.closed) // as far as this process knows
	if s.SilentFor != nil {
		silent = *s.SilentFor
	}
	switch {
	case silent >= silentFor && (p.Accepted || s.Leaving):
		return []Event{p.event(WentDown, now, "it said that it powers off, and is silent")}
	case p.Accepted:
		if !s.Leaving && silent < silentFor && !now.Before(p.SentAt.Add(tellAgainAfter)) {
			e := p.event(Sent, now, "")
			e.Again = true
			return []Event{e}
		}
	case silent >= unheardFor && !now.Before(r.StageAt.Add(unheardAfter)):
		return []Event{p.event(Skipped, now, "nothing has been heard of it for "+spell(silent)+", so it cannot be told")}
	}
	return nil
}

func spell(d time.Duration) string {
	if d < time.Hour {
		return fmt.Sprintf("%d min", int(d.Minutes()))
	}
	return fmt.Sprintf("%d h", int(d.Hours()))
}
