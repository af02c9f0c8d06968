package hook

import (
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sentinel.home.arpa/shared/config"
	"sentinel.home.arpa/shared/wire"
)

// TestR5_ReferenceEqualsTheDefaults and names every key.
func TestR5_ReferenceEqualsTheDefaults(t *testing.T) {
	text, err := os.ReadFile("reference.yaml")
	if err != nil {
		t.Fatal(err)
	}
	c := Config{Logind: false}
	f, err := config.Parse("reference.yaml", text, &c)
	if err != nil {
		t.Fatal(err)
	}
	want := Defaults()
	want.Brains, want.PiProxies = []Brain{}, []Pi{}
	if diff := cmp.Diff(want, c, cmp.AllowUnexported(config.Secret{})); diff != "" {
		t.Error(diff)
	}
	for _, path := range keys(reflect.TypeFor[Config](), "") {
		line := strings.Split(string(text), "\n")[f.Errorf(path, "").Line-1] // where an error about it points to
		if !strings.Contains(line, path[strings.LastIndexByte(path, '.')+1:]+":") && !strings.HasPrefix(path, "tailnet.") {
			t.Errorf("%s is missing", path)
		}
	}
	for _, s := range []reflect.Type{reflect.TypeFor[Brain](), reflect.TypeFor[Pi](), reflect.TypeFor[Tailnet]()} {
		for _, key := range keys(s, "") {
			if !regexp.MustCompile(`(?m)^# +(- )?` + key + `: `).Match(text) {
				t.Errorf("%s of %s is not shown", key, s)
			}
		}
	}
}

func keys(t reflect.Type, prefix string) []string {
	var all []string
	for i := range t.NumField() {
		path := prefix + t.Field(i).Tag.Get("yaml")
		all = append(all, path)
		if k := t.Field(i).Type; k.Kind() == reflect.Struct && k != reflect.TypeFor[config.Secret]() {
			all = append(all, keys(t.Field(i).Type, path+".")...)
		}
	}
	return all
}

func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "node.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func publicKey(t *testing.T) string {
	t.Helper()
	k, err := wire.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	return string(k.PublicKey())
}

func TestLoad(t *testing.T) {
	key := publicKey(t)
	c, err := Build{}.Load(write(t, `
name: pve1
site: home
state_dir: /tmp/x
boot_id_file: /tmp/boot-id
brains: [{address: "127.0.0.1:8080", key: "`+key+`"}]
pi_proxies:
  - {name: pi, address: 192.168.77.2:7777, key: "`+key+`"}
  - {address: "[fd00::2]:7777", key: "`+key+`"}
tailscaled_socket: /tmp/ts
logind: off
obey_orders: off
log: {level: debug, format: json}
interval: 250ms
`))
	if err != nil {
		t.Fatal(err)
	}
	k := wire.PublicKey(key)
	want := Config{
		Name: "pve1", Site: "home", StateDir: "/tmp/x", BootIDFile: "/tmp/boot-id",
		Brains:    []Brain{{"127.0.0.1:8080", k}},
		PiProxies: []Pi{{"pi", "192.168.77.2:7777", k}, {"", "[fd00::2]:7777", k}},
		Tailnet:   Tailnet{Hostname: "pve1"}, ControlSocket: "/run/sentinel-node/control.sock",
		TailscaledSocket: "/tmp/ts", Log: Log{"debug", "json"}, Interval: config.Duration(250 * time.Millisecond),
	}
	if diff := cmp.Diff(want, c, cmp.AllowUnexported(config.Secret{})); diff != "" {
		t.Error(diff)
	}
}

func TestMissingFile(t *testing.T) {
	if _, err := (Build{}).Load(filepath.Join(t.TempDir(), "node.yaml")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a named file that is missing: %v", err)
	}
	if _, err := os.Stat(DefaultPath); err == nil {
		t.Skip("this machine has a ", DefaultPath)
	}
	c, err := (Build{}).Load(DefaultPath)
	if err != nil {
		t.Fatal(err)
	}
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	if short, _, _ := strings.Cut(strings.ToLower(host), "."); c.Name != short {
		t.Errorf("name %q", c.Name)
	}
}

