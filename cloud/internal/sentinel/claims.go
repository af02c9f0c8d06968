package sentinel

import (
	"time"

	"sentinel.home.arpa/shared/power"
)

// claim is a report of how a UPS is supplied, not yet confirmed.
type claim struct {
	boot string
	seq  int64
	at   time.Time
}

const (
	// confirmAfter is a little less than the second after which a Pi on battery says so again.
	confirmAfter = 900 * time.Millisecond
	// claimSlack is by how much two reports' ways may differ.
	claimSlack = time.Second
)

// confirmedBy reports whether a report is newer than the one that it says again.
func (c claim) confirmedBy(in UPSReported, at time.Time) bool {
	return at.Sub(c.at) >= confirmAfter && (c.boot != in.Boot || in.Seq == 0 || in.Seq > c.seq)
}

// believes reports whether a report may be acted upon by itself. After a start or a pause
// only the reports that made facts are known to be old: of an outage that began before its
// UPS was heard since, one report may be somebody's who held it back, and begins nothing
// until a newer one confirms it (rule U6). A Pi on battery sends that within a second. Of the
// mains one is enough to tell nobody anything more, since the next start would not know of what
// waits; but guests are started only once a newer one says so too (saysMainsAgain).
func (u *UPS) believes(in UPSReported, at time.Time) bool {
	if in.Reading.Supply == power.Mains {
		switch {
		case u.heard.IsZero():
			u.heard, u.lone = at, &claim{in.Boot, in.Seq, at}
		case u.lone != nil && u.lone.confirmedBy(in, at):
			u.lone = nil
		}
		u.claims = nil
		return true
	}
	goesOn := !u.assumed && u.Supply != "" && u.Supply != power.Mains
	began := at.Add(-in.Reading.For.Duration())
	if !u.heard.IsZero() && (goesOn || !began.Before(u.heard.Add(-claimSlack))) {
		return true
	}
	first, ok := u.claims[in.Pi]
	if !ok || first.boot != in.Boot {
		if u.claims == nil {
			u.claims = map[string]claim{}
		}
		u.claims[in.Pi] = claim{in.Boot, in.Seq, at}
		return false
	}
	if !first.confirmedBy(in, at) {
		return false
	}
	u.heard, u.claims = first.at, nil
	return true
}

// saysMainsAgain reports whether a UPS says that it is on mains, and said so before in this process.
func (u *UPS) saysMainsAgain(now time.Time) bool {
	says := !u.at.IsZero() && !u.assumed && u.reading.Supply == power.Mains && u.reading.LostFor == nil
	return says && u.lone == nil && now.Sub(u.at) <= reportTooOld
}
