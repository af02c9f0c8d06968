package sentinel

import (
	"time"

	"sentinel.home.arpa/shared/power"
	"sentinel.home.arpa/shared/routing"
)

const (
	// advisedAfter is for how long a UPS must say so: a single answer may be odd, and one that
	// has just started says that its battery is bad (rule U5).
	advisedAfter = 30 * time.Second
	// advisedWithin is how old its last word may be meanwhile: on mains it comes each 5 s.
	advisedWithin = 15 * time.Second
	// advisedAgain is how soon the same is told again.
	advisedAgain = time.Hour
)

// advice is what a UPS says of itself that somebody must see to.
type advice struct {
	about, text, over string
	danger            string // instead of text, on battery; empty: the same
	is                func(r power.Reading, told bool) bool
}

func flagged(f power.Flags) func(power.Reading, bool) bool {
	return func(r power.Reading, _ bool) bool { return r.Flags.Has(f) }
}

// failedTest reports whether the last self-test failed: without an answer it is as it was.
func failedTest(r power.Reading, told bool) bool {
	switch r.SelfTest {
	case "NG", "BT":
		return true
	case "OK":
		return false
	default:
		return told
	}
}

// advices are all that there are (rule U5); that contact is lost is a fact of its own.
func advices() []advice {
	return []advice{
		{"overload", " is overloaded; take something off it, or it switches all of it off when the power goes", " is no longer overloaded", " is overloaded and on battery; it may switch off at any moment", flagged(power.Overload)},
		{"battery", " wants its battery replaced; until then it may not last, however much it promises", " no longer wants its battery replaced", "", flagged(power.ReplaceBattery)},
		{"self-test", " has failed its self-test; look at its battery and its load, and run the test again", " has passed a self-test again", "", failedTest},
		{"shutdown", " is being shut down; what hangs on it loses its power, whether the mains are there or not", " is no longer being shut down", "", flagged(power.Shutdown)},
		{"low battery", " says that its battery is low; if it stays so on mains, the battery is worn out or too small", " says that its battery is charged again", " is on battery, and says that it is low; it may switch off at any moment", flagged(power.LowBattery)},
	}
}

// settleAdvice tells what a UPS says of itself, once, and when it says so no longer.
func (d *decider) settleAdvice(site *Site, u *UPS) {
	r := u.reading
	if u.assumed || r.LostFor != nil || r.Supply == power.Unknown || d.now.Sub(u.at) > advisedWithin {
		u.advised = nil // who is not heard says nothing
		return
	}
	for _, a := range advices() {
		n := &Noticed{Site: site.Name, About: a.about + " of " + u.Name + " at " + site.Name, Kind: KindUPS, Severity: routing.Warning}
		told := d.Told[n.About] != ""
		is := a.is(r, told)
		if is == told {
			delete(u.advised, a.about)
			continue
		}
		if u.advised == nil {
			u.advised = map[string]time.Time{}
		}
		since, ok := u.advised[a.about]
		if !ok {
			since = d.now
			u.advised[a.about] = since
		}
		at := since.Add(advisedAfter)
		if told, ok := d.ToldAt[n.About]; ok && is {
			at = later(at, told.Add(advisedAgain))
		}
		if !d.due(at) {
			continue
		}
		delete(u.advised, a.about)
		n.As, n.Text = "told", u.Name+a.text
		if r.OnBattery() && a.danger != "" {
			n.Text, n.Severity = u.Name+a.danger, routing.Critical
		}
		if !is {
			n.As, n.Text, n.Over = "", u.Name+a.over, true
		}
		d.emit(n)
	}
}

// piAway reports whether the Pi that reads a UPS is not heard either, or its site is out of reach.
func (d *decider) piAway(site *Site, u *UPS) bool {
	src := site.Sources[u.Pi]
	return src != nil && src.Condition != Up || d.elsewhere(site)
}
