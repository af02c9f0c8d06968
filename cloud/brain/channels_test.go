package brain

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sentinel.home.arpa/shared/config"
	"sentinel.home.arpa/shared/sim/hooksim"
	"sentinel.home.arpa/shared/sim/twiliosim"
)

// handled is a network in which a handler answers everything.
type handled struct{ by http.Handler }

func (n handled) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	n.by.ServeHTTP(w, r)
	if r.Context().Err() != nil {
		return nil, r.Context().Err()
	}
	res := w.Result()
	res.Request = r
	return res, nil
}

// ntfyTopic is a secret: whoever knows it reads what is told.
const ntfyTopic = "S3cr3tTopic"

// tellsAlex gives Alex ntfy, a text message and a webhook.
func tellsAlex(h *home) {
	h.cfg.Contacts[0].Notices = []Channel{
		{URL: config.NewPrivate("ntfy://ntfy.example.org/" + ntfyTopic)}, {SMS: true},
		{Webhook: config.NewPrivate("https://hooks.example.org/sentinel"), Secret: h.secret("webhook", "0123456789")}}
}

// secret is a file that holds one.
func (h *home) secret(name, text string) config.Secret {
	h.Helper()
	path := filepath.Join(h.TempDir(), name)
	h.must(os.WriteFile(path, []byte(text+"\n"), 0o600))
	s, err := config.NewSecret(path)
	h.must(err)
	return s
}

// heard are the titles of what ntfy took.
func (h *home) heard() []string {
	var out []string
	for _, g := range h.hooks.Taken() {
		if g.Path == "/"+ntfyTopic {
			out = append(out, g.Title)
		}
	}
	return out
}

// TestC5_ToldBeforeTheCallEnds: each channel says at once what the call says later.
func TestC5_ToldBeforeTheCallEnds(t *testing.T) {
	in(t, tellsAlex, func(h *home) {
		h.x.Behave(alex, twiliosim.NoAnswer{})
		out := time.Now()
		h.ups.set(true)
		rest(14900 * time.Millisecond)
		h.calls(0)
		want := "power outage at home, because the UPS has been on battery for 5 s. The battery now: 96 %, 31 min"
		var ways []string
		for _, g := range h.hooks.Taken() {
			h.onTime(g.Path, g.At, out.Add(5*time.Second))
			if !strings.Contains(g.Body, want) {
				h.Errorf("%s got %q", g.Path, g.Body)
			}
			ways = append(ways, g.Path)
		}
		if strings.Join(ways, " ") != "/"+ntfyTopic+" /sentinel" && strings.Join(ways, " ") != "/sentinel /"+ntfyTopic {
			h.Errorf("told by %v", ways)
		}
		texts := h.x.Messages()
		if len(texts) != 1 || texts[0].To != alex || !strings.HasPrefix(texts[0].Body, "power outage at home") {
			h.Errorf("%+v", texts)
		}
		h.ups.set(false)
		rest(3 * time.Minute)
		if got := h.heard(); len(got) < 2 || got[len(got)-1] != "Power outage at home: over" {
			h.Errorf("%v", got)
		}
		h.metric(`sentinel_notices_total{channel="ntfy",outcome="delivered"} 2`)
	})
}

