// Package e2e boots a house: Debian machines with the real programs under their real
// units, a LAN, and an internet that can be cut. What it needs and plays is in its tests,
// which are built with the tag e2e and run as root. A bad day is played in two houses: one
// whose files are put on its disks, and one that ansible/ installs, upgrades and removes.
//
// The first run makes the machines' file systems from a Debian mirror and keeps them under
// the user's cache directory. In the environment:
//
//	SENTINEL_E2E_SHUTDOWNS  how often TestShutdowns does each; 2
//	SENTINEL_E2E_LOGS       a directory for journals, consoles and the LAN's packets
//	SENTINEL_E2E_BIN        a directory with built programs to test instead of this module's
//	SENTINEL_E2E_DEBS       a directory with packages to test instead, in 0.0.1 and in 0.0.2
//	SENTINEL_E2E_MIRROR     a Debian mirror
//
// It is reached by nobody, and must not import what the programs decide with: a story is
// judged by the wire, the phone company and what the brain shows.
package e2e
