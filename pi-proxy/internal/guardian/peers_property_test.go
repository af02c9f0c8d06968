package guardian_test

import (
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"sentinel.home.arpa/pi-proxy/internal/guardian"
	"sentinel.home.arpa/shared/power"
	"sentinel.home.arpa/shared/shutdown"
)

// pair are two Pis on the UPSes of one house, of which the brain is gone.
type pair struct {
	t     *rapid.T
	now   time.Time
	pis   [2]*onePi
	out   time.Time // since when the power is out; zero: it is there
	lan   bool      // the Pis hear each other
	works bool      // the machines do as they are told

	began   int  // runs in this outage
	smooth  bool // all has worked since the outage began
	rewired time.Time
}

type onePi struct {
	name  string
	g     *guardian.Guardian
	disk  []guardian.Event
	since time.Time // it lives; zero: it does not
}

// TestProperty_TwoPisRunThePlanOnce (G6, G2): whatever fails, some Pi acts in each outage that lasts, and
// of two runs one is given up once the Pis hear each other. If nothing fails there is just one.
func TestProperty_TwoPisRunThePlanOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := &pair{t: t, now: start, lan: true, works: true, smooth: true, rewired: start}
		for i, name := range []string{"pi1", "pi2"} {
			p.pis[i] = &onePi{name: name}
			p.boot(p.pis[i])
		}
		t.Repeat(map[string]func(*rapid.T){
			"": func(*rapid.T) {
				for _, o := range p.pis {
					p.restored(o)
				}
			},
			"pass": func(t *rapid.T) { p.pass(rapid.IntRange(1, 40).Draw(t, "seconds")) },
			"long": func(*rapid.T) { p.pass(90) },
			"plug": func(*rapid.T) { p.plug() },
			"lan":  func(*rapid.T) { p.lan = !p.lan; p.fails() },
			"work": func(*rapid.T) { p.works = !p.works; p.fails() },
			"pi":   func(t *rapid.T) { p.toggle(p.pis[rapid.IntRange(0, 1).Draw(t, "which")]) },
		})
	})
}

// fails is that something does not work, or works again.
func (p *pair) fails() { p.smooth, p.rewired = false, p.now }

func (p *pair) plug() {
	if p.out.IsZero() {
		p.out, p.began = p.now, 0
		p.smooth = p.lan && p.works && !p.pis[0].since.IsZero() && !p.pis[1].since.IsZero() && p.now.Sub(p.rewired) > 5*time.Second
	} else {
		p.out = time.Time{}
	}
	p.pass(2) // each Pi sees it
}

func (p *pair) toggle(o *onePi) {
	p.fails()
	if o.since.IsZero() {
		p.boot(o)
	} else {
		o.since = time.Time{}
	}
}

// boot starts a Pi's process, in the boot of the Pi that it last ran in.
func (p *pair) boot(o *onePi) {
	o.g, o.since = guardian.New(o.name), p.now
	p.note(o, o.g.Order(p.now, among("pi1", "pi2")))
	for _, e := range o.disk {
		o.g.Restore(e)
	}
	p.note(o, o.g.Restarted(p.now, p.now.Add(-time.Second), []string{"ups"}))
}

func (p *pair) note(o *onePi, es []guardian.Event) {
	o.disk = append(o.disk, es...)
	for _, e := range es {
		if e.Event.Type != shutdown.Began {
			continue
		}
		if p.began++; p.smooth && p.began > 1 {
			p.t.Fatalf("G2: %s begins run %d of this outage, %v after the plug: %s", o.name, p.began, p.now.Sub(p.out), e.Event.Run.Reason)
		}
		other := p.pis[0]
		if o == other {
			other = p.pis[1]
		}
		if p.lan && !other.since.IsZero() && p.now.Sub(p.rewired) > 10*time.Second && other.g.Epoch.Compare(e.Epoch) >= 0 {
			p.t.Fatalf("G5: %s begins under %v, and %s has run under %v", o.name, e.Epoch, other.name, other.g.Epoch)
		}
	}
}

func (p *pair) pass(seconds int) {
	for range seconds {
		p.now = p.now.Add(time.Second)
		open := 0
		for _, o := range p.pis {
			if o.since.IsZero() {
				continue
			}
			p.turn(o)
			if o.g.Run != nil && !o.g.Run.Over() {
				open++
			}
		}
		p.exchange()
		switch {
		case p.out.IsZero() && open > 0 && p.now.Sub(p.rewired) > 2*time.Second:
			p.t.Fatal("S5: a run goes on, and the power is back")
		case open == 2 && p.lan && p.works && p.now.Sub(p.rewired) > 60*time.Second:
			p.t.Fatal("G2: two runs go on, and both Pis know")
		}
	}
	lived := slices.ContainsFunc(p.pis[:], func(o *onePi) bool {
		return !o.since.IsZero() && p.now.Sub(o.since) > 80*time.Second && o.since.Before(p.out)
	})
	if !p.out.IsZero() && p.now.Sub(p.out) > 80*time.Second && p.now.Sub(p.rewired) > 80*time.Second && lived && p.began == 0 {
		p.t.Fatalf("S2: nobody acts: %+v, %+v", p.pis[0].g.Says(p.now), p.pis[1].g.Says(p.now))
	}
}

// turn is a poll of the UPS, what machines do and the loop's tick.
func (p *pair) turn(o *onePi) {
	r := mains()
	if !p.out.IsZero() {
		r = battery(p.now.Sub(p.out))
	}
	p.note(o, o.g.Reported(p.now, "ups", r))
	if run := o.g.Run; run != nil && p.works {
		for _, c := range run.Due(p.now) {
			p.note(o, o.g.Answered(p.now, c.Target.ID(), nil, nil))
		}
		for _, t := range run.Looks() {
			p.note(o, o.g.Seen(p.now, t.ID(), off()))
		}
	}
	p.note(o, o.g.Tick(p.now))
}

func (p *pair) exchange() {
	if !p.lan || p.pis[0].since.IsZero() || p.pis[1].since.IsZero() {
		return
	}
	one, two := p.pis[0].g.Says(p.now), p.pis[1].g.Says(p.now)
	one.UPSes = map[string]power.Reading{"desk": mains()}
	p.note(p.pis[0], p.pis[0].g.PeerSaid(p.now, "pi2", two))
	p.note(p.pis[1], p.pis[1].g.PeerSaid(p.now, "pi1", one))
}

// restored judges that what is on disk gives the same guardian back (rule S9).
func (p *pair) restored(o *onePi) {
	g := guardian.New(o.name)
	for _, e := range o.disk {
		g.Restore(e)
	}
	passing := func(path cmp.Path) bool {
		if len(path) < 3 {
			return false
		}
		f, _ := path.Index(2).(cmp.StructField)
		if f.Name() == "peers" {
			if len(path) == 3 {
				return false
			}
			f, _ = path.Index(3).(cmp.StructField)
		}
		return !slices.Contains([]string{"seen", "fresh", "done", "known", "under", "since"}, f.Name())
	}
	if diff := cmp.Diff(o.g, g, cmp.Exporter(func(reflect.Type) bool { return true }), cmp.FilterPath(passing, cmp.Ignore())); diff != "" {
		p.t.Fatalf("S9: another guardian:\n%s", diff)
	}
}
