package twilio_test

import (
	"encoding/xml"
	"strings"
	"testing"
	"unicode/utf8"

	"sentinel.home.arpa/shared/twilio"
)

type say struct {
	Voice    string `xml:"voice,attr"`
	Language string `xml:"language,attr"`
	Text     string `xml:",chardata"`
}

type response struct {
	XMLName xml.Name `xml:"Response"`
	Say     []say    `xml:"Say"`
	Pause   []struct {
		Length int `xml:"length,attr"`
	} `xml:"Pause"`
}

func parse(t *testing.T, twiml string) response {
	t.Helper()
	var r response
	if err := xml.Unmarshal([]byte(twiml), &r); err != nil {
		t.Fatalf("%v in %q", err, twiml)
	}
	return r
}

func TestC1_TextIsSaidTwice(t *testing.T) {
	const text = `Hello Jörg & "Ann" <the> lab's power is lost`
	twiml, err := twilio.SayTwice(text, "Polly.Vicki", "de-DE")
	if err != nil {
		t.Fatal(err)
	}
	got := parse(t, twiml)
	want := say{"Polly.Vicki", "de-DE", text}
	if len(got.Say) != 2 || got.Say[0] != want || got.Say[1] != want || len(got.Pause) != 1 || got.Pause[0].Length != 1 {
		t.Errorf("%+v", got)
	}
	if plain, err := twilio.SayTwice("hi", "", ""); err != nil ||
		plain != `<Response><Say>hi</Say><Pause length="1"/><Say>hi</Say></Response>` {
		t.Errorf("%q, %v", plain, err)
	}
}

func TestSayTwiceLimits(t *testing.T) {
	frame := utf8.RuneCountInString(`<Response><Say></Say><Pause length="1"/><Say></Say></Response>`)
	longest := (4000 - frame) / 2
	if _, err := twilio.SayTwice(strings.Repeat("ä", longest), "", ""); err != nil {
		t.Error(err)
	}
	for name, text := range map[string]string{
		"too long": strings.Repeat("ä", longest+1),
		"escaped":  strings.Repeat("&", longest),
		"empty":    "",
		"blank":    " \n\x00",
	} {
		if out, err := twilio.SayTwice(text, "", ""); err == nil {
			t.Errorf("%s: %d characters accepted", name, len(out))
		}
	}
}

func FuzzSayTwice(f *testing.F) {
	f.Add("Power lost at home & <b>\"now\"</b>", "alice", "en-GB")
	f.Add("a\r\nb\tc\x00\xff]]>", `"/><Hangup/>`, "")
	f.Add("\uFFFE\uFFFF\U0001F50B", "", "'")
	f.Fuzz(func(t *testing.T, text, voice, language string) {
		twiml, err := twilio.SayTwice(text, voice, language)
		if err != nil {
			return
		}
		if n := utf8.RuneCountInString(twiml); n > 4000 {
			t.Fatalf("%d characters", n)
		}
		got := parse(t, twiml)
		want := say{asXML(voice), asXML(language), asXML(text)}
		if len(got.Say) != 2 || got.Say[0] != want || got.Say[1] != want || len(got.Pause) != 1 {
			t.Fatalf("%+v, want twice %+v", got, want)
		}
		if n := strings.Count(twiml, "<"); n != 7 {
			t.Fatalf("%d tags in %q", n, twiml)
		}
	})
}

// asXML replaces what XML has no character for by spaces, the plain way.
func asXML(s string) string {
	var b strings.Builder
	for _, r := range s {
		ok := r == 9 || r == 10 || r == 13 || r >= 0x20 && r <= 0xD7FF || r >= 0xE000 && r <= 0xFFFC || r >= 0x10000
		if !ok {
			r = ' '
		}
		b.WriteRune(r)
	}
	return b.String()
}
