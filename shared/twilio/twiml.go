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
	said := say(text, voice, language)
	out := "<Response>" + said + `<Pause length="1"/>` + said + "</Response>"
	if err := checkTwiML(out); err != nil {
		return "", err
	}
	return out, nil
}

// Say is TwiML that speaks a text once, and hangs up.
func Say(text, voice, language string) (string, error) {
	if strings.TrimSpace(carry(text)) == "" {
		return "", errors.New("twiml: nothing to say")
	}
	out := "<Response>" + say(text, voice, language) + "<Hangup/></Response>"
	if err := checkTwiML(out); err != nil {
		return "", err
	}
	return out, nil
}

// say is a text as TwiML has it spoken; nothing to say is nothing.
func say(text, voice, language string) string {
	if strings.TrimSpace(carry(text)) == "" {
		return ""
	}
	var b strings.Builder
	b.WriteString("<Say")
	attribute(&b, "voice", voice)
	attribute(&b, "language", language)
	b.WriteByte('>')
	escape(&b, text)
	b.WriteString("</Say>")
	return b.String()
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

// Keys is where a key that is pressed during a call goes.
type Keys struct {
	Action string // the address that Twilio posts it to
	Prompt string // which keys there are, in the language of the text
	Bye    string // said when none was pressed; empty: nothing
}

// AskTwice is [SayTwice] of a text during which one key can be pressed at any time, and for some
// seconds after. With an empty text only the prompt is said, once.
func AskTwice(text, voice, language string, keys Keys) (string, error) {
	if strings.TrimSpace(carry(keys.Prompt)) == "" || keys.Action == "" {
		return "", errors.New("twiml: no key can be asked for without a prompt and an address")
	}
	var out strings.Builder
	prompt := say(keys.Prompt, voice, language)
	out.WriteString("<Response><Gather")
	attribute(&out, "action", keys.Action)
	out.WriteString(` method="POST" input="dtmf" numDigits="1" timeout="6">`)
	if said := say(text, voice, language); said != "" {
		out.WriteString(said + prompt + `<Pause length="1"/>` + said)
	}
	out.WriteString(prompt + "</Gather>" + say(keys.Bye, voice, language) + "</Response>")
	if err := checkTwiML(out.String()); err != nil {
		return "", err
	}
	return out.String(), nil
}
