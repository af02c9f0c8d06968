package duet_test

import "testing"

// stories are histories in which something was wrong once, as short as they could be made.
func stories() map[string]string {
	return map[string]string{
		"G2: the brain only watches while the Pi's later run advances": `
			ride=3s plan=0, directly, hooked
			+0s     arm
			+0s     mains off
			+0s     brain dies at its next step, after the disk, for 3s
			+2s     link is cut
			+8s     mains off`,
		"G1: a brain that may ask and not act is taken over in time": `
			ride=3s plan=0, through the Pi, hooked
			+0s     arm
			+900ms  brain offline
			+0s     mains off
			+2s     brain token revoked
			+2s     link fine
			+31s    mains off`,
		"G2: a self-test that becomes an outage is one outage, though the Pi was restarted in it": `
			ride=3s plan=0, directly, hooked
			+0s     arm
			+0s     self-test 8s
			+200ms  ups lost
			+31s    mains off
			+0s     pi dies at its next step, before the disk, for 3s
			+8s     ups found`,
		"G2: a run of the Pi's that goes on is of this outage, whenever that began": `
			ride=3s plan=0, directly, hooked
			+0s     arm
			+900ms  link is cut
			+0s     self-test 8s
			+200ms  ups lost
			+31s    mains off
			+10.5s  pi dies at its next step, after the disk, for 3s
			+8s     link up is stale
			+14s    ups found`,
		"S5: a restarted Pi tells nobody again before it hears the UPS": `
			ride=3s plan=0, directly, hooked
			+0s     arm
			+0s     mains off
			+200ms  apcupsd dies
			+0s     brain token revoked
			+41s    pi reboots, an hour later, for 1s
			+0s     machines boot`,
		"S5: a restarted brain tells nobody again before it hears the UPS": `
			ride=3s plan=1, directly, polled
			+0s     arm
			+0s     mains off
			+0s     pve1 stays up
			+5s     brain reboots, an hour later, for 45s
			+0s     link is late
			+2m1.4s mains on`,
		"S5: a brain that was away for long goes on with no run before it hears the UPS": `
			ride=3s plan=1, directly, hooked
			+0s     arm
			+0s     pve1 hangs
			+0s     mains off
			+5s     brain reboots, an hour later, for 45s
			+0s     link is cut
			+14s    mains on
			+31s    machines boot
			+31s    machines boot
			+5s     machines boot`,
		"G2: a run of the outage before says nothing about this one": `
			ride=3s plan=2, through the Pi, polled
			+0s     arm
			+0s     mains off
			+10.5s  machines boot
			+0s     brain offline
			+0s     mains on
			+8s     mains off`,
		"G2: nor after a restart of the Pi": `
			ride=0s plan=2, through the Pi, polled
			+0s     arm
			+11.4s  mains off
			+31s    machines boot
			+0s     brain reboots, an hour later, for 45s
			+0s     mains on
			+200ms  pi crashes for 45s
			+0s     mains off
			+1m30.4s link up mixes it all`,
		"G2: a run of the brain's in this outage counts, also under a lower epoch than the Pi's last": `
			ride=10s plan=0, through the Pi, polled
			+0s     arm
			+900ms  link up is stale
			+0s     mains off
			+2s     pi crashes for 8s
			+0s     brain offline
			+22s    mains on
			+2s     mains off
			+3.1s   ups found`,
		"S7: a plan that is armed in an outage begins, though it was tried in it": `
			ride=10s plan=1, directly, hooked
			+0s     mains off
			+10.5s  arm`,
		"S9: a brain that missed the mains tells all again in the outage after them": `
			ride=10s plan=1, through the Pi, polled
			+0s     arm
			+0s     mains off
			+900ms  mains on
			+0s     link up is cut
			+1m7s   mains off`,
		"S9: also if it was out of reach for less than makes a UPS lost": `
			ride=3s plan=1, through the Pi, hooked
			+0s     arm
			+0s     link down is stale
			+0s     mains off
			+5s     brain offline
			+8s     machines boot
			+10.5s  mains on
			+5s     mains off`,
		"S9: also if what it knew of was a self-test, and it was restarted": `
			ride=10s plan=1, through the Pi, polled
			+0s     arm
			+0s     self-test 8s
			+900ms  brain crashes for 45s
			+0s     link up is cut
			+1m40s  mains off`,
		"S9: a Pi whose run came to its disk, but not what armed it, goes on with it": `
			ride=10s plan=0, directly, hooked
			+2s     link up is stale
			+0s     mains off
			+31s    pi dies at its next step, after the disk, for 3s
			+2s     arm
			+200ms  link up is late
			+2s     pi crashes for 45s`,
		"S5: a brain that is offline tells nobody for its own silence": `
			ride=3s plan=2, directly, hooked
			+0s     arm
			+0s     pve2 stays up
			+0s     mains off
			+3.1s   brain dies at its next step, before the disk, for 3s
			+15.5s  brain offline
			+29.6s  pve2 is busy
			+1.8s   pi reboots, an hour later, for 1s`,
		"S5: what the brain heard after its clock had jumped is not an hour old": `
			ride=10s plan=2, directly, hooked
			+0s     arm
			+0s     mains off
			+200ms  apcupsd dies
			+900ms  brain reboots, an hour later, for 1s
			+5s     pi crashes for 45s
			+0s     brain crashes for 8s`,
		"1: the time on battery is not that of a boot before, by another clock": `
			ride=10s plan=0, through the Pi, polled
			+0s     arm
			+0s     pi crashes for 1s
			+0s     self-test 8s
			+2s     pi reboots, an hour later, for 1s
			+2s     pi crashes for 1s`,
		"1: silence since the Pi has booted is no reason, nor after a crash in that boot": `
			ride=10s plan=2, directly, hooked
			+0s     arm
			+0s     mains off
			+200ms  apcupsd dies
			+0s     pi reboots, an hour later, for 1s
			+0s     brain token revoked
			+2s     pi crashes for 8s
			+45s    nas is busy`,
		"3: a guest whose start was on its way as the power went again goes before its node": `
			ride=0s plan=0, through the Pi, hooked
			+0s     pve2 is busy
			+0s     brain dies at its next step, after the disk, for 3s
			+0s     arm
			+0s     mains off
			+10s    mains blink
			+10.5s  pi crashes for 8s`,
		"S9: a run that late word of mains ended is not of the outage after them": `
			ride=3s plan=1, directly, hooked
			+0s     arm
			+16.2s  pi crashes for 8s
			+900ms  brain crashes for 8s
			+40.8s  link up mixes it all
			+43.5s  mains off
			+900ms  mains blink`,
		"3: what the brain heard as it died it does not know": `
			ride=10s plan=1, through the Pi, polled
			+0s     arm
			+200ms  mains off
			+200ms  runtime 60s
			+3.1s   machines boot
			+0s     mains blink
			+200ms  brain dies at its next step, before the disk, for 3s
			+200ms  mains on
			+900ms  pi reboots, an hour earlier, for 45s`,
		"G2: a Pi that has booted, with apcupsd, tells those again that the brain's run told": `
			ride=0s plan=1, directly, polled
			+0s     arm
			+0s     mains off
			+900ms  mains on
			+5s     mains off
			+5s     brain reboots, an hour later, for 1s
			+5s     pi reboots, an hour later, for 45s
			+0s     apcupsd starts`,
		"S10: a stop does not end the Pi's run in the outage after": `
			ride=0s plan=1, through the Pi, hooked
			+10.5s  mains off
			+10.5s  stop
			+0s     arm
			+900ms  link up is stale
			+900ms  mains blink
			+10.5s  link fine`,
		"S10: a stop outlives the Pi's run that it ends, though the brain has yet to hear the UPS": `
			ride=0s plan=0, through the Pi, polled
			+0s     arm
			+900ms  brain stands still for 45s
			+0s     mains off
			+14s    stop`,
		"S10: a Pi that boots in an outage ends no stop": `
			ride=10s plan=0, through the Pi, hooked
			+0s     mains off
			+200ms  stop
			+0s     pi reboots, an hour later, for 1s
			+2s     pi crashes for 45s
			+10.5s  brain crashes for 8s
			+36s    brain stands still for 1s`,
		"S10: nor if only it knew of the outage": `
			ride=10s plan=0, through the Pi, hooked
			+0s     arm
			+0s     brain crashes for 45s
			+16.9s  mains off
			+31s    pi reboots, an hour later, for 8s
			+0s     stop
			+8s     ups found`,
		"S5: nothing is started while late word of a battery waits for a newer one": `
			ride=0s plan=0, through the Pi, hooked
			+36s    arm
			+14s    link is late
			+400ms  mains off
			+5s     link down loses some
			+14s    mains on
			+14s    mains off
			+900ms  ups found`,
		"S10: a Pi that was out of reach hears of a stop only once it has told of its UPS": `
			ride=0s plan=1, directly, hooked
			+0s     mains off
			+0s     arm
			+200ms  pi reboots, an hour later, for 45s
			+0s     stop
			+20.1s  link up is cut
			+14s    machines boot
			+23s    mains on
			+200ms  mains off`,
		"S10: a stop once the run is through outlives a boot in which apcupsd names the outage anew": `
			ride=10s plan=0, directly, polled
			+0s     arm
			+0s     mains off
			+1m34s  stop
			+0s     pi reboots, and apcupsd, for 8s
			+31s    mains on`,
		"G2: a run that goes on is of this outage, also after such a boot": `
			ride=10s plan=1, directly, hooked
			+0s     arm
			+2s     brain offline
			+0s     mains off
			+22s    pi reboots, and apcupsd, for 1s
			+31s    arm`,
		"G2: one that took the brain's over and has ended is of the outage before after such a boot": `
			ride=0s plan=2, directly, polled
			+0s     arm
			+900ms  link down is stale
			+0s     mains off
			+2m18s  pi reboots, and apcupsd, for 8s`,
		"S9: a run that the Pi took over, and the mains ended, holds nobody back in the next outage": `
			ride=10s plan=2, directly, polled
			+0s     arm
			+0s     mains off
			+10.5s  brain offline
			+10.5s  mains on
			+900ms  mains off
			+0s     runtime 60s`,
		"S9: nor does a stop in the outage before, which a brain that was away yet takes for one of this": `
			ride=10s plan=2, directly, polled
			+0s     arm
			+0s     mains off
			+10.5s  brain offline
			+10.5s  mains on
			+0s     stop
			+3.1s   mains off
			+8.9s   link loses some`,
		"S10: a stop holds though the Pi told of its run before its UPS, which was in a test when it was last heard": `
			ride=10s plan=0, through the Pi, hooked
			+0s     arm
			+0s     self-test 1m0s
			+200ms  link up is cut
			+1m6.7s mains off
			+5s     stop
			+31s    brain online`,
		"S10: a boot that the brain heard of late ends no stop since it has told of the UPS": `
			ride=10s plan=1, through the Pi, polled
			+0s     link is cut
			+0s     pi reboots, an hour earlier, for 1s
			+39.1s  mains off
			+2s     brain online
			+0s     pi dies at its next step, before the disk, for 3s
			+0s     apcupsd dies
			+0s     brain stands still for 1s
			+2s     stop
			+900ms  apcupsd starts
			+3.1s   link is late`,
		"G2: contact that is lost as a test becomes an outage does not end it": `
			ride=10s plan=1, directly, polled
			+0s     arm
			+0s     self-test 1m0s
			+40.8s  apcupsd starts
			+31s    stop`,
		"S10: a stop in a test with a low battery holds though the Pi tells of its run later": `
			ride=0s plan=1, through the Pi, hooked
			+0s     arm
			+0s     battery low
			+900ms  link down is cut
			+0s     self-test 1m0s
			+10.5s  pi dies at its next step, after the disk, for 3s
			+0s     stop
			+5s     pi crashes for 45s`,
	}
}

func TestG2_StoriesThatWentWrongOnce(t *testing.T) {
	for name, text := range stories() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, deeds := read(t, text)
			if d := live(s, deeds, true); d.wrong != "" {
				t.Errorf("%s:\n%s", d.wrong, d.text())
			}
		})
	}
}

// TestAHistoryIsAScript: what is printed of a history plays again.
func TestAHistoryIsAScript(t *testing.T) {
	for name, text := range stories() {
		s, deeds := read(t, text)
		s2, deeds2 := read(t, script(s, deeds))
		if script(s, deeds) != script(s2, deeds2) {
			t.Errorf("%s: written as\n%s", name, script(s2, deeds2))
		}
	}
}
