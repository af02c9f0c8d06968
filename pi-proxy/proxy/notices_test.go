package proxy_test

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sentinel.home.arpa/shared/sim/hooksim"
	"sentinel.home.arpa/shared/wire"
)

// channels gives Alex an ntfy in a file and a webhook, and Sam, who has no phone, an ntfy that hears of the end alone.
func (h *house) channels(c *wire.Calls) (got *hooksim.Receiver, secrets string) {
	h.t.Helper()
	got, secrets = &hooksim.Receiver{}, h.t.TempDir()
	server := httptest.NewServer(got)
	h.t.Cleanup(func() {
		if h.stop != nil {
			h.stop()
		}
		server.Close()
	})
	address := strings.TrimPrefix(server.URL, "http://")
	for name, secret := range map[string]string{"alex-ntfy": "ntfy://" + address + "/alex?scheme=http\n", "alex-hook": "hooksecret88bb\n"} {
		if err := os.WriteFile(filepath.Join(secrets, name), []byte(secret), 0o600); err != nil {
			h.t.Fatal(err)
		}
	}
	c.Contacts[0].Channels = []wire.Channel{
		{URLFile: filepath.Join(secrets, "alex-ntfy"), Turns: "both"},
		{Webhook: server.URL + "/hook", Secret: filepath.Join(secrets, "alex-hook"), Turns: "offline"},
	}
	c.Contacts = append(c.Contacts, wire.Contact{Name: "Sam", Channels: []wire.Channel{{URL: "ntfy://" + address + "/sam?scheme=http", Turns: "online"}}})
	return got, secrets
}

// TestG3_ThePiTellsOfItsBrain by the channels of each, and that it is back; who has no phone is not called.
func TestG3_ThePiTellsOfItsBrain(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	_, c := h.phone()
	got, _ := h.channels(&c)
	h.knowsWhomToCall(c)
	h.brain.await("the UPS is known", 5*time.Second, func() bool { return len(h.brain.reports) > 0 })
	if s := h.status().String(); !strings.Contains(s, "calls     Alex, should the brain be gone\nnotices   ntfy of Alex, webhook of Alex, ntfy of Sam, should the brain be gone\n") {
		t.Error(s)
	}
	h.silence(true)
	last := time.Now()
	eventually(t, "Alex is told", func() bool { return len(got.Taken()) == 2 })
	for _, g := range got.Taken() {
		within(t, "from the brain's last word", g.At.Sub(last), 2*time.Second, 8*time.Second)
		switch g.Path {
		case "/alex":
			if g.Title != "The sentinel is down" || !strings.HasPrefix(g.Body, "The sentinel has not answered the Pi at home since ") ||
				!strings.HasSuffix(g.Body, "look at your cloud VM. The power there is fine.") {
				t.Errorf("%+v", g)
			}
		case "/hook":
			if !strings.Contains(g.Body, `"kind":"power_unwatched","severity":"critical","site":"home"`) || g.Header.Get("Sentinel-Signature") == "" {
				t.Errorf("%+v", g)
			}
		default:
			t.Errorf("%+v", g)
		}
	}
	h.silence(false)
	eventually(t, "it is back", func() bool { return len(got.Taken()) == 4 })
	for _, g := range got.Taken()[2:] {
		if g.Path != "/alex" && g.Path != "/sam" || g.Title != "The sentinel answers again" || !strings.HasPrefix(g.Body, "The sentinel answers the Pi at home again, after ") {
			t.Errorf("%+v", g)
		}
	}
	if log := h.log.String(); strings.Contains(log, "hooksecret88bb") || strings.Contains(log, "/alex") {
		t.Errorf("the log tells a secret: %s", log)
	}
}

// TestG3_ANoticeOutlivesThePi that could not send it, and comes once.
func TestG3_ANoticeOutlivesThePi(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	_, c := h.phone()
	got, _ := h.channels(&c)
	c.Contacts[0].Channels = c.Contacts[0].Channels[:1]
	h.knowsWhomToCall(c)
	got.Always(http.StatusServiceUnavailable)
	h.silence(true)
	eventually(t, "it is tried", func() bool { return len(got.Got()) > 0 })
	h.stop()
	got.Always(0)
	h.startWith(impatient)
	eventually(t, "it is delivered", func() bool { return strings.Contains(h.log.String(), `outcome=delivered`) })
	h.stop()
	h.startWith(impatient)
	began := time.Now()
	eventually(t, "it has listened for longer than it takes to tell", func() bool { return time.Since(began) > 6*time.Second })
	if n := len(got.Taken()); n != 1 {
		t.Errorf("told %d times", n)
	}
}

// TestG3_AChannelWithoutItsSecret is told of before it is needed, and others are told all the same.
func TestG3_AChannelWithoutItsSecret(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	_, c := h.phone()
	got, secrets := h.channels(&c)
	missing := filepath.Join(secrets, "alex-ntfy")
	if err := os.Remove(missing); err != nil {
		t.Fatal(err)
	}
	h.knowsWhomToCall(c)
	if s := h.status().String(); !strings.Contains(s, "notices   unknown of Alex, webhook of Alex, ntfy of Sam; missing here: "+missing+"\n") {
		t.Error(s)
	}
	h.silence(true)
	eventually(t, "the webhook is told, and the other fails", func() bool {
		return len(got.Taken()) == 1 && strings.Contains(h.log.String(), "notice not delivered, it is tried again")
	})
}
