package speech

import (
	"strings"
	"testing"
	"time"
)

func TestC1_Names(t *testing.T) {
	for name, want := range map[string][3]string{
		"pve2":              {"P V E 2", "P V E 2", "P V E 二"},
		"nas":               {"nas", "nas", "nas"},
		"nuc-13.lan":        {"nuc 13 lan", "nuc 13 lan", "nuc 十三 lan"},
		"r2d2":              {"R 2 D 2", "R 2 D 2", "R 二 D 二"},
		"10g":               {"10 G", "10 G", "十 G"},
		"node007":           {"node 0 0 7", "node 0 0 7", "node 零 零 七"},
		"vm1234":            {"V M 1 2 3 4", "V M 1 2 3 4", "V M 一 二 三 四"},
		"proxmox":           {"proxmox", "proxmox", "proxmox"},
		"pfsense":           {"pfsense", "pfsense", "pfsense"},
		"usg_berlin-2":      {"U S G berlin 2", "U S G berlin 2", "U S G berlin 二"},
		"Küche":             {"Küche", "Küche", "Küche"},
		"客厅":                {"客厅", "客厅", "客厅"},
		"":                  {"", "", ""},
		"x":                 {"X", "X", "X"},
		"mail.example.com.": {"mail example com", "mail example com", "mail example com"},
	} {
		for i, l := range Languages() {
			if got := l.Name(name); got != want[i] {
				t.Errorf("%s: %s is said as %q, not %q", l, name, got, want[i])
			}
		}
	}
}

func TestC1_WordsAndAbbreviations(t *testing.T) {
	for _, w := range strings.Fields("nas node web mail host desk rack lan nuc pi ceph arm plex unifi truenas docker home storage ilo dell schrank truhe") {
		if !Word(w) {
			t.Errorf("%s is spelled", w)
		}
	}
	for _, w := range strings.Fields("pve pbs vm lxc pc tv db dns vpn ups usb api ip cpu gpu amd opn esxi udm rpi x q") {
		if Word(w) {
			t.Errorf("%s is read as a word", w)
		}
	}
}

func TestC1_ListsOfNames(t *testing.T) {
	for _, tt := range []struct {
		l     Language
		names string
		want  string
	}{
		{English, "", "something"}, {German, "", "etwas"}, {Chinese, "", "某台设备"},
		{English, "nas", "nas"}, {English, "nas web", "nas and web"}, {German, "nas web mail", "nas, web und mail"}, {Chinese, "nas web mail", "nas、web和mail"},
		{English, "a1 a2 a3 a4 a5", "A 1, A 2, A 3, A 4 and A 5"}, {English, "a1 a2 a3 a4 a5 a6", "A 1, A 2, A 3, A 4 and two others"},
		{German, "a1 a2 a3 a4 a5 a6", "A 1, A 2, A 3, A 4 und zwei weitere"}, {Chinese, "nas web mail desk host rack", "nas、web、mail、desk和另外两台"},
	} {
		if got := tt.l.Names(strings.Fields(tt.names)); got != tt.want {
			t.Errorf("%s: %s is said as %q, not %q", tt.l, tt.names, got, tt.want)
		}
	}
	for names, want := range map[string]string{"ups": "", "ups1": "1", "UPS-rack": "rack", "ups1 ups2": "1 and 2", "ups ups2": "U P S and U P S 2", "apc1 ups2": "A P C 1 and U P S 2", "apc1": "A P C 1"} {
		if got := English.UPSes(strings.Fields(names)); got != want {
			t.Errorf("the UPSes %s are said as %q, not %q", names, got, want)
		}
	}
}

func TestC1_Numbers(t *testing.T) {
	for n, want := range map[int]string{0: "零", 2: "二", 10: "十", 11: "十一", 20: "二十", 22: "二十二", 96: "九十六", 100: "一百", 101: "一百零一", 110: "一百一十",
		119: "一百一十九", 120: "一百二十", 1000: "一千", 1005: "一千零五", 1050: "一千零五十", 1500: "一千五百", 10000: "一万", 10010: "一万零一十", 12000: "一万二千", -3: "负三"} {
		if got := Han(n); got != want {
			t.Errorf("%d is written %s, not %s", n, got, want)
		}
	}
	for n, want := range map[int][3]string{
		0: {"no servers", "keine Server", "零台服务器"}, 1: {"one server", "ein Server", "一台服务器"}, 2: {"two servers", "zwei Server", "两台服务器"},
		12: {"twelve servers", "zwölf Server", "十二台服务器"}, 13: {"13 servers", "13 Server", "十三台服务器"}, 102: {"102 servers", "102 Server", "一百零二台服务器"},
	} {
		if got := [3]string{English.Count(n, "one server", "servers"), German.Count(n, "ein Server", "Server"), Chinese.Count(n, "", "台服务器")}; got != want {
			t.Errorf("%d is said as %q, not %q", n, got, want)
		}
	}
	for r, want := range map[float64][3]string{0: {"0 percent", "0 Prozent", "百分之零"}, 0.295: {"30 percent", "30 Prozent", "百分之三十"}, 1: {"100 percent", "100 Prozent", "百分之一百"}} {
		if got := [3]string{English.Percent(r), German.Percent(r), Chinese.Percent(r)}; got != want {
			t.Errorf("%v is said as %q, not %q", r, got, want)
		}
	}
}

