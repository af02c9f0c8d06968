package channel

import (
	"context"
	"strings"
	"unicode/utf16"
)

// Lengths of a text message, in the units of its alphabet. One part is one price and arrives as one.
const (
	smsPart     = 160 // of GSM's own alphabet
	smsPartWide = 70  // of any other
)

// SMS is a person's phone, by text message.
type SMS struct {
	number string
	send   func(ctx context.Context, to, body string) error
	fail   func(err error) (why string, permanent bool)
}

// NewSMS makes a sender of whoever can send a text message. fail says in words that may be shown what an error of theirs
// means.
func NewSMS(number string, send func(ctx context.Context, to, body string) error, fail func(err error) (why string, permanent bool)) *SMS {
	return &SMS{number, send, fail}
}

// About implements Sender.
func (s *SMS) About() string { return "SMS" }

// Send implements Sender.
func (s *SMS) Send(ctx context.Context, m Message) error {
	ctx, cancel := context.WithTimeout(ctx, Within)
	defer cancel()
	err := s.send(ctx, s.number, Short(m.Subject, m.Text))
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return unanswered(ctx, "the SMS service", err)
	}
	why, forGood := s.fail(err)
	if forGood {
		return permanent("%s", why)
	}
	return temporary("%s", why)
}

// Short makes one text message of a notice: in GSM's own alphabet where its letters allow it, with as many whole sentences
// as fit, or else cut at a word. A subject that the text says anyway is left out.
func Short(subject, text string) string {
	subject, text = plain(line(subject)), plain(line(text))
	full := text
	if subject != "" && !strings.HasPrefix(strings.ToLower(text), strings.ToLower(subject)) {
		full = strings.TrimSuffix(subject, ".") + ". " + text
	}
	full = strings.TrimSpace(full)
	most := smsPart
	if units(full) < 0 {
		most = smsPartWide
	}
	length := func(s string) int {
		if most == smsPart {
			return units(s)
		}
		return len(utf16.Encode([]rune(s)))
	}
	if length(full) <= most {
		return full
	}
	tail := ""
	if i := strings.LastIndex(full, " ("); i > 0 && strings.HasSuffix(full, "delivered late)") {
		full, tail = full[:i], full[i:]
	}
	best := ""
	for i, r := range full {
		end := i + len(string(r))
		if strings.ContainsRune(".!?;", r) && (end == len(full) || full[end] == ' ') && length(full[:end]+tail) <= most {
			best = full[:end]
		}
	}
	if length(best) >= most/2 { // the rest is worth less than a whole sentence
		return strings.TrimSuffix(best, ";") + tail
	}
	cut := ""
	for i := range full {
		if full[i] == ' ' && length(full[:i]+"..."+tail) <= most {
			cut = strings.TrimRight(full[:i], " ,;:.-")
		}
	}
	if length(cut) < most/2 { // few words, or a language without spaces
		for i := range full {
			if length(full[:i]+"..."+tail) <= most {
				cut = full[:i]
			}
		}
	}
	return cut + "..." + tail
}

// gsm is GSM's own alphabet (3GPP TS 23.038), and gsmTwice what takes two of its places.
const (
	gsm      = "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
	gsmTwice = "^{}\\[~]|€"
)

// units are the places that a text takes of GSM's alphabet; -1: it has letters of others.
func units(s string) int {
	n := 0
	for _, r := range s {
		switch {
		case strings.ContainsRune(gsm, r):
			n++
		case strings.ContainsRune(gsmTwice, r):
			n += 2
		default:
			return -1
		}
	}
	return n
}

// plain puts what keyboards and programs make of simple signs back, since one of them would halve the message.
func plain(s string) string {
	return strings.NewReplacer("\u2013", "-", "\u2014", "-", "\u2212", "-", "\u2011", "-", "\u2026", "...", "\u201c", `"`, "\u201d", `"`, "\u201e", `"`,
		"\u2018", "'", "\u2019", "'", "\u00a0", " ", "\u202f", " ", "\u2192", "->", "\u2022", "-", "\u00b0C", "C", "\u00b0", " deg", "\u00b7", "-", "`", "'").Replace(s)
}
