// Package brainwatch decides when the Pi says that the brain is gone (rule G3): as the brain
// watches the Pi, the Pi watches the brain.
//
// A brain is gone if it has not answered for 2 min though the Pi's internet was up; of several,
// if none has. While the internet is out nothing is said, since nobody could hear it, and that
// time counts as nobody's absence. A brain that said that it is about to be restarted has its
// 10 min (rule N5).
//
// After 5 min people are called, one after the other as the brain would, and then not again for
// 6 h. In a power outage the guardian shuts the house down without a word to anybody: with the
// brain gone these calls are the only ones there are. So they tell of the power too, and one
// outage has one alarm, whichever came first. Only who was called before the power went out is
// called once more, when it has been out for 15 s: an outage that nobody hears of is worse than
// a second call.
//
// It is pure: no clock, network, disk, log or randomness. What it decides is an event with its
// reason, and State is all that a later process must know.
package brainwatch
