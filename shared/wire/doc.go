// Package wire is what the three programs say to each other: heartbeats, UPS reports,
// announcements of shutdowns, relayed messages and the answers to them.
//
// Every message travels in a DSSE envelope whose payload type names its kind, so that
// a signature made for one kind serves no other. Numbers that order messages (boot id
// and seq) come from the sender; times never decide, durations do.
//
// It must not import a program, and knows no network and no disk but for the key file.
package wire
