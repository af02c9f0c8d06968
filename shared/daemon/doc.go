// Package daemon is what the three programs need to be well-behaved daemons: tasks that start and end together,
// signals, logs, systemd's notifications and watchdog, health pages, an HTTP server with limits, the boot's
// identity and clock, durable files and the control socket.
//
// It knows no message, rule or configuration of the product, and imports no other package of this module.
// It runs on Linux.
package daemon
