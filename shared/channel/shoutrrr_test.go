package channel

import (
	"context"
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nicholas-fedor/shoutrrr/pkg/router"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// someSecret stands in every address, so that it can be looked for in every error.
const someSecret = "S3cr3tS3cr3tS3cr3tS3cr3t"

// addresses has one for each service that shoutrrr knows, but those that are not sent by it.
func addresses() map[string]string {
	hex := "0123456789abcdef0123456789abcdef"
	return map[string]string{
		"bark":       "bark://:" + someSecret + "@bark.example.org/",
		"discord":    "discord://" + someSecret + "@693853386302554172",
		"generic":    "generic+https://hooks.example.org/" + someSecret + "?template=json",
		"gotify":     "gotify://gotify.example.org/AS3cr3tS3cr3tS3",
		"googlechat": "googlechat://chat.googleapis.com/v1/spaces/FOO/messages?key=" + someSecret + "&token=baz",
		"hangouts":   "hangouts://chat.googleapis.com/v1/spaces/FOO/messages?key=" + someSecret + "&token=baz",
		"ifttt":      "ifttt://" + someSecret + "/?events=power&messagevalue=1&titlevalue=2",
		"lark":       "lark://open.larksuite.com/" + someSecret,
		"join":       "join://shoutrrr:" + someSecret + "@join/?devices=phone",
		"matrix":     "matrix://:" + someSecret + "@matrix.example.org/?rooms=!room:matrix.example.org",
		"mattermost": "mattermost://chat.example.org/" + someSecret,
		"notifiarr":  "notifiarr://" + someSecret + "?channel=123456789",
		"ntfy":       "ntfy://alex:" + someSecret + "@ntfy.example.org/" + someSecret + "topic",
		"opsgenie":   "opsgenie://api.opsgenie.com/eb243592-faa2-4ba2-a551q-1afdf565c889",
		"pagerduty":  "pagerduty:///" + hex,
		"pushbullet": "pushbullet://o.S3cr3tS3cr3tS3cr3tS3cr3tS3cr3tS3",
		"pushover":   "pushover://shoutrrr:" + someSecret + "@uS3cr3tUser/",
		"rocketchat": "rocketchat://chat.example.org/" + someSecret + "/" + someSecret + "b",
		"signal":     "signal://alex:" + someSecret + "@signal.example.org:8080/+14155550100/+14155550101",
		"signalgrid": "signalgrid://" + someSecret + "@channel",
		"slack":      "slack://hook:WNA3PBYV6-F20DUQND3RQ-" + someSecret + "@webhook",
		"teams":      "teams://?host=" + url.QueryEscape("https://prod-00.westus.logic.azure.com:443/workflows/abc/triggers/manual/paths/invoke?sig="+someSecret),
		"telegram":   "telegram://110201543:AAHdqTcvCH1vGWJxfSeofSAs0K5" + someSecret[:8] + "@telegram?chats=@home",
		"twilio":     "twilio://AC" + hex + ":" + hex + "@+14155550100/+14155550101",
		"wecom":      "wecom://693a91f6-7aoc-4bc4-97a0-0ec2sifa5aaa",
		"zulip":      "zulip://bot%40chat.example.org:" + someSecret + "@chat.example.org?stream=home&topic=power",
	}
}

// otherwise are those that are sent by other means, or by none.
func otherwise() []string { return []string{"smtp", "mqtt", "mqtts", "logger"} }

// answer is a network in which everybody gives one answer.
type answer struct {
	status int
	body   string
	err    error
	hang   bool

	bodies []string
	heads  []http.Header
	hosts  []string
}

func (a *answer) RoundTrip(r *http.Request) (*http.Response, error) {
	body := ""
	if r.Body != nil {
		all, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		body = string(all)
	}
	for _, escaped := range []string{body, r.URL.RawQuery} { // some services have it all in a form, or in the address
		if plain, err := url.QueryUnescape(escaped); err == nil {
			body += plain
		}
	}
	a.bodies, a.hosts, a.heads = append(a.bodies, body), append(a.hosts, r.URL.Host), append(a.heads, r.Header)
	if a.hang {
		<-r.Context().Done()
		return nil, r.Context().Err()
	}
	if a.err != nil {
		return nil, a.err
	}
	return &http.Response{StatusCode: a.status, Status: http.StatusText(a.status), Header: http.Header{"Retry-After": {"3600"}, "Location": {"https://elsewhere.example.org/"}},
		Body: io.NopCloser(strings.NewReader(a.body)), Request: r}, nil
}

func outage() Message {
	return Message{ID: "n1", Kind: "power_outage", Severity: "critical", Site: "home", Incident: "home-power-1", Subject: "Power outage at home",
		Text: "power outage at home, because the UPS has been on battery for 5 s", At: time.Date(2026, 11, 21, 19, 2, 16, 0, time.UTC)}
}

func newURL(t *testing.T, address string, network http.RoundTripper) *URL {
	t.Helper()
	s, err := NewURL(address, network)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// yes is what each service says when it took a message.
func yes(name string) string {
	switch name {
	case "slack":
		return "ok"
	case "pushbullet":
		return `{"type":"note","title":"Power outage at home","body":"power outage at home, because the UPS has been on battery for 5 s","active":true}`
	case "telegram":
		return `{"ok":true,"result":{}}`
	case "teams":
		return "1"
	case "wecom":
		return `{"errcode":0,"errmsg":"ok"}`
	}
	if name == "bark" {
		return `{"code":200,"message":"success"}`
	}
	return `{"ok":true,"code":0,"status":1,"result":"success","success":true}`
}

// TestC5_EveryService gets subject and text, and its answer is understood.
func TestC5_EveryService(t *testing.T) {
	known := addresses()
	for _, name := range (&router.ServiceRouter{}).ListServices() {
		if _, ok := known[name]; !ok && !slices.Contains(otherwise(), name) {
			t.Errorf("%s is not proved here", name)
		}
	}
	for name, address := range known {
		t.Run(name, func(t *testing.T) {
			network := &answer{status: 200, body: yes(name)}
			if name == "discord" || name == "teams" {
				network.status = 204
				if name == "teams" {
					network.status = 202
				}
			}
			s := newURL(t, address, network)
			if err := s.Send(t.Context(), outage()); err != nil {
				t.Fatalf("%v; asked %v", err, network.hosts)
			}
			sent := strings.Join(network.bodies, "\n")
			for _, h := range network.heads {
				sent += h.Get("Title")
			}
			for _, want := range []string{"Power outage at home", "because the UPS has been on battery for 5 s"} {
				if !strings.Contains(sent, want) {
					t.Errorf("%q was not sent: %s", want, sent)
				}
			}
		})
	}
}

// TestR4_NoErrorHoldsAnythingOfAnAddress: the services' own words hold addresses, tokens and passwords.
func TestR4_NoErrorHoldsAnythingOfAnAddress(t *testing.T) {
	for name, address := range addresses() {
		u, err := url.Parse(address)
		if err != nil {
			t.Fatal(err)
		}
		echo := address
		if u.User != nil {
			password, _ := u.User.Password()
			echo += " " + base64.StdEncoding.EncodeToString([]byte(u.User.Username()+":"+password))
		}
		for what, network := range map[string]*answer{
			"unauthorized":          {status: 401, body: `{"error":"unauthorized"}`},
			"an answer that echoes": {status: 400, body: `{"error":"no such key: ` + echo + `","description":"` + echo + `","message":"` + echo + `"}`},
			"plain text":            {status: 403, body: "token " + echo + " is wrong"},
			"a page":                {status: 502, body: "<html>" + echo + "</html>"},
			"yes, and yet not":      {status: 200, body: `{"ok":false,"error":"invalid ` + echo + `","errcode":40001,"errmsg":"` + echo + `"}`},
			"no network":            {err: &url.Error{Op: "Post", URL: address, Err: errors.New("connection refused")}},
		} {
			t.Run(name+", "+what, func(t *testing.T) {
				err := newURL(t, address, network).Send(t.Context(), outage())
				if err == nil {
					if network.status == 200 {
						return // it looks at the status alone
					}
					t.Fatal("it was delivered")
				}
				if errors.Is(err, ErrTemporary) == errors.Is(err, ErrPermanent) {
					t.Errorf("%v is not one of the two", err)
				}
				host := network.hosts[len(network.hosts)-1]
				for _, word := range secretsOf(address) {
					if len(word) > shortWord && strings.Contains(strings.ToLower(err.Error()), word) && !strings.Contains(host, word) && word != name {
						t.Errorf("%q holds %q of the address", err, word)
					}
				}
				if strings.Contains(err.Error(), someSecret) || strings.Contains(err.Error(), "S3cr3t") {
					t.Errorf("%q holds the secret", err)
				}
			})
		}
	}
}

// TestC7_WhatAnAnswerMeans for the next try, with each service alike: none tries again by itself, follows a redirect or
// waits for as long as the answer asks.
func TestC7_WhatAnAnswerMeans(t *testing.T) {
	for name, address := range addresses() {
		for status, again := range map[int]bool{400: false, 401: false, 403: false, 404: false, 408: true, 413: false, 425: true, 429: true, 500: true, 503: true, 302: true, 307: true} {
			t.Run(name+" "+http.StatusText(status), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					network := &answer{status: status, body: `{"retry_after": 3600}`}
					begin := time.Now()
					err := newURL(t, address, network).Send(t.Context(), outage())
					if err == nil || errors.Is(err, ErrTemporary) != again || errors.Is(err, ErrPermanent) == again {
						t.Errorf("status %d: %v", status, err)
					}
					if len(network.hosts) != 1 || time.Since(begin) > Within {
						t.Errorf("%v was asked, for %v", network.hosts, time.Since(begin))
					}
				})
			})
		}
	}
}

