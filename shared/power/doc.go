// Package power says what a UPS reports and when that is reason enough to shut
// machines down (rules U2, U3, U5, U6, U7 and S2).
//
// A Tracker makes a Reading of each answer of apcupsd; a Policy makes a Verdict of a
// Reading. Lengths of time are in seconds on the wire, shares from 0 to 1. The numbers are
// apcupsd's own (BCHARGE, TIMELEFT, STATFLAG) but for the time, which the Tracker counts:
// apcupsd's starts over when apcupsd does.
//
// # What UPSes get wrong
//
// A runtime or charge that is no odd answer counts, and one alone may be odd: it must have
// held for 2 s (Course). It counts at once if the UPS calls its battery low as well, or if
// the charge has been under half for as long already. A UPS that promises more than the
// fall of its charge bears out is believed by that fall; one whose charge stands still on
// battery, as some stay at 100 %, by its runtime alone; one that tells neither by the time
// on battery. What is told while contact is lost is frozen, and counts for 3 s (Fresh).
//
// # A supply that flaps
//
// The ride-through counts from the first answer on battery and anew with each return of the
// mains, however short: a command must not follow the power's return, and each of those
// times by itself is borne. Answers that miss such a return go on with the time before. What
// runs out in a flapping supply is the battery, so that ends it: runtime and charge are
// judged in each time on battery that lasts for 2 s, and the fall of the charge over all of
// them, since mains of under 10 s fill nothing.
//
// testdata/histories tells by example what comes of both.
//
// It is pure: it knows no clock, network, disk, log or randomness, and imports
// nothing but a few packages of the standard library. Time arrives as an argument.
package power
