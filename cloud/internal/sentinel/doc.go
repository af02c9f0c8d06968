// Package sentinel is the decider: one pure state machine that turns what is seen and
// heard into facts.
//
// Step decides and applies its own facts through Evolve, the only writer of durable
// state; NextDeadline is when it wants to be asked again. Whoever owns a State writes
// the facts to the journal before their effects happen. Replaying facts through Evolve
// gives the state again and decides nothing.
//
// It knows no clock, network, disk, log or randomness, and imports only pure packages.
package sentinel