// TestC7_AChannelThatFails is told by the others and by the page, tried again, and says that it is late.
func TestC7_AChannelThatFails(t *testing.T) {
	in(t, tellsAlex, func(h *home) {
		h.hooks.Always(http.StatusServiceUnavailable) // of both
		h.ups.set(true)
		rest(6 * time.Second)
		trouble := "ntfy of Alex has failed since 00:00: ntfy at ntfy.example.org answered 503 Service Unavailable (not now)."
		if got := h.view().Warnings; len(got) != 2 || got[0] != trouble {
			h.Errorf("the page warns: %q", got)
		}
		texts := h.x.Messages()
		said := ""
		for _, m := range texts {
			said += m.Body + "\n"
		}
		if len(texts) != 3 || !strings.Contains(said, "ntfy of Alex fails") || !strings.Contains(said, "webhook of Alex fails") {
			h.Errorf("%+v", texts)
		}
		rest(10 * time.Minute)
		h.hooks.Always(0)
		rest(10 * time.Minute)
		if got := h.heard(); len(got) == 0 || got[0] != "Power outage at home" {
			h.Errorf("%v", got)
		}
		for _, g := range h.hooks.Taken() {
			if g.Title == "Power outage at home" && !strings.HasSuffix(g.Body, "\n(from 00:00, delivered late)") {
				h.Errorf("%q", g.Body)
			}
		}
		if got := h.view().Warnings; len(got) != 0 {
			h.Errorf("the page warns: %q", got)
		}
		h.mustTell("ntfy of Alex")
		if lines := h.log.lines(ntfyTopic); len(lines) > 0 {
			h.Errorf("the log holds the topic: %q", lines)
		}
		if all := h.timeline(); strings.Contains(all, ntfyTopic) {
			h.Errorf("the timeline holds the topic: %s", all)
		}
	})
}

// TestC5_OverARestart no notice is lost: what had not been delivered is sent again.
func TestC5_OverARestart(t *testing.T) {
	in(t, tellsAlex, func(h *home) {
		h.hooks.Always(hooksim.Hang)
		h.ups.set(true)
		rest(6 * time.Second)
		if len(h.hooks.Got()) != 2 || len(h.heard()) != 0 {
			h.Fatalf("%+v", h.hooks.Got())
		}
		h.crash(3 * time.Minute)
		h.hooks.Always(0)
		rest(30 * time.Second)
		for _, g := range h.hooks.Taken() {
			if late := strings.Contains(g.Body, "(from 00:00, delivered late)"); late != strings.Contains(g.Body, "on battery for 5 s") {
				h.Errorf("%+v", g)
			}
		}
		if got := h.heard(); len(got) == 0 || got[0] != "Power outage at home" {
			h.Errorf("%v", got)
		}
		if texts := h.x.Messages(); strings.Count(texts[0].Body+texts[len(texts)-1].Body, "on battery for 5 s") != 1 {
			h.Errorf("%+v", texts)
		}
	})
}

// TestC7_AChannelThatHangs holds nothing up: neither another channel nor a call, nor the brain's stop.
func TestC7_AChannelThatHangs(t *testing.T) {
	in(t, tellsAlex, func(h *home) {
		h.hooks.Always(hooksim.Hang)
		out := time.Now()
		h.ups.set(true)
		rest(16 * time.Second)
		h.onTime("the call", h.calls(1)[0].Created, out.Add(15*time.Second))
		if texts := h.x.Messages(); len(texts) == 0 || !texts[0].Created.Before(out.Add(6*time.Second)) {
			h.Errorf("%+v", texts)
		}
		begin := time.Now()
		h.must(h.stop())
		if took := time.Since(begin); took > time.Second {
			h.Errorf("the stop took %v", took)
		}
		h.start()
	})
}

// TestC7_AMendedChannel is taken with a reload, and so is one that is gone.
func TestC7_AMendedChannel(t *testing.T) {
	in(t, func(h *home) { tellsAlex(h); h.file = filepath.Join(h.TempDir(), "cloud.yaml") }, func(h *home) {
		h.hooks.Always(http.StatusServiceUnavailable)
		h.ups.set(true)
		rest(6 * time.Second)
		h.hooks.Always(0)
		h.rewrite(func(c *Config) {
			c.Contacts[0].Notices = []Channel{{URL: config.NewPrivate("ntfy://ntfy.example.org/" + ntfyTopic)}}
		})
		synctest.Wait()
		if got := h.heard(); len(got) == 0 || got[0] != "Power outage at home" {
			h.Errorf("not tried at once: %v", got)
		}
		if got := h.view().Warnings; len(got) != 0 {
			h.Errorf("the page warns: %q", got)
		}
		for _, g := range h.hooks.Taken() {
			if g.Path == "/sentinel" {
				h.Errorf("the webhook is told: %+v", g)
			}
		}
		if lines := h.log.lines(ntfyTopic); len(lines) > 0 {
			h.Errorf("the log holds the topic: %q", lines)
		}
	})
}

