// Package notify reaches people: it renders what is said, places the calls that were
// decided, and follows each to its end.
//
// It decides neither who is called nor when. It knows the phone only through the
// interface it declares, and must not import another adapter.
package notify
