package apcupsd

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func put(t *testing.T, path, text string, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
}

func TestG7_ScriptsThatTellThePi(t *testing.T) {
	dir := t.TempDir()
	ask, err := os.ReadFile("../../../deploy/apcupsd/doshutdown")
	if err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(dir, "apcupsd.conf"), "## apcupsd.conf v1.1 ##\nNETSERVER on\nNISIP 127.0.0.1\n#POLLTIME 60\npolltime 1\nSCRIPTDIR /etc/apcupsd\n", 0o644)
	put(t, filepath.Join(dir, "powerout"), "#!/bin/sh\n/usr/bin/sentinel-pi event \"$(basename \"$0\")\" || true\n", 0o755)
	put(t, filepath.Join(dir, "onbattery"), "#!/bin/sh\n# /usr/bin/sentinel-pi event onbattery\nexit 0\n", 0o755)
	put(t, filepath.Join(dir, "mainsback"), "#!/bin/sh\n/usr/bin/sentinel-pi event powerout\n", 0o644)
	put(t, filepath.Join(dir, "doshutdown"), string(ask), 0o755)
	cutter := filepath.Join(dir, "cutter")
	put(t, cutter, "", 0o755)
	s, err := Look(dir, filepath.Join(dir, "none"), cutter)
	want := Setup{Settings: map[string]string{"NETSERVER": "on", "NISIP": "127.0.0.1", "POLLTIME": "1", "SCRIPTDIR": "/etc/apcupsd"}, Cuts: true,
		Scripts: map[string]Script{"powerout": {true, true, true}, "onbattery": {true, true, false}, "mainsback": {true, false, false}, "offbattery": {}, "doshutdown": {true, true, true}}}
	if diff := cmp.Diff(want, s); err != nil || diff != "" {
		t.Error(err, diff)
	}
	put(t, filepath.Join(dir, "powerfail"), "", 0o644)
	if s, err := Look(dir); err != nil || s.Powerfail != filepath.Join(dir, "powerfail") || s.Cuts {
		t.Errorf("%v, %+v", err, s)
	}
	if _, err := Look(filepath.Join(dir, "none")); err == nil {
		t.Error("there is a configuration where there is none")
	}
}

// TestTells: a script of the owner's has a line that tells, or one that runs ours, as the playbooks put it there.
func TestTells(t *testing.T) {
	for line, want := range map[string]bool{
		"/usr/share/sentinel-pi/apcupsd/doshutdown || exit $?":   true,
		"/usr/share/sentinel-pi/apcupsd/doshutdown":              true,
		"/usr/share/sentinel-pi/apcupsd/doshutdown.bak || true":  false,
		"/usr/share/sentinel-pi/apcupsd/powerout || true":        false,
		"# /usr/share/sentinel-pi/apcupsd/doshutdown || exit $?": false,
		"/usr/bin/sentinel-pi event doshutdown || exit 0":        true,
		"/usr/bin/sentinel-pi event powerout":                    false,
		"exit 0":                                                 false,
	} {
		if got := tells("#!/bin/sh\n"+line+"\nexit 0\n", "doshutdown"); got != want {
			t.Errorf("%s: %t", line, got)
		}
	}
}

func TestDisabled(t *testing.T) {
	path := filepath.Join(t.TempDir(), "apcupsd")
	for text, want := range map[string]bool{"": false, "ISCONFIGURED=no\n": true, "# x\nISCONFIGURED=yes\n": false, "ISCONFIGURED=\"yes\"\n": false} {
		put(t, path, text, 0o644)
		if got := Disabled(path); got != want {
			t.Errorf("%q: %t", text, got)
		}
	}
}

func TestOpen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tcp")
	head := "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
	for line, want := range map[string]bool{
		"   0: 0100007F:0DDF 00000000:0000 0A 00000000:00000000":                                                 false,
		"   0: 00000000:0DDF 00000000:0000 0A 00000000:00000000":                                                 true,
		"   0: 024DA8C0:0DDF 00000000:0000 0A 00000000:00000000":                                                 true,
		"   0: 00000000:0DDF 0100007F:1234 01 00000000:00000000":                                                 false,
		"   0: 00000000:0DDE 00000000:0000 0A 00000000:00000000":                                                 false,
		"   0: 00000000000000000000000001000000:0DDF 00000000000000000000000000000000:0000 0A 00000000:00000000": false,
		"   0: 00000000000000000000000000000000:0DDF 00000000000000000000000000000000:0000 0A 00000000:00000000": true,
	} {
		put(t, path, head+line+"\n", 0o644)
		if got, err := Open("3551", path, path+".none"); err != nil || got != want {
			t.Errorf("%s: %t, %v", line, got, err)
		}
	}
}
