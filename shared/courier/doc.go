// Package courier is both ends of how envelopes cross HTTP: a client that posts one and
// checks the answer, and what a server needs to read one and to answer.
//
// It decides nothing about what a message says, and must not import a program.
package courier
