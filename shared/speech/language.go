package speech

import (
	"slices"
	"strings"
	"unicode"
)

// Language is one that calls have texts in.
type Language string

// The languages.
const (
	English Language = "en"
	German  Language = "de"
	Chinese Language = "zh" // Mandarin, simplified characters
)

// Languages are all of them, the one that is spoken by default first.
func Languages() []Language { return []Language{English, German, Chinese} }

// Of finds the language of a code such as de-AT or cmn-CN, and whether there are texts in it.
func Of(code string) (Language, bool) {
	primary, region, _ := strings.Cut(strings.ToLower(code), "-")
	switch {
	case primary == "cmn", primary == "zh" && (region == "" || region == "cn" || region == "tw"):
		return Chinese, true
	case slices.Contains(Languages()[:2], Language(primary)):
		return Language(primary), true
	}
	return "", false
}

// Code is the language as Twilio's voices name it.
func (l Language) Code() string {
	switch l {
	case German:
		return "de-DE"
	case Chinese:
		return "zh-CN"
	default:
		return "en-US"
	}
}

// Known is a code that voices know: a bare language is that of its largest country.
func Known(code string) string {
	if l, ok := Of(code); ok && !strings.Contains(code, "-") {
		return l.Code()
	}
	return code
}

// Voice is a voice of Twilio's that speaks a language of a country well; empty: its own choice.
func Voice(code string) string {
	switch strings.ToLower(Known(code)) {
	case "en-us":
		return "Polly.Joanna"
	case "en-gb":
		return "Polly.Amy"
	case "en-au":
		return "Polly.Nicole"
	case "en-in":
		return "Polly.Raveena"
	case "de-de":
		return "Polly.Vicki"
	case "zh-cn", "cmn-cn":
		return "Polly.Zhiyu"
	default:
		return ""
	}
}

// Espeak is the language as espeak-ng names its voice.
func (l Language) Espeak() string {
	switch l {
	case German:
		return "de"
	case Chinese:
		return "cmn"
	default:
		return "en-us"
	}
}

// Clean puts a text in one line, with the spaces that its language has.
func (l Language) Clean(text string) string {
	text = strings.Join(strings.Fields(text), " ")
	if l != Chinese {
		return text
	}
	var b strings.Builder
	runes := []rune(text)
	for i, r := range runes {
		if r == ' ' && (wide(runes[i-1]) || wide(runes[i+1])) { // Fields leaves none at the ends
			continue
		}
		b.WriteRune(r)
	}
	return b.String()
}

// wide reports whether a character is Chinese, or a punctuation mark of it.
func wide(r rune) bool {
	return unicode.Is(unicode.Han, r) || r >= 0x3000 && r <= 0x303F || r >= 0xFF00 && r <= 0xFFEF
}

// Seconds is about how long a text takes to be said: 150 words a minute, or 240 characters of
// Chinese, in which a word of another language counts as two.
func (l Language) Seconds(text string) float64 {
	if l != Chinese {
		return float64(len(strings.Fields(text))) * 60 / 150
	}
	n, inWord := 0, 0
	for _, r := range text + " " {
		switch {
		case !wide(r) && (unicode.IsLetter(r) || unicode.IsDigit(r)):
			inWord++
			continue
		case unicode.Is(unicode.Han, r):
			n++
		}
		n += min(inWord, 2)
		inWord = 0
	}
	return float64(n) * 60 / 240
}
