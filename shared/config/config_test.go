package config

import (
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// home has one field of each kind that programs use.
type home struct {
	Listen   string             `yaml:"listen"`
	Port     uint16             `yaml:"port"`
	Offset   int8               `yaml:"offset"`
	Scale    float64            `yaml:"scale"`
	Armed    bool               `yaml:"armed"`
	Silence  Duration           `yaml:"silence"`
	Std      time.Duration      `yaml:"std"`
	Charge   *Percent           `yaml:"charge"`
	Token    Secret             `yaml:"token_file"`
	Anchor   netip.AddrPort     `yaml:"anchor"`
	Contacts []contact          `yaml:"contacts"`
	Nodes    map[string]contact `yaml:"nodes"`
	Guests   guests             `yaml:"guests"`
	Module   map[string]any     `yaml:"module"`
	common   `yaml:",inline"`
	Base     common `yaml:",inline"`
	Hidden   string `yaml:"-"`
}

type common struct{ Zone string }

type contact struct {
	Name    string   `yaml:"name"`
	Phone   string   `yaml:"phone"`
	Notices []string `yaml:"notices"`
}

// guests is "all" or a list of names.
type guests struct {
	All   bool
	Names []string
}

func (g *guests) UnmarshalYAML(decode func(any) error) error {
	var word string
	if decode(&word) == nil {
		if word != "all" {
			return errors.New(`must be "all" or a list of names`)
		}
		g.All = true
		return nil
	}
	return decode(&g.Names)
}

func TestParseFillsEveryKind(t *testing.T) {
	t.Setenv("SENTINEL_TEST_HOST", "127.0.0.1")
	t.Setenv("SENTINEL_TEST_PORT", "8443")
	h := home{Listen: "kept unless named", Offset: 3, Contacts: []contact{{Name: "default"}}}
	_, err := Parse("t.yaml", []byte(`# a comment
listen: http://${SENTINEL_TEST_HOST}:80/$HOME$$
port: ${SENTINEL_TEST_PORT}
scale: 1.5
armed: true
silence: 1h30m
std: 500ms
charge: 50%
token_file: twilio-secret
anchor: 1.1.1.1:443
contacts:
  - name: Alex
    phone: "+886912345678"
    notices: ["ntfy://ntfy.example.org/home", 'two']
nodes:
  pve2: {name: two}
  "a.b": {name: dots}
guests: [mail, nas]
module: {fail_if: [1, 2.5, true, x]}
zone: Asia/Taipei
`), &h)
	if err != nil {
		t.Fatal(err)
	}
	half := Percent(50)
	want := home{
		Listen: "http://127.0.0.1:80/$HOME$$", Port: 8443, Offset: 3, Scale: 1.5, Armed: true,
		Silence: Duration(90 * time.Minute), Std: 500 * time.Millisecond, Charge: &half,
		Token: Secret{"twilio-secret"}, Anchor: netip.MustParseAddrPort("1.1.1.1:443"),
		Contacts: []contact{{"Alex", "+886912345678", []string{"ntfy://ntfy.example.org/home", "two"}}},
		Nodes:    map[string]contact{"pve2": {Name: "two"}, "a.b": {Name: "dots"}},
		Guests:   guests{Names: []string{"mail", "nas"}},
		Module:   map[string]any{"fail_if": []any{int64(1), 2.5, true, "x"}},
		Base:     common{Zone: "Asia/Taipei"},
	}
	if diff := cmp.Diff(want, h, cmp.AllowUnexported(home{}, Secret{}), cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })); diff != "" {
		t.Error(diff)
	}
}

func TestEmptyFileKeepsDefaults(t *testing.T) {
	for _, text := range []string{"", "\n", "# only a comment\n", "---\n", "\ufeff"} {
		h := home{Listen: "default"}
		if _, err := Parse("t.yaml", []byte(text), &h); err != nil || h.Listen != "default" {
			t.Errorf("%q: listen %q, error %v", text, h.Listen, err)
		}
	}
}

