package root

import (
	"bytes"
	"errors"
	"fmt"
)

// Verb is something that the Pi may ask for.
type Verb string

const (
	// Halt powers the Pi off. The UPS keeps its output, also if apcupsd had left word to
	// cut it.
	Halt Verb = "halt"
	// HaltAndCut powers the Pi off and has apcupsd cut the UPS's output as the last thing
	// (rule G4): everything starts by itself when mains returns.
	HaltAndCut Verb = "halt-and-cut"
	// Clear makes an apcupsd that has tripped forget it: the Pi stays on.
	Clear Verb = "clear"
)

// maxLine bounds a question, its newline included.
const maxLine = 64

var errNoLine = errors.New("the question is not one line")

// parse reads a question. Without its newline it may be a part of one, such as the "halt"
// of "halt-and-cut".
func parse(question []byte) (Verb, error) {
	line, rest, whole := bytes.Cut(question, []byte("\n"))
	if !whole || len(rest) > 0 {
		return "", errNoLine
	}
	switch v := Verb(line); v {
	case Halt, HaltAndCut, Clear:
		return v, nil
	}
	return "", fmt.Errorf("%q is no verb", line)
}
