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
