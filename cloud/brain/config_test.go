package brain

import (
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sentinel.home.arpa/shared/config"
	"sentinel.home.arpa/shared/power"
	"sentinel.home.arpa/shared/shutdown"
)

const (
	somePin = "5C:1E:00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD"
	someKey = "ed25519:AQgPFh0kKzI5QEdOVVxjanF4f4aNlJuiqbC3vsXM09o="
)

// smallest is the configuration that is enough for most.
const smallest = `sites:
  - name: home
    pi_proxies: [pi]
contacts:
  - name: Alex
    phone: "+14155550100"
twilio:
  account_sid: AC00000000000000000000000000000001
  api_key_sid: SK00000000000000000000000000000002
  api_key_secret_file: twilio-secret
  from: "+14155550199"
proxmox:
  token_id: sentinel@pve!shutdown
  token_secret_file: proxmox-secret
plan:
  - guests: all
    deadline: 3m
  - nodes:
      pve2: {api: "https://192.168.77.12:8006", fingerprint: "` + somePin + `", mac: "52:54:00:00:00:12"}
      pve3: {api: "https://192.168.77.13:8006", fingerprint: "` + somePin + `", mac: "52:54:00:00:00:13"}
  - nodes:
      pve1: {api: "https://192.168.77.11:8006", fingerprint: "` + somePin + `", mac: "52:54:00:00:00:11"}
`

// load reads a configuration; errors name the file cloud.yaml.
func load(t *testing.T, text string) (Config, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "cloud.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := LoadConfig(path)
	if err == nil {
		return c, ""
	}
	return c, strings.ReplaceAll(err.Error(), filepath.Dir(path)+"/", "")
}

