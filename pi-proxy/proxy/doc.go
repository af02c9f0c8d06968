// Package proxy is the Pi's daemon: it wires the UPS, the LAN, the spool, the guardian and
// the brain together.
//
// It is the only package of the Pi that others may import.
package proxy