// TestC7_NobodyHangs: with no service does a try take longer than it may, and no goroutine is left.
func TestC7_NobodyHangs(t *testing.T) {
	for name, address := range addresses() {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				begin := time.Now()
				s := newURL(t, address, &answer{hang: true})
				err := s.Send(t.Context(), outage())
				if !errors.Is(err, ErrTemporary) || time.Since(begin) > Within {
					t.Errorf("%v after %v", err, time.Since(begin))
				}
				s.Wait()
				if over := time.Since(begin) - Within; over > 0 {
					t.Errorf("it went on for %v", over)
				}
				ctx, cancel := context.WithCancel(t.Context())
				time.AfterFunc(time.Second, cancel)
				begin = time.Now()
				if err := s.Send(ctx, outage()); !errors.Is(err, ErrTemporary) || time.Since(begin) != time.Second {
					t.Errorf("taken back: %v after %v", err, time.Since(begin))
				}
				s.Wait()
			})
		})
	}
}

// TestR5_AnAddressThatIsNone is refused without a word of it, and without asking anybody.
func TestR5_AnAddressThatIsNone(t *testing.T) {
	for _, address := range []string{"", "ntfy", "https://hooks.example.org/" + someSecret, someSecret + "://x", "ntfy://ntfy.example.org", "slack://" + someSecret + "@webhook",
		"telegram://" + someSecret + "@telegram?chats=1", "gotify://gotify.example.org/short", "ntfy://ntfy.example.org/home?nosuch=" + someSecret,
		"ntfy://ntfy.example.org/home?priority=" + someSecret, "ntfy://alex:" + someSecret + "%zz@ntfy.example.org/home", "discord://" + someSecret,
		"ntfy://ntfy.example.org:" + someSecret + "/home", "logger://", "slack+https://" + someSecret} {
		_, err := NewURL(address, &answer{status: 200})
		if err == nil {
			t.Errorf("%s was taken", address)
		} else if strings.Contains(err.Error(), someSecret) || strings.Contains(err.Error(), "S3cr3t") {
			t.Errorf("%q holds the secret", err)
		}
	}
	network := &answer{status: 200, body: "{}"}
	newURL(t, "matrix://alex:"+someSecret+"@matrix.example.org", network) // which signs in as it begins
	if len(network.hosts) > 0 {
		t.Errorf("%v was asked", network.hosts)
	}
}
