package record

import (
	"os"
	"time"

	"golang.org/x/sys/unix"

	"sentinel.home.arpa/shared/wire"
)

// syncedFile is made by systemd-timesyncd once it has set the clock since the boot.
const syncedFile = "/run/systemd/timesync/synchronized"

// machineClockSet reports whether something has set the wall clock since the boot. Another program
// than timesyncd tells the kernel alone, which forgets it after hours without an answer, and
// which a service with ProtectClock= may not ask: then nobody knows.
func machineClockSet() bool { return setBy(syncedFile, unix.Adjtimex) }

func setBy(file string, ask func(*unix.Timex) (int, error)) bool {
	if _, err := os.Stat(file); err == nil {
		return true
	}
	var t unix.Timex
	state, err := ask(&t)
	return err == nil && state != unix.TIME_ERROR && t.Status&unix.STA_UNSYNC == 0
}

// isSet reports whether the wall clock is set, and remembers it: whatever becomes of the
// internet then, it goes on well enough until the next boot.
func (r *Record) isSet() bool {
	r.set = r.set || r.clockSet()
	return r.set
}

// noteClock has a line say that the wall clock is set, if none of this boot does: a later boot
// knows by it when all of them were. It reports whether there is one.
func (r *Record) noteClock() bool {
	r.mu.Lock()
	dated, set := r.dated, r.isSet()
	r.mu.Unlock()
	if !dated && set {
		r.Remark("the clock is set")
	}
	return set
}

// near is how much two clocks may differ over a reboot without one of them being wrong.
const near = time.Minute

// earlier is what is known of a boot before this one.
type earlier struct {
	began time.Time     // by the wall clock, as it was set last
	set   bool          // that was set; else it was behind, as the boot before left it
	lived time.Duration // at least
	since time.Duration // at least, from its end to the beginning of this boot
}

// knownBoots are those before this one, by what they wrote, and whether the wall clock was
// set in this one before.
func (r *Record) knownBoots(lines []line) (all map[string]earlier, set bool) {
	all = map[string]earlier{}
	var order []string // the oldest first
	for _, l := range lines {
		if l.Boot == r.boot {
			set = set || l.Set
			continue
		}
		b, known := all[l.Boot]
		if !known {
			order = append(order, l.Boot)
		}
		if l.Set || !b.set {
			b.began, b.set = l.Wall.Add(-l.SinceBoot), l.Set
		}
		b.lived = max(b.lived, l.SinceBoot)
		all[l.Boot] = b
	}
	since := time.Duration(0)
	for i := len(order) - 1; i >= 0; i-- {
		b := all[order[i]]
		b.since = since
		since = min(since+b.lived, longestBoot)
		all[order[i]] = b
	}
	return all, set
}

// age is how old a line is.
type age struct {
	certain time.Duration // by clocks that never jump: it is that at least
	atLeast time.Duration // what is told
	unsure  bool          // it may be more
}

// age is exact for a line of this boot. One of an earlier boot is as old as this boot and what
// is known of those since; how long the machine was off only the wall clock tells.
func (r *Record) age(l line) age {
	now := r.sinceBoot()
	if l.Boot == r.boot {
		exact := max(now-l.SinceBoot, 0)
		return age{certain: exact, atLeast: exact}
	}
	b := r.boots[l.Boot]
	a := age{certain: now + b.lived - l.SinceBoot + b.since}
	wall := r.wall().Sub(b.began.Add(l.SinceBoot))
	a.unsure = !r.set || !b.set || wall < a.certain-near
	if !b.set || a.unsure && wall > wire.RecordKept {
		wall = 0 // it seems older than it is, and nothing is thrown away for that
	}
	a.atLeast = max(a.certain, wall)
	return a
}

// ages are those of what is held. Nothing is younger than what was noted after it: a boot began
// before its first line, and the one before it had ended by then.
func (r *Record) ages() []age {
	all := make([]age, len(r.held))
	ended, floor := time.Duration(0), time.Duration(0) // how long ago the boot of a line had, and how old what follows it is
	for i := len(all) - 1; i >= 0; i-- {
		l := r.held[i].line
		a := r.age(l)
		if i+1 < len(all) && r.held[i+1].Boot != l.Boot {
			ended = floor + r.held[i+1].SinceBoot
		}
		low := floor
		if l.Boot != r.boot {
			low = max(floor, ended+r.boots[l.Boot].lived-l.SinceBoot)
		}
		if a.atLeast < low {
			a.atLeast, a.unsure = low, a.unsure || a.atLeast < low-near
		}
		all[i], floor = a, min(a.atLeast, longestBoot)
	}
	return all
}
