package twilio

import (
	"encoding/xml"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

const maxTwiML = 4000 // characters, Twilio's limit for the Twiml parameter

// SayTwice returns the TwiML that speaks text, waits a second and speaks it
// again (a person who lifts a phone misses the first words). Empty voice and
// language leave the choice to Twilio. Characters that XML cannot carry become
// spaces. Text with nothing to say, and TwiML of more than 4,000 characters, is
// an error.
func SayTwice(text, voice, language string) (string, error) {
	if strings.TrimSpace(carry(text)) == "" {
		return "", errors.New("twiml: nothing to say")
	}
	var say strings.Builder
	say.WriteString("<Say")
	attribute(&say, "voice", voice)
	attribute(&say, "language", language)
	say.WriteByte('>')
	escape(&say, text)
	say.WriteString("</Say>")

	out := "<Response>" + say.String() + `<Pause length="1"/>` + say.String() + "</Response>"
	if err := checkTwiML(out); err != nil {
		return "", err
	}
	return out, nil
}

func checkTwiML(twiml string) error {
	n := utf8.RuneCountInString(twiml)
	if n == 0 {
		return errors.New("twiml: empty")
	}
	if n > maxTwiML {
		return fmt.Errorf("twiml: %d characters, Twilio takes %d at most", n, maxTwiML)
	}
	return nil
}

func attribute(b *strings.Builder, name, value string) {
	if value == "" {
		return
	}
	fmt.Fprintf(b, ` %s="`, name)
	escape(b, value)
	b.WriteByte('"')
}

func escape(b *strings.Builder, s string) {
	_ = xml.EscapeText(b, []byte(carry(s))) // a strings.Builder never fails
}

// carry replaces what XML 1.0 has no character for (section 2.2), and broken UTF-8.
func carry(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == utf8.RuneError,
			r < 0x20 && r != '\t' && r != '\n' && r != '\r',
			r == 0xFFFE, r == 0xFFFF:
			return ' '
		}
		return r
	}, s)
}
