package main

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sentinel.home.arpa/shared/sim/pvesim"
)

// initiates runs init with answers on its standard input; "-" is none at all.
func initiates(t *testing.T, path string, answers []string, flags ...string) (code int, out, errs string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 120*time.Second)
	defer cancel()
	cmd := program(ctx, append([]string{"init", "--config", path}, flags...)...)
	var stdout, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if answers != nil {
		cmd.Stdin = strings.NewReader(strings.Join(answers, "\n") + "\n")
	}
	var exit *exec.ExitError
	if err := cmd.Run(); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()
}

// TestInit writes a configuration that check-config takes, with the fingerprints of nodes that
// are there and of one that is not reached; the one with the storage goes last.
func TestInit(t *testing.T) {
	c, err := pvesim.New(pvesim.Config{TokenID: "sentinel@pve!shutdown", Secret: "x", Nodes: []pvesim.NodeConfig{{Name: "pve1"}, {Name: "pve2"}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	addr := func(n string) string { return strings.TrimPrefix(c.URL(n), "https://") }
	const away = "5c1e00112233445566778899aabbccddeeff00112233445566778899aabbccdd"
	const as = "0123456789abcdef0123456789abcdef"
	good := []string{"", "Europe/Berlin", "", "Alex", "+14155550100", "AC" + as, "SK" + as, "+14155550199", "ntfy://ntfy.example.org/home", "",
		addr("pve1"), "yes", "pve1", "127.0.0.1:1", away, "pve3", addr("pve2"), "no", addr("pve2"), "y", "pve2", "", "pve1", "", ""}
	path := filepath.Join(t.TempDir(), "cloud.yaml")
	code, out, errs := initiates(t, path, good)
	for _, want := range []string{c.Fingerprint("pve1"), "pvenode cert info", "the node is left out", path + " is written, and right", "LoadCredential=proxmox-secret:" + filepath.Dir(path) + "/proxmox-secret",
		"sudo install -d -m 755 /etc/systemd/system/sentinel-cloud.service.d\n", "sudo sentinel-cloud doctor"} {
		if code != 0 || errs != "" || !strings.Contains(out, want) {
			t.Errorf("exit %d, %s, no %q in\n%s", code, errs, want, out)
		}
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	text := string(data)
	at := func(name string) int { return strings.Index(text, "      "+name+": {api") }
	if !(0 < at("pve3") && at("pve3") < at("pve1") && at("pve2") < at("pve1")) || strings.Count(text, "- nodes:") != 2 {
		t.Errorf("in the wrong order:\n%s", text)
	}
	for _, want := range []string{"name: home\n", "time_zone: Europe/Berlin\n", "pi_proxies: [pi]", `fingerprint: "` + c.Fingerprint("pve2") + `"`, `fingerprint: "` + away + `"`, `- "ntfy://ntfy.example.org/home"`} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if code, _, errs := does(t, "check-config", "--config", path); code != 0 {
		t.Errorf("check-config: exit %d, %s", code, errs)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("%v, %v", info.Mode(), err)
	}

	if code, _, errs := initiates(t, path, good); code != 1 || !strings.Contains(errs, "is there already; --force writes a new one") {
		t.Errorf("a second time: exit %d, %s", code, errs)
	}
	least := []string{"cabin", "UTC", "pi2", "Alex", "", "ntfy://ntfy.example.org/cabin", "", ""}
	if code, out, errs := initiates(t, path, least, "--force"); code != 0 || errs != "" || strings.Contains(out, "twilio-secret") {
		t.Errorf("by force: exit %d, %s\n%s", code, errs, out)
	}
	if old, err := os.ReadFile(path + ".old"); err != nil || string(old) != text {
		t.Errorf("the old one: %v", err)
	}
	if code, _, errs := does(t, "check-config", "--config", path); code != 0 {
		t.Errorf("check-config of the least: exit %d, %s", code, errs)
	}
	if left, err := os.ReadDir(filepath.Dir(path)); err != nil || len(left) != 2 {
		t.Errorf("left are %v, %v", left, err)
	}
}

// TestInitRefuses writes nothing unless all is answered, and right.
func TestInitRefuses(t *testing.T) {
	path := filepath.Join(t.TempDir(), "cloud.yaml")
	for name, c := range map[string]struct {
		answers []string
		says    string
	}{
		"nobody":             {nil, "nobody answers: run it in a terminal"},
		"an end":             {[]string{"home", "UTC"}, `the answers end before the question "Name of its Pi in the tailnet"`},
		"a name that is odd": {[]string{"My Home"}, `Name of the home or office: "My Home": `},
		"no zone":            {[]string{"home", "Moon/Crater"}, "write one such as Europe/Berlin"},
		"no name":            {[]string{"home", "UTC", "pi", ""}, "there must be an answer"},
		"a phone":            {[]string{"home", "UTC", "pi", "Alex", "0912345678"}, "+<country><number>"},
		"a variable":         {[]string{"home", "UTC", "pi", "${HOME}"}, "without ${"},
		"no way to tell":     {[]string{"home", "UTC", "pi", "Alex", "", "", ""}, "nothing says how Alex is told"},
		"no channel":         {[]string{"home", "UTC", "pi", "Alex", "", "bogus://x", "", ""}, "nothing was written, since the answers make no right configuration: " + path},
	} {
		code, _, errs := initiates(t, path, c.answers)
		if code != 1 || !strings.Contains(errs, c.says) {
			t.Errorf("%s: exit %d, %s", name, code, errs)
		}
		if left, err := os.ReadDir(filepath.Dir(path)); err != nil || len(left) > 0 {
			t.Errorf("%s: left are %v, %v", name, left, err)
		}
	}
	if code, _, errs := initiates(t, filepath.Join(path, "none", "cloud.yaml"), nil); code != 1 || !strings.Contains(errs, "there is no directory") {
		t.Errorf("exit %d, %s", code, errs)
	}
}
