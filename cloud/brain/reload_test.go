package brain

import (
	"encoding"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sentinel.home.arpa/shared/calls"
	"sentinel.home.arpa/shared/config"
	"sentinel.home.arpa/shared/courier"
	"sentinel.home.arpa/shared/sim/twiliosim"
	"sentinel.home.arpa/shared/twilio"
	"sentinel.home.arpa/shared/wire"
)

// set gives a brain that does not run a configuration.
func set(b *Brain, c Config) *Brain {
	b.set.Store(b.settingsOf(c, func(string, error) {}))
	return b
}

// record is a log that is read while it is written.
type record struct {
	mu   sync.Mutex
	text strings.Builder
}

func (r *record) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.Write(p)
}

// lines are those that contain a text, without what comes before the message.
func (r *record) lines(text string) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []string
	for line := range strings.Lines(r.text.String()) {
		if _, msg, ok := strings.Cut(strings.TrimSpace(line), " msg="); ok && strings.Contains(line, text) {
			out = append(out, msg)
		}
	}
	return out
}

// written is a configuration as a file: JSON is YAML.
func written(c Config) []byte {
	data, err := json.MarshalIndent(plain(reflect.ValueOf(c)), "", " ")
	if err != nil {
		panic(err)
	}
	return data
}

// plain leaves out what is zero and means nothing.
func plain(v reflect.Value) any {
	if hidden, ok := v.Interface().(config.Private); ok {
		return hidden.Reveal()
	}
	if text, ok := v.Interface().(encoding.TextMarshaler); ok {
		data, _ := text.MarshalText() // of durations and names, which cannot fail
		return string(data)
	}
	switch v.Kind() {
	case reflect.Pointer:
		return plain(v.Elem())
	case reflect.Struct:
		out := map[string]any{}
		for i := range v.NumField() {
			if !v.Type().Field(i).IsExported() {
				continue
			}
			_, timed := v.Field(i).Interface().(config.Duration)
			if timed || !v.Field(i).IsZero() {
				out[v.Type().Field(i).Tag.Get("yaml")] = plain(v.Field(i))
			}
		}
		return out
	case reflect.Slice:
		out := []any{}
		for i := range v.Len() {
			out = append(out, plain(v.Index(i)))
		}
		return out
	case reflect.Map:
		out := map[string]any{}
		for it := v.MapRange(); it.Next(); {
			out[it.Key().String()] = plain(it.Value())
		}
		return out
	}
	return v.Interface()
}

// reloading is a story with a cloud.yaml.
func reloading(t *testing.T, change func(h *home), story func(h *home)) {
	t.Helper()
	in(t, func(h *home) {
		h.file = filepath.Join(h.TempDir(), "cloud.yaml")
		if change != nil {
			change(h)
		}
	}, story)
}

// rewrite changes cloud.yaml and has it read again.
func (h *home) rewrite(change func(c *Config)) {
	h.Helper()
	c := h.cfg
	c.Sites = append([]Site(nil), c.Sites...)
	c.Contacts = append([]Person(nil), c.Contacts...)
	change(&c)
	h.cfg = c
	h.write(written(c))
}

func (h *home) write(text []byte) {
	h.Helper()
	if err := os.WriteFile(h.file, text, 0o600); err != nil {
		h.Fatal(err)
	}
	h.brain.reload.Ask()
	synctest.Wait()
}

