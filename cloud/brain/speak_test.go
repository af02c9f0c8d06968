package brain

import (
	"encoding/xml"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sentinel.home.arpa/cloud/internal/notify"
	"sentinel.home.arpa/cloud/internal/sentinel"
	"sentinel.home.arpa/shared/sim/twiliosim"
	"sentinel.home.arpa/shared/speech"
	"sentinel.home.arpa/shared/wire"
)

// TestC1_EachInTheirLanguage: who is called hears their own, by a voice that speaks it.
func TestC1_EachInTheirLanguage(t *testing.T) {
	in(t, func(h *home) {
		h.cfg.Twilio.Language = "de-AT"
		h.cfg.Contacts[1].Language = "zh"
	}, func(h *home) {
		h.slowly()
		h.x.Behave(alex, twiliosim.NoAnswer{})
		h.nodes["pve2"].kill()
		rest(5 * time.Minute)
		heard := map[string]twiliosim.Call{}
		for _, c := range h.x.Calls() {
			heard[c.To] = c
		}
		for number, want := range map[string][3]string{
			alex: {"de-AT", "", "Hallo Alex. Hier ist dein Sentinel. P V E 2 am Standort home antwortet seit 0 Uhr nicht mehr. Die anderen zwei Server dort laufen."},
			sam:  {"zh-CN", "Polly.Zhiyu", "Sam，您好。这里是您的家庭哨兵。站点home的P V E二从零点整起没有响应。那里另外两台服务器正常。"},
		} {
			var said struct {
				Say []struct {
					Language string `xml:"language,attr"`
					Voice    string `xml:"voice,attr"`
					Text     string `xml:",chardata"`
				}
			}
			if err := xml.Unmarshal([]byte(heard[number].TwiML), &said); err != nil || len(said.Say) != 2 {
				h.Fatalf("%s: %v in %q", number, err, heard[number].TwiML)
			}
			for _, s := range said.Say {
				if got := [3]string{s.Language, s.Voice, s.Text}; got != want {
					h.Errorf("%s hears %q, not %q", number, got, want)
				}
			}
		}
	})
}

func TestC1_VoicesByLanguage(t *testing.T) {
	cfg := Config{Twilio: &Twilio{Language: "en", Voice: "Polly.Matthew", Voices: map[string]string{"de-DE": "Polly.Hans"}},
		Contacts: []Person{{Name: "Alex", Phone: alex}, {Name: "Sam", Phone: sam, Language: "de-DE"}, {Name: "Kim", Phone: sam, Language: "zh-CN"},
			{Name: "Jo", Phone: sam, Language: "en-US"}, {Name: "Al", Phone: sam, Language: "en-GB"}}}
	for name, want := range map[string]tongue{
		"":     {speech.English, "en-US", "Polly.Matthew"},
		"Alex": {speech.English, "en-US", "Polly.Matthew"},
		"Sam":  {speech.German, "de-DE", "Polly.Hans"},
		"Kim":  {speech.Chinese, "zh-CN", "Polly.Zhiyu"},
		"Jo":   {speech.English, "en-US", "Polly.Matthew"},
		"Al":   {speech.English, "en-GB", "Polly.Amy"},
	} {
		if got := cfg.tongueOf(name); got != want {
			t.Errorf("%q is spoken to by %+v, not %+v", name, got, want)
		}
	}
	cfg.Sites = []Site{{Name: "home"}}
	list := callLists(&cfg, false, nil)["home"].Contacts
	want := []wire.Contact{{Name: "Alex", Phone: alex}, {Name: "Sam", Phone: sam, Language: "de-DE", Voice: "Polly.Hans"}, {Name: "Kim", Phone: sam, Language: "zh-CN", Voice: "Polly.Zhiyu"}, {Name: "Jo", Phone: sam}, {Name: "Al", Phone: sam, Language: "en-GB", Voice: "Polly.Amy"}}
	if diff := cmp.Diff(want, list); diff != "" {
		t.Errorf("a Pi is told (-want +got):\n%s", diff)
	}
}

