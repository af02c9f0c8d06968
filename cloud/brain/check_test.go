package brain

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestR5_CheckConfigReadsTheSecrets: a brain that would not start for want of one is told
// before, by line; what only the service can see is noted.
func TestR5_CheckConfigReadsTheSecrets(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	good, none := file("good", "0123456789abcdef\n"), filepath.Join(dir, "none")
	for _, tt := range []struct {
		name            string
		twilio, proxmox string
		tailnet         string // of auth_key_file
		credentials     bool
		notes, errs     []string // their beginnings
	}{
		{name: "all there", twilio: good, proxmox: good, tailnet: good},
		{name: "missing", twilio: none, proxmox: good, errs: []string{"cloud.yaml:10:3: twilio.api_key_secret_file: read the secret " + none + ": open "}},
		{name: "empty", twilio: good, proxmox: file("empty", "\n"), errs: []string{"cloud.yaml:14:3: proxmox.token_secret_file: read the secret " + dir + "/empty: the file is empty"}},
		{name: "no secret of Twilio's", twilio: file("short", "x y\n"), proxmox: good, errs: []string{"cloud.yaml:10:3: twilio.api_key_secret_file: API key secret must be"}},
		{name: "both missing", twilio: none, proxmox: none, errs: []string{"cloud.yaml:10:3: twilio.", "cloud.yaml:14:3: proxmox."}},
		{name: "credentials, as the operator sees them", twilio: "twilio-secret", proxmox: "proxmox-secret", notes: []string{
			"twilio.api_key_secret_file: twilio-secret is a systemd credential", "proxmox.token_secret_file: proxmox-secret is a systemd credential"}},
		{name: "credentials, as the service sees them", twilio: "good", proxmox: "nope", credentials: true, errs: []string{"cloud.yaml:14:3: proxmox.token_secret_file: read the secret nope: "}},
		{name: "an auth key that was removed", twilio: good, proxmox: good, tailnet: none, notes: []string{"tailnet.auth_key_file: read the secret " + none}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Setenv("CREDENTIALS_DIRECTORY", map[bool]string{true: dir}[tt.credentials])
			text := strings.NewReplacer("api_key_secret_file: twilio-secret", "api_key_secret_file: "+tt.twilio,
				"token_secret_file: proxmox-secret", "token_secret_file: "+tt.proxmox).Replace(smallest)
			if tt.tailnet != "" {
				text += "tailnet: {auth_key_file: " + tt.tailnet + "}\n"
			}
			path := filepath.Join(t.TempDir(), "cloud.yaml")
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			notes, err := CheckConfig(path)
			var errs []string
			if err != nil {
				errs = strings.Split(strings.ReplaceAll(err.Error(), filepath.Dir(path)+"/", ""), "\n")
			}
			begin := func(got, want []string) {
				t.Helper()
				for i := range min(len(got), len(want)) {
					if strings.HasPrefix(got[i], want[i]) {
						got[i] = want[i]
					}
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
			}
			begin(notes, tt.notes)
			begin(errs, tt.errs)
			if strings.Contains(strings.Join(append(notes, errs...), ""), "0123456789abcdef") {
				t.Error("a secret is shown")
			}
		})
	}
}

// TestR5_CheckConfigInOneGo: keys, types, values and secrets that are wrong are all told at once, by
// line, and none of them for what only follows from another.
func TestR5_CheckConfigInOneGo(t *testing.T) {
	none := filepath.Join(t.TempDir(), "none")
	text := strings.NewReplacer("pi_proxies: [pi]", "pi_proxies: [Pi!]", `"+14155550100"`, `"0912"`, "twilio:", "twillio:", "proxmox-secret", none,
		"deadline: 3m", "deadline: 3").Replace(smallest) + "log: {level: loud}\n"
	path := filepath.Join(t.TempDir(), "cloud.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := CheckConfig(path)
	if err == nil {
		t.Fatal("it is taken")
	}
	got := strings.Split(strings.ReplaceAll(err.Error(), filepath.Dir(path)+"/", ""), "\n")
	want := []string{"sites[0].pi_proxies[0]: ", "contacts[0].phone: ", "unknown key `twillio`", "proxmox.token_secret_file: read the secret ", "plan[0].deadline: 3 has no unit", "log.level: "}
	if len(got) != len(want) {
		t.Fatalf("told %d things:\n%s", len(got), strings.Join(got, "\n"))
	}
	for i := range got {
		if !strings.Contains(got[i], want[i]) {
			t.Errorf("told as number %d: %s", i, got[i])
		}
	}
}

// TestR5_SecretsOfAnotherUser: the operator is told that the brain's user may see more.
func TestR5_SecretsOfAnotherUser(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root may read everything: what another user is told is NOT TESTED")
	}
	dir := t.TempDir()
	secret, path := filepath.Join(dir, "secret"), filepath.Join(dir, "cloud.yaml")
	text := strings.Replace(smallest, "api_key_secret_file: twilio-secret", "api_key_secret_file: "+secret, 1)
	if err := os.WriteFile(secret, []byte("0123456789\n"), 0); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := CheckConfig(path); err == nil || !strings.Contains(err.Error(), "run check-config as the user that the brain runs as, or with sudo") {
		t.Errorf("got %v", err)
	}
}