func (h *home) logged(want ...string) {
	h.Helper()
	got := h.log.lines("configuration")
	if len(got) < len(want) || strings.Join(got[len(got)-len(want):], "\n") != strings.Join(want, "\n") {
		h.Errorf("the log says\n%s\nnot\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// join puts a node into the house that nobody has said anything of yet.
func (h *home) join(name string) *source {
	s := h.source(name)
	h.nodes[name] = s
	return s
}

func withNode(c *Config, s *source) {
	c.Sites[0].Nodes = append(c.Sites[0].Nodes[:len(c.Sites[0].Nodes):len(c.Sites[0].Nodes)], Peer{Name: s.name, Key: s.key.PublicKey()})
}

// TestR5_NodesComeAndGo without a restart: one that is added is pending and then beats, one
// that is removed is missed by nobody, and those that stay notice nothing.
func TestR5_NodesComeAndGo(t *testing.T) {
	reloading(t, nil, func(h *home) {
		s := h.join("pve4")
		h.rewrite(func(c *Config) { withNode(c, s) })
		h.logged(`"configuration changed" key=sites[home].nodes how="+ pve4"`, `"configuration reloaded" changed=1 need_restart=0`)
		h.mustTell("cloud.yaml was read again; changed: sites[home].nodes")
		if got := h.shows("pve4"); got.Condition != "pending" {
			h.Errorf("the page shows %+v", got)
		}
		s.life.Go(s.live)
		rest(2 * time.Second)
		if got := h.shows("pve4"); got.Condition != "up" {
			h.Errorf("the page shows %+v", got)
		}
		h.rewrite(func(c *Config) { c.Sites[0].Nodes = c.Sites[0].Nodes[1:] })
		h.logged(`"configuration changed" key=sites[home].nodes how="- pve1"`, `"configuration reloaded" changed=1 need_restart=0`)
		rest(time.Minute)
		for _, s := range h.view().Sites[0].Sources {
			if s.Name == "pve1" || s.Condition != "up" {
				h.Errorf("the page shows %+v", s)
			}
		}
		h.calls(0)
		h.rewrite(func(c *Config) { withNode(c, h.nodes["pve1"]) })
		rest(2 * time.Second)
		if got := h.shows("pve1"); got.Condition != "up" {
			h.Errorf("added again, the page shows %+v", got)
		}
		if lost := h.log.lines("message refused"); len(lost) == 0 {
			h.Error("a node that is not configured was listened to")
		}
	})
}

// TestR5_NobodyNoticesAReload: no heartbeat is missed, and no clock of silence starts again.
func TestR5_NobodyNoticesAReload(t *testing.T) {
	reloading(t, nil, func(h *home) {
		h.nodes["pve2"].kill()
		last := h.nodes["pve2"].lastWord()
		for n := range 15 {
			rest(time.Second)
			h.rewrite(func(c *Config) { c.Failure.Window = config.Duration(time.Hour + time.Duration(n)*time.Minute) })
		}
		rest(10 * time.Second)
		h.onTime("the call", h.calls(1)[0].Created, last.Add(20*time.Second))
		if lost := h.log.lines("refused"); len(lost) > 0 {
			h.Errorf("refused: %q", lost)
		}
	})
}

// TestR5_ThresholdAndSilence count from the reload on.
func TestR5_ThresholdAndSilence(t *testing.T) {
	reloading(t, nil, func(h *home) {
		h.rewrite(func(c *Config) { c.Failure.Threshold, c.Failure.Silence = 2, config.Duration(12*time.Second) })
		h.logged(`"configuration changed" key=failure.silence from=20s to=12s`, `"configuration changed" key=failure.threshold from=1 to=2`,
			`"configuration reloaded" changed=2 need_restart=0`)
		h.nodes["pve2"].kill()
		last := h.nodes["pve2"].lastWord()
		rest(14 * time.Second)
		h.onTime("the failure", h.mustTell("pve2 failed"), last.Add(12*time.Second))
		h.calls(0)
		h.nodes["pve3"].kill()
		rest(15 * time.Second)
		h.calls(1)
	})
}

// TestR5_TheNextCallGoesToTheNewNumber, also with an incident open.
func TestR5_TheNextCallGoesToTheNewNumber(t *testing.T) {
	const newNumber = "+14155550177"
	reloading(t, nil, func(h *home) {
		h.x.Behave(alex, twiliosim.NoAnswer{})
		h.nodes["pve2"].kill()
		rest(22 * time.Second)
		if call := h.calls(1)[0]; call.To != alex {
			h.Errorf("%s was called first", call.To)
		}
		h.rewrite(func(c *Config) { c.Contacts[0].Phone = newNumber })
		h.logged(`"configuration changed" key=contacts[Alex].phone from=`+alex+` to=`+newNumber, `"configuration reloaded" changed=1 need_restart=0`)
		rest(2 * time.Minute)
		calls := h.x.Calls()
		if len(calls) < 2 || calls[0].To != alex || calls[1].To != newNumber {
			h.Errorf("called %+v", calls)
		}
	})
}

// TestR5_WrongKeepsTheOld, says so in one line, on the page and as a metric, until it is right.
func TestR5_WrongKeepsTheOld(t *testing.T) {
	reloading(t, func(h *home) { h.cfg.Calls.SelfTest = 0 }, func(h *home) {
		metric := func(want string) {
			h.Helper()
			if _, text := h.request("GET", "/metrics", nil, nil); !strings.Contains(text, "\nsentinel_config_reload_success "+want+"\n") {
				h.Errorf("the metric is not %s", want)
			}
		}
		metric("1")
		before := h.view().Warnings
		h.write([]byte("sites:\n  - name: home\nfailure:\n  treshold: 2\n  silence: 20\n"))
		wrong := h.file + ":4:3: failure: unknown key `treshold`; did you mean `threshold`? (and 1 more)"
		h.logged(`"the configuration is wrong and was not taken" err="` + wrong + `"`)
		metric("0")
		warns := func(want ...string) {
			h.Helper()
			if got := h.view().Warnings[len(before):]; strings.Join(got, "\n") != strings.Join(want, "\n") {
				h.Errorf("the page warns of %q, not %q", got, want)
			}
		}
		warns("cloud.yaml is wrong since 00:00 and was not taken: " + wrong)
		rest(2 * time.Minute)
		h.calls(0)
		if got := h.shows("pve2"); got.Condition != "up" {
			h.Errorf("the page shows %+v", got)
		}
		if err := os.Remove(h.cfg.Twilio.APIKeySecret.Name()); err != nil {
			h.Fatal(err)
		}
		h.write(written(h.cfg))
		name := h.cfg.Twilio.APIKeySecret.Name()
		warns("cloud.yaml is wrong since 00:00 and was not taken: " + lineOf(h.T, h.file, "api_key_secret_file") + ": twilio.api_key_secret_file: read the secret " + name + ": open " + name + ": no such file or directory")
		if err := os.WriteFile(name, []byte(apiSecret+"x\n"), 0o600); err != nil {
			h.Fatal(err)
		}
		h.write(written(h.cfg))
		warns()
		metric("1")
		h.logged(`"configuration changed" key=twilio.api_key_secret_file how=changed`, `"configuration reloaded" changed=1 need_restart=0`)
		if text := strings.Join(h.log.lines(""), "\n"); strings.Contains(text, apiSecret) {
			h.Error("the secret is in the log")
		}
		h.write(written(h.cfg))
		h.logged(`"configuration reloaded" changed=0 need_restart=0`)
	})
}

// lineOf is where a word first stands, as file:line:column.
func lineOf(t *testing.T, file, word string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before, _, ok := strings.Cut(string(text), `"`+word)
	if !ok {
		t.Fatalf("%s does not name %s", file, word)
	}
	line := strings.Count(before, "\n") + 1
	return strings.Join([]string{file, strconv.Itoa(line), strconv.Itoa(len(before) - strings.LastIndex(before, "\n"))}, ":")
}

// TestR5_WhatNeedsARestart is said, and stays as it is.
func TestR5_WhatNeedsARestart(t *testing.T) {
	reloading(t, nil, func(h *home) {
		h.rewrite(func(c *Config) {
			c.Name, c.Listen, c.Log.Format, c.Tailnet.Hostname, c.Tailnet.AllowNodes = "other", "127.0.0.1:9", "json", "x", []string{"a@example.org"}
		})
		h.logged(`"configuration change needs a restart" key=name from=brain to=other`, `"configuration change needs a restart" key=listen from=`+brainAddr+` to=127.0.0.1:9`,
			`"configuration change needs a restart" key=tailnet.hostname from=sentinel to=x`, `"configuration changed" key=tailnet.allow_nodes how="+ a@example.org"`,
			`"configuration change needs a restart" key=log.format from=text to=json`, `"configuration reloaded" changed=1 need_restart=4`)
		rest(time.Minute)
		if v := h.view(); v.Verdict != "All well." {
			h.Errorf("verdict %q", v.Verdict)
		}
		if got := h.brain.cfg(); got.Name != "brain" || got.Listen != brainAddr {
			h.Errorf("it goes by %+v", got)
		}
		h.rewrite(func(c *Config) { c.Listen = ""; c.Sites[0].Nodes = []Peer{{Name: "pve1"}} })
		if got := h.log.lines("was not taken"); len(got) != 1 || !strings.Contains(got[0], "pve1 has no key, and without a tailnet nothing else says who it is") {
			h.Errorf("a file that is right only after a restart: %q", got)
		}
	})
}

// TestS10_ARunKeepsItsPlan, and the next outage has the new one; the arming survives.
func TestS10_ARunKeepsItsPlan(t *testing.T) {
	var c *cluster
	reloading(t, func(h *home) { c = h.withPlan() }, func(h *home) {
		h.press("/api/v1/plan/arm")
		had := h.pi.answer().Mandate.Bundle
		h.ups.set(true)
		rest(12 * time.Second)
		h.rewrite(func(c *Config) {
			pve1 := c.Plan[len(c.Plan)-1].Nodes
			c.Plan = Plan{{Nodes: pve1, Deadline: config.Duration(time.Minute)}}
		})
		if lines := h.log.lines("configuration changed"); len(lines) == 0 || !strings.Contains(lines[0], "key=plan") {
			h.Errorf("the log says %q", lines)
		}
		rest(2 * time.Minute)
		for _, n := range []string{"pve1", "pve2", "pve3"} {
			if c.NodeUp(n) {
				h.Errorf("%s is up", n)
			}
		}
		h.mustTell("the plan is through")
		if v := h.view().Sites[0]; !v.Armed || !v.HasPlan {
			h.Errorf("the page shows %+v", v)
		}
		if m := h.pi.answer().Mandate; m.Bundle == had {
			h.Error("the Pi has not been told of the new plan")
		}
		if p := h.brain.plan("home"); len(p.Stages) != 1 {
			h.Errorf("the next run goes by %+v", p)
		}
	})
}

// TestR5_SitesComeAndGo: what is open there is over, and nobody is called about it.
func TestR5_SitesComeAndGo(t *testing.T) {
	reloading(t, nil, func(h *home) {
		s := h.join("nas")
		h.rewrite(func(c *Config) {
			c.Sites = append(c.Sites, Site{Name: "office", TimeZone: "Asia/Taipei", Nodes: []Peer{{Name: "nas", Key: s.key.PublicKey()}}})
		})
		h.logged(`"configuration changed" key=sites how="+ office"`, `"configuration reloaded" changed=1 need_restart=0`)
		s.life.Go(s.live)
		rest(5 * time.Second)
		if v := h.view().Sites; len(v) != 2 || v[1].Name != "office" || v[1].Sources[0].Condition != "up" {
			h.Fatalf("the page shows %+v", v)
		}
		s.kill()
		h.x.Behave(alex, twiliosim.NoAnswer{})
		h.x.Behave(sam, twiliosim.NoAnswer{})
		rest(30 * time.Second)
		called := len(h.x.Calls())
		if called == 0 {
			h.Fatalf("nobody was called:\n%s", h.timeline())
		}
		h.rewrite(func(c *Config) { c.Sites = c.Sites[:1] })
		h.logged(`"configuration changed" key=sites how="- office"`, `"configuration reloaded" changed=1 need_restart=0`)
		s.wake()
		rest(5 * time.Minute)
		h.calls(called)
		if v := h.view(); len(v.Sites) != 1 || v.Verdict != "All well." {
			h.Errorf("the page shows %q, %+v", v.Verdict, v.Sites)
		}
	})
}

// TestR5_NoHangupIsLost: one that comes while the file is read means once more.
func TestR5_NoHangupIsLost(t *testing.T) {
	r := NewReload("none", nil)
	for range 3 {
		r.Ask()
	}
	<-r.wanted // begins
	r.Ask()
	r.Ask()
	<-r.wanted
	select {
	case <-r.wanted:
		t.Error("three for two")
	default:
	}
}

// TestR5_AnotherAccount: calls go on by the account that knows them, the next by the new.
func TestR5_AnotherAccount(t *testing.T) {
	b := &Brain{}
	said := ""
	client, err := twilio.New(twilio.Config{AccountSID: account, APIKeySID: apiKey, APIKeySecret: apiSecret, From: caller, Transport: lines(func(r *http.Request) {
		body, _ := io.ReadAll(r.Body) // what is missing is missed below
		said = string(body)
	})})
	if err != nil {
		t.Fatal(err)
	}
	use := func(t *Twilio) *phone {
		b.useTwilio(&settings{cfg: Config{Twilio: t}, client: client})
		return b.phone
	}
	b.caller = calls.NewCaller(nil, calls.Report{}, nil)
	first := use(&Twilio{AccountSID: "one"})
	again := use(&Twilio{AccountSID: "one"})
	if _, err := first.Place(t.Context(), alex, calls.Speech{Text: "Hello Alex.", Voice: "Polly.Amy"}); err == nil || again != first || !strings.Contains(said, "Polly.Amy") {
		t.Errorf("the same account is not used as it is now: %v, %q", err, said)
	}
	if other := use(&Twilio{AccountSID: "two"}); other == first || first.account != "one" {
		t.Error("the new account took the old one's calls")
	}
	if use(nil) != nil {
		t.Error("without an account there is a phone")
	}
}

// lines is a way to Twilio that nothing comes back from.
type lines func(r *http.Request)

func (l lines) RoundTrip(r *http.Request) (*http.Response, error) {
	l(r)
	return nil, errors.New("cut")
}

// TestR5_ACallGoesOnByItsAccount, though the next is placed by another.
func TestR5_ACallGoesOnByItsAccount(t *testing.T) {
	reloading(t, nil, func(h *home) {
		h.x.Behave(alex, twiliosim.NoAnswer{})
		h.nodes["pve2"].kill()
		rest(22 * time.Second) // it rings
		h.calls(1)
		h.rewrite(func(c *Config) {
			other := *c.Twilio
			other.AccountSID = "AC99999999999999999999999999999999"
			c.Twilio = &other
		})
		h.logged(`"configuration changed" key=twilio.account_sid from=`+account+` to=AC99999999999999999999999999999999`, `"configuration reloaded" changed=1 need_restart=0`)
		rest(2 * time.Minute)
		i := h.view().Incidents[0]
		if len(i.Calls) < 2 || i.Calls[0].Outcome != "no-answer" || !strings.Contains(i.Calls[1].Outcome, "Twilio answers ") {
			h.Errorf("calls %+v", i.Calls)
		}
	})
}

// TestA7_AKeyThatIsReplaced counts from the reload on, the one before no more.
func TestA7_AKeyThatIsReplaced(t *testing.T) {
	reloading(t, nil, func(h *home) {
		n := h.nodes["pve3"]
		other, err := wire.NewKey()
		if err != nil {
			h.Fatal(err)
		}
		post := func(key wire.Key) error {
			head := n.header()
			data, err := wire.Seal(wire.KindHeartbeat, wire.Heartbeat{Header: head, State: "running"}, key)
			if err != nil {
				h.Fatal(err)
			}
			_, err = n.client.Post(h.Context(), courier.Receiver{Name: "brain", URL: "http://" + wayOut}, courier.PathHeartbeat, head, data)
			return err
		}
		if post(other) == nil {
			h.Error("a key that nobody named is taken")
		}
		h.rewrite(func(c *Config) {
			c.Sites[0].Nodes = append([]Peer(nil), c.Sites[0].Nodes...)
			c.Sites[0].Nodes[2].Key = other.PublicKey()
		})
		if err := post(other); err != nil {
			h.Error(err)
		}
		if post(n.key) == nil {
			h.Error("the old key is taken")
		}
	})
}
