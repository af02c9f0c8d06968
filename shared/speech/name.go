package speech

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// namesSaid is how many names a listener can hold.
const namesSaid = 5

// Names lists names as a voice should read them; of many the first ones.
func (l Language) Names(names []string) string {
	said := make([]string, 0, namesSaid+1)
	for i, n := range names {
		if i == namesSaid-1 && len(names) > namesSaid {
			said = append(said, l.others(len(names)-i))
			break
		}
		said = append(said, l.Name(n))
	}
	comma, and, nothing := ", ", " and ", "something"
	switch l {
	case German:
		and, nothing = " und ", "etwas"
	case Chinese:
		comma, and, nothing = "、", "和", "某台设备"
	}
	switch len(said) {
	case 0:
		return nothing
	case 1:
		return said[0]
	}
	return strings.Join(said[:len(said)-1], comma) + and + said[len(said)-1]
}

func (l Language) others(n int) string {
	switch l {
	case German:
		return l.Count(n, "ein weiterer", "weitere")
	case Chinese:
		return "另外" + l.Count(n, "", "台")
	default:
		return l.Count(n, "one other", "others")
	}
}

// Name says the name of a machine: its words as words, what is none letter by letter, and
// digits apart, so that pve2 is "P V E 2".
func (l Language) Name(name string) string {
	var said []string
	for _, part := range parts(name) {
		switch r := []rune(part)[0]; {
		case unicode.IsDigit(r):
			said = append(said, l.digits(part))
		case Word(part):
			said = append(said, part)
		default:
			said = append(said, strings.Join(strings.Split(strings.ToUpper(part), ""), " "))
		}
	}
	return strings.Join(said, " ")
}

// parts are the runs of letters and of digits of a name.
func parts(name string) []string {
	var out []string
	last := 0 // 1: a letter, 2: a digit
	for _, r := range name {
		kind := 0
		switch {
		case unicode.IsDigit(r):
			kind = 2
		case unicode.IsLetter(r), unicode.IsMark(r):
			kind = 1
		}
		switch {
		case kind == 0:
		case kind == last:
			out[len(out)-1] += string(r)
		default:
			out = append(out, string(r))
		}
		last = kind
	}
	return out
}

// digits reads a number; one that is long, or begins with a zero, digit by digit.
func (l Language) digits(text string) string {
	n, err := strconv.Atoi(text)
	whole := err == nil && fmt.Sprint(n) == text && len(text) <= 3
	switch {
	case whole && l == Chinese:
		return Han(n)
	case whole:
		return text
	}
	var each []string
	for _, r := range text {
		d, err := strconv.Atoi(string(r))
		switch {
		case err != nil: // a digit of another script
			each = append(each, string(r))
		case l == Chinese:
			each = append(each, Han(d))
		default:
			each = append(each, fmt.Sprint(d))
		}
	}
	return strings.Join(each, " ")
}

// UPSes lists the names of UPSes, which follow the word UPS: ups1 and ups2 are "1 and 2". One that
// is called just ups has no other name.
func (l Language) UPSes(names []string) string {
	short := make([]string, 0, len(names))
	for _, n := range names {
		rest := strings.TrimLeft(strings.TrimPrefix(strings.ToLower(n), "ups"), "-_. ")
		switch {
		case rest == "" && len(names) == 1:
			return ""
		case rest == "" || len(rest) == len(n) && len(names) > 1:
			return l.Names(names) // one is named otherwise, so all are named in full
		}
		short = append(short, n[len(n)-len(rest):])
	}
	return l.Names(short)
}

// Consonants that a word of four letters or fewer may begin and end with, and what is spelled
// although it could be said.
var (
	onset  = regexp.MustCompile(`^(bl|br|chr?|cl|cr|dr|fl|fr|gl|gr|gn|kl|kn|kr|ph|pl|pr|rh|schr?|sc|scr|shr?|sk|sl|sm|sn|sp|spl|spr|st|str|sw|thr?|tr|tw|wh|wr|[bcdfghjklmnpqrstvwxz]?)$`)
	coda   = regexp.MustCompile(`^(cks?|ct|ff|ft|ghs?|ght|ld|lf|lks?|lls?|lm|lps?|lts?|mb|mps?|nds?|ngs?|nks?|nn|nts?|nch|ph|pt|rch|rds?|rf|rks?|rls?|rms?|rns?|rps?|rs|rts?|sh|sks?|sp|ss|sts?|tch|ths?|tts?|ts|xt|zz|ch|bs|ds|gs|ks|ls|ms|ns|ps|rr|[bcdfghjklmnpqrstvwxz]?)$`)
	spells = regexp.MustCompile(`^(ai|ap|api|av|esx|esxi|id|io|iot|ip|ipmi|os|pfs|ui|ups|usv)$`)
)

// Word reports whether letters can be read as a word. Long ones are if they have a vowel.
func Word(letters string) bool {
	low := strings.ToLower(letters)
	const vowels = "aeiouyäöü"
	first, last := strings.IndexAny(low, vowels), strings.LastIndexAny(low, vowels)
	switch {
	case strings.ContainsFunc(low, func(r rune) bool { return r > unicode.MaxASCII && !strings.ContainsRune("äöüß", r) }):
		return true // of another script or language: its voice knows
	case first < 0, len(low) < 2, spells.MatchString(low):
		return false
	case len(low) > 4:
		return true
	}
	_, size := utf8.DecodeRuneInString(low[last:])
	return onset.MatchString(low[:first]) && coda.MatchString(low[last+size:])
}

// Funcs are the functions that templates of texts have, by name.
func (l Language) Funcs() map[string]any {
	return map[string]any{
		"clock": l.Clock, "name": l.Name, "names": l.Names, "upses": l.UPSes, "count": l.Count,
		"percent": func(ratio *float64) string { return l.Percent(*ratio) },
		"ago":     l.Ago, "lasts": l.Lasts, "for": l.For,
		"none": func(n int) bool { return n == 0 },
	}
}