func TestConfig_Smallest(t *testing.T) {
	c, wrong := load(t, smallest)
	if wrong != "" {
		t.Fatal(wrong)
	}
	want := &shutdown.Plan{Site: "home",
		Nodes: []shutdown.Node{
			{Name: "pve2", API: "https://192.168.77.12:8006", Fingerprint: somePin, MAC: "52:54:00:00:00:12"},
			{Name: "pve3", API: "https://192.168.77.13:8006", Fingerprint: somePin, MAC: "52:54:00:00:00:13"},
			{Name: "pve1", API: "https://192.168.77.11:8006", Fingerprint: somePin, MAC: "52:54:00:00:00:11"}},
		Stages: []shutdown.Stage{{AllGuests: true, Deadline: 3 * time.Minute},
			{Nodes: []string{"pve2", "pve3"}, Deadline: 2 * time.Minute}, {Nodes: []string{"pve1"}, Deadline: 2 * time.Minute}}}
	if diff := cmp.Diff(want, c.shutdownPlan()); diff != "" {
		t.Errorf("plan (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(power.DefaultPolicy(), c.policy()); diff != "" {
		t.Errorf("policy (-want +got):\n%s", diff)
	}
	if c.LogLevel() != slog.LevelInfo {
		t.Errorf("level %s", c.LogLevel())
	}
	core := coreConfig(&c)
	if core.Sites[0].Plan == nil || core.Threshold != 1 || core.Times.Silence != 20*time.Second || core.Brain != "brain" ||
		!cmp.Equal(core.Contacts, []string{"Alex"}) || !cmp.Equal(core.Sites[0].Pis, []string{"pi"}) {
		t.Errorf("core %+v", core)
	}
}

func TestConfig_SiteAlone(t *testing.T) {
	if _, wrong := load(t, "sites: [{name: home}]\n"); wrong != "" {
		t.Error(wrong)
	}
}

// TestR5_WrongConfigurations are refused with the line and what to write instead.
func TestR5_WrongConfigurations(t *testing.T) {
	for _, tt := range []struct{ name, from, to, want string }{
		{"an unknown key", "contacts:", "contact:", "cloud.yaml:4:1: unknown key `contact`; did you mean `contacts`?"},
		{"a wrong type", "pi_proxies: [pi]", "pi_proxies: pi", "cloud.yaml:3:5: sites[0].pi_proxies: must be a list, not text"},
		{"a Pi that is a number", "pi_proxies: [pi]", "pi_proxies: [7]", "cloud.yaml:3:18: sites[0].pi_proxies[0]: must be a map of keys and values, not a number"},
		{"no sites", "sites:\n  - name: home\n    pi_proxies: [pi]\n", "", "cloud.yaml:1:1: sites: there must be one at least; write - name: home"},
		{"a site without a name", "  - name: home\n    pi_proxies", "  - pi_proxies", `cloud.yaml:2:5: sites[0].name: "" is no name: use small letters, digits and dashes`},
		{"a site's name", "name: home", "name: Zuhause!", `cloud.yaml:2:5: sites[0].name: "Zuhause!" is no name: use small letters, digits and dashes`},
		{"the brain's name", "sites:", "name: The Brain\nsites:", `cloud.yaml:1:1: name: "The Brain" is no name: use small letters, digits and dashes`},
		{"a name twice", "[pi]", "[pi, pi]", `cloud.yaml:3:22: sites[0].pi_proxies[1]: "pi" stands here for the second time`},
		{"a node with a Pi's name", "[pi]", "[pi]\n    nodes: [pi]", `cloud.yaml:4:13: sites[0].nodes[0]: "pi" stands here for the second time`},
		{"a site twice", "[pi]", "[pi]\n  - name: home", `cloud.yaml:4:5: sites[1].name: "home" stands here for the second time` + "\n" + `cloud.yaml:16:1: plan: one plan for 2 sites is ambiguous`},
		{"a time zone", "[pi]", "[pi]\n    time_zone: Berlin", `cloud.yaml:4:5: sites[0].time_zone: "Berlin" is no time zone; write one such as Europe/Berlin`},
		{"a key", "[pi]", "[{name: pi, key: abc}]", `cloud.yaml:3:29: sites[0].pi_proxies[0].key: a public key starts with "ed25519:"`},
		{"half a key", "[pi]", "[{name: pi, key: \"ed25519:AAAA\"}]", `cloud.yaml:3:29: sites[0].pi_proxies[0].key: a public key is "ed25519:" and 32 bytes in base64`},
		{"a Pi's address", "[pi]", "[{name: pi, address: 192.168.77.2}]", `cloud.yaml:3:29: sites[0].pi_proxies[0].address: "192.168.77.2" is no address and port; write it such as 192.168.77.2:7777`},
		{"a Pi's relay", "[pi]", "[{name: pi, relay: \":7777\"}]", `cloud.yaml:3:29: sites[0].pi_proxies[0].relay: ":7777" is no address and port; write it such as 192.168.77.2:7777`},
		{"an open address", "sites:", "listen: 0.0.0.0:8080\nsites:", `cloud.yaml:1:1: listen: "0.0.0.0:8080" is not on loopback; write 127.0.0.1:<port>, or leave it out and use the tailnet` + "\n" +
			`cloud.yaml:4:18: sites[0].pi_proxies[0]: pi has no key, and without a tailnet nothing else says who it is; add key: "ed25519:..."` + "\n" +
			`cloud.yaml:4:18: sites[0].pi_proxies[0]: pi has no address, and the way to Proxmox leads through it; add relay: "<host>:7777", or set proxmox.via: direct`},
		{"an address without a host", "sites:\n  - name: home\n    pi_proxies: [pi]", "listen: :8080\nsites:\n  - name: home", `cloud.yaml:1:1: listen: ":8080" is not on loopback; write 127.0.0.1:<port>, or leave it out and use the tailnet`},
		{"no tailnet and no key", "[pi]", "[{name: pi, relay: \"pi:7777\"}]\n    nodes: [pve1]\nlisten: 127.0.0.1:8080", `cloud.yaml:3:19: sites[0].pi_proxies[0]: pi has no key, and without a tailnet nothing else says who it is; add key: "ed25519:..."` + "\n" +
			`cloud.yaml:4:13: sites[0].nodes[0]: pve1 has no key, and without a tailnet nothing else says who it is; add key: "ed25519:..."`},
		{"a phone number", `"+14155550100"`, `"0912345678"`, `cloud.yaml:6:5: contacts[0].phone: "0912345678" is no international number; write it as +<country><number>, e.g. +886912345678`},
		{"a phone number without quotes", `"+14155550100"`, `+14155550100`, `cloud.yaml:6:5: contacts[0].phone: must be text; write it in quotes: "+14155550100"`},
		{"no phone", "    phone: \"+14155550100\"\n", "", `cloud.yaml:5:5: contacts[0].phone: "" is no international number; write it as +<country><number>, e.g. +886912345678`},
		{"no contact's name", "name: Alex", `name: ""`, "cloud.yaml:5:5: contacts[0].name: the contact has no name; it is greeted by it"},
		{"a contact twice", "twilio:", "  - name: Alex\n    phone: \"+14155550101\"\ntwilio:", `cloud.yaml:7:5: contacts[1].name: "Alex" stands here for the second time`},
		{"an account", "AC00000000000000000000000000000001", "AC1", "cloud.yaml:8:3: twilio.account_sid: account SID must be AC and 32 hexadecimal digits"},
		{"an API key's and an API's address", "api_key_sid: SK00000000000000000000000000000002", "api_key_sid: SK2\n  api_url: \"ftp://x\"", "cloud.yaml:9:3: twilio.api_key_sid: API key SID must be SK and 32 hexadecimal digits\n" +
			"cloud.yaml:10:3: twilio.api_url: base URL must be scheme and host only, such as https://api.twilio.com"},
		{"a caller's number", `from: "+14155550199"`, `from: "0199"`, `cloud.yaml:11:3: twilio.from: from number "0199" must be + and country code, digits only`},
		{"no Twilio secret", "  api_key_secret_file: twilio-secret\n", "", "cloud.yaml:7:1: twilio.api_key_secret_file: is missing; name the credential that holds the API key's secret"},
		{"a path that is no credential", "twilio-secret", "secrets/twilio", `cloud.yaml:10:3: twilio.api_key_secret_file: "secrets/twilio" must be the bare name of a systemd credential, or an absolute path`},
		{"a token", "sentinel@pve!shutdown", "sentinel", "cloud.yaml:13:3: proxmox.token_id: token id is malformed, write user@realm!name"},
		{"no token secret", "  token_secret_file: proxmox-secret\n", "", "cloud.yaml:12:1: proxmox.token_secret_file: is missing; name the credential that holds the token's secret"},
		{"a way", "token_id", "via: carrier-pigeon\n  token_id", `cloud.yaml:13:3: proxmox.via: "carrier-pigeon" is no way to Proxmox; write pi or direct`},
		{"a plan without Proxmox", "proxmox:\n  token_id: sentinel@pve!shutdown\n  token_secret_file: proxmox-secret\n", "", "cloud.yaml:12:1: plan: it shuts Proxmox down, so there must be a proxmox: section with token_id and token_secret_file"},
		{"a deadline without a unit", "deadline: 3m", "deadline: 3", "cloud.yaml:17:5: plan[0].deadline: 3 has no unit; write 3s, 3m or 3h"},
		{"a short deadline", "deadline: 3m", "deadline: 3s", "cloud.yaml:17:5: plan[0].deadline: 3s is too short; at least 10s"},
		{"some guests", "guests: all", "guests: most", `cloud.yaml:16:5: plan[0].guests: "most" is not understood; write all`},
		{"guests and nodes", "  - guests: all\n    deadline: 3m\n  - nodes:", "  - guests: all\n    nodes:", "cloud.yaml:16:5: plan[0]: a stage holds either guests or nodes"},
		{"an empty stage", "  - guests: all\n    deadline: 3m\n", "  - deadline: 3m\n", "cloud.yaml:16:5: plan[0]: a stage holds either guests or nodes"},
		{"a node twice", "      pve1: {api", "      pve2: {api", "cloud.yaml:22:7: plan[2].nodes.pve2: pve2 is taken down in stage 2 already"},
		{"an address in clear", "https://192.168.77.11", "http://192.168.77.11", `cloud.yaml:22:7: plan[2].nodes.pve1: api address "http://192.168.77.11:8006": write https://host:8006`},
		{"no address", "https://192.168.77.11:8006", "", `cloud.yaml:22:7: plan[2].nodes.pve1: api address "": write https://host:8006`},
		{"half a fingerprint", `api: "https://192.168.77.11:8006", fingerprint: "` + somePin, `api: "https://192.168.77.11:8006", fingerprint: "5C:1E`, `cloud.yaml:22:7: plan[2].nodes.pve1: fingerprint "5C:1E": write the SHA-256, 32 bytes in hex, as 5C:1E:FF`},
		{"a MAC", "52:54:00:00:00:11", "52:54", `cloud.yaml:22:161: plan[2].nodes.pve1.mac: "52:54" is no MAC address; write it such as 52:54:00:12:34:56`},
		{"a node's name", "      pve1: {api", "      pve_1: {api", `cloud.yaml:22:7: plan[2].nodes.pve_1: node name "pve_1" is malformed`},
		{"a percentage", "sites:", "power: {charge_floor: 20}\nsites:", "cloud.yaml:1:9: power.charge_floor: 20 has no percent sign; write it such as 50%"},
		{"an impossible percentage", "sites:", "power: {charge_floor: 120%}\nsites:", "cloud.yaml:1:9: power.charge_floor: 120% is out of range; 0% to 100%"},
		{"a hasty silence", "sites:", "failure: {silence: 1s}\nsites:", "cloud.yaml:1:11: failure.silence: 1s is too short; at least 5s"},
		{"a threshold of none", "sites:", "failure: {threshold: 0}\nsites:", "cloud.yaml:1:11: failure.threshold: 0 is too small; at least 1"},
		{"a long ride", "sites:", "power: {ride_through: 2h}\nsites:", "cloud.yaml:1:9: power.ride_through: 2h is too long; at most 30m"},
		{"a level", "sites:", "log: {level: loud}\nsites:", `cloud.yaml:1:7: log.level: "loud" is no level; write debug, info, warn or error`},
		{"a format", "sites:", "log: {format: xml}\nsites:", `cloud.yaml:1:7: log.format: "xml" is no format; write text or json`},
		{"one anchor", "sites:", "anchors: [\"1.1.1.1:443\"]\nsites:", "cloud.yaml:1:1: anchors: name two independent ones at least, such as 1.1.1.1:443 and 9.9.9.9:443"},
		{"an anchor twice", "sites:", "anchors: [\"1.1.1.1:443\", \"1.1.1.1:443\"]\nsites:", `cloud.yaml:1:26: anchors[1]: "1.1.1.1:443" stands here for the second time; the anchors must be independent`},
		{"anchors without ports", "sites:", "anchors: [1.1.1.1, \"9.9.9.9:0\"]\nsites:", `cloud.yaml:1:11: anchors[0]: "1.1.1.1" is no address and port; write it such as 1.1.1.1:443` + "\n" +
			`cloud.yaml:1:20: anchors[1]: "9.9.9.9:0" is no address and port; write it such as 1.1.1.1:443`},
		{"no value", "from: \"+14155550199\"", "from:", "cloud.yaml:11:3: twilio.from: has no value; give it one or remove the line"},
		{"contacts without Twilio", "twilio:\n  account_sid: AC00000000000000000000000000000001\n  api_key_sid: SK00000000000000000000000000000002\n  api_key_secret_file: twilio-secret\n  from: \"+14155550199\"\n", "", "cloud.yaml:4:1: contacts: nobody can be called without a twilio: section"},
		{"a variable that is not set", "+14155550199", "${NO_SUCH_NUMBER}", "cloud.yaml:11:3: twilio.from: the environment variable NO_SUCH_NUMBER is not set"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if n := strings.Count(smallest, tt.from); n != 1 {
				t.Fatalf("%q stands in the smallest configuration %d times", tt.from, n)
			}
			_, wrong := load(t, strings.Replace(smallest, tt.from, tt.to, 1))
			if diff := cmp.Diff(strings.Split(tt.want, "\n"), strings.Split(wrong, "\n")); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestConfig_Missing(t *testing.T) {
	_, err := LoadConfig(filepath.Join(t.TempDir(), "none.yaml"))
	if err == nil || !strings.HasPrefix(err.Error(), "read the configuration: open ") {
		t.Errorf("got %v", err)
	}
}

// TestConfig_Reference: the reference parses, names every key, and its defaults are those
// of the program.
func TestConfig_Reference(t *testing.T) {
	t.Setenv("STATE_DIRECTORY", "")
	c, err := LoadConfig("reference.yaml")
	if err != nil {
		t.Fatal(err)
	}
	want := DefaultConfig()
	// What follows has no default in the structure: examples, and what others default.
	want.Sites, want.Contacts, want.Twilio, want.Proxmox, want.Plan = c.Sites, c.Contacts, c.Twilio, c.Proxmox, c.Plan
	want.Tailnet.AuthKey, want.Tailnet.AllowNodes = c.Tailnet.AuthKey, c.Tailnet.AllowNodes
	want.BootIDFile = "/proc/sys/kernel/random/boot_id"
	if diff := cmp.Diff(want, c, cmp.AllowUnexported(config.Secret{})); diff != "" {
		t.Errorf("the reference is not the defaults (-default +reference):\n%s", diff)
	}
	for i, d := range []config.Duration{defaultGuestDeadline, defaultNodeDeadline} {
		if c.Plan[i].Deadline != d {
			t.Errorf("plan[%d].deadline is %s, not %s", i, c.Plan[i].Deadline, d)
		}
	}
	text, err := os.ReadFile("reference.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range keysOf(reflect.TypeFor[Config](), nil) {
		if !strings.Contains(string(text), key+":") {
			t.Errorf("the reference does not mention %s", key)
		}
	}
}

// keysOf are all yaml keys of a configuration's type.
func keysOf(t reflect.Type, keys []string) []string {
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Map:
		return keysOf(t.Elem(), keys)
	case reflect.Struct:
		for i := range t.NumField() {
			if name := t.Field(i).Tag.Get("yaml"); name != "" {
				keys = keysOf(t.Field(i).Type, append(keys, name))
			}
		}
	}
	return keys
}

func TestConfig_StateDirectory(t *testing.T) {
	t.Setenv("STATE_DIRECTORY", "/var/lib/elsewhere")
	if c, _ := load(t, "sites: [{name: home}]\n"); c.StateDir != "/var/lib/elsewhere" {
		t.Errorf("state in %q", c.StateDir)
	}
}

// FuzzLoadConfig: whatever stands in the file, it is read or refused, without a panic.
func FuzzLoadConfig(f *testing.F) {
	f.Add([]byte(smallest))
	if data, err := os.ReadFile("reference.yaml"); err == nil {
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if c, wrong := load(t, string(data)); wrong == "" {
			coreConfig(&c)
		}
	})
}
