// Package ups asks an apcupsd for the state of its UPS, over NIS, its network protocol.
//
// It is the only place that knows how apcupsd answers; what an answer means is decided
// by shared/power. It must import no other adapter and nothing of the brain's.
package ups
