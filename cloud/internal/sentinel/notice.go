package sentinel

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"sentinel.home.arpa/shared/power"
	"sentinel.home.arpa/shared/routing"
)

// So many starts, pauses and times offline within so long are one too many.
const (
	oftenTimes  = 5
	oftenWithin = 10 * time.Minute
)

// startedOften says, once in the window, that the brain is started or stopped again and again:
// each start counts who is silent anew, and each stop later (rule H8). More than gapsKept are not
// remembered.
func (d *decider) startedOften() {
	times := len(slices.DeleteFunc(slices.Clone(d.Deaf), func(g Gap) bool { return d.now.Sub(g.To) > oftenWithin }))
	n := &Noticed{About: "starts of the brain", Severity: routing.Warning}
	if at, told := d.ToldAt[n.About]; times < oftenTimes || told && d.now.Sub(at) < d.cfg.Times.Window {
		return
	}
	often := fmt.Sprint(times)
	if times == gapsKept {
		often = "at least " + often
	}
	n.Text = fmt.Sprintf("the brain was started, paused or offline %s times within %s; who fails meanwhile is missed later, or is overlooked", often, power.Spell(oftenWithin))
	d.emit(n)
}

// keyExpiring says once that a machine's way into the tailnet ends soon, and once that it
// has ended (rule N10). A key that was renewed expires at another time, and is a new one.
func (d *decider) keyExpiring(in KeyExpiring) {
	d.expiring = slices.DeleteFunc(d.expiring, func(k KeyExpiring) bool { return k.Site == in.Site && k.Name == in.Name })
	if !in.Expired && (in.At.IsZero() || in.Left > d.cfg.Times.KeyNotice) {
		return
	}
	d.expiring = append(d.expiring, in)
	n := &Noticed{Site: in.Site, About: "node key of " + in.Name, As: saidExpiry(in), Severity: routing.Warning}
	if d.Told[n.About] == n.As {
		return
	}
	n.Text = fmt.Sprintf("the Tailscale key of %s %s; ", in.Name, n.As)
	if in.Expired {
		n.Text += "over the tailnet it cannot be reached until somebody logs it in again"
	} else {
		n.Text += "log it in again before, or switch its key's expiry off in Tailscale's console"
	}
	d.emit(n)
}

func saidExpiry(in KeyExpiring) string {
	const day = "2 January 2006 at 15:04 MST"
	at := in.At.UTC().Truncate(time.Minute).Format(day)
	switch {
	case in.At.IsZero():
		return "has expired"
	case in.Expired:
		return "expired on " + at
	default:
		return "expires on " + at
	}
}

// forged says that somebody signs as another, once in the window that it was counted in
// (rule A7).
func (d *decider) forged(in Forged) {
	who := cmp.Or(in.Name, "machines that are not known")
	n := &Noticed{Site: in.Site, About: "forged as " + who, As: in.From, Severity: routing.Warning}
	if at, told := d.ToldAt[n.About]; told && d.now.Sub(at) < d.cfg.Times.Window {
		return
	}
	n.Text = fmt.Sprintf("somebody signs as %s with a wrong key: %d messages in the hour, the last from %s", who, in.Times, in.From)
	d.emit(n)
}
