//go:build packages

package packages

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sentinel.home.arpa/deploy/e2e/internal/layers"
	"sentinel.home.arpa/shared/wire"
)

// programs are the packages and their programs, and units what is enabled with them.
var (
	programs = []string{"sentinel-cloud", "sentinel-pi", "sentinel-node"}
	units    = []string{"sentinel-cloud.service", "sentinel-pi-root.socket", "sentinel-pi.service", "sentinel-node.service", "sentinel-announce.service"}
)

// TestPackages is the life of all packages on one machine, on each release of Debian.
func TestPackages(t *testing.T) {
	s := open(t)
	for _, base := range []layers.Base{layers.Bookworm(), layers.Trixie()} {
		t.Run(base.Suite, func(t *testing.T) {
			m := s.boot(t, base)
			before := m.files()
			l := &life{machine: m, site: s, keys: map[string]string{}}
			l.installs()
			l.starts()
			l.mayLittle()
			l.upgrades()
			l.keepsWhatIsStopped()
			l.returns()
			l.changesAgents()
			l.leavesNothing(before)
		})
	}
}

// life is a machine's with the packages.
type life struct {
	*machine
	site *site
	keys map[string]string // configurations and keys that the user has written, by path
}

// dpkg installs packages of a version, as an unattended upgrade would: nobody answers.
func (l *life) dpkg(version string, names ...string) string {
	l.Helper()
	args := []string{"dpkg", "-i"}
	for _, n := range names {
		args = append(args, l.site.deb(n, version))
	}
	out := l.run(args...)
	for _, n := range names {
		if got := l.status(n); got != "ii" {
			l.Errorf("dpkg says %q of %s:\n%s", got, n, out)
		}
	}
	return out
}

// said demands a version of the programs.
func (l *life) said(version string) {
	l.Helper()
	for _, p := range programs {
		if got := l.run(p, "version"); got != p+" "+version {
			l.Errorf("%s says %q", p, got)
		}
	}
}

// installs: nothing starts that nobody has configured, nothing fails, and what is to be
// written is said.
func (l *life) installs() {
	out := l.dpkg(older, programs...)
	for _, hint := range []string{"sentinel-cloud init", "write /etc/sentinel/pi.yaml", "write /etc/sentinel/node.yaml"} {
		if !strings.Contains(out, hint) {
			l.Errorf("nobody says: %s\n%s", hint, out)
		}
	}
	l.said(older)
	l.enabled("enabled", units...)
	l.active("inactive", units...)
	if got := l.unit("sentinel-cloud.service", "ConditionResult"); got != "no" {
		l.Errorf("the brain's condition is %q", got)
	}
	l.calm()
	for _, user := range []string{"sentinel-cloud", "sentinel-pi"} {
		l.run("getent", "passwd", user)
	}
	if got := l.run("ls", "-A", "/etc/sentinel"); got != "" {
		l.Errorf("/etc/sentinel has %s", got)
	}
	l.Log("installed: enabled, not started, no file in /etc/sentinel")
}

// calm demands that no unit has failed.
func (l *life) calm() {
	l.Helper()
	if out := l.run("systemctl", "--failed", "--no-legend", "--plain"); strings.Contains(out, "sentinel") {
		l.Errorf("failed: %s", out)
	}
}

