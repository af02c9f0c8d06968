// Package power says what a UPS reports and when that is reason enough to shut
// machines down.
//
// It is pure: it knows no clock, network, disk, log or randomness, and imports
// nothing but a few packages of the standard library. Time arrives as an argument.
package power