// TestR5_WrongInput: a wrong configuration is refused with file, line and what to write instead.
func TestR5_WrongInput(t *testing.T) {
	t.Setenv("SENTINEL_TEST_TOKEN", "hunter2")
	for _, c := range []struct{ name, text, want string }{
		{"misspelt key", "contcts: []", "t.yaml:1:1: unknown key `contcts`; did you mean `contacts`?"},
		{"misspelt key below", "contacts:\n  - name: Alex\n    phon: x", "t.yaml:3:5: contacts[0]: unknown key `phon`; did you mean `phone`?"},
		{"hyphen for underscore", "token-file: x", "t.yaml:1:1: unknown key `token-file`; did you mean `token_file`?"},
		{"foreign key", "nodes: {pve1: {frobnicate: 1}}", "t.yaml:1:16: nodes.pve1: unknown key `frobnicate`; known here: name, notices, phone"},
		{"hidden field", "hidden: x", "t.yaml:1:1: unknown key `hidden`; known here: anchor, armed, charge, contacts, guests, listen, module, nodes, offset, port, scale, silence, std, token_file, zone"},
		{"duplicate key", "port: 1\nlisten: a\nport: 2", "t.yaml:3:1: port: this key is already on line 1"},
		{"duplicate key below", "nodes:\n  a: {name: x}\n  a: {name: y}", "t.yaml:3:3: nodes.a: this key is already on line 2"},
		{"number for text", "contacts:\n  - phone: 912345678", `t.yaml:2:5: contacts[0].phone: must be text; write it in quotes: "912345678"`},
		{"truth for text", "listen: true", `t.yaml:1:1: listen: must be text; write it in quotes: "true"`},
		{"list for text", "listen: [a]", "t.yaml:1:1: listen: must be text, not a list"},
		{"text for list", "contacts: Alex", "t.yaml:1:1: contacts: must be a list, not text"},
		{"map for list", "contacts: {name: Alex}", "t.yaml:1:1: contacts: must be a list, not a map"},
		{"text for map", "nodes: pve1", "t.yaml:1:1: nodes: must be a map of keys and values, not text"},
		{"list for struct", "contacts: [[a]]", "t.yaml:1:12: contacts[0]: must be a map of keys and values, not a list"},
		{"document is a list", "- a", "t.yaml:1:1: must be a map of keys and values, not a list"},
		{"document is text", "hello", "t.yaml:1:1: must be a map of keys and values, not text"},
		{"empty value", "listen:\nport: 1", "t.yaml:1:1: listen: has no value; give it one or remove the line"},
		{"empty item", "contacts:\n  - name: a\n    notices:\n      -\n", "t.yaml:4:7: contacts[0].notices[0]: has no value; give it one or remove the line"},
		{"yes", "armed: yes", `t.yaml:1:1: armed: must be true or false, not "yes"`},
		{"one", "armed: 1", "t.yaml:1:1: armed: must be true or false, not 1"},
		{"text for number", `port: "80"`, `t.yaml:1:1: port: must be a whole number, not "80"`},
		{"fraction", "port: 80.5", "t.yaml:1:1: port: must be a whole number, not 80.5"},
		{"hexadecimal", "port: 0x50", "t.yaml:1:1: port: must be a whole number, not 0x50"},
		{"octal", "port: 010", "t.yaml:1:1: port: must be a whole number, not 010"},
		{"port too large", "port: 70000", "t.yaml:1:1: port: 70000 is out of range; 0 to 65535"},
		{"negative port", "port: -1", "t.yaml:1:1: port: -1 is out of range; 0 to 65535"},
		{"int8", "offset: 128", "t.yaml:1:1: offset: 128 is out of range; -128 to 127"},
		{"list for number", "port: [1]", "t.yaml:1:1: port: must be a whole number, not a list"},
		{"not a number", "scale: .nan", "t.yaml:1:1: scale: must be a number, not .nan"},
		{"infinite", "scale: .inf", "t.yaml:1:1: scale: must be a number, not .inf"},
		{"no unit", "silence: 20", "t.yaml:1:1: silence: 20 has no unit; write 20s, 20m or 20h"},
		{"no unit, standard type", "std: 20", "t.yaml:1:1: std: 20 has no unit; write 20s, 20m or 20h"},
		{"odd unit", "silence: 20 sec", `t.yaml:1:1: silence: "20 sec" is no duration; write it such as 20s, 1h30m or 14d`},
		{"negative duration", "silence: -5s", "t.yaml:1:1: silence: -5s is negative; write it without the minus"},
		{"list for duration", "silence: [5s]", "t.yaml:1:1: silence: must be one value, not a list"},
		{"no percent sign", "charge: 50", "t.yaml:1:1: charge: 50 has no percent sign; write 50%"},
		{"too many percent", "charge: 250%", "t.yaml:1:1: charge: 250% is out of range; 0% to 100%"},
		{"no percentage", "charge: half", `t.yaml:1:1: charge: "half" is no percentage; write it such as 50%`},
		{"secret by path", "token_file: ../secret", `t.yaml:1:1: token_file: must be the bare name of a systemd credential, or an absolute path`},
		{"secret unnamed", `token_file: ""`, "t.yaml:1:1: token_file: must name a file"},
		{"own type, word", "guests: some", `t.yaml:1:1: guests: must be "all" or a list of names`},
		{"own type, item", "guests: [a, 1]", `t.yaml:1:13: guests[1]: must be text; write it in quotes: "1"`},
		{"unset variable", "contacts:\n  - name: ${SENTINEL_TEST_UNSET}", "t.yaml:2:5: contacts[0].name: the environment variable SENTINEL_TEST_UNSET is not set"},
		{"odd variable", "listen: ${a-b}", "t.yaml:1:1: listen: ${a-b} is no variable; write ${NAME}"},
		{"open variable", "listen: ${HOME", "t.yaml:1:1: listen: ${HOME is no variable; write ${NAME}"},
		{"variable is not shown", "silence: ${SENTINEL_TEST_TOKEN}", `t.yaml:1:1: silence: "${SENTINEL_TEST_TOKEN}" is no duration; write it such as 20s, 1h30m or 14d`},
		{"variable is no number", "port: ${SENTINEL_TEST_TOKEN}", `t.yaml:1:1: port: must be a whole number, not "${SENTINEL_TEST_TOKEN}"`},
		{"anchor", "listen: &a x", "t.yaml:1:1: listen: anchors (&) and aliases (*) are not supported; write the value out, or put text in quotes"},
		{"alias", "listen: *a", "t.yaml:1:1: listen: anchors (&) and aliases (*) are not supported; write the value out, or put text in quotes"},
		{"merge", "nodes:\n  a:\n    <<: {name: x}", "t.yaml:3:5: nodes.a: a key must be plain text"},
		{"tag", "listen: !!str 1", "t.yaml:1:1: listen: tags (!) are not supported; remove it, or put text in quotes"},
		{"two documents", "listen: a\n---\nlisten: b", "t.yaml:3:1: a second document starts here; a configuration file holds one"},
		{"open quote", "listen: \"a\nport: 1", "t.yaml:1:9: not YAML: could not find end character of double-quoted text"},
		{"open list", "contacts: [a", "t.yaml:1:11: not YAML: this [ is never closed by a ]"},
		{"tab", "nodes:\n\ta: 1", "t.yaml:2:1: not YAML: indent with spaces, not with tabs"},
		{"binary", "listen: a\nport: \xff", "t.yaml:2:7: this is not UTF-8 text"},
		{"NUL", "listen: \x00", "t.yaml:1:9: this is not UTF-8 text"},
		{"brackets", "listen: " + strings.Repeat("[", 100000), "t.yaml:1:73: nested deeper than 64 levels"},
		{"dashes", strings.Repeat("- ", 100000), "t.yaml:1:129: nested deeper than 64 levels"},
		{"newline in a key", `"a\nb": 1`, "t.yaml:1:1: unknown key `a b`; known here: anchor, armed, charge, contacts, guests, listen, module, nodes, offset, port, scale, silence, std, token_file, zone"},
		{"too large", strings.Repeat("#", maxSize+1), "t.yaml: is larger than 1024 KiB"},
		{"all at once, by line", "port: x\nsilence: 5\ncontcts: 1", "t.yaml:1:1: port: must be a whole number, not \"x\"\nt.yaml:2:1: silence: 5 has no unit; write 5s, 5m or 5h\nt.yaml:3:1: unknown key `contcts`; did you mean `contacts`?"},
	} {
		t.Run(c.name, func(t *testing.T) {
			file, err := Parse("t.yaml", []byte(c.text), new(home))
			if err == nil {
				t.Fatal("accepted")
			}
			if file != nil && len(file.wrong) == 0 {
				t.Error("a file came with the error though it could not be read")
			}
			if got := err.Error(); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
			var one *Error
			if !errors.As(err, &one) {
				t.Errorf("%T holds no *Error", err)
			}
		})
	}
}

