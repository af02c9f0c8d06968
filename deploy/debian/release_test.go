//go:build packages

package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestEqualCommitsGiveEqualReleases: two checkouts of one commit in directories of different
// names, with umasks of their own, give the same sums; and what the sums are of is whole.
func TestEqualCommitsGiveEqualReleases(t *testing.T) {
	if out, err := exec.Command("git", "rev-parse", "HEAD").CombinedOutput(); err != nil {
		t.Skipf("this is no checkout: whether releases are equal is NOT TESTED (%s)", out)
	}
	var sums []string
	for _, umask := range []string{"022", "077"} {
		dir := filepath.Join(t.TempDir(), "of-"+umask)
		script := `umask "$1"; git clone -q ../.. "$2"; cd "$2"; make -s release DEBS=amd64,armhf ONLY=sentinel-node; cd dist; sha256sum --quiet -c SHA256SUMS`
		if out, err := exec.Command("sh", "-euc", script, "sh", umask, dir).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		text, err := os.ReadFile(filepath.Join(dir, "dist", "SHA256SUMS"))
		if err != nil {
			t.Fatal(err)
		}
		sums = append(sums, string(text))
		lists, err := filepath.Glob(filepath.Join(dir, "dist", "*.cdx.json"))
		if err != nil || len(lists) != 2 {
			t.Fatalf("the lists are %q, %v", lists, err)
		}
		for _, list := range lists {
			text, err := os.ReadFile(list)
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(string(text), dir) {
				t.Errorf("%s names the directory that it was made in", list)
			}
			var bom struct {
				Components []struct{ Name, Version string }
			}
			if err := json.Unmarshal(text, &bom); err != nil {
				t.Fatal(err)
			}
			found := map[string]bool{}
			for _, c := range bom.Components {
				found[c.Name] = c.Version != ""
			}
			for _, name := range []string{"std", "github.com/godbus/dbus/v5", "github.com/goccy/go-yaml"} {
				if !found[name] {
					t.Errorf("%s does not list %s", filepath.Base(list), name)
				}
			}
		}
	}
	if sums[0] != sums[1] || strings.Count(sums[0], "\n") != 4 {
		t.Errorf("the sums are\n%sand\n%s", sums[0], sums[1])
	}
	t.Logf("equal from both:\n%s", sums[0])
}

// TestLintian has no objection.
func TestLintian(t *testing.T) {
	lintian, err := exec.LookPath("lintian")
	if err != nil {
		t.Skip("lintian is not installed: what Debian's own check says of the packages is NOT TESTED")
	}
	dir := t.TempDir()
	cmd := exec.Command("make", "-s", "packages", "VERSION=0.0.1", "DEBS=amd64", "DIST="+dir)
	cmd.Dir = "../.."
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	debs, err := filepath.Glob(filepath.Join(dir, "*.deb"))
	if err != nil || len(debs) != len(products()) {
		t.Fatalf("the packages are %q, %v", debs, err)
	}
	args := append([]string{"--no-cfg", "--allow-root", "--fail-on", "error,warning"}, debs...)
	if out, err := exec.Command(lintian, args...).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
