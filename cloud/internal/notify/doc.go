// Package notify renders what people are told.
//
// It decides neither who is told nor when, and must not import another adapter.
package notify
