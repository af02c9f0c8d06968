package pvesim_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"sentinel.home.arpa/shared/proxmox"
	"sentinel.home.arpa/shared/sim/pvesim"
)

// The official description of the API is read where it lies, never copied: its
// licence is not ours.
const schemaFile = "pve-apidoc-9.1.json"

type schemaParam struct {
	Type     string          `json:"type"`
	Optional json.RawMessage `json:"optional"`
	Minimum  json.Number     `json:"minimum"` // some are strings
	Maximum  json.Number     `json:"maximum"`
	Enum     []string        `json:"enum"`
}

type schemaMethod struct {
	Permissions struct {
		Check []json.RawMessage `json:"check"` // "perm", path, privileges
	} `json:"permissions"`
	Parameters struct {
		AdditionalProperties json.RawMessage        `json:"additionalProperties"`
		Properties           map[string]schemaParam `json:"properties"`
	} `json:"parameters"`
}

type schemaNode struct {
	Path     string                  `json:"path"`
	Info     map[string]schemaMethod `json:"info"`
	Children []schemaNode            `json:"children"`
}

type schema map[string]map[string]schemaMethod // path, method

// loadSchema skips the test, and says so, where the file is not at hand.
func loadSchema(t *testing.T) schema {
	t.Helper()
	dir := os.Getenv("SENTINEL_TESTDATA")
	if dir == "" {
		dir = filepath.Join(moduleRoot(t), "..", "shared", "testdata")
	}
	b, err := os.ReadFile(filepath.Join(dir, schemaFile))
	if errors.Is(err, fs.ErrNotExist) {
		t.Skipf("SKIPPED, NOT PROVED against Proxmox's own API description: no %s in %s (SENTINEL_TESTDATA names another place)", schemaFile, dir)
	}
	if err != nil {
		t.Fatal(err)
	}
	var top []schemaNode
	if err := json.Unmarshal(b, &top); err != nil {
		t.Fatal(err)
	}
	s := schema{}
	var walk func([]schemaNode)
	walk = func(nodes []schemaNode) {
		for _, n := range nodes {
			s[n.Path] = n.Info
			walk(n.Children)
		}
	}
	walk(top)
	return s
}

func moduleRoot(t *testing.T) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for ; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		if dir == filepath.Dir(dir) {
			t.Fatal("no go.mod above the test")
		}
	}
}

// find matches a path against the schema's and returns what its variables are.
func (s schema) find(method, path string) (schemaMethod, map[string]any, error) {
	got := strings.Split(path, "/")
	for pattern, info := range s {
		want := strings.Split(pattern, "/")
		if len(want) != len(got) {
			continue
		}
		vars, ok := map[string]any{}, true
		for i := range want {
			if strings.HasPrefix(want[i], "{") {
				v, err := url.PathUnescape(got[i])
				if err != nil {
					return schemaMethod{}, nil, err
				}
				vars[strings.Trim(want[i], "{}")] = v
			} else if want[i] != got[i] {
				ok = false
				break
			}
		}
		if m, has := info[method]; ok && has {
			return m, vars, nil
		}
	}
	return schemaMethod{}, nil, fmt.Errorf("no %s %s", method, path)
}

// check says what is wrong with parameters, formats and patterns apart.
func (m schemaMethod) check(args map[string]any) []string {
	var wrong []string
	props := m.Parameters.Properties
	for name := range args {
		if _, ok := props[name]; !ok && string(m.Parameters.AdditionalProperties) == "0" {
			wrong = append(wrong, name+" is unknown")
		}
	}
	for name, p := range props {
		v, there := args[name]
		if !there {
			if p.Optional == nil {
				wrong = append(wrong, name+" is missing")
			}
			continue
		}
		if text := p.check(v); text != "" {
			wrong = append(wrong, name+" "+text)
		}
	}
	return wrong
}

var wholeNumber = regexp.MustCompile(`^[+-]?\d+$`)

func (p schemaParam) check(v any) string {
	text := fmt.Sprint(v)
	_, isBool := v.(bool)
	switch {
	case p.Type == "boolean":
		if !isBool && text != "0" && text != "1" {
			return "is no boolean"
		}
	case isBool:
		return "is a boolean"
	case p.Type == "integer" && !wholeNumber.MatchString(text):
		return "is no integer"
	}
	n, err := strconv.ParseFloat(text, 64)
	low, lowErr := p.Minimum.Float64()
	high, highErr := p.Maximum.Float64()
	switch {
	case err == nil && lowErr == nil && n < low:
		return "is too small"
	case err == nil && highErr == nil && n > high:
		return "is too large"
	case p.Enum != nil && !slices.Contains(p.Enum, text):
		return "is not in the list"
	}
	return ""
}

