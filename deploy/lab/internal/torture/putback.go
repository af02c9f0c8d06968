package torture

import (
	"fmt"
	"strings"
	"time"

	"sentinel.home.arpa/deploy/lab/internal/edge"
)

const (
	// allGuests are those of the lab's home, which all run when nothing is wrong.
	allGuests = 9
	// asBefore is how long guests may take to run again once all else is calm: one may stop yet
	// for as long as its stage had, and 2 min more, and it is started within 5 s then.
	asBefore = guestsMay + 3*time.Minute
	// atRest begins the entry that says how many guests run at the end of an episode.
	atRest = "at rest, guests that run: "
)

// judgeStart demands of a guest's start that the UPS was last read on mains, and that somebody
// had told the guest to shut down (invariant 3).
func (f *facts) judgeStart(v *Verdict, s edge.Entry) {
	var battery time.Duration // since when it has been read so; 0: it is not
	told := false
	guest := strings.TrimSuffix(s.Path, "/start") + "/shutdown"
	for _, e := range f.es {
		if e.At() > s.At() {
			break
		}
		switch {
		case readMains(e):
			battery = 0
		case readBattery(e) && battery == 0:
			battery = e.At()
		case isCommand(e) && e.Path == guest:
			told = true
		}
	}
	v.demand(battery == 0 || s.At() <= battery+inFlight, "3", s.At(), "%s was sent %.1f s after the UPS was read on battery", s.Path, (s.At() - battery).Seconds())
	v.demand(told, "3", s.At(), "%s was sent though nobody had told the guest to shut down", s.Path)
	v.demand(s.At() <= f.confirmed(), "3", s.At(), "%s was sent though the plan was disarmed", s.Path)
}

// judgeGuests demands that at the end all guests run (invariant 8).
func (f *facts) judgeGuests(v *Verdict) {
	for _, e := range f.es {
		if n, is := strings.CutPrefix(e.What, atRest); is && e.Edge == edge.Lab {
			v.demand(n == fmt.Sprint(allGuests), "8", e.At(), "%s of %d guests run though all is calm", n, allGuests)
		}
	}
}
