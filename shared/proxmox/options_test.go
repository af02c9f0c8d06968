package proxmox

import (
	"fmt"
	"strings"
	"testing"
)

func TestNew_Validates(t *testing.T) {
	good := Options{Node: "pve1", API: "https://192.0.2.1:8006", TokenID: testToken, Secret: testSecret,
		Fingerprint: strings.TrimSuffix(strings.Repeat("5c:", 32), ":")}
	clientFor(t, good)
	for name, change := range map[string]func(*Options){
		"no node":           func(o *Options) { o.Node = "" },
		"node is a path":    func(o *Options) { o.Node = "../pve1" },
		"http":              func(o *Options) { o.API = "http://192.0.2.1:8006" },
		"no scheme":         func(o *Options) { o.API = "192.0.2.1:8006" },
		"no host":           func(o *Options) { o.API = "https://:8006" },
		"path":              func(o *Options) { o.API += "/api2/json" },
		"query":             func(o *Options) { o.API += "?a=b" },
		"credentials":       func(o *Options) { o.API = "https://root:" + testSecret + "@192.0.2.1:8006" },
		"malformed":         func(o *Options) { o.API = "https://" + testSecret + "\x00" },
		"short fingerprint": func(o *Options) { o.Fingerprint = "5C:1E" },
		"sha1 fingerprint":  func(o *Options) { o.Fingerprint = strings.Repeat("5c", 20) },
		"odd colons":        func(o *Options) { o.Fingerprint = strings.Repeat("5c5c:", 15) + "5c5c" },
		"no hex":            func(o *Options) { o.Fingerprint = strings.Repeat("zz", 32) },
		"token with secret": func(o *Options) { o.TokenID = testToken + "=" + testSecret },
		"user only":         func(o *Options) { o.TokenID = "sentinel@pve" },
		"no secret":         func(o *Options) { o.Secret = "" },
		"line end":          func(o *Options) { o.Secret = testSecret + "\n" },
		"negative timeout":  func(o *Options) { o.Timeout = -1 },
	} {
		o := good
		change(&o)
		_, err := New(o)
		if err == nil {
			t.Errorf("%s: taken", name)
		} else if strings.Contains(err.Error(), testSecret) {
			t.Errorf("%s: the secret shows: %v", name, err)
		}
	}
}

func TestR4_TheSecretIsNeverShown(t *testing.T) {
	o := Options{Node: "pve1", API: "https://192.0.2.1:8006", TokenID: testToken, Secret: testSecret}
	c := clientFor(t, o)
	hidden := struct{ c *Client }{c}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%d", "%x"} {
		for _, v := range []any{o, &o, c, *c, hidden, []any{o, c}} {
			if text := fmt.Sprintf(verb, v); strings.Contains(text, testSecret) ||
				strings.Contains(text, fmt.Sprintf("%x", testSecret)) {
				t.Errorf("%s of %T: %s", verb, v, text)
			}
		}
	}
}
