package brain

import (
	"encoding"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sentinel.home.arpa/shared/config"
)

// key is one key of cloud.yaml, as the reference shows it.
type key struct {
	path   string // as the documentation has it: sites[].nodes[].key, plan[].nodes.NAME.api
	of     reflect.Type
	places []string // where it may stand in the reference
}

// keysOf are all keys of a configuration's type, in the order of its fields.
func keysOf(t reflect.Type, path string, places []string) []key {
	all := func(format string, args ...any) (out []string) {
		for _, p := range places {
			out = append(out, p+fmt.Sprintf(format, args...))
		}
		return out
	}
	switch t.Kind() {
	case reflect.Pointer:
		return keysOf(t.Elem(), path, places)
	case reflect.Slice:
		var in []string
		for i := range 3 {
			in = append(in, all("[%d]", i)...)
		}
		return keysOf(t.Elem(), path+"[]", in)
	case reflect.Map:
		return keysOf(t.Elem(), path+".NAME", all(".pve2"))
	case reflect.Struct:
		if slices.Contains([]reflect.Type{reflect.TypeFor[config.Secret](), reflect.TypeFor[config.Private](), reflect.TypeFor[Hours]()}, t) {
			return nil
		}
		var keys []key
		for i := range t.NumField() {
			name := t.Field(i).Tag.Get("yaml")
			if name == "-" || !t.Field(i).IsExported() {
				continue
			}
			k := key{strings.TrimPrefix(path+"."+name, "."), t.Field(i).Type, all(".%s", name)}
			if path == "" {
				k.places = []string{name}
			}
			// A Pi's place is no node's, though both are peers.
			if strings.HasPrefix(k.path, "sites[].nodes[].") && name != "name" && name != "key" {
				continue
			}
			keys = append(append(keys, k), keysOf(k.of, k.path, k.places)...)
		}
		return keys
	}
	return nil
}

// reference is the file that everybody copies from, with what it says of each key.
type reference struct {
	lines []string
	file  *config.File
	cfg   Config
}

