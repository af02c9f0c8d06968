// Package home is a whole home lab on one machine: the real three programs as processes,
// a simulated UPS, Proxmox cluster and phone company, and the network between them, which
// can be cut. No program knows that it is in a lab.
package home
