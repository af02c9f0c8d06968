package channel

import (
	"context"
	"errors"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"
)

// TestC5_ShortMessages say the most that one part of a text message holds.
func TestC5_ShortMessages(t *testing.T) {
	long := "pve2 failed, because it sent nothing for 20 s and announced nothing. Everything else is fine. The battery is full and the mains are there. Look at the page for more of it."
	for _, tc := range []struct{ subject, text, want string }{
		{"Power outage at home", "The UPS has been on battery for 5 s.", "Power outage at home. The UPS has been on battery for 5 s."},
		{"Power outage at home", "power outage at home, because the UPS has been on battery for 5 s", "power outage at home, because the UPS has been on battery for 5 s"},
		{"pve2 failed", long, "pve2 failed, because it sent nothing for 20 s and announced nothing. Everything else is fine. The battery is full and the mains are there."},
		{"pve2 failed", long + " (from 19:02, delivered late)", "pve2 failed, because it sent nothing for 20 s and announced nothing. Everything else is fine. (from 19:02, delivered late)"},
		{"", strings.Repeat("word ", 60), strings.TrimSpace(strings.Repeat("word ", 31)) + "..."},
		{"", strings.Repeat("x", 200), strings.Repeat("x", 157) + "..."},
		{"Home – “on battery”", "It’s 20 °C…", `Home - "on battery". It's 20 C...`},
		{"Zuhause", "Das Gerät läuft wieder", "Zuhause. Das Gerät läuft wieder"},
		{"停电", strings.Repeat("家里停电了。", 20), "停电. " + strings.Repeat("家里停电了。", 10) + "家里停..."},
	} {
		if got := Short(tc.subject, tc.text); got != tc.want {
			t.Errorf("%q, %q:\n got %q\nwant %q", tc.subject, tc.text, got, tc.want)
		}
	}
}

// TestC5_ShortMessagesFit, whatever they are made of.
func TestC5_ShortMessagesFit(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		word := rapid.SampledFrom([]string{"power", "out.", "€", "[x]", "–", "停", "ä", "🔋", "because", "s;", strings.Repeat("z", 200), " ", "(from 19:02, delivered late)"})
		text := strings.Join(rapid.SliceOf(word).Draw(t, "text"), " ")
		got := Short(strings.Join(rapid.SliceOfN(word, 0, 4).Draw(t, "subject"), " "), text)
		if !utf8.ValidString(got) {
			t.Fatalf("%q is broken", got)
		}
		n := 0
		for _, r := range got {
			if n++; r > 0xffff {
				n++
			}
		}
		if u := units(got); u > smsPart || u < 0 && n > smsPartWide {
			t.Fatalf("%q is too long: %d, %d", got, u, n)
		}
		if strings.TrimSpace(text) != "" && got == "" {
			t.Fatal("nothing is left")
		}
	})
}

// TestC7_ATextMessageThatFails says so in the words of who knows the service.
func TestC7_ATextMessageThatFails(t *testing.T) {
	no := errors.New("no")
	for _, forGood := range []bool{true, false} {
		s := NewSMS("+14155550100", func(context.Context, string, string) error { return no }, func(err error) (string, bool) { return "Twilio says " + err.Error(), forGood })
		if err := s.Send(t.Context(), outage()); errors.Is(err, ErrPermanent) != forGood || errors.Is(err, ErrTemporary) == forGood || err.Error() != "Twilio says no" {
			t.Error(err)
		}
	}
	var to, body string
	s := NewSMS("+14155550100", func(_ context.Context, number, text string) error { to, body = number, text; return nil }, nil)
	if err := s.Send(t.Context(), outage()); err != nil || to != "+14155550100" || body != outage().Text {
		t.Error(err, to, body)
	}
}
