package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// usage is what a program says of itself by --help.
type usage struct {
	about string
	flags []entry // of all verbs
	verbs []verb
}

// verb is one of a program's.
type verb struct {
	name, args, about string // such as "plan dismiss" and "<name>"
	flags             []entry
	choices           []string // what its argument may be
}

// usage asks a program, built for this machine, how it is used.
func (w *works) usage(ctx context.Context, p product) (usage, error) {
	program := filepath.Join(w.stage, "asked", p.Package)
	if err := w.run(ctx, []string{"CGO_ENABLED=0"}, "go", "build", "-trimpath", "-tags", p.tags, "-o", program, p.source); err != nil {
		return usage{}, err
	}
	help := func(words ...string) (string, error) {
		cmd := exec.CommandContext(ctx, program, append(words, "--help")...)
		cmd.Env = append(os.Environ(), "COLUMNS=10000") // nothing is folded
		out, err := cmd.Output()
		if err != nil {
			return "", fmt.Errorf("ask %s %s how it is used: %w", p.Program, strings.Join(words, " "), err)
		}
		return string(out), nil
	}
	text, err := help()
	if err != nil {
		return usage{}, err
	}
	whole, _ := parse(text)
	if len(whole.verbs) == 0 {
		return usage{}, fmt.Errorf("%s --help names no verb", p.Program)
	}
	if !strings.Contains(text, " --help\" for more") { // it has said all
		return whole, nil
	}
	for i, v := range whole.verbs {
		text, err := help(strings.Fields(v.name)...)
		if err != nil {
			return usage{}, err
		}
		own, choices := parse(text)
		whole.verbs[i].choices = choices
		for _, f := range own.flags {
			if !slices.Contains(whole.flags, f) {
				whole.verbs[i].flags = append(whole.verbs[i].flags, f)
			}
		}
	}
	return whole, nil
}

// gap is what stands between a name and what is said of it.
var gap = regexp.MustCompile(` {2,}`)

// parse reads a help text: sections of names with what is said of them, on the same line or
// on the next ones, further in. Flags are known by their dash wherever they stand.
func parse(text string) (u usage, choices []string) {
	section := ""
	var open *string // what the next line goes on with
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n ")
		word := strings.TrimLeft(line, " ")
		indent := len(line) - len(word)
		left, right := word, ""
		if at := gap.FindStringIndex(word); at != nil {
			left, right = word[:at[0]], word[at[1]:]
		}
		switch {
		case word == "":
			open = nil
		case indent == 0:
			if name, ok := strings.CutSuffix(word, ":"); ok {
				section = name
			} else if u.about == "" && !strings.HasPrefix(word, "Usage:") {
				u.about = word
			}
			open = nil
		case strings.HasPrefix(word, "-"):
			u.flags = append(u.flags, entry{left, right})
			open = &u.flags[len(u.flags)-1].text
		case open != nil && indent > 2:
			*open = strings.TrimSpace(*open + " " + word)
		case section == "Commands" && indent == 2:
			name, args := split(left)
			u.verbs = append(u.verbs, verb{name: name, args: args, about: right})
			open = &u.verbs[len(u.verbs)-1].about
		case section == "Arguments":
			choices = among(right)
		}
	}
	return u, choices
}

// split parts a verb from what it takes: "plan dismiss <name> [flags]".
func split(left string) (name, args string) {
	words := strings.Fields(strings.TrimSuffix(left, " [flags]"))
	at := slices.IndexFunc(words, func(w string) bool { return strings.ContainsAny(w[:1], "<[-") })
	if at < 0 {
		at = len(words)
	}
	return strings.Join(words[:at], " "), strings.Join(words[at:], " ")
}

// among are the values that an argument may have, where its text lists them: a,b,c.
func among(text string) []string {
	for _, word := range strings.Fields(text) {
		if parts := strings.Split(strings.Trim(word, ".,"), ","); len(parts) > 2 {
			return parts
		}
	}
	return nil
}
