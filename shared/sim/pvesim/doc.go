// Package pvesim is a simulated Proxmox VE cluster: one real HTTPS server per
// node, on a listener that the test gives, speaking the part of the REST API
// that is needed to look at guests and to shut guests and nodes down.
//
// It imitates what was read in Proxmox's own sources (pve-manager,
// pve-http-server, qemu-server, pve-container): the cause of an error is in the
// HTTP reason phrase, a node's shutdown answers null before anything happens,
// guest commands answer a task, the API lives on while guests stop, and a call
// for another node that is off ends as 595. Time is real time.
//
// Faults of nodes and guests are set from Go (Fault, GuestFault, Split, Renew) or as lines
// (Do), also over the control route that Control serves.
//
// Storage is not simulated, of migration only its last moment, and of high availability only
// what it shows. The package knows nothing of the programs it is a counterpart for and must
// import none of them.
package pvesim
