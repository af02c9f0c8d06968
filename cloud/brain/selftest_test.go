package brain

import (
	"encoding/json"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"sentinel.home.arpa/shared/config"
	"sentinel.home.arpa/shared/sim/twiliosim"
)

// said is the phone's line of the status, and the warnings.
func (h *home) said() (phone, warnings string) {
	h.Helper()
	v := h.view()
	return v.Phone, strings.Join(v.Warnings, "\n")
}

func (h *home) phoneTells(what string, wants ...string) {
	h.Helper()
	phone, warnings := h.said()
	all := phone + "\n" + warnings
	for _, w := range wants {
		if !strings.Contains(all, w) {
			h.Errorf("%s: the status does not say %q but %q", what, w, all)
		}
	}
	if len(wants) == 1 && warnings != "" {
		h.Errorf("%s: the status warns of %q", what, warnings)
	}
}

// TestC7_TheDailySelfTest asks Twilio at the start, each day and after a reload that changes
// the way to call, and finds before an outage what would keep a call from being placed.
func TestC7_TheDailySelfTest(t *testing.T) {
	const balances = "GET Balance.json"
	hourly := func(h *home) { // days of beats would take long
		h.cfg.Calls.SelfTest = config.Duration(time.Hour)
		h.each.Store(int64(8 * time.Second))
	}
	reloading(t, hourly, func(h *home) {
		h.phoneTells("at the start", "last self-test 00:00: fine, about 1000 calls left (20.00 USD)")
		if n := h.x.count(balances); n != 1 {
			t.Errorf("the balance was asked for %d times", n)
		}
		h.x.SetAccount(twiliosim.Account{Status: "active", Type: "Full", Balance: "0.19"})
		rest(time.Hour - time.Minute)
		if n := h.x.count(balances); n != 1 {
			t.Errorf("the balance was asked for %d times within an hour", n)
		}
		rest(time.Minute)
		h.phoneTells("credit for few", "fine, about 9 calls left", "The credit lasts for about 9 calls only (0.19 USD). Add funds")
		h.x.SetAccount(twiliosim.Account{Status: "suspended", Type: "Full", Balance: "0.19"})
		rest(time.Hour)
		h.phoneTells("suspended", "nobody can be called: the Twilio account is suspended", "Nobody can be called: the Twilio account is suspended. The Twilio account is not active")
		if _, is := h.told("nobody can be called: the Twilio account is suspended; The Twilio account is not active: add funds or reactivate it in Twilio's console"); !is {
			t.Error("no notice of it")
		}
		h.x.SetAccount(twiliosim.Account{Status: "active", Type: "Trial", Balance: "15.00"})
		rest(time.Hour)
		h.phoneTells("mended", "last self-test 03:00: fine, about 750 calls left (15.00 USD); a trial account reaches verified numbers only")
		if _, is := h.told("the phone works again: nothing keeps a call from being placed"); !is {
			t.Error("no notice that it works")
		}

		if err := os.WriteFile(h.cfg.Twilio.APIKeySecret.Name(), []byte(apiSecret+"x\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		h.rewrite(func(*Config) {})
		rest(time.Second)
		h.phoneTells("a wrong secret", "nobody can be called", `Nobody can be called: Twilio answers "Authenticate" (code 20003). Check the account SID, API key and secret`)
		if err := os.WriteFile(h.cfg.Twilio.APIKeySecret.Name(), []byte(apiSecret+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		h.rewrite(func(*Config) {})
		rest(time.Second)
		h.phoneTells("the right one", "fine, about 750 calls left")
		h.rewrite(func(c *Config) { c.Twilio.From = "+14155550198" })
		rest(time.Second)
		h.phoneTells("another's number", "nobody can be called", "the number to call from does not belong to the Twilio account. Check the number to call from")
		asked := h.x.count(balances)
		h.rewrite(func(c *Config) { c.Calls.SelfTest = 0 })
		rest(2 * time.Hour)
		if phone, warnings := h.said(); phone != "" || warnings != "" || h.x.count(balances) != asked {
			t.Errorf("switched off: it says %q, %q", phone, warnings)
		}
		if len(h.x.Calls()) > 0 {
			t.Error("somebody was called")
		}
	})
}

// TestC7_TwilioOutOfReach is asked again and again, and told once it has lasted; it holds up
// neither the loop nor a call.
func TestC7_TwilioOutOfReach(t *testing.T) {
	hourly := func(h *home) { h.cfg.Calls.SelfTest = config.Duration(time.Hour) }
	in(t, hourly, func(h *home) {
		h.x.Fault(twiliosim.Fault{Kind: twiliosim.Hang, Method: http.MethodGet, Path: "/Balance.json"}, -1)
		rest(time.Hour)
		h.nodes["pve2"].kill()
		rest(22 * time.Second)
		if n := len(h.x.Calls()); n != 1 {
			t.Errorf("%d calls while the self-test hangs", n)
		}
		h.phoneTells("at once", "nothing was found out: Twilio does not answer", "Whether anybody can be called is not known since 01:00: Twilio does not answer")
		if _, is := h.told("nobody can be called"); is {
			t.Error("told at once")
		}
		rest(20 * time.Minute)
		found := false
		for _, e := range h.view().Timeline {
			found = found || strings.HasPrefix(e.Text, "nobody can be called: the phone's self-test has come to nothing for 1")
		}
		if !found {
			t.Error("no notice after 20 min")
		}
	})
}

// TestC7_RefusedCallsStandOnThePage with what to do, until one is placed.
func TestC7_RefusedCallsStandOnThePage(t *testing.T) {
	in(t, nil, func(h *home) {
		h.x.Behave(alex, twiliosim.Refuse{Code: 21215}, twiliosim.NoAnswer{})
		h.x.Behave(sam, twiliosim.NoAnswer{})
		h.nodes["pve2"].kill()
		rest(22 * time.Second)
		h.phoneTells("refused", "Alex could not be called at ", "Geo permissions")
		if _, is := h.told("Alex cannot be called: Twilio answers \"Refused by the simulation\" (code 21215); Allow calls to this country in Twilio's console under Voice, Settings, Geo permissions"); !is {
			t.Errorf("not told: %+v", h.view().Timeline)
		}
		body, err := json.Marshal(h.view())
		if err != nil || strings.Contains(string(body), apiSecret) {
			t.Errorf("%v, or the secret is shown", err)
		}
		rest(10 * time.Minute)
		if _, warnings := h.said(); strings.Contains(warnings, "could not be called") {
			t.Errorf("after a call was placed it still warns: %s", warnings)
		}
	})
}