// checkExchange judges a recorded request.
func (s schema) checkExchange(x pvesim.Exchange) error {
	u, err := url.Parse(x.Path)
	if err != nil {
		return err
	}
	m, args, err := s.find(x.Method, strings.TrimPrefix(u.EscapedPath(), "/api2/json"))
	if err != nil {
		return err
	}
	for name, v := range u.Query() {
		args[name] = v[0]
	}
	if x.Body != "" {
		if x.ContentType != "application/json" {
			return fmt.Errorf("body is %q", x.ContentType)
		}
		body := map[string]any{}
		if err := json.Unmarshal([]byte(x.Body), &body); err != nil {
			return err
		}
		maps.Copy(args, body)
	}
	if wrong := m.check(args); len(wrong) > 0 {
		return fmt.Errorf("%s %s %s: %v", x.Method, x.Path, x.Body, wrong)
	}
	return nil
}

// TestSchema_AdapterRequests: whatever the adapter sends is valid by Proxmox's
// own description of its API.
func TestSchema_AdapterRequests(t *testing.T) {
	s := loadSchema(t)
	l := newLab(t, nil)
	c, err := proxmox.New(proxmox.Options{Node: "pve1", API: l.URL("pve1"), Fingerprint: l.Fingerprint("pve1"),
		TokenID: token, Secret: secret})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx := t.Context()
	guests, err := c.Guests(ctx)
	if err != nil || len(guests) != 5 {
		t.Fatal(guests, err)
	}
	must := func(what string, err error) {
		t.Helper()
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	for _, g := range []proxmox.Guest{{Node: "pve1", VMID: 100, Type: proxmox.QEMU}, {Node: "pve1", VMID: 101, Type: proxmox.LXC}} {
		_, err := c.GuestRunning(ctx, g)
		must("running", err)
		upid, err := c.ShutdownGuest(ctx, g, 90*time.Second)
		must("shutdown", err)
		_, err = c.TaskStatus(ctx, upid)
		must("task", err)
		eventually(t, "the guest is off", func() bool { return !l.running(g.VMID) })
		_, err = c.StartGuest(ctx, g)
		must("start", err)
		eventually(t, "the guest is on", func() bool { return l.running(g.VMID) })
		_, err = c.StopGuest(ctx, g)
		must("stop", err)
	}
	_, err = c.Reachable(ctx)
	must("reach", err)
	must("shutdown node", c.ShutdownNode(ctx))

	kinds := map[string]bool{}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, x := range l.seen {
		must("schema", s.checkExchange(x))
		kinds[x.Method+" "+regexp.MustCompile(`\d{3}|UPID[^/]*`).ReplaceAllString(x.Path, "*")] = true
	}
	if len(kinds) != 13 { // 2 lists, 4 calls for each type, task, version, node
		t.Errorf("%d kinds of requests were seen: %v", len(kinds), slices.Sorted(maps.Keys(kinds)))
	}
}

// probes are parameters for all POSTs; each is sent to each of them.
func probes() []map[string]any {
	list := []map[string]any{{}, {"timeout": 5, "forceStop": 1}, {"timeout": "5", "forceStop": true}, {"timeout": 0, "overrule-shutdown": "0"}}
	for _, name := range []string{"command", "timeout", "forceStop", "forcestop", "overrule-shutdown", "debug",
		"skiplock", "keepActive", "node", "vmid"} {
		for _, v := range []any{"shutdown", "poweroff", "", "1", "true", "-1", "1.5", 0, -1, 1.5, 60, true} {
			list = append(list, map[string]any{name: v})
		}
	}
	return list
}

// TestSchema_SimulatorRefuses: what the official description does not allow in
// a POST, the simulator refuses, with JSON and form bodies.
func TestSchema_SimulatorRefuses(t *testing.T) {
	s := loadSchema(t)
	l := newLab(t, nil)
	l.Fault("pve1", pvesim.Fault{Kind: pvesim.Lies}) // nothing is to happen
	paths := []string{"/nodes/pve1/status", "/nodes/pve1/status?command=reboot", "/nodes/pve1/qemu/100/status/start"}
	for _, verb := range []string{"shutdown", "stop"} {
		paths = append(paths, "/nodes/pve1/qemu/100/status/"+verb, "/nodes/pve1/lxc/101/status/"+verb)
	}
	refused, taken := 0, 0
	for _, path := range paths {
		bare, query, _ := strings.Cut(path, "?")
		m, vars, err := s.find(http.MethodPost, bare)
		if err != nil {
			t.Fatal(err)
		}
		for _, args := range probes() {
			for _, form := range []bool{false, true} {
				body, ctype := encode(t, args, form)
				r, err := l.request("pve1", http.MethodPost, "/api2/json"+path, ctype, body, goodAuth)
				if err != nil {
					t.Fatal(err)
				}
				all := maps.Clone(args)
				if form {
					for k, v := range all {
						all[k] = fmt.Sprint(v)
					}
				}
				for k, v := range vars {
					if _, clash := all[k]; !clash {
						all[k] = v
					}
				}
				if name, v, ok := strings.Cut(query, "="); ok {
					all[name] = v
				}
				wrong := m.check(all)
				switch {
				case len(wrong) > 0 && r.status == http.StatusOK:
					t.Errorf("%s %s was taken: %v", path, body, wrong)
				case len(wrong) > 0 && r.status == http.StatusBadRequest && len(r.errors) == 0:
					t.Errorf("%s %s: no errors in the answer", path, body)
				case len(wrong) > 0:
					refused++
				case r.status == http.StatusOK:
					taken++
				case !refusedForOtherReasons(args, r):
					t.Errorf("%s %s is right by the description, yet: %d %s %v", path, body, r.status, r.reason, r.errors)
				}
			}
		}
	}
	if refused < 1000 || taken < 100 {
		t.Errorf("refused %d, taken %d: this proves little", refused, taken)
	}
}

// refusedForOtherReasons knows what the description does not tell.
func refusedForOtherReasons(args map[string]any, r result) bool {
	_, node := args["node"] // another node than the path's
	_, vmid := args["vmid"]
	for _, text := range r.errors {
		if text == "Only root may use this option." {
			return true
		}
	}
	return node || vmid
}

func encode(t *testing.T, args map[string]any, form bool) (body, ctype string) {
	t.Helper()
	if !form {
		b, err := json.Marshal(args)
		if err != nil {
			t.Fatal(err)
		}
		return string(b), "application/json"
	}
	v := url.Values{}
	for name, arg := range args {
		v.Set(name, fmt.Sprint(arg))
	}
	return v.Encode(), "application/x-www-form-urlencoded"
}

// TestSchema_GuestIDs: ids that the description does not allow are refused.
func TestSchema_GuestIDs(t *testing.T) {
	s := loadSchema(t)
	l := newLab(t, nil)
	for _, id := range []string{"99", "0", "-100", "1000000000", "x", "100.5", "1e2"} {
		path := "/nodes/pve1/qemu/" + id + "/status/stop"
		m, vars, err := s.find(http.MethodPost, path)
		if err != nil {
			t.Fatal(err)
		}
		if len(m.check(vars)) == 0 {
			t.Errorf("%s is right by the description", id)
		}
		if r := l.post(t, "pve1", path, ""); r.status != 400 || r.errors["vmid"] == "" {
			t.Errorf("%s: %+v", id, r)
		}
	}
}

// TestRefusals holds without the schema file, for the mistakes that matter.
func TestRefusals(t *testing.T) {
	l := newLab(t, nil)
	for _, tc := range []struct{ path, form, name, text string }{
		{"status", "command=poweroff", "command", "value 'poweroff' does not have a value in the enumeration 'reboot, shutdown'"},
		{"status", "", "command", "property is missing and it is not optional"},
		{"qemu/100/status/shutdown", "timeout=-1", "timeout", "value must have a minimum value of 0"},
		{"qemu/100/status/shutdown", "timeout=soon", "timeout", "type check ('integer') failed - got 'soon'"},
		{"qemu/100/status/shutdown", "forceStop=true", "forceStop", "type check ('boolean') failed - got 'true'"},
		{"qemu/100/status/shutdown", "forcestop=1", "forcestop", "property is not defined in schema and the schema does not allow additional properties"},
		{"qemu/100/status/shutdown", "skiplock=1", "skiplock", "Only root may use this option."},
		{"lxc/101/status/shutdown", "skiplock=0", "skiplock", "property is not defined in schema and the schema does not allow additional properties"},
	} {
		r := l.post(t, "pve1", "/nodes/pve1/"+tc.path, tc.form)
		if r.status != 400 || r.reason != "Parameter verification failed." || r.errors[tc.name] != tc.text || len(r.errors) != 1 {
			t.Errorf("%s %s: %+v", tc.path, tc.form, r)
		}
	}
	if !l.running(100) || !l.NodeUp("pve1") {
		t.Error("something was done all the same")
	}
}