// starts: with configurations all are up after one command.
func (l *life) starts() {
	keys := map[string]wire.PublicKey{}
	for _, p := range programs {
		dir := l.TempDir()
		key, err := wire.LoadKey(dir)
		if err != nil {
			l.Fatal(err)
		}
		keys[p] = key.PublicKey()
		text, err := os.ReadFile(filepath.Join(dir, "key"))
		if err != nil {
			l.Fatal(err)
		}
		l.keys["/var/lib/"+p+"/key"] = string(text)
	}
	l.keys["/etc/sentinel/cloud.yaml"] = fmt.Sprintf(`listen: 127.0.0.1:8080
sites: [{name: home, time_zone: UTC, pi_proxies: [{name: pi, relay: "127.0.0.1:7777", key: %q}], nodes: [{name: box, key: %q}]}]
contacts: [{name: Alex, notices: ["ntfy://127.0.0.1:9/home?scheme=http"]}]
`, keys["sentinel-pi"], keys["sentinel-node"])
	brain := fmt.Sprintf("brains: [{address: %q, key: %q}]\n", "127.0.0.1:8080", keys["sentinel-cloud"])
	l.keys["/etc/sentinel/pi.yaml"] = "name: pi\nsite: home\n" + brain
	l.keys["/etc/sentinel/node.yaml"] = "name: box\nsite: home\n" + brain
	for path, text := range l.keys {
		l.put(path, text)
	}
	for _, p := range []string{"cloud", "pi"} {
		l.run("chgrp", "sentinel-"+p, "/etc/sentinel/"+p+".yaml")
		l.run("chmod", "640", "/etc/sentinel/"+p+".yaml")
	}
	l.put("/etc/sentinel/secret", "x\n")
	l.put("/etc/systemd/system/sentinel-pi.service.d/credentials.conf", "[Service]\nLoadCredential=secret:/etc/sentinel/secret\n")
	l.run("mkdir", "-p", "/etc/apcupsd")
	l.run("ln", "-s", "/usr/share/sentinel-pi/apcupsd/powerout", "/etc/apcupsd/powerout")
	l.put("/etc/apcupsd/mine", "#!/bin/sh\n")
	l.run("systemctl", "daemon-reload")
	l.run(append([]string{"systemctl", "start"}, units...)...)
	l.working()
	l.Log("started: all active, the brain hears the node")
}

// working: all are up, and the brain hears the node.
func (l *life) working() {
	l.Helper()
	l.active("active", units...)
	l.calm()
	l.until("the brain hears the node", func() bool {
		out, _ := l.try("sentinel-cloud", "status", "--json") // bad news is an exit code
		return regexp.MustCompile(`"name": ?"box"[^{}]*"state": ?"up"`).MatchString(out)
	})
}

// exposed is what systemd-analyze says last.
var exposed = regexp.MustCompile(`Overall exposure level for \S+: (\d+\.\d)`)

// mayLittle: with all at work no unit is exposed to more than the documentation says.
func (l *life) mayLittle() {
	table, err := os.ReadFile("../../../docs/units.md")
	if err != nil {
		l.Fatal(err)
	}
	for _, u := range append(slices.DeleteFunc(slices.Clone(units), func(u string) bool { return strings.HasSuffix(u, ".socket") }), "sentinel-pi-root@0.service") {
		out := l.run("systemd-analyze", "security", "--no-pager", "--threshold=20", u)
		level := exposed.FindStringSubmatch(out)
		if level == nil {
			l.Errorf("%s: %s", u, out)
			continue
		}
		l.Logf("%-28s %s", u, level[1])
		row := fmt.Sprintf("| `%s` | %s |", strings.Replace(u, "@0", "@", 1), level[1])
		if !strings.Contains(string(table), row) {
			l.Errorf("docs/units.md has no row that begins with %s", row)
		}
	}
}

// upgrades: files that the user has written stay, what runs is the new version, and nobody
// takes it for a shutdown or a failure.
func (l *life) upgrades() {
	running := map[string]string{}
	for _, p := range programs {
		running[p] = l.unit(p+".service", "MainPID")
	}
	l.dpkg(newer, programs...)
	l.said(newer)
	l.unchanged()
	l.working()
	for _, p := range programs {
		if l.unit(p+".service", "MainPID") == running[p] {
			l.Errorf("%s was not restarted", p)
		}
	}
	journal := l.run("sentinel-cloud", "journal", "--json")
	if !strings.Contains(journal, "box") {
		l.Errorf("the journal does not know the node:\n%s", journal)
	}
	for line := range strings.Lines(journal) {
		// The Pi says itself that it is gone for a moment.
		if strings.Contains(line, "source_failed") || strings.Contains(line, "shutdown_announced") && strings.Contains(line, "box") {
			l.Errorf("in the upgrade the brain wrote %s", line)
		}
	}
	l.Log("upgraded with nobody there to answer: restarted, configuration kept, no shutdown of a node announced, no failure")
}