func readReference(t *testing.T) reference {
	t.Helper()
	t.Setenv("STATE_DIRECTORY", "")
	text, err := os.ReadFile("reference.yaml")
	if err != nil {
		t.Fatal(err)
	}
	c, f, err := loadConfig("reference.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return reference{strings.Split(string(text), "\n"), f, c}
}

var (
	behind = regexp.MustCompile(`[^#]\s+# (.*)$`)
	alone  = regexp.MustCompile(`^\s*# (.*)$`)
)

// shows reports whether a place's key stands on the line that an error about it would name.
func (r reference) shows(place string) bool {
	name, _, _ := strings.Cut(place[strings.LastIndexByte(place, '.')+1:], "[")
	return strings.Contains(r.lines[r.file.Errorf(place, "").Line-1], name+":")
}

// comment is what stands behind a key, or else right above it.
func (r reference) comment(k key) string {
	for _, place := range k.places {
		if !r.shows(place) {
			continue
		}
		line := r.file.Errorf(place, "").Line - 1
		if m := behind.FindStringSubmatch(r.lines[line]); m != nil {
			return m[1]
		}
		var above []string
		for line--; line >= 0 && alone.MatchString(r.lines[line]); line-- {
			above = append([]string{alone.FindStringSubmatch(r.lines[line])[1]}, above...)
		}
		if len(above) > 0 {
			return strings.Join(above, " ")
		}
	}
	return ""
}

// TestR5_ReferenceEqualsTheDefaults, shows every key with a comment, and says the bounds
// that the check goes by.
func TestR5_ReferenceEqualsTheDefaults(t *testing.T) {
	r := readReference(t)
	want := DefaultConfig()
	// What follows has no default in the structure: examples, and what others default.
	want.Sites, want.Contacts, want.Twilio, want.Proxmox, want.Plan = r.cfg.Sites, r.cfg.Contacts, r.cfg.Twilio, r.cfg.Proxmox, r.cfg.Plan
	want.Tailnet.AuthKey, want.Tailnet.AllowNodes = r.cfg.Tailnet.AuthKey, r.cfg.Tailnet.AllowNodes
	want.Email = r.cfg.Email
	want.Deadman.URL = r.cfg.Deadman.URL
	want.BootIDFile = "/proc/sys/kernel/random/boot_id"
	if diff := cmp.Diff(want, r.cfg, cmp.AllowUnexported(config.Secret{}, config.Private{}, Channel{})); diff != "" {
		t.Errorf("the reference is not the defaults (-default +reference):\n%s", diff)
	}
	for i, d := range []config.Duration{defaultGuestDeadline, defaultGuestDeadline, defaultNodeDeadline} {
		if r.cfg.Plan[i].Deadline != d {
			t.Errorf("plan[%d].deadline is %s, not %s", i, r.cfg.Plan[i].Deadline, d)
		}
	}
	keys := keysOf(reflect.TypeFor[Config](), "", []string{""})
	for _, k := range keys {
		if !slices.ContainsFunc(k.places, r.shows) {
			t.Errorf("the reference does not show %s", k.path)
		} else if r.comment(k) == "" {
			t.Errorf("the reference says nothing of %s", k.path)
		}
		bounds := bounds(k)
		if bounds != "" && k.path != "plan[].deadline" && k.path != "plan[].timeout" && k.path != "contacts[].notices[].repeat" && k.path != "tailnet.udp_port" && !strings.HasSuffix(r.comment(k), "; "+bounds) {
			t.Errorf("the reference says of %s: %q, and not that it is %s", k.path, r.comment(k), bounds)
		}
		restart := strings.Contains(strings.ToLower(r.comment(k)), "needs a restart")
		if restart != slices.Contains(fixed(), k.path) && k.path != "tailnet.auth_key_file" {
			t.Errorf("the reference says of %s: %q", k.path, r.comment(k))
		}
	}
	for _, l := range limits() {
		if !slices.ContainsFunc(keys, func(k key) bool { return k.path == l.key }) {
			t.Errorf("%s is bounded, and no key", l.key)
		}
	}
}

func bounds(k key) string {
	for _, l := range limits() {
		if l.key == k.path {
			return l.words
		}
	}
	return ""
}

// TestR5_EveryDurationHasBounds, or a slip of the finger is taken.
func TestR5_EveryDurationHasBounds(t *testing.T) {
	for _, k := range keysOf(reflect.TypeFor[Config](), "", []string{""}) {
		number := k.of == reflect.TypeFor[config.Duration]() || k.of == reflect.TypeFor[config.Percent]() || k.of.Kind() == reflect.Int
		if number && bounds(k) == "" {
			t.Errorf("%s has no bounds", k.path)
		}
	}
}

// severalUPSes has its backquotes written as two underscores.
const severalUPSes = `## Several UPSes

Each UPS has an apcupsd of its own, also where one Pi watches several: on the Pi that is one process for each, started with a
configuration of its own (__apcupsd -f FILE -P PIDFILE__) in which __NISPORT__, __DEVICE__, __LOCKFILE__, __PWRFAILDIR__,
__NOLOGINDIR__ and __EVENTSFILE__ differ; with USB, write a __DEVICE__ that stays the same over reboots. The Pi's
configuration, __/etc/sentinel/pi.yaml__, gives each a name:

__ __ __yaml
ups:
  - {name: rack, nis: "127.0.0.1:3551"}
  - {name: desk, nis: "127.0.0.1:3552"}
__ __ __

By these names __cloud.yaml__ says what hangs on which. Two Pis of one site may watch one UPS each in the same way; names are of
the site, so no two may be alike:

__ __ __yaml
sites:
  - name: home
    pi_proxies: [pi]
    ups:
      - {name: rack, feeds: [pve1, pve2]}
      - {name: desk, feeds: [pve2, pve3]}
    any_ups: [pve2]
__ __ __

Then __pve1__ and its guests go down when rack's battery calls for it, and __pve3__ when desk's does; __pve2__ with either, and without the
line __any_ups__ only when both do. What stands under none goes down with any, and a UPS of a Pi's that no entry here names may feed everything,
so the two files must agree. __sentinel-cloud plan show__ says what stays on if one is out
alone, and __plan simulate --ups desk__ what goes down. On the Pi that halts itself __cut_output__ may stand at one UPS, the one that feeds the Pi.
`

// TestR5_Documentation: docs/configuration.md is made of the reference, the defaults and
// the limits.
func TestR5_Documentation(t *testing.T) {
	r := readReference(t)
	var b strings.Builder
	b.WriteString(`# Configuration of the brain

Every key of ` + "`/etc/sentinel/cloud.yaml`" + `. An example to copy from is
` + "`cloud/brain/reference.yaml`" + `; ` + "`sentinel-cloud check-config`" + ` says what is wrong with a file, by line.
` + "`systemctl reload sentinel-cloud`" + ` takes a changed file without a restart: the log has a line for
each key that changed, and one for each that needs a restart. A wrong file is not taken; the log and
the page say so until there is a right one.

A node that is left out and that nobody can vouch for any more is forgotten; one that is known by a
key bound over the tailnet goes on being watched. A secret that systemd hands over as a credential
is read anew only with a restart of the unit, one named by its path with each reload.

| key | type | default | bounds | what it does |
|---|---|---|---|---|
`)
	for _, k := range keysOf(reflect.TypeFor[Config](), "", []string{""}) {
		about := strings.TrimSuffix(r.comment(k), "; "+bounds(k))
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s |\n", k.path, typeOf(k.of), byDefault(k), bounds(k), strings.ReplaceAll(about, "|", `\|`))
	}
	b.WriteString(`
A time carries its unit (` + "`500ms`, `20s`, `1h30m`, `14d`" + `), a share its sign (` + "`20%`" + `). A file is named
by an absolute path, or by the bare name of a systemd credential.

`)
	b.WriteString(strings.NewReplacer("__ __ __", "```", "__", "`").Replace(severalUPSes))
	golden(t, filepath.Join("..", "..", "docs", "configuration.md"), b.String())
}

func typeOf(t reflect.Type) string {
	switch {
	case t == reflect.TypeFor[config.Duration]():
		return "time"
	case t == reflect.TypeFor[config.Percent]():
		return "share"
	case t == reflect.TypeFor[config.Secret]():
		return "file"
	case t == reflect.TypeFor[config.Private]():
		return "address"
	case t == reflect.TypeFor[Hours]():
		return "hours"
	case t == reflect.TypeFor[*Guests]():
		return "`all`, or section"
	}
	switch t.Kind() {
	case reflect.Pointer, reflect.Struct:
		return "section"
	case reflect.Slice:
		return "list"
	case reflect.Map:
		return "names"
	case reflect.String:
		return "text"
	case reflect.Bool:
		return "`true`"
	}
	return "number"
}

// byDefault is what a file means that leaves the key out.
func byDefault(k key) string {
	switch k.path {
	case "plan[].timeout":
		return "the guest's own"
	case "plan[].deadline":
		return fmt.Sprintf("`%s`, `%s`", defaultGuestDeadline, defaultNodeDeadline)
	case "boot_id_file":
		return "the kernel's"
	case "contacts[].notices[].least":
		return "`info`"
	case "contacts[].notices[].on":
		return "`both`"
	case "contacts[].notices[].repeat":
		return "never"
	case "contacts[].quiet_hours":
		return "none"
	case "email.port":
		return "`587`, `465`, `25`"
	case "email.tls":
		return "`starttls`"
	case "plan_on":
		return "none"
	case "proxmox.via":
		return "`pi`"
	case "twilio.language":
		return "`en-US`"
	case "twilio.api_url":
		return "`https://api.twilio.com`"
	}
	v := reflect.ValueOf(DefaultConfig())
	for name := range strings.SplitSeq(k.path, ".") {
		if v.Kind() != reflect.Struct || strings.HasSuffix(name, "[]") {
			return ""
		}
		for i := range v.NumField() {
			if v.Type().Field(i).Tag.Get("yaml") == name {
				v = v.Field(i)
				break
			}
		}
	}
	if _, text := v.Interface().(encoding.TextMarshaler); !text && (v.Kind() == reflect.Struct || v.Kind() == reflect.Pointer) || v.IsZero() && v.Kind() != reflect.Int64 {
		return ""
	}
	if v.Kind() == reflect.Slice {
		return "`" + strings.Join(v.Interface().([]string), "`, `") + "`"
	}
	return fmt.Sprintf("`%v`", v.Interface())
}
