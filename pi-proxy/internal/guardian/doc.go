// Package guardian decides when the Pi shuts its site down by itself.
//
//	brain                          Pi                              Proxmox
//	  |  <---- UPS report (run) ---- |  on battery                     |
//	  |  ----- mandate ------------> |  epoch 4/brain, run none        |
//	  |                              |  reason holds (ride-through)    |
//	  |  begins: epoch 5/brain       |  .  waits 10 s from the later   |
//	  |  ---- commands through CONNECT --------------------------->    |
//	  |  ----- mandate ------------> |  .  of the reason and the last  |
//	  |        run advancing         |  .  "advancing"                 |
//	  X  hangs, dies, is cut off     |  .                              |
//	                                 |  10 s without "advancing":      |
//	                                 |  begins: epoch 6/pi             |
//	                                 |  ---- commands ------------>    |
//	  |  <---- report: run 6/pi ---- |                                 |
//	  |  only watches (6/pi > 5)     |                                 |
//
// What counts is not that the brain lives but that it acts: its word "advancing" means that
// within the last 10 s a machine accepted a command, was seen down or was passed over, or that
// all of the stage have accepted and still have time. When time is short the Pi waits for 2 s,
// but for 10 s from each such word.
// Its words "ended" and "stopped" hold until the mains are back, as does what the Pi itself has
// begun: no outage has two runs, but for one of the Pi's that was given up to the brain's later
// one, which it takes over again should that stop advancing. Of a run that was begun before the
// mains were last there those words say nothing, over restarts of the Pi too: a brain that
// missed the mains goes on with its run until it hears of another outage. A disarmed plan is
// never begun. Whoever begins raises the epoch's counter, and the holder of a lower one only
// watches while that advances.
//
// Of several Pis at a site the first listed begins so, and each other 15 s later than the one before
// it (rule G6). They hear of each other's runs over the LAN (PeerSaid), as of the brain's: one that
// advances holds all others back, one that has ended in this outage needs no other, and the holder
// of a lower epoch yields. Only the UPSes that a Pi reads itself tell it that the mains are back, and those that it
// took up since the Pi that reads them died in their outage: that is contact lost on battery (rule U5).
//
// After a restart the UPS must be heard before anything is sent. If it was on battery and
// is silent, its silence is danger as ever (rule U5), but only in the same boot of the Pi
// and if nobody listened for 5 min at most. After a reboot of the Pi silence is no reason
// to act, for however long: a Pi boots because the mains are back, or in an outage, and
// without a battery-backed clock it can't tell how long it was away. Should it be the
// outage, then the brain has heard the UPS on battery and fall silent, and acts on it; a
// house with power that is shut down would be the worse mistake.
// An outage is over once every UPS that was on battery was heard to be on mains, or not at all
// for so long that its battery is empty by now or it was replaced: for half an hour more than
// its runtime, which counts as half an hour if it is shorter or not known. A process that has
// not listened for all that time cannot tell, and the outage goes on.
//
// A person's stop reaches a Pi whose own UPSes have mains too: it holds there for as long as that of another
// Pi is on battery, and in the own outage that begins meanwhile (rule S10).
//
// Where the plan says which UPS feeds which machine, a run is for those alone that are called for,
// and an outage that a run was for may have the plan go on for others (rule U7): the Pi's own run, if
// it is the last, or else one for who is left, after the same patience with the brain. Of a UPS that
// another Pi reads its word counts.
//
// Once the mains are back the guests that the Pi's own run told to shut down are started
// again, as far as their nodes stay up; a new outage interrupts that, and the next run owes
// them. What the brain's run stopped the brain starts, and each Pi what its own did, also one that
// another Pi took up; but nothing while a UPS that another Pi reads is on battery, nor on nodes that
// another's later run told. A Pi that takes up the run of another, which may be dead, owes what that
// stopped too: a word of a run under way names those guests. So does the brain, which leaves to a Pi that
// lives what that says it starts (Returns).
//
// Where the plan is to begin for an internet outage too, the Pi begins it once neither a brain nor an
// anchor has answered for the delay, and nothing is on battery (Outside). Such a run tells machines to
// shut down on mains, but only while the internet was just found out; it is of no power outage, unless
// one begins in it: then it is for the power as well, and for whichever goes on.
//
// The last thing that the Pi switches off is itself (Own): where apcupsd would, once the plan is
// through, or when the battery is flat; and, if it is told to, the UPS's output with it. It
// never does on mains. Until then apcupsd, which would not wait for the plan, is held back by
// its own script, which asks here (Trip).
//
// It is pure: no clock, network, disk, log or randomness.
package guardian
