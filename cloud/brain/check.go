package brain

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"sentinel.home.arpa/shared/config"
	"sentinel.home.arpa/shared/twilio"
)

// asItsUser is for who may not read a file that the brain may.
const asItsUser = "run check-config as the user that the brain runs as, or with sudo"

// Keys that name secrets.
const (
	twilioSecret  = "twilio.api_key_secret_file"
	proxmoxSecret = "proxmox.token_secret_file"
	deadmanSecret = "deadman.url_file"
)

// anySecret and anySID stand in where only what is around them is checked.
const (
	anySecret = "00000000"
	anySID    = "00000000000000000000000000000000"
)

// checkAnchors refuses what could never answer: a brain whose anchors are all wrong holds
// itself for offline, and calls nobody about a site that is out of reach.
func (c *Config) checkAnchors(f *config.File) []error {
	var errs []error
	if len(c.Anchors) < 2 {
		errs = append(errs, f.Errorf("anchors", "name two independent ones at least, such as 1.1.1.1:443 and 9.9.9.9:443"))
	}
	seen := map[string]bool{}
	for i, a := range c.Anchors {
		at := fmt.Sprintf("anchors[%d]", i)
		if !hostPort(a) {
			errs = append(errs, f.Errorf(at, "%q is no address and port; write it such as 1.1.1.1:443", a))
		} else if seen[a] {
			errs = append(errs, f.Errorf(at, "%q stands here for the second time; the anchors must be independent", a))
		}
		seen[a] = true
	}
	return errs
}

func hostPort(addr string) bool {
	host, port, err := net.SplitHostPort(addr)
	if err != nil || host == "" {
		return false
	}
	n, err := net.LookupPort("tcp", port)
	return err == nil && n > 0
}

// checkWay sees to it that a Pi without a tailnet can be found.
func (c *Config) checkWay(f *config.File, at string, p Peer) []error {
	var errs []error
	for key, addr := range map[string]string{".address": p.Address, ".relay": p.Relay} {
		if addr != "" && !hostPort(addr) {
			errs = append(errs, f.Errorf(at+key, "%q is no address and port; write it such as 192.168.77.2:7777", addr))
		}
	}
	viaPi := len(c.Plan) > 0 && c.Proxmox != nil && c.Proxmox.Via != "direct"
	if c.Listen != "" && viaPi && p.Address == "" && p.Relay == "" {
		errs = append(errs, f.Errorf(at, "%s has no address, and the way to Proxmox leads through it; add relay: \"<host>:7777\", or set proxmox.via: direct", p.Name))
	}
	return errs
}

func (c *Config) checkTwilio(f *config.File) []error {
	t := c.Twilio
	if t == nil {
		return nil
	}
	var errs []error
	if t.APIKeySecret.IsZero() {
		errs = append(errs, f.Errorf(twilioSecret, "is missing; name the credential that holds the API key's secret"))
	}
	for _, v := range []struct { // one at a time, for its own line
		key, value, missing string
		set                 func(c *twilio.Config)
	}{
		{"account_sid", t.AccountSID, "it is on the first page of Twilio's console", func(c *twilio.Config) { c.AccountSID = t.AccountSID }},
		{"api_key_sid", t.APIKeySID, "make a standard API key in Twilio's console", func(c *twilio.Config) { c.APIKeySID = t.APIKeySID }},
		{"from", t.From, "write your number at Twilio, such as \"+14155550199\"", func(c *twilio.Config) { c.From = t.From }},
		{"api_url", t.APIURL, "", func(c *twilio.Config) { c.BaseURL = t.APIURL }},
	} {
		if v.value == "" && v.missing != "" {
			errs = append(errs, f.Errorf("twilio."+v.key, "is missing; %s", v.missing))
		} else if err := triedTwilio(v.set); err != nil {
			errs = append(errs, f.Errorf("twilio."+v.key, "%s", err))
		}
	}
	return errs
}

// triedTwilio is what the adapter says of one value among good ones.
func triedTwilio(set func(c *twilio.Config)) error {
	c := twilio.Config{AccountSID: "AC" + anySID, APIKeySID: "SK" + anySID, APIKeySecret: anySecret, From: "+14155550100"}
	set(&c)
	if _, err := twilio.New(c); err != nil {
		return untwilio(err)
	}
	return nil
}

