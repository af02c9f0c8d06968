// Package brain is the cloud's daemon: it wires the decision core to the network, the
// journal, the phone and the machines, and runs the one loop that owns the core's state.
//
// It is the only package of the brain that others may import.
package brain
