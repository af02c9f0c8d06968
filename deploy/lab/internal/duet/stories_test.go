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
		"G1: the Pi acts too if all that the brain tells is off by what the outage before told it": `
			ride=10s plan=1, directly, hooked
			+0s     arm
			+900ms  runtime 60s
			+14s    mains off
			+5s     mains blink
			+14s    brain dies at its next step, before the disk, for 3s`,
		"S4: machines that nobody reaches for a while are told once the network is back": `
			ride=10s plan=1, directly, hooked
			+0s     arm
			+900ms  mains off
			+0s     pve1 is away
			+0s     pve2 is away
			+31s    pve1 obeys
			+0s     pve2 obeys`,
		"S9: a machine that went off unseen keeps nobody from the next stage, however often brain and Pi take over": `
			ride=10s plan=1, directly, hooked
			+0s     arm
			+0s     mains off
			+13.6s  pve2 is away
			+0s     mains blink`,
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
		"S9: what the Pi has carried out for the brain says nothing of the outage after, which the brain missed": `
			ride=10s plan=0, directly, hooked
			+0s     arm
			+0s     mains off
			+200ms  brain offline
			+0s     mains blink
			+0s     link up fine
			+1m20.4s pi reboots, and apcupsd, for 1s
			+0s     machines boot
			+2s     mains blink`,
		"S10: a stop that the Pi confirms by its own later run holds under another name of the outage": `
			ride=0s plan=2, directly, polled
			+0s     arm
			+3.1s   mains off
			+2s     brain offline
			+1m50.1s stop
			+5s     pi reboots, and apcupsd, for 8s
			+0s     link mixes it all
			+31s    pi reboots, and apcupsd, for 1s
			+14s    pi stands still for 8s`,
		"S9: a run of the brain's that was through while the Pi was out of reach says nothing of the outage after": `
			ride=10s plan=1, through the Pi, hooked
			+0s     arm
			+0s     mains off
			+200ms  link up is cut
			+1m14.9s mains on
			+900ms  machines boot
			+0s     mains off
			+8s     brain token revoked`,
		"S9: nor after a start of apcupsd, which counts anew": `
			ride=10s plan=0, through the Pi, polled
			+0s     plan changes
			+0s     mains off
			+8s     arm
			+0s     mains on
			+0s     link is cut
			+1m16.2s mains off
			+900ms  apcupsd starts`,
		"G2: a Pi that takes the brain's run for over, and boots into another name, takes it for the outage before": `
			ride=3s plan=2, directly, polled
			+0s     arm
			+0s     mains off
			+13.6s  plan changes
			+5s     pi dies at its next step, before the disk, for 3s
			+900ms  mains blink
			+39s    pi reboots, and apcupsd, for 1s
			+14s    self-test 1m0s`,
		"S10: a stop in the Pi's second run of an outage outlives that the run is told before its UPS": `
			ride=3s plan=2, through the Pi, hooked
			+0s     arm
			+900ms  pi reboots, an hour earlier, for 45s
			+10.7s  brain crashes for 45s
			+0s     mains off
			+31s    link down is stale
			+18.1s  brain offline
			+200ms  mains blink
			+14s    link fine
			+0s     stop`,
		"1: a UPS that was on battery is lost to a restarted brain until two reports agree, for however long the Pi's run holds it back": `
			ride=10s plan=1, through the Pi, hooked
			+0s     arm
			+200ms  pi is cut from the machines
			+0s     mains off
			+0s     link up loses some
			+200ms  ups lost
			+200ms  brain crashes for 45s
			+6.4s   link up is stale
			+39.1s  pi crashes for 1s
			+26s    apcupsd starts
			+5s     mains on
			+5s     brain dies at its next step, before the disk, for 3s`,
		"S10: a stop of an outage of which only the Pi's run told holds, though the Pi's next run is through before its UPS is heard": `
			ride=10s plan=0, through the Pi, hooked
			+0s     arm
			+0s     nas stays up
			+900ms  link up is cut
			+0s     mains off
			+0s     brain stands still for 8s
			+200ms  ups lost
			+1m34.1s pi reboots, an hour earlier, for 8s
			+0s     an old report again
			+8s     apcupsd starts
			+31s    stop
			+31s    brain online`,
		"S10: two reports of another outage agree by when they were sent, however they arrive": `
			ride=10s plan=1, directly, polled
			+3.1s   mains off
			+900ms  pi reboots, an hour later, for 8s
			+10.5s  link up is cut
			+8s     brain crashes for 1s
			+2s     stop
			+0s     pi crashes for 45s
			+0s     mains on
			+0s     link mixes it all
			+0s     link down fine
			+0s     self-test 1m0s
			+54.1s  runtime 40m`,
		"S10: a stop holds nothing once it is heard that the power was back before it": `
			ride=0s plan=0, directly, hooked
			+0s     arm
			+900ms  link up is stale
			+0s     mains off
			+14s    mains on
			+8s     stop
			+2s     mains off`,
		"S10: a stop of the outage that goes on holds when late word comes of the mains before it": `
			ride=10s plan=0, directly, hooked
			+0s     arm
			+900ms  link up is late
			+0s     mains off
			+14s    mains on
			+900ms  mains off
			+200ms  stop
			+31s    runtime 40m`,
		"S9: a run that was disarmed is not begun again in what is still its outage to the brain": `
			ride=10s plan=2, directly, polled
			+0s     mains off
			+900ms  pi dies at its next step, after the disk, for 3s
			+0s     mains on
			+900ms  apcupsd dies
			+2s     mains off
			+27s    arm
			+0s     disarm
			+0s     arm
			+0s     apcupsd starts
			+900ms  battery low`,
		"S10: a stop that the brain tells of once more, as the word of the mains comes, is not pressed anew in the next outage": `
			ride=3s plan=0, directly, polled
			+0s     arm
			+0s     mains off
			+5s     link down is cut
			+2s     stop
			+42.1s  mains blink
			+2s     brain stands still for 45s`,
		"S5: a UPS that was lost anew an hour after another loss is lost from a brain's start on": `
			ride=10s plan=2, directly, polled
			+0s     arm
			+900ms  pi reboots, and apcupsd, for 45s
			+45s    brain reboots, an hour later, for 45s
			+0s     self-test 1m0s
			+2s     ups lost
			+3.1s   pve1 is cut
			+48.1s  pi reboots, an hour earlier, for 1s
			+0s     brain dies at its next step, after the disk, for 3s
			+31s    arm`,
		"S10: a stop holds over a blink that comes with it, of which the brain hears by the transfers alone": `
			ride=10s plan=2, directly, hooked
			+0s     arm
			+900ms  pi reboots, an hour earlier, for 45s
			+900ms  mains off
			+41.5s  link loses some
			+3.1s   mains blink
			+0s     stop`,
		"S10: a stop in the ride-through holds for a Pi whose brain dies right after it, and that boots then": `
			ride=10s plan=2, through the Pi, hooked
			+0s     arm
			+0s     self-test 1m0s
			+0s     pi reboots, and apcupsd, for 1s
			+5s     stop
			+200ms  brain reboots, an hour later, for 45s
			+0s     link is stale
			+5s     mains off
			+45s    pi reboots, and apcupsd, for 1s
			+31s    apcupsd dies`,
		"S10: a stop that its brain alone knows of, being offline, ends by the word of a Pi that booted meanwhile": `
			ride=0s plan=1, directly, polled
			+0s     arm
			+900ms  pi crashes for 45s
			+19.4s  brain offline
			+8s     mains off
			+58.8s  an old report again
			+14s    stop
			+0s     pi reboots, and apcupsd, for 1s
			+24.5s  link fine`,
		"S10: a stop ends with the transfers of another outage, also when the UPS is lost in that by then": `
			ride=0s plan=1, through the Pi, hooked
			+0s     mains off
			+0s     link up loses some
			+2s     stop
			+900ms  mains blink
			+900ms  apcupsd dies
			+31s    arm
			+8s     plan changes`,
		"G1: with little time left the Pi does not wait for a brain whose guests are still being started": `
			ride=0s plan=0, through the Pi, hooked
			+0s     arm
			+31s    mains blink
			+2s     runtime 60s
			+900ms  mains off
			+3.1s   apcupsd starts`,
		"U3: a Pi that dies in a self-test as that becomes an outage has told of a test": `
			ride=10s plan=2, directly, hooked
			+0s     arm
			+31s    self-test 8s
			+200ms  mains off
			+0s     pi crashes for 45s
			+2m28.6s pi reboots, and apcupsd, for 1s`,
		"S10: a stop ends with the transfer of another outage, which confirms an old report that came again": `
			ride=3s plan=2, through the Pi, polled
			+0s     mains off
			+900ms  pi crashes for 45s
			+0s     brain reboots, an hour later, for 1s
			+2s     stop
			+0s     an old report again
			+0s     mains on
			+0s     mains off
			+2m4.3s pi stands still for 8s`,
		"S10: a stop ends with the transfer of another outage, though the Pi has died before it wrote down the one before": `
			ride=10s plan=2, through the Pi, hooked
			+0s     pi reboots, an hour earlier, for 1s
			+0s     ups lost
			+0s     mains off
			+0s     apcupsd starts
			+8s     pi dies at its next step, before the disk, for 3s
			+3.1s   brain crashes for 1s
			+2s     mains blink
			+0s     an old report again
			+0s     stop`,
		"G2: a word that the brain's run advances counts before a Pi that stood still hears its UPS": `
			ride=10s plan=0, through the Pi, polled
			+0s     arm
			+0s     mains off
			+8s     apcupsd dies
			+3.1s   runtime 60s
			+0s     pi stands still for 8s
			+10.5s  brain crashes for 45s`,
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
