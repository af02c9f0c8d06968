package main

import (
	"fmt"
	"strings"
	"time"
)

// manual is the manual page of a program, in man(7)'s language.
func manual(p product, u usage, version string, at time.Time) string {
	var m strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&m, format+"\n", args...) }
	item := func(name, args, text string) {
		line(".TP")
		line(`\fB%s\fR%s`, roff(name), italic(args))
		line("%s", roff(text))
	}
	line(`.TH %s 1 "%s" "sentinel %s" "Sentinel"`, strings.ToUpper(p.Program), at.Format("2006-01-02"), version)
	line(".SH NAME")
	line(`%s \- %s`, roff(p.Program), roff(p.about))
	line(".SH SYNOPSIS")
	line(`\fB%s\fR \fICOMMAND\fR [\fIOPTION\fR]...`, roff(p.Program))
	line(".SH DESCRIPTION")
	line("%s", roff(u.about))
	line(".SH COMMANDS")
	for _, v := range u.verbs {
		item(v.name, v.args, v.about)
		if len(v.flags) == 0 {
			continue
		}
		line(".RS")
		for _, f := range v.flags {
			item(f.name, "", f.text)
		}
		line(".RE")
	}
	line(".SH OPTIONS")
	for _, f := range u.flags {
		item(f.name, "", f.text)
	}
	line(".SH FILES")
	for _, f := range p.files {
		item(f.name, "", f.text)
	}
	line(".SH EXIT STATUS")
	item("0", "", "Fine.")
	item("1", "", "The answer is bad news, or it could not be had.")
	item("2", "", "The command line is wrong.")
	line(".SH SEE ALSO")
	line("%s", roff("The guides in the project's docs directory, and the unit: systemctl cat "+p.Program))
	return m.String()
}

// italic is what a verb takes.
func italic(args string) string {
	if args == "" {
		return ""
	}
	return ` \fI` + roff(args) + `\fR`
}

// roff is text as it is: no mark of the language is in it.
func roff(text string) string {
	text = strings.NewReplacer(`\`, `\e`, "-", `\-`).Replace(text)
	if strings.HasPrefix(text, ".") || strings.HasPrefix(text, "'") {
		text = `\&` + text
	}
	return text
}
