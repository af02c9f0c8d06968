package brain

import (
	"net/url"

	"sentinel.home.arpa/shared/config"
)

// Keypad is how Twilio tells which keys are pressed during a call (rule C3): through Tailscale
// Funnel, or a proxy of one's own. The zero Keypad is none: then who takes a call acknowledges.
type Keypad struct {
	Funnel  bool   `yaml:"funnel"`
	Port    uint16 `yaml:"port"`    // of the funnel
	Listen  string `yaml:"listen"`  // on loopback, for the proxy
	Address string `yaml:"address"` // of the proxy, as Twilio reaches it
}

const (
	authToken    = "twilio.auth_token_file"
	oldAuthToken = "twilio.old_auth_token_file"
)

func (k Keypad) on() bool { return k.Funnel || k.Listen != "" || k.Address != "" }

func (c *Config) checkKeypad(f *config.File) []error {
	k := c.Calls.Keypad
	var errs []error
	if k.Port != 443 && k.Port != 8443 && k.Port != 10000 {
		errs = append(errs, f.Errorf("calls.keypad.port", "%d is no port of a funnel; write 443, 8443 or 10000", k.Port))
	}
	if !k.on() {
		return errs
	}
	switch {
	case c.Twilio == nil && !f.Spoilt("twilio"):
		errs = append(errs, f.Errorf("calls.keypad", "nobody can be called without a twilio: section; add one, or leave keypad: out"))
	case c.Twilio != nil && c.Twilio.AuthToken.IsZero():
		errs = append(errs, f.Errorf(authToken, "is missing; name the credential that holds the account's auth token, by which Twilio signs what was pressed"))
	}
	if k.Funnel {
		if k.Listen != "" || k.Address != "" {
			errs = append(errs, f.Errorf("calls.keypad", "a funnel needs no listen: and no address:; leave them out, or funnel:"))
		}
		if c.Listen != "" {
			errs = append(errs, f.Errorf("calls.keypad.funnel", "there is no funnel without a tailnet; leave listen: out, or name keypad.listen and keypad.address"))
		}
		return errs
	}
	if !loopback(k.Listen) {
		errs = append(errs, f.Errorf("calls.keypad.listen", "%q is not on loopback; write 127.0.0.1:<port>, to which your proxy passes on what Twilio sends", k.Listen))
	}
	if u, err := url.Parse(k.Address); err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || u.Path != "" && u.Path != "/" || u.RawQuery != "" {
		errs = append(errs, f.Errorf("calls.keypad.address", "%.80q is no address that Twilio can reach; write https://<host>, of your proxy", k.Address))
	}
	return errs
}
