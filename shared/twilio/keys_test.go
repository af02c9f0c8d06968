package twilio

import (
	"encoding/xml"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// asked is TwiML that asks for a key, as Twilio reads it.
type asked struct {
	Gather struct {
		Action    string `xml:"action,attr"`
		Method    string `xml:"method,attr"`
		Input     string `xml:"input,attr"`
		NumDigits string `xml:"numDigits,attr"`
		Timeout   string `xml:"timeout,attr"`
		Say       []said `xml:"Say"`
		Pause     []struct {
			Length string `xml:"length,attr"`
		}
	}
	Say []said `xml:"Say"`
}

type said struct {
	Voice    string `xml:"voice,attr"`
	Language string `xml:"language,attr"`
	Text     string `xml:",chardata"`
}

// TestC3_AKeyCanBePressedAtAnyTime: during the text, which is said twice, and after it.
func TestC3_AKeyCanBePressedAtAnyTime(t *testing.T) {
	twiml, err := AskTwice("Power & <light>", "Polly.Amy", "en-GB", Keys{Action: "https://brain.example/k?a=1&b=2", Prompt: "Press 1.", Bye: "No key."})
	if err != nil {
		t.Fatal(err)
	}
	var got asked
	if err := xml.Unmarshal([]byte(twiml), &got); err != nil {
		t.Fatal(err)
	}
	as := func(text string) said { return said{"Polly.Amy", "en-GB", text} }
	want := asked{Say: []said{as("No key.")}}
	want.Gather.Action, want.Gather.Method, want.Gather.Input = "https://brain.example/k?a=1&b=2", "POST", "dtmf"
	want.Gather.NumDigits, want.Gather.Timeout = "1", "6"
	want.Gather.Say = []said{as("Power & <light>"), as("Press 1."), as("Power & <light>"), as("Press 1.")}
	want.Gather.Pause = []struct {
		Length string `xml:"length,attr"`
	}{{"1"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	again, err := AskTwice("", "", "", Keys{Action: "https://brain.example/k", Prompt: "Press 2 again."})
	got = asked{}
	if err != nil || xml.Unmarshal([]byte(again), &got) != nil || len(got.Gather.Say) != 1 || got.Gather.Say[0] != (said{Text: "Press 2 again."}) || len(got.Say) != 0 || len(got.Gather.Pause) != 0 {
		t.Errorf("a question alone: %v, %+v", err, got)
	}
	for _, wrong := range []struct {
		text string
		keys Keys
	}{{"Hello.", Keys{Action: "https://x"}}, {"Hello.", Keys{Prompt: "Press 1."}}, {"Hello.", Keys{Prompt: " \x00", Action: "https://x"}}, {strings.Repeat("word ", 400), Keys{Prompt: "Press 1.", Action: "https://x"}}} {
		if twiml, err := AskTwice(wrong.text, "", "", wrong.keys); err == nil {
			t.Errorf("%.20q %+v: %.60q", wrong.text, wrong.keys, twiml)
		}
	}
}
