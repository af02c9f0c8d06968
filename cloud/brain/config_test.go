package brain

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

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
	c, wrong = load(t, strings.Replace(smallest, "  - guests: all\n    deadline: 3m\n", "  - guests: {tags: [web, db], pool: prod/web}\n    timeout: 90s\n  - guests: {ids: [101, 105]}\n    deadline: 1m\n  - guests: all\n", 1))
	if wrong != "" {
		t.Fatal(wrong)
	}
	want.Stages = append([]shutdown.Stage{{Guests: &shutdown.Choice{Tags: []string{"web", "db"}, Pool: "prod/web"}, Timeout: 90 * time.Second, Deadline: 3 * time.Minute},
		{Guests: &shutdown.Choice{IDs: []int{101, 105}}, Deadline: time.Minute}}, want.Stages...)
	if diff := cmp.Diff(want, c.shutdownPlan()); diff != "" {
		t.Errorf("plan with chosen guests (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(power.DefaultPolicy(), c.policy()); diff != "" {
		t.Errorf("policy (-want +got):\n%s", diff)
	}
	if c.LogLevel() != slog.LevelInfo {
		t.Errorf("level %s", c.LogLevel())
	}
	core := coreConfig(&c)
	if s := core.Sites[0]; s.OnFailure || s.InternetAfter != 0 {
		t.Errorf("the plan begins for %+v, which nobody wrote", s)
	}
	if core.Sites[0].Plan == nil || core.Threshold != 1 || core.Times.Silence != 20*time.Second || core.Brain != "brain" ||
		!cmp.Equal(core.Contacts, []string{"Alex"}) || !cmp.Equal(core.Sites[0].Pis, []string{"pi"}) {
		t.Errorf("core %+v", core)
	}
}

// TestS0_PlanOn: what begins the plan beside the power is written down, and the Pi's delay alone begins nothing.
func TestS0_PlanOn(t *testing.T) {
	for _, tt := range []struct {
		text     string
		failure  bool
		internet time.Duration
	}{
		{"", false, 0},
		{"internet: {plan_after: 1h}\n", false, 0},
		{"plan_on: [node_failure]\n", true, 0},
		{"plan_on: [internet_outage]\n", false, 30 * time.Minute},
		{"plan_on: [internet_outage, node_failure]\ninternet: {plan_after: 1h}\n", true, time.Hour},
	} {
		c, wrong := load(t, tt.text+smallest)
		if wrong != "" {
			t.Fatal(wrong)
		}
		if s := coreConfig(&c).Sites[0]; s.OnFailure != tt.failure || s.InternetAfter != tt.internet {
			t.Errorf("%q: %v, %s", tt.text, s.OnFailure, s.InternetAfter)
		}
	}
}

func TestConfig_SiteAlone(t *testing.T) {
	if _, wrong := load(t, "sites: [{name: home}]\n"); wrong != "" {
		t.Error(wrong)
	}
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
