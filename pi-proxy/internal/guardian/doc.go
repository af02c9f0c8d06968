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
// What counts is not that the brain lives but that it acts: its word "advancing" means
// that a machine accepted a command within the last 10 s. Its words "ended" and
// "stopped" hold until the mains are back, as does what the Pi itself has begun: no
// outage has two runs. Of a run that was begun before the mains were last there they say
// nothing: a brain that missed them goes on with it. A disarmed plan is never begun.
// Whoever begins raises the epoch's counter, and the holder of a lower one only watches.
//
// After a restart the UPS must be heard before anything is sent. If it was on battery and
// is silent, its silence is danger as ever (rule U5), but only in the same boot of the Pi
// and if nobody listened for 5 min at most. After a reboot of the Pi silence is no reason
// to act, for however long: a Pi boots because the mains are back, or in an outage, and
// without a battery-backed clock it can't tell how long it was away. Should it be the
// outage, then the brain has heard the UPS on battery and fall silent, and acts on it; a
// house with power that is shut down would be the worse mistake.
// An outage is over once every UPS that was on battery was heard to be on mains, or has not
// been heard for so long that its battery is empty, or it is another one: half an hour more
// than its runtime, or than another half an hour. A process that has not listened for all
// that time cannot tell, and the outage goes on.
//
// It is pure: no clock, network, disk, log or randomness.
package guardian