// TestR5_WrongValues are refused with their place and what to write instead.
func TestR5_WrongValues(t *testing.T) {
	key := publicKey(t)
	for name, c := range map[string]struct{ text, want string }{
		"name":      {"name: PVE_1", ":1:1: name: \"PVE_1\" is no name"},
		"site":      {"name: a\nsite: My Home", ":2:1: site: \"My Home\" is no name"},
		"fast":      {"interval: 100ms", ":1:1: interval: 100ms is too short; at least 200ms"},
		"slow":      {"interval: 11s", ":1:1: interval: 11s is too long; at most 10s"},
		"switch":    {"logind: yes", `:1:1: logind: "yes" is neither on nor off`},
		"orders":    {"obey_orders: true", `:1:1: obey_orders: "true" is neither on nor off`},
		"level":     {"log: {level: loud}", `log.level: "loud" is no level; use debug, info, warn or error`},
		"format":    {"log: {format: xml}", `log.format: "xml" is no format; use text or json`},
		"relative":  {"state_dir: state", `:1:1: state_dir: "state" must be an absolute path`},
		"unknown":   {"brain: []", "unknown key `brain`; did you mean `brains`?"},
		"no key":    {"brains: [{address: 'x:80'}]", "brains[0].key: must be the receiver's public key"},
		"bad key":   {"pi_proxies:\n  - address: x:80\n    key: ed25519:x", ":3:5: pi_proxies[0].key: must be the receiver's public key"},
		"no port":   {"pi_proxies: [{address: pi, key: '" + key + "'}]", "pi_proxies[0].address: must be host:port"},
		"url":       {"brains: [{address: 'http://x:80', key: '" + key + "'}]", "brains[0].address: must be host:port"},
		"pi's name": {"pi_proxies: [{name: 'A B', address: 'x:80', key: '" + key + "'}]", `pi_proxies[0].name: "A B" is no name`},
		"twice":     {"brains: [{address: 'x:80', key: '" + key + "'}]\npi_proxies: [{address: 'x:80', key: '" + key + "'}]", "pi_proxies[0].address: x:80 stands here twice"},
		"too many":  {"brains:" + strings.Repeat("\n  - {address: 'x:80', key: '"+key+"'}", 5), "brains: 5 are too many; at most 4"},
	} {
		_, err := Build{}.Load(write(t, c.text+"\n"))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v\nwant %s", name, err, c.want)
		}
	}
	_, err := Build{}.Load(write(t, "interval: 100ms\nbrain: []\n"))
	if err == nil || !strings.Contains(err.Error(), "too short") || !strings.Contains(err.Error(), "unknown key") {
		t.Errorf("not told in one go: %v", err)
	}
}

// TestR5_TailnetOfItsOwn: a build without one says which has it, and does not go on
// without a word.
func TestR5_TailnetOfItsOwn(t *testing.T) {
	own := Build{Join: func(Config, *slog.Logger) Network { return nil }}
	brain := "name: a\nbrains: [{address: 'x:80', key: '" + publicKey(t) + "'}]\n"
	for name, c := range map[string]struct {
		build      Build
		text, want string
	}{
		"none":             {Build{}, "tailnet: {}", ""},
		"none, configured": {Build{}, "name: a\ntailnet:\n  hostname: a", ":2:1: tailnet: this build has no tailnet of its own and uses the host's; remove tailnet:, or install sentinel-node-tsnet"},
		"own":              {own, "name: pve1\ntailnet: {hostname: pve1, auth_key_file: key, control_url: 'http://127.0.0.1:1'}", ""},
		"own, by itself":   {own, "name: pve1", ""},
		"and brains":       {own, brain + "tailnet: {hostname: a}", "tailnet: brains: are reached by the host's network, so the agent joins no tailnet; remove one of the two"},
		"brains":           {own, brain, ""},
		"hostname":         {own, "name: a\ntailnet: {hostname: A B}", "tailnet.hostname: \"A B\" is no name"},
		"path of the key":  {own, "tailnet: {auth_key_file: a/b}", "must be the bare name of a systemd credential, or an absolute path"},
		"control":          {own, "tailnet: {control_url: tailnet.example}", "tailnet.control_url: \"tailnet.example\" is no address; write https://<host>"},
		"unknown":          {own, "tailnet: {tag: x}", "unknown key `tag`"},
		"socket":           {own, "control_socket: x", "control_socket: \"x\" must be an absolute path"},
	} {
		_, err := c.build.Load(write(t, c.text+"\n"))
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v\nwant %s", name, err, c.want)
		}
	}
}