// TestC1_EveryWorseningHasWords: each way in which an incident gets worse is one that texts know, and
// none is told by the sentence that the timeline has.
func TestC1_EveryWorseningHasWords(t *testing.T) {
	b := &Brain{state: sentinel.New(sentinel.Config{Sites: []sentinel.SiteConfig{{Name: "home"}}})}
	b.set.Store(&settings{numbers: map[string]string{"Sam": sam}})
	known := map[string]bool{}
	for _, kind := range notify.Kinds() {
		for _, s := range notify.Samples(kind, "Alex", "home") {
			if s.Story.Worse != nil {
				known[s.Story.Worse.Kind] = true
			}
		}
	}
	for what, kind := range worsenings() {
		i := &sentinel.Incident{Site: "home", Kind: sentinel.PowerOutage, Worsened: true, Alarm: "a sentence of the timeline", Known: "Sam", Worst: sentinel.Worsening{What: what}}
		got, again := b.alarmed(i, "Alex")
		if got == nil || again || got.Kind != kind || !known[kind] || got.Known != "Sam" {
			t.Errorf("%s is told as %+v, %v", what, got, again)
		}
		if got, _ = b.alarmed(i, "Sam"); got.Known != "" {
			t.Errorf("Sam is told of what Sam knew: %+v", got)
		}
	}
	for kind, want := range map[sentinel.IncidentKind]string{sentinel.PowerOutage: "another_ups", sentinel.NodeFailure: "lost_power"} {
		got, _ := b.alarmed(&sentinel.Incident{Site: "home", Kind: kind, Worsened: true, Known: "the operator", Worst: sentinel.Worsening{What: "ups ups2", UPSes: []string{"ups2"}, Broken: true}}, "Alex")
		if got.Kind != want || !known[want] || strings.Join(got.UPSes, " ") != "ups2" || !got.Broken || got.Known != "" {
			t.Errorf("%s: %+v", kind, got)
		}
	}
}

// TestC1_OwnTexts are what a call says; one that fails for what nobody has tried gives way to the
// shipped one, and the call is made.
func TestC1_OwnTexts(t *testing.T) {
	var path string
	in(t, func(h *home) {
		path = filepath.Join(h.TempDir(), "texts.tmpl")
		text := `{{define "node_failure"}}{{if eq .Off 2}}{{index .Nodes 9}}{{end}}{{.Contact}}, {{names .Nodes}}: down.{{end}}`
		if err := os.WriteFile(path, []byte(strings.Replace(text, "Off 2", "Others 2", 1)), 0o600); err != nil {
			h.Fatal(err)
		}
		h.cfg.Calls.Texts = path
		if _, err := h.cfg.texts(); err == nil || !strings.HasPrefix(err.Error(), path+":1:") {
			h.Fatalf("a text that fails for a sample: %v", err)
		}
		// No sample has 77 that are fine.
		if err := os.WriteFile(path, []byte(strings.Replace(text, "Off 2", "Off 77", 1)), 0o600); err != nil {
			h.Fatal(err)
		}
	}, func(h *home) {
		h.slowly()
		h.nodes["pve2"].kill()
		rest(30 * time.Second)
		if got := h.calls(1)[0].Text; !strings.HasPrefix(got, "Alex, P V E 2: down.") {
			h.Errorf("said %q", got)
		}
		texts, err := h.cfg.texts()
		if err != nil {
			h.Fatal(err)
		}
		var log strings.Builder
		b := &Brain{state: sentinel.New(sentinel.Config{}), log: slog.New(slog.NewTextHandler(&log, nil)), clock: h.brain.clock}
		b.set.Store(&settings{cfg: h.cfg, texts: texts})
		many := &sentinel.Incident{Kind: sentinel.NodeFailure, Nodes: []string{strings.Repeat("x", 4000)}}
		said, err := b.say(many, "Alex", h.cfg.tongueOf("Alex"))
		if err != nil || !strings.HasPrefix(said, "Hello Alex. This is your home sentinel. X X") || !strings.Contains(log.String(), "your own text of a call fails") {
			h.Errorf("one that Twilio would not take: %v, %.60q, log %q", err, said, log.String())
		}
	})
}

// TestR5_WrongTextsOfCalls: the brain does not start on them, and check-config names file and line.
func TestR5_WrongTextsOfCalls(t *testing.T) {
	dir := t.TempDir()
	texts, config := filepath.Join(dir, "texts.tmpl"), filepath.Join(dir, "cloud.yaml")
	for path, text := range map[string]string{texts: "{{define \"power_outage\"}}\n{{.Battery}}{{end}}",
		config: "sites: [{name: home}]\ncalls:\n  texts: " + texts + "\nlisten: 127.0.0.1:0\nstate_dir: " + dir + "\ncontrol_socket: " + dir + "/s\n"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want := "calls.texts: " + texts + `:2:2: executing "power_outage" at <.Battery>: can't evaluate field Battery in type notify.Story; seen with "the plan begins"`
	if _, err := CheckConfig(config, func() ([]string, bool) { return nil, false }); err == nil || err.Error() != config+":3:3: "+want {
		t.Errorf("check-config says %v\nnot %s", err, want)
	}
	cfg, err := LoadConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := New(t.Context(), cfg, slog.New(slog.DiscardHandler), nil); err == nil || !strings.HasSuffix(err.Error(), want) {
		t.Errorf("the brain says %v", err)
	}
}