func TestLoad(t *testing.T) {
	if _, err := Load(filepath.Join(t.TempDir(), "none.yaml"), new(home)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing file: %v", err)
	}
	path := filepath.Join(t.TempDir(), "cloud.yaml")
	if err := os.WriteFile(path, []byte("port: 80\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var h home
	if _, err := Load(path, &h); err != nil || h.Port != 80 {
		t.Errorf("port %d, %v", h.Port, err)
	}
	if _, err := Load(path, h); err == nil {
		t.Error("a target that is no pointer was accepted")
	}
}

func TestErrorfFindsThePlace(t *testing.T) {
	f, err := Parse("t.yaml", []byte(`port: 1
contacts:
  - name: Alex
    phone: "0912345678"
nodes:
  pve2: {name: two}
  "a.b]": {phone: x}
`), new(home))
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"contacts[0].phone":      "4:5",
		"contacts[0].notices":    "3:5",
		"contacts[0].notices[7]": "3:5",
		"contacts[1]":            "2:1",
		"nodes.pve2.name":        "6:10",
		"nodes.pve2.phone":       "6:3",
		`nodes["a.b]"].phone`:    "7:12",
		`nodes["a.b]"].name`:     "7:3",
		`nodes["c"]`:             "5:1",
		"twilio.from":            "1:1",
		"":                       "1:1",
	} {
		got := f.Errorf(path, "bad %d", 1).Error()
		msg := "t.yaml:" + want + ": bad 1"
		if path != "" {
			msg = "t.yaml:" + want + ": " + path + ": bad 1"
		}
		if got != msg {
			t.Errorf("got %s, want %s", got, msg)
		}
	}
}

func TestJoinSortsByLine(t *testing.T) {
	f, err := Parse("t.yaml", []byte("port: 1\nlisten: a\n"), new(home))
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Join(nil, error((*Error)(nil)), f.Join()); err != nil {
		t.Errorf("nothing wrong, yet %v", err)
	}
	err = f.Join(f.Errorf("listen", "second"), nil, f.Join(f.Errorf("port", "first")), errors.New("anywhere"))
	want := "t.yaml: anywhere\nt.yaml:1:1: port: first\nt.yaml:2:1: listen: second"
	if err == nil || err.Error() != want {
		t.Errorf("got %v", err)
	}
}

// TestR5_AllInOneGo: what cannot be read stands beside what makes no sense, by line, but for what only follows from it.
func TestR5_AllInOneGo(t *testing.T) {
	f, err := Parse("t.yaml", []byte(`port: x
listen: nowhere
contacts:
  - nam: Alex
    phone: 7
  - name: Kim
    phone: none
nodes: pve1
`), new(home))
	if f == nil || err == nil {
		t.Fatalf("%v, %v", f, err)
	}
	got := f.Join(err, f.Errorf("listen", "makes no sense"), f.Errorf("port", "is zero"), f.Errorf("contacts[0].name", "is missing"), f.Errorf("contacts[0].phone", "is empty"),
		f.Errorf("contacts[1].phone", "is no number"), f.Errorf("contacts[1].name", "is short"), f.Errorf("contacts", "is too few"), f.Errorf("nodes.pve1", "is no node"), f.Errorf("zone", "is missing"))
	want := "t.yaml:1:1: port: must be a whole number, not \"x\"\n" +
		"t.yaml:1:1: zone: is missing\n" +
		"t.yaml:2:1: listen: makes no sense\n" +
		"t.yaml:4:5: contacts[0]: unknown key `nam`; did you mean `name`?\n" +
		"t.yaml:5:5: contacts[0].phone: must be text; write it in quotes: \"7\"\n" +
		"t.yaml:6:5: contacts[1].name: is short\n" +
		"t.yaml:7:5: contacts[1].phone: is no number\n" +
		"t.yaml:8:1: nodes: must be a map of keys and values, not text"
	if got == nil {
		t.Fatal("nothing is wrong")
	}
	if diff := cmp.Diff(strings.Split(want, "\n"), strings.Split(got.Error(), "\n")); diff != "" {
		t.Error(diff)
	}
}

func TestCarriageReturnsKeepPositions(t *testing.T) {
	_, err := Parse("t.yaml", []byte("listen: a\r\nnodes:\r\n  a: {name: 'x'}\r\nport: x\r\n"), new(home))
	if err == nil || !strings.HasPrefix(err.Error(), "t.yaml:4:1: ") {
		t.Error(err)
	}
}

func TestPositionsAfterBlockText(t *testing.T) {
	_, err := Parse("t.yaml", []byte("listen: |\n  one\n\n  two\n# note\nzone: >-\n  a\n  b\nport: x\n"), new(home))
	if err == nil || !strings.HasPrefix(err.Error(), "t.yaml:9:1: ") {
		t.Error(err)
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		"", "listen: a\nport: 1\n", "contacts:\n  - name: Alex\n    notices: [a, 'b']\n", "nodes: {a: {name: |\n x\n}}",
		"? a\n: b", "<<: *a", "&a b", "!!str x", "---\n...\n---", "%YAML 1.2\n", "listen: ${HOME}", "\"a\\u0000\": 1",
		"guests: all", "module: {a: [1, {b: ~}]}", "silence: 1d2h", "charge: 5%", "- - -", "[[", "{a", "a: >+\n\n b",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		file, err := Parse("t.yaml", data, new(home))
		if file == nil && err == nil || file != nil && (err == nil) != (len(file.wrong) == 0) {
			t.Fatalf("file %v with error %v", file, err)
		}
		if err != nil {
			for _, line := range strings.Split(err.Error(), "\n") {
				if !strings.HasPrefix(line, "t.yaml:") {
					t.Errorf("message over several lines: %q", err.Error())
				}
			}
		}
	})
}
