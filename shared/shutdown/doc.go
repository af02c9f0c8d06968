// Package shutdown is the plan by which a site is brought down, and how a run of it
// advances: which commands are due, what counts as down, when a stage is over.
//
// When the power is back in the middle of it the guests are put back that it stopped, as far as
// their nodes stay up. That is part of the run, in StartSent and its siblings.
//
// It is pure: it knows no clock, network, disk, log or randomness. A Run decides in
// Next and its siblings, which return events and change nothing; Apply is the only
// writer. Whoever owns a Run puts the events on disk, applies them, and only then has
// the executor perform what Due lists. Replaying the events gives the Run again.
package shutdown
