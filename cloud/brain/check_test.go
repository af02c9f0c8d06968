package brain

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
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
			notes, err := CheckConfig(path, nobodyRuns)
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
	_, err := CheckConfig(path, nobodyRuns)
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

// TestR5_AnAccountThatIsHalfThere: what is missing is told as missing, in the same order each time.
func TestR5_AnAccountThatIsHalfThere(t *testing.T) {
	path := filepath.Join(t.TempDir(), "cloud.yaml")
	if err := os.WriteFile(path, []byte("sites: [{name: home}]\ntwilio: {auth_token_file: twilio-auth-token}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	at := path + ":2:1: twilio."
	want := at + "api_key_secret_file: is missing; name the credential that holds the API key's secret\n" +
		at + "account_sid: is missing; it is on the first page of Twilio's console\n" +
		at + "api_key_sid: is missing; make a standard API key in Twilio's console\n" +
		at + `from: is missing; write your number at Twilio, such as "+14155550199"`
	for range 8 {
		if _, err := CheckConfig(path, nobodyRuns); err == nil || err.Error() != want {
			t.Fatalf("got\n%v\nnot\n%s", err, want)
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
	if _, err := CheckConfig(path, nobodyRuns); err == nil || !strings.Contains(err.Error(), "run check-config as the user that the brain runs as, or with sudo") {
		t.Errorf("got %v", err)
	}
}

func nobodyRuns() ([]string, bool) { return nil, false }

// TestR5_CheckConfigSaysWhatIsMissing: what nothing works without is no mistake, and is told; so are
// names that only somebody who hears the nodes can vouch for.
func TestR5_CheckConfigSaysWhatIsMissing(t *testing.T) {
	secrets := strings.NewReplacer("secret_file: twilio-secret", "secret_file: "+secretFile(t), "secret_file: proxmox-secret", "secret_file: "+secretFile(t))
	wired := secrets.Replace(strings.Replace(smallest, "    pi_proxies: [pi]\n", "    pi_proxies: [pi]\n    ups: [{name: a, feeds: [pve1, pve22]}, {name: b, feeds: [nas, desktop]}]\n", 1)) + "  - hosts: [nas, workstation]\n"
	for name, c := range map[string]struct {
		text  string
		heard func() ([]string, bool)
		want  []string
	}{
		"nothing": {"sites: [{name: home}]\n", nobodyRuns, []string{"sites[0].pi_proxies: home has none, so nobody reports its UPS: a power cut there is not known as one",
			"contacts: there are none, so nobody is called", "plan: there is none, so nothing is shut down in a power cut"}},
		"all of it": {secrets.Replace(smallest), nobodyRuns, nil},
		"one API of two nodes": {strings.Replace(secrets.Replace(smallest), "192.168.77.13", "192.168.77.12", 1), nobodyRuns,
			[]string{"plan[1].nodes: pve3 has the api of pve2; once that node is off, pve3 is neither told nor seen to go down: write its own"}},
		"a digest for nobody": {strings.Replace(secrets.Replace(smallest), "twilio:", "notices: {digest: Mon 08:00}\ntwilio:", 1), nobodyRuns, []string{"notices.digest: no channel takes the kind digest, so nobody is told"}},
		"no brain": {wired, nobodyRuns, []string{"sites[0].ups[0].feeds[1]: pve22 is no node of the plan; did you mean pve2?",
			"sites[0]: whether there is nas, desktop, workstation was not looked at, since home names no nodes, and no brain runs here; once it runs, check-config asks it"}},
		"a brain": {wired, func() ([]string, bool) { return []string{"pi", "pve1", "nas", "desktops"}, true }, []string{"sites[0].ups[0].feeds[1]: no node called pve22 has ever been heard; did you mean pve2?",
			"sites[0].ups[1].feeds[1]: no node called desktop has ever been heard; did you mean desktops?", "plan[3].hosts[1]: no node called workstation has ever been heard; known are desktops, nas, pi, pve1, pve2, pve3"}},
		"listed": {strings.Replace(wired, "    pi_proxies: [pi]\n", "    pi_proxies: [pi]\n    nodes: [pve1, pve22, pve3, nas, desktop, workstation]\n", 1), nobodyRuns,
			[]string{"plan[1].nodes: pve2 is not among the nodes of home; correct the name, or list it there if it runs an agent: without one it counts as down once its API has been closed for 30 s"}},
	} {
		path := filepath.Join(t.TempDir(), "cloud.yaml")
		if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := CheckConfig(path, c.heard)
		got = slices.DeleteFunc(got, func(n string) bool { return strings.Contains(n, "auth_key_file") })
		if diff := cmp.Diff(c.want, got, cmpopts.EquateEmpty()); diff != "" || err != nil {
			t.Errorf("%s: %v (-want +got):\n%s", name, err, diff)
		}
	}
}

func secretFile(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte("0123456789abcdef\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