// unchanged demands the files that the user has written.
func (l *life) unchanged() {
	l.Helper()
	for path, text := range l.keys {
		if got := l.get(path); got != text {
			l.Errorf("%s is now %q", path, got)
		}
	}
}

// keepsWhatIsStopped: no upgrade starts what somebody has stopped or disabled.
func (l *life) keepsWhatIsStopped() {
	l.run("systemctl", "disable", "--now", "sentinel-pi.service")
	l.run("systemctl", "stop", "sentinel-node.service")
	l.dpkg(older, programs...)
	l.active("inactive", "sentinel-pi.service", "sentinel-node.service")
	l.enabled("disabled", "sentinel-pi.service")
	l.enabled("enabled", "sentinel-node.service")
	l.active("active", "sentinel-cloud.service", "sentinel-announce.service")
	l.run("systemctl", "enable", "--now", "sentinel-pi.service", "sentinel-node.service")
	l.working()
	l.Log("what was stopped or disabled stayed so in the next upgrade")
}

// returns: a removal stops all and keeps what was written; an installation after it is up
// again.
func (l *life) returns() {
	l.run(append([]string{"dpkg", "-r"}, programs...)...)
	for _, u := range units {
		if out, err := l.try("systemctl", "is-active", u); err == nil {
			l.Errorf("%s is still %s", u, out)
		}
	}
	if out, err := l.try("pgrep", "-a", "sentinel"); err == nil {
		l.Errorf("there still runs %s", out)
	}
	l.unchanged()
	l.dpkg(newer, programs...)
	l.unchanged()
	l.working()
	l.Log("removed and installed again: up with what it knew before")
}

// changesAgents: the agent that joins the tailnet by itself takes the other's place and key.
func (l *life) changesAgents() {
	l.dpkg(newer, "sentinel-node-tsnet")
	if got := l.run("sentinel-node", "version"); got != "sentinel-node-tsnet "+newer {
		l.Errorf("it says %q", got)
	}
	l.run("dpkg", "-P", "sentinel-node")
	l.unchanged()
	l.working()
	l.Log("sentinel-node-tsnet took the place of sentinel-node, whose purge took nothing from it")
}

// leavesNothing: after a purge the machine is as it was, but for what is the user's own and
// has nothing to do with the sentinel.
func (l *life) leavesNothing(before []string) {
	l.run("dpkg", "-P", "sentinel-node-tsnet", "sentinel-pi")
	if l.get("/etc/sentinel/cloud.yaml") != l.keys["/etc/sentinel/cloud.yaml"] || l.get("/etc/sentinel/secret") == "" {
		l.Error("the purge of others took from the brain")
	}
	l.active("active", "sentinel-cloud.service")
	l.run("dpkg", "-P", "sentinel-cloud")
	l.run("rm", "-r", "/etc/apcupsd/mine")
	l.run("rmdir", "/etc/apcupsd")
	after := l.files()
	if diff := cmp.Diff(before, after); diff != "" {
		l.Errorf("what is left (+) or gone (-):\n%s", diff)
	}
	for _, p := range append(programs, "sentinel-node-tsnet") {
		if got := l.status(p); got != "" {
			l.Errorf("dpkg still knows %s: %s", p, got)
		}
	}
	if out := l.run("sh", "-c", "systemctl list-units --all --no-legend --plain 'sentinel*'; systemctl list-unit-files --no-legend 'sentinel*' || true"); out != "" {
		l.Errorf("systemd still knows %s", out)
	}
	l.Log("purged: no file, no user, no unit is left")
}
