// Package oracle_test reads the cloud machine's first configuration as cloud-init would, and looks for each thing that
// docs/oracle.md promises of it.
package oracle_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/coreos/go-systemd/v22/unit"
	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"
)

// config is all that the file may hold: another key is refused, so that none comes in without a promise.
type config struct {
	Update   bool     `yaml:"package_update"`
	Upgrade  bool     `yaml:"package_upgrade"`
	Reboot   bool     `yaml:"package_reboot_if_required"`
	Packages []string `yaml:"packages"`
	Password *bool    `yaml:"ssh_pwauth"`
	NoRoot   bool     `yaml:"disable_root"`
	Timezone string   `yaml:"timezone"`
	NTP      struct {
		Enabled bool     `yaml:"enabled"`
		Client  string   `yaml:"ntp_client"`
		Servers []string `yaml:"servers"`
	} `yaml:"ntp"`
	Swap struct {
		Filename string `yaml:"filename"`
		Size     int    `yaml:"size"`
	} `yaml:"swap"`
	Files []struct {
		Path    string `yaml:"path"`
		Content string `yaml:"content"`
	} `yaml:"write_files"`
	Run [][]string `yaml:"runcmd"`
}

func text(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile("cloud-init.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func read(t *testing.T, text string) config {
	t.Helper()
	var c config
	if err := yaml.UnmarshalWithOptions([]byte(text), &c, yaml.DisallowUnknownField(), yaml.Strict()); err != nil {
		t.Fatal(err)
	}
	return c
}

func (c config) file(t *testing.T, path string) string {
	t.Helper()
	for _, f := range c.Files {
		if f.Path == path {
			return f.Content
		}
	}
	t.Fatalf("no file %s", path)
	return ""
}

// options are those of a file in systemd's form, as "Section.Key=value".
func options(t *testing.T, content string) (out []string) {
	t.Helper()
	all, err := unit.DeserializeOptions(strings.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range all {
		out = append(out, o.Section+"."+o.Name+"="+o.Value)
	}
	return out
}

func TestPromises(t *testing.T) {
	whole := text(t)
	c := read(t, whole)

	// It is taken for what it is, and is small enough for Oracle.
	if !strings.HasPrefix(whole, "#cloud-config\n") || len(whole) > 16_000 {
		t.Errorf("%d bytes that begin with %.20q", len(whole), whole)
	}
	// Upgrades come at once, and then by themselves.
	if !c.Update || !c.Upgrade || !c.Reboot || !slices.Equal(c.Packages, []string{"unattended-upgrades"}) {
		t.Errorf("upgrades: %v %v %v %q", c.Update, c.Upgrade, c.Reboot, c.Packages)
	}
	// SSH by key alone.
	if c.Password == nil || *c.Password || !c.NoRoot {
		t.Errorf("SSH: passwords %v, root refused %v", c.Password, c.NoRoot)
	}
	if c.Timezone != "Etc/UTC" || !c.NTP.Enabled || c.NTP.Client != "chrony" || !slices.Equal(c.NTP.Servers, []string{"169.254.169.254"}) {
		t.Errorf("time: %q %+v", c.Timezone, c.NTP)
	}
	if c.Swap.Filename != "/swapfile" || c.Swap.Size != 1<<30 {
		t.Errorf("swap: %+v", c.Swap)
	}
	if diff := cmp.Diff([]string{"Journal.SystemMaxUse=200M", "Journal.MaxRetentionSec=90day"},
		options(t, c.file(t, "/etc/systemd/journald.conf.d/sentinel.conf"))); diff != "" {
		t.Errorf("the system's journal:\n%s", diff)
	}
	if diff := cmp.Diff([]string{"Service.OOMScoreAdjust=-500"}, options(t, c.file(t, "/etc/systemd/system/sentinel-cloud.service.d/machine.conf"))); diff != "" {
		t.Errorf("the drop-in:\n%s", diff)
	}
	if _, err := os.Stat("../systemd/sentinel-cloud.service"); err != nil {
		t.Errorf("the drop-in is for no unit of ours: %v", err)
	}
	if diff := cmp.Diff([][]string{{"systemctl", "restart", "systemd-journald"}, {"sysctl", "--system"}}, c.Run); diff != "" {
		t.Errorf("commands:\n%s", diff)
	}
}

// TestNoOpenPort: nothing in it touches the firewall or brings a program that listens, and no secret is in it.
func TestNoOpenPort(t *testing.T) {
	comment := regexp.MustCompile(`(?m)^\s*#.*$|\s# .*$`)
	left := comment.ReplaceAllString(text(t), "")
	for _, word := range []string{"iptables", "ufw", "nft", "firewall", "listen", "tskey", "password", "secret", "authorized_keys"} {
		if strings.Contains(strings.ToLower(left), word) {
			t.Errorf("%q is in it", word)
		}
	}
}

// TestUpgradesAsAptReadsThem asks apt itself.
func TestUpgradesAsAptReadsThem(t *testing.T) {
	apt, err := exec.LookPath("apt-config")
	if err != nil {
		t.Skip("apt-config is missing: this is no Debian, and apt was not asked")
	}
	path := filepath.Join(t.TempDir(), "upgrades")
	if err := os.WriteFile(path, []byte(read(t, text(t)).file(t, "/etc/apt/apt.conf.d/52sentinel-upgrades")), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), apt, "dump")
	cmd.Env = append(os.Environ(), "APT_CONFIG="+path)
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`APT::Periodic::Update-Package-Lists "1";`, `APT::Periodic::Unattended-Upgrade "1";`,
		`Unattended-Upgrade::Automatic-Reboot "true";`, `Unattended-Upgrade::Automatic-Reboot-Time "10:00";`} {
		if !strings.Contains(string(out), want+"\n") {
			t.Errorf("apt does not read %s", want)
		}
	}
}

// TestSchema asks cloud-init, about the file as it is and with the offered line taken in.
func TestSchema(t *testing.T) {
	cloudInit, err := exec.LookPath("cloud-init")
	if err != nil {
		t.Skip("cloud-init is missing (Debian: apt-get install cloud-init), so it was not asked about the file")
	}
	whole := text(t)
	offered := regexp.MustCompile(`(?m)^(\s*)# (- \[sh, .*)$`)
	with := offered.ReplaceAllString(whole, "$1$2")
	if with == whole {
		t.Error("no line is offered that installs the brain")
	}
	if n := len(read(t, with).Run); n != 3 {
		t.Errorf("%d commands with the one that is offered", n)
	}
	for name, content := range map[string]string{"as it is": whole, "with the brain": with} {
		path := filepath.Join(t.TempDir(), "user-data")
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.CommandContext(t.Context(), cloudInit, "schema", "-c", path).CombinedOutput(); err != nil || !strings.Contains(string(out), "Valid") {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
	bad := filepath.Join(t.TempDir(), "user-data")
	if err := os.WriteFile(bad, []byte(strings.Replace(whole, "ssh_pwauth: false", "ssh_pwauth: [no]", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), cloudInit, "schema", "-c", bad).CombinedOutput(); err == nil && !strings.Contains(string(out), "Invalid") {
		t.Errorf("a wrong file was taken:\n%s", out)
	}
}
