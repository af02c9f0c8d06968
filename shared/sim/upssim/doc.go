// Package upssim is a UPS with an apcupsd in front of it that speaks NIS, apcupsd's
// network protocol, on a given listener.
//
// What it answers was compared with recordings of apcupsd 3.14.14 (testdata). It is
// for tests and labs; no program of the product may import it, and it imports none
// of them.
package upssim
