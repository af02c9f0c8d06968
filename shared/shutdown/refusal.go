package shutdown

import "errors"

// refusal is an error that can tell whether the machine itself said no, so that it did nothing.
type refusal interface {
	error
	SaidNo() bool
}

// saidNo reports whether a command was certainly not taken. Of one without an answer, or with that
// of something between, nobody knows.
func saidNo(err error) bool {
	var r refusal
	return errors.As(err, &r) && r.SaidNo()
}

// tookIt reports whether a machine had begun to say yes to a command when its answer broke off.
func tookIt(err error) bool {
	var b interface {
		error
		BeganYes() bool
	}
	return errors.As(err, &b) && b.BeganYes()
}
