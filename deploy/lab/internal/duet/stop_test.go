package duet_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// stop is what is known of a person's last one.
type stop struct {
	at     time.Duration
	outage int // in which one was pressed

	over   bool          // as the brain has said
	heeded time.Duration // when the brain heard that the Pi knows of it; 0: it did not
}

// heedsStop reports whether page and command line say that the Pi has confirmed a stop.
func (b *brain) heedsStop() bool {
	site := b.site()
	if b.state.Stopped("home") == "" || !site.Armed && b.has == b.own().hash {
		return false
	}
	if r := site.PiRun; r != nil && r.Epoch.Holder == "pi" && r.State.Open() {
		return false
	}
	return b.heeds.Compare(site.Epoch) >= 0
}

func (j *judge) stopPressed() {
	j.stop = stop{at: j.d.now, outage: j.outage}
	j.person = j.outage
	j.disturb("person")
	j.stopReaches(j.latest("pi"))
}

// stopReaches proves that a stop soon ends what the Pi is doing, if all is well between brain and Pi.
func (j *judge) stopReaches(r *held) {
	d, b, now := j.d, j.d.brain, j.d.now
	well := b.up && b.paused == 0 && b.online && b.dies == "" && d.pi.up && !d.pi.paused && d.pi.dies == "" && d.link.up == fine && d.link.down == fine
	if r == nil || r.over || r.outage != j.outage || j.since == 0 || !j.armed || !well || !j.calmSince(now-settles, "brain", "link", "pi", "ups", "clock") {
		return
	}
	d.after(3*time.Second, func() {
		if !r.over && j.calmSince(now, "brain", "link", "pi", "ups", "clock", "plan") && j.stop.at == now && !j.stop.over {
			d.fail("S10: a person stopped the Pi's run 3 s ago, all is well, and it goes on")
		}
	})
}

// stopEnded proves that a stop holds until the power is back.
func (j *judge) stopEnded() {
	goesOn := j.since != 0 && j.testSince == 0 && j.stop.outage == j.outage
	if goesOn && j.bootedAt < j.stop.at && j.mainsAt < j.stop.at && j.laterAt < j.stop.at && j.calmSince(j.stop.at, "clock") {
		j.d.fail("S10: a stop is over though its outage goes on")
	}
	j.stop.over = true
}

// heeded is a message by which the Pi has confirmed a stop, in the outage in which that was. A brain whose clock was set
// since cannot tell which run the stop ended, so its Pi carries that to its end, and does not know of a stop after it.
func (j *judge) heeded(m message) {
	if m.outage == j.stop.outage && j.stop.heeded == 0 && j.calmSince(j.stop.at, "clock") {
		j.stop.heeded = j.d.now
	}
}

// isStopped reports whether an actor must do nothing since a person stopped the plan in this
// outage: the brain at once, the Pi once it has confirmed that (rule S10).
func (j *judge) isStopped(actor string) bool {
	at := j.stop.at
	if actor == "pi" {
		at = j.stop.heeded
	}
	return at != 0 && !j.stop.over && j.stop.outage == j.outage && !j.anotherSince(actor, at)
}

// stopLasts reports whether a stop is in force at the brain, which has heard of no other outage, or only
// by the transfers of one that began right after it, or while it heard nobody: the Pi's record, which
// the duet has not, would tell it of the mains between.
func (j *judge) stopLasts() bool {
	blinked := (j.rightAfterStop() || j.darkAt >= j.stop.at) && j.mainsAt < j.stop.at
	return j.stop.at != 0 && !j.stop.over && (blinked || !j.anotherSince("brain", j.stop.at))
}

// rightAfterStop reports whether the outage began so soon after a stop that the brain may not tell it from
// the one in which that was pressed.
func (j *judge) rightAfterStop() bool { return j.from-j.stop.at < time.Second+slack }

// halts is a run of the Pi's that a person's stop ends: one of the outage in which that was, or of one
// that began right after it, which the brain may not tell from it.
func (j *judge) halts(r *held) {
	if r.outage != j.stop.outage && !(r.outage == j.outage && j.rightAfterStop()) {
		j.d.fail("S10: the Pi's run is ended by a stop of another outage")
	}
}

// isHalted reports whether a run was ended by a person's stop.
func (j *judge) isHalted(id string) bool {
	return slices.ContainsFunc(j.runs, func(r *held) bool { return r.id == id && r.halted })
}

// TestS10_AStopHolds, pressed at any time of an outage, whoever runs the plan in it and whoever is
// restarted or out of reach then: nobody is told once it is confirmed, and the next outage is dealt with.
func TestS10_AStopHolds(t *testing.T) {
	meanwhile := []string{"nas obeys", "pi crashes for 8s", "brain crashes for 8s", "pi reboots, an hour later, for 8s", "link down is cut", "link up is cut", "apcupsd dies"}
	for _, who := range []string{"brain", "pi"} {
		for at := range 5 {
			for _, what := range meanwhile {
				t.Run(fmt.Sprintf("%s, at %d, %s", who, at, what), func(t *testing.T) {
					t.Parallel()
					stopHolds(t, who, time.Duration(2+5*at)*time.Second, what)
				})
			}
		}
	}
}

func stopHolds(t *testing.T, who string, at time.Duration, what string) {
	s := setting{ride: 3 * time.Second, direct: true}
	text := "ride=3s plan=0, directly, hooked\n+0s arm\n+31s mains off\n"
	if who == "pi" {
		text = strings.Replace(text, "+31s", "+31s brain token revoked\n+0s", 1)
		at += patience
	}
	_, deeds := read(t, fmt.Sprintf("%s+%s stop\n+900ms %s\n+31s link fine\n+31s mains on\n", text, at, what))
	d := live(s, deeds, true)
	if d.wrong == "" && d.judge.stop.heeded == 0 && what != "link up is cut" {
		d.fail("S10: the stop was never confirmed")
	}
	if d.wrong != "" {
		t.Errorf("%s:\n%s", d.wrong, d.text())
	}
}
