package setup

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode"
)

// longest bounds an answer, in bytes.
const longest = 500

var (
	errNobody = errors.New("nobody answers: run it in a terminal, or give it the answers on its standard input, one a line")
	errEnded  = errors.New("ended; nothing was written")
	errOdd    = errors.New("it must be of printable characters, and without ${")
)

// asker asks a person, or whatever stands for one, until its context ends.
type asker struct {
	ctx      context.Context
	in       *bufio.Scanner
	out      io.Writer
	terminal bool // a wrong answer is asked for again; of a file the next line is another's answer
	asked    int
}

// ask gives the answer to a question, or its default if nothing is typed. check says what is wrong
// with an answer, and is not asked about nothing.
func (a *asker) ask(question, otherwise string, check func(string) error) (string, error) {
	for {
		shown := ""
		if otherwise != "" {
			shown = " [" + otherwise + "]"
		}
		if _, err := fmt.Fprintf(a.out, "%s%s: ", question, shown); err != nil {
			return "", err
		}
		text, err := a.line(question)
		if err != nil {
			return "", err
		}
		if text == "" {
			text = otherwise
		}
		if text == "" {
			return "", nil
		}
		err = plain(text)
		if err == nil && check != nil {
			err = check(text)
		}
		if err == nil {
			return text, nil
		}
		if !a.terminal {
			return "", fmt.Errorf("%s: %q: %w; nothing was written", question, text, err)
		}
		if _, err := fmt.Fprintf(a.out, "  %s.\n", err); err != nil {
			return "", err
		}
	}
}

// must is ask for what has to be answered.
func (a *asker) must(question, otherwise string, check func(string) error) (string, error) {
	for {
		text, err := a.ask(question, otherwise, check)
		if err != nil || text != "" {
			return text, err
		}
		if !a.terminal {
			return "", fmt.Errorf("%s: there must be an answer; nothing was written", question)
		}
	}
}

// agrees asks for yes or no; nothing is no.
func (a *asker) agrees(question string) (bool, error) {
	text, err := a.ask(question, "no", func(s string) error {
		switch strings.ToLower(s) {
		case "yes", "y", "no", "n":
			return nil
		}
		return errors.New("answer yes or no")
	})
	return strings.HasPrefix(strings.ToLower(text), "y"), err
}

func (a *asker) line(question string) (string, error) {
	scanned := make(chan bool, 1)
	go func() { scanned <- a.in.Scan() }() // a read of a terminal ends by nothing but a line
	var more bool
	select {
	case more = <-scanned:
	case <-a.ctx.Done():
		return "", errEnded
	}
	if more {
		a.asked++
		if !a.terminal { // what was typed is not seen
			if _, err := fmt.Fprintln(a.out, a.in.Text()); err != nil {
				return "", err
			}
		}
		return strings.TrimSpace(a.in.Text()), nil
	}
	switch err := a.in.Err(); {
	case err != nil:
		return "", fmt.Errorf("read an answer: %w", err)
	case a.asked == 0:
		return "", errNobody
	}
	return "", fmt.Errorf("the answers end before the question %q; nothing was written", question)
}

func plain(text string) error {
	if len(text) > longest || strings.Contains(text, "${") || strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return errOdd
	}
	return nil
}
