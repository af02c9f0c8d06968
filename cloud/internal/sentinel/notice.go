package sentinel

import (
	"fmt"
	"time"
)

// keyExpiring says once that a machine's way into the tailnet ends soon, and once that it
// has ended (rule N10). A key that was renewed expires at another time, and is a new one.
func (d *decider) keyExpiring(in KeyExpiring) {
	if !in.Expired && (in.At.IsZero() || in.Left > d.cfg.Times.KeyNotice) {
		return
	}
	n := &Noticed{Site: in.Site, About: "node key of " + in.Name, As: saidExpiry(in)}
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
