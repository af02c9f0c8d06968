package notify

import (
	_ "embed"
	"fmt"
	"regexp"
	"strings"
	"text/template"
	"time"
	"unicode"
)

//go:embed texts.tmpl
var texts string

// Story is what a call is about, as far as it is known when the call is placed.
type Story struct {
	Kind    string // node_failure, power_outage, internet_outage, power_unwatched or tailnet_down
	Contact string
	Site    string
	Since   time.Time // in the site's time zone
	Nodes   []string  // that are part of it
	Others  int       // nodes at the site that are fine
	Off     int       // others that are off, or about to be, as planned
	PiHeard bool      // so its internet is up
	OnMains bool      // as last heard; neither this nor OnBattery: not known
	Cause   string    // what took them all, a sentence of the timeline; empty: not known
	Worse   string    // what has become worse since the last call; empty: nothing
	Again   bool      // it is a reminder
	// Of a power outage, and of an internet outage that may be one.
	OnBattery bool
	Heard     time.Duration // how long ago the battery's state was last heard
	Charge    *float64      // 0 to 1
	Runtime   *time.Duration
	Plan      PlanStory
}

// PlanStory is what is being done about a power outage.
type PlanStory struct {
	Exists    bool
	Armed     bool
	Begun     bool // in earnest, as are the following
	Through   bool
	Stopped   bool // before its end
	Rehearsed bool // begun without being armed
	// Offline is after how long without internet the Pi begins it by itself; 0: never.
	Offline time.Duration
	ByPi    bool // the Pi does it by itself
	Guests  *int // how many run; nil: not known
	Nodes   int  // how many machines are shut down
	StayOn  int  // how many of the plan are not, since no UPS that is out calls for them
	Spared  bool // the UPS that is out calls for none of them
	Late    int  // how many were not down in time
}

// Text is what is said on the phone about a story.
func Text(s Story) (string, error) {
	t, err := template.New("texts").Option("missingkey=error").Funcs(template.FuncMap{
		"clock": func(t time.Time) string { return t.Format("15 04") },
		"names": sayNames, "nodes": counted("server"), "guests": counted("guest"), "machines": counted("machine"),
		"percent": func(r *float64) string { return fmt.Sprintf("%.0f percent", *r*100) },
		"ago":     sayAgo, "lasts": sayLasts, "for": sayMinutes, "none": func(n int) bool { return n == 0 }, "said": sayUnits,
	}).Parse(texts)
	if err != nil {
		return "", fmt.Errorf("read the texts: %w", err)
	}
	var b strings.Builder
	if err := t.ExecuteTemplate(&b, s.Kind, s); err != nil {
		return "", fmt.Errorf("write the text of a %s: %w", s.Kind, err)
	}
	return strings.Join(strings.Fields(b.String()), " "), nil
}

// namesSaid is how many names a listener can hold.
const namesSaid = 5

// sayNames lists names as a voice should read them.
func sayNames(names []string) string {
	said := make([]string, 0, namesSaid+1)
	for i, n := range names {
		if i == namesSaid-1 && len(names) > namesSaid {
			said = append(said, counted("other")(len(names)-i))
			break
		}
		said = append(said, sayName(n))
	}
	switch len(said) {
	case 0:
		return "something"
	case 1:
		return said[0]
	}
	return strings.Join(said[:len(said)-1], ", ") + " and " + said[len(said)-1]
}

// sayName sets digits apart, so that pve2 is not read as one strange word.
func sayName(name string) string {
	var b strings.Builder
	var last rune
	for _, r := range name {
		if last != 0 && unicode.IsDigit(r) != unicode.IsDigit(last) || r == '-' || r == '.' {
			b.WriteRune(' ')
		}
		if r != '-' && r != '.' {
			b.WriteRune(r)
		}
		last = r
	}
	return b.String()
}

// unit is a number's, as the timeline writes it.
var unit = regexp.MustCompile(`\d (%|min\b|s\b|h\b)`)

// sayUnits lets a sentence of the timeline be read aloud.
func sayUnits(text string) string {
	said := map[string]string{"%": "percent", "min": "minutes", "s": "seconds", "h": "hours"}
	return unit.ReplaceAllStringFunc(text, func(m string) string { return m[:2] + said[m[2:]] })
}

const numbers = "no one two three four five six seven eight nine ten eleven twelve"

func counted(what string) func(int) string {
	words := strings.Fields(numbers)
	return func(n int) string {
		say := fmt.Sprint(n)
		if n >= 0 && n < len(words) {
			say = words[n]
		}
		if n == 1 {
			return say + " " + what
		}
		return say + " " + what + "s"
	}
}

// sayAgo says how long ago something was.
func sayAgo(d time.Duration) string {
	switch {
	case d < time.Second:
		return "just now"
	case d < time.Minute:
		return counted("second")(int(d.Seconds())) + " ago"
	}
	return sayMinutes(d) + " ago"
}

// sayLasts says how long something will last.
func sayLasts(d time.Duration) string {
	if d < time.Minute {
		return "less than a minute"
	}
	return "about " + sayMinutes(d)
}

func sayMinutes(d time.Duration) string {
	switch m := int(d.Round(time.Minute).Minutes()); {
	case m < 120:
		return counted("minute")(m)
	default:
		return counted("hour")(m / 60)
	}
}