// TestR4_ASecretOfAChannel is read from its file, refused there if it is wrong, and never shown.
func TestR4_ASecretOfAChannel(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "alex-slack")
	text := strings.Replace(smallest, `    phone: "+14155550100"`, "    phone: \"+14155550100\"\n    notices:\n      - url_file: "+path, 1)
	file := filepath.Join(dir, "cloud.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	check := func() string {
		_, err := CheckConfig(file, func() ([]string, bool) { return nil, false })
		if err == nil {
			return ""
		}
		return err.Error()
	}
	if got := check(); !strings.Contains(got, "contacts[0].notices[0].url_file: read the secret "+path+": open") {
		t.Errorf("missing: %s", got)
	}
	for content, want := range map[string]string{
		"slack://S3cr3tS3cr3t@webhook": "cloud.yaml:8:9: contacts[0].notices[0].url_file: what stands in " + path + " is no address of slack (invalid slack token format)",
		"S3cr3tS3cr3t":                 "is no address of a service",
		"slack://hook:WNA3PBYV6-F20DUQND3RQ-S3cr3tS3cr3tS3cr3tS3cr3t@webhook": "",
	} {
		if err := os.WriteFile(path, []byte(content+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		got := check()
		if strings.Contains(got, "S3cr3t") || want == "" && strings.Contains(got, "notices") || !strings.Contains(got, want) {
			t.Errorf("%s", got)
		}
	}
}

// TestC7_ATestNotice goes by each channel at once, says what became of it, and stands in the timeline.
func TestC7_ATestNotice(t *testing.T) {
	in(t, tellsAlex, func(h *home) {
		test := func(path string) (int, string) { return h.request(http.MethodPost, "/api/v1/test/"+path, nil, nil) }
		h.hooks.Answer(http.StatusForbidden, http.StatusForbidden)
		code, text := test("notice?contact=Alex")
		want := `{"contact":"Alex","channels":[{"channel":"ntfy","by":"ntfy","delivered":false,"outcome":"ntfy at ntfy.example.org answered 403 Forbidden (not now)"},` +
			`{"channel":"sms","by":"SMS","delivered":true,"outcome":"delivered"},` +
			`{"channel":"webhook","by":"webhook at hooks.example.org","delivered":false,"outcome":"webhook at hooks.example.org answered 403 Forbidden (not now)"}]}`
		if code != http.StatusOK || strings.TrimSpace(text) != want {
			h.Errorf("%d %s", code, text)
		}
		if code, text := test("notice?contact=Alex"); code != http.StatusTooManyRequests || !strings.Contains(text, "less than a minute ago") {
			h.Errorf("%d %s", code, text)
		}
		h.mustTell("the operator tried ntfy of Alex: ntfy at ntfy.example.org answered 403")
		h.mustTell("the operator tried sms of Alex: delivered")
		if got := h.view().Warnings; len(got) != 2 {
			h.Errorf("the page warns: %q", got)
		}
		rest(time.Minute)
		if code, text := test("notice?contact=Alex"); code != http.StatusOK || strings.Contains(text, "false") {
			h.Errorf("%d %s", code, text)
		}
		synctest.Wait() // the page is made anew
		if got := h.view().Warnings; len(got) != 0 {
			h.Errorf("the page warns: %q", got)
		}
		rest(time.Second) // what the other channels are told of those that work again
		texts := len(h.x.Messages())
		if code, text := test("sms?contact=Alex"); code != http.StatusOK || len(h.x.Messages()) != texts+1 || strings.Contains(text, "ntfy") {
			h.Errorf("%d %s", code, text)
		}
		for path, want := range map[string]int{"notice": 400, "notice?contact=Bob": 404, "notice?contact=Sam": 409, "sms?contact=Sam": 409, "notice?contact=Alex&x=1": 400} {
			if code, text := test(path); code != want {
				h.Errorf("%s: %d %s", path, code, text)
			}
		}
	})
}
