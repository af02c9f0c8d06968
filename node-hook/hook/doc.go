// Package hook is the node's agent: its configuration, and the wiring of the parts that
// beat, watch for shutdowns of this machine and announce them.
//
// It decides nothing that a part could decide, and is imported by main alone.
package hook
