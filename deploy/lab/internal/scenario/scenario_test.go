package scenario

import (
	"maps"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"sentinel.home.arpa/deploy/lab/internal/edge"
	"sentinel.home.arpa/deploy/lab/internal/home"
)

func TestParse(t *testing.T) {
	steps, err := Parse(strings.NewReader("# a story\n\n+0s freeze brain\n+1.5s  unplug\n+1m end\n"))
	if err != nil {
		t.Fatal(err)
	}
	want := []Step{{0, "freeze brain"}, {1500 * time.Millisecond, "unplug"}, {time.Minute, "end"}}
	if len(steps) != len(want) {
		t.Fatalf("%+v", steps)
	}
	for i := range want {
		if steps[i] != want[i] {
			t.Errorf("step %d: %+v, want %+v", i, steps[i], want[i])
		}
	}
	for text, says := range map[string]string{
		"unplug":              `line 1: "unplug" is no step`,
		"+5 unplug":           `line 1: "+5 unplug" is no step`,
		"+5s":                 `line 1: "+5s" is no step`,
		"-5s plug":            `line 1: "-5s plug" is no step`,
		"+9s plug\n+5s plug":  "line 2: +5s comes before the step above it",
		"+9s plug\n\n5s plug": `line 3: "5s plug" is no step`,
	} {
		if _, err := Parse(strings.NewReader(text)); err == nil || !strings.HasPrefix(err.Error(), says) {
			t.Errorf("%q: %v, want %s", text, err, says)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("+1s unplug\n+2s end")
	f.Fuzz(func(t *testing.T, text string) {
		steps, err := Parse(strings.NewReader(text))
		for i, s := range steps {
			if err == nil && (s.Do == "" || i > 0 && s.At < steps[i-1].At) {
				t.Fatalf("%q: %+v", text, steps)
			}
		}
	})
}

// TestStoriesThatAreNotTheUsual are stories.
func TestStoriesThatAreNotTheUsual(t *testing.T) {
	for _, name := range slices.AppendSeq(long(), maps.Keys(homes())) {
		if !slices.ContainsFunc(stories(), func(s story) bool { return s.name == name }) {
			t.Errorf("%s is no story", name)
		}
	}
	usual, two := home.DefaultOptions(), home.DefaultOptions()
	Furnish("power-outage", &usual)
	Furnish("pi-dies", &two)
	if len(usual.UPSes) != 1 || len(two.UPSes) != 2 || !Long("pi-dies") || Long("power-outage") {
		t.Errorf("%d and %d UPSes", len(usual.UPSes), len(two.UPSes))
	}
}

// house is a home as the judge asks about it.
type house struct{ up bool }

func (house) Do(string) error                { return nil }
func (h house) Up(string) bool               { return h.up }
func (house) Heartbeat(string) time.Duration { return 0 }
func (house) Timeline() string               { return "" }
func (house) Stopped() (string, []string)    { return "", nil }

func ms(d time.Duration) float64 { return float64(d.Milliseconds()) }

func call(at time.Duration, text string) edge.Entry {
	return edge.Entry{MS: ms(at), Edge: edge.Twilio, Method: "POST", Path: "/2010-04-01/Accounts/AC/Calls.json", Body: url.Values{"Twiml": {text}}.Encode(), Status: 201}
}

func command(at time.Duration, node, path, body string) edge.Entry {
	return edge.Entry{MS: ms(at), Edge: edge.PVE, Node: node, Method: "POST", Path: path, Body: body, Status: 200}
}

// goodOutage is what the edges see when the contract is kept; the plug is pulled at 1 s.
func goodOutage() []edge.Entry {
	at := 11*time.Second + 50*time.Millisecond
	es := []edge.Entry{{MS: 1010, Edge: edge.UPS, Flags: "0x05060010"},
		call(at, "Hello Alex. This is your home sentinel. The power at home has been out since 1. nine guests now, then three servers")}
	for i, n := range []string{"pve1", "pve2", "pve3"} {
		for j := range 3 {
			es = append(es, command(at+time.Duration(j), n, "/api2/json/nodes/"+n+"/qemu/10"+string(rune('0'+3*i+j))+"/status/shutdown", "timeout=60"))
		}
	}
	at += 5 * time.Second
	es = append(es, command(at, "pve2", "/api2/json/nodes/pve2/status", "command=shutdown"), command(at, "pve3", "/api2/json/nodes/pve3/status", "command=shutdown"),
		edge.Entry{MS: ms(at + time.Second), Edge: edge.Lab, Node: "pve2", What: "off"}, edge.Entry{MS: ms(at + time.Second), Edge: edge.Lab, Node: "pve3", What: "off"})
	return append(es, command(at+2*time.Second, "pve1", "/api2/json/nodes/pve1/status", "command=shutdown"),
		edge.Entry{MS: 6050, Edge: edge.Ntfy, What: "Power outage at home"})
}

// The judge of a power cut is content with a kept contract, and names each breach.
func TestTheJudgeOfAPowerCut(t *testing.T) {
	for name, c := range map[string]struct {
		change func(es []edge.Entry) []edge.Entry
		up     bool
		says   string // "" is content
	}{
		"kept":           {change: func(es []edge.Entry) []edge.Entry { return es }},
		"nothing":        {change: func(es []edge.Entry) []edge.Entry { return es[:1] }, says: "nothing was ever told to shut down"},
		"no call":        {change: func(es []edge.Entry) []edge.Entry { return append(es[:1:1], es[2:]...) }, says: "0 calls instead of one"},
		"two calls":      {change: func(es []edge.Entry) []edge.Entry { return append(es, es[1]) }, says: "2 calls instead of one"},
		"a guest missed": {change: func(es []edge.Entry) []edge.Entry { return append(es[:2:2], es[3:]...) }, says: "8 guests were told instead of 9"},
		"too early": {change: func(es []edge.Entry) []edge.Entry {
			es[2].MS = 5000
			return append(es[:1:1], append([]edge.Entry{es[2], es[1]}, es[3:]...)...)
		}, says: "on battery to the first Proxmox command: 3.990 s"},
		"a node before its guests": {change: func(es []edge.Entry) []edge.Entry { es[11].MS = 11_000; return es }, says: "was told before the last guest"},
		"the last node too early":  {change: func(es []edge.Entry) []edge.Entry { es[15].MS = es[11].MS + 1; return es }, says: "pve1 was told before pve2 was off"},
		"something else": {change: func(es []edge.Entry) []edge.Entry {
			return append(es, command(20*time.Second, "pve1", "/api2/json/nodes/pve1/qemu/100/status/start", ""))
		}, says: "a command outside the plan"},
		"not told":           {change: func(es []edge.Entry) []edge.Entry { return es[:16] }, says: "ntfy was never told of the outage"},
		"told with the call": {change: func(es []edge.Entry) []edge.Entry { es[16].MS = es[1].MS; return es }, says: "on battery to the notice: 10.040 s"},
		"refused":            {change: func(es []edge.Entry) []edge.Entry { es[4].Status = 403; return es }, says: "a command was answered with 403"},
		"still up":           {change: func(es []edge.Entry) []edge.Entry { return es }, up: true, says: "pve1 is still up"},
	} {
		t.Run(name, func(t *testing.T) {
			s := &stage{home: house{c.up}, marks: map[string]time.Duration{"unplug": time.Second, "down": 20 * time.Second}, report: func(string) {}, entries: c.change(goodOutage())}
			judgeOutage(s)
			broken := strings.Join(s.broken, "\n")
			if c.says == "" && broken != "" || !strings.Contains(broken, c.says) {
				t.Errorf("the judge says %q, want %q", broken, c.says)
			}
		})
	}
}
