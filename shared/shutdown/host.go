package shutdown

import (
	"fmt"
	"slices"
	"time"
)

const (
	// unheardFor is for how long a host must have been silent to count as one that nobody can
	// tell anything, before the power went out if it was heard ever, and unheardAfter how far into its stage that is said of it.
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
// switch without power. One that was silent long before the outage is named early: it can't be told, and
// most often it is switched off, so that the rest of the plan need not wait for it.
func (r *Run) hostSeen(now time.Time, p *Progress, s Sight) []Event {
	silent, least := p.silence(now, s), unheardFor
	if s.SilentFor != nil {
		least = r.before(now)
	}
	switch {
	case silent >= silentFor && (p.Accepted || s.Leaving):
		return []Event{p.event(WentDown, now, "it"+saidSo)}
	case p.Accepted:
		if !s.Leaving && silent < silentFor && !now.Before(p.SentAt.Add(tellAgainAfter)) {
			e := p.event(Sent, now, "")
			e.Again = true
			return []Event{e}
		}
	case silent >= least && !now.Before(r.StageAt.Add(unheardAfter)):
		return []Event{p.event(Skipped, now, "nothing has been heard of it for "+spell(silent)+", so it cannot be told")}
	}
	return nil
}

const saidSo = " said that it powers off, and is silent"

// silence is for how long a machine is silent that is not looked at: of one that was not heard
// since this process began, for how long that has been asked.
func (p *Progress) silence(now time.Time, s Sight) time.Duration {
	if p.closed.IsZero() || s.SilentFor != nil {
		p.closed = now
	}
	if s.SilentFor != nil {
		return *s.SilentFor
	}
	return now.Sub(p.closed)
}

// announcedSeen takes that a node cannot be looked at which announced that it powers off: the way
// to its API may be gone with the Pi. It is down once it is silent (rule S4).
func (r *Run) announcedSeen(now time.Time, p *Progress, s Sight) []Event {
	if p.silence(now, s) < silentFor {
		return nil
	}
	of := "it"
	if p.Target.Kind == Guest {
		of = "its node"
	}
	return []Event{p.event(WentDown, now, of+saidSo)}
}

func spell(d time.Duration) string {
	if d < time.Hour {
		return fmt.Sprintf("%d min", int(d.Minutes()))
	}
	return fmt.Sprintf("%d h", int(d.Hours()))
}
