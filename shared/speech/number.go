package speech

import (
	"fmt"
	"math"
	"strings"
	"time"
)

// Number says how many there are. In English and German small numbers are words, and none is
// "no" or "keine"; before a Chinese measure word two is another character.
func (l Language) Number(n int) string {
	words := ""
	switch l {
	case Chinese:
		if n == 2 {
			return "两"
		}
		return Han(n)
	case German:
		words = "keine eins zwei drei vier fünf sechs sieben acht neun zehn elf zwölf"
	default:
		words = "no one two three four five six seven eight nine ten eleven twelve"
	}
	if list := strings.Fields(words); n >= 0 && n < len(list) {
		return list[n]
	}
	return fmt.Sprint(n)
}

// Han writes a number in Chinese characters, as it is read.
func Han(n int) string {
	const digits = "零一二三四五六七八九"
	digit := func(d int) string { return string([]rune(digits)[d]) }
	switch {
	case n < 0:
		return "负" + Han(-n)
	case n < 10:
		return digit(n)
	case n < 20:
		return "十" + strings.TrimPrefix(digit(n%10), "零")
	case n >= 10000:
		return Han(n/10000) + "万" + after(n, 10000, 1000)
	case n >= 1000:
		return digit(n/1000) + "千" + after(n, 1000, 100)
	case n >= 100:
		return digit(n/100) + "百" + after(n, 100, 10)
	}
	return digit(n/10) + "十" + strings.TrimPrefix(digit(n%10), "零")
}

// after is what follows a unit: a zero is read where a place is left out, and ten in the midst
// of a number is one ten.
func after(n, unit, place int) string {
	rest := n % unit
	if rest == 0 {
		return ""
	}
	said := Han(rest)
	if rest >= 10 && rest < 20 {
		said = "一" + said
	}
	if rest < place {
		said = "零" + said
	}
	return said
}

// Count says how many of something there are. one is said of a single one, as a whole, if the
// language tells one from many.
func (l Language) Count(n int, one, many string) string {
	switch {
	case l == Chinese:
		return l.Number(n) + many
	case n == 1 && one != "":
		return one
	}
	return l.Number(n) + " " + many
}

// Percent says a ratio.
func (l Language) Percent(ratio float64) string {
	n := int(math.Round(ratio * 100))
	switch l {
	case German:
		return fmt.Sprintf("%d Prozent", n)
	case Chinese:
		return "百分之" + Han(n)
	default:
		return fmt.Sprintf("%d percent", n)
	}
}

// Clock says a time of day.
func (l Language) Clock(t time.Time) string {
	h, m := t.Hour(), t.Minute()
	switch {
	case l == German && m == 0:
		return fmt.Sprintf("%d Uhr", h)
	case l == German:
		return fmt.Sprintf("%d Uhr %d", h, m)
	case l == Chinese && m == 0:
		return Han(h) + "点整"
	case l == Chinese && m < 10:
		return Han(h) + "点零" + Han(m) + "分"
	case l == Chinese:
		return Han(h) + "点" + Han(m) + "分"
	}
	return t.Format("15 04")
}

// For says how long something lasts, in minutes, or in hours if it is long.
func (l Language) For(d time.Duration) string {
	if m := int(d.Round(time.Minute).Minutes()); m < 120 {
		return l.minutes(m)
	}
	h := int(d.Round(time.Minute).Hours())
	switch l {
	case German:
		return l.Count(h, "eine Stunde", "Stunden")
	case Chinese:
		return l.Count(h, "", "小时")
	default:
		return l.Count(h, "one hour", "hours")
	}
}

func (l Language) minutes(m int) string {
	switch l {
	case German:
		return l.Count(m, "eine Minute", "Minuten")
	case Chinese:
		return l.Count(m, "", "分钟")
	default:
		return l.Count(m, "one minute", "minutes")
	}
}

// Lasts says about how long something will last.
func (l Language) Lasts(d time.Duration) string {
	less, about := "less than a minute", "about "
	switch l {
	case German:
		less, about = "weniger als eine Minute", "etwa "
	case Chinese:
		less, about = "不到一分钟", "大约"
	}
	if d < time.Minute {
		return less
	}
	return about + l.For(d)
}

// Ago says how long ago something was.
func (l Language) Ago(d time.Duration) string {
	seconds := int(d.Seconds())
	switch l {
	case German:
		switch {
		case d < time.Second:
			return "gerade eben"
		case d < time.Minute:
			return "vor " + l.Count(seconds, "einer Sekunde", "Sekunden")
		}
		if said := l.For(d); !strings.HasPrefix(said, "eine ") {
			return "vor " + said
		}
		return "vor einer Minute"
	case Chinese:
		switch {
		case d < time.Second:
			return "刚才"
		case d < time.Minute:
			return l.Count(seconds, "", "秒前")
		}
		return l.For(d) + "前"
	}
	switch {
	case d < time.Second:
		return "just now"
	case d < time.Minute:
		return l.Count(seconds, "one second", "seconds") + " ago"
	}
	return l.For(d) + " ago"
}
