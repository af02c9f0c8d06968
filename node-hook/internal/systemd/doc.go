// Package systemd knows from the machine itself whether it goes down, and in which way:
// from logind, which is asked to wait, from systemd's jobs, and from what process 1 is.
//
// Signals on the bus are taken as hints only, since any local user can send them; what
// counts is what logind and systemd answer. The package tells nobody outside the machine
// and must not import the packages that do. The facts are measured on systemd 252 and 257.
package systemd
