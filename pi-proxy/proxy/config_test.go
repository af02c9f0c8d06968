package proxy_test

import (
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"sentinel.home.arpa/pi-proxy/proxy"
	"sentinel.home.arpa/shared/config"
)

// TestR5_ReferenceEqualsTheDefaults and shows every key.
func TestR5_ReferenceEqualsTheDefaults(t *testing.T) {
	t.Setenv("STATE_DIRECTORY", "")
	text, err := os.ReadFile("reference.yaml")
	if err != nil {
		t.Fatal(err)
	}
	want := proxy.DefaultConfig()
	c := proxy.Config{Name: want.Name} // the host's, which no file can know
	f, err := config.Parse("reference.yaml", text, &c)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, c, cmpopts.EquateEmpty(), cmp.AllowUnexported(config.Secret{})); diff != "" {
		t.Error(diff)
	}
	for _, path := range keys(reflect.TypeFor[proxy.Config](), "") {
		last := path[strings.LastIndexByte(path, '.')+1:]
		line := strings.Split(string(text), "\n")[f.Errorf(path, "").Line-1] // where an error about it points to
		if !strings.Contains(line, last+":") && !regexp.MustCompile(`(?m)^ *# +(- )?`+last+`: `).Match(text) {
			t.Errorf("%s is not shown", path)
		}
	}
	path := filepath.Join(t.TempDir(), "pi.yaml")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := proxy.LoadConfig(path, false); err != nil {
		t.Error(err)
	}
}

// TestR5_ReadAgain says what a restart would take, or what is wrong with it.
func TestR5_ReadAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pi.yaml")
	write := func(text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("name: pi\n")
	c, err := proxy.LoadConfig(path, false)
	if err != nil {
		t.Fatal(err)
	}
	write("name: pi\nups: [{name: ups, nis: \"127.0.0.1:3551\", poll: 2s}, {name: ups2, nis: \"127.0.0.1:3552\"}]\ntailnet: {auth_key_file: key}\n")
	changed, err := c.ReadAgain(path, false)
	if diff := cmp.Diff([]string{"tailnet.auth_key_file: changed", "ups: + ups2", "ups[ups].poll: from 1s to 2s"}, changed); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
	write("name: pi\nupss: []\n")
	if _, err := c.ReadAgain(path, false); err == nil || !strings.HasSuffix(err.Error(), "pi.yaml:2:1: unknown key `upss`; did you mean `ups`?") {
		t.Errorf("got %v", err)
	}
}

// keys are the paths of all keys; of a list, those of its items.
func keys(t reflect.Type, prefix string) (all []string) {
	for i := range t.NumField() {
		f := t.Field(i)
		path, of := prefix+f.Tag.Get("yaml"), f.Type
		all = append(all, path)
		if of.Kind() == reflect.Slice {
			path, of = path+"[0]", of.Elem()
		}
		if of.Kind() == reflect.Struct && of != reflect.TypeFor[config.Secret]() {
			all = append(all, keys(of, path+".")...)
		}
	}
	return all
}

