// Package uplink finds out whether this machine has internet, and where it has, whether the
// tailnet is out of reach: so that brain and Pi blame nobody for what is their own line.
//
// It must not import an adapter.
package uplink
