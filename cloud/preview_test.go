package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const called = `sites: [{name: home}]
contacts: [{name: Alex, phone: "+14155550100"}, {name: Sam, phone: "+14155550101", language: zh-CN}]
twilio: {account_sid: AC00000000000000000000000000000001, api_key_sid: SK00000000000000000000000000000002, api_key_secret_file: none, from: "+14155550199", language: en-GB}
`

// TestC1_Preview needs neither a brain nor a secret, only the file.
func TestC1_Preview(t *testing.T) {
	path, nobody := written(t, called), written(t, "sites: [{name: cabin}]\n")
	keyed := written(t, strings.Replace(called, "twilio: {", "calls: {keypad: {listen: 127.0.0.1:8443, address: https://sentinel.example.org}}\ntwilio: {auth_token_file: none, ", 1))
	for _, tt := range []struct {
		name      string
		args      []string
		code      int
		out, errs string // parts of it
	}{
		{"all", nil, 0, "To Alex in en-GB, by Polly.Amy. Each text is said twice.\n\n# node failure 1: one of four (", ""},
		{"all, to the last", nil, 0, "\nHello Alex. This is your home sentinel. This is a reminder. Tailscale has been out of reach since 19 02, so I hear nothing from home. The houses may be fine.\n", ""},
		{"a kind", []string{"--kind", "power"}, 0, "by Polly.Amy. Each text is said twice.\n\n# power outage 1: the plan begins (15 s)\nHello Alex. This is your home sentinel. The power at home has been out", ""},
		{"a contact's language", []string{"--kind", "unwatched", "--contact", "Sam"}, 0, "To Sam in zh-CN, by Polly.Zhiyu. Each text is said twice.\n\n# power unwatched 1: the plan is armed (18 s)\nSam，您好。", ""},
		{"another language", []string{"--kind", "internet", "--language", "de", "--variant", "2"}, 0, "To Alex in de-DE, by Polly.Vicki. Each text is said twice.\n\n# internet outage 2: nothing known of the power (9 s)\nHallo Alex. Hier ist dein Sentinel. Am Standort home erreiche ich seit 19 Uhr 2 nichts mehr. Wahrscheinlich ist dort das Internet ausgefallen.\n", ""},
		{"keys, in a contact's language", []string{"--config", keyed, "--kind", "tailnet", "--variant", "1", "--language", "de"}, 0, "Each text is said twice.\nAfter each comes what the keys do; 2 only where a shutdown can be stopped: Drücke 1", ""},
		{"no such kind", []string{"--kind", "water"}, 2, "", `--kind must be one of "power","internet","node","unwatched","tailnet"`},
		{"no such language", []string{"--language", "fr"}, 2, "", `there is no such call: there are no texts in "fr"; write en, de or zh`},
		{"no such contact", []string{"--contact", "Kim"}, 2, "", `there is no such call: "Kim" stands under no contacts: of ` + path},
		{"no such variant", []string{"--kind", "tailnet", "--variant", "9"}, 2, "", "there is no such call: tailnet has no variant 9"},
		{"a wrong file", []string{"--config", written(t, "sites: []\n")}, 1, "", ":1:1: sites: there must be one at least"},
		{"nobody to call", []string{"--config", nobody, "--kind", "power"}, 0, "To Alex in en-US, by Polly.Joanna. Each text is said twice.\n\n# power outage 1: the plan begins (15 s)\nHello Alex. This is your home sentinel. The power at cabin ", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			code, out, errs := does(t, append([]string{"calls", "preview", "--config", path}, tt.args...)...)
			if code != tt.code || !strings.Contains(out, tt.out) || !strings.Contains(errs, tt.errs) || tt.code == 0 && errs != "" {
				t.Errorf("exit %d\nstdout %q\nstderr %q", code, out, errs)
			}
		})
	}
}

// TestC1_PreviewAloud by a program in the place of espeak-ng, which writes what it is told to say.
func TestC1_PreviewAloud(t *testing.T) {
	dir, path := t.TempDir(), written(t, called)
	t.Setenv("PATH", dir)
	sound := filepath.Join(dir, "out.wav")
	args := []string{"calls", "preview", "--config", path, "--kind", "power", "--contact", "Sam", "--variant", "3", "--speak", sound}
	code, out, errs := does(t, args...)
	if code != 1 || !strings.Contains(out, "# power outage 3: ") || errs != "espeak-ng is not installed here, which --speak needs; install it (apt install espeak-ng), or leave --speak out\n" {
		t.Errorf("without it: exit %d %q %q", code, out, errs)
	}
	speaker := filepath.Join(dir, "espeak-ng")
	if err := os.WriteFile(speaker, []byte("#!/bin/sh\nprintf '%s|' \"$@\" > \"$6\"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	code, out, errs = does(t, args...)
	said, err := os.ReadFile(sound)
	text := "Sam，您好。这里是您的家庭哨兵。站点home从十九点零二分起停电。电池还有百分之九十六，还能撑大约三十一分钟。我正在关闭两台虚拟机，然后关闭两台服务器。"
	if want := "-v|cmn|-s|150|-w|" + sound + "|--|" + text + "\n\n" + text + "|"; code != 0 || err != nil || string(said) != want || errs != "" || !strings.Contains(out, "in "+sound+", by espeak-ng") {
		t.Errorf("exit %d %q %q %v\nspoke %q\nnot   %q", code, out, errs, err, said, want)
	}
	if err := os.WriteFile(speaker, []byte("#!/bin/sh\necho no sound >&2\nexit 3\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if code, _, errs = does(t, args...); code != 1 || errs != "speak by espeak-ng: exit status 3: no sound\n" {
		t.Errorf("when it fails: exit %d %q", code, errs)
	}
}