func load(t *testing.T, text string) (proxy.Config, error) {
	t.Helper()
	t.Chdir(t.TempDir())
	if err := os.WriteFile("pi.yaml", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return proxy.LoadConfig("pi.yaml", false)
}

func TestR5_AWrongConfigurationIsRefusedWithWhatToWrite(t *testing.T) {
	long := strings.Repeat("x", 64)
	for name, tc := range map[string]struct{ text, want string }{
		"an unknown key":   {"nam: x\n", "pi.yaml:1:1: unknown key `nam`; did you mean `name`?"},
		"a key twice":      {"name: x\nname: y\n", "pi.yaml:2:1: name: this key is already on line 1"},
		"no YAML":          {"name: [\n", "pi.yaml:1:7: not YAML: this [ is never closed by a ]"},
		"two documents":    {"name: x\n---\nname: y\n", "pi.yaml:3:1: a second document starts here; a configuration file holds one"},
		"no value":         {"name:\n", "pi.yaml:1:1: name: has no value; give it one or remove the line"},
		"name":             {"name: Pi_1\n", `pi.yaml:1:1: name: "Pi_1" is no name: use small letters, digits and dashes`},
		"a long name":      {"name: " + long + "\n", `pi.yaml:1:1: name: "` + long + `" is no name: use small letters, digits and dashes`},
		"site":             {"site: My Home\n", `pi.yaml:1:1: site: "My Home" is no name: use small letters, digits and dashes`},
		"state_dir":        {"state_dir: \"\"\n", "pi.yaml:1:1: state_dir: must name a directory"},
		"log.level":        {"log: {level: loud}\n", `pi.yaml:1:7: log.level: "loud" is no level; write debug, info, warn or error`},
		"log.format":       {"log: {format: xml}\n", `pi.yaml:1:7: log.format: "xml" is no format; write text or json`},
		"lan.listen":       {"lan: {listen: 7777}\n", `pi.yaml:1:7: lan.listen: must be text; write it in quotes: "7777"`},
		"a port too high":  {"lan: {listen: \":77777\"}\n", `pi.yaml:1:7: lan.listen: ":77777" is no address; write <host>:<port>`},
		"a port in words":  {"lan: {listen: \":http\"}\n", `pi.yaml:1:7: lan.listen: ":http" is no address; write <host>:<port>`},
		"an auth key":      {"tailnet: {auth_key_file: a/b}\n", `pi.yaml:1:11: tailnet.auth_key_file: must be the bare name of a systemd credential, or an absolute path`},
		"no ups":           {"ups: []\n", "pi.yaml:1:1: ups: there must be one; leave the key out for apcupsd on this machine"},
		"an unnamed ups":   {"ups: [{nis: \"h:1\"}]\n", `pi.yaml:1:8: ups[0].name: "" is no name: use small letters, digits and dashes`},
		"a ups nowhere":    {"ups: [{name: a}]\n", `pi.yaml:1:8: ups[0].nis: "" is no address; write <host>:<port>`},
		"nis without host": {"ups: [{name: a, nis: \":3551\"}]\n", `pi.yaml:1:17: ups[0].nis: ":3551" is no address; write <host>:<port>`},
		"nis without port": {"ups: [{name: a, nis: \"h:\"}]\n", `pi.yaml:1:17: ups[0].nis: "h:" is no address; write <host>:<port>`},
		"poll, no unit":    {"ups: [{name: a, nis: \"h:1\", poll: 1}]\n", "pi.yaml:1:29: ups[0].poll: 1 has no unit; write 1s, 1m or 1h"},
		"poll, too short":  {"ups: [{name: a, nis: \"h:1\", poll: 10ms}]\n", "pi.yaml:1:29: ups[0].poll: 10ms is too short; at least 200ms"},
		"poll, too long":   {"ups: [{name: a, nis: \"h:1\", poll: 30s}]\n", "pi.yaml:1:29: ups[0].poll: 30s is too long: what is older than 3s is not acted upon; write 2s at most, or leave the key out for 1s"},
		"another machine's output": {"ups: [{name: a, nis: \"h:1\", cut_output: true}]\n",
			"pi.yaml:1:29: ups[0].cut_output: only the apcupsd of this machine cuts an output, and nis names another; leave the key out"},
		"two outputs": {"ups:\n  - {name: a, nis: \"localhost:1\", cut_output: true}\n  - {name: b, nis: \"[::1]:2\", cut_output: true}\n",
			"pi.yaml:3:31: ups[1].cut_output: one apcupsd cuts one output, and a has the key already"},
		"a cut without a halt": {"halt: false\nups: [{name: a, nis: \"127.0.0.1:1\", cut_output: true}]\n",
			"pi.yaml:2:37: ups[0].cut_output: the output is cut when the Pi halts; write halt: true too"},
		"a brain": {"brains:\n  - address: \":80\"\n    key: \"ed25519:AAAA\"\n",
			"pi.yaml:2:5: brains[0].address: \":80\" is no address; write <host>:<port>\n" +
				"pi.yaml:3:5: brains[0].key: a public key is \"ed25519:\" and 32 bytes in base64; the brain logs its own at start"},
		"keys and values in one go": {"name: Pi_1\nnam: x\n", "pi.yaml:1:1: name: \"Pi_1\" is no name: use small letters, digits and dashes\n" +
			"pi.yaml:2:1: unknown key `nam`; did you mean `name`?"},
		"all that is wrong, by line": {"ups:\n  - name: a\n    nis: 127.0.0.1:3551\n  - name: a\n    nis: nowhere\nname: \"\"\n",
			"pi.yaml:4:5: ups[1].name: \"a\" stands here for the second time\n" +
				"pi.yaml:5:5: ups[1].nis: \"nowhere\" is no address; write <host>:<port>\n" +
				"pi.yaml:6:1: name: \"\" is no name: use small letters, digits and dashes"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := load(t, tc.text); err == nil || err.Error() != tc.want {
				t.Errorf("got  %v\nwant %s", err, tc.want)
			}
		})
	}
}

func TestConfigFillsInWhatAFileLeavesOut(t *testing.T) {
	c, err := load(t, "name: pi\nups:\n  - {name: rack, nis: \"[::1]:3551\", poll: 2s}\n  - {name: desk, nis: \"apc.lan:3551\"}\n")
	if err != nil {
		t.Fatal(err)
	}
	want := proxy.DefaultConfig()
	want.Name = "pi"
	want.UPS = []proxy.UPS{{Name: "rack", NIS: "[::1]:3551", Poll: config.Duration(2 * time.Second)},
		{Name: "desk", NIS: "apc.lan:3551", Poll: config.Duration(time.Second)}}
	if diff := cmp.Diff(want, c, cmp.AllowUnexported(config.Secret{})); diff != "" {
		t.Error(diff)
	}
}

func TestConfigMayBeMissingOnlyAtItsUsualPlace(t *testing.T) {
	path := filepath.Join(t.TempDir(), "none.yaml")
	if _, err := proxy.LoadConfig(path, false); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v, want that it is not there", err)
	}
	// Where the machine's own name is no name the defaults alone do not do.
	c, err := proxy.LoadConfig(path, true)
	if want := proxy.DefaultConfig(); err == nil && c.Name != want.Name {
		t.Errorf("the name is %q, want %q", c.Name, want.Name)
	} else if err != nil && !strings.Contains(err.Error(), "is no name") {
		t.Error(err)
	}
	if err := os.Mkdir(path, 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := proxy.LoadConfig(path, true); err == nil {
		t.Error("a directory passes for a configuration")
	}
}

func TestConfigTakesItsStateDirectoryFromSystemd(t *testing.T) {
	t.Setenv("STATE_DIRECTORY", "/var/lib/elsewhere")
	if c := proxy.DefaultConfig(); c.StateDir != "/var/lib/elsewhere" {
		t.Errorf("got %q", c.StateDir)
	}
}

func TestLogLevel(t *testing.T) {
	for text, want := range map[string]slog.Level{"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError} {
		c, err := load(t, "name: pi\nlog: {level: "+text+"}\n")
		if err != nil || c.LogLevel() != want {
			t.Errorf("%s is %v, %v", text, c.LogLevel(), err)
		}
	}
}
