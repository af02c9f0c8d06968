//go:build packages

package main

import (
	"archive/tar"
	"bytes"
	"debug/buildinfo"
	"debug/elf"
	"encoding/json"
	"io"
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

// TestReleaseIsForItsMachines makes all packages for all machines: lintian has no objection to
// them, and each holds a program that its machine can run.
func TestReleaseIsForItsMachines(t *testing.T) {
	dir := t.TempDir()
	cmd := exec.Command("make", "-s", "packages", "VERSION=0.0.1", "DIST="+dir)
	cmd.Dir = "../.."
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	debs, err := filepath.Glob(filepath.Join(dir, "*.deb"))
	if err != nil || len(debs) != len(machines)*len(products()) {
		t.Fatalf("the packages are %q, %v", debs, err)
	}
	t.Run("lintian", func(t *testing.T) {
		lintian, err := exec.LookPath("lintian")
		if err != nil {
			t.Skip("lintian is not installed: what Debian's own check says of the packages is NOT TESTED")
		}
		args := append([]string{"--no-cfg", "--allow-root", "--fail-on", "error,warning"}, debs...)
		if out, err := exec.Command(lintian, args...).CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
	})
	for arch, m := range machines {
		for _, p := range products() {
			deb := filepath.Join(dir, p.Package+"_0.0.1_"+arch+".deb")
			t.Run(p.Package+" "+arch, func(t *testing.T) { m.runs(t, deb, p) })
		}
	}
}

// machine is what a program must be to run on one.
type machine struct {
	class    elf.Class
	code     elf.Machine
	settings map[string]string // of the compiler
}

// machines are those that packages are made for. The smallest is a Pi Zero or a Pi 1: an ARMv6
// with a floating-point unit, which runs nothing that is made for an ARMv7.
var machines = map[string]machine{
	"amd64": {elf.ELFCLASS64, elf.EM_X86_64, map[string]string{"GOARCH": "amd64", "GOAMD64": "v1"}},
	"arm64": {elf.ELFCLASS64, elf.EM_AARCH64, map[string]string{"GOARCH": "arm64", "GOARM64": "v8.0"}},
	"armhf": {elf.ELFCLASS32, elf.EM_ARM, map[string]string{"GOARCH": "arm", "GOARM": "6"}},
}

// runs looks at the program in a package: for this machine, and needing no library of it.
func (m machine) runs(t *testing.T, deb string, p product) {
	program := unpacked(t, deb, "./usr/bin/"+p.Program)
	f, err := elf.NewFile(bytes.NewReader(program))
	if err != nil {
		t.Fatal(err)
	}
	if f.Class != m.class || f.Machine != m.code {
		t.Errorf("it is for %v, %v", f.Class, f.Machine)
	}
	for _, part := range f.Progs {
		if part.Type == elf.PT_INTERP {
			t.Error("it needs a loader, and with it the machine's C library")
		}
	}
	info, err := buildinfo.Read(bytes.NewReader(program))
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, s := range info.Settings {
		got[s.Key] = s.Value
	}
	for key, value := range m.settings {
		if got[key] != value {
			t.Errorf("it was built with %s=%s, want %s", key, got[key], value)
		}
	}
	packed, err := os.Stat(deb)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%.1f MB, packed %.1f MB", float64(len(program))/1e6, float64(packed.Size())/1e6)
}

// unpacked is a file of a package.
func unpacked(t *testing.T, deb, path string) []byte {
	t.Helper()
	text, err := exec.Command("dpkg-deb", "--fsys-tarfile", deb).Output()
	if err != nil {
		t.Fatal(err)
	}
	for files := tar.NewReader(bytes.NewReader(text)); ; {
		header, err := files.Next()
		if err != nil {
			t.Fatalf("%s has no %s: %v", filepath.Base(deb), path, err)
		}
		if header.Name != path {
			continue
		}
		content, err := io.ReadAll(files)
		if err != nil {
			t.Fatal(err)
		}
		return content
	}
}
