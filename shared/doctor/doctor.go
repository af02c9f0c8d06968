// Package doctor is how a program says what it found when it looked itself over: findings, and
// the one screen that they are printed on.
//
// It is pure: it looks at nothing itself. What is gathered, and what is made of it, is each
// program's own. It must not import a package that gathers.
package doctor

import (
	"cmp"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
)

// State is how something stands.
type State string

// The states, from the best to the worst.
const (
	OK    State = "ok"
	Look  State = "look"  // it works, or nobody could tell; a person should look
	Wrong State = "wrong" // something does not work
)

// Finding is one thing that was looked at.
type Finding struct {
	What  string `json:"what"`
	State State  `json:"state"`
	Say   string `json:"say"`          // how it stands
	Do    string `json:"do,omitempty"` // what to do about it; empty if it is OK
}

// Report is the findings so far.
type Report []Finding

// OK adds something that is fine.
func (r *Report) OK(what, say string) { *r = append(*r, Finding{What: what, State: OK, Say: say}) }

// Look adds something that a person should look at, and how.
func (r *Report) Look(what, say, do string) {
	*r = append(*r, Finding{What: what, State: Look, Say: say, Do: do})
}

// Wrong adds something that does not work, and what to do about it.
func (r *Report) Wrong(what, say, do string) {
	*r = append(*r, Finding{What: what, State: Wrong, Say: say, Do: do})
}

// The screen: a line is left for the prompt that comes after it.
const (
	width  = 80
	height = 23
	indent = 7
)

// Well reports whether nothing is wrong; what is only to be looked at is no failure.
func Well(all []Finding) bool {
	return !slices.ContainsFunc(all, func(f Finding) bool { return f.State == Wrong })
}

// Screen is what was found, on one screen of 24 lines with 80 columns: what is wrong first, and
// what is fine together if there is no room for a line each.
func Screen(all []Finding) string {
	lines := []string{verdict(all)}
	var fine []Finding
	more := 0
	for _, f := range worstFirst(all) {
		if f.State == OK {
			fine = append(fine, f)
			continue
		}
		said := wrap(string(f.State), f.What+": "+f.Say)
		if f.Do != "" {
			said = append(said, wrap("", "-> "+f.Do)...)
		}
		if more > 0 || len(lines)+len(said)+2 > height { // one for what is fine, and one for what is not shown
			more++
			continue
		}
		lines = append(lines, said...)
	}
	if more > 0 {
		lines = append(lines, wrap("", "and "+strconv.Itoa(more)+" more, which --json lists")...)
	}
	return strings.Join(append(lines, together(fine, height-len(lines))...), "\n") + "\n"
}

// Text is what was found, as the screen or as JSON.
func Text(all []Finding, asJSON bool) ([]byte, error) {
	if !asJSON {
		return []byte(Screen(all)), nil
	}
	data, err := json.Marshal(all)
	return append(data, '\n'), err
}

// worstFirst keeps the order among those of one state.
func worstFirst(all []Finding) []Finding {
	order := []State{Wrong, Look, OK}
	sorted := slices.Clone(all)
	slices.SortStableFunc(sorted, func(a, b Finding) int {
		return cmp.Compare(slices.Index(order, a.State), slices.Index(order, b.State))
	})
	return sorted
}

func verdict(all []Finding) string {
	count := map[State]int{}
	for _, f := range all {
		count[f.State]++
	}
	fine := strconv.Itoa(count[OK]) + " fine"
	if count[OK] == len(all) {
		return "All is well: " + fine + "."
	}
	text := ""
	if n := count[Wrong]; n > 0 {
		text = strconv.Itoa(n) + " wrong, "
	}
	if n := count[Look]; n > 0 {
		text += strconv.Itoa(n) + " to look at, "
	}
	return text + fine + "."
}

// together are lines about what is fine: one for each if they fit, else their names.
func together(fine []Finding, room int) (lines []string) {
	if len(fine) == 0 {
		return nil
	}
	if len(fine) <= room {
		for _, f := range fine {
			lines = append(lines, short(wrap(string(OK), f.What+": "+f.Say), 1)...)
		}
		return lines
	}
	var names []string
	for _, f := range fine {
		names = append(names, f.What)
	}
	return short(wrap(string(OK), strings.Join(names, "; ")), max(room, 1))
}

// short keeps the first lines, and shows that there were more.
func short(lines []string, most int) []string {
	if len(lines) <= most {
		return lines
	}
	last := []rune(lines[most-1])
	last = last[:min(len(last), width-4)]
	return append(lines[:most-1:most-1], string(last)+" ...")
}

// wrap breaks a text between words, behind a word in front. What has no gap, such as a key or a
// command, is never broken: it is to be copied. What a terminal would obey is left out: names and
// errors come from other machines.
func wrap(front, text string) []string {
	text = strings.Map(func(r rune) rune {
		if !strconv.IsPrint(r) {
			return -1
		}
		return r
	}, strings.Join(strings.Fields(text), " "))
	line := front + strings.Repeat(" ", indent-len(front))
	used := indent
	var lines []string
	for i, word := range strings.Fields(text) {
		n := len([]rune(word))
		if i > 0 && used+1+n > width {
			lines = append(lines, line)
			line, used = strings.Repeat(" ", indent), indent
		} else if i > 0 {
			line, used = line+" ", used+1
		}
		line, used = line+word, used+n
	}
	return append(lines, line)
}

// Split parts a sentence that says how something stands and, behind its last semicolon, what to do.
func Split(text string) (say, do string) {
	i := strings.LastIndex(text, "; ")
	if i < 0 {
		return text, ""
	}
	return text[:i], text[i+2:]
}

// Reinstall is what to do about units of a package that are gone or not as they were: for who has the
// package, the playbook or neither.
func Reinstall(pkg string) string {
	return "install " + pkg + " again: `apt install --reinstall ./" + pkg + "_*.deb`, or run the playbook; without packages copy deploy/systemd anew, and `systemctl daemon-reload`"
}
