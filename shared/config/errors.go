package config

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Error is one thing wrong with a configuration file.
type Error struct {
	File         string
	Line, Column int    // both start at 1; 0 if the file has no such place
	Path         string // such as contacts[0].phone; empty for the whole document
	Msg          string

	unknown bool // a key that is not known, below Path
}

// Error renders the problem on one line, as file:line:column: path: message.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.File)
	if e.Line > 0 {
		fmt.Fprintf(&b, ":%d:%d", e.Line, e.Column)
	}
	if e.Path != "" {
		b.WriteString(": " + e.Path)
	}
	b.WriteString(": " + e.Msg)
	return strings.NewReplacer("\r", " ", "\n", " ").Replace(b.String()) // a quoted key may hold a newline
}

// Errors is everything wrong with a file, in the order of its lines.
type Errors []*Error

// Error renders one line for each problem.
func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i, err := range e {
		lines[i] = err.Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap makes errors.As find the first *Error.
func (e Errors) Unwrap() []error {
	out := make([]error, len(e))
	for i, err := range e {
		out[i] = err
	}
	return out
}

// orNil sorts the errors by line and avoids an error interface that holds an empty list.
func (e Errors) orNil() error {
	if len(e) == 0 {
		return nil
	}
	slices.SortStableFunc(e, func(a, b *Error) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return e
}

// gather flattens what is in err into a list, giving foreign errors the file's name.
func gather(file string, err error) Errors {
	if err == nil {
		return nil
	}
	var all Errors
	switch e := err.(type) {
	case *Error:
		if e == nil {
			return nil
		}
		return Errors{e}
	case Errors:
		return e
	case interface{ Unwrap() []error }:
		for _, inner := range e.Unwrap() {
			all = append(all, gather(file, inner)...)
		}
		return all
	}
	var one *Error
	if errors.As(err, &one) {
		return Errors{one}
	}
	return Errors{{File: file, Msg: err.Error()}}
}