// untwilio is the adapter's error without its name, since the key says it.
func untwilio(err error) error { return errors.New(strings.TrimPrefix(err.Error(), "twilio: ")) }

// namedSecret is a key that names a secret.
type namedSecret struct {
	key  string
	file config.Secret
}

// secrets are those that the brain needs to act: in an outage it would be too late to find
// out that one is missing.
func (c *Config) secrets() []namedSecret {
	var out []namedSecret
	if c.Twilio != nil {
		out = append(out, namedSecret{twilioSecret, c.Twilio.APIKeySecret})
	}
	if c.Twilio != nil && c.Calls.Keypad.on() {
		out = append(out, namedSecret{authToken, c.Twilio.AuthToken})
		if !c.Twilio.OldAuthToken.IsZero() {
			out = append(out, namedSecret{oldAuthToken, c.Twilio.OldAuthToken})
		}
	}
	if !c.Deadman.URL.IsZero() {
		out = append(out, namedSecret{deadmanSecret, c.Deadman.URL})
	}
	if len(c.Plan) > 0 && c.Proxmox != nil {
		out = append(out, namedSecret{proxmoxSecret, c.Proxmox.TokenSecret})
	}
	return append(out, c.channelSecrets()...)
}

// errNoPing never repeats the address, which is a secret.
var errNoPing = errors.New("what stands there is no address; write one line such as https://<host>/<token>")

// checkPing wants an address that can be asked for.
func checkPing(secret string) error {
	u, err := url.Parse(secret)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" {
		return errNoPing
	}
	return nil
}

// CheckConfig reads and checks cloud.yaml and the secrets that it names. Notes are about
// what could not be looked at from here, what is left out, and names that nobody has. heard
// asks the running brain for the nodes that it knows; false: none runs here.
func CheckConfig(path string, heard func() ([]string, bool)) (notes []string, err error) {
	c, f, err := loadConfig(path)
	if f == nil {
		return nil, err
	}
	errs := []error{err}
	look := func(key string, s config.Secret, once bool) (secret string) {
		if s.IsZero() {
			return ""
		}
		secret, err := s.Read()
		switch {
		case err == nil:
		case !filepath.IsAbs(s.Name()) && os.Getenv("CREDENTIALS_DIRECTORY") == "":
			notes = append(notes, fmt.Sprintf("%s: %s is a systemd credential, which only the service sees; it was not looked at", key, s.Name()))
		case once:
			notes = append(notes, fmt.Sprintf("%s: %s; it is needed only until the brain is on the tailnet", key, err))
		case errors.Is(err, fs.ErrPermission):
			errs = append(errs, f.Errorf(key, "%s; %s", err, asItsUser))
		default:
			errs = append(errs, f.Errorf(key, "%s", err))
		}
		return secret
	}
	if c.Listen == "" {
		look("tailnet.auth_key_file", c.Tailnet.AuthKey, true)
	}
	for _, named := range c.secrets() {
		secret := look(named.key, named.file, false)
		if secret == "" {
			continue
		}
		if err := checkChannelSecret(named.key, secret); err != nil {
			errs = append(errs, f.Errorf(named.key, "what stands in %s %s", named.file.Name(), err))
		}
		if err := checkPing(secret); named.key == deadmanSecret && err != nil {
			errs = append(errs, f.Errorf(named.key, "%s", err))
		}
		if named.key != twilioSecret {
			continue
		}
		if err := triedTwilio(func(t *twilio.Config) { t.APIKeySecret = secret }); err != nil {
			errs = append(errs, f.Errorf(named.key, "%s", err))
		}
	}
	if _, err := c.texts(); err != nil && !f.Spoilt("contacts") && !f.Spoilt("sites") {
		errs = append(errs, f.Errorf("calls.texts", "%s", err))
	}
	notes = append(notes, c.missing(f)...)
	known, ok := heard()
	return append(notes, c.unlisted(known, ok)...), f.Join(errs...)
}