func TestC1_Times(t *testing.T) {
	for clock, want := range map[string][3]string{
		"19:02": {"19 02", "19 Uhr 2", "十九点零二分"}, "00:00": {"00 00", "0 Uhr", "零点整"}, "07:30": {"07 30", "7 Uhr 30", "七点三十分"}, "20:00": {"20 00", "20 Uhr", "二十点整"},
	} {
		at, err := time.Parse("15:04", clock)
		if err != nil {
			t.Fatal(err)
		}
		if got := [3]string{English.Clock(at), German.Clock(at), Chinese.Clock(at)}; got != want {
			t.Errorf("%s is said as %q, not %q", clock, got, want)
		}
	}
	for d, want := range map[time.Duration][6]string{
		0:                             {"just now", "less than a minute", "gerade eben", "weniger als eine Minute", "刚才", "不到一分钟"},
		time.Second:                   {"one second ago", "less than a minute", "vor einer Sekunde", "weniger als eine Minute", "一秒前", "不到一分钟"},
		59 * time.Second:              {"59 seconds ago", "less than a minute", "vor 59 Sekunden", "weniger als eine Minute", "五十九秒前", "不到一分钟"},
		time.Minute:                   {"one minute ago", "about one minute", "vor einer Minute", "etwa eine Minute", "一分钟前", "大约一分钟"},
		89 * time.Second:              {"one minute ago", "about one minute", "vor einer Minute", "etwa eine Minute", "一分钟前", "大约一分钟"},
		12 * time.Minute:              {"twelve minutes ago", "about twelve minutes", "vor zwölf Minuten", "etwa zwölf Minuten", "十二分钟前", "大约十二分钟"},
		119 * time.Minute:             {"119 minutes ago", "about 119 minutes", "vor 119 Minuten", "etwa 119 Minuten", "一百一十九分钟前", "大约一百一十九分钟"},
		2 * time.Hour:                 {"two hours ago", "about two hours", "vor zwei Stunden", "etwa zwei Stunden", "两小时前", "大约两小时"},
		24*time.Hour + 59*time.Minute: {"24 hours ago", "about 24 hours", "vor 24 Stunden", "etwa 24 Stunden", "二十四小时前", "大约二十四小时"},
	} {
		got := [6]string{English.Ago(d), English.Lasts(d), German.Ago(d), German.Lasts(d), Chinese.Ago(d), Chinese.Lasts(d)}
		if got != want {
			t.Errorf("%s is said as %q, not %q", d, got, want)
		}
	}
}

func TestC1_LanguagesByCode(t *testing.T) {
	for code, want := range map[string]Language{"en-US": English, "en": English, "en-GB": English, "DE-at": German, "zh": Chinese, "zh-CN": Chinese, "cmn-CN": Chinese, "zh-TW": Chinese,
		"zh-HK": "", "yue-CN": "", "fr-FR": "", "": "", "english": "", "deu": ""} {
		if got, ok := Of(code); got != want || ok != (want != "") {
			t.Errorf("%q is %q, %v", code, got, ok)
		}
	}
	for _, l := range Languages() {
		if back, ok := Of(l.Code()); back != l || !ok || Voice(l.Code()) == "" || Voice(string(l)) != Voice(l.Code()) || l.Espeak() == "" {
			t.Errorf("%s as %s is %s, with the voice %q", l, l.Code(), back, Voice(l.Code()))
		}
	}
	if Voice("fr-FR") != "" || Known("de-AT") != "de-AT" || Known("de") != "de-DE" {
		t.Error("a voice or code was made up")
	}
}

func TestC1_CleanAndSeconds(t *testing.T) {
	for _, tt := range []struct {
		l          Language
		text, want string
		seconds    float64
	}{
		{English, " a \n\t b. ", "a b.", 0.8},
		{Chinese, "停电 了。\n站点 home big 的 P V E 二", "停电了。站点home big的P V E二", 3.5},
		{Chinese, "", "", 0}, {German, "eins zwei drei", "eins zwei drei", 1.2},
	} {
		if got := tt.l.Clean(tt.text); got != tt.want {
			t.Errorf("%q is cleaned to %q", tt.text, got)
		}
		if got := tt.l.Seconds(tt.want); got < tt.seconds-0.01 || got > tt.seconds+0.01 {
			t.Errorf("%q takes %v s, not %v", tt.want, got, tt.seconds)
		}
	}
}
