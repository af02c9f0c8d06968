// Package calls places the calls that were decided, and follows each to its end: each once as
// far as can be known, and rather twice than never.
//
// It decides neither who is called nor when.
package calls
